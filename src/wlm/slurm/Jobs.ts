/**
 * Jobs of the gateway's own in Slurm. Asked for are numbers and words of Slurm's alone: no name that a user gave is ever among what is read.
 *
 * @module
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type { BatchJob, BatchJobs, BatchState } from "../../core/Batch.js"
import { errorFields, messageOf, printable, WlmError } from "../../core/Errors.js"
import { said } from "../../core/WlmPrograms.js"
import { ask, type Reached } from "./Programs.js"

/** The script of every job: what is run are its arguments, and no shell reads them. */
const SCRIPT = '#!/bin/sh\nexec "$@"\n'

/** `options` are further ones of `sbatch`, each a word, such as `--partition=large`. */
export const jobs = (reached: Reached, options: ReadonlyArray<string>): BatchJobs => ({
  submit: (job) => Effect.scoped(Effect.flatMap(script, (file) => submit(reached, [...options, ...optionsOf(job), file, ...job.command]))),
  state: (id) =>
    // Wide enough that nothing is cut.
    Effect.flatMap(ask(reached, "squeue", ["--noheader", "--states=all", `--jobs=${id}`, "--Format=JobID:20,State:30,exit_code:20"]), (answer) => {
      if (answer.status !== 0 && !UNKNOWN.test(answer.stderr)) return failed("squeue", id, answer.stderr)
      return Effect.succeed(stateOf(id, answer.stdout))
    }),
  cancel: (id) =>
    Effect.flatMap(ask(reached, "scancel", ["--quiet", id]), ({ status, stderr }) => (status === 0 || OVER.test(stderr) || UNKNOWN.test(stderr) ? Effect.void : failed("scancel", id, stderr)))
})

const UNKNOWN = /invalid job id/i
const OVER = /already (?:completing|completed|finished)/i

const failed = (program: string, id: string, stderr: string) => new WlmError(errorFields("WLM_FAILED", `Slurm's ${program} does not tell of job ${id}: ${said(stderr)}`))

const script = Effect.acquireRelease(
  Effect.tryPromise({
    try: () => mkdtemp(nodePath.join(tmpdir(), "shifter-sbatch-")),
    catch: (error) => new WlmError(errorFields("WLM_REFUSED", `No job can be written in ${tmpdir()}: ${messageOf(error)}`, { cause: error }))
  }),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
).pipe(
  Effect.flatMap((directory) => {
    const file = nodePath.join(directory, "job")
    return Effect.tryPromise({
      try: async () => {
        await writeFile(file, SCRIPT, { mode: 0o600 })
        return file
      },
      catch: (error) => new WlmError(errorFields("WLM_REFUSED", `No job can be written in ${directory}: ${messageOf(error)}`, { cause: error }))
    })
  })
)

/** The last say: of one task, never begun a second time by itself. */
const optionsOf = ({ directory, name, output }: BatchJob): ReadonlyArray<string> => [
  "--parsable",
  "--no-requeue",
  "--nodes=1",
  "--ntasks=1",
  "--open-mode=truncate",
  `--job-name=${name}`,
  `--chdir=${directory}`,
  // `%` stands for something in it.
  `--output=${output.replaceAll("%", "%%")}`
]

const submit = (reached: Reached, args: ReadonlyArray<string>): Effect.Effect<string, WlmError> =>
  Effect.gen(function* () {
    const { status, stderr, stdout } = yield* ask(reached, "sbatch", args)
    if (status !== 0) return yield* new WlmError(errorFields("WLM_REFUSED", `Slurm does not take the job: ${said(stderr)}`))
    const [, id] = /^([1-9][0-9]{0,9})(?:;[^\s;]*)?\n?$/.exec(stdout) ?? []
    if (id === undefined) return yield* new WlmError(errorFields("WLM_FAILED", `Slurm took a job, and told "${printable(stdout.trimEnd())}" instead of its id`))
    return id
  })

const WAITING: ReadonlySet<string> = new Set(["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "POWER_UP_NODE"])
const ENDED: ReadonlySet<string> = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"])

/** The state of a job by what `squeue` printed. All other states are a running job's, also that of one whose last processes are being ended. */
export const stateOf = (id: string, printed: string): BatchState => {
  for (const line of printed.split("\n")) {
    const [job, state = "", code = ""] = line.trim().split(/\s+/)
    if (job !== id) continue
    if (WAITING.has(state)) return { _tag: "Waiting" }
    if (!ENDED.has(state)) return { _tag: "Running" }
    const status = statusOf(code)
    return state === "COMPLETED" ? { _tag: "Ended", status } : { _tag: "Ended", status: status === 0 ? 1 : status, why: state }
  }
  return { _tag: "Lost" }
}

/** A status as wait(2) has it, or `STATUS:SIGNAL`. */
const statusOf = (code: string): number => {
  const [, first = "1", signal] = /^(\d{1,10})(?::(\d{1,3}))?$/.exec(code) ?? []
  if (signal !== undefined) return Number(signal) === 0 ? Number(first) : 128 + Number(signal)
  const raw = Number(first)
  return (raw & 0x7f) === 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
}
