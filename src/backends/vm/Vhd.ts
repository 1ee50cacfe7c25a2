/**
 * VHD, fixed or dynamic. Its footer ends the file; a dynamic one begins with a copy of it. Differencing disks are refused.
 *
 * @see https://learn.microsoft.com/en-us/windows/win32/vstor/about-vhd
 * @module
 */
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import * as Blocks from "./Blocks.js"
import { type BlockTable, bytesAt, makeWhole, type Place, type Recognizer, refusal, wholeAt } from "./Container.js"

const COOKIE = Buffer.from("conectix")
const DYNAMIC_COOKIE = "cxsparse"
const SECTOR = 512
const FOOTER = 512
const DYNAMIC_HEADER = 1024
const FIXED = 2
const DYNAMIC = 3
/** Bytes; 2 MiB are usual, and nobody makes them this small. */
const SMALLEST_BLOCK = 64 * 1024
const NONE = 0xffffffff

export const vhd: Recognizer = (place) =>
  Effect.gen(function* () {
    const first = yield* bytesAt(place, 0, FOOTER)
    const footer = first.subarray(0, 8).equals(COOKIE) ? first : yield* bytesAt(place, Math.max(0, place.length - FOOTER), FOOTER)
    if (!footer.subarray(0, 8).equals(COOKIE)) return undefined
    const type = footer.readUInt32BE(60)
    if (type !== FIXED && type !== DYNAMIC) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "is a differencing disk: it holds only what differs from another file, which is not opened", makeWhole)
    }
    if ((type === DYNAMIC) !== (footer === first)) return yield* refusal(place, "DISK_INVALID", "is a VHD whose two ends say different things")
    const virtualBytes = Number(footer.readBigUInt64BE(48))
    if (type === DYNAMIC) return { format: "vhd", virtualBytes, tables: Blocks.check(place, yield* blocksOf(place, footer, virtualBytes)) }
    if (virtualBytes > place.length - FOOTER) return yield* refusal(place, "DISK_INVALID", `is cut off: its disk has ${virtualBytes} bytes, and the file ${place.length - FOOTER} of them`)
    return { format: "vhd", virtualBytes }
  })

const blocksOf = (place: Place, footer: Buffer, virtualBytes: number): Effect.Effect<BlockTable, ImageError> =>
  Effect.gen(function* () {
    const headerAt = Number(footer.readBigUInt64BE(16))
    const header = yield* wholeAt(place, headerAt, DYNAMIC_HEADER)
    if (header.toString("latin1", 0, 8) !== DYNAMIC_COOKIE) return yield* refusal(place, "DISK_INVALID", "is a VHD whose second header is damaged")
    const block = header.readUInt32BE(32)
    if (block < SMALLEST_BLOCK || !Number.isInteger(Math.log2(block))) return yield* refusal(place, "DISK_INVALID", `is a VHD of blocks of ${block} bytes, which none has`)
    // What a block begins with says which of its sectors are used.
    const bitmap = Math.ceil(block / SECTOR / 8 / SECTOR) * SECTOR
    return {
      at: Number(header.readBigUInt64BE(16)),
      // Some tools of old go by the geometry, which may say a little more; and some leave room in the table for a disk that grows.
      entries: Math.min(header.readUInt32BE(28), Math.ceil(Math.max(virtualBytes, geometryBytes(footer)) / block)),
      width: 4,
      start: (table, at) => {
        const sector = table.readUInt32BE(at)
        return sector === NONE ? undefined : sector * SECTOR
      },
      bytes: bitmap + block,
      reserved: [[0, FOOTER], [headerAt, DYNAMIC_HEADER]]
    }
  })

/** By cylinders, heads and sectors. */
const geometryBytes = (footer: Buffer): number => footer.readUInt16BE(56) * footer.readUInt8(58) * footer.readUInt8(59) * SECTOR
