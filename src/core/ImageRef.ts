/**
 * Image references: `TYPE:REFERENCE`. The grammar is in `formats/README.md` and its vectors are run here and in C. Nothing is removed or
 * replaced: what does not fit is refused.
 *
 * @module
 */
import { createHash } from "node:crypto"
import * as path from "node:path"
import * as Either from "effect/Either"
import { errorFields, FormatError } from "./Errors.js"
import { bytesOf } from "./FieldFile.js"
import { formatLimits } from "./Limits.js"

/** Kinds of image references: what a person writes before the first `:`. */
export const imageTypes = [
  "docker",
  "id",
  "local",
  "custom",
  "oci",
  "oci-archive",
  "docker-archive",
  "docker-daemon",
  "vm",
  "chos"
] as const
export type ImageType = (typeof imageTypes)[number]

/** A parsed image reference. */
export interface ImageRef {
  readonly type: ImageType
  /** What was written after the type, unchanged. */
  readonly reference: string
  /**
   * `TYPE:REFERENCE` in the one form that names the image on an image path, or `null` for a path that is not absolute
   * (see {@link absolute}).
   */
  readonly canonical: string | null
  /** The path of a file-like reference, and the tag after it. */
  readonly file?: PathAndTag | undefined
}

export interface PathAndTag {
  readonly path: string
  readonly tag: string | undefined
}

/** The parts of a `docker:` or `docker-daemon:` reference, defaults filled in. */
export interface DockerName {
  /** Registry host with port, lower case, such as `docker.io` or `127.0.0.1:5000`. */
  readonly host: string
  /** Repository, such as `library/debian`. */
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: string | undefined
}

const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const hostPattern = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/
const wordPattern = /^[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}$/
const localPattern = /^\/[A-Za-z0-9_:.+@/-]*$/
// eslint-disable-next-line no-control-regex
const controlPattern = /[\u0000-\u001f\u007f]/
/** `docker://debian:12` and `https://host/x` are what people write elsewhere. */
const urlPrefix = /^(?:[a-z0-9]+:)?\/\/(?=.)/s
const hubHosts = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"])

const refuse = (input: string, why: string): Either.Either<never, FormatError> =>
  Either.left(new FormatError(errorFields("REFERENCE_INVALID", `The image reference "${input}" is not valid: ${why}`)))

/**
 * Parses an image reference.
 *
 * @param input 1 to 1,024 bytes
 * @param defaultType the type of a reference that names none; a site sets it as `defaultImageType`
 * @example
 * ```ts
 * import { ImageRef } from "shifter-sdk"
 * ImageRef.parse("debian:12") // Right: canonical "docker:docker.io/library/debian:12"
 * ImageRef.parse("docker:Debian") // Left: REFERENCE_INVALID
 * ```
 */
export const parse = (input: string, defaultType: string = "docker"): Either.Either<ImageRef, FormatError> => {
  if (input.length === 0) return refuse(input, "it is empty")
  const tooLong = (text: string) => bytesOf(text).length > formatLimits.imageReferenceBytes
  const refuseLong = () => refuse(`${input.slice(0, 60)}…`, `it is longer than ${formatLimits.imageReferenceBytes} bytes`)
  if (tooLong(input)) return refuseLong()
  const colon = input.indexOf(":")
  const prefix = colon < 0 ? undefined : imageTypes.find((type) => type === input.slice(0, colon))
  const type = prefix ?? imageTypes.find((known) => known === defaultType)
  if (type === undefined) return refuse(input, `it names no type and the default type "${defaultType}" is none of ${imageTypes.join(", ")}`)
  const reference = prefix === undefined ? input : input.slice(colon + 1)
  const canonical = canonicalOf(type, reference)
  if (typeof canonical === "object" && canonical !== null) return refuse(input, canonical.why)
  // Names and records hold it, and are read with the same limit.
  return canonical !== null && tooLong(`${type}:${canonical}`)
    ? refuseLong()
    : Either.right({ type, reference, canonical: canonical === null ? null : `${type}:${canonical}`, file: fileOf(type, reference) })
}

/** {@link parse}, throwing the error. */
export const parseOrThrow = (input: string, defaultType?: string): ImageRef => Either.getOrThrowWith(parse(input, defaultType), (error) => error)

/** Makes the path of a file-like reference absolute, so that it has a canonical form. Others are returned as they are. */
export const absolute = (ref: ImageRef, directory: string): ImageRef => {
  if (ref.canonical !== null || ref.file === undefined) return ref
  const file = { path: path.resolve(directory, ref.file.path), tag: ref.file.tag }
  const reference = ref.type === "vm" ? file.path : joinPath(file)
  return { type: ref.type, reference, canonical: `${ref.type}:${reference}`, file }
}

/** The parts of a `docker:` or `docker-daemon:` reference. */
export const dockerName = (ref: ImageRef): Either.Either<DockerName, FormatError> => {
  const parsed = parseDocker(ref.reference)
  return "why" in parsed ? refuse(`${ref.type}:${ref.reference}`, parsed.why) : Either.right(parsed)
}

/** Path and tag of a file-like reference, such as `oci:`. */
export const pathAndTag = (ref: ImageRef): PathAndTag => ref.file ?? splitPath(ref.reference)

/** Hex SHA-256 of the canonical form: the file name of the reference in `names/`. */
export const nameHash = (canonical: string): string => createHash("sha256").update(bytesOf(canonical)).digest("hex")

/** Whether a text is a reference in its canonical form, type included. */
export const isCanonical = (text: string): boolean =>
  Either.match(parse(text, ""), { onLeft: () => false, onRight: (ref) => ref.canonical === text })

/** Whether a text can be an image id. */
export const isImageId = (text: string): boolean => wordPattern.test(text)

interface Refused {
  readonly why: string
}

const canonicalOf = (type: ImageType, reference: string): string | null | Refused => {
  switch (type) {
    case "docker":
    case "docker-daemon": {
      const name = parseDocker(reference)
      if ("why" in name) {
        const url = urlPrefix.exec(reference)?.[0]
        return url === undefined ? name : { why: `write ${type}:${reference.slice(url.length)}, without ${url}` }
      }
      return `${name.host}/${name.repository}${name.digest === undefined ? `:${name.tag ?? "latest"}` : `@${name.digest}`}`
    }
    case "id":
      return wordPattern.test(reference)
        ? reference
        : { why: "an id is 1 to 128 letters, digits, '_', '.', '+' or '-', and starts with a letter or digit" }
    case "custom":
      return namedCanonical(reference) ?? { why: "a custom image is NAME[:TAG] of letters, digits, '_', '.', '+' and '-'" }
    case "local":
      if (!reference.startsWith("/")) return { why: "a local path is absolute" }
      if (!localPattern.test(reference)) return { why: "a local path holds letters, digits and _:.+@/- only" }
      return cleanPath(reference) ?? { why: "a local path has no '..'" }
    case "chos":
    case "vm":
    case "oci":
    case "oci-archive":
    case "docker-archive": {
      if (reference.length === 0) return { why: "nothing follows the type" }
      if (controlPattern.test(reference)) return { why: "control characters are not allowed" }
      if (type === "chos") return reference
      if (isNamedDisk(type, reference)) {
        return namedCanonical(reference) ?? { why: "a disk that was imported is NAME[:TAG] of letters, digits, '_', '.', '+' and '-', and the path of one holds a '/'" }
      }
      const { path: file, tag } = fileOf(type, reference) ?? { path: reference, tag: undefined }
      if (file.length === 0) return { why: "the path is empty" }
      const clean = file.startsWith("/") ? cleanPath(file) : undefined
      return clean === undefined ? null : type === "vm" ? clean : joinPath({ path: clean, tag })
    }
  }
}

/** `NAME[:TAG]` with its tag; undefined for anything else. */
const namedCanonical = (reference: string): string | undefined => {
  const [name = "", tag = "latest", more] = reference.split(":")
  return more === undefined && wordPattern.test(name) && wordPattern.test(tag) ? `${name}:${tag}` : undefined
}

/** A disk that was imported has a name, one that is a file a path. */
const isNamedDisk = (type: ImageType, reference: string): boolean => type === "vm" && !reference.includes("/")

/** An absolute path without empty and `.` components, or undefined when it has a `..`. */
const cleanPath = (file: string): string | undefined => {
  const components = file.split("/").filter((c) => c !== "" && c !== ".")
  return components.includes("..") ? undefined : `/${components.join("/")}`
}

const fileOf = (type: ImageType, reference: string): PathAndTag | undefined => {
  if (type === "vm") return isNamedDisk(type, reference) ? undefined : { path: reference, tag: undefined }
  return type === "oci" || type === "oci-archive" || type === "docker-archive" ? splitPath(reference) : undefined
}

const splitPath = (reference: string): PathAndTag => {
  const colon = reference.lastIndexOf(":")
  const tag = reference.slice(colon + 1)
  return colon >= 0 && tagPattern.test(tag) ? { path: reference.slice(0, colon), tag } : { path: reference, tag: undefined }
}

/** A path that would be split at its last `:` keeps a `/` behind it. */
const joinPath = ({ path: file, tag }: PathAndTag): string =>
  tag !== undefined ? `${file}:${tag}` : splitPath(file).tag === undefined ? file : `${file}/`

const parseDocker = (reference: string): DockerName | Refused => {
  const bad = /[^A-Za-z0-9_:.+@/-]/u.exec(reference)
  if (bad !== null) return { why: `the character "${bad[0]}" is not allowed` }
  const at = reference.indexOf("@")
  const digest = at < 0 ? undefined : reference.slice(at + 1)
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest)) return { why: "a digest is sha256: and 64 lower-case hex digits" }
  const name = at < 0 ? reference : reference.slice(0, at)

  const slash = name.indexOf("/")
  const first = slash < 0 ? "" : name.slice(0, slash)
  const hasHost = slash > 0 && (/[.:]/.test(first) || first === "localhost")
  if (hasHost) {
    const [host = "", port, more] = first.split(":")
    if (!hostPattern.test(host)) return { why: `"${host}" is not a host name` }
    if (more !== undefined || (port !== undefined && !isPort(port))) return { why: "a port is a number from 1 to 65535" }
  }
  const rest = hasHost ? name.slice(slash + 1) : name
  const colon = rest.indexOf(":")
  const tag = colon < 0 ? undefined : rest.slice(colon + 1)
  const path = colon < 0 ? rest : rest.slice(0, colon)
  if (path.length === 0) return { why: "the name is empty" }
  const component = path.split("/").find((c) => !componentPattern.test(c))
  if (component !== undefined) {
    return {
      why: /[A-Z]/.test(component)
        ? "a repository name is in lower case"
        : `"${component}" is not a repository component (lower-case letters and digits, joined by '.', '_', '__' or '-')`
    }
  }
  if (tag !== undefined && !tagPattern.test(tag)) return { why: "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'" }
  const host = hasHost ? first.toLowerCase() : "docker.io"
  const onHub = hubHosts.has(host)
  const repository = onHub && !path.includes("/") ? `library/${path}` : path
  if (repository.length > 255) return { why: "the repository is longer than 255 bytes" }
  return {
    host: onHub ? "docker.io" : host,
    repository,
    tag: tag ?? (digest === undefined ? "latest" : undefined),
    digest
  }
}

const isPort = (text: string): boolean => /^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65535
