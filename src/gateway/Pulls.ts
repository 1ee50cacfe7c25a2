/**
 * The service `Pulls`: pulls that users ask of a gateway service. It runs those of the queue that are this process's turn, and tells everyone
 * who waits how far they are.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Audit, type AuditEntry } from "../core/Audit.js"
import { carried, type CatalogError, errorFields, GatewayError, printable } from "../core/Errors.js"
import { Gateway } from "../core/Gateway.js"
import { ImageIndex } from "../core/ImageIndex.js"
import { expiryOf } from "../core/Indexed.js"
import type { ImageRecord } from "../core/ImageRecord.js"
import { type PullOrder, PullQueue, type QueuedPull } from "../core/PullQueue.js"
import * as Site from "../core/Site.js"
import { Uploads } from "../core/Uploads.js"
import { type Identity, isAdmin } from "./Identity.js"
import * as Metrics from "./Metrics.js"
import * as Orders from "./Orders.js"
import * as Runner from "./Runner.js"
import * as Secrets from "./Secrets.js"
import * as Watch from "./Watch.js"

export type { HasLogin, Wanted, WantedImport } from "./Orders.js"

export class Pulls extends Context.Tag("shifter-sdk/Pulls")<
  Pulls,
  {
    /** Asks for a pull; returns when it is in the queue. The same of another user's is joined where both would be given the same. */
    readonly submit: (identity: Identity, wanted: Orders.Wanted) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** Asks for an import; returns when it is in the queue. The same that waits or runs is joined, and of an upload the one that is done is told again. */
    readonly submitImport: (identity: Identity, wanted: Orders.WantedImport) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** A pull that he asked for, or that he administers. Fails with `PULL_NOT_FOUND`. */
    readonly get: (identity: Identity, id: string) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** How it stands now and whenever that changes, until it has ended. Any number may watch for the cost of one. */
    readonly watch: (identity: Identity, id: string) => Stream.Stream<QueuedPull, GatewayError | CatalogError>
    /** His own; with `all`, for administrators, everyone's. */
    readonly list: (identity: Identity, filter: { readonly system: string; readonly all: boolean; readonly limit: number }) => Effect.Effect<ReadonlyArray<QueuedPull>, GatewayError | CatalogError>
    /** He wants it no more; for an administrator nobody does. */
    readonly cancel: (identity: Identity, id: string) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** Begins to run pulls, and does until the scope ends; then what runs is put back, so that it goes on in another process or the next one. */
    readonly run: Effect.Effect<void, never, Scope.Scope>
  }
>() {}

/** Of one reference: imports that are looked at for the one that is meant. */
const LATEST = 20

const actionOf = (order: PullOrder) => (order.import === undefined ? "pull" : "import")

/** Why it was given what it was, for the audit log. */
const whyOf = (order: PullOrder, record: ImageRecord): string =>
  order.import !== undefined ? order.import.source._tag.toLowerCase() : record.access === "public" ? "public" : "registry gave it"

/**
 * The service for a site, in one process of any number. `hasLogin` tells for which registries the site has a login of its own: what they give may be
 * private, and is pulled for each user by himself.
 */
export const layer = (site: Site.Site, hasLogin: Orders.HasLogin): Layer.Layer<Pulls, never, PullQueue | Gateway | ImageIndex | Audit | Uploads> =>
  Layer.scoped(
    Pulls,
    Effect.gen(function* () {
      const queue = yield* PullQueue
      const index = yield* ImageIndex
      const audit = yield* Audit
      const uploads = yield* Uploads
      const secrets = Secrets.make()
      const name = randomBytes(16).toString("hex")

      // What was done is done, whether the log can be written or not.
      const noted = (entry: AuditEntry) => Effect.catchAll(audit.write(entry), (error) => Effect.logWarning("The audit log can't be written:", error))

      const ended = (pull: QueuedPull, result: Exit.Exit<ImageRecord, GatewayError>) =>
        Effect.gen(function* () {
          const { order } = pull
          const record = Exit.isSuccess(result) ? result.value : undefined
          const source = order.import?.source
          // Only now: who does it over, where nobody knows that it is done, finds it.
          if (record !== undefined && source?._tag === "Upload") yield* Effect.ignore(uploads.cancel(source.id, order.requester.uid))
          const expires = expiryOf(site).expiresIn
          if (record !== undefined) yield* Effect.ignore(index.touch(order.system, record.id, expires))
          // Others may have joined since it was begun.
          const now = yield* Effect.orElseSucceed(queue.get(pull.id), () => undefined)
          const error = Exit.isFailure(result) ? Cause.failureOption(result.cause) : undefined
          yield* Metric.increment(Metric.tagged(Metrics.pulls, "outcome", record !== undefined ? "done" : error?._tag === "Some" ? error.value.code : "INTERNAL"))
          if (record !== undefined) yield* Metric.incrementBy(Metrics.pulledBytes, record.imageSize)
          for (const uid of (now ?? pull).askers) {
            yield* noted({
              action: error?._tag === "Some" && error.value.reason === "Denied" ? "refused" : actionOf(order),
              uid,
              by: `pull ${pull.id}`,
              system: order.system,
              reference: order.reference,
              imageId: record?.id,
              digest: record?.manifestDigest ?? record?.sourceDigest,
              why: record === undefined ? (error?._tag === "Some" ? error.value.code : "INTERNAL") : whyOf(order, record)
            })
          }
        })

      const runner = yield* Runner.make({ site, queue, gateway: yield* Gateway, secrets, uploads, name, ended })
      const watch = yield* Watch.make(queue)
      yield* Effect.forkScoped(
        Stream.runForEach(queue.changes, (id) => Effect.zipRight(Effect.sync(() => watch.changed(id)), runner.changed(id)))
      )

      const asked = ({ label, requester }: Identity, { id, order }: QueuedPull, isNew: boolean) =>
        noted({
          action: actionOf(order),
          uid: requester.uid,
          by: label,
          system: order.system,
          reference: order.reference,
          imageId: undefined,
          digest: undefined,
          why: `asked, ${isNew ? "as" : "joins"} pull ${id}`
        })
      const refused = ({ label, requester }: Identity, { reference, system }: Pick<Orders.Wanted, "reference" | "system">, error: GatewayError | CatalogError) =>
        error.reason !== "Denied"
          ? Effect.void
          : noted({ action: "refused", uid: requester.uid, by: label, system: printable(system), reference: printable(reference), imageId: undefined, digest: undefined, why: error.code })

      /** A pull that is somebody's to know of; otherwise it is as if there were none. */
      const found = (identity: Identity, id: string) =>
        Effect.flatMap(queue.get(id), (pull) => {
          const { uid } = identity.requester
          const system = pull === undefined ? undefined : site.systems.get(pull.order.system)
          if (pull === undefined || system === undefined || !identity.systems.includes(system.name)) return Effect.fail(Watch.notFound(id))
          const isHis = pull.askers.includes(uid) || pull.leavers.includes(uid) || pull.order.requester.uid === uid
          return isHis || isAdmin(identity, system) ? Effect.succeed({ pull, system }) : Effect.fail(Watch.notFound(id))
        })

      return Pulls.of({
        submit: (identity, wanted) =>
          Effect.gen(function* () {
            const { credentials, order } = yield* Orders.make(site, hasLogin, identity, wanted)
            const submitted = queue.submit(order, site.pulls.waitingPerUser, credentials === undefined ? undefined : name)
            const { isNew, pull } = yield* credentials === undefined
              ? submitted
              : // It could be taken before its credentials are here.
                runner.untaken(Effect.zipRight(secrets.room(), Effect.tap(submitted, ({ pull }) => Effect.sync(() => secrets.keep(pull.id, credentials)))).pipe(Effect.uninterruptible))
            yield* asked(identity, pull, isNew)
            return pull
          }).pipe(Effect.tapError((error) => refused(identity, wanted, error))),
        submitImport: (identity, wanted) =>
          Effect.gen(function* () {
            const order = yield* Orders.ofImport(site, identity, wanted)
            const { uid } = order.requester
            const { source } = wanted
            if (source._tag === "Upload") {
              // It may lie with another replica, and it is gone when it is imported: who was not told of that is told now.
              const before = yield* queue.list({ system: order.system, reference: order.reference, asker: uid, states: ["waiting", "running", "done"], limit: LATEST })
              const same = before.find((pull) => pull.order.key === order.key)
              if (same !== undefined) return same
              yield* uploads.file(source.id, uid)
            }
            const { isNew, pull } = yield* queue.submit(order, site.pulls.waitingPerUser, source._tag === "Upload" ? yield* uploads.place : undefined)
            yield* asked(identity, pull, isNew)
            return pull
          }).pipe(Effect.tapError((error) => refused(identity, wanted, error))),
        get: (identity, id) => Effect.map(found(identity, id), ({ pull }) => pull),
        watch: (identity, id) => Stream.unwrap(Effect.as(found(identity, id), watch.of(id))),
        list: (identity, { all, limit, system: wanted }) =>
          Effect.gen(function* () {
            const system = yield* Site.system(site, wanted)
            if (!identity.systems.includes(system.name)) return yield* new GatewayError(errorFields("ACCESS_DENIED", `What you authenticated with is not good for ${system.name}`))
            if (all && !isAdmin(identity, system)) return yield* new GatewayError(errorFields("ACCESS_DENIED", `The pulls of others on ${system.name} are its administrators' to see`))
            return yield* queue.list({ system: system.name, asker: all ? undefined : identity.requester.uid, limit })
          }).pipe(Effect.mapError((error) => (error._tag === "FormatError" ? new GatewayError(carried(error)) : error))),
        cancel: (identity, id) =>
          Effect.gen(function* () {
            const { system } = yield* found(identity, id)
            const cancelled = yield* queue.cancel(id, identity.requester.uid, isAdmin(identity, system))
            yield* runner.changed(id)
            return cancelled ?? (yield* Watch.notFound(id))
          }),
        run: runner.run
      })
    })
  )
