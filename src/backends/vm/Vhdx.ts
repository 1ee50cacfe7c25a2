/**
 * VHDX. Its region table leads to its metadata, which say how large the disk is and whether it has a parent; one that has is refused, and so is one
 * whose log would have to be replayed.
 *
 * @see https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx
 * @module
 */
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import * as Blocks from "./Blocks.js"
import { type BlockTable, bytesAt, makeWhole, type Place, type Recognizer, refusal, wholeAt } from "./Container.js"

const MIB = 1024 * 1024
const SIGNATURE = Buffer.from("vhdxfile")
const REGION_TABLES = [192 * 1024, 256 * 1024]
const HEADERS = [64 * 1024, 128 * 1024]
const TABLE = 64 * 1024
const ENTRIES = 2047
const HEADER = 4096
const LOG_SECTOR = 4096
/** Bytes of a block: 1 to 256 MiB. */
const BLOCKS = Array.from({ length: 9 }, (_, i) => MIB << i)
const SECTORS = [512, 4096]
const SECTORS_OF_BITMAP = 2 ** 23
/** As they stand in the file. */
const BLOCK_REGION = "6677c22d23f600429d64115e9bfd4a08"
const METADATA_REGION = "06a27c8b90479a4bb8fe575f050f886e"
const FILE_PARAMETERS = "3767a1ca36fa434db3b633f0aa44e76b"
const DISK_SIZE = "2442a52f1bcd7648b2115dbed83bf4b8"
const SECTOR_SIZE = "1dbf41816fa90947ba47f233a8faab5f"
const PARENT_LOCATOR = "2d5fd3a80bb34d45abf7d3d84834ab0c"
const HAS_PARENT = 2
/** Of the states of a block, the one in which it is there. */
const STATE = 7
const PRESENT = 6

export const vhdx: Recognizer = (place) =>
  Effect.gen(function* () {
    if (!(yield* bytesAt(place, 0, 8)).equals(SIGNATURE)) return undefined
    const damaged = refusal(place, "DISK_INVALID", "is a VHDX whose tables are damaged")
    const tables = yield* Effect.forEach(REGION_TABLES, (at) => wholeAt(place, at, TABLE))
    // Both copies say the same, where both are whole.
    const table = tables.find((each) => each.toString("latin1", 0, 4) === "regi")
    if (table === undefined) return yield* damaged
    const regions = regionsOf(table)
    const metadataAt = regions.get(METADATA_REGION)?.[0]
    const blocksAt = regions.get(BLOCK_REGION)?.[0]
    if (metadataAt === undefined || blocksAt === undefined || regions.size !== table.readUInt32LE(8)) return yield* damaged
    if ([...regions.values()].some(([at, bytes]) => at % MIB !== 0 || bytes % MIB !== 0 || bytes === 0 || at + bytes > place.length)) return yield* damaged
    const items = itemsOf(yield* wholeAt(place, metadataAt, TABLE), metadataAt)
    const parameters = items.get(FILE_PARAMETERS)
    const size = items.get(DISK_SIZE)
    const sectorSize = items.get(SECTOR_SIZE)
    if (parameters === undefined || size === undefined || sectorSize === undefined) return yield* damaged
    const file = yield* wholeAt(place, parameters, 8)
    if (items.has(PARENT_LOCATOR) || (file.readUInt32LE(4) & HAS_PARENT) !== 0) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "is a differencing disk: it holds only what differs from another file, which is not opened", makeWhole)
    }
    const block = file.readUInt32LE(0)
    const sector = (yield* wholeAt(place, sectorSize, 4)).readUInt32LE(0)
    if (!BLOCKS.includes(block) || !SECTORS.includes(sector)) return yield* refusal(place, "DISK_INVALID", `is a VHDX of blocks of ${block} bytes and sectors of ${sector}, which none has`)
    const log = yield* logOf(place)
    const virtualBytes = Number((yield* wholeAt(place, size, 8)).readBigUInt64LE(0))
    const payloads = Math.ceil(virtualBytes / block)
    // Behind so many blocks there is the entry of a bitmap, which only a differencing disk has.
    const chunk = (SECTORS_OF_BITMAP * sector) / block
    const blocks: BlockTable = {
      at: blocksAt,
      entries: payloads + Math.floor(Math.max(0, payloads - 1) / chunk),
      width: 8,
      start: (entries, at, index) => ((entries.readUInt8(at) & STATE) !== PRESENT || (index + 1) % (chunk + 1) === 0 ? undefined : Number(entries.readBigUInt64LE(at) >> 20n) * MIB),
      bytes: block,
      reserved: [[0, MIB], log, ...[...regions].flatMap(([id, region]) => (id === BLOCK_REGION ? [] : [region]))]
    }
    return { format: "vhdx", virtualBytes, tables: Blocks.check(place, blocks) }
  })

/** Where each region begins and its bytes. */
const regionsOf = (table: Buffer): ReadonlyMap<string, readonly [at: number, bytes: number]> =>
  new Map(entries(table, 16, table.readUInt32LE(8)).map((at) => [table.toString("hex", at, at + 16), [Number(table.readBigUInt64LE(at + 16)), table.readUInt32LE(at + 24)]]))

/** Where in the file the value of each item begins. */
const itemsOf = (table: Buffer, tableAt: number): ReadonlyMap<string, number> =>
  table.toString("latin1", 0, 8) !== "metadata" ? new Map() : new Map(entries(table, 32, table.readUInt16LE(10)).map((at) => [table.toString("hex", at, at + 16), tableAt + table.readUInt32LE(at + 16)]))

const entries = (table: Buffer, start: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: Math.min(count, ENTRIES) }, (_, i) => start + i * 32).filter((at) => at + 32 <= table.length)

/** Where the log lies. Fails where it holds changes of the tables that whoever had the disk open did not come to make. */
const logOf = (place: Place): Effect.Effect<readonly [at: number, bytes: number], ImageError> =>
  Effect.gen(function* () {
    const headers = (yield* Effect.forEach(HEADERS, (at) => wholeAt(place, at, HEADER))).filter((each) => each.toString("latin1", 0, 4) === "head")
    const [header] = headers.sort((a, b) => Number(b.readBigUInt64LE(8) - a.readBigUInt64LE(8)))
    if (header === undefined) return yield* refusal(place, "DISK_INVALID", "is a VHDX whose headers are damaged")
    const id = header.subarray(48, 64)
    const at = Number(header.readBigUInt64LE(72))
    const bytes = header.readUInt32LE(68)
    if (id.every((byte) => byte === 0)) return [at, bytes]
    for (let done = 0; done < bytes && at + done < place.length; done += MIB) {
      const piece = yield* bytesAt(place, at + done, Math.min(MIB, bytes - done))
      for (let entry = 0; entry + LOG_SECTOR <= piece.length; entry += LOG_SECTOR) {
        if (piece.toString("latin1", entry, entry + 4) === "loge" && piece.subarray(entry + 32, entry + 48).equals(id)) {
          return yield* refusal(place, "DISK_INVALID", "was not closed: its log holds changes that are not made yet", "Start the machine and shut it down; or qemu-img check -r all DISK, and qemu-img convert -O qcow2 DISK NEW.")
        }
      }
    }
    return [at, bytes]
  })
