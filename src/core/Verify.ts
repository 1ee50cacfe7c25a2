/**
 * Reads a packed image back and compares it with the stream that it was packed from: the merger counts what it writes, the native program
 * `shifter-verify` what the image holds. Names, types, modes, times, link targets and extended attributes are compared always, content in
 * full or by a sample.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError, isErrorCode, messageOf, printable, storageCode } from "./Errors.js"
import * as Native from "./Native.js"
import * as Process from "./Process.js"
import type { RootfsSummary } from "./RootfsStream.js"

/** How much content is read back: none, a sample, all of it. */
export const Verify = Schema.Literal("structure", "sampled", "full")
export type Verify = typeof Verify.Type

/** One piece of content (128 KiB, or a smaller file) in so many; 0: none. */
const every: Readonly<Record<Verify, number>> = { structure: 0, sampled: 128, full: 1 }

/** Which pieces are compared, as both programs take it. A key of its own for each pull: what one overlooks the next one finds. */
export const newSample = (verify: Verify): string => `${every[verify]}:${randomBytes(8).toString("hex")}`

export interface VerifyOptions {
  /** The program, as {@link Native.program} finds it. */
  readonly program: string
  /** What the stream was counted with. */
  readonly sample: string
  /** What the stream held. */
  readonly written: RootfsSummary
}

/** The file of an image, as it was read back. */
export interface ImageFile {
  /** Bytes. */
  readonly imageSize: number
  /** In hex. */
  readonly imageSha256: string
}

/** Reads the whole file. Fails with `IMAGE_VERIFY_FAILED` unless the image in it holds what was written. */
export const check = (file: string, { program, sample, written }: VerifyOptions): Effect.Effect<ImageFile, GatewayError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const image = yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: () => open(file, "r"),
          catch: (error) => new GatewayError(errorFields(storageCode(error, "IMAGE_VERIFY_FAILED"), `The packed image ${file} can't be read: ${messageOf(error)}`, { cause: error }))
        }),
        (handle) => Effect.promise(() => handle.close())
      )
      const process = yield* Process.scoped(program, ["--sample", sample], { stdin: image.fd, stdout: "pipe" }).pipe(
        Effect.mapError((fault) => new GatewayError(errorFields("TOOL_MISSING", `The packed image can't be verified: ${fault.message}`, { remedy: Native.buildRemedy, cause: fault })))
      )
      const [word, ...rest] = (yield* Stream.runFold(Process.lines(process), "", (last, line) => line || last)).split(" ")
      const wrong = (what: string) => new GatewayError(errorFields("IMAGE_VERIFY_FAILED", `The packed image ${file} is not what was written: ${what}`))
      if (word === "fault") {
        const [code = "", ...what] = rest
        return yield* code === "IMAGE_VERIFY_FAILED" || !isErrorCode(code)
          ? wrong(printable(what.join(" ")))
          : new GatewayError(errorFields(code, `The packed image ${file} can't be verified: ${printable(what.join(" "))}`))
      }
      const [inodes, contents, imageSha256] = rest
      if (word !== "done" || inodes === undefined || contents === undefined || imageSha256 === undefined) {
        return yield* new GatewayError(Native.ended("shifter-verify", yield* Effect.promise(() => process.exit)))
      }
      if (Number(inodes) !== written.inodes) return yield* wrong(`it has ${inodes} inodes, not ${written.inodes}`)
      if (written.contents !== undefined && contents !== written.contents) return yield* wrong("a name, its attributes or its contents differ")
      return { imageSize: (yield* Effect.promise(() => image.stat())).size, imageSha256 }
    })
  )
