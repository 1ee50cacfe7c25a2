/**
 * The grain directory and the grain tables of a sparse VMDK, which say where in the file each grain of the disk lies. A converter takes what lies behind
 * the file's end for zeros, so a download that was cut off would become a disk with holes. Of a compressed grain the beginning is looked at: where it
 * ends is seen by whoever unpacks it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import { bytesAt, fetchAgain, type Place, refusal } from "./Container.js"
import * as SectorMap from "./SectorMap.js"
import { SECTOR, type SparseExtent, TABLE_ENTRIES } from "./SparseExtent.js"

const WIDTH = 4
const PIECE = 1024 * 1024
const TABLE_BYTES = TABLE_ENTRIES * WIDTH
const NOT_THERE = 0
const ZEROS = 1

/** Fails where the directory, a table or a grain is not wholly in the file, or lies over anything else. */
export const check = (place: Place, extent: SparseExtent, descriptorBytes: number): Effect.Effect<void, ImageError> =>
  Effect.gen(function* () {
    const entries = Math.ceil(extent.sectors / (TABLE_ENTRIES * extent.grainSectors))
    if (!(extent.directoryAt + entries * WIDTH <= place.length)) return yield* behind(place, "its grain directory")
    const map = SectorMap.make(Math.ceil(place.length / SECTOR))
    const isFree = map.take(0, 1 + Math.ceil(descriptorBytes / SECTOR)) && map.take(extent.directoryAt / SECTOR, sectorsOf(entries * WIDTH))
    if (!isFree) return yield* over(place, "its grain directory")
    for (let done = 0; done < entries; done += PIECE / WIDTH) {
      const directory = yield* bytesAt(place, extent.directoryAt + done * WIDTH, Math.min(PIECE, (entries - done) * WIDTH))
      for (const run of runsOf(directory)) yield* checkTables(place, extent, map, run.sector, run.count, done + run.first)
    }
  })

interface Run {
  /** Its first entry of the directory. */
  readonly first: number
  readonly sector: number
  count: number
}

/** Tables that follow each other in the file, as they mostly do, are read at once. */
const runsOf = (directory: Buffer): ReadonlyArray<Run> => {
  const runs: Array<Run> = []
  for (let index = 0; index < directory.length / WIDTH; index += 1) {
    const sector = directory.readUInt32LE(index * WIDTH)
    if (sector === NOT_THERE) continue
    const last = runs.at(-1)
    const follows = last !== undefined && index === last.first + last.count && sector === last.sector + last.count * sectorsOf(TABLE_BYTES)
    if (follows && last.count < PIECE / TABLE_BYTES) last.count += 1
    else runs.push({ first: index, sector, count: 1 })
  }
  return runs
}

/** Tables in one piece of the file, of which the first is the `first` of the disk. */
const checkTables = (place: Place, extent: SparseExtent, map: SectorMap.SectorMap, sector: number, count: number, first: number) =>
  Effect.gen(function* () {
    const length = count * TABLE_BYTES
    if (sector * SECTOR + length > place.length) return yield* behind(place, "a table of its grains")
    if (!map.take(sector, sectorsOf(length))) return yield* over(place, "a table of its grains")
    const tables = yield* bytesAt(place, sector * SECTOR, length)
    for (let at = 0; at < length; at += WIDTH) {
      const start = tables.readUInt32LE(at)
      if (start === NOT_THERE || (start === ZEROS && extent.hasZeroGrains)) continue
      const index = first * TABLE_ENTRIES + at / WIDTH
      const sectors = sectorsOfGrain(extent, index)
      if (sectors <= 0) break
      if ((start + sectors) * SECTOR > place.length) return yield* behind(place, `grain ${index} of its disk`)
      if (!map.take(start, sectors)) return yield* over(place, `grain ${index} of its disk`)
    }
  })

/** The last one has only to be as long as the disk; there is nothing to a grain behind that. */
const sectorsOfGrain = ({ grainSectors, isCompressed, sectors }: SparseExtent, index: number): number =>
  Math.min(isCompressed ? 1 : grainSectors, sectors - index * grainSectors)

const sectorsOf = (bytes: number): number => Math.ceil(bytes / SECTOR)

const behind = (place: Place, what: string) => refusal(place, "DISK_INVALID", `is cut off: ${what} lies behind its end`, fetchAgain)

const over = (place: Place, what: string) => refusal(place, "DISK_INVALID", `is damaged: ${what} lies over another part of it`)
