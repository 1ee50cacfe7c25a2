/**
 * A row of the index of images, as SQL gives it and as the index tells it.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { CatalogError, errorFields } from "../../core/Errors.js"
import type { IndexedImage, IndexedName } from "../../core/ImageIndex.js"
import * as ImageRecord from "../../core/ImageRecord.js"
import type { Dialect } from "./Database.js"

/** Until an image expires that never does because somebody wants it so. One that was never told when has none. */
export const NEVER = Number.MAX_SAFE_INTEGER

const time = Schema.NullOr(Schema.Int)
const Row = Schema.Struct({
  name: Schema.String,
  system: Schema.String,
  id: Schema.String,
  record: Schema.Union(Schema.instanceOf(Uint8Array), Schema.instanceOf(ArrayBuffer)),
  published: Schema.Int,
  used: Schema.Int,
  expires: time,
  unnamed: time,
  scrubbed: time,
  damage: Schema.NullOr(Schema.String),
  names: Schema.NullOr(Schema.parseJson(Schema.Array(Schema.String))),
  pins: Schema.NullOr(Schema.parseJson(Schema.Array(Schema.Int)))
})
const decodeRow = Schema.decodeUnknownEither(Row)

/** Images `i`, each with the name that `name` makes of it; `from` also says which, in what order and how many. */
export const select = (sql: SqlClient.SqlClient, dialect: Dialect, name: Fragment, from: Fragment): Effect.Effect<ReadonlyArray<IndexedName>, SqlError | CatalogError> => {
  const array = sql.literal(dialect.jsonArray)
  return Effect.flatMap(
    sql`SELECT ${name} AS name, i.system, i.id, i.record, i.published, i.used, i.expires, i.unnamed, i.scrubbed, i.damage,
      (SELECT CAST(${array}(m.name ORDER BY m.name) AS TEXT) FROM image_names m WHERE m.system = i.system AND m.id = i.id) AS names,
      (SELECT CAST(${array}(p.uid ORDER BY p.uid) AS TEXT) FROM image_pins p WHERE p.system = i.system AND p.id = i.id) AS pins
      FROM ${from}`,
    (rows) => Either.all(rows.map(told))
  )
}

const invalid = (what: string) => new CatalogError(errorFields("CATALOG_FAILED", `An image of the catalogue is not valid: ${what}`))

const told = (row: unknown): Either.Either<IndexedName, CatalogError> =>
  Either.gen(function* () {
    const found = yield* Either.mapLeft(decodeRow(row), (error) => invalid(error.message))
    const record = yield* Either.mapLeft(ImageRecord.decode(found.record instanceof Uint8Array ? found.record : new Uint8Array(found.record)), (error) => invalid(error.what))
    const image: IndexedImage = {
      system: found.system,
      record,
      names: found.names ?? [],
      published: found.published,
      used: found.used,
      expires: found.expires === null || found.expires === NEVER ? undefined : found.expires,
      unnamed: found.unnamed ?? undefined,
      pins: found.pins ?? [],
      scrubbed: found.scrubbed ?? undefined,
      damage: found.damage ?? undefined
    }
    return { name: found.name, image }
  })
