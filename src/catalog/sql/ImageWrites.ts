/**
 * What changes the index of images: each is done in a transaction of whoever calls it, one after the other, since whether an image still has a
 * name depends on all of them.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import type { CatalogError } from "../../core/Errors.js"
import type { ImageRecord } from "../../core/ImageRecord.js"
import type { NameFile } from "../../core/NameFile.js"
import type { Database } from "./Database.js"

/** What a group's number has added in an access list. */
export const GROUP = 2 ** 32

/** A transaction in which names and images change. */
export const changing =
  ({ dialect, write }: Database) =>
  <A>(work: (sql: SqlClient.SqlClient) => Effect.Effect<A, SqlError>): Effect.Effect<A, CatalogError> =>
    write((sql) => Effect.zipRight(dialect.exclusive(sql, "images"), work(sql)))

/** Of one statement: each engine takes so many parameters and no more. */
const ROWS = 2000

const inParts = <A>(all: ReadonlyArray<A>, f: (part: ReadonlyArray<A>) => Effect.Effect<unknown, SqlError>): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    for (let i = 0; i < all.length; i += ROWS) yield* f(all.slice(i, i + ROWS))
  })

/** The clock as a number, for many rows. */
const timeOf = (sql: SqlClient.SqlClient, now: Fragment) => Effect.map(sql<{ now: number }>`SELECT ${now} AS now`, ([row]) => Number(row?.now ?? 0))

export interface Written {
  readonly record: ImageRecord
  readonly bytes: Uint8Array
}

/** Adds images or changes their records, each of them named once. `expiresIn` is for those that are new. */
export const put = (sql: SqlClient.SqlClient, now: Fragment, system: string, images: ReadonlyArray<Written>, expiresIn?: number): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    if (images.length === 0) return
    const time = yield* timeOf(sql, now)
    const ids = images.map(({ record }) => record.id)
    const rows = images.map(({ bytes, record: { access, id, owner } }) => ({
      system,
      id,
      record: bytes,
      is_public: access === "public" ? 1 : 0,
      owner,
      published: time,
      changed: time,
      used: time,
      expires: expiresIn === undefined ? null : time + expiresIn,
      unnamed: time
    }))
    yield* inParts(rows, (part) => sql`INSERT INTO images ${sql.insert(part)}
      ON CONFLICT (system, id) DO UPDATE SET record = excluded.record, is_public = excluded.is_public, owner = excluded.owner, changed = excluded.changed`)
    yield* sql`UPDATE image_names SET
      is_public = (SELECT i.is_public FROM images i WHERE i.system = image_names.system AND i.id = image_names.id),
      owner = (SELECT i.owner FROM images i WHERE i.system = image_names.system AND i.id = image_names.id) WHERE system = ${system} AND ${sql.in("id", ids)}`
    yield* settle(sql, now, system, ids)
    yield* sql`DELETE FROM image_access WHERE system = ${system} AND ${sql.in("id", ids)}`
    const listed = images.flatMap(({ record: { access, allowGids, allowUids, id } }) =>
      access === "public" ? [] : [...new Set([...allowUids, ...allowGids.map((gid) => GROUP + gid)])].map((who) => ({ system, id, who }))
    )
    yield* inParts(listed, (part) => sql`INSERT INTO image_access ${sql.insert(part)}`)
    yield* sql`DELETE FROM image_gone WHERE system = ${system} AND ${sql.in("name", ids.map((id) => `id:${id}`))}`
  })

/** Owner of what nobody is told of: a comparison with the image path finds it different. */
export const NOBODY = -2

/** Until it is put again. */
export const conceal = (sql: SqlClient.SqlClient, now: Fragment, system: string, id: string): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    yield* sql`UPDATE images SET is_public = 0, owner = ${NOBODY}, changed = ${now} WHERE system = ${system} AND id = ${id}`
    yield* sql`UPDATE image_names SET is_public = 0, owner = ${NOBODY} WHERE system = ${system} AND id = ${id}`
    yield* sql`DELETE FROM image_access WHERE system = ${system} AND id = ${id}`
  })

/** Says of images whether they have names. */
const settle = (sql: SqlClient.SqlClient, now: Fragment, system: string, ids: ReadonlyArray<string>) =>
  sql`UPDATE images SET unnamed = CASE WHEN EXISTS (SELECT 1 FROM image_names n WHERE n.system = images.system AND n.id = images.id) THEN NULL ELSE COALESCE(unnamed, ${now}) END
    WHERE system = ${system} AND ${sql.in("id", ids)}`

/** Points names to images, each name once. */
export const setNames = (sql: SqlClient.SqlClient, now: Fragment, system: string, names: ReadonlyArray<NameFile>): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    if (names.length === 0) return
    const time = yield* timeOf(sql, now)
    const references = names.map(({ reference }) => reference)
    const before = yield* sql<{ id: string }>`SELECT id FROM image_names WHERE system = ${system} AND ${sql.in("name", references)}`
    const ids = [...new Set([...names, ...before].map(({ id }) => id))]
    const images = yield* sql<{ id: string; is_public: number; owner: number }>`SELECT id, is_public, owner FROM images WHERE system = ${system} AND ${sql.in("id", ids)}`
    const known = new Map(images.map((image) => [image.id, image]))
    const rows = names.map(({ id, reference }) => {
      // Of an image that is not known yet, nobody is told until it is.
      const { is_public, owner } = known.get(id) ?? { is_public: 0, owner: NOBODY }
      return { system, name: reference, id, is_public, owner, changed: time }
    })
    yield* inParts(rows, (part) => sql`INSERT INTO image_names ${sql.insert(part)}
      ON CONFLICT (system, name) DO UPDATE SET id = excluded.id, is_public = excluded.is_public, owner = excluded.owner, changed = excluded.changed`)
    yield* sql`DELETE FROM image_gone WHERE system = ${system} AND ${sql.in("name", references)}`
    yield* settle(sql, now, system, ids)
  })

/** Removes a name. */
export const dropName = (sql: SqlClient.SqlClient, now: Fragment, system: string, name: string): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    yield* gone(sql, now, system, name)
    const [before] = yield* sql<{ id: string }>`DELETE FROM image_names WHERE system = ${system} AND name = ${name} RETURNING id`
    if (before !== undefined) yield* settle(sql, now, system, [before.id])
  })

/** Removes an image and its names. */
export const drop = (sql: SqlClient.SqlClient, now: Fragment, system: string, id: string): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const names = yield* sql<{ name: string }>`DELETE FROM image_names WHERE system = ${system} AND id = ${id} RETURNING name`
    for (const { name } of [...names, { name: `id:${id}` }]) yield* gone(sql, now, system, name)
    yield* sql`DELETE FROM image_access WHERE system = ${system} AND id = ${id}`
    yield* sql`DELETE FROM image_pins WHERE system = ${system} AND id = ${id}`
    yield* sql`DELETE FROM images WHERE system = ${system} AND id = ${id}`
  })

const gone = (sql: SqlClient.SqlClient, now: Fragment, system: string, name: string) =>
  sql`INSERT INTO image_gone (system, name, gone) VALUES (${system}, ${name}, ${now}) ON CONFLICT (system, name) DO UPDATE SET gone = excluded.gone`
