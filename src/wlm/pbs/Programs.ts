/**
 * PBS's programs.
 *
 * @module
 */
import { readFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, messageOf, WlmError } from "../../core/Errors.js"
import * as WlmPrograms from "../../core/WlmPrograms.js"

/** Directory of PBS's programs; without it that of `PBS_EXEC` in PBS's own configuration, else where the path finds them. */
export type Programs = string | undefined

/** The configuration of a machine. */
const MACHINE = "/etc/pbs.conf"

const PBS: WlmPrograms.Manager = {
  name: "PBS",
  head: "server",
  // There is no server, or no configuration.
  away: /cannot connect to server|connection refused|communication failure|pbs_iff|no default server|could not resolve|missing PBS_/i
}

/** As PBS's own programs do, it reads the file that `PBS_CONF_FILE` names, in the environment that the gateway's administrator gave it. */
const start = (programs: Programs): Effect.Effect<WlmPrograms.Start, WlmError> =>
  Effect.suspend(() => {
    const named = process.env["PBS_CONF_FILE"] ?? ""
    const env: WlmPrograms.Start["env"] = named === "" ? {} : { PBS_CONF_FILE: named }
    if (programs !== undefined) return Effect.succeed({ directory: programs, env })
    return Effect.tryPromise({ try: () => readFile(named === "" ? MACHINE : named, "utf8"), catch: messageOf }).pipe(
      Effect.catchAll((why) =>
        named === ""
          ? Effect.succeed("")
          : new WlmError(errorFields("WLM_MISSING", `The file that PBS_CONF_FILE names can't be read: ${why}`, { remedy: "Name PBS's configuration in it, or unset it where that is /etc/pbs.conf." }))
      ),
      Effect.map((text) => {
        // Of several lines PBS takes the last one.
        const root = [...text.matchAll(/^[ \t]*PBS_EXEC=(\/.*?)\/?\s*$/gm)].at(-1)?.[1]
        return { directory: root === undefined ? undefined : nodePath.join(root, "bin"), env }
      })
    )
  })

/** Runs one to its end; what it says is for the caller to judge. */
export const ask = (programs: Programs, name: string, args: ReadonlyArray<string>): Effect.Effect<WlmPrograms.Answer, WlmError> =>
  Effect.flatMap(start(programs), (started) => WlmPrograms.ask(PBS, started, name, args))
