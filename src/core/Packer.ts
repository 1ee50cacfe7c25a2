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
import * as Stream from "effect/Stream"
import { errorFields, type ImageError, PackerError, printable } from "./Errors.js"
import type { PackingProfile } from "./ImageId.js"
import * as Process from "./Process.js"

export interface PackOptions {
  /** Where the image is written: a path that does not exist yet. */
  readonly target: string
  /** Told how many bytes of the stream the packer has taken. */
  readonly onBytes?: (bytes: number) => void
}

/** Turns tar streams into images. */
export class Packer extends Context.Tag("shifter-sdk/Packer")<
  Packer,
  {
    /** What it writes. Asked once a process; fails with `TOOL_MISSING`. */
    readonly profile: Effect.Effect<PackingProfile, PackerError>
    /** Packs a stream to its end. Nothing is left at the target when it fails or is interrupted: that is the caller's staging area. */
    readonly pack: (tar: Stream.Stream<Uint8Array, ImageError>, options: PackOptions) => Effect.Effect<void, PackerError | ImageError>
  }
>() {}

const LEVEL = 3
const BLOCK_SIZE = 131072

/** Packs with `tar2sqfs` of squashfs-tools-ng: zstd, byte-identical however many processors. */
export const layerTar2sqfs = Layer.effect(
  Packer,
  Effect.gen(function* () {
    const profile = yield* Effect.cached(version)
    return Packer.of({
      profile,
      pack: (tar, options) => Effect.scoped(pack(tar, options))
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

const pack = (tar: Stream.Stream<Uint8Array, ImageError>, options: PackOptions) =>
  Effect.gen(function* () {
    const process = yield* Process.scoped(
      "tar2sqfs",
      [
        "--quiet",
        "--no-skip",
        "--no-xattr",
        ...["--compressor", "zstd", "--comp-extra", `level=${LEVEL}`],
        ...["--block-size", String(BLOCK_SIZE)],
        ...["--num-jobs", String(availableParallelism())],
        options.target
      ],
      { stdin: "pipe", stdout: "ignore" },
      { SOURCE_DATE_EPOCH: "0" }
    ).pipe(Effect.mapError(missing))
    const stdin = process.stdin
    if (stdin === null) return yield* Effect.die(new Error("tar2sqfs was started without a pipe"))
    // A packer that dies closes the pipe; its exit tells more than EPIPE.
    stdin.on("error", () => undefined)
    let bytes = 0
    yield* tar.pipe(
      Stream.mapEffect((chunk) => {
        bytes += chunk.length
        options.onBytes?.(bytes)
        const open = Process.write(stdin, chunk)
        return typeof open === "boolean" ? Effect.succeed(open) : Effect.promise(() => open)
      }),
      Stream.takeWhile((open) => open),
      Stream.runDrain
    )
    stdin.end()
    const exit = yield* Effect.promise(() => process.exit)
    if (exit.status !== 0) {
      const full = /no space left|disk quota/i.test(exit.stderr)
      return yield* new PackerError(
        errorFields(full ? "STORAGE_FULL" : "TOOL_FAILED", `tar2sqfs ended with status ${exit.status} writing ${options.target}: ${printable(exit.stderr || "it said nothing")}`)
      )
    }
  })
