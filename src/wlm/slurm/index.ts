/**
 * The adapter of Slurm, 22.05 and later. What a node and a submission do is native; here is what a program is told of a job, what a site
 * installs, and jobs of the gateway's own.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { WlmAdapter } from "../../core/Wlm.js"
import type { SlurmSettings } from "../../core/WlmSettings.js"
import { check } from "./Check.js"
import { jobOf } from "./Environment.js"
import { jobs } from "./Jobs.js"
import { render } from "./Rendering.js"

export type { SlurmSettings } from "../../core/WlmSettings.js"

/** Where the native programs are where nothing says it. */
const PREFIX = "/usr/local"

export interface SlurmOptions extends Partial<SlurmSettings> {
  /** Further options of `sbatch` for jobs of the gateway's own, each a word, such as `--partition=large`. */
  readonly jobOptions?: ReadonlyArray<string> | undefined
}

export const adapter = ({ config, directory = "/etc/slurm/shifter", jobOptions = [], longOptions = false, prefix = PREFIX, programs, shifterimg, tasks = "outside" }: SlurmOptions = {}): WlmAdapter => {
  const installation = { prefix, directory, longOptions, tasks, shifterimg }
  const reached = { config, programs }
  const self = process.getuid === undefined || process.getgid === undefined ? undefined : { uid: process.getuid(), gid: process.getgid() }
  return {
    name: "slurm",
    jobOf: (environment) => jobOf(environment, self),
    render: Effect.sync(() => render(installation)),
    check: check(installation, reached),
    batch: jobs(reached, jobOptions)
  }
}
