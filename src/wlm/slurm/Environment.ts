/**
 * The job that an environment speaks of: a job's own, or that of Slurm's prologue, where what was asked for stands behind `SPANK_`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { errorFields, WlmError } from "../../core/Errors.js"
import type { Account } from "../../core/Udi.js"
import * as Requested from "../../core/Requested.js"
import type { JobContext } from "../../core/Wlm.js"
import * as Nodes from "./Nodes.js"

export type Environment = Readonly<Record<string, string | undefined>>

/** Older versions tell a job its user alone: its group is then that of the process, `self`, that asks. */
export const jobOf = (environment: Environment, self: Account | undefined): Effect.Effect<JobContext | undefined, WlmError> =>
  Effect.gen(function* () {
    const job = environment.SLURM_JOB_ID
    if (job === undefined) return undefined
    if (!/^[1-9][0-9]{0,9}$/.test(job)) return yield* invalid("SLURM_JOB_ID", job)
    const uid = yield* idOf("SLURM_JOB_UID", environment.SLURM_JOB_UID ?? own(self?.uid))
    const gid = yield* idOf("SLURM_JOB_GID", environment.SLURM_JOB_GID ?? (uid === self?.uid ? own(self.gid) : undefined))
    const request = yield* Requested.fromEnvironment({ ...environment, ...prologueOf(environment) })
    return { job, uid, gid, nodes: yield* nodesOf(environment), request }
  })

const own = (id: number | undefined) => (id === undefined ? undefined : String(id))

/** What the prologue is told of the request; nothing in a job. A component behind the first has names of its own. */
const prologueOf = (environment: Environment): Environment => {
  const prefix = environment.SPANK_SHIFTER_COMPONENT_IMAGE === undefined ? "SPANK_SHIFTER_" : "SPANK_SHIFTER_COMPONENT_"
  return Object.fromEntries(Object.entries(environment).flatMap(([name, value]) => (name.startsWith(prefix) ? [[`SHIFTER_${name.slice(prefix.length)}`, value]] : [])))
}

const nodesOf = (environment: Environment): Effect.Effect<JobContext["nodes"], WlmError> =>
  Effect.gen(function* () {
    const list = environment.SLURM_JOB_NODELIST
    if (list === undefined || list === "") return []
    const names = yield* Nodes.names("SLURM_JOB_NODELIST", list)
    const told = environment.SLURM_TASKS_PER_NODE
    const tasks = told === undefined ? undefined : yield* Nodes.tasks("SLURM_TASKS_PER_NODE", told, names.length)
    return names.map((name, i) => ({ name, tasks: tasks?.[i] ?? 1 }))
  })

const idOf = (variable: string, text: string | undefined): Effect.Effect<number, WlmError> =>
  text !== undefined && /^(?:0|[1-9][0-9]{0,9})$/.test(text) && Number(text) < 4294967295 ? Effect.succeed(Number(text)) : invalid(variable, text)

const invalid = (variable: string, text: string | undefined) =>
  new WlmError(errorFields("JOB_INVALID", text === undefined ? `${variable} is not set` : `${variable} is "${text.slice(0, 200)}", which no job of Slurm has`))
