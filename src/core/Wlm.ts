/**
 * The service `Wlm`: what a workload manager must tell. Its adapters render a site's integration and pin the images of jobs at submission.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { WlmError } from "./Errors.js"

/** What a job asks for, as the workload manager tells it. */
export interface JobContext {
  /** The workload manager's own id of the job. */
  readonly job: string
  readonly uid: number
  readonly gid: number
  /** Names of the job's nodes, with how many tasks each runs. */
  readonly nodes: ReadonlyArray<{ readonly name: string; readonly tasks: number }>
  /** Image reference or `id:ID` as submitted. */
  readonly image: string
  readonly volumes: ReadonlyArray<string>
  readonly modules: ReadonlyArray<string>
}

export class Wlm extends Context.Tag("shifter-sdk/Wlm")<
  Wlm,
  {
    /** Name of the workload manager, such as `slurm`. */
    readonly name: string
    /** The job that this process runs in, if any. */
    readonly current: Effect.Effect<JobContext | undefined, WlmError>
  }
>() {}
