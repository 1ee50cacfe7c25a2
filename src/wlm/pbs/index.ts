/**
 * The adapter of OpenPBS and PBS Professional. What a submission and a node do is the hook, `hooks/pbs/shifter_hook.py`, and native; here is what
 * a program is told of a job, what a site installs, and jobs of the gateway's own.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { WlmAdapter } from "../../core/Wlm.js"
import type { PbsSettings } from "../../core/WlmSettings.js"
import { check } from "./Check.js"
import { jobOf } from "./Environment.js"
import { jobs } from "./Jobs.js"
import { render } from "./Rendering.js"

export type { PbsSettings } from "../../core/WlmSettings.js"

export interface PbsOptions extends Partial<PbsSettings> {
  /** Further options of `qsub` for jobs of the gateway's own, each a word, such as `-qlarge`. */
  readonly jobOptions?: ReadonlyArray<string> | undefined
}

export const adapter = ({ directory = "/etc/shifter/pbs", every = 120, excludeHosts = [], excludeVntypes = [], jobOptions = [], prefix = "/usr/local", programs, runDirectory = "/run/shifter", seconds = 60 }: PbsOptions = {}): WlmAdapter => {
  const installation = { prefix, directory, runDirectory, seconds, every, excludeHosts, excludeVntypes }
  const self = process.getuid === undefined || process.getgid === undefined ? undefined : { uid: process.getuid(), gid: process.getgid() }
  return {
    name: "pbs",
    jobOf: (environment) => jobOf(environment, self),
    render: Effect.suspend(() => render(installation)),
    check: Effect.suspend(() => check(installation, programs)),
    batch: jobs(programs, jobOptions)
  }
}
