/**
 * Runs pulls of the queue in this process: as many as there is room for, each for as long as its lease is held and somebody wants it.
 *
 * @module
 */
import type * as Context from "effect/Context"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { errorFields, GatewayError } from "../core/Errors.js"
import type { Gateway } from "../core/Gateway.js"
import type { ImageRecord } from "../core/ImageRecord.js"
import type { OnProgress } from "../core/Progress.js"
import { type PullOutcome, type PullQueue, type QueuedPull, queueLeaseMillis, queueRenewMillis, type Taken } from "../core/PullQueue.js"
import type { Site } from "../core/Site.js"
import type { Uploads } from "../core/Uploads.js"
import * as Metering from "./Metering.js"
import * as Metrics from "./Metrics.js"
import * as Retry from "./Retry.js"
import type { Secrets } from "./Secrets.js"
import * as Standing from "./Standing.js"

export interface Runner {
  /** Runs pulls until the scope ends, then puts back what runs. */
  readonly run: Effect.Effect<void, never, Scope.Scope>
  /** A pull has changed, or there is a new one. */
  readonly changed: (id: string) => Effect.Effect<void>
  /** Does something during which this process takes no pull. */
  readonly untaken: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

export interface RunnerParts {
  readonly site: Site
  readonly queue: Context.Tag.Service<PullQueue>
  readonly gateway: Context.Tag.Service<Gateway>
  readonly secrets: Secrets
  readonly uploads: Context.Tag.Service<Uploads>
  /** Of this process, unlike any other's. */
  readonly name: string
  /** A pull that this process ran has ended, but for those that were cancelled. */
  readonly ended: (pull: QueuedPull, result: Exit.Exit<ImageRecord, GatewayError>) => Effect.Effect<void>
}

/** How often the queue is looked at when nobody tells of a change. */
const LOOK = "1 second"
/** How often pulls of dead processes are looked for. */
const RECOVER = "1 second"
/** Between two looks, so that many changes cost few. */
const PAUSE = "20 millis"
/** Pulls that may wait for others, for each one that may work. */
const WAITING = 8
const PRUNE = "10 minutes"
const SWEEP = "1 minute"

/** A pull that this process runs. */
interface Running {
  readonly standing: Standing.Standing
  readonly stopped: Deferred.Deferred<"Cancelled" | "Lost">
}

export const make = ({ ended, gateway, name, queue, secrets, site, uploads }: RunnerParts): Effect.Effect<Runner> =>
  Effect.gen(function* () {
    const policy = site.pulls
    const running = new Map<string, Running>()
    const bell = yield* Queue.sliding<"look">(1)
    const taking = yield* Effect.makeSemaphore(1)
    // Until the state directory can be used this process runs no imports of uploads.
    const place = yield* Effect.map(Effect.cachedWithTTL(Effect.either(uploads.place), "1 minute"), Effect.map(Either.getOrUndefined))
    // One that waits for another's conversion leaves its place to the next.
    const room = () => {
      const working = policy.atOnce - [...running.values()].filter(({ standing }) => !standing.isWaiting()).length
      const all = policy.atOnce * (1 + WAITING) - running.size
      return { some: working > 0 && all > 0, isLast: working === 1 || all <= WAITING }
    }

    /** Holds the lease, and says how far it is; how it was lost. */
    const held = (taken: Taken, { standing, stopped }: Running) =>
      Effect.gen(function* () {
        for (let since = yield* Clock.currentTimeMillis; ; ) {
          yield* Effect.sleep(queueRenewMillis)
          const said = yield* Effect.either(queue.renew(taken, standing.now()))
          const now = yield* Clock.currentTimeMillis
          if (said._tag === "Right" && said.right !== "Held") return said.right
          if (said._tag === "Right") since = now
          // A database that is away for longer than a lease has perhaps given it to another.
          else if (now - since > queueLeaseMillis) return "Lost" as const
        }
      }).pipe(Effect.raceFirst(Deferred.await(stopped)))

    const pulled = ({ id, order }: QueuedPull, standing: Standing.Standing) => {
      const credentials = secrets.get(id)
      if (order.hasCredentials && credentials === undefined) {
        return Effect.fail(new GatewayError(errorFields("CREDENTIALS_GONE", `The credentials for ${order.reference} are not here any more`)))
      }
      const meter = Metering.make()
      const { allowGids, allowUids, platform, reference, requester, system, verify } = order
      const onProgress: OnProgress = (event) => {
        const before = standing.isWaiting()
        standing.add(event)
        meter.add(event)
        if (!before && standing.isWaiting()) bell.unsafeOffer("look")
      }
      const common = { reference, system, platform, requester, allowUids, allowGids, onProgress }
      return (order.import === undefined ? gateway.pull({ ...common, credentials, verify }) : gateway.import({ ...common, ...order.import, keepsUpload: true })).pipe(
        Effect.timeoutFail({
          duration: Duration.seconds(policy.longestSeconds),
          onTimeout: () =>
            new GatewayError(
              errorFields("LIMIT_EXCEEDED", `The pull of ${order.reference} took more than ${policy.longestSeconds} s`, {
                remedy: "Pull again: finished layers are kept. The administrator may raise pulls.longestSeconds."
              })
            )
        }),
        Effect.ensuring(Effect.sync(meter.end))
      )
    }

    /** Says how it ended. A database that is away for a moment is told then; if it is not back in time, another process does it over. */
    const told = <A, E>(effect: Effect.Effect<A, E>) =>
      effect.pipe(
        Effect.retry(Schedule.exponential("50 millis").pipe(Schedule.union(Schedule.spaced("1 second")), Schedule.upTo(queueLeaseMillis))),
        Effect.catchAll((error) => Effect.logWarning("The end of a pull could not be told", error))
      )

    const concluded = (taken: Taken, { standing }: Running, exit: Exit.Exit<ImageRecord, GatewayError>) =>
      Effect.gen(function* () {
        const { pull } = taken
        if (Exit.isSuccess(exit)) return yield* finish(taken, { _tag: "Done", imageId: exit.value.id }, exit, standing)
        const failure = Cause.failureOption(exit.cause)
        if (failure._tag === "None") yield* Effect.logError("A pull ended with a defect", exit.cause)
        const error = failure._tag === "Some" ? failure.value : new GatewayError(errorFields("INTERNAL", `The pull of ${pull.order.reference} ended with a defect`))
        if (!Retry.mayPass(error) || pull.attempts >= policy.attempts) {
          return yield* finish(taken, { _tag: "Failed", code: error.code, what: error.what, remedy: error.remedy }, Exit.fail(error), standing)
        }
        const delay = yield* Retry.delay(policy, pull.attempts, error)
        const why = `${pull.attempts} of ${policy.attempts} failed, and the next is in ${Math.ceil(delay / 1000)} s: ${error.code}: ${error.what}`
        yield* told(queue.putBack(taken, delay, true, standing.again(why)))
      })

    const finish = (taken: Taken, outcome: PullOutcome, exit: Exit.Exit<ImageRecord, GatewayError>, standing: Standing.Standing) =>
      Effect.gen(function* () {
        const isOurs = yield* told(queue.finish(taken, outcome, standing.now()))
        if (isOurs === false) yield* Metric.increment(Metrics.leaseLosses)
        if (isOurs !== true) return
        secrets.forget(taken.pull.id)
        yield* ended(taken.pull, exit)
      })

    /** Begun where nothing can be interrupted, so that what was taken is put back whatever happens. */
    const runOne = (taken: Taken, mine: Running) =>
      Effect.gen(function* () {
        const { pull } = taken
        const work = Effect.map(Effect.exit(pulled(pull, mine.standing)), (exit) => ({ exit, why: undefined }))
        const loss = Effect.map(held(taken, mine), (why) => ({ exit: undefined, why }))
        // Whatever ends it, its own end is awaited: what it leaves is in its place then.
        const outcome = yield* Effect.exit(Effect.interruptible(Effect.raceFirst(work, loss)))
        // It may have been lost to this process itself, which runs it again.
        if (running.get(pull.id) === mine) running.delete(pull.id)
        if (Exit.isFailure(outcome)) yield* told(queue.putBack(taken, 0, false, mine.standing.again(undefined)))
        else if (outcome.value.exit !== undefined) yield* concluded(taken, mine, outcome.value.exit)
        else if (outcome.value.why === "Cancelled") secrets.forget(pull.id)
        else yield* Metric.increment(Metrics.leaseLosses)
        bell.unsafeOffer("look")
      })

    /** Takes what there is room for, and begins it in a scope. */
    const take = (scope: Scope.Scope) =>
      taking.withPermits(1)(Effect.flatMap(place, (here) => queue.take(name, { ...policy, isLast: room().isLast }, here))).pipe(
        Effect.flatMap((taken) => {
          if (taken === undefined) return Effect.succeed(false)
          return Effect.gen(function* () {
            const mine: Running = { standing: Standing.make(taken.pull.progress?.warnings), stopped: yield* Deferred.make<"Cancelled" | "Lost">() }
            running.set(taken.pull.id, mine)
            yield* Effect.forkIn(runOne(taken, mine), scope)
            return true
          })
        }),
        // One that is taken is begun.
        Effect.uninterruptible,
        Effect.catchAll((error) => Effect.as(Effect.logWarning("The queue of pulls can't be read", error), false))
      )

    const taker = (scope: Scope.Scope) =>
      Effect.gen(function* () {
        for (;;) {
          while (room().some && (yield* take(scope)));
          yield* Effect.race(Queue.take(bell), Effect.sleep(LOOK))
          yield* Effect.sleep(PAUSE)
        }
      })

    const logged = <A, E>(what: string, effect: Effect.Effect<A, E>) => Effect.catchAll(effect, (error) => Effect.logWarning(`${what}:`, error))
    const every = (interval: Duration.DurationInput, effect: Effect.Effect<unknown>) => Effect.repeat(effect, Schedule.spaced(interval))

    const alive = logged("This process can't say that it lives", Effect.flatMap(place, (here) => queue.alive(name, here)))
    const recover = logged(
      "Pulls of processes that are gone can't be found",
      Effect.flatMap(queue.recover(policy.attempts), (ids) => (ids.length === 0 ? Effect.void : Queue.offer(bell, "look")))
    )
    const prune = logged("Pulls that ended can't be forgotten", queue.prune(site.lifetime.pullSeconds * 1000))

    /** Ends what runs here and is not to run any more, and forgets credentials that nobody needs. */
    const look = (id: string) =>
      Effect.gen(function* () {
        const mine = running.get(id)
        if (mine === undefined && secrets.get(id) === undefined) return
        const pull = yield* queue.get(id)
        const isOver = pull === undefined || pull.state === "cancelled" || pull.state === "done" || pull.state === "failed"
        if (!isOver) return
        if (mine === undefined) secrets.forget(id)
        else yield* Deferred.succeed(mine.stopped, pull?.state === "cancelled" ? "Cancelled" : "Lost")
      }).pipe(Effect.ignore)
    const sweep = Effect.suspend(() => Effect.forEach(secrets.ids(), look, { discard: true }))

    /** Ends what runs, for as long as the site allows; what has not ended then is another's when its lease runs out. */
    const close = (scope: Scope.CloseableScope) =>
      Effect.flatMap(Effect.forkDaemon(Scope.close(scope, Exit.void)), (closing) =>
        Effect.timeoutOption(Effect.interruptible(Fiber.await(closing)), Duration.seconds(site.server.stopSeconds))
      )

    return {
      run: Effect.gen(function* () {
        yield* alive
        const scope = yield* Effect.acquireRelease(Scope.make(ExecutionStrategy.parallel), close)
        yield* Effect.forkScoped(every(queueRenewMillis, alive))
        yield* Effect.forkScoped(every(RECOVER, recover))
        yield* Effect.forkScoped(every(PRUNE, prune))
        yield* Effect.forkScoped(every(SWEEP, sweep))
        // Ended before what it began.
        yield* Effect.forkScoped(taker(scope))
      }),
      changed: (id) => Effect.zipRight(Effect.sync(() => bell.unsafeOffer("look")), look(id)),
      untaken: (effect) => taking.withPermits(1)(effect)
    }
  })
