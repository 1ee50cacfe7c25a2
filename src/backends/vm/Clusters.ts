/**
 * The tables of a qcow2 disk, which say where in the file each of its clusters lies: one table of tables, and those. A converter takes what lies behind
 * the file's end for zeros, so a download that was cut off would become a disk with holes. Clusters may be shared, and of the last one of a file what is
 * written is there alone: a cluster that begins in the file is one.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import { bytesAt, fetchAgain, type Place, refusal } from "./Container.js"

export interface ClusterTables {
  readonly clusterBits: number
  /** Whether an entry is followed by one that says which parts of its cluster are there. */
  readonly isExtended: boolean
  /** The table of tables of the disk as it is now; that of a snapshot is not read. */
  readonly tableAt: number
  readonly tableEntries: number
  readonly virtualBytes: number
}

const WIDTH = 8
const PIECE = 1024 * 1024
/** The most that the converter reads of the table of tables. */
const LARGEST_TABLE = 32 * 1024 * 1024
const HIGH = 2 ** 32
/** In the higher half of an entry. */
const COMPRESSED = 0x4000_0000
/** In the lower half. */
const ZEROS = 1

/** Fails where a table or a cluster of the disk is not in the file. */
export const check = (place: Place, tables: ClusterTables): Effect.Effect<void, ImageError> =>
  Effect.gen(function* () {
    const cluster = 2 ** tables.clusterBits
    const inTable = cluster / widthOf(tables)
    const clusters = Math.ceil(tables.virtualBytes / cluster)
    // More of them are those of a machine's memory; that there are fewer, the converter says.
    const length = Math.min(Math.ceil(clusters / inTable), tables.tableEntries) * WIDTH
    if (length > LARGEST_TABLE) return yield* refusal(place, "DISK_INVALID", `has a first table of ${length} bytes, more than the ${LARGEST_TABLE} that any has`)
    if (!(tables.tableAt + length <= place.length)) return yield* behind(place, "the first table of its clusters")
    for (let done = 0; done < length; done += PIECE) {
      const piece = yield* bytesAt(place, tables.tableAt + done, Math.min(PIECE, length - done))
      for (let at = 0; at < piece.length; at += WIDTH) {
        const start = plainStart(piece, at)
        if (start === 0) continue
        const first = ((done + at) / WIDTH) * inTable
        yield* checkTable(place, tables, start, first, Math.min(inTable, clusters - first))
      }
    }
  })

const widthOf = ({ isExtended }: ClusterTables): number => (isExtended ? 2 * WIDTH : WIDTH)

/** A table of `count` clusters, of which the first is the `first` of the disk. */
const checkTable = (place: Place, tables: ClusterTables, tableAt: number, first: number, count: number) =>
  Effect.gen(function* () {
    const width = widthOf(tables)
    const length = count * width
    if (tableAt + length > place.length) return yield* behind(place, `the table of cluster ${first}`)
    for (let done = 0; done < length; done += PIECE) {
      const piece = yield* bytesAt(place, tableAt + done, Math.min(PIECE, length - done))
      for (let at = 0; at < piece.length; at += width) {
        const start = startOf(piece, at, tables)
        if (start !== undefined && start >= place.length) return yield* behind(place, `cluster ${first + (done + at) / width} of its disk`)
      }
    }
  })

/** Where a cluster begins in the file; undefined for one that is not there, and zeros. */
const startOf = (table: Buffer, at: number, { clusterBits, isExtended }: ClusterTables): number | undefined => {
  const high = table.readUInt32BE(at)
  const low = table.readUInt32BE(at + 4)
  // What is behind the start is the length, of which a larger cluster has more bits.
  if ((high & COMPRESSED) !== 0) return (high % 2 ** (70 - clusterBits - 32)) * HIGH + low
  const isZeros = isExtended ? table.readUInt32BE(at + WIDTH + 4) === 0 : (low & ZEROS) !== 0
  const start = plainStart(table, at)
  return isZeros || start === 0 ? undefined : start
}

/** Bits 9 to 55. */
const plainStart = (table: Buffer, at: number): number => (table.readUInt32BE(at) & 0xff_ffff) * HIGH + Math.floor(table.readUInt32BE(at + 4) / 512) * 512

const behind = (place: Place, what: string) => refusal(place, "DISK_INVALID", `is cut off: ${what} lies behind its end`, fetchAgain)
