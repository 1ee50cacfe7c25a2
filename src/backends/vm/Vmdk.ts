/**
 * VMDK in one file: sparse, or compressed as OVA archives hold it. A descriptor in a file of its own names its extents, and is refused: of a flat
 * disk the extent itself is a raw disk.
 *
 * @see https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc
 * @module
 */
import * as Effect from "effect/Effect"
import { bytesAt, makeWhole, type Place, type Recognizer, refusal, wholeAt } from "./Container.js"
import * as Grains from "./Grains.js"
import * as SparseExtent from "./SparseExtent.js"

const SECTOR = 512
const SPARSE = Buffer.from("KDMV")
const OLD_SPARSE = Buffer.from("COWD")
const DESCRIPTOR = "# Disk DescriptorFile"
const DESCRIPTOR_BYTES = 64 * 1024
const NO_PARENT = "ffffffff"
const ONE_FILE = ["monolithicSparse", "streamOptimized"]
/** A sparse extent of this capacity is read as a descriptor by some tools. */
const NOTHING = 0n

export const vmdk: Recognizer = (place) =>
  Effect.gen(function* () {
    const header = yield* bytesAt(place, 0, SECTOR)
    if (header.toString("latin1", 0, DESCRIPTOR.length) === DESCRIPTOR) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "is a descriptor: its data is in other files, which are not opened", "Give the file that ends in -flat.vmdk, or make one file of it: qemu-img convert -O qcow2 DISK NEW.")
    }
    if (header.subarray(0, 4).equals(OLD_SPARSE)) return yield* refusal(place, "DISK_UNSUPPORTED", "is one extent of a disk of several files", makeWhole)
    if (!header.subarray(0, 4).equals(SPARSE)) return undefined
    const version = header.readUInt32LE(4)
    if (version < 1 || version > 3) return yield* refusal(place, "DISK_UNSUPPORTED", `is a VMDK of version ${version}`, makeWhole)
    const capacity = header.readBigUInt64LE(12)
    const at = Number(header.readBigUInt64LE(28)) * SECTOR
    const length = Number(header.readBigUInt64LE(36)) * SECTOR
    if (capacity === NOTHING) return yield* refusal(place, "DISK_UNSUPPORTED", "has no data of its own: that of other files is not opened", makeWhole)
    if (at === 0 || length === 0) return yield* refusal(place, "DISK_UNSUPPORTED", "is one extent of a disk of several files", makeWhole)
    // The converter looks for a parent there alone.
    if (at !== SECTOR) return yield* refusal(place, "DISK_UNSUPPORTED", "has its descriptor in another place than the second sector", makeWhole)
    yield* checkDescriptor(place, (yield* wholeAt(place, at, Math.min(length, DESCRIPTOR_BYTES))).toString("latin1").split("\0", 1)[0] ?? "")
    const extent = yield* SparseExtent.read(place, header)
    return { format: "vmdk", virtualBytes: extent.sectors * SECTOR, tables: Grains.check(place, extent, Math.min(length, DESCRIPTOR_BYTES)) }
  })

/** `KEY=VALUE`, the value with or without quotation marks. */
const settings = (text: string): ReadonlyMap<string, string> =>
  new Map(text.split("\n").flatMap((line) => {
    const equals = line.indexOf("=")
    return equals < 0 ? [] : [[line.slice(0, equals).trim().toLowerCase(), line.slice(equals + 1).trim().replaceAll('"', "")] as const]
  }))

const checkDescriptor = (place: Place, text: string) =>
  Effect.gen(function* () {
    const found = settings(text)
    const parent = found.get("parentcid") ?? NO_PARENT
    if (found.has("parentfilenamehint") || parent.toLowerCase() !== NO_PARENT) {
      return yield* refusal(place, "DISK_UNSUPPORTED", "is a snapshot: it holds only what differs from another file, which is not opened", makeWhole)
    }
    const type = found.get("createtype") ?? ""
    if (!ONE_FILE.includes(type)) return yield* refusal(place, "DISK_UNSUPPORTED", `is a VMDK of the type "${type}", not of one file`, makeWhole)
    const extents = text.split(/\r?\n/).filter((line) => /^\s*(?:RW|RDONLY|NOACCESS)\s/.test(line))
    // Its one extent is itself, by a name that it had once.
    const isItself = extents.length === 1 && /^\s*RW\s+[0-9]+\s+SPARSE\s+"[^"/\\]*"\s*$/.test(extents[0] ?? "")
    if (!isItself) return yield* refusal(place, "DISK_UNSUPPORTED", "names extents in other files, which are not opened", makeWhole)
  })
