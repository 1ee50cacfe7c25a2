/**
 * Makes the index of images what the image path is, in small transactions: nobody waits long for one, and what is interrupted goes on the next
 * time.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { CatalogError, carried } from "../../core/Errors.js"
import type { ImageIndex, Reconciled } from "../../core/ImageIndex.js"
import * as ImageRecord from "../../core/ImageRecord.js"
import type { Database } from "./Database.js"
import { changing, drop, dropName, put, setName } from "./ImageWrites.js"

/** Changes of one transaction. */
const TOGETHER = 100
/** Rows read at a time. */
const ROWS = 500
/** How long it is remembered what was removed: longer than any listing of an image path takes. */
const GONE_MILLIS = 24 * 3600 * 1000

type Found = Parameters<typeof ImageIndex.Service.reconcile>[1]
type Change = (sql: SqlClient.SqlClient) => Effect.Effect<"added" | "removed" | "changed" | undefined, SqlError>

export const reconcile = (database: Database, system: string, found: Found, expiresIn: number | undefined): Effect.Effect<Reconciled, CatalogError> =>
  Effect.gen(function* () {
    const { began } = found
    const { dialect, read } = database
    const clock = (sql: SqlClient.SqlClient) => sql.literal(dialect.now)
    const change = changing(database)
    const counted = { added: 0, removed: 0, changed: 0 }

    /** All rows that are there, a part at a time; the first column is what they are in the order of. */
    const all = <A extends { readonly key: string }>(part: (sql: SqlClient.SqlClient, after: string) => Effect.Effect<ReadonlyArray<A>, SqlError>) =>
      Effect.gen(function* () {
        const rows: Array<A> = []
        for (let more = true; more; ) {
          const next = yield* read((sql) => part(sql, rows.at(-1)?.key ?? ""))
          rows.push(...next)
          more = next.length === ROWS
        }
        return rows
      })
    const apply = (changes: ReadonlyArray<Change>) =>
      Effect.gen(function* () {
        for (let i = 0; i < changes.length; i += TOGETHER) {
          const done = yield* change((sql) => Effect.forEach(changes.slice(i, i + TOGETHER), (each) => each(sql)))
          for (const what of done) if (what !== undefined) counted[what]++
        }
      })
    // Removed, while the path was listed or after.
    const isGone = (sql: SqlClient.SqlClient, name: string) =>
      Effect.map(sql`SELECT name FROM image_gone WHERE system = ${system} AND name = ${name} AND gone >= ${began}`, (rows) => rows.length > 0)

    const images = new Map(
      (yield* all((sql, after) => sql<{ key: string; record: Uint8Array | ArrayBuffer }>`SELECT id AS key, record FROM images WHERE system = ${system} AND id > ${after} ORDER BY id LIMIT ${ROWS}`)).map(
        ({ key, record }) => [key, record instanceof Uint8Array ? record : new Uint8Array(record)]
      )
    )
    const records: Array<Change> = []
    for (const [i, record] of found.records.entries()) {
      if (i % TOGETHER === 0) yield* Effect.yieldNow()
      const bytes = yield* Effect.mapError(ImageRecord.encode(record), (error) => new CatalogError(carried(error)))
      const known = images.get(record.id)
      images.delete(record.id)
      if (known !== undefined && bytes.equals(known)) continue
      records.push((sql) =>
        Effect.gen(function* () {
          const [row] = yield* sql<{ changed: number }>`SELECT changed FROM images WHERE system = ${system} AND id = ${record.id}`
          if (row === undefined ? yield* isGone(sql, `id:${record.id}`) : row.changed >= began) return undefined
          yield* put(sql, clock(sql), system, record, bytes, expiresIn)
          return row === undefined ? "added" : "changed"
        })
      )
    }
    const lost = [...images.keys()].map((id): Change => (sql) =>
      Effect.gen(function* () {
        const [row] = yield* sql`SELECT id FROM images WHERE system = ${system} AND id = ${id} AND changed < ${began}`
        if (row === undefined) return undefined
        yield* drop(sql, clock(sql), system, id)
        return "removed"
      })
    )
    yield* apply([...records, ...lost])

    const names = new Map(
      (yield* all((sql, after) => sql<{ key: string; id: string }>`SELECT name AS key, id FROM image_names WHERE system = ${system} AND name > ${after} ORDER BY name LIMIT ${ROWS}`)).map(
        ({ id, key }) => [key, id]
      )
    )
    const pointed: Array<Change> = []
    for (const name of found.names) {
      const known = names.get(name.reference)
      names.delete(name.reference)
      if (known === name.id) continue
      pointed.push((sql) =>
        Effect.gen(function* () {
          const [row] = yield* sql<{ changed: number }>`SELECT changed FROM image_names WHERE system = ${system} AND name = ${name.reference}`
          if (row === undefined ? yield* isGone(sql, name.reference) : row.changed >= began) return undefined
          yield* setName(sql, clock(sql), system, name)
          return row === undefined ? "added" : "changed"
        })
      )
    }
    const unnamed = [...names.keys()].map((name): Change => (sql) =>
      Effect.gen(function* () {
        const [row] = yield* sql`SELECT name FROM image_names WHERE system = ${system} AND name = ${name} AND changed < ${began}`
        if (row === undefined) return undefined
        yield* dropName(sql, clock(sql), system, name)
        return "removed"
      })
    )
    yield* apply([...pointed, ...unnamed])
    yield* change((sql) => sql`DELETE FROM image_gone WHERE system = ${system} AND gone < ${began - GONE_MILLIS}`)
    return counted
  })
