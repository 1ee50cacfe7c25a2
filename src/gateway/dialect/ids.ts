/**
 * Lists of users and groups, as the reference's command line writes them: `1000,1001`.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, GatewayError, printable } from "../../core/Errors.js"
import { formatLimits } from "../../core/Limits.js"

const LARGEST = 4294967294

/**
 * The ids of a list. Blanks and empty elements say nothing and are passed over, as the reference does; whatever else is no number is refused,
 * so that nobody is left out, or let in, by a mistyped name.
 */
export const parse = (key: string, text: string): Either.Either<ReadonlyArray<number>, GatewayError> => {
  const refuse = (what: string) =>
    Either.left(new GatewayError(errorFields("USAGE", `"${key}" ${what}`, { remedy: "Write numbers, separated by commas." })))
  const elements = text.split(",").map((element) => element.trim()).filter((element) => element !== "")
  // A list that was meant to name someone is not one that names nobody.
  if (elements.length === 0 && text.includes(",")) return refuse("names nobody")
  if (elements.length > formatLimits.aclIds) return refuse(`names ${elements.length}; ${formatLimits.aclIds} are allowed`)
  const wrong = elements.find((element) => !/^[0-9]{1,10}$/.test(element) || Number(element) > LARGEST)
  return wrong === undefined ? Either.right([...new Set(elements.map(Number))]) : refuse(`holds "${printable(wrong.slice(0, 60))}", which is no user's or group's number`)
}
