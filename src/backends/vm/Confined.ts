/**
 * Where a disk is worked on: a directory of the pull's own, and programs that see nothing but it. They have no network and no right; where the gateway
 * is root they become an account that has nothing.
 *
 * @module
 */
import { chmod, chown, lstat, mkdir } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { errorFields, ImageError, messageOf, storageCode } from "../../core/Errors.js"
import type { Workspace } from "../../core/Image.js"
import * as Native from "../../core/Native.js"
import * as Process from "../../core/Process.js"
import type { Vm } from "../../core/VmSettings.js"

/** What a program is given beside its arguments. */
export interface Limits {
  readonly fileBytes: number
  readonly seconds: number
  readonly memoryMiB: number
  /** Whether it makes namespaces of its own, for which it needs `/proc`. */
  readonly proc?: boolean | undefined
}

export interface Room {
  readonly directory: string
  /** The path of a file of it. */
  readonly at: (name: string) => string
  /** The same, as a program of the room knows it. */
  readonly inside: (name: string) => string
  readonly start: (command: readonly [string, ...ReadonlyArray<string>], limits: Limits) => Effect.Effect<Process.Process, ImageError, Scope.Scope>
  /** Starts a program that is root until it has done what root alone can, and becomes the account of its option `--user` itself. */
  readonly startAsRoot: (command: readonly [string, ...ReadonlyArray<string>]) => Effect.Effect<Process.Process, ImageError, Scope.Scope>
}

interface Account {
  readonly uid: number
  readonly gid: number
}

/** Makes the directory, below the scratch directory of a pull. */
export const room = (workspace: Workspace, settings: Vm): Effect.Effect<Room, ImageError> =>
  Effect.gen(function* () {
    const directory = nodePath.join(workspace.scratch, "disk")
    const account = process.getuid?.() === 0 ? yield* accountOf(settings.account) : undefined
    yield* Effect.tryPromise({
      try: async () => {
        await mkdir(directory, { recursive: true, mode: 0o700 })
        if (account !== undefined) await chown(directory, account.uid, account.gid)
      },
      catch: (error) => unusable(directory, error)
    })
    return {
      directory,
      at: (name) => nodePath.join(directory, name),
      inside: (name) => nodePath.join("/room", name),
      start: ([program, ...args], { fileBytes, memoryMiB, proc, seconds }) =>
        started(
          workspace.program("shifter-confined"),
          ["--directory", directory, "--file-bytes", String(fileBytes), "--seconds", String(seconds), "--memory", String(memoryMiB)],
          account === undefined ? [] : userOf(account),
          proc === true ? ["--proc", "yes"] : [],
          ["--", program, ...args]
        ),
      startAsRoot: ([program, ...args]) => (account === undefined ? Effect.fail(rootNeeded()) : started(program, args, userOf(account)))
    }
  })

const userOf = ({ gid, uid }: Account): ReadonlyArray<string> => ["--user", `${uid}:${gid}`]

const started = (program: string, ...args: ReadonlyArray<ReadonlyArray<string>>): Effect.Effect<Process.Process, ImageError, Scope.Scope> =>
  Process.scoped(program, args.flat(), { stdin: "ignore", stdout: "pipe" }).pipe(
    Effect.mapError((fault) => new ImageError(errorFields("TOOL_MISSING", `The disk can't be read: ${fault.message}`, { remedy: Native.buildRemedy, cause: fault })))
  )

const rootNeeded = (): ImageError =>
  new ImageError(
    errorFields("CONFIG_INVALID", 'The disk can\'t be read: "vm.reader" is "kernel", which mounts it, and this is not root', { remedy: 'Set "vm.reader" to "uml", or run the gateway as root.' })
  )

/** Lets the programs read a file of the directory, and no more: it may be another name of an upload. */
export const readable = (file: string): Effect.Effect<void, ImageError> => Effect.tryPromise({ try: () => chmod(file, 0o444), catch: (error) => unusable(file, error) })

/** Refuses what a program left that is no regular file: it has read what a stranger made. */
export const regular = (file: string): Effect.Effect<{ readonly size: number }, ImageError> =>
  Effect.flatMap(Effect.tryPromise({ try: () => lstat(file), catch: (error) => unusable(file, error) }), (status) =>
    status.isFile() && status.nlink === 1 ? Effect.succeed(status) : Effect.fail(new ImageError(errorFields("READER_FAILED", `${file} is no regular file`)))
  )

/** A file that can't be made or read. */
export const unusable = (file: string, error: unknown): ImageError =>
  new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be used: ${messageOf(error)}`, { cause: error }))

const accountOf = (name: string): Effect.Effect<Account, ImageError> =>
  Effect.gen(function* () {
    const { stdout } = yield* Process.output("getent", ["passwd", "--", name]).pipe(
      Effect.mapError((fault) => new ImageError(errorFields("TOOL_MISSING", `The account ${name} can't be looked up: ${fault.message}`, { cause: fault, remedy: "Install getent." })))
    )
    const [, , uid = "", gid = ""] = stdout.split(":")
    if (!/^[1-9][0-9]*$/.test(uid) || !/^[1-9][0-9]*$/.test(gid)) {
      return yield* new ImageError(errorFields("CONFIG_INVALID", `There is no account ${name} without rights to read disks with`, { remedy: 'Name one in "vm.account".' }))
    }
    return { uid: Number(uid), gid: Number(gid) }
  })
