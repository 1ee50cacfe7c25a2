/**
 * Whether a machine is set up as the files say: by what is there, and by what the server tells of its hook.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { asRendered, ofRoot } from "../../core/Installed.js"
import type { WlmError } from "../../core/Errors.js"
import type { NodeCheck } from "../../core/Udi.js"
import { said } from "../../core/WlmPrograms.js"
import { ask, type Programs } from "./Programs.js"
import { alarmOf, EVENTS, type Installation, render, RESOURCES } from "./Rendering.js"

/** What this needs is looked for on the server: nodes are sent the hook by it. */
export const check = (installation: Installation, programs: Programs): Effect.Effect<ReadonlyArray<NodeCheck>, WlmError> =>
  Effect.gen(function* () {
    const { directory, prefix } = installation
    const needed = [
      ["wrapper", `${prefix}/libexec/shifter/shifter-pbs`],
      ["shifter", `${prefix}/bin/shifter`],
      ["shifter-check", `${prefix}/bin/shifter-check`],
      ["setupRoot", `${prefix}/sbin/setupRoot`],
      ["unsetupRoot", `${prefix}/sbin/unsetupRoot`]
    ] as const
    const found = yield* Effect.forEach(needed, ([name, file]) => Effect.promise(() => ofRoot(name, file)))
    const imported = (yield* render(installation)).filter(({ name }) => name.startsWith("shifter"))
    const files = yield* Effect.forEach(imported, ({ content, mode, name }) => Effect.promise(() => asRendered(`${directory}/${name}`, content, mode)))
    const resources = yield* Effect.forEach(RESOURCES, (name) => resource(programs, name))
    const hook = imported.find(({ name }) => name === "shifter_hook.py")
    return [...found, ...files, ...resources, yield* attributes(installation, programs), yield* content(programs, hook?.content ?? "")]
  })

const asked = (programs: Programs, name: string, command: string, judge: (printed: string) => NodeCheck): Effect.Effect<NodeCheck> =>
  ask(programs, "qmgr", ["-c", command]).pipe(
    Effect.map(({ status, stderr, stdout }) => (status === 0 ? judge(stdout) : { name, ok: false, detail: said(stderr) })),
    Effect.catchAll((error) => Effect.succeed({ name, ok: false, detail: error.message }))
  )

/** Without the flag m, nodes do not see it; with r, users can't set it. */
const resource = (programs: Programs, name: string) =>
  asked(programs, name, `list resource ${name}`, (printed) => {
    const flag = /^\s*flag = (\S*)/m.exec(printed)?.[1] ?? ""
    const ok = /^\s*type = string$/m.test(printed) && flag.includes("m") && !/[rih]/.test(flag)
    return { name, ok, detail: ok ? `string, flag ${flag}` : `it is not of type string with flag m alone: ${said(printed)}` }
  })

const attributes = (installation: Installation, programs: Programs) =>
  asked(programs, "hook", "list hook shifter", (printed) => {
    // Longer values go on in the next line, behind a tab.
    const text = printed.replaceAll(/\n\t/g, "")
    const value = (key: string) => new RegExp(`^ +${key} = (.*)$`, "m").exec(text)?.[1] ?? ""
    const missing = EVENTS.filter((event) => !value("event").split(",").map((each) => each.trim()).includes(event))
    const faults = [
      ...(value("enabled") === "true" ? [] : ["it is not enabled"]),
      ...(missing.length === 0 ? [] : [`it has no event ${missing.join(", ")}`]),
      ...(Number(value("alarm")) >= alarmOf(installation) ? [] : [`its alarm is less than ${alarmOf(installation)}`]),
      ...(value("user") === "pbsadmin" ? [] : ["its user is not pbsadmin"])
    ]
    return { name: "hook", ok: faults.length === 0, detail: faults.length === 0 ? "enabled, with all events" : faults.join("; ") }
  })

const content = (programs: Programs, wanted: string) =>
  asked(programs, "hook's program", "export hook shifter application/x-python default", (printed) => {
    const ok = printed.trimEnd() === wanted.trimEnd()
    return { name: "hook's program", ok, detail: ok ? "what is rendered" : "the server has another one: import shifter_hook.py again" }
  })
