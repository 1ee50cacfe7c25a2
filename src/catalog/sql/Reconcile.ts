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
import { changing, drop, dropName, NOBODY, put, setNames, type Written } from "./ImageWrites.js"

/** Changes of one transaction. */
const TOGETHER = 250
/** Rows read at a time. */
const ROWS = 500
/** How long it is remembered what was removed: longer than any listing of an image path takes. */
const GONE_MILLIS = 24 * 3600 * 1000

type Found = Parameters<typeof ImageIndex.Service.reconcile>[1]
type Change = (sql: SqlClient.SqlClient) => Effect.Effect<Partial<Reconciled>, SqlError>

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
    const apply = (work: Change) =>
      Effect.map(change(work), ({ added = 0, changed = 0, removed = 0 }) => {
        counted.added += added
        counted.changed += changed
        counted.removed += removed
      })
    const inParts = <A>(things: ReadonlyArray<A>, f: (part: ReadonlyArray<A>) => Change) =>
      Effect.gen(function* () {
        for (let i = 0; i < things.length; i += TOGETHER) yield* apply(f(things.slice(i, i + TOGETHER)))
      })

    /** Of what the path has and the index has otherwise or not: what nobody has changed or removed since the path began to be listed. */
    const stale = <A>(
      sql: SqlClient.SqlClient,
      things: ReadonlyArray<A>,
      nameOf: (thing: A) => string,
      goneOf: (name: string) => string,
      rows: ReadonlyArray<{ readonly name: string; readonly changed: number }>
    ) =>
      Effect.gen(function* () {
        const there = new Map(rows.map(({ changed, name }) => [name, changed]))
        const gone = new Set(
          (yield* sql<{ name: string }>`SELECT name FROM image_gone WHERE system = ${system} AND gone >= ${began} AND ${sql.in("name", things.map((thing) => goneOf(nameOf(thing))))}`).map(({ name }) => name)
        )
        const added = things.filter((thing) => !there.has(nameOf(thing)) && !gone.has(goneOf(nameOf(thing))))
        const changed = things.filter((thing) => (there.get(nameOf(thing)) ?? began) < began)
        return { added, changed }
      })

    const images = new Map(
      (yield* all((sql, after) => sql<{ key: string; record: Uint8Array | ArrayBuffer; owner: number }>`SELECT id AS key, record, owner FROM images
        WHERE system = ${system} AND id > ${after} ORDER BY id LIMIT ${ROWS}`)).map(({ key, owner, record }) => [key, { record: record instanceof Uint8Array ? record : new Uint8Array(record), owner }])
    )
    const records: Array<Written> = []
    for (const [i, record] of [...new Map(found.records.map((each) => [each.id, each])).values()].entries()) {
      if (i % TOGETHER === 0) yield* Effect.yieldNow()
      const bytes = yield* Effect.mapError(ImageRecord.encode(record), (error) => new CatalogError(carried(error)))
      const known = images.get(record.id)
      images.delete(record.id)
      if (known === undefined || known.owner === NOBODY || !bytes.equals(known.record)) records.push({ record, bytes })
    }
    yield* inParts(records, (part) => (sql) =>
      Effect.gen(function* () {
        const rows = yield* sql<{ name: string; changed: number }>`SELECT id AS name, changed FROM images WHERE system = ${system} AND ${sql.in("id", part.map(({ record }) => record.id))}`
        const { added, changed } = yield* stale(sql, part, ({ record }) => record.id, (id) => `id:${id}`, rows)
        yield* put(sql, clock(sql), system, [...added, ...changed], expiresIn)
        return { added: added.length, changed: changed.length }
      })
    )
    yield* inParts([...images.keys()], (part) => (sql) =>
      Effect.gen(function* () {
        const lost = yield* sql<{ id: string }>`SELECT id FROM images WHERE system = ${system} AND changed < ${began} AND ${sql.in("id", part)}`
        yield* Effect.forEach(lost, ({ id }) => drop(sql, clock(sql), system, id), { discard: true })
        return { removed: lost.length }
      })
    )

    const names = new Map(
      (yield* all((sql, after) => sql<{ key: string; id: string }>`SELECT name AS key, id FROM image_names WHERE system = ${system} AND name > ${after} ORDER BY name LIMIT ${ROWS}`)).map(
        ({ id, key }) => [key, id]
      )
    )
    const pointed = [...new Map(found.names.map((each) => [each.reference, each])).values()].filter((name) => {
      const known = names.get(name.reference)
      names.delete(name.reference)
      return known !== name.id
    })
    yield* inParts(pointed, (part) => (sql) =>
      Effect.gen(function* () {
        const rows = yield* sql<{ name: string; changed: number }>`SELECT name, changed FROM image_names WHERE system = ${system} AND ${sql.in("name", part.map(({ reference }) => reference))}`
        const { added, changed } = yield* stale(sql, part, ({ reference }) => reference, (name) => name, rows)
        yield* setNames(sql, clock(sql), system, [...added, ...changed])
        return { added: added.length, changed: changed.length }
      })
    )
    yield* inParts([...names.keys()], (part) => (sql) =>
      Effect.gen(function* () {
        const lost = yield* sql<{ name: string }>`SELECT name FROM image_names WHERE system = ${system} AND changed < ${began} AND ${sql.in("name", part)}`
        yield* Effect.forEach(lost, ({ name }) => dropName(sql, clock(sql), system, name), { discard: true })
        return { removed: lost.length }
      })
    )
    yield* change((sql) => sql`DELETE FROM image_gone WHERE system = ${system} AND gone < ${began - GONE_MILLIS}`)
    return counted
  })
