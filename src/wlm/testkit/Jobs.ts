/**
 * Cases of the gateway's own jobs, with a workload manager that runs.
 *
 * @module
 */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type BatchJob, type BatchJobs, type BatchState, run } from "../../core/Batch.js"
import { type Case, must, mustEqual } from "./Case.js"

/** Every case runs within this, or fails. */
const LONGEST = "2 minutes"
const WORDS: ReadonlyArray<string> = ["a b", "", "$(exit 1)", "`exit 1`", "'", '"', "\\", "*", "~", ";", "&", "%j", "\n", "é", "--help", "-x", "#"]

/** `directory` is one that this machine and the nodes see by the same path, and in which the account of the test may write. */
export const jobCases = (batch: BatchJobs, directory: string): ReadonlyArray<Case> => {
  const named = (name: string, check: (at: string) => Effect.Effect<void, unknown>): Case => ({
    name,
    check: Effect.scoped(
      Effect.flatMap(
        Effect.acquireRelease(Effect.promise(() => mkdtemp(nodePath.join(directory, "case-"))), (made) => Effect.promise(() => rm(made, { recursive: true, force: true, maxRetries: 5 }))),
        check
      )
    ).pipe(Effect.timeout(LONGEST))
  })
  const job = (at: string, ...command: BatchJob["command"]): BatchJob => ({ name: "conformance", command, directory: at, output: nodePath.join(at, "output") })
  const endless = (at: string) => job(at, "/bin/sleep", "100000")
  return [
    named("hands a program its words as they are", (at) =>
      Effect.gen(function* () {
        yield* run(batch, job(at, "/bin/sh", "-c", 'printf "<%s>" "$@"', "sh", ...WORDS))
        const found = yield* Effect.promise(() => readFile(nodePath.join(at, "output"), "utf8"))
        yield* must(found.endsWith(WORDS.map((word) => `<${word}>`).join("")), `the program was given ${JSON.stringify(found)}`)
      })
    ),
    named("keeps a program's status", (at) =>
      Effect.gen(function* () {
        yield* mustEqual((yield* run(batch, job(at, "/bin/true"))).status, 0, "the status of true")
        yield* mustEqual((yield* run(batch, job(at, "/bin/sh", "-c", "exit 42"))).status, 42, "the status of exit 42")
      })
    ),
    named("runs a program in its directory", (at) =>
      Effect.gen(function* () {
        yield* run(batch, job(at, "/bin/sh", "-c", 'pwd -P >"$1"', "sh", nodePath.join(at, "where")))
        yield* mustEqual((yield* Effect.promise(() => readFile(nodePath.join(at, "where"), "utf8"))).trim(), at, "the working directory")
      })
    ),
    named("refuses a program that is not there, or fails for it", (at) =>
      Effect.flatMap(Effect.either(run(batch, job(at, nodePath.join(at, "missing")))), (end) =>
        must(end._tag === "Right" ? end.right.status !== 0 : end.left.code === "WLM_REFUSED", `it ends with ${JSON.stringify(end)}`)
      )
    ),
    named("cancels a job, and takes it for no fault to do it again", (at) =>
      Effect.gen(function* () {
        const id = yield* batch.submit(endless(at))
        yield* must(/^[A-Za-z0-9._@[\]-]{1,128}$/.test(id), `a job's id is ${JSON.stringify(id)}`)
        yield* awaited(batch, id, ({ _tag }) => _tag === "Running")
        yield* batch.cancel(id)
        const end = yield* awaited(batch, id, isOver)
        yield* must(end._tag === "Lost" || (end._tag === "Ended" && end.status !== 0), `a cancelled job is told as ${JSON.stringify(end)}`)
        yield* batch.cancel(id)
      })
    ),
    named("cancels a job at once after its submission", (at) =>
      Effect.gen(function* () {
        const id = yield* batch.submit(endless(at))
        yield* batch.cancel(id)
        yield* awaited(batch, id, isOver)
      })
    ),
    named("leaves no job to whoever is interrupted", (at) =>
      Effect.gen(function* () {
        let submitted = ""
        yield* run({ ...batch, submit: (each) => Effect.tap(batch.submit(each), (id) => Effect.sync(() => (submitted = id))) }, endless(at), () => Effect.interrupt).pipe(Effect.exit)
        yield* must(submitted !== "", "no job was submitted")
        yield* must(isOver(yield* batch.state(submitted)), "the job goes on")
      })
    ),
    named("knows no job of an id that it never gave", () => Effect.flatMap(batch.state("999999999"), (state) => mustEqual(state, { _tag: "Lost" }, "its state")))
  ]
}

const isOver = ({ _tag }: BatchState): boolean => _tag === "Ended" || _tag === "Lost"

const awaited = (batch: BatchJobs, id: string, good: (state: BatchState) => boolean) =>
  Effect.gen(function* () {
    for (;;) {
      const state = yield* batch.state(id)
      if (good(state)) return state
      yield* must(!isOver(state), `the job is over: ${JSON.stringify(state)}`)
      yield* Effect.sleep(Duration.millis(100))
    }
  })
