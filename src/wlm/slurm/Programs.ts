/**
 * Slurm's programs, asked with an argument vector and an environment of their own: no variable of a caller changes what they do.
 *
 * @module
 */
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, messageOf, printable, WlmError } from "../../core/Errors.js"
import * as Process from "../../core/Process.js"

/** How Slurm is reached. */
export interface Reached {
  /** Directory of its programs; where the path finds them without it. */
  readonly programs?: string | undefined
  /** Its `slurm.conf`, where it is not the machine's own. */
  readonly config?: string | undefined
}

/** Longer than Slurm's own programs wait for a controller that is away. */
const LONGEST = "90 seconds"

export interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one to its end; what it says is for the caller to judge. */
export const ask = ({ config, programs }: Reached, name: string, args: ReadonlyArray<string>): Effect.Effect<Answer, WlmError> =>
  Process.output(programs === undefined ? name : nodePath.join(programs, name), args, undefined, config === undefined ? {} : { SLURM_CONF: config }).pipe(
    Effect.mapError((fault) => new WlmError(errorFields("WLM_MISSING", `Slurm can't be asked: ${messageOf(fault)}`, { cause: fault }))),
    Effect.timeoutFail({ duration: LONGEST, onTimeout: () => new WlmError(errorFields("WLM_MISSING", `Slurm's ${name} does not answer within ${LONGEST}`)) }),
    Effect.filterOrFail(
      ({ status, stderr }) => status === 0 || !AWAY.test(stderr),
      ({ stderr }) => new WlmError(errorFields("WLM_MISSING", `Slurm's ${name} does not reach its controller: ${said(stderr)}`))
    )
  )

/** What its programs say when there is no configuration, no controller, or nobody who vouches for the caller. */
const AWAY = /unable to contact slurm controller|could not establish a configuration source|communication connection failure|connection refused|socket timed out|authentication|munge|zero bytes were transmitted|unable to process configuration/i

/** What a program said, in one line. */
export const said = (stderr: string): string => printable(stderr.trim().replace(/\s*\n\s*/g, "; ").replace(/\.$/, "") || "it said nothing")
