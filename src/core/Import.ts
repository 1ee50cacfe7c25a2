/**
 * Imports: a file of a user's own becomes the image of a name: a root file system (`custom:`), a disk (`vm:`), a tree (`chos:`). Where it comes from differs;
 * from then on it is a pull like any.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { copyFile, link } from "node:fs/promises"
import * as nodePath from "node:path"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { checked } from "./Checked.js"
import { makeDirectory } from "./Disk.js"
import { download } from "./Download.js"
import { errorFields, GatewayError, type ImageError, messageOf, printable, storageCode, systemCode } from "./Errors.js"
import * as GivenPath from "./GivenPath.js"
import { type Described, type GivenFile, Image, type ResolveOptions } from "./Image.js"
import { Acl, type ImageMetadata, MetadataFields, Requester } from "./ImageRecord.js"
import type { ImageType } from "./ImageRef.js"
import * as ImageRef from "./ImageRef.js"
import * as ImportSettings from "./ImportSettings.js"
import type { OnProgress } from "./Progress.js"
import { pull } from "./Pull.js"
import type { Site } from "./Site.js"
import type { Uploads } from "./Uploads.js"

const hash = Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/, { message: () => "64 lower-case hex digits" }))

/** Where the file comes from. */
export const ImportSource = Schema.Union(
  /** An absolute path. For a requester it lies below a directory that the site imports from, and is his own. */
  Schema.TaggedStruct("Path", { path: Schema.NonEmptyString }),
  /** A complete upload of the requester's; it is removed when it is imported, unless the request keeps it. */
  Schema.TaggedStruct("Upload", { id: Schema.String }),
  /** A URL of https, where the site allows them. `sha256` is what its bytes must have, in hex. */
  Schema.TaggedStruct("Url", { url: Schema.String.pipe(Schema.maxLength(8192)), sha256: Schema.optional(hash) })
)
export type ImportSource = typeof ImportSource.Type

/** What is imported, and for whom. */
export interface ImportRequest {
  /** `custom:NAME[:TAG]`, `vm:NAME[:TAG]` or `chos:NAME`. */
  readonly reference: string
  readonly source: ImportSource
  /** Name of a system; the site's default without it. */
  readonly system?: string | undefined
  /** `os/arch[/variant]` that the image is for; this machine's without it. */
  readonly platform?: string | undefined
  /** Who asks, and whose the image will be. Without him it is this process's user, who may import what he can read. */
  readonly requester?: Requester | undefined
  /** Makes the image private to its owner and these users, at most 1,000. Empty: to its owner alone. Without both lists everyone may use it. */
  readonly allowUids?: ReadonlyArray<number> | undefined
  /** Makes the image private to its owner and these groups, at most 1,000. Empty: to its owner alone. */
  readonly allowGids?: ReadonlyArray<number> | undefined
  /** Which root file system of a disk is meant, where it has several. */
  readonly partition?: string | undefined
  /** What the image says about running it, over what its source says, which is nothing for a `custom:` file. */
  readonly metadata?: Partial<ImageMetadata> | undefined
  /** Leaves an upload to the caller, who removes it when he has noted that it is imported. */
  readonly keepsUpload?: boolean | undefined
  /** Told what happens. One that throws is told nothing more. */
  readonly onProgress?: OnProgress | undefined
}

const Checked = Schema.Struct({
  reference: Schema.String,
  source: ImportSource,
  system: Schema.optional(Schema.String),
  platform: Schema.optional(Schema.String),
  requester: Schema.optional(Requester),
  allowUids: Schema.optional(Acl),
  allowGids: Schema.optional(Acl),
  partition: Schema.optional(Schema.String),
  metadata: Schema.optional(Schema.partial(MetadataFields))
})

/** One import, in a scope that ends with it. */
export const importImage = (site: Site, uploads: typeof Uploads.Service, http: HttpClient.HttpClient, request: ImportRequest) =>
  Effect.gen(function* () {
    const { metadata: stated = {}, source } = yield* checked(Checked, request)
    const ref = yield* ImageRef.parse(request.reference, site.defaultImageType)
    const image = yield* Image
    yield* image.importable(ref)
    yield* ImportSettings.permitted(site.import, request.requester?.uid)
    const owner = request.requester?.uid ?? process.getuid?.() ?? 0
    const record = yield* pull(site, request, {
      resolve: (_, options) =>
        Effect.gen(function* () {
          const file = yield* acquire(site, uploads, http, request, source, owner, options)
          const resolved = yield* image.resolve(ref, { ...options, file })
          const over = ({ metadata, platform }: Described): Described => ({ platform, metadata: merged(metadata, stated) })
          return {
            ...resolved,
            ...over(resolved),
            read: resolved.read === undefined ? undefined : Effect.map(resolved.read, over),
            variant: variantOf(ref.type, owner, stated, resolved.variant)
          }
        }),
      mayRename: (current) =>
        request.requester === undefined || current.owner === request.requester.uid
          ? Effect.void
          : Effect.fail(new GatewayError(errorFields("ACCESS_DENIED", `The name ${printable(`${ref.type}:${ref.reference}`)} is another user's`, { remedy: "Choose another name." })))
    })
    if (source._tag === "Upload" && request.keepsUpload !== true) yield* Effect.ignore(uploads.cancel(source.id, owner))
    return record
  })

/** What the importer says of how the image is run. */
type Stated = { readonly [K in keyof ImageMetadata]?: ImageMetadata[K] | undefined }

/**
 * What decides the image beside the bytes of its file. Two users who import the same file have an image each: what one says of how it is run, and to
 * whom he gives it, is no business of the other's. And no image of another type has the same id, whatever the bytes are.
 */
const variantOf = (type: ImageType, owner: number, { command = [], entrypoint = [], env = [], labels = [], workdir }: Stated, ofSource: string | undefined): string => {
  const said = createHash("sha256").update(JSON.stringify([env, entrypoint, command, workdir ?? null, labels])).digest("hex")
  return `${type} 1 ${owner} ${said}${ofSource === undefined ? "" : ` ${ofSource}`}`
}

/** What a source says, and over it what the importer says: a variable or label of his takes the place of one that has the same name. */
const merged = (source: ImageMetadata, { command, entrypoint, env = [], labels = [], workdir = source.workdir }: Stated): ImageMetadata => {
  const nameOf = (variable: string) => variable.split("=", 1)[0]
  return {
    env: [...source.env.filter((each) => !env.some((own) => nameOf(own) === nameOf(each))), ...env],
    entrypoint: entrypoint ?? source.entrypoint,
    command: command ?? source.command,
    labels: [...source.labels.filter(([key]) => !labels.some(([own]) => own === key)), ...labels],
    ...(workdir === undefined ? {} : { workdir })
  }
}

/** The file, in the scratch directory. */
const acquire = (
  site: Site,
  uploads: typeof Uploads.Service,
  http: HttpClient.HttpClient,
  request: ImportRequest,
  source: ImportSource,
  owner: number,
  { limits, onProgress, workspace }: ResolveOptions
): Effect.Effect<GivenFile, ImageError | GatewayError> =>
  Effect.gen(function* () {
    const file = nodePath.join(workspace.scratch, "import")
    const failed = (error: unknown) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The scratch directory ${workspace.scratch}: ${messageOf(error)}`, { cause: error }))
    yield* Effect.tryPromise({ try: () => makeDirectory(workspace.scratch, true), catch: failed })
    switch (source._tag) {
      case "Path":
        return yield* GivenPath.copy(source.path, request.requester === undefined ? undefined : { owner, roots: site.import.roots }, {
          program: workspace.program("shifter-open"),
          file,
          most: limits.blobBytes
        })
      case "Upload": {
        const uploaded = yield* uploads.file(source.id, owner)
        // It stays here if the upload expires meanwhile.
        yield* Effect.tryPromise({
          try: () =>
            link(uploaded.path, file).catch((error: unknown) => {
              if (systemCode(error) !== "EXDEV") throw error
              return copyFile(uploaded.path, file)
            }),
          catch: failed
        })
        return { path: file, bytes: uploaded.bytes, digest: uploaded.digest }
      }
      case "Url":
        return yield* download(source.url, {
          file,
          settings: site.import,
          sha256: source.sha256,
          onBytes: (received, bytes) => onProgress({ _tag: "Received", received, bytes })
        }).pipe(Effect.provideService(HttpClient.HttpClient, http))
    }
  })
