/**
 * Who is told that a pull of the queue changed: those who listen in this process, at once; and, from other processes, what the database tells.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as RcRef from "effect/RcRef"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CatalogError } from "../../core/Errors.js"
import type { Database } from "./Database.js"

/** A listener who is this far behind misses the oldest: he also looks now and then. */
const BEHIND = 1024

const AGAIN = Schedule.spaced("1 second")

export interface Changes {
  readonly tell: (ids: ReadonlyArray<string>) => Effect.Effect<void>
  readonly stream: Stream.Stream<string>
}

/** `since`: ids of what changed at or after a time, and the newest such time; without a time: that alone. */
export const make = (
  { told }: Database,
  since: (time: number | undefined) => Effect.Effect<{ readonly ids: ReadonlyArray<string>; readonly newest: number }, CatalogError>
): Effect.Effect<Changes, never, Scope.Scope> =>
  Effect.gen(function* () {
    const hub = yield* PubSub.sliding<string>(BEHIND)
    const tell = (ids: ReadonlyArray<string>) => PubSub.publishAll(hub, ids).pipe(Effect.asVoid)
    const patient = Effect.gen(function* () {
      // A database that is away is listened to again when it is back; then it is looked what was missed.
      const newest = yield* Ref.make((yield* Effect.retry(since(undefined), AGAIN)).newest)
      const look = Effect.gen(function* () {
        const found = yield* since(yield* Ref.get(newest))
        yield* Ref.set(newest, found.newest)
        yield* tell(found.ids)
      })
      // Also a defect: the driver takes it for one that it can't say goodbye to a connection that is gone.
      yield* Stream.runForEach(told, (id) => (id === undefined ? look : tell([id]))).pipe(Effect.catchAllCause(() => Effect.void), Effect.repeat(AGAIN))
    })
    // Listens to the database only while somebody listens to us.
    const listener = yield* RcRef.make({ acquire: Effect.forkScoped(patient) })
    return {
      tell,
      stream: Stream.unwrapScoped(
        Effect.gen(function* () {
          const queue = yield* PubSub.subscribe(hub)
          yield* RcRef.get(listener)
          return Stream.fromQueue(queue)
        })
      )
    }
  })
