/**
 * qcow2, versions 2 and 3. What is refused: backing files, data files, encryption, and images that their writer marked as damaged.
 *
 * @see https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.rst
 * @module
 */
import * as Effect from "effect/Effect"
import * as Clusters from "./Clusters.js"
import { bytesAt, makeWhole, type Recognizer, refusal, wholeAt } from "./Container.js"

const MAGIC = 0x514649fb
const HEADER = 112
const CORRUPT = 1n << 1n
const EXTERNAL_DATA = 1n << 2n
const EXTENDED_L2 = 1n << 4n
/** Dirty, corrupt, external data, compression type, extended L2. */
const KNOWN = 0b11111n
const BACKING_FORMAT = 0xe2792aca
const DATA_FILE = 0x44415441
/** Bits of the offset within a cluster. */
const SMALLEST = 9
const LARGEST = 21
/** Extensions follow the header in its first cluster, of which there are few. */
const EXTENSIONS = 64 * 1024

export const qcow2: Recognizer = (place) =>
  Effect.gen(function* () {
    const header = yield* bytesAt(place, 0, HEADER)
    if (header.readUInt32BE(0) !== MAGIC) return undefined
    const version = header.readUInt32BE(4)
    if (version !== 2 && version !== 3) return yield* refusal(place, "DISK_UNSUPPORTED", `is a qcow image of version ${version}, not 2 or 3`, makeWhole)
    if (header.readBigUInt64BE(8) !== 0n || header.readUInt32BE(16) !== 0) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "holds only what differs from another file, its backing file, which is not opened", makeWhole)
    }
    if (header.readUInt32BE(32) !== 0) return yield* refusal(place, "DISK_UNSUPPORTED", "is encrypted", "Convert it to a plain image where its key is: qemu-img convert.")
    const features = version === 3 ? header.readBigUInt64BE(72) : 0n
    if ((features & EXTERNAL_DATA) !== 0n) return yield* refusal(place, "DISK_UNSUPPORTED", "keeps its data in another file, which is not opened", makeWhole)
    if ((features & CORRUPT) !== 0n) return yield* refusal(place, "DISK_INVALID", "is marked as damaged", "Repair it: qemu-img check -r all DISK.")
    if ((features & ~KNOWN) !== 0n) return yield* refusal(place, "DISK_UNSUPPORTED", "has features that are not known", makeWhole)
    const start = version === 3 ? header.readUInt32BE(100) : 72
    const area = yield* wholeAt(place, 0, Math.min(EXTENSIONS, place.length))
    for (let at = start; at + 8 <= area.length; ) {
      const type = area.readUInt32BE(at)
      if (type === 0) break
      if (type === BACKING_FORMAT) return yield* refusal(place, "DISK_UNSUPPORTED", "speaks of a backing file, which is not opened", makeWhole)
      if (type === DATA_FILE) return yield* refusal(place, "DISK_UNSUPPORTED", "keeps its data in another file, which is not opened", makeWhole)
      at += 8 + Math.ceil(area.readUInt32BE(at + 4) / 8) * 8
    }
    const clusterBits = header.readUInt32BE(20)
    if (clusterBits < SMALLEST || clusterBits > LARGEST) return yield* refusal(place, "DISK_INVALID", `is a qcow2 of clusters of 2^${clusterBits} bytes, which none has`)
    const virtualBytes = Number(header.readBigUInt64BE(24))
    const tables = Clusters.check(place, {
      clusterBits,
      isExtended: (features & EXTENDED_L2) !== 0n,
      tableAt: Number(header.readBigUInt64BE(40)),
      tableEntries: header.readUInt32BE(36),
      virtualBytes
    })
    return { format: "qcow2", virtualBytes, tables }
  })
