/**
 * The packer: one tar stream in, one squashfs file out, the same bytes for the same stream and profile.
 *
 * @see https://github.com/AgentD/squashfs-tools-ng
 * @module
 */
import { availableParallelism } from "node:os"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
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
    /** What it writes. Asked once a process; fails with `TOOL_MISSING`. */
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

/** Packs with `tar2sqfs` of squashfs-tools-ng: zstd, byte-identical however many processors. */
export const layerTar2sqfs: Layer.Layer<Packer> = Layer.effect(
  Packer,
  Effect.gen(function* () {
    const profile = yield* Effect.cached(version)
    return Packer.of({
      profile,
      pack: (write, options) => Effect.scoped(pack(write, options))
    })
  })
)

const missing = (fault: Process.SpawnFault) =>
  new PackerError(errorFields("TOOL_MISSING", `The image can't be packed: ${fault.message}`, { remedy: "Install the package squashfs-tools-ng.", cause: fault }))

const version = Effect.gen(function* () {
  const { stdout, status } = yield* Process.output("tar2sqfs", ["--version"]).pipe(Effect.mapError(missing))
  const found = /\b(\d+\.\d+(?:\.\d+)?)\b/.exec(stdout)?.[1]
  if (status !== 0 || found === undefined) {
    return yield* new PackerError(errorFields("TOOL_FAILED", "tar2sqfs does not tell its version"))
  }
  return { packer: `tar2sqfs ${found}`, compressor: "zstd", level: LEVEL, blockSize: BLOCK_SIZE }
})

const pack = <A, E>(write: (output: number) => Effect.Effect<A, E | OutputEnded>, { target, scratch }: PackOptions) =>
  Effect.gen(function* () {
    const pipe = yield* Process.pipe(scratch).pipe(
      Effect.mapError((error) => new PackerError(errorFields(storageCode(error, "STATE_UNUSABLE"), `No pipe can be made in ${scratch}: ${messageOf(error)}`, { cause: error })))
    )
    const process = yield* Process.scoped(
      "tar2sqfs",
      [
        "--quiet",
        "--no-skip",
        ...["--compressor", "zstd", "--comp-extra", `level=${LEVEL}`],
        ...["--block-size", String(BLOCK_SIZE)],
        ...["--num-jobs", String(availableParallelism())],
        target
      ],
      { stdin: pipe.reader.fd, stdout: "ignore" },
      { SOURCE_DATE_EPOCH: "0" }
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
    const full = /no space left|disk quota/i.test(exit.stderr)
    return yield* new PackerError(
      errorFields(full ? "STORAGE_FULL" : "TOOL_FAILED", `tar2sqfs ended with status ${exit.status} writing ${target}: ${printable(exit.stderr || "it said nothing")}`)
    )
  })
