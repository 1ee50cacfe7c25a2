/**
 * Custom images (`custom:`): a file that somebody gives, a squashfs or a root file system as tar, plain or compressed. Nothing of it is
 * published as it came: it is read in a sandbox, filtered and packed like the layers of any image, and no kernel mounts it before.
 *
 * @module
 */
import { open } from "node:fs/promises"
import * as nodePath from "node:path"
import type { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ErrorCode, errorFields, ImageError, messageOf, storageCode } from "../../core/Errors.js"
import * as Filter from "../../core/Filter.js"
import type { GivenFile, ImageSource, ResolvedImage, ResolveOptions } from "../../core/Image.js"
import type { ImageRef } from "../../core/ImageRef.js"
import type { BlobRange } from "../../core/Merge.js"
import * as Native from "../../core/Native.js"
import { oneLayer } from "../../core/OneLayer.js"
import * as Process from "../../core/Process.js"
import { archiveType, firstNames } from "./FirstNames.js"

/** The source of `custom:` references. There is nowhere to pull them from: without a file they fail with `IMPORT_NEEDED`. */
export const customSource: ImageSource = {
  types: ["custom"],
  refusesImport: () => undefined,
  resolve: (ref, options) =>
    options.file === undefined
      ? Effect.fail(new ImageError(errorFields("IMPORT_NEEDED", `There is nowhere to pull custom:${ref.reference} from`)))
      : resolve(ref, options.file, options)
}

const resolve = (ref: ImageRef, file: GivenFile, options: ResolveOptions): Effect.Effect<ResolvedImage, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const { limits, platform } = options
    const name = `${ref.type}:${ref.reference}`
    if (file.bytes > limits.blobBytes) {
      return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `The file of ${name} has ${file.bytes} bytes, more than ${limits.blobBytes}`))
    }
    const handle = yield* opened(file.path, "r")
    const magic = Buffer.alloc(MAGIC.length)
    yield* Effect.tryPromise({ try: () => handle.read(magic, 0, magic.length, 0), catch: (error) => unusable(file.path, error) })
    const isSquashfs = magic.equals(MAGIC)
    if (!isSquashfs) yield* checkArchive(handle.fd, name, options)
    options.onProgress({ _tag: "Layer", digest: file.digest, received: file.bytes, bytes: file.bytes, cached: true })
    const given = { file: file.path, offset: 0, length: file.bytes }
    // Once, whatever the merger asks for.
    const archive = isSquashfs ? yield* Effect.cached(unsquashed(handle.fd, name, options)) : Effect.succeed(given)
    const stream = yield* oneLayer(file.digest, archive, options)
    return {
      sourceDigest: file.digest,
      manifestDigest: undefined,
      platform,
      metadata: { env: [], entrypoint: [], command: [], labels: [] },
      isPrivate: false,
      blobs: [{ digest: file.digest, bytes: file.bytes, stored: undefined }],
      open: Effect.succeed(stream)
    }
  })

const MAGIC = Buffer.from("hsqs")

/** The squashfs as a tar archive, in the scratch directory. */
const unsquashed = (input: number, name: string, { limits, workspace }: ResolveOptions): Effect.Effect<BlobRange, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = nodePath.join(workspace.scratch, "unsquashed.tar")
      const out = yield* opened(file, "w")
      yield* Filter.run({
        name: "shifter-unsquash",
        program: workspace.program("shifter-unsquash"),
        args: Object.entries({
          bytes: limits.inflatedBytes,
          ratio: limits.ratio,
          entries: limits.entries,
          depth: limits.depth,
          "name-bytes": limits.nameBytes
        }).flatMap(([option, value]) => [`--${option}`, String(value)]),
        stdin: input,
        stdout: out.fd,
        purpose: "The squashfs can't be read",
        worded: (code, what) => worded(`The squashfs of ${name}${code === "STORAGE_FULL" ? `, written to ${file}` : ""}`)(code, what)
      })
      const { size } = yield* Effect.tryPromise({ try: () => out.stat(), catch: (error) => unusable(file, error) })
      return { file, offset: 0, length: size }
    })
  )

/** Refuses what is no tar archive, and an archive of images with the word for it. */
const checkArchive = (input: number, name: string, { limits, workspace }: ResolveOptions): Effect.Effect<void, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const process = yield* Process.scoped(workspace.program("shifter-inflate"), [String(limits.inflatedBytes), String(limits.ratio)], { stdin: input, stdout: "pipe" }).pipe(
        Effect.mapError((fault) => new ImageError(errorFields("TOOL_MISSING", `The file can't be read: ${fault.message}`, { remedy: Native.buildRemedy, cause: fault })))
      )
      const names = yield* Effect.promise(() => (process.stdout === null ? Promise.resolve(undefined) : firstNames(buffers(process.stdout))))
      if (names?.length === 0) {
        const exit = yield* Effect.promise(() => process.exit)
        if (exit.status !== 0) return yield* new ImageError(Filter.refusal("shifter-inflate", exit, worded(`The file of ${name}`)))
      }
      if (names === undefined || names.length === 0) {
        return yield* new ImageError(errorFields("FILE_INVALID", `The file of ${name} is neither a squashfs nor a tar archive`))
      }
      const type = archiveType(names)
      if (type === undefined) return
      return yield* new ImageError(
        errorFields("FILE_INVALID", `The file of ${name} is an archive of images, not of a root file system`, { remedy: `Pull it: shifterimg pull ${type}:FILE.` })
      )
    })
  )

async function* buffers(stdout: Readable): AsyncGenerator<Buffer> {
  for await (const piece of stdout) if (piece instanceof Buffer) yield piece
}

/** Both programs speak of what they read; of layers where there are none. */
const worded =
  (what: string) =>
  (code: ErrorCode, said: string) =>
    errorFields(code === "LAYER_INVALID" ? "FILE_INVALID" : code, `${what}: ${said}`)

const opened = (file: string, mode: "r" | "w") =>
  Effect.acquireRelease(
    Effect.tryPromise({ try: () => open(file, mode, 0o600), catch: (error) => unusable(file, error) }),
    (handle) => Effect.promise(() => handle.close())
  )

const unusable = (file: string, error: unknown): ImageError =>
  new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be used: ${messageOf(error)}`, { cause: error }))
