/**
 * The superblock of squashfs 4.0, read back to verify what a packer wrote.
 *
 * @see https://dr-emann.github.io/squashfs/
 * @module
 */
import type { FileHandle } from "node:fs/promises"

export interface Superblock {
  readonly inodes: number
}

/** Reads a superblock, or says why there is none. */
export const read = async (file: FileHandle): Promise<Superblock | { readonly why: string }> => {
  const b = Buffer.alloc(96)
  const { bytesRead } = await file.read(b, 0, 96, 0)
  if (bytesRead < 96 || b.readUInt32LE(0) !== 0x73717368) return { why: "it has no squashfs superblock" }
  if (b.readUInt16LE(28) !== 4 || b.readUInt16LE(30) !== 0) return { why: "it is not squashfs version 4.0" }
  // What the file system uses; the file is padded to a block of the device.
  const bytesUsed = Number(b.readBigUInt64LE(40))
  const { size } = await file.stat()
  if (bytesUsed > size) return { why: `it is cut: ${size} bytes of ${bytesUsed}` }
  return { inodes: b.readUInt32LE(4) }
}
