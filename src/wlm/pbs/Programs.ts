/**
 * PBS's programs, asked with an argument vector.
 *
 * @module
 */
import { readFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, messageOf, printable, WlmError } from "../../core/Errors.js"
import * as Process from "../../core/Process.js"

/** Directory of PBS's programs; without it that of `PBS_EXEC` in `/etc/pbs.conf`, else where the path finds them. */
export type Programs = string | undefined

const installed: Effect.Effect<Programs> = Effect.promise(() =>
  readFile("/etc/pbs.conf", "utf8").then(
    (text) => {
      const root = /^PBS_EXEC=(\/.*?)\/?\s*$/m.exec(text)?.[1]
      return root === undefined ? undefined : nodePath.join(root, "bin")
    },
    () => undefined
  )
)

/** Longer than PBS's own programs wait for a server that is away. */
const LONGEST = "90 seconds"

export interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one to its end; what it says is for the caller to judge. */
export const ask = (programs: Programs, name: string, args: ReadonlyArray<string>): Effect.Effect<Answer, WlmError> =>
  (programs === undefined ? installed : Effect.succeed(programs)).pipe(
    Effect.flatMap((directory) => Process.output(directory === undefined ? name : nodePath.join(directory, name), args)),
    Effect.mapError((fault) => new WlmError(errorFields("WLM_MISSING", `PBS can't be asked: ${messageOf(fault)}`, { cause: fault }))),
    Effect.timeoutFail({ duration: LONGEST, onTimeout: () => new WlmError(errorFields("WLM_MISSING", `PBS's ${name} does not answer within ${LONGEST}`)) }),
    Effect.filterOrFail(
      ({ status, stderr }) => status === 0 || !AWAY.test(stderr),
      ({ stderr }) => new WlmError(errorFields("WLM_MISSING", `PBS's ${name} does not reach its server: ${said(stderr)}`))
    )
  )

/** What its programs say without a server, or a configuration. */
const AWAY = /cannot connect to server|connection refused|communication failure|pbs_iff|no default server|could not resolve|missing PBS_/i

/** What a program said, in one line. */
export const said = (stderr: string): string => printable(stderr.trim().replace(/\s*\n\s*/g, "; ").replace(/\.$/, "") || "it said nothing")
