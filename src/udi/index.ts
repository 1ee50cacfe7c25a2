/**
 * The service `Udi` over the native programs `shifter`, `shifter-check`, `setupRoot` and `unsetupRoot`.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { access, constants as fileModes } from "node:fs/promises"
import { constants } from "node:os"
import * as nodePath from "node:path"
import type { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { errorFields, isErrorCode, messageOf, printable, systemCode, UdiError } from "../core/Errors.js"
import * as Native from "../core/Native.js"
import { type JobRequest, type PreparedRoot, type PreparedState, type PrepareRequest, type RunOptions, type RunResult, Udi } from "../core/Udi.js"

const Checks = Schema.parseJson(
  Schema.Struct({ ok: Schema.Boolean, checks: Schema.Array(Schema.Struct({ name: Schema.String, ok: Schema.Boolean, detail: Schema.String, advice: Schema.optional(Schema.Boolean) })) })
)

const Request = Schema.parseJson(
  Schema.Union(
    Schema.Struct({ volumes: Schema.Array(Schema.String), modules: Schema.Array(Schema.String) }),
    Schema.Struct({ error: Schema.Struct({ code: Schema.String, message: Schema.String }) })
  )
)

/** Of each captured stream. */
const OUTPUT_LIMIT = 16 * 1024 * 1024
/** How long what was asked to end may take. */
const GRACE_MILLIS = 5000
/** The descriptor on which the helper tells a refusal: the program that it runs never has it, so it can't feign one. */
const REPORT_FD = 3

/** Where the native programs are looked for when no prefix is named: where the guides install them, where packages do, then where this package built them. */
const prefixes: ReadonlyArray<string> = ["/usr/local", "/usr"]

/**
 * The service over the programs below a prefix: `bin/shifter`, `bin/shifter-check`, `sbin/setupRoot`, `sbin/unsetupRoot`. Without a prefix, a
 * program is that of `/usr/local` where it is there, else that of `/usr`, else the one that `npx shifter-build-native` made. A `shifter` that
 * has no setuid bit says so on standard error and runs the image in a user namespace.
 */
export const layer = (prefix?: string): Layer.Layer<Udi> => {
  const program = (name: string) => {
    const files = (prefix === undefined ? prefixes : [prefix]).map((each) => nodePath.join(each, "bin", name))
    const built = prefix === undefined ? Native.built(name) : undefined
    return find(name, built === undefined ? files : [...files, built])
  }
  /** Runs a program to its end; what it prints. */
  const told = (file: string, args: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const { status, stderr, stdout } = yield* Effect.flatMap(execute(file, [`--report-fd=${REPORT_FD}`, ...args], "capture"), (outcome) => refusal(file, outcome))
      if (status === 0) return stdout
      return yield* new UdiError(errorFields("NATIVE_FAILED", `${file} ended with status ${status}: ${printable(stderr.trimEnd() || "it said nothing")}`))
    })
  const asCaller = (name: string, args: ReadonlyArray<string>) => Effect.flatMap(program(name), (file) => told(file, args))
  const asRoot = (name: string, args: ReadonlyArray<string>) =>
    find(name, (prefix === undefined ? prefixes : [prefix]).map((each) => nodePath.join(each, "sbin", name))).pipe(
      Effect.mapError((error) => new UdiError(errorFields("PREPARE_UNAVAILABLE", error.what))),
      Effect.flatMap((file) => told(file, args))
    )
  return Layer.succeed(
    Udi,
    Udi.of({
      check: Effect.flatMap(program("shifter-check"), (file) =>
        execute(file, ["node"], "capture").pipe(
          Effect.flatMap(({ result }) =>
            Schema.decode(Checks)(result.stdout).pipe(
              Effect.mapError((error) => new UdiError(errorFields("NATIVE_FAILED", `${file} node did not answer in its form (status ${result.status})`, { cause: error })))
            )
          ),
          Effect.map((answer) => answer.checks)
        )
      ),
      run: (image, command, options = {}) =>
        Effect.flatMap(program("shifter"), (file) =>
          Effect.flatMap(execute(file, argumentsOf(image, command, options), options.stdio ?? "inherit"), (outcome) => refusal(file, outcome))
        ),
      explain: (image, command, options = {}) =>
        Effect.gen(function* () {
          const file = yield* program("shifter")
          const outcome = yield* execute(file, ["--explain", ...argumentsOf(image, command, options)], "capture")
          return (yield* refusal(file, outcome)).stdout
        }),
      resolve: (image, user) =>
        Effect.zipRight(typed(image), user === undefined ? asCaller("shifter", [`--resolve=${image}`]) : asRoot("setupRoot", [`--uid=${user.uid}`, `--gid=${user.gid}`, `--resolve=${image}`])).pipe(
          Effect.flatMap((said) =>
            /^[^\n]+\n$/.test(said) ? Effect.succeed(said.slice(0, -1)) : new UdiError(errorFields("NATIVE_FAILED", `The native programs tell no image id of ${image} but "${said}"`))
          )
        ),
      validate: (request) =>
        Effect.gen(function* () {
          const file = yield* program("shifter-check")
          const { result } = yield* execute(file, ["request", ...rootArguments(request)], "capture")
          const answer = yield* Schema.decode(Request)(result.stdout).pipe(
            Effect.mapError((error) => new UdiError(errorFields("NATIVE_FAILED", `${file} request did not answer in its form (status ${result.status})`, { cause: error })))
          )
          if (!("error" in answer)) return answer
          const { code, message } = answer.error
          return yield* new UdiError(errorFields(isErrorCode(code) ? code : "NATIVE_FAILED", message.replace(/\.$/, "")))
        }),
      prepare: (request) => Effect.zipRight(typed(request.image), Effect.asVoid(asRoot("setupRoot", setupArguments(request)))),
      teardown: ({ uid, ...request }) => Effect.asVoid(asRoot("unsetupRoot", [...jobArguments(request), ...(uid === undefined ? [] : [`--uid=${uid}`])])),
      list: (request = {}) => Effect.map(asRoot("unsetupRoot", ["--list", ...jobArguments(request)]), preparedRoots)
    })
  )
}

const typed = (image: string): Effect.Effect<void, UdiError> =>
  image.includes(":")
    ? Effect.void
    : Effect.fail(new UdiError(errorFields("USAGE", `The image "${image}" has no type`, { remedy: "Write TYPE:REFERENCE, such as docker:debian:12 or id:ID." })))

/** The first of the files that is there. */
const find = (name: string, files: ReadonlyArray<string>): Effect.Effect<string, UdiError> =>
  Effect.firstSuccessOf(files.map((file) => Effect.as(Effect.tryPromise(() => access(file, fileModes.X_OK)), file))).pipe(
    Effect.mapError(() => new UdiError(errorFields("NATIVE_MISSING", `The program ${name} is not installed: there is no ${files.join(" and no ")} to run`)))
  )

const argumentsOf = (image: string, command: ReadonlyArray<string>, options: RunOptions): ReadonlyArray<string> => [
  `--report-fd=${REPORT_FD}`,
  `--image=${image}`,
  ...rootArguments(options),
  ...(options.writable === true ? ["--writable"] : []),
  ...(options.workdir === undefined ? [] : [`--workdir=${options.workdir}`]),
  ...(options.envFile ?? []).map((file) => `--env-file=${file}`),
  ...(options.env ?? []).map((entry) => `--env=${entry}`),
  ...(options.clearEnv === true ? ["--clearenv"] : []),
  ...(options.entrypoint === undefined || options.entrypoint === false ? [] : [options.entrypoint === true ? "--entrypoint" : `--entrypoint=${options.entrypoint}`]),
  "--",
  ...command
]

/** What a root is made with besides its image. */
const rootArguments = ({ modules, volumes }: Pick<RunOptions, "volumes" | "modules">): ReadonlyArray<string> => [
  ...(volumes ?? []).map((volume) => `--volume=${volume}`),
  ...(modules === undefined ? [] : [`--module=${modules.length === 0 ? "none" : modules.join(",")}`])
]

const jobArguments = ({ job, runDirectory }: JobRequest): ReadonlyArray<string> => [
  ...(job === undefined ? [] : [`--job=${job}`]),
  ...(runDirectory === undefined ? [] : [`--run-directory=${runDirectory}`])
]

const setupArguments = (request: PrepareRequest): ReadonlyArray<string> => {
  const colon = request.image.indexOf(":")
  return [
    ...[`--uid=${request.uid}`, `--gid=${request.gid}`],
    ...(request.user === undefined ? [] : [`--user=${request.user}`]),
    ...jobArguments(request),
    ...rootArguments(request),
    ...(request.nodes === undefined || request.nodes.length === 0 ? [] : [`--nodes=${request.nodes.map(({ name, tasks }) => `${name}/${tasks}`).join(" ")}`]),
    ...["--", request.image.slice(0, colon), request.image.slice(colon + 1)]
  ]
}

const states: ReadonlyArray<PreparedState> = ["ready", "in preparation", "of another mount namespace", "gone", "left over", "damaged", "of a newer version"]
/** A line of `unsetupRoot --list`: job, uid, image, age and state; an image may hold blanks. */
const LISTED = new RegExp(`^(\\S+) +(\\d+) +(.+?) +(?:-|\\d+[dhms]) (${states.join("|")})$`)

const preparedRoots = (list: string): ReadonlyArray<PreparedRoot> =>
  list.split("\n").flatMap((line) => {
    const [, job, uid, image, said] = LISTED.exec(line) ?? []
    const state = states.find((each) => each === said)
    return job === undefined || state === undefined ? [] : [{ job, uid: Number(uid), image: image === "-" ? undefined : image, state }]
  })

interface Outcome {
  readonly result: RunResult
  /** What was told on {@link REPORT_FD}. */
  readonly report: string
}

interface Running {
  readonly child: ChildProcess
  /** Whether it leads a process group of its own. */
  readonly leads: boolean
  /** Whether it has ended and nothing holds its output any more. */
  readonly closed: () => boolean
  readonly outcome: Promise<Either.Either<Outcome, UdiError>>
}

/** Runs a program. Interrupting ends it, and when its output is captured everything that it started and that did not leave its process group. */
const execute = (file: string, args: ReadonlyArray<string>, stdio: "inherit" | "capture"): Effect.Effect<Outcome, UdiError> =>
  Effect.acquireUseRelease(
    start(file, args, stdio),
    ({ outcome }) => Effect.flatten(Effect.promise(() => outcome)),
    end
  )

const start = (file: string, args: ReadonlyArray<string>, stdio: "inherit" | "capture"): Effect.Effect<Running, UdiError> =>
  Effect.async((resume) => {
    // On the caller's terminal a group of its own would be in the background, where it can neither read nor be interrupted by a key.
    const leads = stdio === "capture"
    const child = spawn(file, [...args], {
      stdio: [...(leads ? (["ignore", "pipe", "pipe"] as const) : (["inherit", "inherit", "inherit"] as const)), "pipe"],
      detached: leads
    })
    let isClosed = false
    child.once("close", () => {
      isClosed = true
    })
    const running = { child, leads, closed: () => isClosed, outcome: outcomeOf(file, child) }
    child.once("spawn", () => resume(Effect.succeed(running)))
    child.once("error", (error) =>
      resume(
        Effect.fail(
          new UdiError(errorFields(systemCode(error) === "ENOENT" ? "NATIVE_MISSING" : "NATIVE_FAILED", `${file} can't be started: ${messageOf(error)}`, { cause: error }))
        )
      )
    )
  })

/** Listens from the start: Node discards what a child that has ended wrote before anyone listened. */
const outcomeOf = (file: string, child: ChildProcess): Running["outcome"] =>
  new Promise((resolve) => {
    const captured = (stream: unknown, name: string) => {
      const chunks: Array<Buffer> = []
      let size = 0
      ;(stream as Readable | null | undefined)?.on("data", (chunk: Buffer) => {
        size += chunk.length
        if (size <= OUTPUT_LIMIT) chunks.push(chunk)
        else resolve(Either.left(new UdiError(errorFields("OUTPUT_TOO_LARGE", `${file}: the program printed more than ${OUTPUT_LIMIT} bytes on ${name}, and was ended`))))
      })
      return () => Buffer.concat(chunks).toString("utf8")
    }
    const stdout = captured(child.stdout, "standard output")
    const stderr = captured(child.stderr, "standard error")
    const report = captured(child.stdio[REPORT_FD], "its report")
    child.once("close", (code, signal) => {
      const status = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
      resolve(Either.right({ result: { status, stdout: stdout(), stderr: stderr() }, report: report() }))
    })
  })

/**
 * Ends what still runs: SIGTERM, and SIGKILL for what is there five seconds later. A signal is tried again until it is taken, since the helper
 * can't be signalled by its caller while it has root's rights.
 */
const end = ({ child, closed, leads, outcome }: Running): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (closed()) return
    const exited = new Promise<void>((resolve) => {
      if (isOver(child)) resolve()
      else child.once("exit", () => resolve())
    })
    let told = false
    // Nothing tells when the last of a process group is gone.
    for (const deadline = Date.now() + GRACE_MILLIS; isThere(child, leads) && Date.now() < deadline; yield* Effect.sleep("20 millis")) {
      told = told || signal(child, leads, "SIGTERM") !== "refused"
    }
    signal(child, leads, "SIGKILL")
    yield* Effect.promise(() => exited)
    // A program outside of the group may hold the other ends.
    for (const stream of child.stdio) stream?.destroy()
    yield* Effect.promise(() => outcome)
  })

const isOver = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const isThere = (child: ChildProcess, leads: boolean): boolean => (leads ? signal(child, leads, 0) !== "gone" : !isOver(child))

/** Signals a process, or the group it leads. */
const signal = (child: ChildProcess, leads: boolean, name: NodeJS.Signals | 0): "taken" | "refused" | "gone" => {
  if (child.pid === undefined || (!leads && isOver(child))) return "gone"
  try {
    process.kill(leads ? -child.pid : child.pid, name)
    return "taken"
  } catch (error) {
    return systemCode(error) === "EPERM" ? "refused" : "gone"
  }
}

/** A refusal of the helper is an error; everything else is the program's result. */
const refusal = (file: string, { report, result }: Outcome): Effect.Effect<RunResult, UdiError> => {
  if (report === "") return Effect.succeed(result)
  const [, code = "", what = ""] = /^([A-Z_]+) ([^\n]*)\n$/.exec(report) ?? []
  if (isErrorCode(code)) return Effect.fail(new UdiError(errorFields(code, what.replace(/\.$/, ""))))
  return Effect.fail(new UdiError(errorFields("NATIVE_FAILED", `${file} told something else than a known refusal: ${printable(report.trimEnd())}`)))
}
