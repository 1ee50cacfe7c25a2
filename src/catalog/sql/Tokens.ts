/**
 * Tokens, in SQL. What is kept is a hash of each, by which it is found: nothing secret is compared.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { CatalogError, errorFields } from "../../core/Errors.js"
import { type Token, Tokens, TokenScope } from "../../core/Tokens.js"
import type { Database } from "./Database.js"

/** Tokens of one user. */
const MOST = 100
/** How exactly it is known when a token was used last. */
const USED_MILLIS = 60 * 1000
const secretPattern = /^shf_[A-Za-z0-9_-]{43}$/

const Row = Schema.Struct({
  id: Schema.String,
  label: Schema.String,
  uid: Schema.Int,
  scopes: Schema.parseJson(Schema.Array(TokenScope)),
  systems: Schema.parseJson(Schema.Array(Schema.String)),
  created: Schema.Int,
  expires: Schema.Int,
  used: Schema.NullOr(Schema.Int)
})
const decodeRow = Schema.decodeUnknown(Row)
const hashOf = (secret: string) => createHash("sha256").update(secret).digest("hex")

const select = (sql: SqlClient.SqlClient, where: Fragment): Effect.Effect<ReadonlyArray<Token>, SqlError | CatalogError> =>
  Effect.flatMap(
    sql`SELECT id, label, uid, scopes, systems, created, expires, used FROM tokens WHERE ${where}`,
    Effect.forEach((row) =>
      Effect.mapBoth(decodeRow(row), {
        onSuccess: (token): Token => ({ ...token, used: token.used ?? undefined }),
        onFailure: (error) => new CatalogError(errorFields("CATALOG_FAILED", `A token of the catalogue is not valid: ${error.message}`))
      })
    )
  )

export const make = ({ dialect, read, write }: Database): typeof Tokens.Service => {
  const clock = (sql: SqlClient.SqlClient) => sql.literal(dialect.now)
  return Tokens.of({
    create: ({ expiresIn, label, scopes, systems, uid }) => {
      const id = randomBytes(8).toString("hex")
      const secret = Redacted.make(`shf_${randomBytes(32).toString("base64url")}`)
      return write((sql) =>
        Effect.gen(function* () {
          yield* dialect.exclusive(sql, "tokens")
          yield* sql`DELETE FROM tokens WHERE expires <= ${clock(sql)}`
          const [has] = yield* sql<{ n: number }>`SELECT count(*) AS n FROM tokens WHERE uid = ${uid} AND id <> ${id}`
          if ((has?.n ?? 0) >= MOST) {
            return yield* new CatalogError(errorFields("LIMIT_EXCEEDED", `uid ${uid} has ${MOST} tokens, and nobody may have more`, { remedy: "Revoke those that are not used any more." }))
          }
          yield* sql`INSERT INTO tokens (id, hash, label, uid, scopes, systems, created, expires)
            VALUES (${id}, ${hashOf(Redacted.value(secret))}, ${label}, ${uid}, ${JSON.stringify(scopes)}, ${JSON.stringify(systems)}, ${clock(sql)}, ${clock(sql)} + ${Math.round(expiresIn)})
            ON CONFLICT (id) DO NOTHING`
          const [token] = yield* select(sql, sql`id = ${id}`)
          return token === undefined ? yield* new CatalogError(errorFields("CATALOG_FAILED", "The catalogue made no token")) : { token, secret }
        })
      )
    },

    verify: (secret) =>
      Effect.gen(function* () {
        if (!secretPattern.test(Redacted.value(secret))) return undefined
        const hash = hashOf(Redacted.value(secret))
        const [token] = yield* read((sql) => select(sql, sql`hash = ${hash} AND expires > ${clock(sql)}`))
        if (token === undefined) return undefined
        const [stale] = yield* read((sql) => sql`SELECT id FROM tokens WHERE id = ${token.id} AND (used IS NULL OR used < ${clock(sql)} - ${USED_MILLIS})`)
        if (stale !== undefined) yield* write((sql) => sql`UPDATE tokens SET used = ${clock(sql)} WHERE id = ${token.id}`)
        return token
      }),

    list: (uid) => read((sql) => select(sql, sql`${uid === undefined ? sql.literal("1 = 1") : sql`uid = ${uid}`} AND expires > ${clock(sql)} ORDER BY created, id`)),

    revoke: (id, uid) =>
      Effect.map(
        write((sql) => sql`DELETE FROM tokens WHERE id = ${id} AND ${uid === undefined ? sql.literal("1 = 1") : sql`uid = ${uid}`} RETURNING id`),
        (rows) => rows.length > 0
      )
  })
}
