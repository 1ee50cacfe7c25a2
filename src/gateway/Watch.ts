/**
 * Watching pulls: however many watch one, it is looked at once, when the queue says that it has changed and now and then besides.
 *
 * @module
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as RcMap from "effect/RcMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type CatalogError, errorFields, GatewayError } from "../core/Errors.js"
import type { PullQueue, QueuedPull } from "../core/PullQueue.js"

export interface Watch {
  /** How a pull stands now and whenever that changes, until it has ended. Who is slow misses what was in between, never the end. */
  readonly of: (id: string) => Stream.Stream<QueuedPull, GatewayError>
  /** A pull has changed. */
  readonly changed: (id: string) => void
}

/** How often a pull is looked at whose changes nobody tells. */
const LOOK = "5 seconds"
/** How often one that nobody can be asked about. */
const PATIENCE = "1 seconds"
/** Changes closer to each other than this are seen as one. */
const PAUSE = "50 millis"

export const hasEnded = ({ state }: QueuedPull): boolean => state === "done" || state === "failed" || state === "cancelled"

export const notFound = (id: string) => new GatewayError(errorFields("PULL_NOT_FOUND", `There is no pull ${/^[0-9a-f]{1,64}$/.test(id) ? id : "of that id"}`))

type Seen = Either.Either<QueuedPull, GatewayError>

/** For as long as the scope lasts. */
export const make = (queue: Context.Tag.Service<PullQueue>): Effect.Effect<Watch, never, Scope.Scope> =>
  Effect.gen(function* () {
    const bells = new Map<string, Queue.Queue<"look">>()

    const look = (id: string): Effect.Effect<Seen, CatalogError> =>
      Effect.map(queue.get(id), (pull) => (pull === undefined ? Either.left(notFound(id)) : Either.right(pull)))

    const follow = (id: string, seen: PubSub.PubSub<Seen>, bell: Queue.Queue<"look">) =>
      Effect.gen(function* () {
        for (let last = ""; ; ) {
          const now = yield* Effect.retry(look(id), Schedule.spaced(PATIENCE))
          const text = JSON.stringify(Either.getOrNull(now))
          if (text !== last) yield* PubSub.publish(seen, now)
          last = text
          if (Either.isLeft(now) || hasEnded(now.right)) return
          yield* Effect.race(Queue.take(bell), Effect.sleep(LOOK))
          yield* Effect.sleep(PAUSE)
        }
      })

    const followed = yield* RcMap.make({
      lookup: (id: string) =>
        Effect.gen(function* () {
          // Who comes late is told the last; who is slow is told it too.
          const seen = yield* PubSub.sliding<Seen>({ capacity: 1, replay: 1 })
          const bell = yield* Queue.sliding<"look">(1)
          yield* Effect.acquireRelease(
            Effect.sync(() => bells.set(id, bell)),
            () =>
              Effect.sync(() => {
                if (bells.get(id) === bell) bells.delete(id)
              })
          )
          yield* Effect.forkScoped(follow(id, seen, bell))
          return seen
        })
    })

    return {
      of: (id) =>
        Stream.unwrapScoped(
          Effect.gen(function* () {
            const seen = yield* PubSub.subscribe(yield* RcMap.get(followed, id))
            return Stream.fromQueue(seen).pipe(
              Stream.mapEffect((now) => now),
              Stream.takeUntil(hasEnded)
            )
          })
        ),
      changed: (id) => void bells.get(id)?.unsafeOffer("look")
    }
  })
