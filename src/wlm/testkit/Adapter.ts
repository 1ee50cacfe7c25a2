/**
 * Cases that need no workload manager: what an adapter makes of environments that strangers have written, and what it renders.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { JobContext, WlmAdapter } from "../../core/Wlm.js"
import { type Case, must, mustEqual, Violation } from "./Case.js"

/** A job as the adapter's workload manager tells it. */
export interface Sample {
  /** The variables that it sets, what the job asked for among them. */
  readonly environment: Readonly<Record<string, string>>
  /** What they say. */
  readonly job: JobContext
}

/** Cases of an adapter. `samples` are jobs of each kind that it knows: of one node and several, an array's, one without an image. */
export const adapterCases = (adapter: WlmAdapter, samples: readonly [Sample, ...ReadonlyArray<Sample>]): ReadonlyArray<Case> => [
  { name: "has a name", check: must(/^[a-z][a-z0-9-]{0,31}$/.test(adapter.name), `its name is "${adapter.name}"`) },
  {
    name: "finds no job where there is none",
    check: Effect.forEach([{}, { PATH: "/bin", HOME: "/root" }], (environment) => Effect.flatMap(adapter.jobOf(environment), (job) => mustEqual(job, undefined, "a job")), { discard: true })
  },
  ...samples.map(({ environment, job }, i) => ({
    name: `tells job ${i + 1} whole`,
    check: Effect.flatMap(adapter.jobOf(environment), (found) => mustEqual(found, job, "the job"))
  })),
  ...samples.flatMap(({ environment }, i) =>
    Object.keys(environment).map((variable) => ({
      name: `refuses or understands any ${variable} of job ${i + 1}`,
      check: Effect.forEach(hostile, (value) => judged(adapter, variable, value, { ...environment, [variable]: value }), { discard: true })
    }))
  ),
  {
    name: "tells a job by the environment alone",
    check: Effect.flatMap(Effect.all([adapter.jobOf(samples[0].environment), adapter.jobOf({ ...samples[0].environment, UNRELATED: "1" })]), ([one, other]) => mustEqual(other, one, "the job"))
  },
  {
    name: "renders the same bytes each time",
    // The time of rendering in a file is seen when the clock has gone on.
    check: Effect.flatMap(Effect.all([adapter.render, Effect.delay(adapter.render, "1100 millis")]), ([one, other]) => mustEqual(other, one, "the files"))
  },
  { name: "renders files that can be installed", check: Effect.flatMap(adapter.render, (files) => installable(files)) },
  {
    name: "checks a node by names and details",
    check: Effect.flatMap(adapter.check, (checks) => must(checks.length > 0 && checks.every(({ detail, name }) => name !== "" && detail !== "" && !CONTROL.test(name)), "a check without a name or a detail"))
  }
]

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/

/** What a user may set a variable to. */
const hostile: ReadonlyArray<string> = [
  "", " ", "-1", "0x10", "1e3", "4294967295", "4294967296", "99999999999999999999", "1 2", "1\n2", "\n", "\u0000", "\u001b[2J", "..", "../../etc/passwd", "/", "/etc/passwd\n",
  "--uid=0", "-U0", "$(reboot)", "`reboot`", ";reboot", "a|b", "a&b", "'", '"', "*", "{a,b}", "[1-999999999]", "n[1-99999][1-99999]", "[", "]", "%s%n", "é\u202e", "\ud800", "x".repeat(300), "x".repeat(100_000),
  "docker:", ":", "::", "id:../x", "local:/etc", "docker:a\nb", "/a:/b;/c", "/a:/b\n/c:/d", ",", ",,", "a,,b", "none", "__proto__", "constructor"
]

const judged = (adapter: WlmAdapter, variable: string, value: string, environment: Sample["environment"]) =>
  Effect.gen(function* () {
    const found = yield* Effect.either(adapter.jobOf(environment)).pipe(
      Effect.catchAllDefect((defect) => Effect.fail(new Violation({ message: `${variable}=${JSON.stringify(value.slice(0, 60))} makes it die of ${String(defect)}` })))
    )
    const of = `with ${variable}=${JSON.stringify(value.slice(0, 60))}`
    if (Either.isLeft(found)) return yield* must(found.left.code === "JOB_INVALID", `${of} it fails with ${found.left.code}, not JOB_INVALID`)
    const job = found.right
    if (job === undefined) return
    yield* must(/^[A-Za-z0-9._@[\]-]{1,128}$/.test(job.job), `${of} the job's id is ${JSON.stringify(job.job.slice(0, 60))}`)
    for (const id of [job.uid, job.gid]) yield* must(Number.isInteger(id) && id >= 0 && id < 4294967295, `${of} a number of an account is ${id}`)
    for (const { name, tasks } of job.nodes) {
      yield* must(/^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(name), `${of} a node is called ${JSON.stringify(name.slice(0, 60))}`)
      yield* must(Number.isInteger(tasks) && tasks >= 0, `${of} a node runs ${tasks} tasks`)
    }
    yield* must(job.nodes.length <= 1_000_000, `${of} there are ${job.nodes.length} nodes`)
    const { request } = job
    for (const text of [request?.image, ...(request?.volumes ?? []), ...(request?.modules ?? []), ...(request?.writable ?? [])]) {
      yield* must(text === undefined || !CONTROL.test(text), `${of} the request holds ${JSON.stringify(text?.slice(0, 60))}`)
    }
    yield* must(request === undefined || /^[a-z-]+:./.test(request.image), `${of} the image is ${JSON.stringify(request?.image.slice(0, 60))}`)
  })

const installable = (files: ReadonlyArray<{ readonly name: string; readonly mode: number; readonly content: string }>) =>
  Effect.gen(function* () {
    yield* must(files.length > 0, "there are none")
    yield* must(new Set(files.map(({ name }) => name)).size === files.length, "two have one name")
    for (const { content, mode, name } of files) {
      yield* must(/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name), `"${name}" is no plain name`)
      yield* must((mode & ~0o755) === 0 && (mode & 0o400) !== 0, `${name} has mode ${mode.toString(8)}: others may write to it, or none may read it`)
      yield* must(content.endsWith("\n") && !content.includes("\0"), `${name} is no whole text`)
    }
  })
