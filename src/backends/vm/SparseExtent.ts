/**
 * The header of a sparse extent of a VMDK: where its grain directory lies and how large its grains are. A stream that was written in one go has the
 * directory behind its grains, and says so in a second header, at the end.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import { fetchAgain, makeWhole, type Place, refusal, wholeAt } from "./Container.js"

export const SECTOR = 512
/** Entries of a grain table, in every sparse extent of these versions. */
export const TABLE_ENTRIES = 512

export interface SparseExtent {
  /** Of its disk. */
  readonly sectors: number
  readonly grainSectors: number
  /** Where its grain directory begins, in bytes. The redundant one is for repair: no converter reads it. */
  readonly directoryAt: number
  /** Whether an entry of 1 is a grain of zeros. */
  readonly hasZeroGrains: boolean
  /** Whether a grain is as long as it came out. */
  readonly isCompressed: boolean
}

const AT_END = 0xffff_ffff_ffff_ffffn
const ZERO_GRAINS = 4
const DEFLATE = 1
/** Sectors: 4 KiB, as the format has it, and 1 GiB, the most that the converter reads. */
const SMALLEST_GRAIN = 8
const LARGEST_GRAIN = 0x20_0000
/** A marker, the header and the marker of the end, a sector each. */
const FOOTER = 3 * SECTOR
const FOOTER_MARKER = 3

/** Reads what the first header says, or the second one where the first says that. */
export const read = (place: Place, first: Buffer): Effect.Effect<SparseExtent, ImageError> =>
  Effect.gen(function* () {
    const header = directoryOf(first) === AT_END ? yield* footer(place, first) : first
    const grainSectors = Number(header.readBigUInt64LE(20))
    const tableEntries = header.readUInt32LE(44)
    if (grainSectors < SMALLEST_GRAIN || grainSectors > LARGEST_GRAIN || !Number.isInteger(Math.log2(grainSectors)) || tableEntries !== TABLE_ENTRIES) {
      return yield* refusal(place, "DISK_UNSUPPORTED", `is a VMDK of grains of ${grainSectors} sectors and tables of ${tableEntries} entries, which none is known to have`, makeWhole)
    }
    return {
      sectors: Number(header.readBigUInt64LE(12)),
      grainSectors,
      directoryAt: Number(directoryOf(header)) * SECTOR,
      hasZeroGrains: (header.readUInt32LE(8) & ZERO_GRAINS) !== 0,
      isCompressed: header.readUInt16LE(77) === DEFLATE
    }
  })

const directoryOf = (header: Buffer): bigint => header.readBigUInt64LE(56)

const footer = (place: Place, first: Buffer): Effect.Effect<Buffer, ImageError> =>
  Effect.gen(function* () {
    const found = yield* wholeAt(place, Math.ceil(place.length / SECTOR) * SECTOR - FOOTER, FOOTER)
    const header = found.subarray(SECTOR, 2 * SECTOR)
    const isFooter = found.readUInt32LE(8) === 0 && found.readUInt32LE(12) === FOOTER_MARKER && header.subarray(0, 4).equals(first.subarray(0, 4))
    const isEnd = found.subarray(2 * SECTOR, 2 * SECTOR + 16).every((byte) => byte === 0)
    if (!isFooter || !isEnd || directoryOf(header) === AT_END) return yield* refusal(place, "DISK_INVALID", "is cut off: the header that belongs at its end is not there", fetchAgain)
    return header
  })
