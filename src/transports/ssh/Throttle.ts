/**
 * A cap on bytes per second: the first piece passes at once, each other one when those before it have had their time.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export interface Throttle {
  /** Waits until so many bytes may pass. */
  readonly take: (bytes: number) => Effect.Effect<void>
  /** Bytes of one piece, so that those of a slow connection are not far apart. */
  readonly piece: number
}

const LARGEST_PIECE = 240 * 1024
const SMALLEST_PIECE = 1024
/** Pieces in a second. */
const PACE = 8

/** Without a cap nothing waits. */
export const make = (bytesPerSecond: number | undefined): Throttle => {
  if (bytesPerSecond === undefined) return { take: () => Effect.void, piece: LARGEST_PIECE }
  let free = 0
  return {
    piece: Math.max(SMALLEST_PIECE, Math.min(LARGEST_PIECE, Math.floor(bytesPerSecond / PACE))),
    take: (bytes) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const start = Math.max(now, free)
        free = start + (bytes * 1000) / bytesPerSecond
        // Rounded up: never early.
        return start > now ? Effect.sleep(Math.ceil(start - now)) : Effect.void
      })
  }
}
