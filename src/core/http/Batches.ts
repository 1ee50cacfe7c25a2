/**
 * The body of an answer, in batches: all pieces that came in one turn of the event loop are one chunk of the stream. A fast network brings
 * dozens in a turn, and what a stream costs for each chunk would be most of what a fetch costs.
 *
 * @module
 */
import type { IncomingMessage } from "node:http"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** Bytes that may wait to be taken; the network waits then. */
const WAITING = 1024 * 1024

/** The stream of a body, once. Its end, early or not, ends the connection's use. */
export const stream = <E>(body: IncomingMessage, broken: (cause: unknown) => E): Stream.Stream<Uint8Array, E> =>
  Stream.unwrapScoped(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new Batches(body)),
        (batches) => Effect.sync(() => batches.close())
      ),
      (batches) => Stream.repeatEffectChunkOption(Effect.mapError(batches.next, Option.map(broken)))
    )
  )

class Batches {
  private pieces: Array<Uint8Array> = []
  private waiting = 0
  private end: Option.Option<unknown> | undefined
  private isTurning = false
  private wake: (() => void) | undefined

  constructor(private readonly body: IncomingMessage) {
    body
      .on("data", (piece: Buffer) => {
        this.pieces.push(piece)
        this.waiting += piece.length
        if (this.waiting >= WAITING) body.pause()
        this.turn()
      })
      .once("end", () => this.ended(Option.none()))
      .once("error", (error) => this.ended(Option.some(error)))
      .once("close", () => this.ended(Option.some(new Error("it was cut off"))))
    // One that broke off before anybody looked says so no more.
    if (body.destroyed) this.ended(Option.some(body.errored ?? new Error("it was cut off")))
  }

  /** Everything that is here, or that comes first. Fails with nothing at the end. */
  readonly next: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<unknown>> = Effect.async((resume) => {
    const look = () => {
      this.wake = undefined
      if (this.pieces.length > 0) {
        const batch = Chunk.unsafeFromArray(this.pieces)
        this.pieces = []
        this.waiting = 0
        this.body.resume()
        resume(Effect.succeed(batch))
      } else if (this.end !== undefined) {
        resume(Effect.fail(this.end))
      } else {
        this.wake = look
      }
    }
    look()
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  close(): void {
    this.wake = undefined
    this.body.destroy()
  }

  private ended(end: Option.Option<unknown>): void {
    this.end ??= end
    this.turn()
  }

  /** Wakes the reader when this turn has brought what it brings. */
  private turn(): void {
    if (this.isTurning) return
    this.isTurning = true
    setImmediate(() => {
      this.isTurning = false
      this.wake?.()
    })
  }
}
