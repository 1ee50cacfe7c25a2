/**
 * Raw disks. They have no header, so what a disk begins with is looked for: a partition table, a file system, logical volumes. What has none of
 * that is no disk; no tool is ever asked to guess.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { bytesAt, type Recognizer, refusal } from "./Container.js"

const HEAD = 128 * 1024

interface Mark {
  readonly at: number
  readonly bytes: Buffer
}
const mark = (at: number, bytes: string): Mark => ({ at, bytes: Buffer.from(bytes, "latin1") })

/** Partition tables, for sectors of 512 and of 4096 bytes; ext, XFS, btrfs, swap; LUKS and md, so that the reader can say that it does not read them. */
const disks: ReadonlyArray<Mark> = [
  mark(510, "\x55\xaa"),
  mark(512, "EFI PART"),
  mark(4096, "EFI PART"),
  mark(1080, "\x53\xef"),
  mark(0, "XFSB"),
  mark(0x10040, "_BHRfS_M"),
  ...[0, 512, 1024, 1536].map((at) => mark(at, "LABELONE")),
  mark(4086, "SWAPSPACE2"),
  mark(0, "LUKS\xba\xbe"),
  mark(4096, "\xfc\x4e\x2b\xa9"),
  mark(0, "\xfc\x4e\x2b\xa9")
]

/** What is given in place of a disk. */
const others: ReadonlyArray<Mark & { readonly what: string; readonly remedy: string }> = [
  { ...mark(0, "\x1f\x8b"), what: "is compressed twice with gzip", remedy: "Unpack it first: gunzip." },
  { ...mark(0, "\xfd7zXZ\0"), what: "is compressed with xz", remedy: "Unpack it first: unxz." },
  { ...mark(0, "BZh"), what: "is compressed with bzip2", remedy: "Unpack it first: bunzip2." },
  { ...mark(0, "\x28\xb5\x2f\xfd"), what: "is compressed twice with zstd", remedy: "Unpack it first: unzstd." },
  { ...mark(0, "hsqs"), what: "is a squashfs, not a disk", remedy: "Import it as custom:NAME." },
  { ...mark(0x8001, "CD001"), what: "is a CD image", remedy: "Install the machine from it, and give the disk that it is installed on." }
]

export const raw: Recognizer = (place) =>
  Effect.gen(function* () {
    const head = yield* bytesAt(place, 0, HEAD)
    const has = ({ at, bytes }: Mark) => head.subarray(at, at + bytes.length).equals(bytes)
    const other = others.find(has)
    if (other !== undefined) return yield* refusal(place, "DISK_UNSUPPORTED", other.what, other.remedy)
    return disks.some(has) ? { format: "raw", virtualBytes: place.length } : undefined
  })
