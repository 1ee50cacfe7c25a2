/**
 * Imports that users ask of the service. One goes on when a connection is lost: who asks for the same again, on this process, is told how it
 * stands. Nobody for a minute: nobody wants it any more.
 *
 * @module
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Audit } from "../core/Audit.js"
import { errorFields, GatewayError } from "../core/Errors.js"
import { Gateway, type ImportRequest } from "../core/Gateway.js"
import type { ImageRecord } from "../core/ImageRecord.js"
import type { OnProgress } from "../core/Progress.js"
import type { PullProgress } from "../core/PullQueue.js"
import type { Site } from "../core/Site.js"
import type { Identity } from "./Identity.js"
import * as Metering from "./Metering.js"
import * as Standing from "./Standing.js"

export type Asked = Omit<ImportRequest, "requester" | "onProgress" | "system"> & { readonly system: string }

export interface Imports {
  /** Begins an import, or joins the same one; its record at its end. */
  readonly run: (identity: Identity, asked: Asked) => Effect.Effect<ImageRecord, GatewayError>
  /** How it stands, now and then, until nobody needs to know. */
  readonly progress: (identity: Identity, asked: Asked) => Stream.Stream<PullProgress>
}

/** Of one user at once, and of all. */
const PER_USER = 4
const AT_MOST = 1000
const PATIENCE = "1 minute"
const LOOK = "1 second"

interface Running {
  readonly standing: Standing.Standing
  readonly done: Deferred.Deferred<ImageRecord, GatewayError>
}

/** For as long as the scope lasts. */
export const make = (site: Site): Effect.Effect<Imports, never, Gateway | Audit | Scope.Scope> =>
  Effect.gen(function* () {
    const gateway = yield* Gateway
    const audit = yield* Audit
    const places = yield* Effect.makeSemaphore(site.pulls.conversions)
    const ofUser = new Map<number, number>()
    const wanted = new Map<string, { readonly identity: Identity; readonly asked: Asked }>()

    /** One of so many of its user's. */
    const counted = (uid: number) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          const count = ofUser.get(uid) ?? 0
          if (count >= PER_USER) return Effect.fail(new GatewayError(errorFields("QUEUE_FULL", `${PER_USER} imports of uid ${uid} run already`)))
          ofUser.set(uid, count + 1)
          return Effect.void
        }),
        () =>
          Effect.sync(() => {
            const left = (ofUser.get(uid) ?? 1) - 1
            if (left === 0) ofUser.delete(uid)
            else ofUser.set(uid, left)
          })
      )

    const work = ({ asked, identity }: { readonly identity: Identity; readonly asked: Asked }, standing: Standing.Standing) =>
      Effect.gen(function* () {
        const { label, requester } = identity
        yield* counted(requester.uid)
        const meter = Metering.make()
        const onProgress: OnProgress = (event) => {
          standing.add(event)
          meter.add(event)
        }
        const record = yield* places.withPermits(1)(Effect.ensuring(gateway.import({ ...asked, requester, onProgress }), Effect.sync(meter.end)))
        yield* audit.write({ action: "import", uid: requester.uid, by: label, system: asked.system, reference: asked.reference, imageId: record.id, digest: record.sourceDigest, why: asked.source._tag.toLowerCase() }).pipe(
          Effect.catchAll((error) => Effect.logError(error.message))
        )
        return record
      }).pipe(Effect.scoped)

    const running = yield* RcMap.make({
      idleTimeToLive: PATIENCE,
      capacity: AT_MOST,
      lookup: (key: string) =>
        Effect.gen(function* () {
          const want = wanted.get(key)
          const found: Running = { standing: Standing.make(), done: yield* Deferred.make<ImageRecord, GatewayError>() }
          if (want !== undefined) yield* Effect.forkScoped(Deferred.complete(found.done, work(want, found.standing)))
          return found
        })
    })
    const joined = (identity: Identity, asked: Asked) => {
      const key = JSON.stringify([identity.requester.uid, identity.requester.gids, asked])
      return Effect.suspend(() => {
        wanted.set(key, { identity, asked })
        return RcMap.get(running, key)
      }).pipe(
        // It has begun with what was wanted.
        Effect.ensuring(Effect.sync(() => wanted.delete(key))),
        Effect.mapError(() => new GatewayError(errorFields("QUEUE_FULL", `${AT_MOST} imports run already`))),
        Effect.map((found) => ({ ...found, key }))
      )
    }
    return {
      run: (identity, asked) =>
        Effect.scoped(
          Effect.gen(function* () {
            const { done, key } = yield* joined(identity, asked)
            const exit = yield* Effect.either(Deferred.await(done))
            // Another time it is done anew, but for an upload that is imported: that is told again to whom it could not be told.
            if (exit._tag === "Left" || asked.source._tag !== "Upload") yield* RcMap.invalidate(running, key)
            return yield* exit
          })
        ),
      progress: (identity, asked) =>
        Stream.unwrapScoped(
          Effect.map(joined(identity, asked), ({ standing }) => Stream.map(Stream.fromSchedule(Schedule.spaced(LOOK)), () => standing.now()))
        ).pipe(
          Stream.changesWith((a, b) => JSON.stringify(a) === JSON.stringify(b)),
          Stream.catchAll(() => Stream.empty)
        )
    }
  })
