/**
 * A workload manager of one machine that starts every job at once, and the adapter that it needs. What is here is all that a workload manager
 * has to bring; `conformance.ts` shows that it is enough.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { Effect } from "effect"
import { Errors, Requested, type Wlm } from "shifter-sdk"

const error = (code: Errors.ErrorCode, what: string) => new Errors.WlmError(Errors.errorFields(code, what))

/** A job's environment: `LOCAL_JOB_ID`, `LOCAL_JOB_USER` as `UID:GID`, and the variables of what it asks for. */
const jobOf: Wlm.WlmAdapter["jobOf"] = (environment) =>
  Effect.gen(function* () {
    const { LOCAL_JOB_ID: job, LOCAL_JOB_USER: user = "" } = environment
    if (job === undefined) return undefined
    if (!/^local-[0-9]{1,9}$/.test(job)) return yield* error("JOB_INVALID", `LOCAL_JOB_ID is "${job.slice(0, 100)}", which is no job's id here`)
    const [, uid, gid] = /^([0-9]{1,9}):([0-9]{1,9})$/.exec(user) ?? []
    if (uid === undefined || gid === undefined) return yield* error("JOB_INVALID", `LOCAL_JOB_USER is "${user.slice(0, 100)}", not UID:GID`)
    return { job, uid: Number(uid), gid: Number(gid), nodes: [{ name: "localhost", tasks: 1 }], request: yield* Requested.fromEnvironment(environment) }
  })

/** Jobs of one process. A workload manager of several would ask its daemon here. */
const jobs = (): Wlm.BatchJobs => {
  const known = new Map<string, ChildProcess>()
  return {
    submit: ({ command: [program, ...args], directory, output }) =>
      Effect.async((resume) => {
        const out = openSync(output, "w", 0o600)
        // A group of its own: what a job starts ends with it.
        const child = spawn(program, args, { cwd: directory, stdio: ["ignore", out, out], detached: true })
        closeSync(out)
        const id = `local-${known.size + 1}`
        known.set(id, child)
        child.once("spawn", () => resume(Effect.succeed(id)))
        child.once("error", (fault) => resume(error("WLM_REFUSED", `The job can't be started: ${fault.message}`)))
      }),
    state: (id) =>
      Effect.sync((): Wlm.BatchState => {
        const child = known.get(id)
        if (child === undefined) return { _tag: "Lost" }
        if (child.exitCode !== null) return { _tag: "Ended", status: child.exitCode }
        return child.signalCode === null ? { _tag: "Running" } : { _tag: "Ended", status: 1, why: child.signalCode }
      }),
    cancel: (id) =>
      Effect.sync(() => {
        const child = known.get(id)
        if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, "SIGKILL")
      })
  }
}

export const adapter = (): Wlm.WlmAdapter => ({
  name: "local",
  jobOf,
  render: Effect.succeed([{ name: "local-wlm.conf", mode: 0o644, content: "# Read by the daemon of local-wlm, on its machine.\nprepare = setupRoot\nclean = unsetupRoot\n" }]),
  check: Effect.sync(() => [{ name: "root", ok: process.getuid?.() === 0, detail: "roots are prepared by root" }]),
  batch: jobs()
})
