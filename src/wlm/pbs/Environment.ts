/**
 * The job that an environment speaks of. PBS tells a job its id and a file that names a node for each task; whose it is, its process knows.
 *
 * @module
 */
import { open } from "node:fs/promises"
import { constants } from "node:fs"
import * as Effect from "effect/Effect"
import { errorFields, WlmError } from "../../core/Errors.js"
import * as Requested from "../../core/Requested.js"
import type { Account } from "../../core/Udi.js"
import type { JobContext } from "../../core/Wlm.js"

export type Environment = Readonly<Record<string, string | undefined>>

/** A sequence number, `[INDEX]` for an array's, and the server. */
const JOB = /^[0-9]{1,12}(?:\[[0-9]{0,10}\])?(?:\.[A-Za-z0-9][A-Za-z0-9._-]{0,99})?$/
const NODE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/
/** More than any machine's tasks need. */
const LARGEST_LIST = 16 * 1024 * 1024

export const jobOf = (environment: Environment, self: Account | undefined): Effect.Effect<JobContext | undefined, WlmError> =>
  Effect.gen(function* () {
    const job = environment.PBS_JOBID
    if (job === undefined) return undefined
    if (!JOB.test(job)) return yield* invalid(`PBS_JOBID is "${job.slice(0, 200)}", which no job of PBS has`)
    if (self === undefined) return yield* invalid("this process has no uid")
    const nodes = environment.PBS_NODEFILE === undefined || environment.PBS_NODEFILE === "" ? [] : yield* nodesOf(environment.PBS_NODEFILE)
    return { job, uid: self.uid, gid: self.gid, nodes, request: yield* Requested.fromEnvironment(environment) }
  })

/** Nothing of a file is repeated: the variable is whoever's, and so may the file be. */
const nodesOf = (file: string): Effect.Effect<JobContext["nodes"], WlmError> =>
  Effect.tryPromise({ try: () => readList(file), catch: () => invalid("PBS_NODEFILE names no list of nodes that can be read") }).pipe(
    Effect.flatMap((text) => {
      const tasks = new Map<string, number>()
      for (const name of text.split("\n")) {
        if (name === "") continue
        if (!NODE.test(name)) return invalid("PBS_NODEFILE names a file that is no list of nodes")
        tasks.set(name, (tasks.get(name) ?? 0) + 1)
      }
      return Effect.succeed([...tasks].map(([name, count]) => ({ name, tasks: count })))
    })
  )

const readList = async (file: string): Promise<string> => {
  // A FIFO would never answer.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const status = await handle.stat()
    if (!status.isFile() || status.size > LARGEST_LIST) throw new Error("no regular file of a list's size")
    return await handle.readFile("utf8")
  } finally {
    await handle.close()
  }
}

const invalid = (what: string) => new WlmError(errorFields("JOB_INVALID", what))
