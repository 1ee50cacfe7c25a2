/**
 * Slurm's lists of nodes and of tasks: `n[01-03,7],login` and `2(x3),1`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { errorFields, WlmError } from "../../core/Errors.js"

/** More than any machine has; what says more is no list of Slurm's. */
const MOST_NODES = 100_000
const NODE = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})$/

const invalid = (variable: string, text: string, why: string) => new WlmError(errorFields("JOB_INVALID", `${variable} is "${text.slice(0, 200)}": ${why}`))

/** The names of a list, in its order. */
export const names = (variable: string, text: string): Effect.Effect<ReadonlyArray<string>, WlmError> =>
  Effect.suspend(() => {
    const found: Array<string> = []
    for (const entry of entriesOf(text)) {
      const some = expand(entry, MOST_NODES - found.length)
      if (some === undefined) return invalid(variable, text, `a range of "${entry.slice(0, 100)}" is none, or it names more than ${MOST_NODES} nodes`)
      found.push(...some)
    }
    const odd = found.find((name) => !NODE.test(name))
    if (odd !== undefined) return invalid(variable, text, `"${odd.slice(0, 100)}" is no name of a node`)
    return Effect.succeed(found)
  })

/** Splits at the commas that stand in no brackets. */
const entriesOf = (text: string): ReadonlyArray<string> => text.match(/(?:[^,[\]]|\[[^[\]]*\])+|[[\],]/g)?.filter((entry) => entry !== ",") ?? []

/** Every name that an entry stands for; undefined for more than `most`, and for what is no range. */
const expand = (entry: string, most: number): ReadonlyArray<string> | undefined => {
  let found: ReadonlyArray<string> = [""]
  for (const [part] of entry.matchAll(/\[[^\]]*\]|[^[]+|\[/g)) {
    const values = part.startsWith("[") ? ranges(part.slice(1, -1), most) : [part]
    if (values === undefined || values.length * found.length > most) return undefined
    found = found.flatMap((start) => values.map((value) => start + value))
  }
  return found
}

const ranges = (text: string, most: number): ReadonlyArray<string> | undefined => {
  const found: Array<string> = []
  for (const range of text.split(",")) {
    const [, first, last] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range) ?? []
    if (first === undefined) return undefined
    const [from, to] = [Number(first), Number(last ?? first)]
    if (to < from || to - from >= most - found.length) return undefined
    for (let n = from; n <= to; n++) found.push(String(n).padStart(first.length, "0"))
  }
  return found
}

/** How many tasks each of so many nodes runs. */
export const tasks = (variable: string, text: string, nodes: number): Effect.Effect<ReadonlyArray<number>, WlmError> =>
  Effect.suspend(() => {
    const found: Array<number> = []
    for (const entry of text.split(",")) {
      const [, count, times = "1"] = /^(\d{1,6})(?:\(x(\d{1,6})\))?$/.exec(entry) ?? []
      if (count === undefined || Number(times) > nodes - found.length) return invalid(variable, text, `it is no list of tasks on ${nodes} nodes`)
      for (let i = 0; i < Number(times); i++) found.push(Number(count))
    }
    return found.length === nodes ? Effect.succeed(found) : invalid(variable, text, `it tells of ${found.length} nodes, and the job has ${nodes}`)
  })
