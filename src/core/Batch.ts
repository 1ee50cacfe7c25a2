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
/** How long a job that was cancelled is waited for: signals may be ignored for as long. */
const LAST_WAIT = "15 seconds"

/** Runs a job to its end; `submitted` is told its id. Interrupting cancels it, from the moment it may be there. */
export const run = <E = never>(batch: BatchJobs, job: BatchJob, submitted: (id: string) => Effect.Effect<void, E> = () => Effect.void): Effect.Effect<Ended, WlmError | E> =>
  Effect.acquireUseRelease(
    batch.submit(job),
    (id) =>
      Effect.gen(function* () {
        yield* submitted(id)
        const state = yield* ended(batch, id)
        if (state._tag === "Ended") return state
        return yield* new WlmError(errorFields("WLM_FAILED", `The workload manager does not know the job ${id} (${job.name}) any more`))
      }),
    (id, exit) => (exit._tag === "Success" ? Effect.void : cancelled(batch, id))
  )

/** Cancels a job and waits until it is gone, as far as the workload manager tells. */
export const cancelled = (batch: BatchJobs, id: string): Effect.Effect<void> =>
  Effect.zipRight(batch.cancel(id), Effect.timeout(Effect.interruptible(ended(batch, id)), LAST_WAIT)).pipe(
    Effect.catchAll((error) => Effect.logWarning(`The job ${id} may still run`, error))
  )

const ended = (batch: BatchJobs, id: string): Effect.Effect<Exclude<BatchState, { readonly _tag: "Waiting" | "Running" }>, WlmError> =>
  Effect.gen(function* () {
    for (let millis = FIRST_LOOK; ; millis = Math.min(LAST_LOOK, millis * 1.3)) {
      const state = yield* batch.state(id)
      if (state._tag === "Ended" || state._tag === "Lost") return state
      yield* Effect.sleep(Duration.millis(millis))
    }
  })
