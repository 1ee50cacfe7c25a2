/**
 * What the tables' statements ask of an engine: a client, transactions, and the few words in which SQLite and PostgreSQL differ.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { CatalogError } from "../../core/Errors.js"

/** Words of one engine's SQL. */
export interface Dialect {
  /** The server's clock, in milliseconds: one for all processes. */
  readonly now: string
  /** Type of a key that counts up and is never given twice. */
  readonly identity: string
  /** Type of whole numbers up to 2⁵³. */
  readonly integer: string
  /** Type of texts; they are ordered by their bytes. */
  readonly text: string
  readonly bytes: string
  /** Aggregate that makes a JSON array. */
  readonly jsonArray: string
  /** After a `SELECT`: keeps its rows as they are until the transaction ends, waiting for those who change them now. */
  readonly forUpdate: string
  /** After a `SELECT`: as `forUpdate`, but leaves out rows that somebody else holds. */
  readonly skipLocked: string
  /** A subquery of the elements of a JSON array of numbers. */
  readonly numbers: (sql: SqlClient.SqlClient, json: string) => Fragment
  /** Lets one transaction at a time go on from here, over all processes, of those that name the same thing. */
  readonly exclusive: (sql: SqlClient.SqlClient, what: string) => Effect.Effect<void, SqlError>
  /** Tells other processes, when the transaction commits, what changed. */
  readonly notify: (sql: SqlClient.SqlClient, ids: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
}

type Work<A> = (sql: SqlClient.SqlClient) => Effect.Effect<A, SqlError | CatalogError>

/** A database of one of the engines. It is opened by whoever first asks it something. */
export interface Database {
  readonly dialect: Dialect
  /** Reads; tried again while the database is busy or away. */
  readonly read: <A>(work: Work<A>) => Effect.Effect<A, CatalogError>
  /**
   * Does something in one transaction. It is done again, whole, when it was lost to another one or with the connection: also where nobody
   * can tell whether it was committed, so a second time does no harm.
   */
  readonly write: <A>(work: Work<A>) => Effect.Effect<A, CatalogError>
  /** What other processes told; `undefined`: something may have changed that nobody told. */
  readonly told: Stream.Stream<string | undefined, SqlError | CatalogError>
}
