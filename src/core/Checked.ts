/**
 * Arguments of callers, who may be JavaScript.
 *
 * @module
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { errorFields, GatewayError } from "./Errors.js"

/** Refuses an argument that is not what its type says, naming the field. */
export const checked = <A, I>(schema: Schema.Schema<A, I>, value: unknown): Either.Either<A, GatewayError> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema, { errors: "all" })(value), (error) => {
    const [first] = ParseResult.ArrayFormatter.formatErrorSync(error)
    const field = first?.path.map(String).join(".") ?? ""
    return new GatewayError(errorFields("USAGE", `${field === "" ? "The request" : `"${field}"`} is not valid: ${first?.message ?? ""}`, { remedy: "Correct the call." }))
  })
