/**
 * Native programs that read one file and write another, and say on standard error what came of it: `CODE WHAT` when they fail.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { type ErrorCode, type ErrorFields, errorFields, ImageError, isErrorCode } from "./Errors.js"
import * as Native from "./Native.js"
import * as Process from "./Process.js"

export interface FilterOptions {
  /** The program's name. */
  readonly name: string
  /** Where it is, as {@link Native.program} finds it. */
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly stdin: number | "ignore"
  readonly stdout: number
  /** What can't be done where it is missing: `The archive can't be inflated`. */
  readonly purpose: string
  /** Words what it says when it fails. */
  readonly worded: (code: ErrorCode, what: string) => ErrorFields
}

/** Runs it to its end; what it says when it succeeds. */
export const run = ({ args, name, program, purpose, stdin, stdout, worded }: FilterOptions): Effect.Effect<string, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const process = yield* Process.scoped(program, args, { stdin, stdout }).pipe(
        Effect.mapError((fault) => new ImageError(errorFields("TOOL_MISSING", `${purpose}: ${fault.message}`, { remedy: Native.buildRemedy, cause: fault })))
      )
      const exit = yield* Effect.promise(() => process.exit)
      return exit.status === 0 ? exit.stderr : yield* new ImageError(refusal(name, exit, worded))
    })
  )

/** Why it failed. */
export const refusal = (name: string, exit: Process.Exit, worded: FilterOptions["worded"]): ErrorFields => {
  const [code = "", ...what] = exit.stderr.split(" ")
  return isErrorCode(code) ? worded(code, what.join(" ")) : Native.ended(name, exit)
}
