/**
 * The service `Udi` over the native programs `shifter`, `shifter-check`, `setupRoot` and `unsetupRoot`.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { access, constants as fileModes } from "node:fs/promises"
import { constants } from "node:os"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { errorFields, errorTable, isErrorCode, messageOf, UdiError } from "../core/Errors.js"
import { type RunOptions, type RunResult, Udi } from "../core/Udi.js"

const Checks = Schema.parseJson(
  Schema.Struct({ ok: Schema.Boolean, checks: Schema.Array(Schema.Struct({ name: Schema.String, ok: Schema.Boolean, detail: Schema.String })) })
)
const OUTPUT_LIMIT = 16 * 1024 * 1024

/** The service over the programs below a prefix: `bin/shifter`, `bin/shifter-check`, `sbin/setupRoot`, `sbin/unsetupRoot`. */
export const layer = (prefix: string = "/usr"): Layer.Layer<Udi> => {
  const program = (name: string, directory = "bin") => nodePath.join(prefix, directory, name)
  const prepared = (name: string) =>
    Effect.tryPromise({
      try: () => access(program(name, "sbin"), fileModes.X_OK),
      catch: () => new UdiError(errorFields("PREPARE_UNAVAILABLE", `${program(name, "sbin")} is not installed`))
    }).pipe(Effect.zipRight(Effect.fail(new UdiError(errorFields("PREPARE_UNAVAILABLE", `${program(name, "sbin")} is of another version`)))))
  return Layer.succeed(
    Udi,
    Udi.of({
      check: execute(program("shifter-check"), ["node"], "capture").pipe(
        Effect.flatMap((result) =>
          Schema.decode(Checks)(result.stdout).pipe(
            Effect.mapError((error) => new UdiError(errorFields("NATIVE_FAILED", `${program("shifter-check")} node did not answer in its form (status ${result.status})`, { cause: error })))
          )
        ),
        Effect.map((answer) => answer.checks)
      ),
      run: (image, command, options = {}) => execute(program("shifter"), argumentsOf(image, command, options), options.stdio ?? "inherit").pipe(Effect.flatMap(refusal)),
      prepare: () => prepared("setupRoot"),
      teardown: () => prepared("unsetupRoot"),
      list: prepared("unsetupRoot")
    })
  )
}

const argumentsOf = (image: string, command: ReadonlyArray<string>, options: RunOptions): ReadonlyArray<string> => [
  `--image=${image}`,
  ...(options.workdir === undefined ? [] : [`--workdir=${options.workdir}`]),
  ...(options.env ?? []).map((entry) => `--env=${entry}`),
  ...(options.clearEnv === true ? ["--clearenv"] : []),
  ...(options.entrypoint === undefined || options.entrypoint === false ? [] : [options.entrypoint === true ? "--entrypoint" : `--entrypoint=${options.entrypoint}`]),
  "--",
  ...command
]

/** Runs a program. Interrupting sends it SIGTERM, and SIGKILL where that is not enough. */
const execute = (file: string, args: ReadonlyArray<string>, stdio: "inherit" | "capture"): Effect.Effect<RunResult, UdiError> =>
  Effect.async<RunResult, UdiError>((resume) => {
    // Standard error is always seen, so that a refusal can be told from the program's own status.
    const child = spawn(file, [...args], { stdio: [stdio === "inherit" ? "inherit" : "ignore", stdio === "inherit" ? "inherit" : "pipe", "pipe"] })
    const out: Array<Buffer> = []
    const err: Array<Buffer> = []
    let size = 0
    const keep = (list: Array<Buffer>) => (chunk: Buffer) => {
      size += chunk.length
      if (size <= OUTPUT_LIMIT) list.push(chunk)
    }
    child.stdout?.on("data", keep(out))
    child.stderr?.on("data", (chunk: Buffer) => {
      keep(err)(chunk)
      if (stdio === "inherit") process.stderr.write(chunk)
    })
    child.once("error", (error) =>
      resume(
        Effect.fail(
          new UdiError(
            errorFields("code" in error && error.code === "ENOENT" ? "NATIVE_MISSING" : "NATIVE_FAILED", `${file} can't be started: ${messageOf(error)}`, { cause: error })
          )
        )
      )
    )
    child.once("close", (status, signal) =>
      resume(
        Effect.succeed({
          status: status ?? 128 + (signal === null ? 0 : constants.signals[signal]),
          stdout: Buffer.concat(out).toString("utf8"),
          stderr: Buffer.concat(err).toString("utf8")
        })
      )
    )
    return Effect.promise(
      () =>
        new Promise<void>((gone) => {
          if (child.exitCode !== null || child.signalCode !== null) return gone()
          const last = setTimeout(() => child.kill("SIGKILL"), 5000)
          child.once("close", () => {
            clearTimeout(last)
            gone()
          })
          child.kill("SIGTERM")
        })
    )
  })

/** The helper's own refusals are errors; everything else is the program's result. */
const refusal = (result: RunResult): Effect.Effect<RunResult, UdiError> => {
  const match = /(?:^|\n)shifter: ([A-Z_]+): (.*)\n?$/.exec(result.stderr)
  const code = match?.[1] ?? ""
  if (match === null || !isErrorCode(code) || result.status !== errorTable[code].exit) return Effect.succeed(result)
  const { remedy } = errorTable[code]
  const said = match[2] ?? ""
  return Effect.fail(new UdiError(errorFields(code, said.endsWith(`. ${remedy}`) ? said.slice(0, -remedy.length - 2) : said.replace(/\.$/, ""))))
}
