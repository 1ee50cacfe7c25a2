/**
 * The audit log, in SQL.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Audit, type AuditAction, type AuditRow } from "../../core/Audit.js"
import { CatalogError, errorFields } from "../../core/Errors.js"
import type { Database } from "./Database.js"

const actions = [
  "pull",
  "lookup",
  "remove",
  "expire",
  "import",
  "access",
  "pin",
  "unpin",
  "upload",
  "token",
  "collect",
  "scrub",
  "refused"
] as const satisfies ReadonlyArray<AuditAction>

const text = Schema.NullOr(Schema.String)
const Row = Schema.Struct({
  id: Schema.Int,
  time: Schema.Int,
  action: Schema.Literal(...actions),
  uid: Schema.NullOr(Schema.Int),
  shown_by: Schema.String,
  system: text,
  reference: text,
  image_id: text,
  digest: text,
  why: Schema.String
})
const decodeRow = Schema.decodeUnknown(Row)

const told = (row: typeof Row.Type): AuditRow => ({
  id: row.id,
  time: row.time,
  action: row.action,
  uid: row.uid ?? undefined,
  by: row.shown_by,
  system: row.system ?? undefined,
  reference: row.reference ?? undefined,
  imageId: row.image_id ?? undefined,
  digest: row.digest ?? undefined,
  why: row.why
})

export const make = ({ dialect, read, write }: Database): typeof Audit.Service => {
  const clock = (sql: SqlClient.SqlClient) => sql.literal(dialect.now)
  return Audit.of({
    write: (entry) => {
      // So that one that is written again, since nobody can tell whether it was, is there once.
      const key = randomBytes(12).toString("hex")
      return Effect.asVoid(
        write(
          (sql) => sql`INSERT INTO audit (entry, time, action, uid, shown_by, system, reference, image_id, digest, why)
            VALUES (${key}, ${clock(sql)}, ${entry.action}, ${entry.uid ?? null}, ${entry.by}, ${entry.system ?? null}, ${entry.reference ?? null},
              ${entry.imageId ?? null}, ${entry.digest ?? null}, ${entry.why}) ON CONFLICT (entry) DO NOTHING`
        )
      )
    },

    page: ({ action, before, limit, system, uid }) =>
      read((sql) =>
        Effect.flatMap(
          sql`SELECT id, time, action, uid, shown_by, system, reference, image_id, digest, why FROM audit WHERE ${sql.and([
            before === undefined ? "1 = 1" : sql`id < ${before}`,
            system === undefined ? "1 = 1" : sql`system = ${system}`,
            uid === undefined ? "1 = 1" : sql`uid = ${uid}`,
            action === undefined ? "1 = 1" : sql`action = ${action}`
          ])} ORDER BY id DESC LIMIT ${limit}`,
          Effect.forEach((row) =>
            Effect.mapBoth(decodeRow(row), {
              onSuccess: told,
              onFailure: (error) => new CatalogError(errorFields("CATALOG_FAILED", `A row of the audit log is not valid: ${error.message}`))
            })
          )
        )
      ),

    prune: (olderThan) => Effect.map(write((sql) => sql`DELETE FROM audit WHERE time < ${clock(sql)} - ${olderThan} RETURNING id`), (rows) => rows.length)
  })
}
