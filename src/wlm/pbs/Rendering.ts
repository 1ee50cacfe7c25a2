/**
 * The files by which a site makes images a part of its PBS. None of them holds a word of a user's.
 *
 * @module
 */
import { readFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, messageOf, WlmError } from "../../core/Errors.js"
import * as Native from "../../core/Native.js"
import type { RenderedFile } from "../../core/Wlm.js"

/** What the files depend on. */
export interface Installation {
  readonly prefix: string
  readonly directory: string
  readonly runDirectory: string
  readonly seconds: number
  readonly every: number
  readonly excludeHosts: ReadonlyArray<string>
  readonly excludeVntypes: ReadonlyArray<string>
}

export const RESOURCES = ["shifter_image", "shifter_volumes", "shifter_modules", "shifter_writable"] as const
export const EVENTS = ["queuejob", "modifyjob", "execjob_begin", "execjob_launch", "execjob_epilogue", "execjob_end", "execjob_abort", "exechost_periodic"] as const

/** The version of the settings that the hook reads. */
const VERSION = 1

/** Longer than every program of an event together, so that PBS never ends the hook in the middle of one. */
export const alarmOf = ({ seconds }: Installation): number => 2 * seconds + 60

export const render = (installation: Installation): Effect.Effect<ReadonlyArray<RenderedFile>, WlmError> =>
  Effect.map(hook, (content) => [
    { name: "shifter_hook.py", mode: 0o644, content },
    { name: "shifter_hook.json", mode: 0o644, content: settings(installation) },
    { name: "shifter.qmgr", mode: 0o644, content: commands(installation) },
    { name: "torque.prologue", mode: 0o755, content: prologue(installation) },
    { name: "torque.epilogue", mode: 0o755, content: epilogue(installation) }
  ])

const hook: Effect.Effect<string, WlmError> = Effect.tryPromise({
  try: () => readFile(nodePath.join(Native.packageRoot() ?? ".", "hooks/pbs/shifter_hook.py"), "utf8"),
  catch: (error) => new WlmError(errorFields("WLM_MISSING", `The hook of PBS is not in this package: ${messageOf(error)}`, { cause: error, remedy: "Install shifter-sdk again." }))
})

const settings = ({ excludeHosts, excludeVntypes, prefix, runDirectory, seconds }: Installation): string =>
  `${JSON.stringify({ version: VERSION, prefix, runDirectory, seconds, excludeHosts, excludeVntypes }, undefined, 2)}\n`

const commands = (installation: Installation): string =>
  [
    // qmgr goes on after what is there already, so that this is good for an update too.
    ...RESOURCES.map((name) => `create resource ${name} type = string, flag = m`),
    "create hook shifter",
    `set hook shifter event = "${EVENTS.join(",")}"`,
    `set hook shifter alarm = ${alarmOf(installation)}`,
    `set hook shifter freq = ${installation.every}`,
    "set hook shifter order = 1",
    `import hook shifter application/x-config default ${installation.directory}/shifter_hook.json`,
    `import hook shifter application/x-python default ${installation.directory}/shifter_hook.py`,
    "set hook shifter enabled = true",
    ""
  ].join("\n")

/** Torque tells the resources that were asked for in the fifth argument; classic PBS tells none, and then there is nothing to prepare. */
const prologue = ({ prefix }: Installation): string => `#!/bin/sh
# For Torque, and PBS without hooks: mom_priv/prologue. Prepares the root of a job that says -l other=shifter_image:TYPE:REFERENCE.
# What it is given is never read as a command. A root that can't be prepared is no reason to fail: shifter builds its own.
image=
rest=$5,
while [ -n "$rest" ]; do
  case \${rest%%,*} in
    other=shifter_image:*) image=\${rest%%,*} image=\${image#other=shifter_image:} ;;
  esac
  rest=\${rest#*,}
done
case $image in
  *:*) ;;
  *) exit 0 ;;
esac
uid=$(id -u -- "$2") && gid=$(getent group -- "$3" | cut -d: -f3) || exit 0
${prefix}/sbin/setupRoot -U "$uid" -G "$gid" --job="$1" -- "\${image%%:*}" "\${image#*:}"
exit 0
`

const epilogue = ({ prefix }: Installation): string => `#!/bin/sh
# For Torque, and PBS without hooks: mom_priv/epilogue. Takes down what was prepared for the job.
${prefix}/sbin/unsetupRoot --job="$1"
exit 0
`
