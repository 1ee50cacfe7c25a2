/**
 * What a path of the dialect names: `/api/VERB/SYSTEM/TYPE/TAG/`, where the tag may hold slashes, escaped or not.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, GatewayError, printable } from "../../core/Errors.js"
import * as ImageRef from "../../core/ImageRef.js"
import type { Dialect } from "../../core/ServiceConfig.js"

/** A path, taken apart and decoded. */
export interface Target {
  readonly verb: string
  readonly system: string | undefined
  readonly type: string | undefined
  readonly tag: string | undefined
  readonly query: URLSearchParams
}

/** What paths of the dialect begin with. */
export const MOUNT = "/api/"

const refuse = (what: string): Either.Either<never, GatewayError> =>
  Either.left(new GatewayError(errorFields("USAGE", what, { remedy: "Write /api/VERB/SYSTEM/TYPE/TAG/, with %-escapes of UTF-8." })))

/** Takes a path apart. Escapes are decoded once, after the path was split, and refused where they are malformed. */
export const parse = (url: string): Either.Either<Target, GatewayError> => {
  const question = url.indexOf("?")
  const path = question < 0 ? url : url.slice(0, question)
  const [verb = "", system, type, ...rest] = path.slice(MOUNT.length).replace(/\/$/, "").split("/")
  try {
    const decoded = (text: string | undefined) => (text === undefined || text === "" ? undefined : decodeURIComponent(text))
    return Either.right({
      verb: decodeURIComponent(verb),
      system: decoded(system),
      type: decoded(type),
      tag: decoded(rest.join("/")),
      query: new URLSearchParams(question < 0 ? "" : url.slice(question + 1))
    })
  } catch {
    return refuse(`The path "${printable(path.slice(0, 300))}" holds a malformed %-escape`)
  }
}

const DOCKER_HUB = "docker.io"
/** What a registry's part of a reference looks like: the grammar's own test, so that `team/app` names none. */
const namesHost = (first: string) => /[.:]/.test(first) || first === "localhost"

/**
 * The reference that a type and a tag name. The part of a `docker` tag before its first `/` may be one of the site's locations; a tag that
 * names no registry means the site's own. `:latest` comes where neither tag nor digest stands: the grammar knows a registry's port from a tag.
 */
export const reference = (type: string, tag: string, dialect: Dialect): Either.Either<ImageRef.ImageRef, GatewayError> => {
  const known = ImageRef.imageTypes.find((each) => each === type)
  if (known === undefined) {
    return Either.left(new GatewayError(errorFields("REFERENCE_INVALID", `There is no type "${printable(type.slice(0, 60))}" of images, only ${ImageRef.imageTypes.join(", ")}`)))
  }
  return Either.mapLeft(ImageRef.parse(`${known}:${known === "docker" ? located(tag, dialect) : tag}`, ""), (error) => new GatewayError(error))
}

const located = (tag: string, { locations, registry }: Dialect): string => {
  const slash = tag.indexOf("/")
  const first = slash < 0 ? "" : tag.slice(0, slash)
  if (Object.hasOwn(locations, first)) return `${locations[first] ?? first}${tag.slice(slash)}`
  return registry === DOCKER_HUB || namesHost(first) ? tag : `${registry}/${tag}`
}

/** A type and a tag, as a user of the reference writes and reads them. */
export interface Short {
  readonly type: string
  readonly tag: string
}

/** The short form of a canonical reference, which {@link reference} reads back. */
export const short = (canonical: string, { locations, registry }: Dialect): Short => {
  const colon = canonical.indexOf(":")
  const type = canonical.slice(0, colon)
  const full = canonical.slice(colon + 1)
  if (type !== "docker") return { type, tag: full }
  const slash = full.indexOf("/")
  const host = full.slice(0, slash)
  const path = full.slice(slash + 1)
  if (host === registry) return { type, tag: host === DOCKER_HUB ? path.replace(/^library\/(?=[^/]+$)/, "") : path }
  const named = Object.keys(locations).find((name) => locations[name] === host && !namesHost(name))
  return { type, tag: `${named ?? host}/${path}` }
}
