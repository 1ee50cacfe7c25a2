/**
 * File operations as effects. Each is awaited whatever happens, so that an interruption takes effect between two of them and nothing goes on
 * behind it; descriptors belong to scopes.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, link, lstat, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { makeDirectory } from "../../core/Disk.js"
import { FileFault, type Files, ifThere, isFault, type Owner } from "../../core/ImagePath.js"
import type { System } from "../../core/Site.js"

/** One operation. */
export const io = <A>(operation: () => Promise<A>): Effect.Effect<A, FileFault> =>
  Effect.uninterruptible(Effect.tryPromise({ try: operation, catch: (cause) => new FileFault({ cause }) }))

/** A descriptor, closed with the scope. A last symbolic link is not followed. */
const opened = (file: string, flags: number, mode?: number): Effect.Effect<FileHandle, FileFault, Scope.Scope> =>
  Effect.acquireRelease(
    io(() => open(file, flags | constants.O_NOFOLLOW, mode)),
    (handle) => Effect.promise(() => handle.close().catch(() => undefined))
  )

/** Uses a descriptor. */
const withFile = <A>(file: string, flags: number, use: (handle: FileHandle) => Effect.Effect<A, FileFault>, mode?: number): Effect.Effect<A, FileFault> =>
  Effect.scoped(Effect.flatMap(opened(file, flags, mode), use))

/** Opens a regular file once, so that what is removed meanwhile is read to its end; a FIFO is not waited for. */
export const reading = (file: string): Effect.Effect<(at: number, length: number) => Effect.Effect<Uint8Array, FileFault>, FileFault, Scope.Scope> =>
  Effect.gen(function* () {
    const handle = yield* opened(file, constants.O_RDONLY | constants.O_NONBLOCK)
    if (!(yield* io(() => handle.stat())).isFile()) return yield* new FileFault({ cause: new Error(`${file} is no regular file`) })
    return (at, length) =>
      io(async () => {
        const piece = Buffer.allocUnsafeSlow(length)
        let got = 0
        while (got < length) {
          const { bytesRead } = await handle.read(piece, got, length - got, at + got)
          if (bytesRead === 0) break
          got += bytesRead
        }
        return piece.subarray(0, got)
      })
  })

const me = () => process.geteuid?.() ?? 0

/** Root writes for the image owner; anyone else is the image owner. */
const give = (handle: FileHandle, owner: Owner): Effect.Effect<void, FileFault> => (me() === 0 ? io(() => handle.chown(owner.uid, owner.gid)) : Effect.void)

const PIECE = 1024 * 1024

/** SHA-256 of what a descriptor holds. */
const hashed = (handle: FileHandle): Effect.Effect<string, FileFault> =>
  Effect.gen(function* () {
    const hash = createHash("sha256")
    const piece = Buffer.allocUnsafeSlow(PIECE)
    for (let size = 0; ; ) {
      const { bytesRead } = yield* io(() => handle.read(piece, 0, PIECE, size))
      if (bytesRead === 0) return hash.digest("hex")
      hash.update(piece.subarray(0, bytesRead))
      size += bytesRead
    }
  })

export const files = (system: System): Files => ({
  me: Effect.sync(me),
  // Only a person's own is made.
  root: Effect.zipRight(system.isPersonal ? io(() => makeDirectory(system.imagePath, true)) : Effect.void, ifThere(io(() => stat(system.imagePath)))),
  attributes: (path) => ifThere(io(() => lstat(path))),
  modified: (path) => ifThere(Effect.map(io(() => lstat(path)), ({ mtimeMs }) => mtimeMs)),
  entries: (directory) => ifThere(io(() => readdir(directory))),
  read: (file, limit) =>
    ifThere(
      withFile(file, constants.O_RDONLY | constants.O_NONBLOCK, (handle) =>
        Effect.gen(function* () {
          const found = yield* io(() => handle.stat())
          if (!found.isFile()) return yield* new FileFault({ cause: new Error("it is no regular file") })
          if (found.size > limit) return yield* new FileFault({ cause: new Error(`it is larger than ${limit} bytes`) })
          return yield* io(() => handle.readFile())
        }))
    ),
  write: (file, bytes, mode, owner) =>
    withFile(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, (handle) =>
      Effect.gen(function* () {
        yield* io(() => handle.writeFile(bytes))
        yield* give(handle, owner)
        yield* io(() => handle.chmod(mode))
        yield* io(() => handle.sync())
      }), 0o600),
  rename: (from, to) => io(() => rename(from, to)),
  link: (from, to) => io(() => link(from, to)),
  unlink: (file) => Effect.map(ifThere(Effect.as(io(() => unlink(file)), true)), (removed) => removed ?? false),
  ownDirectory: (directory, owner) =>
    Effect.gen(function* () {
      yield* io(() => mkdir(directory, { mode: 0o700 })).pipe(Effect.catchIf(isFault("EEXIST"), () => Effect.void))
      yield* withFile(directory, constants.O_RDONLY | constants.O_DIRECTORY, (handle) => Effect.zipRight(give(handle, owner), io(() => handle.chmod(0o700))))
    }),
  own: (file, mode, owner) =>
    withFile(file, constants.O_RDONLY, (handle) =>
      Effect.gen(function* () {
        yield* give(handle, owner)
        yield* io(() => handle.chmod(mode))
        yield* io(() => handle.sync())
      })),
  sync: (directory) => withFile(directory, constants.O_RDONLY | constants.O_DIRECTORY, (handle) => io(() => handle.sync())),
  holds: (file, { imageSha256, imageSize }) =>
    withFile(file, constants.O_RDONLY | constants.O_NONBLOCK, (handle) =>
      Effect.gen(function* () {
        const found = yield* io(() => handle.stat())
        return found.isFile() && found.size === imageSize && (yield* hashed(handle)) === imageSha256
      })).pipe(Effect.catchIf(isFault("ENOENT", "ELOOP", "ENXIO"), () => Effect.succeed(false)))
})
