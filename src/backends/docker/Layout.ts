/**
 * OCI image layouts: `oci-layout`, `index.json` and `blobs/`. Its files are a stranger's: every digest is checked.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Digest, hex, ofBytes } from "../../core/Digest.js"
import { errorFields, ImageError } from "../../core/Errors.js"
import type { ResolveOptions } from "../../core/Image.js"
import { type ImageRef, pathAndTag } from "../../core/ImageRef.js"
import type { ManifestStore } from "./DockerImage.js"
import * as ImageFiles from "./ImageFiles.js"
import * as Manifest from "./Manifest.js"

const TAG = "org.opencontainers.image.ref.name"
const Marker = Schema.parseJson(Schema.Struct({ imageLayoutVersion: Schema.Literal("1.0.0") }))

/** The store of an `oci:DIR[:TAG]` reference. */
export const store = (ref: ImageRef, options: ResolveOptions): Effect.Effect<ManifestStore, ImageError> => {
  const { path, tag } = pathAndTag(ref)
  return storeOf(ImageFiles.directory(path), tag, "oci", options)
}

/** The store of a layout's files, for the image of a tag or a digest, or the only one. */
export const storeOf = (files: ImageFiles.ImageFiles, wanted: string | { readonly digest: Digest } | undefined, type: "oci" | "oci-archive", options: ResolveOptions): Effect.Effect<ManifestStore, ImageError> =>
  Effect.gen(function* () {
    if (!(yield* files.has("oci-layout"))) {
      return yield* new ImageError(
        errorFields("MANIFEST_NOT_FOUND", `${files.name} holds no file oci-layout, or does not exist`, {
          remedy: type === "oci" ? "Name the directory of an OCI image layout." : "Name an archive of an OCI image layout."
        })
      )
    }
    const marker = yield* ImageFiles.read(files, "oci-layout", 4096)
    yield* Schema.decode(Marker)(Buffer.from(marker).toString()).pipe(
      Effect.mapError(() => new ImageError(errorFields("LAYOUT_INVALID", `oci-layout of ${files.name} does not say imageLayoutVersion 1.0.0`)))
    )
    const bytes = yield* ImageFiles.read(files, "index.json", options.limits.manifestBytes)
    const document = yield* Manifest.decodeDocument(bytes, undefined, `index.json of ${files.name}`)
    if (document.kind !== "index") return yield* new ImageError(errorFields("LAYOUT_INVALID", `index.json of ${files.name} is no index`))
    // By digest it is one image, however many names it has.
    const entries = typeof wanted === "object" ? document.index.manifests.filter(({ digest }) => digest === wanted.digest).slice(0, 1) : document.index.manifests
    const tag = typeof wanted === "object" ? undefined : wanted
    const tagged = tag === undefined ? entries : entries.filter((entry) => entry.annotations?.[TAG] === tag)
    const tags = [...new Set(entries.flatMap((entry) => entry.annotations?.[TAG] ?? []))]
    if (tagged.length === 0) {
      return yield* new ImageError(errorFields("MANIFEST_NOT_FOUND", `The layout ${files.name} has no image${tag === undefined ? "" : ` "${tag}"`}; its tags: ${tags.slice(0, 30).join(", ") || "none"}`))
    }
    if (tag === undefined && tags.length > 1) {
      return yield* new ImageError(
        errorFields("MANIFEST_NOT_FOUND", `The layout ${files.name} has several images: ${tags.slice(0, 30).join(", ")}`, { remedy: `Name one: ${type}:PATH:TAG.` })
      )
    }
    // One entry is followed whatever it is; several are the platforms of one image.
    const top = tagged.length === 1 ? tagged[0] : undefined
    const topBytes = top === undefined ? Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: tagged })) : undefined
    const name = `${type}:${files.name}${tag === undefined ? "" : `:${tag}`}`
    return {
      name,
      hasManifest: true,
      manifest: (digest) =>
        digest === undefined && topBytes !== undefined
          ? Effect.succeed({ bytes: topBytes, contentType: undefined })
          : Effect.map(blob(files, digest ?? top?.digest, options.limits.manifestBytes), (bytes) => ({ bytes, contentType: undefined })).pipe(
              Effect.filterOrFail(
                ({ bytes }) => digest !== undefined || (bytes.length === top?.size && ofBytes(bytes) === top.digest),
                () => new ImageError(errorFields("DIGEST_MISMATCH", `The manifest of ${name} has not the size and digest that index.json says`))
              )
            ),
      small: (descriptor, limit) => blob(files, descriptor.digest, limit),
      layer: (descriptor) =>
        Effect.tap(ImageFiles.verified(files, blobPath(descriptor.digest), descriptor, `The layer ${descriptor.digest} of ${name}`), (range) =>
          Effect.sync(() => {
            options.onProgress({ _tag: "Layer", digest: descriptor.digest, received: range.length, bytes: range.length, cached: true })
          })
        ),
      stored: () => undefined,
      privateTo: Effect.succeed(undefined)
    }
  })

const blobPath = (digest: Digest) => `blobs/sha256/${hex(digest)}`

const blob = (files: ImageFiles.ImageFiles, digest: Digest | undefined, limit: number) =>
  digest === undefined
    ? Effect.fail(new ImageError(errorFields("LAYOUT_INVALID", `The layout ${files.name} names no manifest`)))
    : ImageFiles.read(files, blobPath(digest), limit)
