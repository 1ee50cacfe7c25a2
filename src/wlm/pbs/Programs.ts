/**
 * PBS's programs, asked with an argument vector.
 *
 * @module
 */
import { readFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, messageOf, printable, WlmError } from "../../core/Errors.js"
import * as Process from "../../core/Process.js"

/** Directory of PBS's programs; without it that of `PBS_EXEC` in PBS's own configuration, else where the path finds them. */
export type Programs = string | undefined

/** The configuration of a machine. */
const MACHINE = "/etc/pbs.conf"

/** How its programs are started: where they are, and what they are told of all that this process's environment holds. */
interface Start {
  readonly directory: string | undefined
  readonly env: Readonly<Record<string, string>>
}

/** As PBS's own programs do, it reads the file that `PBS_CONF_FILE` names, in the environment that the gateway's administrator gave it. */
const start = (programs: Programs): Effect.Effect<Start, WlmError> =>
  Effect.suspend(() => {
    const named = process.env["PBS_CONF_FILE"] ?? ""
    const env: Start["env"] = named === "" ? {} : { PBS_CONF_FILE: named }
    if (programs !== undefined) return Effect.succeed({ directory: programs, env })
    return Effect.tryPromise({ try: () => readFile(named === "" ? MACHINE : named, "utf8"), catch: messageOf }).pipe(
      Effect.catchAll((why) => (named === "" ? Effect.succeed("") : new WlmError(errorFields("WLM_MISSING", `The file that PBS_CONF_FILE names can't be read: ${why}`, { remedy: "Name PBS's configuration in it, or unset it where that is /etc/pbs.conf." })))),
      Effect.map((text) => {
        // Of several lines PBS takes the last one.
        const root = [...text.matchAll(/^[ \t]*PBS_EXEC=(\/.*?)\/?\s*$/gm)].at(-1)?.[1]
        return { directory: root === undefined ? undefined : nodePath.join(root, "bin"), env }
      })
    )
  })

/** Longer than PBS's own programs wait for a server that is away. */
const LONGEST = "90 seconds"

export interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one to its end; what it says is for the caller to judge. */
export const ask = (programs: Programs, name: string, args: ReadonlyArray<string>): Effect.Effect<Answer, WlmError> =>
  start(programs).pipe(
    Effect.flatMap(({ directory, env }) =>
      Effect.mapError(
        Process.output(directory === undefined ? name : nodePath.join(directory, name), args, undefined, env),
        (fault) => new WlmError(errorFields("WLM_MISSING", `PBS can't be asked: ${messageOf(fault)}`, { cause: fault }))
      )
    ),
    Effect.timeoutFail({ duration: LONGEST, onTimeout: () => new WlmError(errorFields("WLM_MISSING", `PBS's ${name} does not answer within ${LONGEST}`)) }),
    Effect.filterOrFail(
      ({ status, stderr }) => status === 0 || !AWAY.test(stderr),
      ({ stderr }) => new WlmError(errorFields("WLM_MISSING", `PBS's ${name} does not reach its server: ${said(stderr)}`))
    )
  )

/** What its programs say without a server, or a configuration. */
const AWAY = /cannot connect to server|connection refused|communication failure|pbs_iff|no default server|could not resolve|missing PBS_/i

/** What a program said, in one line. */
export const said = (stderr: string): string => printable(stderr.trim().replace(/\s*\n\s*/g, "; ").replace(/\.$/, "") || "it said nothing")
