/**
 * The catalogue in PostgreSQL, which several replicas of a gateway share. A server that restarts is waited for; what was under way is done again.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { checkServerIdentity, type ConnectionOptions } from "node:tls"
import * as Reactivity from "@effect/experimental/Reactivity"
import type * as PgClient from "@effect/sql-pg/PgClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CatalogError, errorFields, messageOf } from "../../core/Errors.js"
import type { Postgres } from "../../core/ServiceConfig.js"
import { type CatalogServices, causeOf, type Database, type Dialect, layer as sqlLayer, migrate, said, transaction } from "../sql/index.js"
import { parserOf } from "./values.js"

/** How long a statement may take: none of ours takes a tenth of it. The server ends it; a server that is silent is given up a little later. */
const STATEMENT_MILLIS = 20_000
const SILENT_MILLIS = 25_000
/** How long a process may keep others waiting that was stopped in the middle of a transaction. */
const IDLE_MILLIS = 15_000
const CHANNEL = "shifter_pulls"
/** How often it is tried whether the server still tells what changes, and how long that may take. */
const PING = "5 seconds"
const ECHO = "500 millis"
const PINGS = 10

/** The catalogue of a database. It is opened, and its driver loaded, by whoever first asks it something. */
export const layer = (settings: Postgres): Layer.Layer<CatalogServices> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const me = randomBytes(8).toString("hex")
      const dialect = dialectOf(me)
      const worded = <A>(effect: Effect.Effect<A, SqlError | CatalogError>) => Effect.catchTag(effect, "SqlError", (error) => failed(error, settings))
      const patiently = <A>(effect: Effect.Effect<A, SqlError | CatalogError>) =>
        worded(Effect.retry(effect, { while: (error) => error._tag === "SqlError" && isPassing(error), schedule: patience }))
      const [opening, forget] = yield* Effect.cachedInvalidateWithTTL(Effect.uninterruptible(Scope.extend(opened(settings, dialect), scope)), Duration.infinity)
      // One that could not be opened is tried again.
      const client = Effect.tapError(opening, () => forget)
      return sqlLayer({
        dialect,
        read: (work) => patiently(Effect.flatMap(client, work)),
        write: (work) => patiently(Effect.flatMap(client, (sql) => transaction(sql, work(sql)))),
        told: told(client, me)
      })
    })
  )

const dialectOf = (me: string): Dialect => ({
  // Of the statement's begin, unlike clock_timestamp(): the same for all of its rows, so that an index can be searched by it.
  now: "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)",
  identity: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
  integer: "BIGINT",
  text: 'TEXT COLLATE "C"',
  bytes: "BYTEA",
  jsonArray: "json_agg",
  forUpdate: "FOR UPDATE",
  skipLocked: "FOR UPDATE SKIP LOCKED",
  exclusive: (sql, what) => Effect.asVoid(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`shifter ${what}`}, 0))`),
  notify: (sql, ids) => Effect.forEach(ids, (id) => sql`SELECT pg_notify(${CHANNEL}, ${`${me}:${id}`})`, { discard: true }),
  numbers: (sql, json) => sql`(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(${json} AS json)))`
})

/** Where it is, for people. */
const place = ({ database, host, port }: Postgres) => `database ${database} of ${host.startsWith("/") ? `${host}/.s.PGSQL.${port}` : `${host}:${port}`}`

const REMEDY = 'Check the PostgreSQL server, and "postgres" in the configuration.'

const failed = (error: unknown, settings: Postgres): Effect.Effect<never, CatalogError> =>
  Effect.fail(new CatalogError(errorFields("CATALOG_FAILED", `The catalogue in the ${place(settings)} can't be used: ${said(error)}`, { cause: error, remedy: REMEDY })))

/** States of SQL that pass: lost to another transaction, to a server that ends or begins, or that has no room for one more connection. */
const passingStates = /^(40001|40P01|55P03|23505|57P0[1-5]|57014|08...|53300|25P03)$/
const passingCodes = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOENT", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN"])
const passingWords = /connection terminated|connection error|timeout exceeded when trying to connect|query read timeout|connection timed out|not queryable|closed the connection/i

/** Whether another try may succeed. That of another key that was faster is one of them: the next try finds it. */
const isPassing = (error: SqlError): boolean => {
  const cause = causeOf(error)
  const code = typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : ""
  return passingStates.test(code) || passingCodes.has(code) || passingWords.test(said(error))
}

/** Tries for some 30 seconds, in which a server has restarted. */
const patience = Schedule.exponential("20 millis").pipe(
  Schedule.union(Schedule.spaced("500 millis")),
  Schedule.jittered,
  Schedule.upTo("30 seconds")
)

const opened = (settings: Postgres, dialect: Dialect): Effect.Effect<PgClient.PgClient, SqlError | CatalogError, Scope.Scope> =>
  Effect.gen(function* () {
    const config = yield* clientConfig(settings)
    // It takes a while to load, and most who run this package have no PostgreSQL.
    const driver = yield* Effect.promise(() => import("@effect/sql-pg/PgClient"))
    const client = yield* driver.make(config)
    yield* transaction(client, migrate(client, dialect))
    return client
  }).pipe(Effect.provide(Reactivity.layer))

const clientConfig = (settings: Postgres): Effect.Effect<PgClient.PgClientConfig, CatalogError> =>
  Effect.gen(function* () {
    const { ca, connections, database, host, passwordFile, port, username } = settings
    const file = (name: string, what: string) =>
      Effect.tryPromise({
        try: () => readFile(name, "utf8"),
        catch: (error) => new CatalogError(errorFields("CONFIG_INVALID", `The ${what} of the ${place(settings)}, ${name}, can't be read: ${messageOf(error)}`, { cause: error }))
      })
    const password = passwordFile === undefined ? undefined : (yield* file(passwordFile, "password file")).split(/\r?\n/, 1)[0]
    const authority = ca === undefined || host.startsWith("/") ? undefined : yield* file(ca, "certificate file")
    // As an address, since only there the driver takes the times of a statement.
    const word = encodeURIComponent
    const user = password === undefined ? word(username) : `${word(username)}:${word(password)}`
    const options = new URLSearchParams({
      host,
      port: String(port),
      statement_timeout: String(STATEMENT_MILLIS),
      query_timeout: String(SILENT_MILLIS),
      idle_in_transaction_session_timeout: String(IDLE_MILLIS)
    })
    const ssl: ConnectionOptions | undefined =
      // The driver knows the name of a server only where it is no number.
      authority === undefined ? undefined : { ca: authority, checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate) }
    return {
      url: Redacted.make(`postgresql://${user}@_/${word(database)}?${options.toString()}`),
      ssl: ssl ?? false,
      maxConnections: connections,
      connectTimeout: "5 seconds",
      // A connection that nobody answers any more is not kept for ever.
      connectionTTL: "10 minutes",
      applicationName: "shifter-gateway",
      types: { getTypeParser: parserOf }
    }
  })

/**
 * What other processes tell. The driver does not say when the connection is lost that it listens on; so we tell ourselves something now and
 * then. Hearing that, it is looked what was told before.
 */
const told = (client: Effect.Effect<PgClient.PgClient, SqlError | CatalogError>, me: string): Database["told"] =>
  Stream.unwrap(
    Effect.gen(function* () {
      const sql = yield* client
      const echo = yield* Ref.make(yield* Deferred.make())
      const ping = Effect.gen(function* () {
        const heard = yield* Deferred.make()
        yield* Ref.set(echo, heard)
        yield* sql`SELECT pg_notify(${CHANNEL}, ${`${me}:`})`
        return yield* Effect.timeoutOption(Deferred.await(heard), ECHO)
      })
      const silent = new CatalogError(errorFields("CATALOG_FAILED", "PostgreSQL tells nothing any more", { remedy: REMEDY }))
      const alive = Effect.repeat(ping, { times: PINGS, until: Option.isSome }).pipe(
        Effect.filterOrFail(Option.isSome, () => silent),
        Effect.zipRight(Effect.sleep(PING)),
        Effect.forever
      )
      const heard = Stream.filterMapEffect(sql.listen(CHANNEL), (payload) => {
        const [sender, id = ""] = payload.split(":", 2)
        if (id !== "") return sender === me ? Option.none() : Option.some(Effect.succeed<string | undefined>(id))
        return sender === me ? Option.some(Effect.as(Effect.flatMap(Ref.get(echo), (wait) => Deferred.succeed(wait, undefined)), undefined)) : Option.none()
      })
      return Stream.merge(heard, Stream.fromEffect(alive), { haltStrategy: "either" })
    })
  )
