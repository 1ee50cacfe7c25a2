/**
 * VHD, fixed or dynamic. Its footer ends the file; a dynamic one begins with a copy of it. Differencing disks are refused.
 *
 * @see https://learn.microsoft.com/en-us/windows/win32/vstor/about-vhd
 * @module
 */
import * as Effect from "effect/Effect"
import { bytesAt, makeWhole, type Recognizer, refusal } from "./Container.js"

const COOKIE = Buffer.from("conectix")
const FOOTER = 512
const FIXED = 2
const DYNAMIC = 3

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
    return { format: "vhd", virtualBytes: Number(footer.readBigUInt64BE(48)) }
  })
