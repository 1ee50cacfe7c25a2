/**
 * A case of the conformance suite: a name and an effect, for whatever runs tests.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** What an adapter, or a workload manager with it, does that it must not. */
export class Violation extends Data.TaggedError("Violation")<{ readonly message: string }> {}

export interface Case {
  readonly name: string
  /** Fails with a {@link Violation}, or with an error of the adapter where it should succeed. It holds on to nothing. */
  readonly check: Effect.Effect<void, unknown>
}

export const must = (holds: boolean, message: string): Effect.Effect<void, Violation> => (holds ? Effect.void : Effect.fail(new Violation({ message })))

/** Compares what can be written as JSON; what is undefined counts as not there. */
export const mustEqual = (found: unknown, wanted: unknown, what: string): Effect.Effect<void, Violation> => {
  const [a, b] = [sorted(found), sorted(wanted)]
  return must(a === b, `${what}: ${a} instead of ${b}`)
}

const sorted = (value: unknown): string =>
  value === undefined ? "nothing" : JSON.stringify(value, (_, each: unknown) =>
    typeof each === "object" && each !== null && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each
  )
