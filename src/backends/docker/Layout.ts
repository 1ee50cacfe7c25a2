/**
 * OCI image layouts: a directory with `oci-layout`, `index.json` and `blobs/`. Its files are a stranger's: every digest is checked.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
 * @module
 */
import { createHash } from "node:crypto"
import { constants } from "node:fs"
import { open, readFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Digest, hex, ofBytes } from "../../core/Digest.js"
import { errorFields, ImageError, messageOf, systemCode } from "../../core/Errors.js"
import type { ResolveOptions } from "../../core/Image.js"
import { type ImageRef, pathAndTag } from "../../core/ImageRef.js"
import type { ManifestStore } from "./DockerImage.js"
import * as Manifest from "./Manifest.js"

const TAG = "org.opencontainers.image.ref.name"
const Marker = Schema.parseJson(Schema.Struct({ imageLayoutVersion: Schema.Literal("1.0.0") }))

/** The store of an `oci:DIR[:TAG]` reference. */
export const store = (ref: ImageRef, options: ResolveOptions): Effect.Effect<ManifestStore, ImageError> =>
  Effect.gen(function* () {
    const { path: directory, tag } = pathAndTag(ref)
    const marker = yield* read(directory, "oci-layout", 4096)
    yield* Schema.decode(Marker)(Buffer.from(marker).toString()).pipe(
      Effect.mapError(() => new ImageError(errorFields("LAYOUT_INVALID", `${directory}/oci-layout does not say imageLayoutVersion 1.0.0`)))
    )
    const bytes = yield* read(directory, "index.json", options.limits.manifestBytes)
    const document = yield* Manifest.decodeDocument(bytes, undefined, `${directory}/index.json`)
    if (document.kind !== "index") return yield* new ImageError(errorFields("LAYOUT_INVALID", `${directory}/index.json is no index`))
    const entries = document.index.manifests
    const tagged = tag === undefined ? entries : entries.filter((entry) => entry.annotations?.[TAG] === tag)
    const tags = [...new Set(entries.flatMap((entry) => entry.annotations?.[TAG] ?? []))]
    if (tagged.length === 0) {
      return yield* new ImageError(errorFields("MANIFEST_NOT_FOUND", `The layout ${directory} has no image${tag === undefined ? "" : ` "${tag}"`}; its tags: ${tags.slice(0, 30).join(", ") || "none"}`))
    }
    if (tag === undefined && tags.length > 1) {
      return yield* new ImageError(
        errorFields("MANIFEST_NOT_FOUND", `The layout ${directory} has several images: ${tags.slice(0, 30).join(", ")}`, { remedy: "Name one: oci:DIR:TAG." })
      )
    }
    // One entry is followed whatever it is; several are the platforms of one image.
    const top = tagged.length === 1 ? tagged[0] : undefined
    const topBytes = top === undefined ? Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: tagged })) : undefined
    const name = `oci:${directory}${tag === undefined ? "" : `:${tag}`}`
    return {
      name,
      manifest: (digest) =>
        digest === undefined && topBytes !== undefined
          ? Effect.succeed({ bytes: topBytes, contentType: undefined })
          : Effect.map(blob(directory, digest ?? top?.digest, options.limits.manifestBytes), (bytes) => ({ bytes, contentType: undefined })).pipe(
              Effect.filterOrFail(
                ({ bytes }) => digest !== undefined || (bytes.length === top?.size && ofBytes(bytes) === top.digest),
                () => new ImageError(errorFields("DIGEST_MISMATCH", `The manifest of ${name} has not the size and digest that index.json says`))
              )
            ),
      small: (descriptor, limit) => blob(directory, descriptor.digest, limit),
      layer: (descriptor) => verified(blobPath(directory, descriptor.digest), descriptor, name, options),
      stored: () => undefined,
      isPrivate: Effect.succeed(false)
    }
  })

const blobPath = (directory: string, digest: Digest) => nodePath.join(directory, "blobs", "sha256", hex(digest))

const blob = (directory: string, digest: Digest | undefined, limit: number) =>
  digest === undefined
    ? Effect.fail(new ImageError(errorFields("LAYOUT_INVALID", `The layout ${directory} names no manifest`)))
    : read(directory, `blobs/sha256/${hex(digest)}`, limit)

const read = (directory: string, file: string, limit: number) =>
  Effect.tryPromise({
    try: async () => {
      const handle = await open(nodePath.join(directory, file), constants.O_RDONLY | constants.O_NONBLOCK)
      try {
        const stat = await handle.stat()
        if (!stat.isFile()) throw new Error("it is no regular file")
        if (stat.size > limit) throw new Error(`it has ${stat.size} bytes, more than ${limit}`)
        return await readFile(handle)
      } finally {
        await handle.close()
      }
    },
    catch: (error) =>
      systemCode(error) === "ENOENT"
        ? new ImageError(errorFields(file === "oci-layout" ? "MANIFEST_NOT_FOUND" : "LAYOUT_INVALID", `${nodePath.join(directory, file)} does not exist`, { cause: error, remedy: "Name the directory of an OCI image layout." }))
        : new ImageError(errorFields("LAYOUT_INVALID", `${nodePath.join(directory, file)} can't be read: ${messageOf(error)}`, { cause: error }))
  })

/** Checks a layer's blob where it lies. */
const verified = (file: string, descriptor: Manifest.Descriptor, name: string, options: ResolveOptions) =>
  Effect.tryPromise({
    try: async (signal) => {
      const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
      const hash = createHash("sha256")
      let bytes = 0
      try {
        if (!(await handle.stat()).isFile()) throw new Error("it is no regular file")
        for await (const chunk of handle.createReadStream({ highWaterMark: 1024 * 1024, autoClose: false })) {
          signal.throwIfAborted()
          bytes += (chunk as Buffer).length
          hash.update(chunk as Buffer)
        }
      } finally {
        await handle.close()
      }
      const digest = hash.digest("hex")
      if (bytes !== descriptor.size) {
        throw new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${descriptor.digest} of ${name} has ${bytes} bytes, and its manifest says ${descriptor.size}`))
      }
      if (digest !== hex(descriptor.digest)) {
        throw new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${descriptor.digest} of ${name} has the digest sha256:${digest}`))
      }
      options.onProgress({ _tag: "Layer", digest: descriptor.digest, received: bytes, bytes, cached: true })
      return { file, offset: 0, length: bytes }
    },
    catch: (error) =>
      error instanceof ImageError
        ? error
        : new ImageError(errorFields("LAYOUT_INVALID", `The layer ${file} can't be read: ${messageOf(error)}`, { cause: error }))
  })
