/**
 * VDI, VirtualBox's own format. Images that lead to a parent are refused.
 *
 * @see https://forums.virtualbox.org/viewtopic.php?t=8046
 * @module
 */
import * as Effect from "effect/Effect"
import * as Blocks from "./Blocks.js"
import { type BlockTable, bytesAt, makeWhole, type Recognizer, refusal } from "./Container.js"

const MAGIC = 0xbeda107f
const VERSION = 0x00010001
const DYNAMIC = 1
const FIXED = 2
const HEADER = 512
const BLOCK = 1024 * 1024
/** Entries from here on say that a block is not there, or zeros. */
const NONE = 0xfffffffe

export const vdi: Recognizer = (place) =>
  Effect.gen(function* () {
    const header = yield* bytesAt(place, 0, HEADER)
    if (header.readUInt32LE(0x40) !== MAGIC) return undefined
    if (header.readUInt32LE(0x44) !== VERSION) return yield* refusal(place, "DISK_UNSUPPORTED", "is a VDI of a version that is not known", makeWhole)
    const type = header.readUInt32LE(0x4c)
    // The link and the parent of a snapshot.
    const isLinked = header.subarray(0x1a8, 0x1c8).some((byte) => byte !== 0)
    if ((type !== DYNAMIC && type !== FIXED) || isLinked) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "is a snapshot: it holds only what differs from another file, which is not opened", makeWhole)
    }
    if (header.readUInt32LE(0x178) !== BLOCK) return yield* refusal(place, "DISK_UNSUPPORTED", `is a VDI of blocks of ${header.readUInt32LE(0x178)} bytes, not ${BLOCK}`, makeWhole)
    const virtualBytes = Number(header.readBigUInt64LE(0x170))
    const data = header.readUInt32LE(0x158)
    const blocks: BlockTable = {
      at: header.readUInt32LE(0x154),
      entries: Math.ceil(virtualBytes / BLOCK),
      width: 4,
      start: (table, at) => {
        const entry = table.readUInt32LE(at)
        return entry >= NONE ? undefined : data + entry * BLOCK
      },
      bytes: BLOCK,
      reserved: [[0, HEADER]]
    }
    return { format: "vdi", virtualBytes, tables: Blocks.check(place, blocks) }
  })
