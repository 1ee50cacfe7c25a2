/**
 * The service `Udi`: user-defined images on this node, by the native programs.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { UdiError } from "./Errors.js"

/** One thing a node needs, and whether it is so. */
export interface NodeCheck {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  /** Only the mode without setuid needs it, and this node has the setuid program: `ok: false` is no fault. */
  readonly advice?: boolean | undefined
}

export interface RunOptions {
  /** Volume maps, `FROM:TO[:ro]`; with one, SHIFTER_VOLUME of the caller is not looked at. */
  readonly volumes?: ReadonlyArray<string> | undefined
  /** Modules of the site, in this order, instead of its defaults; an empty list is none. */
  readonly modules?: ReadonlyArray<string> | undefined
  /** A root that can be written, in memory, gone at the end. */
  readonly writable?: boolean | undefined
  /** Working directory inside; without it the caller's, where it exists inside. */
  readonly workdir?: string | undefined
  /** `NAME=VALUE`, added to the image's environment. */
  readonly env?: ReadonlyArray<string> | undefined
  /** Files of `NAME=VALUE` lines, by their paths inside: in the image, or in what is shown there. `env` comes after them. */
  readonly envFile?: ReadonlyArray<string> | undefined
  /** Leave the caller's environment out. */
  readonly clearEnv?: boolean | undefined
  /** Use the image's entry point, or this one. */
  readonly entrypoint?: boolean | string | undefined
  /**
   * Standard streams: the caller's own (the default), so that a terminal stays one; or nothing to read, and what is printed captured. What is
   * captured ends when every program that holds it has ended, those in the background too. More than 16 MiB of a stream ends the program, and
   * is an error.
   */
  readonly stdio?: "inherit" | "capture" | undefined
}

export interface RunResult {
  /** Exit status of the program, or 128 and the number of the signal that ended it. */
  readonly status: number
  /** Captured output; empty with `inherit`. */
  readonly stdout: string
  readonly stderr: string
}

/** A user, with the group that his jobs run with. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Whose roots are meant, and where they are kept. */
export interface JobRequest {
  /** 1 to 128 of `A-Z a-z 0-9 . _ @ [ ] -`. Without it the root is the node's, which the reference system knows alone. */
  readonly job?: string | undefined
  /** One of `runDirectory` in runtime.conf; the first without it. */
  readonly runDirectory?: string | undefined
}

/** What a root is prepared for. */
export interface PrepareRequest extends JobRequest, Account {
  /** Must be the name of the uid. */
  readonly user?: string | undefined
  /** `TYPE:REFERENCE` or `id:ID`. */
  readonly image: string
  /** As in {@link RunOptions}: ranks that ask for others get a root of their own. */
  readonly volumes?: ReadonlyArray<string> | undefined
  readonly modules?: ReadonlyArray<string> | undefined
  /** The job's hosts and how many tasks each runs, for `/var/hostsfile`. */
  readonly nodes?: ReadonlyArray<{ readonly name: string; readonly tasks: number }> | undefined
}

/** The states of a prepared root; all but the first two are cleared by the next set-up or teardown of the job. */
export type PreparedState = "ready" | "in preparation" | "of another mount namespace" | "gone" | "left over" | "damaged" | "of a newer version"

/** A root that is prepared on this node, or what is left of one. */
export interface PreparedRoot {
  readonly job: string
  readonly uid: number
  /** What it was asked for by; unknown of what is left over or in preparation. */
  readonly image: string | undefined
  readonly state: PreparedState
}

export class Udi extends Context.Tag("shifter-sdk/Udi")<
  Udi,
  {
    /** What this node has of what images need. */
    readonly check: Effect.Effect<ReadonlyArray<NodeCheck>, UdiError>
    /**
     * Runs a program in an image, as the caller. A refusal of the helper is a {@link UdiError}. Interrupting ends the program, and where its output is
     * captured the programs it started as well: SIGTERM first, SIGKILL after five seconds.
     */
    readonly run: (image: string, command: ReadonlyArray<string>, options?: RunOptions) => Effect.Effect<RunResult, UdiError>
    /** Tells where every variable, mount and identity of a run would come from, for people to read, and runs nothing. */
    readonly explain: (image: string, command: ReadonlyArray<string>, options?: Omit<RunOptions, "stdio">) => Effect.Effect<string, UdiError>
    /** The id of an image that the caller may use, or the path of a `local:` one, by the node's index; of one that another user may use only root can ask. */
    readonly resolve: (image: string, user?: Account) => Effect.Effect<string, UdiError>
    /** What the site makes of a request's volumes and modules, or the refusal that a node would answer it with. */
    readonly validate: (request: Pick<RunOptions, "volumes" | "modules">) => Effect.Effect<{ readonly volumes: ReadonlyArray<string>; readonly modules: ReadonlyArray<string> }, UdiError>
    /** Prepares a job's root; one that is there already stays. Root only. */
    readonly prepare: (request: PrepareRequest) => Effect.Effect<void, UdiError>
    /** Removes a job's roots, all or a user's, also when there are none. Ranks that run keep theirs. Root only. */
    readonly teardown: (request: JobRequest & { readonly uid?: number | undefined }) => Effect.Effect<void, UdiError>
    /** Lists prepared roots. Root only. */
    readonly list: (request?: Pick<JobRequest, "runDirectory">) => Effect.Effect<ReadonlyArray<PreparedRoot>, UdiError>
  }
>() {}
