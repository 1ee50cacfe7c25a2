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
}

export interface RunOptions {
  /** Working directory inside; without it the caller's, where it exists inside. */
  readonly workdir?: string
  /** `NAME=VALUE`, added to the image's environment. */
  readonly env?: ReadonlyArray<string>
  /** Leave the caller's environment out. */
  readonly clearEnv?: boolean
  /** Use the image's entry point, or this one. */
  readonly entrypoint?: boolean | string
  /** Standard streams: the caller's, or captured. */
  readonly stdio?: "inherit" | "capture"
}

export interface RunResult {
  /** Exit status of the program, or 128 and the number of the signal that ended it. */
  readonly status: number
  /** Captured output, at most 16 MiB each; empty with `inherit`. */
  readonly stdout: string
  readonly stderr: string
}

/** What a root is prepared for. */
export interface PrepareRequest {
  readonly job: string
  readonly uid: number
  readonly gid: number
  readonly image: string
}

export class Udi extends Context.Tag("shifter-sdk/Udi")<
  Udi,
  {
    /** What this node has of what images need. */
    readonly check: Effect.Effect<ReadonlyArray<NodeCheck>, UdiError>
    /** Runs a program in an image, as the caller. Interrupting ends the program. A refusal of the helper is a {@link UdiError}. */
    readonly run: (image: string, command: ReadonlyArray<string>, options?: RunOptions) => Effect.Effect<RunResult, UdiError>
    /** Prepares a job's root. Root only. */
    readonly prepare: (request: PrepareRequest) => Effect.Effect<void, UdiError>
    /** Removes a job's roots. Root only. */
    readonly teardown: (job: string) => Effect.Effect<void, UdiError>
    /** Lists prepared roots. Root only. */
    readonly list: Effect.Effect<ReadonlyArray<PrepareRequest>, UdiError>
  }
>() {}
