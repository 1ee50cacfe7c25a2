/**
 * The files of an image that lies on this machine: a directory, or an archive read in place.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { constants } from "node:fs"
import { access, type FileHandle, open } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Digest, hex } from "../../core/Digest.js"
import { errorFields, ImageError, messageOf, systemCode } from "../../core/Errors.js"
import type { BlobRange } from "../../core/Merge.js"

/** Files by relative path. A file that is not there fails with `LAYOUT_INVALID`. */
export interface ImageFiles {
  /** For messages: the directory or archive. */
  readonly name: string
  readonly has: (file: string) => Effect.Effect<boolean>
  readonly range: (file: string) => Effect.Effect<BlobRange, ImageError>
}

/** The files below a directory. */
export const directory = (path: string): ImageFiles => ({
  name: path,
  has: (file) => Effect.promise(() => access(nodePath.join(path, file)).then(() => true, () => false)),
  range: (file) =>
    Effect.scoped(Effect.map(regular(nodePath.join(path, file)), ({ size }) => ({ file: nodePath.join(path, file), offset: 0, length: size })))
})

/** Opens a regular file to read; nothing else is waited for or followed into a device. */
export const regular = (file: string): Effect.Effect<{ readonly handle: FileHandle; readonly size: number }, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => open(file, constants.O_RDONLY | constants.O_NONBLOCK), catch: (error) => unreadable(file, error) }),
      (opened) => Effect.promise(() => opened.close())
    )
    const found = yield* Effect.tryPromise({ try: () => handle.stat(), catch: (error) => unreadable(file, error) })
    if (!found.isFile()) return yield* unreadable(file, new Error("it is no regular file"))
    return { handle, size: found.size }
  })

/** A small file whole, at most so many bytes. */
export const read = (files: ImageFiles, file: string, limit: number): Effect.Effect<Uint8Array, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const range = yield* files.range(file)
      if (range.length > limit) {
        return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `${file} of ${files.name} has ${range.length} bytes, more than ${limit}`))
      }
      const { handle } = yield* regular(range.file)
      const bytes = Buffer.alloc(range.length)
      const { bytesRead } = yield* Effect.tryPromise({ try: () => handle.read(bytes, 0, range.length, range.offset), catch: (error) => unreadable(range.file, error) })
      return bytesRead === range.length ? bytes : yield* unreadable(range.file, new Error("it became shorter while it was read"))
    })
  )

/** Checks a blob where it lies: its size and digest. */
export const verified = (
  files: ImageFiles,
  file: string,
  expected: { readonly digest: Digest; readonly size: number },
  what: string
): Effect.Effect<BlobRange, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const range = yield* files.range(file)
      if (range.length !== expected.size) {
        return yield* new ImageError(errorFields("DIGEST_MISMATCH", `${what} has ${range.length} bytes, but its manifest says ${expected.size}`))
      }
      const { handle } = yield* regular(range.file)
      const actual = yield* Effect.tryPromise({ try: (signal) => digestOf(handle, range, signal), catch: (error) => unreadable(range.file, error) })
      return actual === hex(expected.digest) ? range : yield* new ImageError(errorFields("DIGEST_MISMATCH", `${what} has the digest sha256:${actual}`))
    })
  )

const PIECE = 1024 * 1024

const digestOf = async (handle: FileHandle, range: BlobRange, signal: AbortSignal): Promise<string> => {
  const hash = createHash("sha256")
  const piece = Buffer.allocUnsafeSlow(PIECE)
  for (let done = 0; done < range.length; ) {
    signal.throwIfAborted()
    const { bytesRead } = await handle.read(piece, 0, Math.min(PIECE, range.length - done), range.offset + done)
    if (bytesRead === 0) throw new Error("it became shorter while it was read")
    hash.update(piece.subarray(0, bytesRead))
    done += bytesRead
  }
  return hash.digest("hex")
}

export const unreadable = (file: string, error: unknown): ImageError =>
  new ImageError(
    errorFields("LAYOUT_INVALID", systemCode(error) === "ENOENT" ? `${file} does not exist` : `${file} can't be read: ${messageOf(error)}`, { cause: error })
  )
