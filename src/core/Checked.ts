/**
 * Arguments of callers, who may be JavaScript.
 *
 * @module
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { mistakes } from "./Complaints.js"
import { errorFields, GatewayError } from "./Errors.js"

/** Refuses an argument that is not what its type says, naming the field. */
export const checked = <A, I>(schema: Schema.Schema<A, I>, value: unknown): Either.Either<A, GatewayError> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema, { errors: "all" })(value), (error) => {
    const { key = "", what = "" } = mistakes(error)[0] ?? {}
    return new GatewayError(errorFields("USAGE", `${key === "" ? "The request" : `"${key}"`} is not valid: ${what}`, { remedy: "Correct the call." }))
  })
