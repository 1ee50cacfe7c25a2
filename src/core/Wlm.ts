/**
 * The service `Wlm`: a workload manager. What it must tell of a job, what it is asked to do with the job's image, and the files by which a site
 * makes it part of its own.
 *
 * An adapter is four small things, a {@link WlmAdapter}; what is the same for every workload manager is {@link layer}. `shifter-sdk/wlm-testkit`
 * holds the checks that any adapter can run, one outside of this package too.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ShifterError, UdiError, WlmError } from "./Errors.js"
import type { NodeCheck } from "./Udi.js"

/** The root that a job asks for. */
export interface UdiRequest {
  /** `TYPE:REFERENCE` as it was submitted, or `id:ID` once it is pinned. */
  readonly image: string
  /** Volume maps, `FROM:TO[:ro]`. */
  readonly volumes: ReadonlyArray<string>
  /** Modules of the site, in this order; without it the site's defaults, and none where it is empty. */
  readonly modules?: ReadonlyArray<string> | undefined
  /**
   * Paths inside that can be written: `PATH:SIZE` is an empty file system of the job's on each node (a `perNodeCache` volume, with its limits),
   * `/` the whole root, kept in memory.
   */
  readonly writable: ReadonlyArray<string>
}

/** A job, as the workload manager tells it. */
export interface JobContext {
  /** The workload manager's own id of the job: 1 to 128 of `A-Z a-z 0-9 . _ @ [ ] -`. */
  readonly job: string
  readonly uid: number
  readonly gid: number
  /** Names of the job's nodes, with how many tasks each runs. */
  readonly nodes: ReadonlyArray<{ readonly name: string; readonly tasks: number }>
  /** Undefined for a job that asks for no image. */
  readonly request: UdiRequest | undefined
}

/** A file that a site installs. */
export interface RenderedFile {
  /** Its name below the directory that is rendered to. */
  readonly name: string
  readonly mode: number
  readonly content: string
}

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

/** `Lost` is a job that the workload manager does not know, or not any more. */
export type BatchState =
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Running" }
  | { readonly _tag: "Ended"; readonly status: number }
  | { readonly _tag: "Lost" }

/** Jobs of the gateway's own. */
export interface BatchJobs {
  /** Submits; the workload manager's id of the job. */
  readonly submit: (job: BatchJob) => Effect.Effect<string, WlmError>
  readonly state: (id: string) => Effect.Effect<BatchState, WlmError>
  /** Ends a job, wherever it is; one that has ended is no fault. */
  readonly cancel: (id: string) => Effect.Effect<void, WlmError>
}

/** What differs between workload managers. */
export interface WlmAdapter {
  /** Such as `slurm`. */
  readonly name: string
  /**
   * The job that an environment speaks of; undefined without one. Whoever runs a job can write its environment, so what this tells is a hint, and is
   * checked: a value that is no job id, number or node name fails with `JOB_INVALID`.
   */
  readonly jobOf: (environment: Readonly<Record<string, string | undefined>>) => Effect.Effect<JobContext | undefined, WlmError>
  /** The files by which a site installs this adapter; the same site gives the same bytes. */
  readonly render: Effect.Effect<ReadonlyArray<RenderedFile>, WlmError>
  /** Whether this node is set up as {@link WlmAdapter.render | rendered}. */
  readonly check: Effect.Effect<ReadonlyArray<NodeCheck>, WlmError>
  readonly batch: BatchJobs
}

export class Wlm extends Context.Tag("shifter-sdk/Wlm")<
  Wlm,
  {
    readonly name: string
    /** The job that this process runs in, if any. */
    readonly current: Effect.Effect<JobContext | undefined, WlmError>
    /**
     * At submission: the request as the job will keep it, its image an `id:ID`. Fails with what the node would say of it: of an image that the user may
     * not use, of a volume or module that is none. For another user, only root may.
     */
    readonly pin: (request: UdiRequest, user?: { readonly uid: number; readonly gid: number }) => Effect.Effect<UdiRequest, WlmError | UdiError>
    /** Before the job's first task: prepares its root on this node. Doing it again changes nothing. Root only. */
    readonly prepare: (job: JobContext) => Effect.Effect<void, WlmError | UdiError>
    /** After its last: removes the job's roots from this node, also where there are none. Root only. */
    readonly clean: (job: string) => Effect.Effect<void, WlmError | UdiError>
    readonly render: WlmAdapter["render"]
    readonly check: WlmAdapter["check"]
    /** Runs a program as a job to its end; interrupting cancels the job. */
    readonly run: (job: BatchJob) => Effect.Effect<{ readonly status: number }, ShifterError>
  }
>() {}
