/**
 * A registry, with its mirrors, as a store of manifests and blobs.
 *
 * @module
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { domainOf, nameOf } from "../../core/BlobStore.js"
import { ofBytes } from "../../core/Digest.js"
import { carried, errorFields, ImageError, isShifterError, messageOf } from "../../core/Errors.js"
import type { Credentials, ResolveOptions } from "../../core/Image.js"
import { privateTo } from "../../core/ImageId.js"
import { dockerName, type ImageRef } from "../../core/ImageRef.js"
import type { RegistrySettings } from "../../core/Registries.js"
import type { Login, TokenCache } from "./Authentication.js"
import type { Budgets } from "./Budgets.js"
import type { ManifestStore } from "./DockerImage.js"
import * as DockerLogins from "./DockerLogins.js"
import * as Endpoints from "./Endpoints.js"
import * as LayerFetch from "./LayerFetch.js"
import * as Manifest from "./Manifest.js"
import { type Passing, patiently } from "../../core/http/Patience.js"
import * as RegistryClient from "./RegistryClient.js"

/** What all pulls of a process share. */
export interface Shared {
  readonly http: HttpClient.HttpClient
  readonly settingsOf: (host: string) => RegistrySettings
  readonly tokens: TokenCache
  readonly budgets: Budgets
  /** The directory of `docker login`. */
  readonly dockerLogins: string | undefined
  /** Whether references are strangers': a registry that the configuration does not name is then at a public address, or is not asked. */
  readonly forStrangers: boolean
}

/** Transfers of one image beside one another. */
const TRANSFERS = 6

/** The store of a `docker:` reference. */
export const store = (shared: Shared, ref: ImageRef, options: ResolveOptions): Effect.Effect<ManifestStore, ImageError> =>
  Effect.gen(function* () {
    const { digest, host, repository, tag } = yield* Either.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)))
    const settings = yield* settingsOf(shared, host)
    const clientOf = (at: string, given: Credentials | undefined, isStranger: boolean) =>
      Effect.zipRight(
        settingsOf(shared, at),
        RegistryClient.make(shared.http, {
          host: at,
          repository,
          settingsOf: shared.settingsOf,
          login: loginOf(shared, at, given),
          tokens: shared.tokens,
          budgets: shared.budgets,
          isStranger,
          onProgress: options.onProgress
        })
      )
    // A mirror is told no login but its own.
    const endpoints = Endpoints.make(
      yield* Effect.forEach(settings.mirrors, (mirror) => clientOf(mirror, undefined, false)),
      yield* clientOf(host, options.credentials, shared.forStrangers && !settings.named)
    )
    const name = `${host}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`
    const domain = domainOf(host, repository)
    const waiting = (failure: Passing, millis: number) => {
      if (failure.error.code === "REGISTRY_RATE_LIMITED") options.onProgress({ _tag: "RateLimit", registry: host, remaining: undefined, retryInSeconds: Math.ceil(millis / 1000) })
    }
    const document = (path: string, accept: string, limit: number, wanted: string | undefined, what: string) =>
      patiently(
        endpoints.use((client) =>
          Effect.scoped(
            Effect.gen(function* () {
              const answer = yield* client.get(path, { accept })
              const bytes = yield* RegistryClient.body(answer, limit, name)
              // Known only here: a mirror that gives something else is left for the next.
              if (wanted !== undefined && ofBytes(bytes) !== wanted) {
                return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The ${what} of ${name} is not what its digest ${wanted} says`))
              }
              const contentType = answer.headers["content-type"]
              // What is no manifest at all is a mirror's fault too: a page that asks for a login, for example.
              if (what === "manifest") yield* Manifest.decodeDocument(bytes, contentType, name)
              return { bytes, contentType }
            })
          )
        ),
        { waiting }
      )
    const source: LayerFetch.Source = {
      endpoints,
      name,
      domain,
      waiting,
      transfers: yield* Effect.makeSemaphore(TRANSFERS),
      onBytes: ({ digest, size }, received, cached) => options.onProgress({ _tag: "Layer", digest, received, bytes: size, cached })
    }
    return {
      name,
      hasManifest: true,
      manifest: (wanted) => {
        const by = wanted ?? digest
        return document(`manifests/${by ?? tag ?? "latest"}`, Manifest.accepted, options.limits.manifestBytes, by, "manifest")
      },
      small: (descriptor, limit) => Effect.map(document(`blobs/${descriptor.digest}`, "*/*", limit, descriptor.digest, "configuration"), ({ bytes }) => bytes),
      layer: (descriptor) => LayerFetch.fetch(source, descriptor, options.workspace),
      stored: (digest) => nameOf(domain, digest),
      privateTo: Effect.map(endpoints.decided, (isPrivate) => (isPrivate ? privateTo(host, repository) : undefined))
    }
  })

export const settingsOf = ({ settingsOf }: Shared, host: string): Effect.Effect<RegistrySettings, ImageError> =>
  Effect.try({
    try: () => settingsOf(host),
    catch: (error) => new ImageError(isShifterError(error) ? carried(error) : errorFields("CONFIG_INVALID", `The settings of ${host} can't be used: ${messageOf(error)}`))
  })

/** What is given for this request, then what the configuration says, then what `docker login` keeps. */
export const loginOf = (shared: Shared, host: string, given: Credentials | undefined): Effect.Effect<Login | undefined, ImageError> =>
  Effect.gen(function* () {
    if (given !== undefined) return given
    const { credentials } = yield* settingsOf(shared, host)
    return credentials ?? (shared.dockerLogins === undefined ? undefined : yield* DockerLogins.find(shared.dockerLogins, host))
  })
