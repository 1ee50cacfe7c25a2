/**
 * Logins as `docker login` keeps them: in `config.json` of a directory, or with a helper program that it names.
 *
 * @see https://docs.docker.com/reference/cli/docker/login/#credential-stores
 * @see https://github.com/docker/docker-credential-helpers
 * @module
 */
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { open, readFile, realpath, rename, rm } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { makeDirectory } from "../../core/Disk.js"
import { errorFields, ImageError, messageOf, storageCode, systemCode } from "../../core/Errors.js"
import type { Credentials } from "../../core/Image.js"
import type { Login } from "./Authentication.js"
import * as FileLock from "../../core/FileLock.js"

const Entry = Schema.Struct({
  auth: Schema.optional(Schema.String),
  username: Schema.optional(Schema.String),
  password: Schema.optional(Schema.String),
  identitytoken: Schema.optional(Schema.String)
})
const Helper = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, { message: () => "the name of a helper program, without docker-credential-" }))
const Config = Schema.Struct(
  {
    auths: Schema.optional(Schema.Record({ key: Schema.String, value: Entry })),
    credHelpers: Schema.optional(Schema.Record({ key: Schema.String, value: Helper })),
    credsStore: Schema.optional(Schema.Union(Helper, Schema.Literal("")))
  },
  // What else docker keeps there stays as it is.
  { key: Schema.String, value: Schema.Unknown }
)
type Config = typeof Config.Type

const HelperAnswer = Schema.parseJson(Schema.Struct({ Username: Schema.String, Secret: Schema.String }))

const HELPER_MILLIS = 30_000
const HELPER_OUTPUT = 64 * 1024
/** What a helper calls a user whose secret is an identity token. */
const TOKEN_USER = "<token>"

const fileOf = (directory: string) => nodePath.join(directory, "config.json")

/** The login of a registry, if there is one. */
export const find = (directory: string, host: string): Effect.Effect<Login | undefined, ImageError> =>
  Effect.gen(function* () {
    const config = yield* read(directory)
    const helper = helperOf(config, host)
    const answer = helper === undefined ? undefined : yield* run(helper, "get", serverOf(host))
    // A helper says by its status that it has none; docker then looks no further, but an old file may still hold one.
    if (helper !== undefined && answer?.status === 0) {
      const { Secret, Username } = yield* Schema.decode(HelperAnswer)(answer.stdout).pipe(
        Effect.mapError(() => failed(`The program docker-credential-${helper} did not answer with a login`))
      )
      return Username === TOKEN_USER ? { identityToken: Redacted.make(Secret) } : { username: Username, password: Redacted.make(Secret) }
    }
    const entry = Object.entries(config.auths ?? {}).find(([key]) => hostOf(key) === host)?.[1]
    if (entry === undefined) return undefined
    if (entry.identitytoken !== undefined && entry.identitytoken !== "") return { identityToken: Redacted.make(entry.identitytoken) }
    if (entry.auth === undefined || entry.auth === "") {
      return entry.username === undefined || entry.password === undefined ? undefined : { username: entry.username, password: Redacted.make(entry.password) }
    }
    const text = Buffer.from(entry.auth, "base64").toString()
    const colon = text.indexOf(":")
    if (colon < 1) return yield* failed(`The login of ${host} in ${fileOf(directory)} is not valid`)
    return { username: text.slice(0, colon), password: Redacted.make(text.slice(colon + 1).replace(/\0+$/, "")) }
  })

/** Keeps a login: with the helper that the file names for the registry, else in the file. Where it is kept. */
export const keep = (directory: string, host: string, credentials: Credentials): Effect.Effect<string, ImageError> =>
  Effect.gen(function* () {
    const config = yield* read(directory)
    const helper = helperOf(config, host)
    const password = Redacted.value(credentials.password)
    if (helper !== undefined) {
      const said = yield* run(helper, "store", JSON.stringify({ ServerURL: serverOf(host), Username: credentials.username, Secret: password }))
      if (said.status !== 0) return yield* failed(`The program docker-credential-${helper} did not keep the login of ${host} (status ${said.status})`)
      return `docker-credential-${helper}`
    }
    const auth = Buffer.from(`${credentials.username}:${password}`).toString("base64")
    yield* update(directory, (others) => [...others.filter(([key]) => hostOf(key) !== host), [serverOf(host), { auth }]])
    return fileOf(directory)
  })

/** Forgets a login. Whether there was one. */
export const forget = (directory: string, host: string): Effect.Effect<boolean, ImageError> =>
  Effect.gen(function* () {
    const config = yield* read(directory)
    const helper = helperOf(config, host)
    const erased = helper !== undefined && (yield* run(helper, "get", serverOf(host))).status === 0 && (yield* run(helper, "erase", serverOf(host))).status === 0
    const isKept = Object.keys(config.auths ?? {}).some((key) => hostOf(key) === host)
    if (isKept) yield* update(directory, (all) => all.filter(([key]) => hostOf(key) !== host))
    return erased || isKept
  })

const hubHosts: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"])

/** The registry that a key of the file means: a host, or a URL of old. */
const hostOf = (key: string): string => {
  const host = (key.replace(/^https?:\/\//, "").split("/")[0] ?? "").toLowerCase()
  return hubHosts.has(host) ? "docker.io" : host
}

/** How docker names a registry to its helpers and in its file. */
export const serverOf = (host: string): string => (host === "docker.io" ? "https://index.docker.io/v1/" : host)

const helperOf = (config: Config, host: string): string | undefined => {
  const own = Object.entries(config.credHelpers ?? {}).find(([key]) => hostOf(key) === host)?.[1]
  return own ?? (config.credsStore === "" ? undefined : config.credsStore)
}

const failed = (what: string, cause?: unknown) => new ImageError(errorFields("CONFIG_INVALID", what, { remedy: "Log in again with shifterimg login, or docker login.", cause }))

const text = (directory: string): Promise<string> =>
  readFile(fileOf(directory), "utf8").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return "{}"
    throw error
  })

// The reason could quote a secret.
const decode = (directory: string, json: string): Effect.Effect<Config, ImageError> =>
  Effect.mapError(Schema.decode(Schema.parseJson(Config))(json), () => failed(`${fileOf(directory)} is no configuration of docker`))

const read = (directory: string): Effect.Effect<Config, ImageError> =>
  Effect.tryPromise({ try: () => text(directory), catch: (error) => failed(`The logins in ${fileOf(directory)} can't be read: ${messageOf(error)}`, error) }).pipe(
    Effect.flatMap((json) => decode(directory, json))
  )

type Auths = ReadonlyArray<readonly [key: string, entry: typeof Entry.Type]>

/** Changes the logins of the file. One process at a time does, and what docker itself changed meanwhile is seen. */
const update = (directory: string, change: (auths: Auths) => Auths): Effect.Effect<void, ImageError> => {
  const trying = <A>(f: () => Promise<A>) =>
    Effect.tryPromise({
      try: f,
      catch: (error) => new ImageError(errorFields(storageCode(error, "CONFIG_INVALID"), `The logins can't be written to ${fileOf(directory)}: ${messageOf(error)}`, { remedy: "Make it writable.", cause: error }))
    })
  return Effect.scoped(
    Effect.gen(function* () {
      yield* trying(() => makeDirectory(directory, true))
      const file = yield* trying(() => realpath(fileOf(directory)).catch(() => fileOf(directory)))
      const isMine = yield* Effect.acquireRelease(trying(() => FileLock.acquire(`${file}.lock`)), ({ release }) => Effect.promise(release))
      const replaced = Effect.gen(function* () {
        const before = yield* trying(() => text(directory))
        const config = yield* decode(directory, before)
        const after = { ...config, auths: Object.fromEntries(change(Object.entries(config.auths ?? {}))) }
        return yield* trying(() => replace(file, `${JSON.stringify(after, undefined, "\t")}\n`, async () => (await text(directory)) === before && (await isMine.held())))
      })
      yield* Effect.repeat(replaced, { until: (done) => done })
    })
  )
}

/** Replaces the file in one step, so that no reader sees half of it, if it still may. */
const replace = async (file: string, content: string, may: () => Promise<boolean>): Promise<boolean> => {
  const temporary = `${file}.${randomBytes(8).toString("hex")}`
  const handle = await open(temporary, "wx", 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
    const allowed = await may()
    if (allowed) await rename(temporary, file)
    return allowed
  } finally {
    await handle.close()
    await rm(temporary, { force: true })
  }
}

/** Runs a helper, without a shell. What it says is never part of an error. */
const run = (helper: string, action: "get" | "store" | "erase", input: string): Effect.Effect<{ readonly status: number; readonly stdout: string }, ImageError> =>
  Effect.async((resume) => {
    const program = `docker-credential-${helper}`
    const child = spawn(program, [action], { stdio: ["pipe", "pipe", "ignore"] })
    const chunks: Array<Buffer> = []
    let size = 0
    const timer = setTimeout(() => {
      child.kill("SIGKILL")
      resume(Effect.fail(failed(`The program ${program} did not answer within ${HELPER_MILLIS / 1000} s`)))
    }, HELPER_MILLIS)
    child.stdout.on("data", (chunk: Buffer) => {
      size += chunk.length
      if (size > HELPER_OUTPUT) child.kill("SIGKILL")
      else chunks.push(chunk)
    })
    child.stdin.on("error", () => undefined)
    child.once("error", (error) => {
      clearTimeout(timer)
      resume(Effect.fail(failed(`The program ${program} can't be started: ${systemCode(error) ?? "unknown error"}`)))
    })
    child.once("close", (status) => {
      clearTimeout(timer)
      resume(Effect.succeed({ status: status ?? 255, stdout: Buffer.concat(chunks).toString() }))
    })
    child.stdin.end(input)
    return Effect.sync(() => {
      clearTimeout(timer)
      child.kill("SIGKILL")
    })
  })
