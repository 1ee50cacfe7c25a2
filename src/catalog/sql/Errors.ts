/**
 * What went wrong with a statement.
 *
 * @module
 */
import type { SqlError } from "@effect/sql/SqlError"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { messageOf, printable } from "../../core/Errors.js"

/** By its tag: the driver may have been loaded as another module than this one was. */
const isSqlError = (error: unknown): error is SqlError => typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError"

/** A transaction. The client takes a commit or a rollback that fails for a defect. */
export const transaction = <A, E>(sql: SqlClient.SqlClient, effect: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
  Effect.catchSomeDefect(sql.withTransaction(effect), (defect) => (isSqlError(defect) ? Option.some(Effect.fail(defect)) : Option.none()))

/** What an error and its cause say, in one line. */
export const said = (error: unknown): string => {
  const causes = [error, causeOf(error)].map((each) => (each === undefined ? "" : messageOf(each)))
  return printable(causes.filter(Boolean).join(": "))
}

export const causeOf = (error: unknown): unknown => (typeof error === "object" && error !== null && "cause" in error ? error.cause : undefined)
