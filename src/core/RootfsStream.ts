/**
 * The one thing that every source ends in: a tar stream of the merged root file system, with what was seen on the way.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ImageError } from "./Errors.js"

/** What a stream held; complete once the stream has ended. */
export interface RootfsSummary {
  /** Inodes of the root file system: a hard-link group counts once. */
  readonly inodes: number
  /** Device nodes and FIFOs left out. */
  readonly dropped: number
}

export interface RootfsStream {
  /** The tar stream, once. Its chunks are large and end with the end mark. */
  readonly tar: Stream.Stream<Uint8Array, ImageError>
  /** Succeeds when everything has been fetched that the stream needs. */
  readonly fetched: Effect.Effect<void, ImageError>
  /** Known when the stream has ended. */
  readonly summary: Effect.Effect<RootfsSummary>
}
