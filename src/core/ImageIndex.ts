/**
 * The service `ImageIndex`: what is published where, and what is known of it beyond its record, kept where it can be asked in pages. The image
 * path is the truth, this is its index: whatever is missing or wrong here is mended by {@link ImageIndex} `reconcile`, and no job depends on it.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CatalogError } from "./Errors.js"
import type { ImageRecord, Requester } from "./ImageRecord.js"
import type { NameFile } from "./NameFile.js"

/** A published image, as the index knows it. */
export interface IndexedImage {
  readonly system: string
  readonly record: ImageRecord
  /** Canonical references, sorted; none for an image whose names were removed or went to newer ones. */
  readonly names: ReadonlyArray<string>
  /** Times in milliseconds since 1970, of the database's clock. */
  readonly published: number
  /** When it was pulled, looked up or named last. */
  readonly used: number
  /** When it expires; undefined: never. */
  readonly expires: number | undefined
  /** Since when it has no name; undefined while it has one. */
  readonly unnamed: number | undefined
  /** uids that have pinned it: it neither expires nor is collected. */
  readonly pins: ReadonlyArray<number>
  /** When it was read and compared with its record last. */
  readonly scrubbed: number | undefined
  /** What the last reading found wrong. */
  readonly damage: string | undefined
}

/** Which images of a system. */
export interface PageRequest {
  readonly system: string
  /** Who asks: he is told only of images that he may use. Without him everything is told. */
  readonly requester?: Requester | undefined
  /** Names that begin so, by canonical reference such as `docker:docker.io/library/`. */
  readonly prefix?: string | undefined
  /** Images of this owner alone. */
  readonly owner?: number | undefined
  /** Images without a name instead of those with one. */
  readonly unnamed?: boolean | undefined
  /** What the page before it ended with. */
  readonly after?: string | undefined
  /** Rows of the page, 1 to 1,000; there are fewer where their images are large. */
  readonly limit: number
}

/** A row of a page: a name and its image, or an image without a name (its `name` is `id:ID`). */
export interface IndexedName {
  readonly name: string
  readonly image: IndexedImage
}

export interface Page {
  /** In the order of their names. */
  readonly rows: ReadonlyArray<IndexedName>
  /** What the next page goes on `after`; undefined: this was the last one. */
  readonly next: string | undefined
}

/** What a comparison with the image path changed. */
export interface Reconciled {
  readonly added: number
  readonly removed: number
  readonly changed: number
}

export class ImageIndex extends Context.Tag("shifter-sdk/ImageIndex")<
  ImageIndex,
  {
    /** An image was published, or its record changed. */
    readonly put: (system: string, record: ImageRecord) => Effect.Effect<void, CatalogError>
    /** Tells nobody but administrators of an image, until it is put again: its record is about to give fewer people leave. */
    readonly conceal: (system: string, id: string) => Effect.Effect<void, CatalogError>
    /** A name points to an image now. The image that it pointed to before may have lost its last one. */
    readonly name: (system: string, name: NameFile) => Effect.Effect<void, CatalogError>
    readonly unname: (system: string, canonical: string) => Effect.Effect<void, CatalogError>
    /** An image is gone, and all its names. */
    readonly remove: (system: string, id: string) => Effect.Effect<void, CatalogError>
    /** Removes an image that has neither a name nor a pin. False: it has, or is not there; then nothing is changed. */
    readonly forget: (system: string, id: string) => Effect.Effect<boolean, CatalogError>
    readonly get: (system: string, id: string) => Effect.Effect<IndexedImage | undefined, CatalogError>
    /** The image that a name points to. */
    readonly named: (system: string, canonical: string) => Effect.Effect<IndexedImage | undefined, CatalogError>
    readonly page: (request: PageRequest) => Effect.Effect<Page, CatalogError>
    /** It was used now; it expires so many milliseconds from now, if a time is given: one that would expire later keeps that. */
    readonly touch: (system: string, id: string, expiresIn: number | undefined) => Effect.Effect<void, CatalogError>
    /** When it expires, as its owner or an administrator wants it; undefined: never. */
    readonly setExpiry: (system: string, id: string, expires: number | undefined) => Effect.Effect<void, CatalogError>
    /** False: there is no such image. */
    readonly pin: (system: string, id: string, uid: number) => Effect.Effect<boolean, CatalogError>
    /** False: he had not pinned it. */
    readonly unpin: (system: string, id: string, uid: number) => Effect.Effect<boolean, CatalogError>
    /** Ids of named images that have expired and are not pinned. */
    readonly expired: (system: string) => Effect.Effect<ReadonlyArray<string>, CatalogError>
    /** Ids of images that have had no name for so many milliseconds and are not pinned. */
    readonly forgotten: (system: string, olderThan: number) => Effect.Effect<ReadonlyArray<string>, CatalogError>
    /** An image was read: what is wrong with it, if anything. */
    readonly scrubbed: (system: string, id: string, damage: string | undefined) => Effect.Effect<void, CatalogError>
    /** Ids of images that were not read for so many milliseconds, the longest first. */
    readonly unread: (system: string, olderThan: number, limit: number) => Effect.Effect<ReadonlyArray<string>, CatalogError>
    /**
     * Makes the index what the image path is. What was published while the path was listed stays. New images are given `expiresIn`.
     */
    readonly reconcile: (
      system: string,
      found: { readonly records: ReadonlyArray<ImageRecord>; readonly names: ReadonlyArray<NameFile>; readonly began: number },
      expiresIn: number | undefined
    ) => Effect.Effect<Reconciled, CatalogError>
    /** The database's clock, in milliseconds. */
    readonly now: Effect.Effect<number, CatalogError>
  }
>() {}
