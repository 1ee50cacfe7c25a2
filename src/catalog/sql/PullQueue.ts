/**
 * The queue of a gateway service, in SQL. A pull waits in its lane, which is its user and its registry; whoever takes one looks at the head of
 * each lane alone, however many wait behind.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { CatalogError, errorFields, errorTable, printable } from "../../core/Errors.js"
import { placeLeaseMillis, type PullOrder, PullQueue, type QueuedPull, type QueueFilter, queueLeaseMillis, type QueueLimits } from "../../core/PullQueue.js"
import { PLACE } from "../../core/Uploads.js"
import * as Changes from "./Changes.js"
import type { Database } from "./Database.js"
import { progressText, requestText, select } from "./QueueRow.js"

/** A runner that was silent for a day is forgotten. */
const FORGOTTEN_MILLIS = 24 * 3600 * 1000

const laneOf = ({ registry, requester }: PullOrder): string => `${requester.uid} ${registry}`
const userOf = (lane: string): number => Number(lane.slice(0, lane.indexOf(" ")))
const registryOf = (lane: string): string => lane.slice(lane.indexOf(" ") + 1)

interface Head {
  readonly lane: string
  /** Its oldest pull that can be begun now, if any can. */
  readonly seq: number | null
}

interface Running {
  readonly lane: string
  readonly n: number
}

/**
 * What may be begun, the first one first: of the user with the fewest running pulls the oldest, where its registry has room. A user who has
 * as many as one may have gets no more while another one waits, be it for his registry; and never the last place.
 */
export const ranked = (heads: ReadonlyArray<Head>, running: ReadonlyArray<Running>, limits: QueueLimits): ReadonlyArray<number> => {
  const ofUser = new Map<number, number>()
  const ofRegistry = new Map<string, number>()
  for (const { lane, n } of running) {
    const [uid, registry] = [userOf(lane), registryOf(lane)]
    ofUser.set(uid, (ofUser.get(uid) ?? 0) + n)
    ofRegistry.set(registry, (ofRegistry.get(registry) ?? 0) + n)
  }
  const waiting = new Set(heads.map(({ lane }) => userOf(lane)))
  return heads
    .flatMap(({ lane, seq }) => {
      const has = ofUser.get(userOf(lane)) ?? 0
      const registry = registryOf(lane)
      const hasRoom = registry === "" || (ofRegistry.get(registry) ?? 0) < limits.perRegistry
      return seq !== null && hasRoom && (has < limits.perUser || (waiting.size === 1 && limits.isLast !== true)) ? [{ seq, has }] : []
    })
    .sort((a, b) => a.has - b.has || a.seq - b.seq)
    .map(({ seq }) => seq)
}

export const make = (database: Database): Effect.Effect<typeof PullQueue.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { dialect, read, write } = database
    const clock = (sql: SqlClient.SqlClient) => sql.literal(dialect.now)
    const changes = yield* Changes.make(database, (time) =>
      Effect.map(
        read((sql) =>
          time === undefined
            ? sql<{ id: string | null; changed: number }>`SELECT NULL AS id, ${clock(sql)} AS changed`
            : sql<{ id: string | null; changed: number }>`SELECT id, changed FROM queue WHERE changed >= ${time} ORDER BY changed`
        ),
        (rows) => ({ ids: rows.flatMap(({ id }) => (id === null ? [] : [id])), newest: Math.max(time ?? 0, ...rows.slice(-1).map(({ changed }) => changed)) })
      )
    )
    /** Does something that changes pulls, and tells everyone which. */
    const change = <A>(work: (sql: SqlClient.SqlClient) => Effect.Effect<{ readonly result: A; readonly ids: ReadonlyArray<string> }, SqlError | CatalogError>) =>
      write((sql) => Effect.tap(work(sql), ({ ids }) => (ids.length === 0 ? Effect.void : dialect.notify(sql, ids)))).pipe(
        Effect.tap(({ ids }) => changes.tell(ids)),
        Effect.map(({ result }) => result)
      )
    const one = (sql: SqlClient.SqlClient, id: string) => Effect.map(select(sql, dialect, sql`q.id = ${id}`), ([found]) => found)
    const present = (sql: SqlClient.SqlClient, id: string) =>
      Effect.flatMap(one(sql, id), (found) => (found === undefined ? new CatalogError(errorFields("CATALOG_FAILED", `The pull ${id} vanished from the catalogue`)) : Effect.succeed(found)))
    const isAlive = (sql: SqlClient.SqlClient, runner: string) =>
      sql`EXISTS (SELECT 1 FROM runners r WHERE r.name = ${sql.literal(runner)} AND r.alive_until > ${clock(sql)})`
    const lives = (sql: SqlClient.SqlClient, runner: string, millis = queueLeaseMillis) =>
      sql`INSERT INTO runners (name, alive_until) VALUES (${runner}, ${clock(sql)} + ${millis}) ON CONFLICT (name) DO UPDATE SET alive_until = excluded.alive_until`
    const asks = (sql: SqlClient.SqlClient, seq: number, uid: number) =>
      sql`INSERT INTO queue_askers (seq, uid, asked, wants) VALUES (${seq}, ${uid}, ${clock(sql)}, 1) ON CONFLICT (seq, uid) DO UPDATE SET wants = 1`
    const waitingOf = (sql: SqlClient.SqlClient, uid: number) =>
      Effect.map(
        sql<{ n: number }>`SELECT count(*) AS n FROM queue WHERE state = 'waiting' AND lane >= ${`${uid} `} AND lane < ${`${uid}!`}`,
        ([waiting]) => Number(waiting?.n ?? 0)
      )
    /** Who joins is not to wait behind all that somebody else wants: it goes to his lane where that is the shorter one. */
    const moved = (sql: SqlClient.SqlClient, { lane, seq }: { readonly lane: string; readonly seq: number }, to: string) =>
      Effect.gen(function* () {
        if (userOf(lane) === userOf(to) || (yield* waitingOf(sql, userOf(to))) >= (yield* waitingOf(sql, userOf(lane))) - 1) return
        yield* sql`UPDATE queue SET lane = ${to} WHERE seq = ${seq} AND state = 'waiting'`
      })

    return PullQueue.of({
      submit: (order, waitingPerUser, holder) => {
        const id = randomBytes(16).toString("hex")
        return change((sql) =>
          Effect.gen(function* () {
            const now = clock(sql)
            if (holder !== undefined) yield* lives(sql, holder, order.import === undefined ? queueLeaseMillis : placeLeaseMillis)
            const [open] = yield* sql<{ seq: number; id: string; state: string; lane: string }>`SELECT seq, id, state, lane FROM queue
              WHERE key = ${order.key} AND state IN ('waiting', 'running') ${sql.literal(dialect.forUpdate)}`
            if (open !== undefined) {
              yield* asks(sql, open.seq, order.requester.uid)
              if (open.state === "waiting") yield* moved(sql, open, laneOf(order))
              // Its credentials are here now, unless another process still has them.
              if (holder !== undefined) {
                yield* sql`UPDATE queue SET holder = ${holder} WHERE seq = ${open.seq}
                  AND (holder IS NOT NULL OR state = 'waiting') AND (holder IS NULL OR NOT ${isAlive(sql, "queue.holder")})`
              }
              return { result: { pull: yield* present(sql, open.id), isNew: open.id === id }, ids: [] }
            }
            if ((yield* waitingOf(sql, order.requester.uid)) >= waitingPerUser) {
              return yield* new CatalogError(errorFields("QUEUE_FULL", `${waitingPerUser} pulls of uid ${order.requester.uid} wait already`))
            }
            const [row] = yield* sql<{ seq: number }>`INSERT INTO queue (id, key, system, reference, uid, registry, lane, request, holder, state, attempts, not_before, created, changed)
              VALUES (${id}, ${order.key}, ${order.system}, ${order.reference}, ${order.requester.uid}, ${order.registry}, ${laneOf(order)}, ${requestText(order)},
                ${holder ?? null}, 'waiting', 0, ${now}, ${now}, ${now}) RETURNING seq`
            if (row !== undefined) yield* asks(sql, row.seq, order.requester.uid)
            return { result: { pull: yield* present(sql, id), isNew: true }, ids: [id] }
          })
        )
      },

      take: (runner, limits, place = runner) =>
        Effect.gen(function* () {
          // Most who look find nothing, and need no transaction for it.
          const [any] = yield* read((sql) => sql`SELECT 1 AS found FROM queue WHERE state = 'waiting' LIMIT 1`)
          if (any === undefined) return undefined
          const lease = randomBytes(16).toString("hex")
          return yield* change((sql) =>
            Effect.gen(function* () {
              const now = clock(sql)
              // The limits hold over all replicas: one counts and takes at a time.
              yield* dialect.exclusive(sql, "take")
              const heads = yield* sql<Head>`WITH RECURSIVE lanes (lane) AS (
                  SELECT min(lane) FROM queue WHERE state = 'waiting'
                  UNION ALL
                  SELECT (SELECT min(q.lane) FROM queue q WHERE q.state = 'waiting' AND q.lane > l.lane) FROM lanes l WHERE l.lane IS NOT NULL
                )
                SELECT l.lane, (SELECT q.seq FROM queue q WHERE q.state = 'waiting' AND q.lane = l.lane AND q.not_before <= ${now}
                  AND (q.holder IS NULL OR q.holder IN (${runner}, ${place}) OR NOT ${isAlive(sql, "q.holder")}) ORDER BY q.seq LIMIT 1) AS seq
                FROM lanes l WHERE l.lane IS NOT NULL`
              const running = yield* sql<Running>`SELECT lane, count(*) AS n FROM queue WHERE state = 'running' GROUP BY lane`
              for (const seq of ranked(heads, running, limits)) {
                const [taken] = yield* sql<{ id: string }>`UPDATE queue SET state = 'running', attempts = attempts + 1, lease = ${lease},
                  lease_until = ${now} + ${queueLeaseMillis}, changed = ${now}
                  WHERE seq IN (SELECT seq FROM queue WHERE seq = ${seq} AND state = 'waiting' ${sql.literal(dialect.skipLocked)}) RETURNING id`
                if (taken !== undefined) return { result: { pull: yield* present(sql, taken.id), lease }, ids: [taken.id] }
              }
              return { result: undefined, ids: [] }
            })
          )
        }),

      renew: ({ lease, pull }, progress) =>
        change((sql) =>
          Effect.gen(function* () {
            const now = clock(sql)
            const held =
              progress === undefined
                ? yield* sql`UPDATE queue SET lease_until = ${now} + ${queueLeaseMillis} WHERE id = ${pull.id} AND lease = ${lease} AND state = 'running' RETURNING id`
                : yield* sql`UPDATE queue SET lease_until = ${now} + ${queueLeaseMillis}, changed = ${now}, progress = ${progressText(progress)}
                    WHERE id = ${pull.id} AND lease = ${lease} AND state = 'running' RETURNING id`
            if (held.length > 0) return { result: "Held" as const, ids: progress === undefined ? [] : [pull.id] }
            const [ended] = yield* sql`SELECT id FROM queue WHERE id = ${pull.id} AND lease = ${lease} AND state = 'cancelled'`
            return { result: ended === undefined ? ("Lost" as const) : ("Cancelled" as const), ids: [] }
          })
        ),

      finish: ({ lease, pull }, outcome, progress) =>
        change((sql) =>
          Effect.gen(function* () {
            const failed = outcome._tag === "Failed" ? outcome : undefined
            const ended = yield* sql`UPDATE queue SET state = ${outcome._tag.toLowerCase()}, image_id = ${outcome._tag === "Done" ? outcome.imageId : null},
              code = ${failed?.code ?? null}, what = ${failed === undefined ? null : printable(failed.what)}, remedy = ${failed === undefined ? null : printable(failed.remedy)},
              progress = COALESCE(${progress === undefined ? null : progressText(progress)}, progress), lease_until = NULL, changed = ${clock(sql)} WHERE id = ${pull.id} AND lease = ${lease} AND state = 'running' RETURNING id`
            if (ended.length > 0) return { result: true, ids: [pull.id] }
            // It was cancelled meanwhile; or this is the second time that this is done, and the first one was committed.
            return { result: (yield* sql`SELECT id FROM queue WHERE id = ${pull.id} AND lease = ${lease}`).length > 0, ids: [] }
          })
        ),

      putBack: ({ lease, pull }, delay, countsAsAttempt, progress) =>
        change((sql) =>
          Effect.map(
            sql<{ id: string }>`UPDATE queue SET state = 'waiting', lease = NULL, lease_until = NULL, progress = ${progress === undefined ? null : progressText(progress)},
              not_before = ${clock(sql)} + ${Math.round(delay)},
              attempts = attempts - ${countsAsAttempt ? 0 : 1}, changed = ${clock(sql)} WHERE id = ${pull.id} AND lease = ${lease} AND state = 'running' RETURNING id`,
            (rows) => ({ result: undefined, ids: rows.map(({ id }) => id) })
          )
        ),

      alive: (runner, place) =>
        Effect.asVoid(write((sql) => Effect.zipRight(lives(sql, runner), place === undefined ? Effect.void : lives(sql, place, placeLeaseMillis)))),

      recover: (attempts) =>
        change((sql) =>
          Effect.gen(function* () {
            const now = clock(sql)
            yield* sql`DELETE FROM runners WHERE alive_until < ${now} - ${FORGOTTEN_MILLIS}`
            const failed = (code: "CREDENTIALS_GONE" | "UPLOAD_NOT_FOUND" | "LEASE_LOST", what: string, remedy = errorTable[code].remedy) =>
              sql`state = 'failed', lease = NULL, lease_until = NULL, changed = ${now}, code = ${code}, what = ${what}, remedy = ${remedy}`
            const isPlace = sql`holder LIKE ${`${PLACE}%`}`
            const withoutHolder = sql`holder IS NOT NULL AND NOT ${isAlive(sql, "queue.holder")}`
            const gone = failed("CREDENTIALS_GONE", "The gateway process that had the credentials of this pull ended")
            const away = failed(
              "UPLOAD_NOT_FOUND",
              "The upload that was to be imported lies on a machine of the gateway that does not answer",
              "Upload it again, or import it again when that machine is back."
            )
            const worn = failed(
              "LEASE_LOST",
              `The gateway process that ran this pull ended in the middle of it, the last of ${attempts} times`,
              "Pull again; if that ends so too, ask your administrator for the log of the gateway."
            )
            const expired = sql`state = 'running' AND lease_until <= ${now}`
            const ended = [
              sql<{ id: string }>`UPDATE queue SET ${away} WHERE state = 'waiting' AND ${isPlace} AND ${withoutHolder} RETURNING id`,
              sql<{ id: string }>`UPDATE queue SET ${away} WHERE ${expired} AND ${isPlace} AND ${withoutHolder} RETURNING id`,
              sql<{ id: string }>`UPDATE queue SET ${gone} WHERE state = 'waiting' AND ${withoutHolder} RETURNING id`,
              sql<{ id: string }>`UPDATE queue SET ${gone} WHERE ${expired} AND ${withoutHolder} RETURNING id`,
              sql<{ id: string }>`UPDATE queue SET ${worn} WHERE ${expired} AND attempts >= ${attempts} RETURNING id`,
              sql<{ id: string }>`UPDATE queue SET state = 'waiting', lease = NULL, lease_until = NULL, progress = NULL, not_before = ${now}, changed = ${now}
                WHERE ${expired} RETURNING id`
            ]
            const ids = (yield* Effect.all(ended)).flat().map(({ id }) => id)
            return { result: ids, ids }
          })
        ),

      cancel: (id, uid, byForce) =>
        change((sql) =>
          Effect.gen(function* () {
            const [open] = yield* sql<{ seq: number }>`SELECT seq FROM queue WHERE id = ${id} AND state IN ('waiting', 'running') ${sql.literal(dialect.forUpdate)}`
            if (open !== undefined) {
              // Who wanted what is ended by force is still told of it.
              if (!byForce) yield* sql`UPDATE queue_askers SET wants = 0 WHERE seq = ${open.seq} AND uid = ${uid}`
              const isUnwanted = byForce ? "1 = 1" : sql`NOT EXISTS (SELECT 1 FROM queue_askers a WHERE a.seq = queue.seq AND a.wants = 1)`
              // Its lease stays, so that who runs it is told.
              const ended = yield* sql`UPDATE queue SET state = 'cancelled', lease_until = NULL, changed = ${clock(sql)}
                WHERE ${sql.and([sql`seq = ${open.seq}`, isUnwanted])} RETURNING id`
              return { result: yield* one(sql, id), ids: ended.length > 0 ? [id] : [] }
            }
            return { result: yield* one(sql, id), ids: [] }
          })
        ),

      get: (id) => read((sql) => one(sql, id)),

      list: (filter) => read((sql) => listed(sql, database, filter)),

      counts: read(
        (sql) =>
          sql<{ system: string; state: QueuedPull["state"]; count: number }>`SELECT system, state, count(*) AS count FROM queue WHERE state IN ('waiting', 'running')
            GROUP BY state, system ORDER BY state, system`
      ),

      prune: (olderThan) =>
        write((sql) =>
          Effect.gen(function* () {
            const pruned = sql`FROM queue WHERE changed < ${clock(sql)} - ${olderThan} AND state NOT IN ('waiting', 'running')`
            yield* sql`DELETE FROM queue_askers WHERE seq IN (SELECT seq ${pruned})`
            return (yield* sql`DELETE ${pruned} RETURNING id`).length
          })
        ),

      changes: changes.stream
    })
  })

const listed = (sql: SqlClient.SqlClient, { dialect }: Database, filter: QueueFilter) => {
  const states = filter.states ?? []
  const isOpen = states.length > 0 && states.every((state) => state === "waiting" || state === "running")
  return select(
    sql,
    dialect,
    sql`${sql.and([
      filter.system === undefined ? "1 = 1" : sql`q.system = ${filter.system}`,
      // Said in the words of an index, so that it is used.
      isOpen ? "q.state IN ('waiting', 'running')" : "1 = 1",
      filter.states === undefined ? "1 = 1" : states.length === 0 ? "1 = 0" : sql.in("q.state", states),
      filter.reference === undefined ? "1 = 1" : sql`q.reference = ${filter.reference}`,
      filter.asker === undefined ? "1 = 1" : sql`q.seq IN (SELECT a.seq FROM queue_askers a WHERE a.uid = ${filter.asker})`
    ])} ORDER BY q.seq DESC LIMIT ${filter.limit}`
  )
}
