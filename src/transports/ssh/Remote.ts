/**
 * Operations on the files of one connection, as `Files` has them, with an open file as the scope's.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SFTPWrapper } from "ssh2"
import { type Attributes, FileFault, ifThere, isFault, type Owner } from "../../core/ImagePath.js"
import { type Broken, canSync, said, type Session } from "./Connection.js"

/** Flags of SFTP's `open`. */
export const READ = 1
export const WRITE = 2
export const CREATE = 8
export const TRUNCATE = 16
export const EXCLUSIVE = 32

/** An open file over there. */
export interface Handle {
  readonly file: string
  readonly bytes: Buffer
}

const fault = (code: string, text: string) => new FileFault({ cause: Object.assign(new Error(`${code}: ${text}`), { code }) })

/** A file is closed with the scope. */
export const opened = (session: Session, file: string, flags: number): Effect.Effect<Handle, FileFault | Broken, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(session.ask<Buffer>(`opening ${file}`, (sftp, answer) => { sftp.open(file, flags, 0o600, answer) }), (bytes) => ({ file, bytes })),
    ({ bytes }) => Effect.ignore(done(session, `closing ${file}`, (sftp, answer) => { sftp.close(bytes, answer) }))
  )

/** Something that has no answer but that it is done. */
const told = (session: Session, what: string, send: (sftp: SFTPWrapper, answer: (error?: Error | null) => void) => void): Effect.Effect<void, FileFault | Broken> =>
  session.ask<undefined>(what, (sftp, answer) => { send(sftp, (error) => { answer(error, undefined) }) })

/** The same, and an interruption waits for it. */
const done = (session: Session, what: string, send: (sftp: SFTPWrapper, answer: (error?: Error | null) => void) => void): Effect.Effect<void, FileFault | Broken> =>
  Effect.uninterruptible(told(session, what, send))

/** Without following a last symbolic link. */
export const attributes = (session: Session, path: string): Effect.Effect<Attributes | undefined, FileFault | Broken> =>
  ifThere(session.ask<Attributes>(`looking at ${path}`, (sftp, answer) => { sftp.lstat(path, answer) }))

/** When a file was written last, in milliseconds since 1970. */
export const modified = (session: Session, path: string): Effect.Effect<number | undefined, FileFault | Broken> =>
  Effect.map(ifThere(session.ask<{ readonly mtime: number }>(`looking at ${path}`, (sftp, answer) => { sftp.lstat(path, answer) })), (found) =>
    found === undefined ? undefined : found.mtime * 1000
  )

/** Following symbolic links. */
export const target = (session: Session, path: string): Effect.Effect<Attributes | undefined, FileFault | Broken> =>
  ifThere(session.ask<Attributes>(`looking at ${path}`, (sftp, answer) => { sftp.stat(path, answer) }))

export const entries = (session: Session, directory: string): Effect.Effect<ReadonlyArray<string> | undefined, FileFault | Broken> =>
  Effect.map(
    ifThere(session.ask<ReadonlyArray<{ readonly filename: string }>>(`reading ${directory}`, (sftp, answer) => { sftp.readdir(directory, answer) })),
    (list) => list?.map(({ filename }) => filename)
  )

/** A regular file's attributes: asked for before it is opened, since a FIFO would hold the server for ever. */
const regular = (session: Session, file: string) =>
  Effect.flatMap(attributes(session, file), (found) =>
    found === undefined || found.isFile() ? Effect.succeed(found) : new FileFault({ cause: new Error("it is no regular file") }))

/** A regular file of at most so many bytes; undefined when it is not there. */
export const read = (session: Session, file: string, limit: number): Effect.Effect<Uint8Array | undefined, FileFault | Broken> =>
  Effect.gen(function* () {
    const found = yield* regular(session, file)
    if (found === undefined) return undefined
    if (found.size > limit) return yield* new FileFault({ cause: new Error(`it is larger than ${limit} bytes`) })
    return yield* ifThere(Effect.scoped(Effect.flatMap(opened(session, file, READ), (handle) => readAll(session, handle, found.size))))
  })

const readAll = (session: Session, handle: Handle, size: number) =>
  Effect.gen(function* () {
    const bytes = Buffer.alloc(size)
    for (let at = 0; at < size; ) {
      const count = yield* readAt(session, handle, bytes.subarray(at), at)
      if (count === 0) return bytes.subarray(0, at)
      at += count
    }
    return bytes
  })

const END_OF_FILE = 1

/** Fills as much of a buffer as there is; 0 at the end. */
export const readAt = (session: Session, { bytes, file }: Handle, into: Buffer, position: number): Effect.Effect<number, FileFault | Broken> =>
  session.ask<number>(`reading ${file}`, (sftp, answer) => {
    sftp.read(bytes, into, 0, into.length, position, (error, count) => {
      if (isEnd(error)) answer(undefined, 0)
      else answer(error, count)
    })
  })

const isEnd = (error: unknown): boolean => typeof error === "object" && error !== null && "code" in error && error.code === END_OF_FILE

/** Interruptible: what is still on its way is written before anything else that this connection is asked for. */
export const writeAt = (session: Session, { bytes, file }: Handle, from: Buffer, position: number): Effect.Effect<void, FileFault | Broken> =>
  told(session, `writing ${file}`, (sftp, answer) => { sftp.write(bytes, from, 0, from.length, position, answer) })

export const sizeOf = (session: Session, { bytes, file }: Handle): Effect.Effect<Attributes, FileFault | Broken> =>
  session.ask<Attributes>(`looking at ${file}`, (sftp, answer) => { sftp.fstat(bytes, answer) })

export const setMode = (session: Session, { bytes, file }: Handle, mode: number) => done(session, `changing the mode of ${file}`, (sftp, answer) => { sftp.fchmod(bytes, mode, answer) })

export const truncate = (session: Session, { bytes, file }: Handle) => done(session, `emptying ${file}`, (sftp, answer) => { sftp.fsetstat(bytes, { size: 0 }, answer) })

/** Root writes for the image owner; anyone else is the image owner. */
const give = (session: Session, { bytes, file }: Handle, { gid, uid }: Owner) =>
  session.me === 0 ? done(session, `changing the owner of ${file}`, (sftp, answer) => { sftp.fchown(bytes, uid, gid, answer) }) : Effect.void

/** Makes durable what a file holds, or a directory's entries, where the server can. */
export const sync = (session: Session, { bytes, file }: Handle) =>
  done(session, `making ${file} durable`, (sftp, answer) => {
    if (canSync(sftp)) sftp.ext_openssh_fsync(bytes, (error) => { answer(error) })
    else answer()
  })

/** Owner and mode of an open file, made durable. */
const owned = (session: Session, handle: Handle, mode: number, owner: Owner) =>
  Effect.gen(function* () {
    yield* give(session, handle, owner)
    yield* setMode(session, handle, mode)
    yield* sync(session, handle)
  })

export const own = (session: Session, file: string, mode: number, owner: Owner) =>
  Effect.gen(function* () {
    if ((yield* regular(session, file)) === undefined) return yield* fault("ENOENT", `there is no ${file} on ${session.host}`)
    yield* Effect.scoped(Effect.flatMap(opened(session, file, READ), (handle) => owned(session, handle, mode, owner)))
  })

/** `again`: what an attempt before began may be there. Nobody else makes a file of this name. */
export const write = (session: Session, again: boolean, file: string, bytes: Uint8Array, mode: number, owner: Owner) =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* opened(session, file, WRITE | CREATE | (again ? TRUNCATE : EXCLUSIVE))
      yield* Effect.uninterruptible(writeAt(session, handle, Buffer.from(bytes), 0))
      yield* owned(session, handle, mode, owner)
    })
  )

export const syncDirectory = (session: Session, directory: string) => Effect.scoped(Effect.flatMap(opened(session, directory, READ), (handle) => sync(session, handle)))

/** `again`: what is gone has its new name already. */
export const rename = (session: Session, again: boolean, from: string, to: string) => {
  const renamed = done(session, `renaming ${from}`, (sftp, answer) => { sftp.ext_openssh_rename(from, to, answer) })
  return again ? Effect.asVoid(ifThere(renamed)) : renamed
}

export const link = (session: Session, from: string, to: string) =>
  orThere(session, to, done(session, `linking ${from}`, (sftp, answer) => { sftp.ext_openssh_hardlink(from, to, answer) }))

/** The server has one word for all failures: whether it is that something is there is seen by looking. */
const orThere = <A>(session: Session, path: string, effect: Effect.Effect<A, FileFault | Broken>) =>
  Effect.catchIf(effect, isFault("FAILURE"), (failure) =>
    Effect.flatMap(attributes(session, path), (found) => Effect.fail(found === undefined ? failure : fault("EEXIST", `there is ${path} on ${session.host}`))))

/** True when it was there. */
export const unlink = (session: Session, file: string) =>
  Effect.map(ifThere(Effect.as(done(session, `removing ${file}`, (sftp, answer) => { sftp.unlink(file, answer) }), true)), (removed) => removed ?? false)

export const ownDirectory = (session: Session, directory: string, owner: Owner) =>
  Effect.gen(function* () {
    yield* orThere(session, directory, done(session, `making ${directory}`, (sftp, answer) => { sftp.mkdir(directory, { mode: 0o700 }, answer) })).pipe(
      Effect.catchIf(isFault("EEXIST"), () => Effect.void)
    )
    const found = yield* attributes(session, directory)
    if (found?.isDirectory() !== true) return yield* fault("ENOTDIR", `${directory} on ${session.host} is no directory`)
    yield* Effect.scoped(Effect.flatMap(opened(session, directory, READ), (handle) => Effect.zipRight(give(session, handle, owner), setMode(session, handle, 0o700))))
  })

const Room = Schema.Struct({ f_bsize: Schema.Number, f_frsize: Schema.Number, f_bfree: Schema.Number, f_bavail: Schema.Number, f_files: Schema.Number, f_ffree: Schema.Number })

/** Less than this is no room for anything. */
const ALMOST_NOTHING = 1024 * 1024

/** A failure where there is no room is told as such. */
export const orFull = <A, E, R>(session: Session, directory: string, effect: Effect.Effect<A, E | FileFault | Broken, R>) =>
  Effect.catchIf(effect, isFault("FAILURE"), (failure) =>
    Effect.gen(function* () {
      const answer = yield* session.ask<unknown>(`asking for the room of ${directory}`, (sftp, settle) => { sftp.ext_openssh_statvfs(directory, settle) }).pipe(
        Effect.catchTag("FileFault", () => Effect.succeed(undefined))
      )
      const room = Option.getOrUndefined(Schema.decodeUnknownOption(Room)(answer))
      const free = room === undefined ? Infinity : (session.me === 0 ? room.f_bfree : room.f_bavail) * room.f_frsize
      const isFull = free < ALMOST_NOTHING || (room !== undefined && room.f_files > 0 && room.f_ffree === 0)
      return yield* Effect.fail(isFull ? fault("ENOSPC", `no space left on ${session.host}`) : failure)
    }))

const HASHED = /(?:^|\n)([0-9a-f]{64}) +\S+\s*$/
/** As slow as a disk may be read. */
const BYTES_PER_SECOND = 1_000_000
const LEAST_SECONDS = 600

/** SHA-256 of a file, computed over there; the path is the configuration's and hex digits. */
export const sha256 = (session: Session, file: string, size: number): Effect.Effect<string, FileFault | Broken> =>
  Effect.flatMap(session.run(`sha256sum < ${quoted(file)}`, LEAST_SECONDS + size / BYTES_PER_SECOND), (answer) => {
    const digest = answer.status === 0 ? HASHED.exec(answer.stdout)?.[1] : undefined
    return digest === undefined ? new FileFault({ cause: new Error(`sha256sum of ${file} on ${session.host}: ${said(answer)}`) }) : Effect.succeed(digest)
  })

/** One word of a shell, whatever is in it. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** Whether a regular file is there and holds these bytes. */
export const holds = (session: Session, file: string, image: { readonly imageSize: number; readonly imageSha256: string }): Effect.Effect<boolean, FileFault | Broken> =>
  Effect.gen(function* () {
    const found = yield* attributes(session, file)
    return found !== undefined && found.isFile() && found.size === image.imageSize && (yield* sha256(session, file, image.imageSize)) === image.imageSha256
  })
