/**
 * Images of a Docker daemon: what it has (`docker-daemon:`), and pulls that a site leaves to it, with its mirrors and proxies. The daemon's
 * stream goes to the pull's own scratch directory once and is read there; it lists layers in no useful order, so that it can't be merged as it
 * comes.
 *
 * @see https://docs.docker.com/reference/api/engine/
 * @module
 */
import { createWriteStream } from "node:fs"
import * as nodePath from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type Docker from "dockerode"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Digest } from "../../core/Digest.js"
import { carried, errorFields, ImageError, messageOf, printable, storageCode, systemCode } from "../../core/Errors.js"
import type { ResolvedImage, ResolveOptions } from "../../core/Image.js"
import { privateTo } from "../../core/ImageId.js"
import { dockerName, type ImageRef } from "../../core/ImageRef.js"
import * as Archive from "./Archive.js"
import type { Login } from "./Authentication.js"
import { serverOf } from "./DockerLogins.js"
import * as DockerImage from "./DockerImage.js"
import * as Layout from "./Layout.js"
import * as Manifest from "./Manifest.js"

export interface DaemonSettings {
  /** Path of the daemon's socket. */
  readonly socket: string
  /** Seconds until it answers what it is asked of an image; 60 without it. What it pulls and saves takes its time. */
  readonly headersSeconds?: number | undefined
}

const Inspected = Schema.Struct({
  Id: Digest,
  Os: Schema.String,
  Architecture: Schema.String,
  Variant: Schema.optional(Schema.String),
  Config: Schema.Unknown,
  RootFS: Schema.Struct({ Type: Schema.Literal("layers"), Layers: Schema.optional(Schema.Array(Digest)) }),
  Descriptor: Schema.optional(Schema.Unknown)
})
const Info = Schema.Struct({ DriverStatus: Schema.optional(Schema.NullOr(Schema.Array(Schema.Array(Schema.String)))) })

/**
 * Whether a daemon keeps images as containerd does: its ids are those of manifests or indexes, not of configurations, and what it saves is an OCI
 * layout with all platforms that it has. The newer ones say so with each image.
 */
const isContentStore = (docker: Docker, inspected: typeof Inspected.Type, failed: (error: unknown) => ImageError): Effect.Effect<boolean, ImageError> =>
  inspected.Descriptor !== undefined
    ? Effect.succeed(true)
    : Effect.tryPromise({ try: () => docker.info() as Promise<unknown>, catch: failed }).pipe(
        Effect.flatMap(Schema.decodeUnknown(Info)),
        Effect.map(({ DriverStatus }) => DriverStatus?.some(([name, value]) => name === "driver-type" && value?.startsWith("io.containerd.") === true) === true),
        Effect.catchTag("ParseError", () => Effect.succeed(false))
      )

/** Finds what the daemon has under a name, after letting it pull when `pull` is given. */
export const resolve = (
  settings: DaemonSettings,
  ref: ImageRef,
  options: ResolveOptions,
  pull?: { readonly login: Effect.Effect<Login | undefined, ImageError> }
): Effect.Effect<ResolvedImage, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const { host, repository, tag, digest } = yield* Either.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)))
    const name = `${host}/${repository}${digest === undefined ? `:${tag ?? "latest"}` : `@${digest}`}`
    // Loaded only here: nobody else waits for it.
    const { default: Client } = yield* Effect.promise(() => import("dockerode"))
    const docker = new Client({ socketPath: settings.socket })
    const asking = new Client({ socketPath: settings.socket, timeout: (settings.headersSeconds ?? 60) * 1000 })
    const failed = (error: unknown) => refused(error, name, settings.socket)
    const isPrivate = pull !== undefined && (yield* pulledBy(docker, { host, repository, reference: digest ?? tag ?? "latest" }, options, pull.login, failed))
    const variant = isPrivate ? privateTo(host, repository) : undefined
    const answer = yield* Effect.tryPromise({ try: () => asking.getImage(name).inspect(), catch: failed })
    const inspected = yield* Schema.decodeUnknown(Inspected)(answer).pipe(
      Effect.mapError((error) => new ImageError(errorFields("IMAGE_CONFIG_INVALID", `The Docker daemon's description of ${name} is not valid: ${printable(error.message)}`)))
    )
    // By id, so that a name that moves meanwhile changes nothing.
    const saved = Effect.gen(function* () {
      const file = nodePath.join(options.workspace.scratch, "daemon.tar")
      yield* save(docker, inspected.Id, file, failed)
      return yield* Archive.files(file, options)
    })
    if (yield* isContentStore(asking, inspected, failed)) {
      const store = yield* Layout.storeOf(yield* saved, { digest: inspected.Id }, "oci-archive", options)
      return yield* DockerImage.resolve({ ...store, name: `docker-daemon:${name}`, privateTo: Effect.succeed(variant) }, options)
    }
    const config = yield* Manifest.decodeConfig(
      Buffer.from(
        JSON.stringify({
          os: inspected.Os,
          architecture: inspected.Architecture,
          ...(inspected.Variant ? { variant: inspected.Variant } : {}),
          config: inspected.Config,
          rootfs: { type: "layers", diff_ids: inspected.RootFS.Layers ?? [] }
        })
      ),
      name
    )
    return {
      sourceDigest: inspected.Id,
      variant,
      manifestDigest: undefined,
      platform: yield* DockerImage.platformOf(config, options.platform, name),
      metadata: yield* DockerImage.metadataOf(config, name),
      isPrivate,
      blobs: (inspected.RootFS.Layers ?? []).map((layer) => ({ digest: layer, bytes: 0, stored: undefined })),
      open: Effect.gen(function* () {
        const store = yield* Archive.savedStore(yield* saved, undefined, `docker-daemon:${name}`, options)
        const image = yield* DockerImage.resolve(store, options)
        if (image.sourceDigest !== inspected.Id) {
          return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The Docker daemon gave the configuration ${image.sourceDigest} for ${name}, which is ${inspected.Id}`))
        }
        return yield* image.open
      })
    }
  })

const save = (docker: Docker, id: string, file: string, failed: (error: unknown) => ImageError) =>
  Effect.tryPromise({
    try: async (signal) => {
      const stream = await docker.getImage(id).get()
      await pipeline(stream, createWriteStream(file, { flags: "w", mode: 0o600 }), { signal })
    },
    catch: (error) => {
      const full = storageCode(error, "INTERNAL") === "STORAGE_FULL"
      return full ? new ImageError(errorFields("STORAGE_FULL", `The image can't be stored at ${file}: ${messageOf(error)}`, { cause: error })) : failed(error)
    }
  })

/** What the daemon says while it pulls; the last word counts. */
const Said = Schema.Struct({ error: Schema.optional(Schema.String) })

interface Wanted {
  readonly host: string
  readonly repository: string
  readonly reference: string
}

/** Lets the daemon pull, by a login only where the registry does not give it to everyone; whether it took one. */
const pulledBy = (docker: Docker, image: Wanted, options: ResolveOptions, login: Effect.Effect<Login | undefined, ImageError>, failed: (error: unknown) => ImageError) =>
  Effect.catchIf(
    Effect.as(pulled(docker, image, options, undefined, failed), false),
    (error) => error.code === "MANIFEST_NOT_FOUND" || error.code === "REGISTRY_UNAUTHORIZED",
    (refusal) => Effect.flatMap(login, (found) => (found === undefined ? Effect.fail(refusal) : Effect.as(pulled(docker, image, options, found, failed), true)))
  )

const pulled = (docker: Docker, image: Wanted, options: ResolveOptions, login: Login | undefined, failed: (error: unknown) => ImageError) =>
  Effect.gen(function* () {
    const { os, architecture, variant } = options.platform
    const platform = [os, architecture, ...(variant === undefined ? [] : [variant])].join("/")
    const request = { fromImage: `${image.host}/${image.repository}`, tag: image.reference, platform }
    const auth = login && {
      serveraddress: serverOf(image.host),
      ...("identityToken" in login ? { identitytoken: Redacted.value(login.identityToken) } : { username: login.username, password: Redacted.value(login.password) })
    }
    const stream = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => (auth === undefined ? docker.createImage(request) : docker.createImage(auth, request)), catch: failed }),
      (each) => Effect.sync(() => (each instanceof Readable ? void each.destroy() : undefined))
    )
    const events = yield* Effect.async<ReadonlyArray<unknown>, ImageError>((resume) => {
      docker.modem.followProgress(stream, (error, output) => resume(error === null ? Effect.succeed(output) : Effect.fail(failed(error))))
    })
    for (const event of events) {
      const said = yield* Schema.decodeUnknown(Said)(event).pipe(Effect.orElseSucceed((): typeof Said.Type => ({})))
      if (said.error !== undefined) return yield* failed(new Error(said.error))
    }
  }).pipe(Effect.scoped)

/** The error of a request to the daemon. */
const refused = (error: unknown, name: string, socket: string): ImageError => {
  const status = typeof error === "object" && error !== null && "statusCode" in error ? error.statusCode : undefined
  const code = systemCode(error)
  if (status === 401 || status === 403 || /unauthorized|authentication required|no basic auth credentials|access denied|access forbidden/i.test(messageOf(error))) {
    return new ImageError(errorFields("REGISTRY_UNAUTHORIZED", `The Docker daemon was refused ${name}: ${printable(messageOf(error))}`, { cause: error }))
  }
  if (status === 404 || /no such image|manifest unknown|not found/i.test(messageOf(error))) {
    return new ImageError(errorFields("MANIFEST_NOT_FOUND", `The Docker daemon has no image ${name}`, { cause: error }))
  }
  if (code === "ECONNRESET") return new ImageError(errorFields("REGISTRY_TIMEOUT", `The Docker daemon at ${socket} did not answer, or broke off`, { cause: error }))
  return code === "ENOENT" || code === "ECONNREFUSED" || code === "EACCES"
    ? new ImageError(
        errorFields("REGISTRY_UNREACHABLE", `The Docker daemon can't be reached at ${socket} (${code})`, {
          remedy: "Start it, name its socket in the configuration (dockerDaemon.socket), or ask for access to it.",
          cause: error
        })
      )
    : new ImageError(errorFields("REGISTRY_ERROR", `The Docker daemon refused ${name}: ${printable(messageOf(error))}`, { cause: error }))
}
