/**
 * Whether a machine is set up as the files say: by what is there, and by what Slurm itself tells of its settings.
 *
 * @module
 */
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { asRendered, ofRoot } from "../../core/Installed.js"
import type { NodeCheck } from "../../core/Udi.js"
import { said } from "../../core/WlmPrograms.js"
import { ask, type Reached } from "./Programs.js"
import { type Installation, jobProgramOf, pluginOf, render } from "./Rendering.js"

export const check = (installation: Installation, reached: Reached): Effect.Effect<ReadonlyArray<NodeCheck>> =>
  Effect.gen(function* () {
    const { directory, prefix } = installation
    const programs = yield* Effect.forEach(
      [
        ["plugin", pluginOf(prefix)],
        ["prologue's program", jobProgramOf(prefix)]
      ] as const,
      ([name, file]) => Effect.promise(() => ofRoot(name, file))
    )
    const files = yield* Effect.forEach(render(installation), ({ content, mode, name }) => Effect.promise(() => asRendered(nodePath.join(directory, name), content, mode)))
    return [...programs, ...files, ...(yield* settings(installation, reached)), ...(yield* options(installation, reached))]
  })

/** What `scontrol` tells of Slurm's settings. */
const settings = (installation: Installation, reached: Reached): Effect.Effect<ReadonlyArray<NodeCheck>> =>
  ask(reached, "scontrol", ["show", "config"]).pipe(
    Effect.map(({ status, stderr, stdout }): ReadonlyArray<NodeCheck> => {
      if (status !== 0) return [{ name: "slurm.conf", ok: false, detail: `scontrol tells no settings: ${said(stderr)}` }]
      const { directory } = installation
      const runs = (name: string, key: string, file: string): NodeCheck => {
        const found = valuesOf(stdout, key)
        return found.some((pattern) => matches(pattern, file))
          ? { name, ok: true, detail: `${key}=${file}` }
          : { name, ok: found.some((each) => each.includes("*")), detail: `${key} is ${found.join(",") || "not set"}, and ${file} is to be among what it names`, advice: found.some((each) => each.includes("*")) }
      }
      const flags = valuesOf(stdout, "PrologFlags").flatMap((text) => text.split(","))
      const early = flags.some((flag) => /^(?:alloc|contain)$/i.test(flag))
      return [
        runs("Prolog", "Prolog", `${directory}/prologue`),
        runs("Epilog", "Epilog", `${directory}/epilogue`),
        { name: "PrologFlags", ok: early, detail: early ? flags.join(",") : "Alloc is not among them: salloc returns before the root is there" }
      ]
    }),
    Effect.catchAll((error) => Effect.succeed([{ name: "slurm.conf", ok: false, detail: error.message }]))
  )

/** All values of a key; newer versions number them. */
const valuesOf = (printed: string, key: string): ReadonlyArray<string> =>
  printed.split("\n").flatMap((line) => {
    const [, name, value = ""] = /^(\w+)(?:\[\d+\])?\s*=\s*(.*?)\s*$/.exec(line) ?? []
    return name === key && value !== "" && value !== "(null)" ? [value] : []
  })

/** Whether a file is one that a pattern of Slurm's names. */
const matches = (pattern: string, file: string): boolean =>
  new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", "[^/]*").replaceAll("?", "[^/]")}$`).test(file)

/** The plugin says itself that it was loaded: by its options. */
const options = ({ longOptions }: Installation, reached: Reached): Effect.Effect<ReadonlyArray<NodeCheck>> =>
  ask(reached, "srun", ["--help"]).pipe(
    Effect.map(({ stderr, stdout }): ReadonlyArray<NodeCheck> => {
      const option = longOptions ? "--shifter.image" : "--image"
      const loaded = new RegExp(`^\\s*${option.replace(".", "\\.")}\\b`, "m").test(stdout)
      return [{ name: "options", ok: loaded, detail: loaded ? `srun has ${option}` : `srun has no ${option}: plugstack.conf does not load the plugin${stderr.trim() === "" ? "" : `: ${said(stderr)}`}` }]
    }),
    Effect.catchAll((error) => Effect.succeed([{ name: "options", ok: false, detail: error.message }]))
  )
