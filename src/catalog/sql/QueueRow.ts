/**
 * A row of the queue, as SQL gives it and as the queue tells it.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { CatalogError, errorFields } from "../../core/Errors.js"
import { MetadataFields } from "../../core/ImageRecord.js"
import { ImportSource } from "../../core/Import.js"
import { phases } from "../../core/Progress.js"
import { type PullOrder, type PullOutcome, type PullProgress, type QueuedPull, WARNINGS_MOST } from "../../core/PullQueue.js"
import type { Dialect } from "./Database.js"

const Ids = Schema.Array(Schema.Int)

/** What of an order is never asked for in SQL. */
const Request = Schema.parseJson(
  Schema.Struct({
    platform: Schema.optional(Schema.String),
    gids: Ids,
    allowUids: Schema.optional(Ids),
    allowGids: Schema.optional(Ids),
    verify: Schema.Boolean,
    hasCredentials: Schema.Boolean,
    import: Schema.optional(Schema.Struct({ source: ImportSource, partition: Schema.optional(Schema.String), metadata: Schema.optional(Schema.partialWith(MetadataFields, { exact: true })) }))
  })
)

const count = Schema.Finite
const Progress = Schema.parseJson(
  Schema.Struct({
    phase: Schema.Literal(...phases),
    imageId: Schema.optional(Schema.String),
    received: count,
    bytes: count,
    layersDone: count,
    layers: count,
    packed: count,
    isWaiting: Schema.Boolean,
    warnings: Schema.Array(Schema.String)
  })
)

const Row = Schema.Struct({
  seq: Schema.Int,
  id: Schema.String,
  key: Schema.String,
  system: Schema.String,
  reference: Schema.String,
  uid: Schema.Int,
  registry: Schema.String,
  request: Request,
  holder: Schema.NullOr(Schema.String),
  state: Schema.Literal("waiting", "running", "done", "failed", "cancelled"),
  attempts: Schema.Int,
  not_before: Schema.Int,
  created: Schema.Int,
  changed: Schema.Int,
  image_id: Schema.NullOr(Schema.String),
  code: Schema.NullOr(Schema.String),
  what: Schema.NullOr(Schema.String),
  remedy: Schema.NullOr(Schema.String),
  progress: Schema.NullOr(Progress),
  askers: Schema.NullOr(Schema.parseJson(Ids)),
  leavers: Schema.NullOr(Schema.parseJson(Ids))
})
type Row = typeof Row.Type

const decodeRow = Schema.decodeUnknown(Row)
const encodeRequest = Schema.encodeSync(Request)
const encodeProgress = Schema.encodeSync(Progress)

/** The rest of an order, for its row. */
export const requestText = (order: PullOrder): string =>
  encodeRequest({
    platform: order.platform,
    gids: order.requester.gids ?? [],
    allowUids: order.allowUids,
    allowGids: order.allowGids,
    verify: order.verify,
    hasCredentials: order.hasCredentials,
    import: order.import
  })

export const progressText = (progress: PullProgress): string =>
  encodeProgress({ ...progress, imageId: progress.imageId, warnings: progress.warnings.slice(-WARNINGS_MOST) })

/** Rows as the queue tells them. `where` also says their order and how many. */
export const select = (sql: SqlClient.SqlClient, dialect: Dialect, where: Fragment): Effect.Effect<ReadonlyArray<QueuedPull & { readonly seq: number }>, SqlError | CatalogError> => {
  const who = (wants: number) =>
    sql`(SELECT CAST(${sql.literal(dialect.jsonArray)}(a.uid ORDER BY a.asked, a.uid) AS TEXT) FROM queue_askers a WHERE a.seq = q.seq AND a.wants = ${wants})`
  return Effect.flatMap(
    sql`SELECT q.seq, q.id, q.key, q.system, q.reference, q.uid, q.registry, q.request, q.holder, q.state, q.attempts, q.not_before, q.created, q.changed,
      q.image_id, q.code, q.what, q.remedy, q.progress, ${who(1)} AS askers, ${who(0)} AS leavers
      FROM queue q WHERE ${where}`,
    Effect.forEach((row) =>
      Effect.mapBoth(decodeRow(row), {
        onSuccess: told,
        onFailure: (error) => new CatalogError(errorFields("CATALOG_FAILED", `A pull of the catalogue is not valid: ${error.message}`))
      })
    )
  )
}

const told = (row: Row): QueuedPull & { readonly seq: number } => ({
  seq: row.seq,
  id: row.id,
  order: {
    system: row.system,
    reference: row.reference,
    platform: row.request.platform,
    requester: { uid: row.uid, gids: row.request.gids },
    allowUids: row.request.allowUids,
    allowGids: row.request.allowGids,
    verify: row.request.verify,
    registry: row.registry,
    key: row.key,
    // Somebody may have joined who has some.
    hasCredentials: row.request.hasCredentials || (row.request.import === undefined && row.holder !== null),
    import: row.request.import === undefined ? undefined : { source: row.request.import.source, partition: row.request.import.partition, metadata: row.request.import.metadata }
  },
  askers: row.askers ?? [],
  leavers: row.leavers ?? [],
  state: row.state,
  outcome: outcomeOf(row),
  progress: row.progress === null ? undefined : { ...row.progress, imageId: row.progress.imageId },
  attempts: row.attempts,
  created: row.created,
  changed: row.changed,
  notBefore: row.not_before
})

const outcomeOf = (row: Row): PullOutcome | undefined => {
  switch (row.state) {
    case "done":
      return { _tag: "Done", imageId: row.image_id ?? "" }
    case "failed":
      return { _tag: "Failed", code: row.code ?? "", what: row.what ?? "", remedy: row.remedy ?? "" }
    case "cancelled":
      return { _tag: "Cancelled" }
    default:
      return undefined
  }
}
