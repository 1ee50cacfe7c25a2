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
  readonly workdir?: string | undefined
  /** `NAME=VALUE`, added to the image's environment. */
  readonly env?: ReadonlyArray<string> | undefined
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
    /**
     * Runs a program in an image, as the caller. A refusal of the helper is a {@link UdiError}. Interrupting ends the program, and where its output is
     * captured the programs it started as well: SIGTERM first, SIGKILL after five seconds.
     */
    readonly run: (image: string, command: ReadonlyArray<string>, options?: RunOptions) => Effect.Effect<RunResult, UdiError>
    /** Prepares a job's root. Root only. */
    readonly prepare: (request: PrepareRequest) => Effect.Effect<void, UdiError>
    /** Removes a job's roots. Root only. */
    readonly teardown: (job: string) => Effect.Effect<void, UdiError>
    /** Lists prepared roots. Root only. */
    readonly list: Effect.Effect<ReadonlyArray<PrepareRequest>, UdiError>
  }
>() {}
