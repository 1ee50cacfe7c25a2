/**
 * A registry as a store of manifests and blobs. Blobs are spooled to disk while they are hashed, and count only once their digest is right.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { mkdir, rename, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import { hex } from "../../core/Digest.js"
import { carried, errorFields, ImageError, messageOf, storageCode, systemCode } from "../../core/Errors.js"
import type { ResolveOptions } from "../../core/Image.js"
import { dockerName, type ImageRef } from "../../core/ImageRef.js"
import type { BlobRange } from "../../core/Merge.js"
import { BlobFile } from "./BlobFile.js"
import type { ManifestStore } from "./DockerImage.js"
import * as Manifest from "./Manifest.js"
import * as RegistryClient from "./RegistryClient.js"

/** The store of a `docker:` reference. */
export const store = (
  http: HttpClient.HttpClient,
  settingsOf: (host: string) => RegistryClient.RegistrySettings,
  ref: ImageRef,
  options: ResolveOptions
): Effect.Effect<ManifestStore, ImageError> =>
  Effect.gen(function* () {
    const { host, repository, tag, digest } = yield* Either.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)))
    const settings = settingsOf(host)
    const client = yield* RegistryClient.make(http, {
      host,
      repository,
      settings: { ...settings, credentials: options.credentials ?? settings.credentials }
    })
    const name = `${host}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`
    const document = (reference: string, accept: string, limit: number) =>
      Effect.scoped(
        Effect.gen(function* () {
          const response = yield* client.get(reference, accept)
          return { bytes: yield* RegistryClient.body(response, limit, name), contentType: response.headers["content-type"] }
        })
      )
    return {
      name,
      hasManifest: true,
      manifest: (wanted) => {
        const by = wanted ?? digest ?? tag ?? "latest"
        return document(`manifests/${by}`, Manifest.accepted, options.limits.manifestBytes).pipe(
          Effect.filterOrFail(
            // A reference by digest is checked here too: the caller knows only the digests of an index.
            ({ bytes }) => wanted !== undefined || digest === undefined || createHash("sha256").update(bytes).digest("hex") === digest.slice(7),
            () => new ImageError(errorFields("DIGEST_MISMATCH", `The manifest of ${name} is not what its digest says`))
          )
        )
      },
      small: (descriptor, limit) => document(`blobs/${descriptor.digest}`, "*/*", limit).pipe(Effect.map(({ bytes }) => bytes)),
      layer: (descriptor) => fetchLayer(client, descriptor, name, options),
      isPrivate: client.usedCredentials
    }
  })

const fetchLayer = (
  client: RegistryClient.RegistryClient,
  descriptor: Manifest.Descriptor,
  name: string,
  { workspace, onProgress }: ResolveOptions
): Effect.Effect<BlobRange, ImageError> =>
  Effect.gen(function* () {
    const { digest, size } = descriptor
    const file = nodePath.join(workspace.blobs, hex(digest))
    const told = (received: number, cached: boolean) => onProgress({ _tag: "Layer", digest, received, bytes: size, cached })
    const present = yield* Effect.promise(() => stat(file).then((found) => found.size === size, () => false))
    if (present) {
      told(size, true)
      return { file, offset: 0, length: size }
    }
    const partial = nodePath.join(workspace.scratch, `${hex(digest)}.partial`)
    const failed = (error: unknown) =>
      new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The layer ${digest} can't be stored at ${partial}: ${messageOf(error)}`, { cause: error }))
    const download = Effect.gen(function* () {
      yield* Effect.tryPromise({ try: () => mkdir(workspace.scratch, { recursive: true, mode: 0o700 }), catch: failed })
      const response = yield* client.get(`blobs/${digest}`, "*/*")
      const out = yield* Effect.acquireRelease(Effect.tryPromise({ try: () => BlobFile.create(partial), catch: failed }), (file) => Effect.promise(() => file.close()))
      yield* response.stream.pipe(
        Stream.mapError((error) => new ImageError(errorFields("REGISTRY_UNREACHABLE", `The layer ${digest} of ${name} broke off after ${out.bytes} of ${size} bytes`, { cause: error }))),
        Stream.runForEachChunk((chunks) =>
          Effect.tryPromise({
            try: async () => {
              for (const chunk of chunks) {
                if (out.bytes + chunk.length > size) throw new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${digest} of ${name} is larger than the ${size} bytes its manifest says`))
                await out.write(chunk)
              }
              told(out.bytes, false)
            },
            catch: (error) => (error instanceof ImageError ? error : failed(error))
          })
        )
      )
      if (out.bytes < size) {
        return yield* new ImageError(errorFields("REGISTRY_UNREACHABLE", `The layer ${digest} of ${name} ended after ${out.bytes} of ${size} bytes`))
      }
      const actual = yield* Effect.tryPromise({ try: () => out.finish(), catch: failed })
      if (actual !== hex(digest)) {
        return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${digest} of ${name} arrived as sha256:${actual}`))
      }
      yield* Effect.tryPromise({ try: () => rename(partial, file), catch: failed })
    })
    yield* Effect.scoped(download).pipe(
      Effect.retry({ while: (error) => error.code === "REGISTRY_UNREACHABLE" && systemCode(error.cause) !== "ECONNREFUSED", schedule: RegistryClient.retries })
    )
    return { file, offset: 0, length: size }
  })
