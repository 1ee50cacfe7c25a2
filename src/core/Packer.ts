/**
 * The packer: one tar stream in, one squashfs file out, the same bytes for the same stream and profile.
 *
 * @see https://github.com/AgentD/squashfs-tools-ng
 * @module
 */
import { open } from "node:fs/promises"
import { availableParallelism } from "node:os"
import * as nodePath from "node:path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { isFull } from "./Disk.js"
import { errorFields, messageOf, PackerError, printable, storageCode } from "./Errors.js"
import type { PackingProfile } from "./ImageId.js"
import * as Process from "./Process.js"
import { OutputEnded } from "./RootfsStream.js"

export interface PackOptions {
  /** Where the image is written: a path that does not exist yet. */
  readonly target: string
  /** A local directory for what must lie somewhere meanwhile. */
  readonly scratch: string
}

/** Turns tar streams into images. */
export class Packer extends Context.Tag("shifter-sdk/Packer")<
  Packer,
  {
    /** What it writes. Asked until it has been told once; fails with `TOOL_MISSING` or `TOOL_UNSUITABLE`. */
    readonly profile: Effect.Effect<PackingProfile, PackerError>
    /**
     * Packs what `write` writes to the descriptor it is given, a tar stream, and returns its result. When the packer fails, its error is
     * the one that is shown. What a failure leaves at the target is the caller's to remove.
     */
    readonly pack: <A, E>(write: (output: number) => Effect.Effect<A, E | OutputEnded>, options: PackOptions) => Effect.Effect<A, Exclude<E, OutputEnded> | PackerError>
  }
>() {}

const LEVEL = 3
const BLOCK_SIZE = 131072

/** What decides the bytes that `tar2sqfs` writes; how many processors it uses does not. @internal */
export const tar2sqfsArguments: ReadonlyArray<string> = ["--quiet", "--force", "--no-skip", "--compressor", "zstd", "--comp-extra", `level=${LEVEL}`, "--block-size", String(BLOCK_SIZE)]
/** @internal */
export const tar2sqfsEnvironment = { SOURCE_DATE_EPOCH: "0" }

/** Packs with `tar2sqfs` of squashfs-tools-ng: zstd, byte-identical however many processors. */
export const layerTar2sqfs: Layer.Layer<Packer> = Layer.effect(
  Packer,
  Effect.gen(function* () {
    // What fails or is interrupted is asked again by the next who wants it.
    const [known, forget] = yield* Effect.cachedInvalidateWithTTL(version, Duration.infinity)
    return Packer.of({
      profile: Effect.tapErrorCause(known, () => forget),
      pack: (write, options) => Effect.scoped(pack(write, options))
    })
  })
)

/** The oldest `tar2sqfs` that is accepted, and that the tests have seen. */
export const oldestVersion = "1.2.0"

/**
 * What is wrong with older ones, by the changelog of squashfs-tools-ng and its issues. That 1.0.6 and 1.0.7 have some of the fixes of 1.1.3
 * does not help them: the last row holds for all of these.
 */
const faults: ReadonlyArray<{ readonly below: string; readonly why: string }> = [
  { below: "1.0.4", why: "takes different blocks of files for the same when their checksums are" },
  { below: "1.1.3", why: "writes directory sizes that other readers refuse (its issue 85), and no files above 4 GiB (87)" },
  { below: oldestVersion, why: "fails with ordinary files (its issue 110) and with many hard links to one (123)" }
]

/** What is wrong with a version of `tar2sqfs`; undefined when nothing is known to be. */
export const unsuitable = (version: string): string | undefined => faults.find(({ below }) => isBelow(version, below))?.why

const isBelow = (version: string, other: string): boolean => {
  const [a, b] = [version, other].map((text) => text.split(".").map(Number)) as [Array<number>, Array<number>]
  const at = [0, 1, 2].find((i) => (a[i] ?? 0) !== (b[i] ?? 0))
  return at !== undefined && (a[at] ?? 0) < (b[at] ?? 0)
}

const missing = (fault: Process.SpawnFault) =>
  new PackerError(errorFields("TOOL_MISSING", `The image can't be packed: ${fault.message}`, { remedy: "Install the package squashfs-tools-ng.", cause: fault }))

const version = Effect.gen(function* () {
  const { stdout, status } = yield* Process.output("tar2sqfs", ["--version"]).pipe(Effect.mapError(missing))
  const found = /\b(\d+\.\d+(?:\.\d+)?)\b/.exec(stdout)?.[1]
  if (status !== 0 || found === undefined) {
    return yield* new PackerError(errorFields("TOOL_FAILED", "tar2sqfs does not tell its version"))
  }
  const why = unsuitable(found)
  if (why !== undefined) {
    return yield* new PackerError(errorFields("TOOL_UNSUITABLE", `tar2sqfs is version ${found}, which ${why}; ${oldestVersion} or later is needed`))
  }
  return { packer: `tar2sqfs ${found}`, compressor: "zstd", level: LEVEL, blockSize: BLOCK_SIZE }
})

const pack = <A, E>(write: (output: number) => Effect.Effect<A, E | OutputEnded>, { target, scratch }: PackOptions) =>
  Effect.gen(function* () {
    const pipe = yield* Process.pipe(scratch).pipe(
      Effect.mapError((error) => new PackerError(errorFields(storageCode(error, "STATE_UNUSABLE"), `No pipe can be made in ${scratch}: ${messageOf(error)}`, { cause: error })))
    )
    // Its own descriptor keeps what a packer wrote that removes it when it fails: until then the disk tells whether it was full.
    yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => open(target, "wx", 0o600),
        catch: (error) => new PackerError(errorFields(storageCode(error, "IMAGE_PATH_UNUSABLE"), `The image can't be written at ${target}: ${messageOf(error)}`, { cause: error }))
      }),
      (kept) => Effect.promise(() => kept.close())
    )
    const process = yield* Process.scoped(
      "tar2sqfs",
      [...tar2sqfsArguments, "--num-jobs", String(availableParallelism()), target],
      { stdin: pipe.reader.fd, stdout: "ignore" },
      tar2sqfsEnvironment
    ).pipe(Effect.mapError(missing))
    // The packer alone reads now: its end ends the writing.
    yield* Effect.promise(() => pipe.reader.close())
    const written = yield* write(pipe.writer.fd).pipe(
      Effect.asSome,
      Effect.catchIf((error) => error instanceof OutputEnded, () => Effect.succeedNone)
    )
    yield* Effect.promise(() => pipe.writer.close())
    const exit = yield* Effect.promise(() => process.exit)
    if (exit.status === 0 && Option.isSome(written)) return written.value
    return yield* packerFault(exit, target)
  })

/** What the packer's end means where it is none of a job well done; a full disk may not have been said so. @internal */
export const packerFault = ({ status, stderr }: { readonly status: number; readonly stderr: string }, target: string): Effect.Effect<never, PackerError> =>
  Effect.gen(function* () {
    const said = printable(stderr.replace(/[\s.]+$/, "") || "it said nothing")
    const full = /no space left|disk quota/i.test(said) || (yield* isFull(nodePath.dirname(target)))
    return yield* new PackerError(errorFields(full ? "STORAGE_FULL" : "TOOL_FAILED", `tar2sqfs ended with status ${status} writing ${target}: ${said}`))
  })
