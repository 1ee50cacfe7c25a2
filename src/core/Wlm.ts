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
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type BatchJob, type BatchJobs, type Ended, run } from "./Batch.js"
import { errorFields, type UdiError, WlmError } from "./Errors.js"
import { type Account, type NodeCheck, Udi } from "./Udi.js"

export type { BatchJob, BatchJobs, BatchState, Ended } from "./Batch.js"

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
    readonly pin: (request: UdiRequest, user?: Account) => Effect.Effect<UdiRequest, WlmError | UdiError>
    /** Before the job's first task: prepares its root on this node. Doing it again changes nothing. Root only. */
    readonly prepare: (job: JobContext) => Effect.Effect<void, WlmError | UdiError>
    /** After its last: removes the job's roots from this node, also where there are none. Root only. */
    readonly clean: (job: string) => Effect.Effect<void, WlmError | UdiError>
    readonly render: WlmAdapter["render"]
    readonly check: WlmAdapter["check"]
    /** Runs a program as a job to its end; interrupting cancels the job. */
    readonly run: (job: BatchJob) => Effect.Effect<Ended, WlmError>
  }
>() {}

/** The service over an adapter. */
export const layer = (adapter: WlmAdapter): Layer.Layer<Wlm, never, Udi> =>
  Layer.effect(
    Wlm,
    Effect.map(Udi, (udi) =>
      Wlm.of({
        name: adapter.name,
        current: Effect.suspend(() => adapter.jobOf(process.env)),
        pin: (request, user) =>
          Effect.gen(function* () {
            yield* Effect.forEach(request.writable, written, { discard: true })
            yield* udi.validate({ volumes: volumesOf(request), modules: request.modules })
            const found = yield* udi.resolve(request.image, user)
            return { ...request, image: request.image.startsWith("local:") ? `local:${found}` : `id:${found}` }
          }),
        prepare: ({ gid, job, nodes, request, uid }) =>
          request === undefined ? Effect.void : udi.prepare({ job, uid, gid, nodes, image: request.image, volumes: volumesOf(request), modules: request.modules }),
        clean: (job) => udi.teardown({ job }),
        render: adapter.render,
        check: adapter.check,
        run: (job) => run(adapter.batch, job)
      })
    )
  )

/** Refuses what is no `/` and no `PATH:SIZE`; what a path or a size may be is the node's to say. */
const written = (text: string): Effect.Effect<void, WlmError> =>
  text === "/" || /^\/[^:;]*:[0-9A-Za-z.]+$/.test(text)
    ? Effect.void
    : Effect.fail(new WlmError(errorFields("JOB_INVALID", `What is to be written to, "${text}", is neither / nor PATH:SIZE`, { remedy: "Write such as /scratch:20G." })))

/** The volumes of a request, those that it writes to among them. A root that can be written as a whole is made by each start for itself. */
export const volumesOf = ({ volumes, writable }: Pick<UdiRequest, "volumes" | "writable">): ReadonlyArray<string> => [
  ...volumes,
  ...writable.flatMap((each) => {
    const colon = each.lastIndexOf(":")
    return each === "/" ? [] : [`${each.slice(0, colon)}:${each.slice(0, colon)}:perNodeCache=size=${each.slice(colon + 1)}`]
  })
]
