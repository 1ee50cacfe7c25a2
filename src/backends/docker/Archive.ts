/**
 * Archives: `docker save` in its old form and with an OCI layout inside (`docker-archive:`), and OCI layouts as tar (`oci-archive:`), plain or
 * compressed. A plain archive is read in place; a compressed one is inflated once, in a sandbox, into the pull's own scratch directory.
 *
 * @see https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md#combined-image-json--filesystem-changeset-format
 * @module
 */
import { open } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type Digest, ofBytes } from "../../core/Digest.js"
import { makeDirectory } from "../../core/Disk.js"
import { errorFields, ImageError, messageOf, printable, storageCode } from "../../core/Errors.js"
import * as Filter from "../../core/Filter.js"
import type { ResolveOptions } from "../../core/Image.js"
import { type ImageRef, pathAndTag } from "../../core/ImageRef.js"
import type { BlobRange } from "../../core/Merge.js"
import * as TarIndex from "../../core/TarIndex.js"
import type { ManifestStore } from "./DockerImage.js"
import * as ImageFiles from "./ImageFiles.js"
import * as Json from "./Json.js"
import * as Layout from "./Layout.js"
import * as Manifest from "./Manifest.js"

/** The store of a `docker-archive:FILE[:TAG]` reference. */
export const dockerStore = (ref: ImageRef, options: ResolveOptions): Effect.Effect<ManifestStore, ImageError, Scope.Scope> => {
  const { path, tag } = pathAndTag(ref)
  return Effect.flatMap(files(path, options), (members) => savedStore(members, tag, `docker-archive:${path}${tag === undefined ? "" : `:${tag}`}`, options))
}

/** The store of an `oci-archive:FILE[:TAG]` reference. */
export const ociStore = (ref: ImageRef, options: ResolveOptions): Effect.Effect<ManifestStore, ImageError, Scope.Scope> => {
  const { path, tag } = pathAndTag(ref)
  return Effect.flatMap(files(path, options), (members) => Layout.storeOf(members, tag, "oci-archive", options))
}

const Saved = Schema.Array(
  Schema.Struct({
    Config: Schema.String,
    RepoTags: Schema.NullishOr(Schema.Array(Schema.String)),
    Layers: Schema.Array(Schema.String)
  })
)

/** What `docker save` writes: `manifest.json` names a configuration and layers for each image. */
export const savedStore = (
  members: ImageFiles.ImageFiles,
  tag: string | undefined,
  name: string,
  options: ResolveOptions
): Effect.Effect<ManifestStore, ImageError> =>
  Effect.gen(function* () {
    const invalid = (why: string) => new ImageError(errorFields("LAYOUT_INVALID", `manifest.json of ${members.name} is not what docker save writes${why}`))
    const json = yield* Either.mapLeft(Json.parse(yield* ImageFiles.read(members, "manifest.json", options.limits.manifestBytes)), (why) => invalid(`: ${why}`))
    const images = yield* Schema.decodeUnknown(Saved)(json).pipe(Effect.mapError(() => invalid("")))
    const tags = [...new Set(images.flatMap((image) => image.RepoTags ?? []))]
    const chosen = tag === undefined ? images : images.filter((image) => image.RepoTags?.some((each) => each.endsWith(`:${tag}`)) === true)
    const [image, another] = chosen
    if (image === undefined || another !== undefined) {
      const there = printable(tags.slice(0, 30).join(", ") || "no tag")
      return yield* new ImageError(
        errorFields("MANIFEST_NOT_FOUND", `The archive ${members.name} has ${image === undefined ? "no image" : "several images"}${tag === undefined ? "" : ` "${tag}"`}; its tags: ${there}`, {
          remedy: another !== undefined && tag !== undefined ? "Save the one that is meant alone." : "Name one: docker-archive:FILE:TAG."
        })
      )
    }
    const config = yield* ImageFiles.read(members, image.Config, options.limits.configBytes)
    const { rootfs } = yield* Manifest.decodeConfig(config, name)
    if (rootfs.diff_ids.length !== image.Layers.length) {
      return yield* new ImageError(
        errorFields("IMAGE_CONFIG_INVALID", `The configuration of ${name} lists ${rootfs.diff_ids.length} layers, its manifest ${image.Layers.length}`)
      )
    }
    // Layers have no digest of their own here; the diff id, which the merge checks, names them.
    const ranges = new Map<Digest, BlobRange>()
    for (const [i, digest] of rootfs.diff_ids.entries()) ranges.set(digest, yield* members.range(image.Layers[i] ?? ""))
    const manifest = {
      schemaVersion: 2,
      config: { digest: ofBytes(config), size: config.length },
      layers: rootfs.diff_ids.map((digest) => ({ digest, size: ranges.get(digest)?.length ?? 0 }))
    }
    const bytes = Buffer.from(JSON.stringify(manifest))
    return {
      name,
      manifest: () => Effect.succeed({ bytes, contentType: undefined }),
      hasManifest: false,
      small: () => Effect.succeed(config),
      layer: (descriptor) => {
        const range = ranges.get(descriptor.digest)
        if (range === undefined) return Effect.fail(new ImageError(errorFields("LAYOUT_INVALID", `${name} has no layer ${descriptor.digest}`)))
        options.onProgress({ _tag: "Layer", digest: descriptor.digest, received: range.length, bytes: range.length, cached: true })
        return Effect.succeed(range)
      },
      stored: () => undefined,
      privateTo: Effect.succeed(undefined)
    }
  })

/** The members of an archive file, for as long as the scope lasts. */
export const files = (path: string, options: ResolveOptions): Effect.Effect<ImageFiles.ImageFiles, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const given = yield* ImageFiles.regular(path).pipe(
      Effect.mapError((error) => new ImageError(errorFields("MANIFEST_NOT_FOUND", error.what, { cause: error, remedy: "Name an archive file that this account can read." })))
    )
    const magic = Buffer.alloc(4)
    yield* Effect.tryPromise({ try: () => given.handle.read(magic, 0, 4, 0), catch: (error) => ImageFiles.unreadable(path, error) })
    const compressed = magic.readUInt16BE(0) === 0x1f8b || magic.readUInt32LE(0) === 0xfd2fb528
    const file = compressed ? nodePath.join(options.workspace.scratch, "archive.tar") : path
    if (compressed) yield* inflate(given.handle.fd, path, file, options)
    const plain = compressed ? yield* ImageFiles.regular(file) : given
    const members = yield* TarIndex.read(plain.handle, plain.size, path, "LAYOUT_INVALID")
    const find = (name: string, links = 0): TarIndex.Member | undefined => {
      const member = members.get(name)
      return member?._tag === "Link" && links < 8 ? find(member.target, links + 1) : member
    }
    return {
      name: path,
      has: (name) => Effect.sync(() => find(name)?._tag === "File"),
      range: (name) => {
        const member = find(name)
        return member?._tag === "File"
          ? Effect.succeed({ file, offset: member.offset, length: member.size })
          : Effect.fail(new ImageError(errorFields("LAYOUT_INVALID", `The archive ${path} has no file "${printable(name)}"`)))
      }
    }
  })

const inflate = (input: number, path: string, file: string, options: ResolveOptions) =>
  Effect.scoped(
    Effect.gen(function* () {
      const unusable = (error: unknown) =>
        new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The archive ${path} can't be inflated to ${file}: ${messageOf(error)}`, { cause: error }))
      const out = yield* Effect.acquireRelease(
        Effect.tryPromise({ try: () => makeDirectory(options.workspace.scratch, true).then(() => open(file, "w", 0o600)), catch: unusable }),
        (handle) => Effect.promise(() => handle.close())
      )
      const { inflatedBytes, ratio } = options.limits
      yield* Filter.run({
        name: "shifter-inflate",
        program: options.workspace.program("shifter-inflate"),
        args: [String(inflatedBytes), String(ratio)],
        stdin: input,
        stdout: out.fd,
        purpose: "The archive can't be inflated",
        // It speaks of layers, and this is none.
        worded: (code, what) => errorFields(code === "LAYER_INVALID" ? "LAYOUT_INVALID" : code, `The archive ${path}${code === "STORAGE_FULL" ? `, inflated to ${file}` : ""}: ${what}`)
      })
    })
  )
