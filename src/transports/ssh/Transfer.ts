/**
 * The bytes of images, there and back: in pieces, several on their way at once and no more than a fixed number, so that memory is constant
 * and the line is full. What a lost connection cut off goes on at the first byte that was not confirmed.
 *
 * @module
 */
import { constants } from "node:fs"
import { type FileHandle, open, rm } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { errorFields, messageOf, storageCode, TransportError } from "../../core/Errors.js"
import { type Fault, FileFault } from "../../core/ImagePath.js"
import type { SshSettings } from "../../core/SshSettings.js"
import type { ImageFile } from "../../core/Verify.js"
import { Broken, said, type Session } from "./Connection.js"
import type { Reached } from "./Hosts.js"
import * as Remote from "./Remote.js"

/** Pieces on their way at once. */
const PIECES = 16
const LFS_SECONDS = 60

/** A file of this machine. */
const local = (failing: Failing, file: string, flags: number): Effect.Effect<FileHandle, TransportError, Scope.Scope> =>
  Effect.acquireRelease(
    here(failing, file, () => open(file, flags | constants.O_NOFOLLOW, 0o600)),
    (handle) => Effect.promise(() => handle.close().catch(() => undefined))
  )

/** What a file of this machine that can't be read or written is called. */
type Failing = "PUBLISH_FAILED" | "EXPORT_FAILED"

const here = <A>(failing: Failing, file: string, operation: () => Promise<A>): Effect.Effect<A, TransportError> =>
  Effect.uninterruptible(
    Effect.tryPromise({ try: operation, catch: (cause) => new TransportError(errorFields(storageCode(cause, failing), `The file ${file}: ${messageOf(cause)}`, { cause })) })
  )

/** How far a transfer is: all before `confirmed` has been moved. */
interface Progress {
  readonly confirmed: number
  /** Ends of what was moved beyond it, by beginning. */
  readonly beyond: ReadonlyMap<number, number>
}
const begun: Progress = { confirmed: 0, beyond: new Map() }

const moved = ({ beyond, confirmed }: Progress, from: number, to: number): Progress => {
  const ends = new Map(beyond).set(from, to)
  for (let end = ends.get(confirmed); end !== undefined; end = ends.get(confirmed)) {
    ends.delete(confirmed)
    confirmed = end
  }
  return { confirmed, beyond: ends }
}

/** Moves what is not confirmed, in pieces. */
const pieces = <E>(reached: Reached, size: number, progress: Ref.Ref<Progress>, move: (piece: Buffer, at: number) => Effect.Effect<void, E>): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    const { piece, take } = reached.throttle
    let next = (yield* Ref.updateAndGet(progress, ({ confirmed }) => ({ ...begun, confirmed }))).confirmed
    const worker = Effect.gen(function* () {
      const buffer = Buffer.allocUnsafeSlow(Math.min(piece, Math.max(size, 1)))
      while (next < size) {
        const from = next
        const to = Math.min(from + buffer.length, size)
        next = to
        yield* take(to - from)
        yield* move(buffer.subarray(0, to - from), from)
        yield* Ref.update(progress, (before) => moved(before, from, to))
      }
    })
    yield* Effect.all(Array.from({ length: PIECES }, () => worker), { concurrency: "unbounded", discard: true })
  })

/** Tries to the end, on one connection after the other; each says whether it got further. */
const resumed = <A>(reached: Reached, progress: Ref.Ref<Progress>, attempt: (session: Session) => Effect.Effect<A, FileFault | TransportError | Broken, Scope.Scope>): Effect.Effect<A, Fault> =>
  reached.use((session) =>
    Effect.gen(function* () {
      const { confirmed: before } = yield* Ref.get(progress)
      return yield* Effect.scoped(attempt(session)).pipe(
        Effect.catchTag("Broken", (broken) =>
          Effect.flatMap(Ref.get(progress), ({ confirmed }) => new Broken({ host: broken.host, why: broken.why, progressed: confirmed > before })))
      )
    }))

/** Fills a buffer from a local file. */
const fill = (handle: FileHandle, file: string, piece: Buffer, at: number): Effect.Effect<void, TransportError> =>
  here("PUBLISH_FAILED", file, async () => {
    for (let got = 0; got < piece.length; ) {
      const { bytesRead } = await handle.read(piece, got, piece.length - got, at + got)
      if (bytesRead === 0) throw new Error("it became shorter")
      got += bytesRead
    }
  })

/**
 * Sends a file to a place on the image path that is this pull's alone, makes it durable, and has its hash computed there: what is not what was
 * read back here fails with `IMAGE_VERIFY_FAILED`.
 */
export const send = (reached: Reached, file: string, staged: string, image: ImageFile): Effect.Effect<void, Fault> =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* local("PUBLISH_FAILED", file, constants.O_RDONLY)
      const progress = yield* Ref.make(begun)
      yield* resumed(reached, progress, (session) =>
        Remote.orFull(session, reached.system.imagePath, Effect.gen(function* () {
          const far = yield* stagedFile(session, reached, staged, image.imageSize, progress)
          yield* pieces(reached, image.imageSize, progress, (piece, at) => Effect.zipRight(fill(handle, file, piece, at), Remote.writeAt(session, far, piece, at)))
          yield* Remote.sync(session, far)
        })))
      const isRight = yield* reached.use((session) => Remote.holds(session, staged, image))
      if (!isRight) {
        return yield* new TransportError(
          errorFields("IMAGE_VERIFY_FAILED", `What was sent to ${staged} of ${reached.system.name} is not what is there`, {
            remedy: "Run it again; if it comes back, check the file system there, and memory and disk of both machines."
          })
        )
      }
    })
  )

/** The staged file: made with its stripes and for its owner alone before the first byte, or gone on with. */
const stagedFile = (session: Session, reached: Reached, staged: string, size: number, progress: Ref.Ref<Progress>) =>
  Effect.gen(function* () {
    const { stripe } = reached.ssh
    const isThere = (yield* Remote.attributes(session, staged)) !== undefined
    if (!isThere && stripe !== undefined) yield* striped(session, reached, stripe, staged)
    const far = yield* Remote.opened(session, staged, Remote.WRITE | (isThere || stripe !== undefined ? 0 : Remote.CREATE | Remote.EXCLUSIVE))
    const found = yield* Remote.sizeOf(session, far)
    if ((found.mode & 0o777) !== 0o600) yield* Remote.setMode(session, far, 0o600)
    if (found.size > size) yield* Remote.truncate(session, far)
    // What a host had confirmed may be lost with it.
    yield* Ref.update(progress, ({ confirmed }) => ({ ...begun, confirmed: found.size > size ? 0 : Math.min(confirmed, found.size) }))
    return far
  })

/** Runs `lfs`, which has nothing to say but what went wrong. */
const lfs = (session: Session, { system }: Reached, command: string) =>
  Effect.flatMap(Effect.uninterruptible(session.run(command, LFS_SECONDS)), (answer) =>
    answer.status === 0
      ? Effect.void
      : new TransportError(
          errorFields("IMAGE_PATH_UNUSABLE", `The host ${session.host} of ${system.name} can't make striped files on ${system.imagePath}: ${said(answer)}`, {
            remedy: 'Leave "stripe" out where the image path is not on Lustre; else install lfs of its client on that host.'
          })
        ))

/** Checks that files can be striped, where they are to be. */
export const canStripe = (reached: Reached): Effect.Effect<void, Fault> =>
  reached.ssh.stripe === undefined
    ? Effect.void
    : reached.use((session) => lfs(session, reached, `lfs getstripe -d ${Remote.quoted(reached.system.imagePath)}`))

type Stripe = NonNullable<SshSettings["stripe"]>

/** Makes an empty file of this layout. */
const striped = (session: Session, reached: Reached, { count, size }: Stripe, staged: string) => {
  const layout = [...(count === undefined ? [] : ["-c", String(count)]), ...(size === undefined ? [] : ["-S", String(size)])].join(" ")
  return lfs(session, reached, `umask 077; lfs setstripe ${layout} ${Remote.quoted(staged)}`)
}

/** A regular file of the image path, opened to be read. */
const image = (session: Session, file: string) =>
  Effect.gen(function* () {
    const found = yield* Remote.attributes(session, file)
    if (found === undefined || !found.isFile()) return yield* new FileFault({ cause: new Error(`${file} on ${session.host} is no regular file`) })
    return { far: yield* Remote.opened(session, file, Remote.READ), size: found.size }
  })

/** Fills as much of a buffer as there is. */
const fillFrom = (session: Session, far: Remote.Handle, piece: Buffer, at: number) =>
  Effect.gen(function* () {
    let got = 0
    while (got < piece.length) {
      const count = yield* Remote.readAt(session, far, piece.subarray(got), at + got)
      if (count === 0) break
      got += count
    }
    return got
  })

/** Reads a file of the image path in pieces, each on whatever connection there is: what is published under a name is the same bytes always. */
export const reading = (reached: Reached, file: string): Effect.Effect<(at: number, length: number) => Effect.Effect<Uint8Array, Fault>, Fault> =>
  Effect.as(reached.use((session) => Effect.scoped(image(session, file))), (at, length) =>
    reached.use((session) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { far } = yield* image(session, file)
          const bytes = Buffer.allocUnsafeSlow(length)
          for (let from = 0; from < length; ) {
            const piece = bytes.subarray(from, from + reached.throttle.piece)
            yield* reached.throttle.take(piece.length)
            const got = yield* fillFrom(session, far, piece, at + from)
            from += got
            if (got < piece.length) return bytes.subarray(0, from)
          }
          return bytes
        })
      )
    )
  )

/** Fetches a file of the image path to one of this machine, which vanishes with the scope. */
export const fetch = (reached: Reached, file: string, to: string): Effect.Effect<string, Fault, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.promise(() => rm(to, { force: true }).catch(() => undefined)))
    const progress = yield* Ref.make(begun)
    yield* Effect.scoped(
      Effect.gen(function* () {
        const handle = yield* local("EXPORT_FAILED", to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL)
        yield* resumed(reached, progress, (session) =>
          Effect.gen(function* () {
            const { far, size } = yield* image(session, file)
            yield* pieces(reached, size, progress, (piece, at) =>
              Effect.gen(function* () {
                const got = yield* fillFrom(session, far, piece, at)
                if (got < piece.length) return yield* new FileFault({ cause: new Error(`${file} on ${session.host} became shorter`) })
                yield* here("EXPORT_FAILED", to, async () => {
                  for (let put = 0; put < piece.length; ) put += (await handle.write(piece, put, piece.length - put, at + put)).bytesWritten
                })
              }))
          }))
      })
    )
    return to
  })
