/**
 * Runs the conformance suite on the adapter: every case with its name, and what it found. A test runner would make a test of each.
 *
 * @module
 */
import { Cause, Effect, Exit } from "effect"
import { adapterCases, jobCases, type Sample } from "shifter-sdk/wlm-testkit"
import { adapter } from "./adapter.js"

const plain = { job: "local-1", uid: 1000, gid: 100, nodes: [{ name: "localhost", tasks: 1 }] }
export const samples: readonly [Sample, ...ReadonlyArray<Sample>] = [
  {
    environment: { LOCAL_JOB_ID: "local-1", LOCAL_JOB_USER: "1000:100", SHIFTER_IMAGE: "docker:debian:12", SHIFTER_VOLUME: "/a:/b;/c:/d:ro", SHIFTER_MODULE: "mpich" },
    job: { ...plain, request: { image: "docker:debian:12", volumes: ["/a:/b", "/c:/d:ro"], modules: ["mpich"], writable: [] } }
  },
  { environment: { LOCAL_JOB_ID: "local-1", LOCAL_JOB_USER: "1000:100" }, job: { ...plain, request: undefined } }
]

/** How many cases did not hold. */
export const conformance = (directory: string): Effect.Effect<number> =>
  Effect.gen(function* () {
    const local = adapter()
    let failed = 0
    for (const { check, name } of [...adapterCases(local, samples), ...jobCases(local.batch, directory)]) {
      const exit = yield* Effect.exit(check)
      if (Exit.isFailure(exit)) failed += 1
      yield* Effect.sync(() => process.stdout.write(`${Exit.isSuccess(exit) ? "holds" : "FAILS"}  ${name}${Exit.isSuccess(exit) ? "" : `: ${Cause.pretty(exit.cause)}`}\n`))
    }
    return failed
  })
