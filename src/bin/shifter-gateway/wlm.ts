/**
 * `shifter-gateway wlm …`: the files by which a workload manager runs jobs in images, and whether a machine is set up by them.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { chmod, mkdir, rename, rm, writeFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { type AdapterName, adapters, isAdapterName } from "../../adapters.js"
import { errorFields, errorTable, messageOf, printable, storageCode, systemCode, WlmError } from "../../core/Errors.js"
import * as Site from "../../core/Site.js"
import type { NodeCheck } from "../../core/Udi.js"
import type { RenderedFile, WlmAdapter } from "../../core/Wlm.js"
import { failed, ran, usageFault } from "./failure.js"
import { siteOf } from "./serve.js"
import type { Values } from "./usage.js"

export const render = (name: string | undefined, values: Values): Promise<number> => {
  const out = values.out
  if (out === undefined) return Promise.resolve(failed(usageFault("wlm render needs --out DIR, where the files are written"), values.json === true))
  return withAdapter(name, values, (adapter) =>
    Effect.gen(function* () {
      const files = yield* adapter.render
      yield* Effect.forEach(files, (file) => write(out, file), { discard: true })
      process.stdout.write(values.json === true ? `${JSON.stringify({ files: files.map((file) => nodePath.join(out, file.name)) })}\n` : files.map((file) => `${nodePath.join(out, file.name)}\n`).join(""))
      return 0
    })
  )
}

export const check = (name: string | undefined, values: Values): Promise<number> =>
  withAdapter(name, values, (adapter) =>
    Effect.map(adapter.check, (checks) => {
      const ok = checks.every((each) => each.ok || each.advice === true)
      process.stdout.write(values.json === true ? `${JSON.stringify({ ok, checks })}\n` : checks.map(line).join(""))
      return ok ? 0 : errorTable.WLM_MISSING.exit
    })
  )

const line = ({ advice, detail, name, ok }: NodeCheck): string => `${ok ? "ok      " : advice === true ? "advice  " : "MISSING "}${name}: ${printable(detail)}\n`

const withAdapter = (name: string | undefined, values: Values, f: (adapter: WlmAdapter) => Effect.Effect<number, WlmError>): Promise<number> => {
  if (name === undefined || !isAdapterName(name)) {
    return Promise.resolve(failed(usageFault(name === undefined ? "the workload manager is not named" : `there is no adapter "${name}"`, `There are ${Object.keys(adapters).join(", ")}.`), values.json === true))
  }
  return ran(Effect.flatMap(adapterOf(name, values), f), values.json === true)
}

const adapterOf = (name: AdapterName, values: Values) =>
  Effect.gen(function* () {
    const site = yield* siteOf(values.config)
    return adapters[name](site, yield* Site.system(site, values.system), [])
  })

/** Whole or not at all, so that no daemon reads half of one. */
const write = (directory: string, { content, mode, name }: RenderedFile): Effect.Effect<void, WlmError> =>
  Effect.tryPromise({
    try: async () => {
      const file = nodePath.join(directory, name)
      const own = `${file}.${randomBytes(6).toString("hex")}`
      // Those above it are for the administrator to make.
      await mkdir(nodePath.dirname(file), { mode: 0o755 }).catch((error: unknown) => {
        if (systemCode(error) !== "EEXIST") throw error
      })
      try {
        await writeFile(own, content, { flag: "wx", mode })
        // Whatever the umask is: daemons of other accounts read them.
        await chmod(own, mode)
        await rename(own, file)
      } finally {
        await rm(own, { force: true })
      }
    },
    catch: (error) => new WlmError(errorFields(storageCode(error, "EXPORT_FAILED"), `${nodePath.join(directory, name)} can't be written: ${messageOf(error)}`, { cause: error, remedy: "Name a directory that you may write to." }))
  })
