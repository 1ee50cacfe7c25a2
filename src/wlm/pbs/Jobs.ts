/**
 * Jobs of the gateway's own in PBS.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { BatchJob, BatchJobs, BatchState } from "../../core/Batch.js"
import { errorFields, printable, WlmError } from "../../core/Errors.js"
import { said } from "../../core/WlmPrograms.js"
import { ask, type Programs } from "./Programs.js"

/** `qsub -- program` begins at home, copies its output at the end, loses empty words and cuts others at a line feed: so the words come quoted, in one. */
const SCRIPT = 'n=$(printf "\\nx"); n=${n%x}; cd "$1" && exec >"$2" 2>&1 && eval "exec $3"'

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''").replaceAll("\n", "'\"$n\"'")}'`

/** `options` are further ones of `qsub`, each a word, such as `-qlarge`. */
export const jobs = (programs: Programs, options: ReadonlyArray<string>): BatchJobs => {
  const deleted = new Set<string>()
  return {
    submit: (job) => submit(programs, [...options, "-N", job.name, "-j", "oe", "-o", "/dev/null", "-r", "n", "--", "/bin/sh", "-c", SCRIPT, "sh", ...wordsOf(job)]),
    state: (id) =>
      Effect.flatMap(ask(programs, "qstat", ["-x", "-f", id]), (answer) => {
        if (answer.status !== 0 && !UNKNOWN.test(answer.stderr)) return failed("qstat", id, answer.stderr)
        return Effect.succeed(stateOf(id, answer.stdout, deleted.has(id)))
      }),
    cancel: (id) =>
      Effect.flatMap(ask(programs, "qdel", [id]), ({ status, stderr }) => {
        if (status === 0) deleted.add(id)
        return status === 0 || OVER.test(stderr) || UNKNOWN.test(stderr) ? Effect.void : failed("qdel", id, stderr)
      })
  }
}

const wordsOf = ({ command, directory, output }: BatchJob): ReadonlyArray<string> => [directory, output, command.map(quoted).join(" ")]

const UNKNOWN = /unknown job id|illegally formed job identifier|invalid job/i
const OVER = /job has finished|request invalid for state/i

const failed = (program: string, id: string, stderr: string) => new WlmError(errorFields("WLM_FAILED", `PBS's ${program} does not tell of job ${id}: ${said(stderr)}`))

const submit = (programs: Programs, args: ReadonlyArray<string>): Effect.Effect<string, WlmError> =>
  Effect.gen(function* () {
    const { status, stderr, stdout } = yield* ask(programs, "qsub", args)
    if (status !== 0) return yield* new WlmError(errorFields("WLM_REFUSED", `PBS does not take the job: ${said(stderr)}`))
    const [, id] = /^([0-9]{1,12}\.[A-Za-z0-9][A-Za-z0-9._-]{0,99})\n?$/.exec(stdout) ?? []
    if (id === undefined) return yield* new WlmError(errorFields("WLM_FAILED", `PBS took a job, and told "${printable(stdout.trimEnd())}" instead of its id`))
    return id
  })

/**
 * The state of a job by what `qstat -xf` printed: its attributes come one a line, and longer ones go on behind a tab. One that is deleted while
 * its node starts it is told as if it had ended by itself with status 0, so who deleted it has to say so.
 */
export const stateOf = (id: string, printed: string, deleted = false): BatchState => {
  const [first = "", ...lines] = printed.split("\n")
  if (first.trim() !== `Job Id: ${id}`) return { _tag: "Lost" }
  const attribute = (name: string) => lines.find((line) => line.startsWith(`    ${name} = `))?.slice(name.length + 7).trim()
  const state = attribute("job_state") ?? ""
  if ("QHWT".includes(state) && state !== "") return { _tag: "Waiting" }
  if (state === "M" || state === "") return { _tag: "Lost" }
  if (state !== "F" && state !== "X") return { _tag: "Running" }
  const status = Number(attribute("Exit_status") ?? Number.NaN)
  // A deleted job may have status 0, and one that was deleted before it ran has none.
  if (deleted || attribute("substate") === "91") return { _tag: "Ended", status: status > 0 ? (status < 256 ? status : 128 + (status - 256)) : 1, why: "it was deleted" }
  if (Number.isInteger(status) && status >= 0) return { _tag: "Ended", status: status < 256 ? status : 128 + (status - 256) }
  return { _tag: "Ended", status: 1, why: Number.isInteger(status) ? `Exit_status ${status}` : "it never ran" }
}
