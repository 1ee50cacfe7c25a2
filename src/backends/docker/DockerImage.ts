/**
 * From a store of manifests and blobs (a registry, a layout) to a resolved image.
 *
 * @module
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { type Digest, ofBytes } from "../../core/Digest.js"
import { errorFields, ImageError, printable } from "../../core/Errors.js"
import type { ResolvedImage, ResolveOptions } from "../../core/Image.js"
import type { ImageMetadata } from "../../core/ImageRecord.js"
import * as Merge from "../../core/Merge.js"
import type { BlobRange, MergeLayer } from "../../core/Merge.js"
import * as Platform from "../../core/Platform.js"
import type { RootfsStream } from "../../core/RootfsStream.js"
import * as Manifest from "./Manifest.js"

/** Where manifests and blobs come from. */
export interface ManifestStore {
  /** For messages: `docker.io/library/debian:12`. */
  readonly name: string
  /** A manifest or index: by digest, or what the reference names. */
  readonly manifest: (digest: Digest | undefined) => Effect.Effect<{ readonly bytes: Uint8Array; readonly contentType: string | undefined }, ImageError>
  /** Whether the manifest is the image's own, so that its digest says something. */
  readonly hasManifest: boolean
  /** A small blob, whole. The digest is checked by the caller. */
  readonly small: (descriptor: Manifest.Descriptor, limit: number) => Effect.Effect<Uint8Array, ImageError>
  /** A layer's verified blob. */
  readonly layer: (descriptor: Manifest.Descriptor) => Effect.Effect<BlobRange, ImageError>
  /** The name that a layer's blob has in the blob store; undefined where it is used in place. */
  readonly stored: (digest: Digest) => string | undefined
  /** The variant of the repository that gave the image only to a login, if it did; asked once the image is known, and binding for what is fetched then. */
  readonly privateTo: Effect.Effect<string | undefined>
}

/** Layers fetched at once. */
const PARALLEL_LAYERS = 4
/**
 * A layer of this size has the line to itself at first: on one so fast that this is all it needs, the newest is here before the others begin,
 * and merged while they come.
 */
const LARGE = 16 * 1024 * 1024
const HEAD_START = "500 millis"

/** Finds the image of a platform, and checks all that can be checked before a layer is fetched. */
export const resolve = (store: ManifestStore, options: ResolveOptions): Effect.Effect<ResolvedImage, ImageError> =>
  Effect.gen(function* () {
    const { limits } = options
    const found = yield* findManifest(store, options)
    const manifest = found.manifest
    if (manifest.layers.length > limits.layers) {
      return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `${store.name} has ${manifest.layers.length} layers, more than ${limits.layers}`))
    }
    const blobBytes = manifest.layers.reduce((sum, layer) => sum + layer.size, 0)
    if (blobBytes > limits.blobBytes) {
      return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `The layers of ${store.name} have ${blobBytes} bytes, more than ${limits.blobBytes}`))
    }
    if (manifest.config.size > limits.configBytes) {
      return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `The configuration of ${store.name} has ${manifest.config.size} bytes, more than ${limits.configBytes}`))
    }
    const configBytes = yield* store.small(manifest.config, limits.configBytes)
    if (configBytes.length !== manifest.config.size) {
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The configuration of ${store.name} has ${configBytes.length} bytes, and its manifest says ${manifest.config.size}`))
    }
    if (ofBytes(configBytes) !== manifest.config.digest) {
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The configuration of ${store.name} is not what its digest ${manifest.config.digest} says`))
    }
    const config = yield* Manifest.decodeConfig(configBytes, store.name)
    const diffIds = config.rootfs.diff_ids
    if (diffIds.length !== manifest.layers.length) {
      return yield* new ImageError(
        errorFields("IMAGE_CONFIG_INVALID", `The configuration of ${store.name} lists ${diffIds.length} layers, its manifest ${manifest.layers.length}`)
      )
    }
    const offered = yield* platformOf(config, options.platform, store.name)
    const metadata = yield* metadataOf(config, store.name)
    const restarted = yield* Ref.make(false)
    const variant = yield* store.privateTo
    return {
      sourceDigest: manifest.config.digest,
      variant,
      manifestDigest: store.hasManifest ? found.digest : undefined,
      platform: offered,
      metadata,
      isPrivate: variant !== undefined,
      blobs: manifest.layers.map((layer) => ({ digest: layer.digest, bytes: layer.size, stored: store.stored(layer.digest) })),
      open: open(store, manifest.layers, diffIds, options, restarted)
    }
  })

const findManifest = (
  store: ManifestStore,
  options: ResolveOptions,
  entry?: { readonly digest: Digest; readonly size: number },
  depth = 0
): Effect.Effect<{ readonly digest: Digest; readonly manifest: Manifest.Manifest }, ImageError> =>
  Effect.gen(function* () {
    const { bytes, contentType } = yield* store.manifest(entry?.digest)
    const actual = ofBytes(bytes)
    if (entry !== undefined && actual !== entry.digest) {
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The manifest of ${store.name} is not what its digest ${entry.digest} says`))
    }
    if (entry !== undefined && bytes.length !== entry.size) {
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The manifest ${entry.digest} of ${store.name} has ${bytes.length} bytes, and its index says ${entry.size}`))
    }
    const document = yield* Manifest.decodeDocument(bytes, contentType, store.name)
    if (document.kind === "manifest") return { digest: actual, manifest: document.manifest }
    if (depth >= 2) return yield* new ImageError(errorFields("MANIFEST_INVALID", `The index of ${store.name} is nested too deep`))
    const chosen = choose(document.index, options.platform)
    if (chosen === undefined) {
      const offered = [...new Set(document.index.manifests.flatMap((m) => (m.platform === undefined ? [] : [Platform.format({ ...m.platform, variant: m.platform.variant })])))]
        .filter((text) => !text.startsWith("unknown/"))
        .slice(0, 30)
      return yield* new ImageError(
        errorFields("PLATFORM_NOT_FOUND", `${store.name} is not offered for ${Platform.format(options.platform)}${offered.length === 0 ? ", and its index names no other platform" : `, only for ${printable(offered.join(", "))}`}`)
      )
    }
    return yield* findManifest(store, options, chosen, depth + 1)
  })

/** The best entry of an index: the fittest, among equals the first, as other clients choose. */
const choose = (index: Manifest.Index, wanted: Platform.Platform): { readonly digest: Digest; readonly size: number } | undefined => {
  let best: { readonly digest: Digest; readonly size: number; readonly fitness: number } | undefined
  for (const entry of index.manifests) {
    if (entry.platform === undefined) continue
    const fitness = Platform.fitness(wanted, { ...entry.platform, variant: entry.platform.variant })
    if (fitness !== undefined && fitness > (best?.fitness ?? 0)) best = { digest: entry.digest, size: entry.size, fitness }
  }
  // An index of one manifest without a platform is what some builders write; its configuration is checked afterwards.
  const only = index.manifests.length === 1 ? index.manifests[0] : undefined
  return best ?? (only?.platform === undefined ? only : undefined)
}

/** The platform of an image, when it is one that the wanted one runs. */
export const platformOf = (config: Manifest.ImageConfig, wanted: Platform.Platform, where: string): Either.Either<Platform.Platform, ImageError> => {
  const offered: Platform.Platform = { os: config.os ?? "linux", architecture: config.architecture, variant: config.variant }
  return Platform.fitness(wanted, offered) === undefined
    ? Either.left(
        new ImageError(
          errorFields("PLATFORM_NOT_FOUND", `${where} is for ${printable(Platform.format(offered))}, not for ${Platform.format(wanted)}`, {
            remedy: `Pull it with --platform ${printable(Platform.format(offered))}, if the cluster runs that.`
          })
        )
      )
    : Either.right(offered)
}

/** What an image says of how it is run. */
export const metadataOf = (config: Manifest.ImageConfig, where: string): Either.Either<ImageMetadata, ImageError> => {
  const invalid = (why: string) => Either.left(new ImageError(errorFields("IMAGE_CONFIG_INVALID", `The image configuration of ${where} is not valid: ${why}`)))
  const c = config.config ?? {}
  const env = c.Env ?? []
  const words = [...env, ...(c.Entrypoint ?? []), ...(c.Cmd ?? []), c.WorkingDir ?? "", ...(c.Labels ?? []).flat()]
  if (words.some((word) => word.includes("\0") || /\p{Surrogate}/u.test(word))) return invalid("a text in it holds NUL or is no Unicode")
  const nameless = env.find((entry) => !/^[^=]+=/.test(entry))
  if (nameless !== undefined) return invalid(`the environment entry "${nameless.slice(0, 100)}" is not NAME=VALUE`)
  const workdir = c.WorkingDir ?? ""
  if (workdir !== "" && !workdir.startsWith("/")) return invalid(`the working directory "${workdir.slice(0, 100)}" is not absolute`)
  return Either.right({
    env,
    entrypoint: c.Entrypoint ?? [],
    command: c.Cmd ?? [],
    ...(workdir === "" ? {} : { workdir }),
    labels: c.Labels ?? []
  })
}

/** Holds a line while a fetch runs, but not for longer than its head start. */
const ahead = <A>(line: Effect.Semaphore, fetch: Effect.Effect<A, ImageError>): Effect.Effect<A, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const release = yield* Effect.once(line.release(1))
      yield* Effect.acquireRelease(Effect.interruptible(line.take(1)), () => release)
      yield* Effect.forkScoped(Effect.delay(release, HEAD_START))
      return yield* fetch
    })
  )

const open = (
  store: ManifestStore,
  layers: ReadonlyArray<Manifest.Descriptor>,
  diffIds: ReadonlyArray<Digest>,
  { limits, workspace }: ResolveOptions,
  restarted: Ref.Ref<boolean>
): Effect.Effect<RootfsStream, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    // A digest that stands twice (empty layers do) is fetched once.
    const blobs = new Map<Digest, Deferred.Deferred<BlobRange, ImageError>>()
    for (const layer of layers) if (!blobs.has(layer.digest)) blobs.set(layer.digest, yield* Deferred.make<BlobRange, ImageError>())
    const newestFirst = [...layers].reverse().filter((layer, i, all) => all.findIndex((other) => other.digest === layer.digest) === i)
    const awaited = (digest: Digest) => Effect.flatMap(Effect.fromNullable(blobs.get(digest)), Deferred.await).pipe(Effect.catchTag("NoSuchElementException", Effect.die))
    const line = yield* Effect.makeSemaphore(1)
    const fetching = yield* Effect.forEach(
      newestFirst,
      (layer): Effect.Effect<unknown, ImageError> => {
        const blob = blobs.get(layer.digest)
        const fetch = layer.size < LARGE ? store.layer(layer) : ahead(line, store.layer(layer))
        return blob === undefined ? Effect.void : Effect.tap(fetch, (range) => Deferred.succeed(blob, range))
      },
      { concurrency: PARALLEL_LAYERS, discard: true }
    ).pipe(
      // A layer that can't be had ends the wait for all others, whose fetches are interrupted.
      Effect.tapError((error) => Effect.forEach(blobs.values(), (blob) => Deferred.fail(blob, error))),
      Effect.tapDefect((defect) => Effect.forEach(blobs.values(), (blob) => Deferred.failCause(blob, defect))),
      Effect.forkScoped
    )
    const mergeable = layers.map((layer, i): MergeLayer => ({ digest: layer.digest, diffId: diffIds[i] ?? layer.digest, blob: awaited(layer.digest) }))
    return {
      layers: mergeable,
      write: (output, onBytes) =>
        Effect.flatMap(Ref.get(restarted), (plan) => Merge.write(mergeable, output, { program: workspace.program("shifter-merge"), limits, sample: workspace.sample, plan, onBytes })).pipe(
          Effect.tapErrorTag("RestartNeeded", () => Ref.set(restarted, true))
        ),
      fetched: fetching.await.pipe(Effect.flatten)
    }
  })
