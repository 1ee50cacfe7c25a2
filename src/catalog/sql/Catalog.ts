/**
 * The pulls that run, in SQL.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import { Catalog, fetchMillis, type GonePull, leaseMillis, type PullState, retryMillis } from "../../core/Catalog.js"
import { CatalogError, errorFields } from "../../core/Errors.js"
import { phases } from "../../core/Progress.js"
import type { Database } from "./Database.js"

export const make = ({ dialect, read, write }: Database): typeof Catalog.Service => {
  const clock = (sql: SqlClient.SqlClient) => sql.literal(dialect.now)
  const isAlive = (sql: SqlClient.SqlClient) => sql`state = 'active' AND lease_until > ${clock(sql)}`

  return Catalog.of({
    begin: (request) =>
      write((sql) =>
        sql<{ id: number; token: string }>`INSERT INTO pulls (token, system, reference, requester, state, phase, lease_until, changed)
          VALUES (${randomBytes(16).toString("hex")}, ${request.system}, ${request.reference}, ${request.requester}, 'active', 'resolve', ${clock(sql)} + ${leaseMillis}, ${clock(sql)})
          RETURNING id, token`
      ).pipe(Effect.flatMap(([row]) => (row === undefined ? new CatalogError(errorFields("CATALOG_FAILED", "The catalogue made no row")) : Effect.succeed(row)))),

    claim: (pull, imageId) =>
      write((sql) =>
        Effect.gen(function* () {
          const now = clock(sql)
          // Its process sees that its lease is gone, at the latest where it would publish; what that leaves, a reaper removes.
          yield* sql`UPDATE pulls SET state = 'reaping', lease_until = ${now} + ${leaseMillis}, changed = ${now} WHERE id IN (SELECT p.id FROM pulls p, pulls mine
            WHERE mine.id = ${pull.id} AND p.system = mine.system AND p.image_id = ${imageId} AND p.state = 'active' AND p.id <> mine.id
            AND p.phase = 'fetch' AND p.changed < ${now} - ${fetchMillis} AND p.reference <> mine.reference)`
          const [other] = yield* sql<{ id: number; same: number }>`SELECT p.id, CASE WHEN p.reference = mine.reference AND p.requester = mine.requester THEN 1 ELSE 0 END AS same
            FROM pulls p, pulls mine
            WHERE mine.id = ${pull.id} AND p.system = mine.system AND p.image_id = ${imageId} AND p.state = 'active' AND p.id <> mine.id`
          if (other !== undefined) return { _tag: "Theirs", pull: other.id, isSameRequest: other.same === 1 } as const
          const mine = yield* sql`UPDATE pulls SET image_id = ${imageId}, lease_until = ${now} + ${leaseMillis} WHERE id = ${pull.id} AND state = 'active' RETURNING id`
          return mine.length === 1 ? ({ _tag: "Mine" } as const) : yield* new CatalogError(errorFields("LEASE_LOST", "This pull was silent for too long"))
        })
      ),

    renew: (pull) =>
      write((sql) => sql`UPDATE pulls SET lease_until = ${clock(sql)} + ${leaseMillis} WHERE id = ${pull.id} AND ${isAlive(sql)} RETURNING id`).pipe(
        Effect.map((found) => found.length === 1)
      ),

    enter: (pull, phase) =>
      write(
        (sql) => sql`UPDATE pulls SET phase = ${phase}, lease_until = ${clock(sql)} + ${leaseMillis}, changed = ${clock(sql)} WHERE id = ${pull.id} AND ${isAlive(sql)} RETURNING id`
      ).pipe(Effect.map((found) => found.length === 1)),

    end: (pull, state) =>
      write(
        (sql) =>
          sql`UPDATE pulls SET state = ${state._tag.toLowerCase()}, code = ${state._tag === "Failed" ? state.code : null},
            what = ${state._tag === "Failed" ? state.what : null}, changed = ${clock(sql)} WHERE id = ${pull.id} AND state = 'active'`
      ).pipe(Effect.asVoid),

    running: read((sql) => sql<{ token: string }>`SELECT token FROM pulls WHERE state IN ('active', 'reaping')`).pipe(Effect.map((rows) => rows.map(({ token }) => token))),

    state: (pull) =>
      read((sql) => sql<{ state: string; phase: string; code: string | null; what: string | null; overdue: number }>`SELECT state, phase, code, what, CASE WHEN lease_until <= ${clock(sql)} THEN 1 ELSE 0 END AS overdue FROM pulls WHERE id = ${pull}`).pipe(
        Effect.map(([row]): PullState => {
          switch (row?.state) {
            case "active":
              return { _tag: "Active", phase: phases.find((phase) => phase === row.phase) ?? "resolve", isOverdue: row.overdue === 1 }
            case "done":
              return { _tag: "Done" }
            case "failed":
              return { _tag: "Failed", code: row.code ?? "", what: row.what ?? "" }
            default:
              return { _tag: "Abandoned" }
          }
        })
      ),

    reap: write((sql) =>
      Effect.gen(function* () {
        const now = clock(sql)
        // Ended rows are kept for a while, then forgotten with the blobs they held on to.
        yield* sql`DELETE FROM pulls WHERE state <> 'active' AND changed < ${now} - ${retryMillis}`
        yield* sql`DELETE FROM blob_uses WHERE pull NOT IN (SELECT id FROM pulls)`
        // The lease is now the reaper's: when he dies too, the next one removes what is left.
        return yield* sql<GonePull>`UPDATE pulls SET changed = CASE state WHEN 'active' THEN ${now} ELSE changed END, state = 'reaping', lease_until = ${now} + ${leaseMillis}
          WHERE state IN ('active', 'reaping') AND lease_until <= ${now} RETURNING id, token, system`
      })
    ),

    reaped: (pull) => write((sql) => sql`UPDATE pulls SET state = 'abandoned' WHERE id = ${pull.id} AND state = 'reaping'`).pipe(Effect.asVoid),

    useBlobs: (pull, blobs) =>
      write((sql) =>
        Effect.gen(function* () {
          yield* dialect.exclusive(sql, "blobs")
          for (const blob of blobs) yield* sql`INSERT INTO blob_uses (pull, blob) VALUES (${pull.id}, ${blob}) ON CONFLICT DO NOTHING`
        })
      ),

    hasLeftBlobs: (pull) =>
      read(
        (sql) => sql`SELECT 1 FROM blob_uses WHERE pull IN (SELECT p.id FROM pulls p, pulls mine
          WHERE mine.id = ${pull.id} AND p.state <> 'active' AND p.system = mine.system AND p.reference = mine.reference) LIMIT 1`
      ).pipe(Effect.map((rows) => rows.length > 0)),

    releaseBlobs: (pull) =>
      write((sql) =>
        Effect.gen(function* () {
          yield* sql`DELETE FROM blob_uses WHERE pull = ${pull.id}`
          // Earlier tries of the same image have no further use for theirs.
          yield* sql`DELETE FROM blob_uses WHERE pull IN (SELECT p.id FROM pulls p, pulls mine
            WHERE mine.id = ${pull.id} AND p.state <> 'active' AND p.system = mine.system
            AND (p.image_id = mine.image_id OR p.reference = mine.reference))`
        })
      ),

    unused: (blobs, f) =>
      write((sql) =>
        Effect.gen(function* () {
          yield* dialect.exclusive(sql, "blobs")
          const used = new Set((yield* sql<{ blob: string }>`SELECT DISTINCT blob FROM blob_uses`).map(({ blob }) => blob))
          for (const blob of blobs) if (!used.has(blob)) yield* f(blob)
        })
      )
  })
}
