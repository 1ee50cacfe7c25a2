/**
 * VHDX. Its region table leads to its metadata, which say how large the disk is and whether it has a parent; one that has is refused.
 *
 * @see https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx
 * @module
 */
import * as Effect from "effect/Effect"
import { bytesAt, makeWhole, type Recognizer, refusal, wholeAt } from "./Container.js"

const SIGNATURE = Buffer.from("vhdxfile")
const REGION_TABLES = [192 * 1024, 256 * 1024]
const TABLE = 64 * 1024
const REGIONS = 2047
/** As they stand in the file. */
const METADATA_REGION = "06a27c8b90479a4bb8fe575f050f886e"
const FILE_PARAMETERS = "3767a1ca36fa434db3b633f0aa44e76b"
const DISK_SIZE = "2442a52f1bcd7648b2115dbed83bf4b8"
const PARENT_LOCATOR = "2d5fd3a80bb34d45abf7d3d84834ab0c"
const HAS_PARENT = 2

export const vhdx: Recognizer = (place) =>
  Effect.gen(function* () {
    if (!(yield* bytesAt(place, 0, 8)).equals(SIGNATURE)) return undefined
    const damaged = refusal(place, "DISK_INVALID", "is a VHDX whose tables are damaged")
    const tables = yield* Effect.forEach(REGION_TABLES, (at) => wholeAt(place, at, TABLE))
    // Both copies say the same, where both are whole.
    const region = tables.find((table) => table.toString("latin1", 0, 4) === "regi")
    if (region === undefined) return yield* damaged
    const metadataAt = entries(region, 16, Math.min(region.readUInt32LE(8), REGIONS)).find(({ id }) => id === METADATA_REGION)?.offset
    if (metadataAt === undefined) return yield* damaged
    const metadata = yield* wholeAt(place, metadataAt, TABLE)
    if (metadata.toString("latin1", 0, 8) !== "metadata") return yield* damaged
    const items = new Map(
      Array.from({ length: Math.min(metadata.readUInt16LE(10), REGIONS) }, (_, i) => 32 + i * 32)
        .filter((at) => at + 32 <= metadata.length)
        .map((at) => [metadata.toString("hex", at, at + 16), metadataAt + metadata.readUInt32LE(at + 16)])
    )
    const parameters = items.get(FILE_PARAMETERS)
    const size = items.get(DISK_SIZE)
    if (parameters === undefined || size === undefined) return yield* damaged
    if (items.has(PARENT_LOCATOR) || ((yield* wholeAt(place, parameters, 8)).readUInt32LE(4) & HAS_PARENT) !== 0) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "is a differencing disk: it holds only what differs from another file, which is not opened", makeWhole)
    }
    return { format: "vhdx", virtualBytes: Number((yield* wholeAt(place, size, 8)).readBigUInt64LE(0)) }
  })

const entries = (table: Buffer, start: number, count: number) =>
  Array.from({ length: count }, (_, i) => start + i * 32)
    .filter((at) => at + 32 <= table.length)
    .map((at) => ({ id: table.toString("hex", at, at + 16), offset: Number(table.readBigUInt64LE(at + 16)) }))
