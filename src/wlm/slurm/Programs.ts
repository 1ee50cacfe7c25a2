/**
 * Slurm's programs.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type { WlmError } from "../../core/Errors.js"
import * as WlmPrograms from "../../core/WlmPrograms.js"

/** How Slurm is reached. */
export interface Reached {
  /** Directory of its programs; where the path finds them without it. */
  readonly programs?: string | undefined
  /** Its `slurm.conf`, where it is not the machine's own. */
  readonly config?: string | undefined
}

const SLURM: WlmPrograms.Manager = {
  name: "Slurm",
  head: "controller",
  // There is no configuration, no controller, or nobody who vouches for the caller.
  away: /unable to contact slurm controller|could not establish a configuration source|communication connection failure|connection refused|socket timed out|authentication|munge|zero bytes were transmitted|unable to process configuration/i
}

/** Runs one to its end; what it says is for the caller to judge. */
export const ask = ({ config, programs }: Reached, name: string, args: ReadonlyArray<string>): Effect.Effect<WlmPrograms.Answer, WlmError> =>
  WlmPrograms.ask(SLURM, { directory: programs, env: config === undefined ? {} : { SLURM_CONF: config } }, name, args)
