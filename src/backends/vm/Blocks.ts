/**
 * The table that says where in the file each block of a disk lies. A converter takes what lies behind the file's end for zeros, so a download that
 * was cut off would become a disk with holes; and a table that was not written by a machine can have every block at one place, or over itself.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import { type BlockTable, bytesAt, fetchAgain, type Place, refusal } from "./Container.js"

/** A multiple of the width of every entry. */
const PIECE = 1024 * 1024

/** Fails where a block is not wholly in the file, lies over what is no block, or over another one. */
export const check = (place: Place, table: BlockTable): Effect.Effect<void, ImageError> =>
  Effect.gen(function* () {
    const length = table.entries * table.width
    if (!(table.at + length <= place.length)) return yield* refusal(place, "DISK_INVALID", "is cut off: the table of its blocks lies behind its end")
    const reserved = [...table.reserved, [table.at, length] as const].filter(([, bytes]) => bytes > 0).sort(([a], [b]) => a - b)
    if (reserved.some(([at], i) => at < ends(reserved[i - 1]))) return yield* refusal(place, "DISK_INVALID", "is damaged: its header and tables lie over each other")
    const starts: Array<number> = []
    for (let done = 0; done < length; done += PIECE) {
      const piece = yield* bytesAt(place, table.at + done, Math.min(PIECE, length - done))
      for (let at = 0; at < piece.length; at += table.width) {
        const index = (done + at) / table.width
        const start = table.start(piece, at, index)
        if (start === undefined) continue
        if (!(start + table.bytes <= place.length)) return yield* refusal(place, "DISK_INVALID", `is cut off: block ${index} of its disk lies behind its end`, fetchAgain)
        if (reserved.some(([from, bytes]) => start < from + bytes && from < start + table.bytes)) {
          return yield* refusal(place, "DISK_INVALID", `is damaged: block ${index} of its disk lies over its header or tables`)
        }
        starts.push(start)
        // More than there is room for, so that what is kept in memory goes by the size of the file.
        if (starts.length * table.bytes > place.length) return yield* overlapping(place)
      }
    }
    const sorted = Float64Array.from(starts).sort()
    if (sorted.some((start, i) => i > 0 && start - (sorted[i - 1] ?? 0) < table.bytes)) return yield* overlapping(place)
  })

const ends = ([at, bytes]: readonly [at: number, bytes: number] = [0, 0]): number => at + bytes

const overlapping = (place: Place) => refusal(place, "DISK_INVALID", "is damaged: two blocks of its disk lie in one place")
