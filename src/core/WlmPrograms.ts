/**
 * A workload manager's own programs, asked with an argument vector and an environment of their own: of a caller's variables they see what is given here.
 *
 * @module
 */
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, messageOf, printable, WlmError } from "./Errors.js"
import * as Process from "./Process.js"

export interface Manager {
  readonly name: string
  /** What its programs reach. */
  readonly head: string
  /** What they say when they don't. */
  readonly away: RegExp
}

/** How its programs are started. */
export interface Start {
  /** Where they are; where the path finds them without it. */
  readonly directory: string | undefined
  readonly env: Readonly<Record<string, string>>
}

/** Longer than such programs wait for a head that is away. */
const LONGEST = "90 seconds"

export interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one to its end; what it says is for the caller to judge. */
export const ask = (manager: Manager, { directory, env }: Start, program: string, args: ReadonlyArray<string>): Effect.Effect<Answer, WlmError> =>
  Process.output(directory === undefined ? program : nodePath.join(directory, program), args, undefined, env).pipe(
    Effect.mapError((fault) => new WlmError(errorFields("WLM_MISSING", `${manager.name} can't be asked: ${messageOf(fault)}`, { cause: fault }))),
    Effect.timeoutFail({ duration: LONGEST, onTimeout: () => new WlmError(errorFields("WLM_MISSING", `${manager.name}'s ${program} does not answer within ${LONGEST}`)) }),
    Effect.filterOrFail(
      ({ status, stderr }) => status === 0 || !manager.away.test(stderr),
      ({ stderr }) => new WlmError(errorFields("WLM_MISSING", `${manager.name}'s ${program} does not reach its ${manager.head}: ${said(stderr)}`))
    )
  )

/** What a program said, in one line. */
export const said = (stderr: string): string => printable(stderr.trim().replace(/\s*\n\s*/g, "; ").replace(/\.$/, "") || "it said nothing")
