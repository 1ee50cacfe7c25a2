/**
 * Physical volumes of LVM written by hand, for metadata that its own tools would not write.
 *
 * @module
 */

const SECTOR = 512
const AREA = 4096

/** The CRC-32 of Ethernet, inverted at neither end. */
export const crc32 = (bytes: Buffer, start: number): number => {
  let crc = start
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return crc >>> 0
}

const checksum = (bytes: Buffer): number => crc32(bytes, 0xf597a6cf)

/** The start of a physical volume: label, one metadata area with the text, and room up to where `pe_start` may be. */
export const lvm = (text: Buffer | string, uuid = 'a'.repeat(32)): Buffer => {
  const content = Buffer.from(text)
  const size = Math.ceil((content.length + SECTOR) / AREA) * AREA
  const disk = Buffer.alloc(AREA + size)
  const label = disk.subarray(SECTOR, 2 * SECTOR)
  label.write('LABELONE', 0)
  label.writeBigUInt64LE(1n, 8)
  label.writeUInt32LE(32, 20)
  label.write('LVM2 001', 24)
  label.write(uuid, 32)
  // The size of the device, then no place of data, then that of the metadata.
  label.writeBigUInt64LE(1n << 40n, 64)
  label.writeBigUInt64LE(BigInt(AREA), 88)
  label.writeBigUInt64LE(BigInt(size), 96)
  label.writeUInt32LE(checksum(label.subarray(20)), 16)
  const header = disk.subarray(AREA, AREA + SECTOR)
  header.write(' LVM2 x[5A%r0N*>', 4, 'latin1')
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(BigInt(AREA), 24)
  header.writeBigUInt64LE(BigInt(size), 32)
  header.writeBigUInt64LE(BigInt(SECTOR), 40)
  header.writeBigUInt64LE(BigInt(content.length), 48)
  header.writeUInt32LE(checksum(content), 56)
  header.writeUInt32LE(checksum(header.subarray(4)), 0)
  content.copy(disk, AREA + SECTOR)
  return disk
}
