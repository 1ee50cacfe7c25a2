/**
 * The service `Uploads`: files that come in pieces, below `<state>/uploads/<id>`. What is told to be here is on the disk, whatever ends the
 * process or the machine; the next piece goes on from there. An upload is its owner's alone: for all others it does not exist.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto"
import { createReadStream } from "node:fs"
import { open, readdir, readFile, rename, rm, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { checked } from "./Checked.js"
import { Digest } from "./Digest.js"
import { makeDirectory } from "./Disk.js"
import { errorFields, GatewayError, messageOf, storageCode, systemCode } from "./Errors.js"
import * as FileLock from "./FileLock.js"
import { Id } from "./ImageRecord.js"
import * as ImportSettings from "./ImportSettings.js"
import type { Site } from "./Site.js"

/** A new upload. */
export interface UploadRequest {
  /** uid of whose it is. */
  readonly owner: number
  /** For people: the name of the file. */
  readonly name: string
  readonly bytes: number
  /** What its bytes must have, in hex. */
  readonly sha256?: string | undefined
}

/** Begins the name of every place where uploads lie. */
export const PLACE = "uploads-"

/** How an upload stands. */
export interface UploadStatus {
  readonly id: string
  readonly name: string
  readonly bytes: number
  /** Bytes that are here, durably: the next ones begin at this offset. */
  readonly offset: number
  /** Whether all bytes are here, and are what they should be. */
  readonly complete: boolean
  /** Of all bytes, once it is complete. */
  readonly digest: Digest | undefined
  /** When it is removed if nothing is added, in milliseconds since 1970. */
  readonly expires: number
}

/** The file of a complete upload. */
export interface UploadedFile {
  readonly path: string
  readonly bytes: number
  readonly digest: Digest
}

export class Uploads extends Context.Tag("shifter-sdk/Uploads")<
  Uploads,
  {
    /** Begins an upload. Fails with `LIMIT_EXCEEDED` above what the site allows for one file or one user, and with `ACCESS_DENIED` for who may not import. */
    readonly create: (request: UploadRequest) => Effect.Effect<UploadStatus, GatewayError>
    /**
     * Adds bytes at an offset, which must be the one that `status` tells: fails with `UPLOAD_CONFLICT` otherwise, also when another writer was
     * faster, and with `QUEUE_FULL` where he writes to too many at once. What came before a failure of the stream stays. The last byte completes the upload; where its hash is not what was said, the upload is
     * removed, with `DIGEST_MISMATCH`.
     */
    readonly append: <E>(id: string, owner: number, offset: number, bytes: Stream.Stream<Uint8Array, E>) => Effect.Effect<UploadStatus, GatewayError | E>
    /** Fails with `UPLOAD_NOT_FOUND`, for another's too. */
    readonly status: (id: string, owner: number) => Effect.Effect<UploadStatus, GatewayError>
    readonly cancel: (id: string, owner: number) => Effect.Effect<void, GatewayError>
    /** The file of a complete upload; `UPLOAD_CONFLICT` for one that is not. */
    readonly file: (id: string, owner: number) => Effect.Effect<UploadedFile, GatewayError>
    /** Where uploads lie, by a name that no other place has: who sees the same place sees the same uploads. */
    readonly place: Effect.Effect<string, GatewayError>
    /** Removes what has expired; how many uploads. */
    readonly sweep: Effect.Effect<number, GatewayError>
  }
>() {}

const Request = Schema.Struct({
  owner: Id,
  // eslint-disable-next-line no-control-regex
  name: Schema.String.pipe(Schema.pattern(/^[^\u0000-\u001f\u007f]{1,255}$/, { message: () => "1 to 255 characters, none of them a control character" })),
  bytes: Schema.NonNegativeInt,
  sha256: Schema.optional(Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/, { message: () => "64 lower-case hex digits" })))
})

/** What is kept of an upload beside its bytes. */
const State = Schema.parseJson(Schema.Struct({ version: Schema.Literal(1), ...Request.fields, offset: Schema.NonNegativeInt, digest: Schema.optional(Digest) }))
type State = typeof State.Type

/** Bytes that are made durable at once; as many are sent again after a cut. */
const PIECE = 8 * 1024 * 1024
/** Of one user, at once. */
const UPLOADS = 100
/** Of one user, written to at once by one process: each holds a piece in memory. */
const WRITERS = 8

export const layer = (site: Site): Layer.Layer<Uploads> => Layer.sync(Uploads, () => make(site))

export const make = (site: Site): typeof Uploads.Service => {
  const directory = nodePath.join(site.stateDirectory, "uploads")
  const { uploadBytes, uploadHours, userBytes } = site.import
  const stateOf = (id: string) => nodePath.join(directory, id, "state.json")
  const dataOf = (id: string) => nodePath.join(directory, id, "data")

  const storing = <A>(f: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, GatewayError> =>
    Effect.tryPromise({
      try: f,
      catch: (error) =>
        error instanceof GatewayError ? error : new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The uploads in ${directory}: ${messageOf(error)}`, { cause: error }))
    })

  /** Does something while nobody else writes there, in whatever process. */
  const alone = async <A>(what: string, f: (lock: FileLock.FileLock) => Promise<A>): Promise<A> => {
    const lock = await FileLock.acquire(nodePath.join(directory, what))
    try {
      return await f(lock)
    } finally {
      await lock.release()
    }
  }

  const notFound = (id: string) => new GatewayError(errorFields("UPLOAD_NOT_FOUND", `There is no upload "${id}" of yours`))
  const conflict = (what: string) => new GatewayError(errorFields("UPLOAD_CONFLICT", what))

  /** The state, and when something was added last. */
  const found = async (id: string): Promise<{ readonly state: State; readonly touched: number } | undefined> => {
    if (!/^[0-9a-f]{32}$/.test(id)) return undefined
    try {
      const text = await readFile(stateOf(id), "utf8")
      return { state: Schema.decodeSync(State)(text), touched: (await stat(stateOf(id))).mtimeMs }
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined
      throw error
    }
  }

  const expiryOf = (touched: number) => touched + uploadHours * 3600 * 1000

  const ofOwner = async (id: string, owner: number) => {
    const upload = await found(id)
    if (upload === undefined || upload.state.owner !== owner || expiryOf(upload.touched) < Date.now()) throw notFound(id)
    return upload
  }

  const told = (id: string, { state, touched }: { readonly state: State; readonly touched: number }): UploadStatus => ({
    id,
    name: state.name,
    bytes: state.bytes,
    offset: state.offset,
    complete: state.digest !== undefined,
    digest: state.digest,
    expires: expiryOf(touched)
  })

  /** Whole or not at all, also after a loss of power. */
  const writeDurably = async (file: string, text: string): Promise<void> => {
    const handle = await open(`${file}.new`, "w", 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(`${file}.new`, file)
  }
  const save = (id: string, state: State): Promise<void> => writeDurably(stateOf(id), Schema.encodeSync(State)(state))

  /** The state goes first: without it there is no upload. */
  const remove = async (id: string): Promise<void> => {
    await rm(stateOf(id), { force: true })
    await rm(nodePath.join(directory, id), { recursive: true, force: true })
  }

  const ids = () => readdir(directory).then((names) => names.filter((name) => /^[0-9a-f]{32}$/.test(name)), () => [])

  const sweep = async (): Promise<number> => {
    let removed = 0
    for (const id of await ids()) {
      // One without a state is being made, or was left when it was made or removed.
      const upload = await found(id).catch(() => undefined)
      const touched = upload?.touched ?? (await stat(nodePath.join(directory, id)).then(({ mtimeMs }) => mtimeMs, () => Date.now()))
      if (expiryOf(touched) >= Date.now()) continue
      await remove(id)
      if (upload !== undefined) removed++
    }
    return removed
  }

  const isPlace = (text: string) => text.startsWith(PLACE) && /^[0-9a-f]{32}$/.test(text.slice(PLACE.length))
  /** Named by whoever needs it first. */
  const place = async (): Promise<string> => {
    const file = nodePath.join(directory, "place")
    const there = await readFile(file, "utf8").catch((error: unknown) => {
      if (systemCode(error) !== "ENOENT") throw error
      return undefined
    })
    if (there !== undefined && isPlace(there)) return there
    await makeDirectory(directory, true)
    return alone("place.lock", async () => {
      const name = await readFile(file, "utf8").catch(() => "")
      if (isPlace(name)) return name
      const made = `${PLACE}${randomBytes(16).toString("hex")}`
      await writeDurably(file, made)
      return made
    })
  }

  const create = async (request: UploadRequest): Promise<UploadStatus> => {
    await makeDirectory(directory, true)
    await sweep()
    return alone("create.lock", async () => {
      let uploads = 1
      let bytes = request.bytes
      for (const id of await ids()) {
        const upload = await found(id)
        if (upload?.state.owner !== request.owner) continue
        uploads++
        bytes += upload.state.bytes
      }
      const over = bytes > userBytes ? `more than ${userBytes} bytes` : uploads > UPLOADS ? `more than ${UPLOADS}` : undefined
      if (over !== undefined) {
        throw new GatewayError(errorFields("LIMIT_EXCEEDED", `With it the uploads of uid ${request.owner} are ${over}`, { remedy: "Import or cancel another one first." }))
      }
      const id = randomBytes(16).toString("hex")
      await makeDirectory(nodePath.join(directory, id), false)
      await (await open(dataOf(id), "wx", 0o600)).close()
      await save(id, { version: 1, owner: request.owner, name: request.name, bytes: request.bytes, ...(request.sha256 === undefined ? {} : { sha256: request.sha256 }), offset: 0 })
      return told(id, await ofOwner(id, request.owner))
    })
  }

  /** Makes a piece durable at its place, if it is the next one. */
  const commit = (id: string, owner: number, at: number, pieces: ReadonlyArray<Uint8Array>): Promise<void> =>
    alone(`${id}.lock`, async (lock) => {
      const { state } = await ofOwner(id, owner)
      const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
      if (state.digest !== undefined || state.offset !== at) throw conflict(`The upload ${id} has ${state.offset} bytes, and bytes from ${at} on were sent`)
      if (at + length > state.bytes) throw conflict(`The upload ${id} was to have ${state.bytes} bytes, and more were sent`)
      const data = await open(dataOf(id), "r+")
      try {
        for (let offset = at, i = 0; i < pieces.length; i++) {
          const piece = pieces[i] ?? new Uint8Array()
          for (let done = 0; done < piece.length; ) done += (await data.write(piece, done, piece.length - done, offset + done)).bytesWritten
          offset += piece.length
        }
        await data.datasync()
      } finally {
        await data.close()
      }
      if (!(await lock.held())) throw conflict(`Another writer took over the upload ${id}`)
      await save(id, { ...state, offset: at + length })
    })

  /** Hashes what is here once all is. */
  const complete = async (id: string, owner: number, signal: AbortSignal): Promise<void> => {
    const { state } = await ofOwner(id, owner)
    if (state.offset < state.bytes || state.digest !== undefined) return
    const hash = createHash("sha256")
    if (state.bytes > 0) for await (const piece of createReadStream(dataOf(id), { end: state.bytes - 1, highWaterMark: 1024 * 1024, signal })) hash.update(piece as Buffer)
    const actual = hash.digest("hex")
    await alone(`${id}.lock`, async () => {
      await ofOwner(id, owner)
      if (state.sha256 !== undefined && state.sha256 !== actual) {
        await remove(id)
        throw new GatewayError(errorFields("DIGEST_MISMATCH", `The upload ${id} arrived as sha256:${actual}, not as sha256:${state.sha256}`, { remedy: "Upload it again." }))
      }
      await save(id, { ...state, digest: Digest.make(`sha256:${actual}`) })
    })
  }

  const writers = new Map<number, number>()
  /** Does something as one of few writers of a user. */
  const asWriter = <A, E>(owner: number, effect: Effect.Effect<A, E>): Effect.Effect<A, E | GatewayError> => {
    const changed = (by: number) => {
      const now = (writers.get(owner) ?? 0) + by
      if (now === 0) writers.delete(owner)
      else writers.set(owner, now)
    }
    return Effect.acquireUseRelease(
      Effect.suspend(() =>
        (writers.get(owner) ?? 0) < WRITERS
          ? Effect.sync(() => changed(1))
          : Effect.fail(new GatewayError(errorFields("QUEUE_FULL", `${WRITERS} uploads of uid ${owner} are being written to already`, { remedy: "Go on when one of them has ended." })))
      ),
      () => effect,
      () => Effect.sync(() => changed(-1))
    )
  }

  return Uploads.of({
    create: (request) =>
      Effect.gen(function* () {
        yield* checked(Request, request)
        yield* ImportSettings.permitted(site.import, request.owner)
        if (request.bytes > uploadBytes) {
          return yield* new GatewayError(errorFields("LIMIT_EXCEEDED", `The upload has ${request.bytes} bytes, more than ${uploadBytes}`))
        }
        return yield* storing(() => create(request))
      }),
    append: <E>(id: string, owner: number, offset: number, bytes: Stream.Stream<Uint8Array, E>) =>
      asWriter(owner, Effect.gen(function* () {
        const before = yield* storing(() => ofOwner(id, owner))
        if (before.state.offset !== offset) return yield* conflict(`The upload ${id} has ${before.state.offset} bytes, and bytes from ${offset} on were sent`)
        let at = offset
        let waiting: Array<Uint8Array> = []
        let gathered = 0
        // Once begun it ends: a piece is here or not.
        const flush = Effect.uninterruptible(
          Effect.suspend(() => {
            const pieces = waiting
            const length = gathered
            waiting = []
            gathered = 0
            if (length === 0) return Effect.void
            return Effect.map(storing(() => commit(id, owner, at, pieces)), () => void (at += length))
          })
        )
        yield* Stream.runForEach(bytes, (piece) => {
          // Its memory is the sender's.
          waiting.push(new Uint8Array(piece))
          gathered += piece.length
          if (at + gathered > before.state.bytes) {
            waiting = []
            gathered = 0
            return Effect.fail(conflict(`The upload ${id} was to have ${before.state.bytes} bytes, and more were sent`))
          }
          return gathered >= PIECE ? flush : Effect.void
          // What has come is kept, however it ended.
        }).pipe(Effect.onError(() => Effect.ignore(flush)))
        yield* flush
        yield* storing((signal) => complete(id, owner, signal))
        return told(id, yield* storing(() => ofOwner(id, owner)))
      })),
    status: (id, owner) => storing(async () => told(id, await ofOwner(id, owner))),
    cancel: (id, owner) =>
      storing(async () => {
        await ofOwner(id, owner)
        await remove(id)
      }),
    file: (id, owner) =>
      storing(async () => {
        const { state } = await ofOwner(id, owner)
        if (state.digest === undefined) throw conflict(`The upload ${id} is not complete: ${state.offset} of ${state.bytes} bytes are here`)
        return { path: dataOf(id), bytes: state.bytes, digest: state.digest }
      }),
    place: storing(place),
    sweep: storing(sweep)
  })
}
