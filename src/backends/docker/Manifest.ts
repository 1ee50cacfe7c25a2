/**
 * Manifests, indexes and image configurations: OCI image specification 1.1 and Docker schema 2.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md
 * @see https://distribution.github.io/distribution/spec/manifest-v2-2/
 * @module
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { Digest } from "../../core/Digest.js"
import { errorFields, ImageError } from "../../core/Errors.js"
import * as Json from "./Json.js"

export const mediaTypes = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json"
} as const

/** Layers as they may be called: file systems as tar. */
const layerTypes = /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)(?:[+.](?:gzip|zstd))?$/
/** Layers that lie elsewhere, in the words of both standards. */
const foreign = /^application\/vnd\.(?:oci\.image\.layer\.nondistributable|docker\.image\.rootfs\.foreign)\./

/** What a client of this library accepts, for the `Accept` header. */
export const accepted = Object.values(mediaTypes).join(", ")

const Size = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))

/** A reference to content by digest. */
export const Descriptor = Schema.Struct({
  mediaType: Schema.optional(Schema.String),
  digest: Digest,
  size: Size,
  urls: Schema.optional(Schema.Array(Schema.String))
})
export type Descriptor = typeof Descriptor.Type

const IndexEntry = Schema.Struct({
  mediaType: Schema.optional(Schema.String),
  digest: Digest,
  size: Size,
  platform: Schema.optional(
    Schema.Struct({ os: Schema.String, architecture: Schema.String, variant: Schema.optional(Schema.String) })
  ),
  annotations: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
})

export const Index = Schema.Struct({
  schemaVersion: Schema.Literal(2),
  mediaType: Schema.optional(Schema.String),
  manifests: Schema.Array(IndexEntry)
})
export type Index = typeof Index.Type

export const Manifest = Schema.Struct({
  schemaVersion: Schema.Literal(2),
  mediaType: Schema.optional(Schema.String),
  config: Descriptor,
  layers: Schema.Array(Descriptor)
})
export type Manifest = typeof Manifest.Type

const Words = Schema.NullishOr(Schema.Array(Schema.String))

/** Names and values in their order. A record would lose the name `__proto__`. */
const Labels = Schema.transform(
  Schema.Object.pipe(Schema.filter((value) => !Array.isArray(value) || "Expected an object of labels")),
  Schema.Array(Schema.Tuple(Schema.String, Schema.String)),
  { strict: false, decode: (labels: object): ReadonlyArray<readonly [string, unknown]> => Object.entries(labels), encode: (labels) => Object.fromEntries(labels) }
)

export const ImageConfig = Schema.Struct({
  os: Schema.optional(Schema.String),
  architecture: Schema.String,
  variant: Schema.optional(Schema.String),
  config: Schema.NullishOr(
    Schema.Struct({
      Env: Schema.optional(Words),
      Entrypoint: Schema.optional(Words),
      Cmd: Schema.optional(Words),
      WorkingDir: Schema.optional(Schema.NullishOr(Schema.String)),
      Labels: Schema.optional(Schema.NullishOr(Labels))
    })
  ).pipe(Schema.optional),
  rootfs: Schema.Struct({ type: Schema.Literal("layers"), diff_ids: Schema.Array(Digest) })
})
export type ImageConfig = typeof ImageConfig.Type

/** A document that a reference leads to. */
export type Document = { readonly kind: "index"; readonly index: Index } | { readonly kind: "manifest"; readonly manifest: Manifest }

/**
 * Reads a manifest or index. What it is must follow from its content alone: a document that could be read as both, or as another kind than
 * its media type says, is refused.
 */
export const decodeDocument = (bytes: Uint8Array, contentType: string | undefined, where: string): Either.Either<Document, ImageError> => {
  const invalid = (why: string) => Either.left(new ImageError(errorFields("MANIFEST_INVALID", `The manifest of ${where} is not valid: ${why}`)))
  const unsupported = (why: string) =>
    Either.left(new ImageError(errorFields("MANIFEST_UNSUPPORTED", `The manifest of ${where} is not supported: ${why}`)))
  const parsed = Json.parse(bytes)
  if (Either.isLeft(parsed)) return invalid(`${parsed.left}${contentType === undefined ? "" : ` (it was sent as "${contentType.slice(0, 100)}")`}`)
  const json = parsed.right
  if (typeof json !== "object" || json === null || Array.isArray(json)) return invalid("it is no JSON object")
  const has = (key: string) => Object.hasOwn(json, key)
  const version = "schemaVersion" in json ? json.schemaVersion : undefined
  if (version === 1 || has("fsLayers") || has("signatures")) return unsupported("it has schema version 1, which registries have retired")
  if (has("manifests") && (has("layers") || has("config"))) return invalid("it could be read as a manifest and as an index")
  const stated = "mediaType" in json && typeof json.mediaType === "string" ? json.mediaType : undefined
  const type = contentType?.split(";")[0]?.trim().toLowerCase()
  const known: ReadonlyArray<string> = Object.values(mediaTypes)
  for (const each of [stated, type]) {
    if (each === undefined || known.includes(each)) continue
    // Layouts and lax registries serve plain JSON; the content decides.
    if (each === type && (each === "application/json" || each === "application/octet-stream" || each === "text/plain")) continue
    return unsupported(`its media type is "${each}"`)
  }
  if (stated !== undefined && type !== undefined && known.includes(type) && stated !== type) {
    return invalid(`it says it is "${stated}", but was sent as "${type}"`)
  }
  const isIndex = has("manifests")
  for (const each of [stated, type]) {
    if (each === undefined || !known.includes(each)) continue
    if ((each === mediaTypes.ociIndex || each === mediaTypes.dockerList) !== isIndex) return invalid(`its content does not fit its media type "${each}"`)
  }
  if (isIndex) {
    const index = Schema.decodeUnknownEither(Index)(json)
    return Either.isLeft(index) ? invalid(reason(index.left)) : Either.right({ kind: "index", index: index.right })
  }
  const manifest = Schema.decodeUnknownEither(Manifest)(json)
  if (Either.isLeft(manifest)) return invalid(reason(manifest.left))
  const sizes = new Map<string, number>()
  for (const layer of manifest.right.layers) {
    if ((sizes.get(layer.digest) ?? layer.size) !== layer.size) return invalid(`it says two sizes of the layer ${layer.digest}`)
    sizes.set(layer.digest, layer.size)
    if ((layer.urls !== undefined && layer.urls.length > 0) || foreign.test(layer.mediaType ?? "")) return unsupported(`its layer ${layer.digest} lies elsewhere (a foreign layer)`)
    if (layer.mediaType !== undefined && !layerTypes.test(layer.mediaType)) {
      const why = layer.mediaType.endsWith("+encrypted") ? "which is encrypted" : "no file system layer"
      return unsupported(`its layer ${layer.digest} is "${layer.mediaType.slice(0, 200)}", ${why}`)
    }
  }
  const config = manifest.right.config.mediaType
  if (config !== undefined && config !== "application/vnd.oci.image.config.v1+json" && config !== "application/vnd.docker.container.image.v1+json") {
    return unsupported(`its configuration is "${config}": an artifact, no image`)
  }
  return Either.right({ kind: "manifest", manifest: manifest.right })
}

/** Reads an image configuration. */
export const decodeConfig = (bytes: Uint8Array, where: string): Either.Either<ImageConfig, ImageError> => {
  const invalid = (why: string) => Either.left(new ImageError(errorFields("IMAGE_CONFIG_INVALID", `The image configuration of ${where} is not valid: ${why}`)))
  const parsed = Json.parse(bytes)
  if (Either.isLeft(parsed)) return invalid(parsed.left)
  const config = Schema.decodeUnknownEither(ImageConfig)(parsed.right)
  return Either.isLeft(config) ? invalid(reason(config.left)) : Either.right(config.right)
}

/** The innermost of a schema's complaints, with the path to it. What may be null is complained of as not null too. */
const reason = (error: ParseResult.ParseError): string => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
  const depth = Math.max(...issues.map(({ path }) => path.length))
  const deepest = issues.filter(({ path }) => path.length === depth)
  const { message, path } = deepest.find(({ message }) => !/^Expected (?:undefined|null),/.test(message)) ?? deepest[0] ?? { message: error.message, path: [] }
  // A schema's own name of what it expects is a page long.
  const what = message.length > 200 ? `${message.slice(0, 80)}…, ${/actual .{0,80}/s.exec(message.slice(-200))?.[0] ?? ""}` : message
  return path.length === 0 ? what : `"${path.map(String).join(".")}": ${what}`
}
