/**
 * Jobs of the gateway's own, run by a workload manager.
 *
 * @module
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { errorFields, WlmError } from "./Errors.js"

/** A job that is no user's: a program with its arguments, run by the gateway's account. */
export interface BatchJob {
  /** For the workload manager's lists: letters, digits, `-`. */
  readonly name: string
  /** An absolute path and arguments; no shell reads them. */
  readonly command: readonly [string, ...ReadonlyArray<string>]
  /** An absolute path that the node sees too. */
  readonly directory: string
  /** Where standard output and error go: an absolute path that the node sees too. */
  readonly output: string
}

/** `why` is the workload manager's word for an end that is not the program's own. `Lost` is a job that the workload manager does not know, or not any more. */
export type BatchState =
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Running" }
  | { readonly _tag: "Ended"; readonly status: number; readonly why?: string | undefined }
  | { readonly _tag: "Lost" }

/** Jobs of the gateway's own. */
export interface BatchJobs {
  /** Submits; the workload manager's id of the job. */
  readonly submit: (job: BatchJob) => Effect.Effect<string, WlmError>
  readonly state: (id: string) => Effect.Effect<BatchState, WlmError>
  /** Ends a job, wherever it is; one that has ended is no fault. */
  readonly cancel: (id: string) => Effect.Effect<void, WlmError>
}

/** How a job ended. */
export type Ended = Omit<Extract<BatchState, { readonly _tag: "Ended" }>, "_tag">

/** How often a job is looked at: less and less often. */
const FIRST_LOOK = 250
const LAST_LOOK = 5000

/** Runs a job to its end. Interrupting cancels it, from the moment it may be there. */
export const run = (batch: BatchJobs, job: BatchJob, submitted: (id: string) => Effect.Effect<void, WlmError> = () => Effect.void): Effect.Effect<Ended, WlmError> =>
  Effect.acquireUseRelease(
    batch.submit(job),
    (id) => Effect.zipRight(submitted(id), ended(batch, job, id)),
    (id, exit) => (exit._tag === "Success" ? Effect.void : Effect.ignoreLogged(batch.cancel(id)))
  )

const ended = (batch: BatchJobs, job: BatchJob, id: string): Effect.Effect<Ended, WlmError> =>
  Effect.gen(function* () {
    for (let millis = FIRST_LOOK; ; millis = Math.min(LAST_LOOK, millis * 1.3)) {
      const state = yield* batch.state(id)
      if (state._tag === "Ended") return state
      if (state._tag === "Lost") return yield* new WlmError(errorFields("WLM_FAILED", `The workload manager does not know the job ${id} (${job.name}) any more`))
      yield* Effect.sleep(Duration.millis(millis))
    }
  })
