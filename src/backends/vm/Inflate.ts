/**
 * Disks that are compressed as a whole, as `disk.vmdk.gz` of an OVA or a downloaded `disk.raw.gz` is: unpacked in the room by `shifter-inflate`, within
 * the limits of a layer.
 *
 * @module
 */
import { type FileHandle, open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ErrorCode, errorFields, ImageError } from "../../core/Errors.js"
import * as Filter from "../../core/Filter.js"
import type { ResolveOptions } from "../../core/Image.js"
import * as Confined from "./Confined.js"
import { bytesAt, type Disk, type Place } from "./Container.js"

const PIECE = 1024 * 1024
const PACKED = "packed"
const UNPACKED = "unpacked"
/** What `shifter-inflate` reads, by its first bytes. */
const MARKS = [Buffer.from("1f8b", "hex"), Buffer.from("28b52ffd", "hex")]

/** The disk itself, where a place holds a compressed one. What it holds may not be compressed again. */
export const plain = (room: Confined.Room, disk: Disk, options: ResolveOptions): Effect.Effect<Disk, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const head = yield* bytesAt(disk.place, 0, 4)
    if (!MARKS.some((mark) => head.subarray(0, mark.length).equals(mark))) return disk
    const { name } = disk.place
    const isWhole = disk.place.offset === 0
    if (!isWhole) yield* Effect.scoped(Effect.flatMap(made(room.at(PACKED)), (output) => copied(disk.place, output)))
    const input = isWhole ? disk.place.handle : yield* opened(room.at(PACKED), "r")
    const output = yield* made(room.at(UNPACKED))
    yield* Filter.run({
      name: "shifter-inflate",
      program: options.workspace.program("shifter-inflate"),
      args: [String(options.limits.inflatedBytes), String(options.limits.ratio)],
      stdin: input.fd,
      stdout: output.fd,
      purpose: `${name} can't be unpacked`,
      worded: (code, what) => errorFields(codeOf(code), `${name}, which is compressed, can't be unpacked: ${what}`)
    })
    yield* Confined.readable(room.at(UNPACKED))
    const { size } = yield* Confined.regular(room.at(UNPACKED))
    return { file: UNPACKED, place: { handle: yield* opened(room.at(UNPACKED), "r"), offset: 0, length: size, name } }
  })

/** It is a disk that is damaged, not a layer. */
const codeOf = (code: ErrorCode): ErrorCode => (code === "LAYER_INVALID" ? "DISK_INVALID" : code)

const opened = (file: string, flags: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({ try: () => open(file, flags, 0o600), catch: (error) => Confined.unusable(file, error) }),
    (handle) => Effect.promise(() => handle.close())
  )

const made = (file: string) => opened(file, "wx")

/** The part of an archive, as a file of its own. */
const copied = ({ handle, length, name, offset }: Place, output: FileHandle) =>
  Effect.tryPromise({
    try: async (signal) => {
      const piece = Buffer.alloc(PIECE)
      for (let at = 0; at < length; ) {
        signal.throwIfAborted()
        const { bytesRead } = await handle.read(piece, 0, Math.min(PIECE, length - at), offset + at)
        if (bytesRead === 0) throw new Error("it ends in the middle of a member")
        await output.writeFile(piece.subarray(0, bytesRead))
        at += bytesRead
      }
    },
    catch: (error) => Confined.unusable(name, error)
  })
