/**
 * Fetches a layer's blob into the blob store: large ones in parts beside one another where the registry gives ranges, and any from where an
 * earlier try was cut off. A blob is in the store only when its digest is right.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises"
import * as nodePath from "node:path"
import type * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlobStore from "../../core/BlobStore.js"
import { hex } from "../../core/Digest.js"
import { makeDirectory } from "../../core/Disk.js"
import { errorFields, ImageError, messageOf, printable, storageCode } from "../../core/Errors.js"
import type { Workspace } from "../../core/Image.js"
import type { BlobRange } from "../../core/Merge.js"
import { BlobFile } from "../../core/BlobFile.js"
import type { Endpoints } from "./Endpoints.js"
import type { Descriptor } from "./Manifest.js"
import { strong } from "../../core/http/EntityTag.js"
import { Passing, patiently } from "../../core/http/Patience.js"
import type { Answer } from "./RegistryClient.js"

/** Larger layers are fetched in parts. Smaller ones come beside one another, and are hashed as they come. */
const LARGE = 256 * 1024 * 1024
const PART = 128 * 1024 * 1024
/** Parts of one layer beside one another. */
const PARALLEL_PARTS = 4

export interface Source {
  readonly endpoints: Endpoints
  /** For messages: `docker.io/library/debian:12`. */
  readonly name: string
  /** The trust domain of its blobs. */
  readonly domain: string
  /** Transfers of one image beside one another. */
  readonly transfers: Effect.Semaphore
  readonly onBytes: (descriptor: Descriptor, received: number, cached: boolean) => void
  readonly waiting: (failure: Passing, millis: number) => void
}

/** What is known of a blob that is not whole. */
const State = Schema.parseJson(
  Schema.Struct({
    version: Schema.Literal(1),
    /** Strong entity tag of what was received, so that no other bytes are joined to it. */
    etag: Schema.optional(Schema.String),
    /** Size of parts, and which are here; without them the file holds the beginning. */
    part: Schema.optional(Schema.Int.pipe(Schema.positive())),
    done: Schema.Array(Schema.Int)
  })
)
type State = typeof State.Type

/** The blob of a layer, from the store or the registry. */
export const fetch = (source: Source, descriptor: Descriptor, workspace: Workspace): Effect.Effect<BlobRange, ImageError> =>
  Effect.gen(function* () {
    const { digest, size } = descriptor
    const file = nodePath.join(workspace.blobs, BlobStore.nameOf(source.domain, digest))
    const here = yield* Effect.promise((signal) => isWhole(file, descriptor, signal))
    if (here) {
      source.onBytes(descriptor, size, true)
      return { file, offset: 0, length: size }
    }
    const partial = BlobStore.partialOf(workspace.scratch, source.domain, digest)
    const failed = storing(digest, partial.file)
    const kept = yield* failed(() => claim(partial, BlobStore.partialOf(workspace.partials, source.domain, digest), workspace.scratch))
    yield* Effect.scoped(
      Effect.gen(function* () {
        const out = yield* Effect.acquireRelease(
          failed(() => BlobFile.open(partial.file)),
          (opened) => Effect.promise(() => opened.close().catch(() => undefined))
        )
        const layer = new LayerTransfer(source, descriptor, out, partial.state, kept)
        yield* layer.run
      })
    )
    yield* failed(async () => {
      await BlobStore.put(partial.file, file)
      await rm(partial.state, { force: true })
    })
    return { file, offset: 0, length: size }
  })

/** Whether the store has the blob, as it should be: a disk's mistake is mended by fetching it again. */
const isWhole = async (file: string, { digest, size }: Descriptor, signal: AbortSignal): Promise<boolean> => {
  const found = await stat(file).catch(() => undefined)
  if (found?.size !== size) return false
  const hash = createHash("sha256")
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024, signal })) hash.update(chunk as Buffer)
    // Least recently used is what goes first.
    await utimes(file, new Date(), new Date())
  } catch {
    return false
  }
  return hash.digest("hex") === hex(digest)
}

interface PartialFiles {
  readonly file: string
  readonly state: string
}

/** Takes over what an earlier try has left; of several pulls, one does. */
const claim = async (mine: PartialFiles, left: PartialFiles, scratch: string): Promise<State | undefined> => {
  await makeDirectory(scratch, true)
  try {
    // Whoever moves the first one has both.
    await rename(left.state, mine.state)
    await rename(left.file, mine.file)
    return Schema.decodeSync(State)(await readFile(mine.state, "utf8"))
  } catch {
    await rm(mine.file, { force: true })
    return undefined
  }
}

const storing =
  (digest: string, file: string) =>
  <A>(f: () => Promise<A>): Effect.Effect<A, ImageError> =>
    Effect.tryPromise({
      try: f,
      catch: (error) =>
        error instanceof ImageError
          ? error
          : new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The layer ${digest} can't be stored at ${file}: ${messageOf(error)}`, { cause: error }))
    })

interface Part {
  readonly start: number
  readonly end: number
  received: number
}

const isDone = (part: Part): boolean => part.received === part.end - part.start

/** What is here can't be joined with what comes: all of it has to be fetched again, in one piece. */
class Unjoinable extends Data.TaggedError("Unjoinable")<{ readonly why: string }> {}

type Fault = ImageError | Passing | Unjoinable

/** The transfer of one layer into one file. */
class LayerTransfer {
  private parts: ReadonlyArray<Part> = []
  private received = 0
  private etag: string | undefined
  private isSaved: boolean
  private encoding = ""
  private readonly storing

  constructor(
    private readonly source: Source,
    private readonly descriptor: Descriptor,
    private readonly out: BlobFile,
    private readonly stateFile: string,
    private readonly kept: State | undefined
  ) {
    this.storing = storing(descriptor.digest, stateFile)
    this.etag = kept?.etag
    this.isSaved = kept !== undefined
    const { size } = descriptor
    if (kept?.part !== undefined) this.divide(kept.part, new Set(kept.done))
    else this.divide(kept === undefined && size > LARGE ? PART : size, new Set(), kept === undefined ? 0 : Math.min(out.found, size))
  }

  get run(): Effect.Effect<void, ImageError> {
    const { descriptor, out, source } = this
    const once = Effect.suspend(() => (this.parts.length === 1 ? this.inOrder : this.beside)).pipe(
      Effect.catchTag("Unjoinable", ({ why }) =>
        Effect.zipRight(
          this.storing(this.anew),
          new Passing({ error: new ImageError(errorFields("REGISTRY_ERROR", `The layer ${descriptor.digest} of ${source.name} can't be fetched: ${why}`)) })
        )
      ),
      (all) => patiently(all, { progress: () => this.received, waiting: source.waiting })
    )
    const checked = Effect.gen(this, function* () {
      yield* once
      const actual = yield* this.storing(() => out.finish(descriptor.size))
      if (actual === hex(descriptor.digest)) return
      yield* this.storing(this.anew)
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${descriptor.digest} of ${source.name} arrived as sha256:${actual}${this.encoding}`))
    })
    // What an earlier process left may be what is wrong, and so may a mirror be, which answers well and then sends nothing good.
    let mayBeWrong = this.kept !== undefined
    const again: Effect.Effect<void, ImageError> = Effect.catchIf(
      checked,
      (error) => {
        const isWrong = error.code === "DIGEST_MISMATCH"
        const retried = (isWrong && mayBeWrong) || source.endpoints.distrustMirrors(error)
        mayBeWrong = retried && !isWrong
        return retried
      },
      () => again
    )
    return again
  }

  private divide(bytes: number, done: ReadonlySet<number>, beginning = 0): void {
    const { size } = this.descriptor
    const step = Math.max(1, bytes)
    this.parts = Array.from({ length: Math.max(1, Math.ceil(size / step)) }, (_, i) => {
      const start = i * step
      const end = Math.min(size, start + step)
      return { start, end, received: done.has(i) ? end - start : i === 0 ? Math.min(beginning, end) : 0 }
    })
    this.received = this.parts.reduce((sum, part) => sum + part.received, 0)
  }

  /** Forgets what is here. The next try is in one piece. */
  private readonly anew = async (): Promise<void> => {
    this.etag = undefined
    this.isSaved = false
    await this.out.restart()
    this.divide(this.descriptor.size, new Set())
  }

  /** Remembers what is here, for a process that comes after this one. */
  private readonly save = (): Promise<void> => {
    this.isSaved = true
    const first = this.parts[0]
    const state: State = {
      version: 1,
      ...(this.etag === undefined ? {} : { etag: this.etag }),
      ...(this.parts.length === 1 || first === undefined ? {} : { part: first.end }),
      done: this.parts.flatMap((part, i) => (isDone(part) ? [i] : []))
    }
    return writeFile(this.stateFile, Schema.encodeSync(State)(state), { mode: 0o600 })
  }

  /** The blob from its beginning, or from where it was cut off. */
  private get inOrder(): Effect.Effect<void, Fault> {
    return this.permitted(
      Effect.gen(this, function* () {
        const [part] = this.parts
        if (part === undefined || (isDone(part) && part.end > 0)) return
        yield* this.take(yield* this.ask(part), part)
      })
    )
  }

  /** All parts, some at a time. Whether there are ranges is known from the first answer. */
  private get beside(): Effect.Effect<void, Fault> {
    return Effect.scoped(
      Effect.gen(this, function* () {
        const scope = yield* Effect.scope
        const [first, ...others] = this.parts.filter((part) => !isDone(part))
        this.follow()
        if (first === undefined) return
        const rest = yield* this.permitted(
          Effect.gen(this, function* () {
            const answer = yield* this.ask(first)
            if (answer.status === 200) {
              yield* this.storing(this.anew)
              const [whole = first] = this.parts
              yield* this.take(answer, whole)
              return undefined
            }
            // The rest begins while this one comes.
            const forked = yield* Effect.forkIn(Effect.forEach(others, (part) => this.part(part), { concurrency: PARALLEL_PARTS - 1, discard: true }), scope)
            yield* Effect.catchTag(this.take(answer, first), "Passing", () => Effect.void)
            return forked
          })
        )
        if (rest === undefined) return
        if (!isDone(first)) yield* this.part(first)
        yield* Fiber.join(rest)
      })
    )
  }

  private part(part: Part): Effect.Effect<void, ImageError | Unjoinable> {
    return patiently(
      this.permitted(
        Effect.gen(this, function* () {
          const answer = yield* this.ask(part)
          if (answer.status === 200) return yield* new Unjoinable({ why: `${answer.host} gave a part of it, and then no other` })
          yield* this.take(answer, part)
        })
      ),
      { progress: () => part.received, waiting: this.source.waiting }
    )
  }

  private permitted<A>(effect: Effect.Effect<A, Fault, Scope.Scope>): Effect.Effect<A, Fault> {
    return this.source.transfers.withPermits(1)(Effect.scoped(effect))
  }

  /** Asks for the rest of a part. The answer may be the whole blob (200) instead. */
  private ask(part: Part): Effect.Effect<Answer, Fault, Scope.Scope> {
    return Effect.gen(this, function* () {
      const { digest, size } = this.descriptor
      const from = part.start + part.received
      const isRange = from > 0 || part.end < size
      const last = part.end - 1
      const answer = yield* this.source.endpoints.use((client) =>
        client.get(`blobs/${digest}`, {
          statuses: [200, 206, 416],
          headers: isRange ? { range: `bytes=${from}-${last}`, ...(this.etag === undefined ? {} : { "if-range": this.etag }) } : {}
        })
      )
      const { headers, host, status } = answer
      const encoding = headers["content-encoding"]
      if (encoding !== undefined && encoding !== "identity") this.encoding = `; ${host} sent it with Content-Encoding "${printable(encoding)}"`
      const tag = strong(headers["etag"])
      if (status === 200) {
        const length = headers["content-length"]
        if (length !== undefined && Number(length) !== size) {
          return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${digest} of ${this.source.name} has ${printable(length)} bytes, and its manifest says ${size}`))
        }
        if (part.received > 0) {
          yield* this.storing(() => this.out.restart())
          this.received -= part.received
          part.received = 0
        }
      } else {
        const range = headers["content-range"] ?? ""
        if (!isRange || status === 416 || !new RegExp(`^bytes ${from}-${last}/(?:${size}|\\*)$`).test(range)) {
          return yield* new Unjoinable({ why: `${host} was asked for bytes ${from} to ${last} of ${size} and answered HTTP ${status} with Content-Range "${printable(range)}"` })
        }
        if (tag !== undefined && this.etag !== undefined && tag !== this.etag) return yield* new Unjoinable({ why: `${host} gave parts of two different blobs (another ETag)` })
      }
      if (!this.isSaved || tag !== this.etag) {
        this.etag = tag
        yield* this.storing(this.save)
      }
      return answer
    })
  }

  private take(answer: Answer, part: Part): Effect.Effect<void, ImageError | Passing> {
    const { digest, size } = this.descriptor
    const failed = (code: "DIGEST_MISMATCH" | "REGISTRY_UNREACHABLE", what: string) => new ImageError(errorFields(code, `The layer ${digest} of ${this.source.name} ${what}`))
    return Effect.gen(this, function* () {
      if (part.start === 0) yield* this.storing(() => this.out.follow(part.received))
      const writer = this.out.writer(part.start + part.received)
      const receive = async (chunks: Chunk.Chunk<Uint8Array>) => {
        for (const chunk of chunks) {
          if (part.received + chunk.length > part.end - part.start) throw failed("DIGEST_MISMATCH", `is larger than the ${size} bytes its manifest says`)
          await writer.write(chunk)
          part.received += chunk.length
          this.received += chunk.length
        }
        this.source.onBytes(this.descriptor, this.received, false)
      }
      yield* Effect.ensuring(
        Stream.runForEachChunk(answer.stream, (chunks) => Effect.uninterruptible(this.storing(() => receive(chunks)))),
        // What has come is kept, however it ended.
        Effect.promise(() => writer.flush().catch(() => undefined))
      )
      yield* this.storing(() => writer.flush())
      if (!isDone(part)) return yield* new Passing({ error: failed("REGISTRY_UNREACHABLE", `ended after ${this.received} of ${size} bytes`) })
      if (this.parts.length === 1) return
      this.follow()
      yield* this.storing(this.save)
    })
  }

  /** Hashes what is here without a gap from the beginning. */
  private follow(): void {
    const gap = this.parts.find((part) => !isDone(part))
    void this.out.follow(gap?.start ?? this.descriptor.size)
  }
}
