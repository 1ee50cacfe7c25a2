/**
 * The service `Image`: finds out what a reference is, by the source of its type. A new source is one small module that makes an
 * {@link ImageSource}.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Digest } from "./Digest.js"
import { errorFields, ImageError } from "./Errors.js"
import type { ImageMetadata } from "./ImageRecord.js"
import type { ImageRef, ImageType } from "./ImageRef.js"
import type { PullLimits } from "./Limits.js"
import type { Platform } from "./Platform.js"
import type { OnProgress } from "./Progress.js"
import type { RootfsStream } from "./RootfsStream.js"

/** User name and password for a registry. */
export interface Credentials {
  readonly username: string
  readonly password: Redacted.Redacted
}

/** What a source works with. */
export interface Workspace {
  /** Verified blobs, by the names of `BlobStore`; shared by all pulls. */
  readonly blobs: string
  /** What earlier pulls left of blobs that were cut off. */
  readonly partials: string
  /** For this pull alone; removed after it. */
  readonly scratch: string
  /** The path of a native program. */
  readonly program: (name: "shifter-merge" | "shifter-inflate" | "shifter-verify" | "shifter-unsquash" | "shifter-open" | "shifter-tree" | "shifter-confined" | "shifter-disk") => string
  /** Which contents of the stream are counted, so that the packed image can be compared with it. */
  readonly sample: string
}

/** A file that is imported: in the pull's own scratch directory, where nobody else changes it. */
export interface GivenFile {
  readonly path: string
  readonly bytes: number
  /** Of its bytes. */
  readonly digest: Digest
}

export interface ResolveOptions {
  readonly platform: Platform
  readonly credentials: Credentials | undefined
  readonly limits: PullLimits
  readonly onProgress: OnProgress
  /** For as long as the scope that the image is resolved in. */
  readonly workspace: Workspace
  /** What the reference is to name, where it is imported. */
  readonly file?: GivenFile | undefined
  /** Which root file system is meant, of a source that may hold several, as the request names it. */
  readonly partition?: string | undefined
}

/** What an image says about itself. */
export interface Described {
  readonly platform: Platform
  readonly metadata: ImageMetadata
}

/** An image that a source has found. */
export interface ResolvedImage extends Described {
  /** What is converted; see `formats/README.md`. */
  readonly sourceDigest: Digest
  /**
   * What else decides the image, for sources whose digest says too little. What is private shares its id only with what has the same variant: with what
   * whoever may have it may know of. Without it that is its reference alone.
   */
  readonly variant?: string | undefined
  readonly manifestDigest: Digest | undefined
  /** What takes the place of `platform` and `metadata`, for sources that know it only once they have read everything. Asked for where the image is to be converted. */
  readonly read?: Effect.Effect<Described, ImageError, Scope.Scope> | undefined
  /** Whether the source gave it only to the credentials. */
  readonly isPrivate: boolean
  /** What will be fetched, oldest layer first; empty for sources without layers. */
  readonly blobs: ReadonlyArray<{
    readonly digest: Digest
    readonly bytes: number
    /** Its name in the blob store, if it will be there. */
    readonly stored: string | undefined
  }>
  /** Starts fetching, and merging as soon as the first part is here. */
  readonly open: Effect.Effect<RootfsStream, ImageError, Scope.Scope>
}

/** A source of images. */
export interface ImageSource {
  readonly types: ReadonlyArray<ImageType>
  readonly resolve: (ref: ImageRef, options: ResolveOptions) => Effect.Effect<ResolvedImage, ImageError, Scope.Scope>
  /** Why a file can't be imported under a reference of its types; undefined where it can. Without it none can. */
  readonly refusesImport?: ((ref: ImageRef) => Refusal | undefined) | undefined
}

/** Why something is not done, and what to do instead. */
export interface Refusal {
  readonly what: string
  readonly remedy: string
}

export class Image extends Context.Tag("shifter-sdk/Image")<
  Image,
  {
    /** Finds an image. Fails with `SOURCE_UNSUPPORTED` when no source has the type. */
    readonly resolve: (ref: ImageRef, options: ResolveOptions) => Effect.Effect<ResolvedImage, ImageError, Scope.Scope>
    /** Fails with `REFERENCE_INVALID` where no file can be imported under a reference. */
    readonly importable: (ref: ImageRef) => Effect.Effect<void, ImageError>
  }
>() {}

/** The service over a list of sources; of several for one type, the first is asked. */
export const layer = (sources: ReadonlyArray<ImageSource>) =>
  Layer.succeed(
    Image,
    Image.of({
      importable: (ref) => {
        const refusesImport = sources.find((each) => each.types.includes(ref.type))?.refusesImport
        const name = `${ref.type}:${ref.reference}`
        const refusal = refusesImport === undefined ? { what: `An import can't be named ${name}`, remedy: "Name it custom:NAME[:TAG]." } : refusesImport(ref)
        return refusal === undefined ? Effect.void : Effect.fail(new ImageError(errorFields("REFERENCE_INVALID", refusal.what, { remedy: refusal.remedy })))
      },
      resolve: (ref, options) => {
        const source = sources.find((each) => each.types.includes(ref.type))
        const types = [...new Set(sources.flatMap((each) => each.types))].join(", ")
        return source === undefined
          ? Effect.fail(new ImageError(errorFields("SOURCE_UNSUPPORTED", `Images of type "${ref.type}" can't be pulled here, only ${types}`)))
          : source.resolve(ref, options)
      }
    })
  )
