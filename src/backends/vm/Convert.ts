/**
 * From a disk image to a raw, sparse disk, by qemu-img. It is told the format, opens no other file, and sees none.
 *
 * @module
 */
import { open } from "node:fs/promises"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { errorFields, ImageError, isErrorCode, printable } from "../../core/Errors.js"
import type * as Process from "../../core/Process.js"
import type { Vm } from "../../core/VmSettings.js"
import * as Confined from "./Confined.js"
import { type Container, type DiskFormat, makeWhole, type Place, refusal } from "./Container.js"

const drivers: Readonly<Record<DiskFormat, string>> = { raw: "raw", qcow2: "qcow2", vmdk: "vmdk", vdi: "vdi", vhd: "vpc", vhdx: "vhdx" }
/** MiB: tables of the largest images that are read have their place in it. */
const MEMORY = 2048
const OUTPUT = 4 * 1024 * 1024

const Info = Schema.parseJson(
  Schema.Struct({
    "virtual-size": Schema.NonNegativeInt,
    "backing-filename": Schema.optional(Schema.String),
    "full-backing-filename": Schema.optional(Schema.String),
    encrypted: Schema.optional(Schema.Boolean),
    "format-specific": Schema.optional(
      Schema.Struct({ data: Schema.optional(Schema.Struct({ "data-file": Schema.optional(Schema.Unknown), extents: Schema.optional(Schema.Array(Schema.Struct({ filename: Schema.String }))) })) })
    )
  })
)
const decodeInfo = Schema.decodeUnknown(Info)

/** The raw disk of an image `name` of the room, in the room. One that is raw already is not touched. */
export const toRaw = (room: Confined.Room, file: string, place: Place, container: Container, settings: Vm): Effect.Effect<string, ImageError> => {
  const isWhole = place.offset === 0 && container.virtualBytes === place.length
  return container.format === "raw" && isWhole ? Effect.succeed(file) : Effect.as(convert(room, file, place, container, settings), RAW)
}

const RAW = "raw"

const convert = (room: Confined.Room, file: string, place: Place, container: Container, settings: Vm): Effect.Effect<void, ImageError> =>
  Effect.gen(function* () {
    const image = imageOf(room, file, place, container)
    const size = yield* inspect(room, image, place, settings)
    yield* Effect.scoped(
      Effect.acquireRelease(
        Effect.tryPromise({ try: () => open(room.at(RAW), "wx", 0o666), catch: (error) => Confined.unusable(room.at(RAW), error) }),
        (handle) => Effect.promise(() => handle.close())
      ).pipe(
        Effect.flatMap((handle) =>
          Effect.tryPromise({
            try: async () => {
              await handle.truncate(size)
              // The account of the converter may have no other way to write it.
              await handle.chmod(0o666)
            },
            catch: (error) => Confined.unusable(room.at(RAW), error)
          })
        )
      )
    )
    const target = `driver=raw,file.driver=file,file.filename=${room.inside(RAW)},file.locking=off`
    yield* qemu(room, ["convert", "-n", "--target-is-zero", "--target-image-opts", image, target], place, settings, size)
  })

/** The image as qemu-img is told to read it. Nothing is guessed, and there is nothing behind it. */
const imageOf = (room: Confined.Room, file: string, { length, offset }: Place, { format }: Container): string => {
  const whole = { driver: "file", filename: room.inside(file), locking: "off" }
  const part = { driver: "raw", offset, size: length, file: whole }
  return `json:${JSON.stringify({ driver: drivers[format], ...(format === "qcow2" || format === "vmdk" ? { backing: null } : {}), file: offset === 0 ? whole : part })}`
}

/** Bytes of the disk. Fails where qemu-img sees something behind it that the header's check has not. */
const inspect = (room: Confined.Room, image: string, place: Place, settings: Vm): Effect.Effect<number, ImageError> =>
  Effect.gen(function* () {
    const text = yield* qemu(room, ["info", "--output=json", image], place, settings, 1024 * 1024)
    const info = yield* decodeInfo(text).pipe(Effect.mapError((error) => new ImageError(errorFields("TOOL_FAILED", `What qemu-img says of ${place.name} can't be understood: ${printable(error.message)}`))))
    const data = info["format-specific"]?.data
    if (info["backing-filename"] !== undefined || info["full-backing-filename"] !== undefined || data?.["data-file"] !== undefined || (data?.extents?.length ?? 1) !== 1) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "needs other files, which are not opened", makeWhole)
    }
    if (info.encrypted === true) return yield* refusal(place, "DISK_UNSUPPORTED", "is encrypted")
    const size = info["virtual-size"]
    if (size > settings.virtualBytes) return yield* refusal(place, "LIMIT_EXCEEDED", `has ${size} bytes, more than ${settings.virtualBytes}`, 'Ask the administrator to raise "vm.virtualBytes", or give a smaller disk.')
    return size
  })

/** What it prints. */
const qemu = (room: Confined.Room, args: ReadonlyArray<string>, place: Place, { seconds }: Vm, fileBytes: number): Effect.Effect<string, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const process = yield* room.start(["qemu-img", ...args], { fileBytes: Math.max(fileBytes, 1), seconds, memoryMiB: MEMORY })
      const printed = yield* Effect.promise(() => textOf(process))
      const exit = yield* Effect.promise(() => process.exit)
      return exit.status === 0 ? printed : yield* failed(exit, place)
    })
  ).pipe(
    Effect.timeoutFail({
      duration: Duration.seconds(seconds),
      onTimeout: () => refusal(place, "LIMIT_EXCEEDED", `could not be converted within ${seconds} seconds`, 'Ask the administrator to raise "vm.seconds".')
    })
  )

const textOf = async ({ kill, stdout }: Process.Process): Promise<string> => {
  const pieces: Array<Buffer> = []
  let length = 0
  for await (const piece of stdout ?? []) {
    length += (piece as Buffer).length
    if (length > OUTPUT) kill()
    else pieces.push(piece as Buffer)
  }
  return Buffer.concat(pieces).toString("utf8")
}

/** SIGXCPU and SIGKILL, as limits of processor time and memory send them. */
const OVER_TIME = 128 + 24

const failed = ({ status, stderr }: Process.Exit, place: Place): ImageError => {
  const [code = "", ...what] = stderr.split("\n").at(-1)?.split(" ") ?? []
  if (isErrorCode(code)) return new ImageError(errorFields(code, `${place.name} can't be converted: ${what.join(" ")}`, code === "TOOL_MISSING" ? { remedy: "Install qemu-utils on the gateway's machine." } : {}))
  if (status === OVER_TIME) return refusal(place, "LIMIT_EXCEEDED", "takes more processor time to convert than it may")
  if (/No space left|Disk quota/.test(stderr)) return refusal(place, "STORAGE_FULL", "can't be converted: the scratch directory is full")
  return refusal(place, "DISK_INVALID", `can't be converted: ${printable(stderr.split("\n").at(-1)?.replace(/json:\{.*\}/, "the disk") ?? `qemu-img ended with status ${status}`)}`)
}
