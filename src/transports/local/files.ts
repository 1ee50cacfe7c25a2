/**
 * File operations as effects. Each is awaited whatever happens, so that an interruption takes effect between two of them and nothing goes on
 * behind it; descriptors belong to scopes.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, open, rename, rm } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { systemCode } from "../../core/Errors.js"

/** What an operation of the file system failed with. */
export class FileFault extends Data.TaggedError("FileFault")<{ readonly cause: unknown }> {}

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** One operation. */
export const io = <A>(operation: () => Promise<A>): Effect.Effect<A, FileFault> =>
  Effect.uninterruptible(Effect.tryPromise({ try: operation, catch: (cause) => new FileFault({ cause }) }))

/** Whether an operation failed with one of these codes. */
export const isFault = (...codes: ReadonlyArray<string>) => (error: unknown): boolean => error instanceof FileFault && codes.includes(systemCode(error.cause) ?? "")

/** What is not there is `undefined`. */
export const ifThere = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A | undefined, E> =>
  Effect.catchIf(effect, isFault("ENOENT", "ENOTDIR"), () => Effect.succeed(undefined))

/** A descriptor, closed with the scope. A last symbolic link is not followed. */
export const opened = (file: string, flags: number, mode?: number): Effect.Effect<FileHandle, FileFault, Scope.Scope> =>
  Effect.acquireRelease(
    io(() => open(file, flags | constants.O_NOFOLLOW, mode)),
    (handle) => Effect.promise(() => handle.close().catch(() => undefined))
  )

/** Makes a directory's entries durable. */
export const syncDirectory = (directory: string): Effect.Effect<void, FileFault> =>
  Effect.scoped(Effect.flatMap(opened(directory, constants.O_RDONLY | constants.O_DIRECTORY), (handle) => io(() => handle.sync())))

/** Root writes for the image owner; anyone else is the image owner. */
export const give = (handle: FileHandle, owner: Owner): Effect.Effect<void, FileFault> =>
  process.geteuid?.() === 0 ? io(() => handle.chown(owner.uid, owner.gid)) : Effect.void

/** A regular file of at most so many bytes; undefined when it is not there. */
export const readSmall = (file: string, limit: number): Effect.Effect<Buffer | undefined, FileFault> =>
  ifThere(
    Effect.scoped(
      Effect.gen(function* () {
        const handle = yield* opened(file, constants.O_RDONLY | constants.O_NONBLOCK)
        const found = yield* io(() => handle.stat())
        if (!found.isFile()) return yield* new FileFault({ cause: new Error("it is no regular file") })
        if (found.size > limit) return yield* new FileFault({ cause: new Error(`it is larger than ${limit} bytes`) })
        return yield* io(() => handle.readFile())
      })
    )
  )

const PIECE = 1024 * 1024

/** Size and SHA-256 of what a descriptor holds. */
export const hashed = (handle: FileHandle): Effect.Effect<{ readonly size: number; readonly sha256: string }, FileFault> =>
  Effect.gen(function* () {
    const hash = createHash("sha256")
    const piece = Buffer.allocUnsafeSlow(PIECE)
    for (let size = 0; ; ) {
      const { bytesRead } = yield* io(() => handle.read(piece, 0, PIECE, size))
      if (bytesRead === 0) return { size, sha256: hash.digest("hex") }
      hash.update(piece.subarray(0, bytesRead))
      size += bytesRead
    }
  })

/** Replaces a small file: a temporary file on the same file system, made durable, renamed. */
export const replace = (file: string, bytes: Uint8Array, mode: number, owner: Owner, temporary: string): Effect.Effect<void, FileFault> =>
  Effect.gen(function* () {
    const handle = yield* opened(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
    yield* io(() => handle.writeFile(bytes))
    yield* give(handle, owner)
    yield* io(() => handle.chmod(mode))
    yield* io(() => handle.sync())
    yield* io(() => rename(temporary, file))
  }).pipe(
    Effect.scoped,
    Effect.onError(() => Effect.promise(() => rm(temporary, { force: true }).catch(() => undefined))),
    Effect.zipRight(syncDirectory(nodePath.dirname(file)))
  )
