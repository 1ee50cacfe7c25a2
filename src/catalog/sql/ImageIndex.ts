/**
 * The index of published images, in SQL.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import { CatalogError, carried } from "../../core/Errors.js"
import { ImageIndex, type PageRequest } from "../../core/ImageIndex.js"
import * as ImageRecord from "../../core/ImageRecord.js"
import type { Database } from "./Database.js"
import { NEVER, select } from "./ImageRow.js"
import { changing, conceal, drop, dropName, GROUP, put, setNames } from "./ImageWrites.js"
import { reconcile } from "./Reconcile.js"

/** Sorts after everything that begins with what stands before it. */
const LAST = "\u{10ffff}"

/** Of the images that the rows of one page tell, each row's counted. */
const PAGE_BYTES = 8 * 1024 * 1024

/** A row of a page, before its image is read. */
interface Row {
  readonly name: string
  readonly id: string
}

const unique = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => [...new Set(rows.map(({ id }) => id))]

/** What a requester may be told of rows `r` that say whether their image is public and whose it is. */
const visible = (sql: SqlClient.SqlClient, { dialect }: Database, { requester, system }: PageRequest, r: "n" | "i"): Fragment | string => {
  if (requester === undefined) return "1 = 1"
  const who = JSON.stringify([...new Set([requester.uid, ...(requester.gids ?? []).map((gid) => GROUP + gid)])])
  const at = (column: string) => sql.literal(`${r}.${column}`)
  return sql`(${at("is_public")} = 1 OR ${at("owner")} = ${requester.uid}
    OR ${at("id")} IN (SELECT a.id FROM image_access a WHERE a.system = ${system} AND a.who IN ${dialect.numbers(sql, who)}))`
}

export const make = (database: Database): typeof ImageIndex.Service => {
  const { dialect, read, write } = database
  const change = changing(database)
  const clock = (sql: SqlClient.SqlClient) => sql.literal(dialect.now)
  const one = (sql: SqlClient.SqlClient, where: Fragment) => Effect.map(select(sql, dialect, sql`i.id`, where), ([found]) => found?.image)
  const ids = (work: (sql: SqlClient.SqlClient) => Effect.Effect<ReadonlyArray<{ readonly id: string }>, SqlError>) => Effect.map(read(work), (rows) => rows.map(({ id }) => id))
  const pinned = (sql: SqlClient.SqlClient) => sql`EXISTS (SELECT 1 FROM image_pins p WHERE p.system = i.system AND p.id = i.id)`

  /**
   * As many of the rows as a page may hold, and one in any case. Each tells all of its image: what its configuration says, which may be millions of
   * bytes, and all of its names, which may be thousands, each with a row of its own.
   */
  const fitting = (sql: SqlClient.SqlClient, system: string, rows: ReadonlyArray<Row>) =>
    Effect.gen(function* () {
      if (rows.length === 0) return rows
      const sizes = yield* sql<{ id: string; bytes: number }>`SELECT i.id, length(i.record)
        + COALESCE((SELECT sum(length(m.name)) FROM image_names m WHERE m.system = i.system AND m.id = i.id), 0) AS bytes
        FROM images i WHERE i.system = ${system} AND ${sql.in("i.id", unique(rows))}`
      const bytes = new Map(sizes.map((each) => [each.id, Number(each.bytes)]))
      let left = PAGE_BYTES
      const end = rows.findIndex(({ id }, i) => (left -= bytes.get(id) ?? 0) < 0 && i > 0)
      return end < 0 ? rows : rows.slice(0, end)
    })
  /** Each image once, however many rows are its. */
  const ofIds = (sql: SqlClient.SqlClient, system: string, rows: ReadonlyArray<Row>) =>
    rows.length === 0 ? Effect.succeed([]) : select(sql, dialect, sql`i.id`, sql`images i WHERE i.system = ${system} AND ${sql.in("i.id", unique(rows))}`)

  return ImageIndex.of({
    put: (system, record) =>
      Effect.flatMap(
        Effect.mapError(ImageRecord.encode(record), (error) => new CatalogError(carried(error))),
        (bytes) => change((sql) => put(sql, clock(sql), system, [{ record, bytes }]))
      ),
    conceal: (system, id) => change((sql) => conceal(sql, clock(sql), system, id)),
    name: (system, name) => change((sql) => setNames(sql, clock(sql), system, [name])),
    unname: (system, canonical) => change((sql) => dropName(sql, clock(sql), system, canonical)),
    remove: (system, id) => change((sql) => drop(sql, clock(sql), system, id)),
    forget: (system, id) =>
      change((sql) =>
        Effect.gen(function* () {
          const [row] = yield* sql`SELECT i.id FROM images i WHERE i.system = ${system} AND i.id = ${id} AND i.unnamed IS NOT NULL AND NOT ${pinned(sql)}`
          if (row === undefined) return false
          yield* drop(sql, clock(sql), system, id)
          return true
        })
      ),

    get: (system, id) => read((sql) => one(sql, sql`images i WHERE i.system = ${system} AND i.id = ${id}`)),
    named: (system, canonical) =>
      read((sql) => one(sql, sql`image_names n JOIN images i ON i.system = n.system AND i.id = n.id WHERE n.system = ${system} AND n.name = ${canonical}`)),

    page: (request) =>
      read((sql) =>
        Effect.gen(function* () {
          const { after, owner, prefix = "", system } = request
          const limit = Math.min(Math.max(Math.trunc(request.limit), 1), 1000)
          const r = request.unnamed === true ? "i" : "n"
          const ofOwner = owner === undefined ? "1 = 1" : sql`${sql.literal(`${r}.owner`)} = ${owner}`
          const may = visible(sql, database, request, r)
          const rows =
            request.unnamed === true
              ? yield* sql<Row>`SELECT 'id:' || i.id AS name, i.id FROM images i WHERE ${sql.and([
                  sql`i.system = ${system} AND i.unnamed IS NOT NULL AND i.id > ${after?.replace(/^id:/, "") ?? ""}`,
                  prefix === "" ? "1 = 1" : sql`'id:' || i.id >= ${prefix} AND 'id:' || i.id < ${prefix + LAST}`,
                  ofOwner,
                  may
                ])} ORDER BY i.id LIMIT ${limit + 1}`
              : yield* sql<Row>`SELECT n.name, n.id FROM image_names n WHERE ${sql.and([
                  sql`n.system = ${system} AND n.name > ${after ?? ""}`,
                  prefix === "" ? "1 = 1" : sql`n.name >= ${prefix} AND n.name < ${prefix + LAST}`,
                  ofOwner,
                  may
                ])} ORDER BY n.name LIMIT ${limit + 1}`
          const told = yield* fitting(sql, system, rows.slice(0, limit))
          const images = new Map((yield* ofIds(sql, system, told)).map(({ image }) => [image.record.id, image]))
          return {
            rows: told.flatMap(({ id, name }) => {
              const image = images.get(id)
              return image === undefined ? [] : [{ name, image }]
            }),
            next: rows.length > told.length ? told.at(-1)?.name : undefined
          }
        })
      ),

    touch: (system, id, expiresIn) =>
      write((sql) => {
        const now = clock(sql)
        const until = expiresIn === undefined ? sql`expires` : sql`CASE WHEN expires IS NULL OR expires < ${now} + ${expiresIn} THEN ${now} + ${expiresIn} ELSE expires END`
        return sql`UPDATE images SET used = ${now}, expires = ${until} WHERE system = ${system} AND id = ${id}`
      }).pipe(Effect.asVoid),
    setExpiry: (system, id, expires) => Effect.asVoid(write((sql) => sql`UPDATE images SET expires = ${expires ?? NEVER} WHERE system = ${system} AND id = ${id}`)),
    pin: (system, id, uid) =>
      change((sql) =>
        Effect.gen(function* () {
          yield* sql`INSERT INTO image_pins (system, id, uid) SELECT i.system, i.id, ${sql`CAST(${uid} AS ${sql.literal(dialect.integer)})`} FROM images i
            WHERE i.system = ${system} AND i.id = ${id} ON CONFLICT (system, id, uid) DO NOTHING`
          return (yield* sql`SELECT id FROM images WHERE system = ${system} AND id = ${id}`).length > 0
        })
      ),
    unpin: (system, id, uid) =>
      Effect.map(
        write((sql) => sql`DELETE FROM image_pins WHERE system = ${system} AND id = ${id} AND uid = ${uid} RETURNING id`),
        (rows) => rows.length > 0
      ),
    expired: (system) =>
      ids((sql) => sql<{ id: string }>`SELECT i.id FROM images i WHERE i.system = ${system} AND i.expires <= ${clock(sql)} AND i.unnamed IS NULL AND NOT ${pinned(sql)} ORDER BY i.expires`),
    forgotten: (system, olderThan) =>
      ids(
        (sql) => sql<{ id: string }>`SELECT i.id FROM images i WHERE i.system = ${system} AND i.unnamed IS NOT NULL AND i.unnamed <= ${clock(sql)} - ${olderThan}
          AND NOT ${pinned(sql)} ORDER BY i.unnamed`
      ),
    scrubbed: (system, id, damage) =>
      Effect.asVoid(write((sql) => sql`UPDATE images SET scrubbed = ${clock(sql)}, damage = ${damage ?? null} WHERE system = ${system} AND id = ${id}`)),
    // What was published was read then.
    unread: (system, olderThan, limit) =>
      ids(
        (sql) => sql<{ id: string }>`SELECT i.id FROM images i WHERE i.system = ${system} AND COALESCE(i.scrubbed, i.published) <= ${clock(sql)} - ${olderThan}
          ORDER BY COALESCE(i.scrubbed, i.published) LIMIT ${limit}`
      ),
    reconcile: (system, found, expiresIn) => reconcile(database, system, found, expiresIn),
    now: Effect.flatMap(read((sql) => sql<{ now: number }>`SELECT ${clock(sql)} AS now`), ([row]) => Effect.succeed(row?.now ?? 0))
  })
}
