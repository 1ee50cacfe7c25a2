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

/** Adds an image or changes its record. `expiresIn` is for one that is new. */
export const put = (
  sql: SqlClient.SqlClient,
  now: Fragment,
  system: string,
  record: ImageRecord,
  bytes: Uint8Array,
  expiresIn?: number
): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const { id } = record
    const isPublic = record.access === "public" ? 1 : 0
    yield* sql`INSERT INTO images (system, id, record, is_public, owner, published, changed, used, expires, unnamed)
      VALUES (${system}, ${id}, ${bytes}, ${isPublic}, ${record.owner}, ${now}, ${now}, ${now}, ${expiresIn === undefined ? null : sql`${now} + ${expiresIn}`},
        CASE WHEN EXISTS (SELECT 1 FROM image_names n WHERE n.system = ${system} AND n.id = ${id}) THEN NULL ELSE ${now} END)
      ON CONFLICT (system, id) DO UPDATE SET record = excluded.record, is_public = excluded.is_public, owner = excluded.owner, changed = excluded.changed`
    yield* sql`UPDATE image_names SET is_public = ${isPublic}, owner = ${record.owner} WHERE system = ${system} AND id = ${id}`
    yield* sql`DELETE FROM image_access WHERE system = ${system} AND id = ${id}`
    const listed = record.access === "public" ? [] : [...record.allowUids, ...record.allowGids.map((gid) => GROUP + gid)]
    if (listed.length > 0) yield* sql`INSERT INTO image_access ${sql.insert([...new Set(listed)].map((who) => ({ system, id, who })))}`
    yield* sql`DELETE FROM image_gone WHERE system = ${system} AND name = ${`id:${id}`}`
  })

/** Says of an image whether it has a name. */
const settle = (sql: SqlClient.SqlClient, now: Fragment, system: string, id: string) =>
  sql`UPDATE images SET unnamed = CASE WHEN EXISTS (SELECT 1 FROM image_names n WHERE n.system = ${system} AND n.id = ${id}) THEN NULL ELSE COALESCE(unnamed, ${now}) END
    WHERE system = ${system} AND id = ${id}`

export const setName = (sql: SqlClient.SqlClient, now: Fragment, system: string, name: NameFile): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const [before] = yield* sql<{ id: string }>`SELECT id FROM image_names WHERE system = ${system} AND name = ${name.reference}`
    // Of an image that is not known yet, nobody is told until it is.
    yield* sql`INSERT INTO image_names (system, name, id, is_public, owner, changed)
      SELECT ${system}, ${name.reference}, ${name.id}, COALESCE(max(is_public), 0), COALESCE(max(owner), -1), ${now} FROM images WHERE system = ${system} AND id = ${name.id}
      ON CONFLICT (system, name) DO UPDATE SET id = excluded.id, is_public = excluded.is_public, owner = excluded.owner, changed = excluded.changed`
    yield* sql`DELETE FROM image_gone WHERE system = ${system} AND name = ${name.reference}`
    yield* settle(sql, now, system, name.id)
    if (before !== undefined && before.id !== name.id) yield* settle(sql, now, system, before.id)
  })

/** Removes a name. */
export const dropName = (sql: SqlClient.SqlClient, now: Fragment, system: string, name: string): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    yield* gone(sql, now, system, name)
    const [before] = yield* sql<{ id: string }>`DELETE FROM image_names WHERE system = ${system} AND name = ${name} RETURNING id`
    if (before !== undefined) yield* settle(sql, now, system, before.id)
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
