/**
 * The one thing that every source ends in: a tar stream of the merged root file system, with what was seen on the way.
 *
 * @module
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Digest } from "./Digest.js"
import type { ImageError } from "./Errors.js"

/** What a stream held; complete once the stream has ended. */
export interface RootfsSummary {
  /** Inodes of the root file system: a hard-link group counts once. */
  readonly inodes: number
  /** Device nodes and FIFOs left out. */
  readonly dropped: number
  /** What it held, as one number to compare the packed image with; `Verify` tells more. */
  readonly contents?: string | undefined
}

/** Whoever read the stream reads no more, and knows why. */
export class OutputEnded extends Data.TaggedError("OutputEnded") {}

/**
 * What was written so far is void; the next stream that the image opens will do what is needed. The first attempt assumes what nearly every
 * image holds, so that one pass is enough.
 */
export class RestartNeeded extends Data.TaggedError("RestartNeeded") {}

/** Where an archive lies: a file, or a part of one. */
export interface BlobRange {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** A layer as the merge needs it. */
export interface MergeLayer {
  /** Digest of the blob, for messages. */
  readonly digest: Digest
  /** Digest of the inflated layer; undefined where the blob's own says all, and nothing says it. */
  readonly diffId: Digest | undefined
  /** The verified blob (gzip, zstd or plain), once it is here. */
  readonly blob: Effect.Effect<BlobRange, ImageError>
}

export interface RootfsStream {
  /** What `shifter-merge` makes the stream of, oldest first, so that it can be made on another machine; undefined where it can't. */
  readonly layers?: ReadonlyArray<MergeLayer> | undefined
  /**
   * Writes the tar stream, once, to a descriptor that stays the caller's; bytes flow past JavaScript. `onBytes` is told now and then how
   * much has been written.
   */
  readonly write: (output: number, onBytes: (bytes: number) => void) => Effect.Effect<RootfsSummary, ImageError | OutputEnded | RestartNeeded>
  /** Succeeds when everything has been fetched that the stream needs. */
  readonly fetched: Effect.Effect<void, ImageError>
}
