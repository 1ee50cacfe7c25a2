/**
 * Disks whose tables lie: blocks behind the end of the file, over each other and over the header, sizes that none has, regions that are elsewhere, logs and
 * parents. Each is refused before the converter sees it or by the converter, in words; or it is its own bytes that are converted.
 */
import { randomFillSync } from 'node:crypto'
import { closeSync, copyFileSync, openSync, readdirSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { type Errors, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { inFormat } from '../../harness/disks.js'
import { failure } from '../../harness/gateway.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { makeFileSystem, makeSystem, MIB } from '../../native/disks/make.js'

const work = useWorkspace('vm-tables')
const site = () => testSite(work.at('site')).config
/** Changes the bytes, or gives others in their place. */
type Change = (bytes: Buffer) => unknown
type Row = readonly [what: string, change: Change, code: Errors.ErrorCode, said: RegExp]
const formats = ['vhd', 'vdi', 'vhdx'] as const

beforeAll(async () => {
  // 16 MiB, of which the first nine are there.
  writeFileSync(work.at('noise'), randomFillSync(Buffer.alloc(9 * MIB)))
  truncateSync(work.at('noise'), 16 * MIB)
  await makeFileSystem('ext4', makeSystem(work.at('tree')), work.at('system'))
  for (const format of formats) {
    await inFormat(format, work.at('noise'), work.at(`noise.${format}`))
    await inFormat(format, work.at('system'), work.at(`system.${format}`))
  }
}, 120_000)

const apply = (change: Change, bytes: Buffer): Buffer => {
  const given = change(bytes)
  return Buffer.isBuffer(given) ? given : bytes
}
/** A disk with some of its bytes changed. */
const changed = (of: string, change: Change): string => {
  writeFileSync(work.at('changed'), apply(change, readFileSync(work.at(of))))
  return work.at('changed')
}
const refused = async (disk: string, code: Errors.ErrorCode, said: RegExp): Promise<void> => {
  const error = await failure(pullImage(`vm:${disk}`, { config: site() }))
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
}
/** A sum that is the complement of all bytes but its own, as a VHD has it of each of its headers. */
const summed = (header: Buffer, at: number): void => {
  header.writeUInt32BE(0, at)
  header.writeUInt32BE(~header.reduce((sum, byte) => sum + byte, 0) >>> 0, at)
}
/** CRC-32C. */
const crc32c = (bytes: Buffer): number => {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}
/** With its sum, as a VHDX has it of each of its structures. */
const sealed = (structure: Buffer): void => {
  structure.writeUInt32LE(0, 4)
  structure.writeUInt32LE(crc32c(structure), 4)
}

describe('VHD', () => {
  const TABLE = 0x600
  const vhd = (change: Change): Change => (bytes) => {
    const made = apply(change, bytes)
    summed(made.subarray(0, 512), 64)
    summed(made.subarray(512, TABLE), 36)
    made.copy(made, made.length - 512, 0, 512)
    return made
  }
  const CUT = /is cut off: block 0 of its disk lies behind its end/
  it.each<Row>([
    ['a block behind the end', vhd((bytes) => { bytes.writeUInt32BE(0x7fffffff, TABLE) }), 'DISK_INVALID', CUT],
    ['a block behind the end by as much as there is', vhd((bytes) => { bytes.writeUInt32BE(0xfffffffe, TABLE) }), 'DISK_INVALID', CUT],
    ['a block that ends behind the end', vhd((bytes) => { bytes.writeUInt32BE(bytes.length / 512 - 1, TABLE) }), 'DISK_INVALID', CUT],
    ['two blocks in one place', vhd((bytes) => { bytes.copy(bytes, TABLE + 4, TABLE, TABLE + 4) }), 'DISK_INVALID', /two blocks of its disk lie in one place/],
    ['two blocks that overlap', vhd((bytes) => { bytes.writeUInt32BE(bytes.readUInt32BE(TABLE) + 1, TABLE + 4) }), 'DISK_INVALID', /two blocks of its disk lie in one place/],
    ['a block over the header', vhd((bytes) => { bytes.writeUInt32BE(0, TABLE) }), 'DISK_INVALID', /block 0 of its disk lies over its header or tables/],
    ['a block over the table', vhd((bytes) => { bytes.writeUInt32BE(3, TABLE) }), 'DISK_INVALID', /block 0 of its disk lies over its header or tables/],
    ['blocks of no bytes', vhd((bytes) => { bytes.writeUInt32BE(0, 512 + 32) }), 'DISK_INVALID', /a VHD of blocks of 0 bytes/],
    ['blocks of a sector', vhd((bytes) => { bytes.writeUInt32BE(512, 512 + 32) }), 'DISK_INVALID', /a VHD of blocks of 512 bytes/],
    ['blocks of 3 MiB', vhd((bytes) => { bytes.writeUInt32BE(3 * MIB, 512 + 32) }), 'DISK_INVALID', /a VHD of blocks of 3145728 bytes/],
    ['blocks of 2 GiB', vhd((bytes) => { bytes.writeUInt32BE(2 ** 31, 512 + 32) }), 'DISK_INVALID', CUT],
    ['a table of no entries', vhd((bytes) => { bytes.writeUInt32BE(0, 512 + 28) }), 'DISK_INVALID', /can't be converted: .*Page table too small/],
    ['a table of as many entries as can be written', vhd((bytes) => { bytes.writeUInt32BE(0xffffffff, 512 + 28) }), 'DISK_INVALID', /block 0 of its disk lies over its header or tables/],
    ['a table behind the end', vhd((bytes) => { bytes.writeBigUInt64BE(1n << 40n, 512 + 16) }), 'DISK_INVALID', /the table of its blocks lies behind its end/],
    ['a table at the end of all numbers', vhd((bytes) => { bytes.writeBigUInt64BE(~0n & 0xffff_ffff_ffff_ffffn, 512 + 16) }), 'DISK_INVALID', /the table of its blocks lies behind its end/],
    ['a table over the header', vhd((bytes) => { bytes.writeBigUInt64BE(0n, 512 + 16) }), 'DISK_INVALID', /its header and tables lie over each other/],
    ['a second header behind the end', vhd((bytes) => { bytes.writeBigUInt64BE(1n << 62n, 16) }), 'DISK_INVALID', /a part of its header lies behind its end/],
    ['a second header that is none', vhd((bytes) => { bytes.writeBigUInt64BE(0n, 16) }), 'DISK_INVALID', /second header is damaged/],
    ['a disk of 16 EiB', vhd((bytes) => { bytes.writeBigUInt64BE((1n << 64n) - 1n, 48) }), 'LIMIT_EXCEEDED', /more than 1099511627776/],
    ['a sum that is wrong', (bytes) => { bytes.writeUInt32BE(1, 64) }, 'DISK_INVALID', /can't be converted: .*Incorrect header checksum/],
    ['the first half of it', (bytes) => bytes.subarray(0, 5 * MIB), 'DISK_INVALID', /is cut off: block 2 of its disk lies behind its end/],
  ])('%s', async (_, change, code, said) => refused(changed('noise.vhd', change), code, said))

  it('a fixed one that says it is larger', async () => {
    const footer = readFileSync(work.at('noise.vhd')).subarray(0, 512)
    footer.writeUInt32BE(2, 60)
    summed(footer, 64)
    writeFileSync(work.at('fixed.vhd'), Buffer.concat([readFileSync(work.at('noise')).subarray(0, MIB), footer]))
    await refused(work.at('fixed.vhd'), 'DISK_INVALID', /is cut off: its disk has 16777216 bytes, and the file 1048576 of them/)
  })

  it('as many entries as a disk of the largest size has, all of them the same', async () => {
    const disk = changed('noise.vhd', vhd((bytes) => {
      bytes.writeBigUInt64BE(1n << 40n, 48)
      bytes.writeUInt32BE(2 ** 24, 512 + 28)
      bytes.writeUInt32BE(64 * 1024, 512 + 32)
      bytes.writeBigUInt64BE(BigInt(16 * MIB), 512 + 16)
    }))
    // A table of 64 MiB of zeros, which take no room.
    truncateSync(disk, 128 * MIB)
    await refused(disk, 'DISK_INVALID', /block 0 of its disk lies over its header or tables/)
    const fd = openSync(disk, 'r+')
    const entries = Buffer.alloc(64 * MIB)
    for (let at = 0; at < entries.length; at += 4) entries.writeUInt32BE(4 * MIB / 512, at)
    writeSync(fd, entries, 0, entries.length, 16 * MIB)
    closeSync(fd)
    await refused(disk, 'DISK_INVALID', /two blocks of its disk lie in one place/)
  })
})

describe('VDI', () => {
  const TABLE = 0x200
  const CUT = /is cut off: block 0 of its disk lies behind its end/
  it.each<Row>([
    ['a block behind the end', (bytes) => { bytes.writeUInt32LE(0x7fffffff, TABLE) }, 'DISK_INVALID', CUT],
    ['a block one behind the last', (bytes) => { bytes.writeUInt32LE(9, TABLE) }, 'DISK_INVALID', CUT],
    ['two blocks in one place', (bytes) => { bytes.writeUInt32LE(0, TABLE + 4) }, 'DISK_INVALID', /two blocks of its disk lie in one place/],
    ['blocks over the header', (bytes) => { bytes.writeUInt32LE(0, 0x158) }, 'DISK_INVALID', /block 0 of its disk lies over its header or tables/],
    ['blocks behind the end', (bytes) => { bytes.writeUInt32LE(0xfffffe00, 0x158) }, 'DISK_INVALID', CUT],
    ['a table over the header', (bytes) => { bytes.writeUInt32LE(0, 0x154) }, 'DISK_INVALID', /its header and tables lie over each other/],
    ['a table behind the end', (bytes) => { bytes.writeUInt32LE(0xfffffe00, 0x154) }, 'DISK_INVALID', /the table of its blocks lies behind its end/],
    ['blocks of no bytes', (bytes) => { bytes.writeUInt32LE(0, 0x178) }, 'DISK_UNSUPPORTED', /a VDI of blocks of 0 bytes/],
    ['blocks of 4 GiB', (bytes) => { bytes.writeUInt32LE(0xffffffff, 0x178) }, 'DISK_UNSUPPORTED', /a VDI of blocks of 4294967295 bytes/],
    ['fewer blocks than its size has', (bytes) => { bytes.writeUInt32LE(1, 0x180) }, 'DISK_INVALID', /can't be converted: .*bitmap has room/],
    ['sectors of 4096 bytes', (bytes) => { bytes.writeUInt32LE(4096, 0x168) }, 'DISK_INVALID', /can't be converted: .*sector size 4096/],
    ['a disk of 16 EiB', (bytes) => { bytes.writeBigUInt64LE((1n << 64n) - 1n, 0x170) }, 'LIMIT_EXCEEDED', /more than 1099511627776/],
    ['a size of which the table has not all', (bytes) => { bytes.writeBigUInt64LE(1n << 40n, 0x170) }, 'DISK_INVALID', /is damaged|two blocks/],
    ['the first half of it', (bytes) => bytes.subarray(0, 5 * MIB), 'DISK_INVALID', /is cut off: block 4 of its disk lies behind its end/],
  ])('%s', async (_, change, code, said) => refused(changed('noise.vdi', change), code, said))
})

describe('VHDX', () => {
  const [HEADERS, REGIONS, LOG, TABLE, METADATA] = [[64 * 1024, 128 * 1024], 192 * 1024, MIB, 2 * MIB, 3 * MIB] as const
  const PARAMETERS = METADATA + 64 * 1024
  const entry = (megabytes: number, state = 6): bigint => (BigInt(megabytes) << 20n) | BigInt(state)
  /** With a region table that is whole, twice. */
  const regions = (change: (table: Buffer) => void): Change => (bytes) => {
    const table = bytes.subarray(REGIONS, REGIONS + 64 * 1024)
    change(table)
    sealed(table)
    table.copy(bytes, REGIONS + 64 * 1024)
  }
  /** The same in both headers. */
  const headers = (change: (header: Buffer) => void): Change => (bytes) => {
    for (const at of HEADERS) {
      const header = bytes.subarray(at, at + 4096)
      change(header)
      sealed(header)
    }
  }
  const ID = Buffer.alloc(16, 0x11)
  /** A log of one entry, which a machine left that was not shut down: it sets a page of the table of blocks to zero. */
  const logged: Change = (bytes) => {
    headers((header) => { ID.copy(header, 48) })(bytes)
    const log = bytes.subarray(LOG, LOG + 4096)
    log.write('loge')
    log.writeUInt32LE(4096, 8)
    log.writeBigUInt64LE(1n, 16)
    log.writeUInt32LE(1, 24)
    ID.copy(log, 32)
    for (const at of [48, 56]) log.writeBigUInt64LE(BigInt(bytes.length), at)
    log.write('zero', 64)
    log.writeBigUInt64LE(4096n, 72)
    log.writeBigUInt64LE(BigInt(TABLE), 80)
    log.writeBigUInt64LE(1n, 88)
    sealed(log)
  }
  const CUT = /is cut off: block 0 of its disk lies behind its end/
  const OVER = /block 0 of its disk lies over its header or tables/
  it.each<Row>([
    ['a block behind the end', (bytes) => { bytes.writeBigUInt64LE(entry(2 ** 20), TABLE) }, 'DISK_INVALID', CUT],
    ['a block at the end of all numbers', (bytes) => { bytes.writeBigUInt64LE(entry(2 ** 44 - 1), TABLE) }, 'DISK_INVALID', CUT],
    ['two blocks in one place', (bytes) => { bytes.copy(bytes, TABLE + 8, TABLE, TABLE + 8) }, 'DISK_INVALID', /two blocks of its disk lie in one place/],
    ['two blocks that overlap', (bytes) => { bytes.writeBigUInt64LE(bytes.readBigUInt64LE(TABLE) + entry(1, 0), TABLE + 8) }, 'DISK_INVALID', /two blocks of its disk lie in one place/],
    ['a block over the headers', (bytes) => { bytes.writeBigUInt64LE(entry(0), TABLE) }, 'DISK_INVALID', OVER],
    ['a block over the log', (bytes) => { bytes.writeBigUInt64LE(entry(1), TABLE) }, 'DISK_INVALID', OVER],
    ['a block over the table', (bytes) => { bytes.writeBigUInt64LE(entry(2), TABLE) }, 'DISK_INVALID', OVER],
    ['a block over the metadata', (bytes) => { bytes.writeBigUInt64LE(entry(3), TABLE) }, 'DISK_INVALID', OVER],
    ['a block of which its parent has a part', (bytes) => { bytes.writeBigUInt64LE(bytes.readBigUInt64LE(TABLE) | 7n, TABLE) }, 'DISK_INVALID', /can't be converted: .*Input\/output error/],
    ['blocks of no bytes', (bytes) => { bytes.writeUInt32LE(0, PARAMETERS) }, 'DISK_INVALID', /a VHDX of blocks of 0 bytes/],
    ['blocks of a sector', (bytes) => { bytes.writeUInt32LE(512, PARAMETERS) }, 'DISK_INVALID', /a VHDX of blocks of 512 bytes/],
    ['blocks of 1 GiB', (bytes) => { bytes.writeUInt32LE(2 ** 30, PARAMETERS) }, 'DISK_INVALID', /a VHDX of blocks of 1073741824 bytes/],
    ['sectors of no bytes', (bytes) => { bytes.writeUInt32LE(0, PARAMETERS + 32) }, 'DISK_INVALID', /sectors of 0, which none has/],
    ['blocks smaller than they are, so that other bytes of it are the disk', (bytes) => { bytes.writeUInt32LE(MIB, PARAMETERS) }, 'DISK_INVALID', /neither a partition table nor a file system/],
    ['a disk of 16 EiB', (bytes) => { bytes.writeBigUInt64LE((1n << 64n) - 1n, PARAMETERS + 8) }, 'LIMIT_EXCEEDED', /more than 1099511627776/],
    ['a parent', (bytes) => { bytes.writeUInt32LE(2, PARAMETERS + 4) }, 'DISK_UNSUPPORTED', /is a differencing disk/],
    ['the place of a parent, in a disk that says it has none', (bytes) => { Buffer.from('2d5fd3a80bb34d45abf7d3d84834ab0c', 'hex').copy(bytes, METADATA + 32 + 4 * 32) }, 'DISK_UNSUPPORTED', /is a differencing disk/],
    ['metadata behind the end', (bytes) => { bytes.writeUInt32LE(0xfffffff0, METADATA + 32 + 16) }, 'DISK_INVALID', /a part of its header lies behind its end/],
    ['more metadata than there can be', (bytes) => { bytes.writeUInt16LE(0xffff, METADATA + 10) }, 'DISK_INVALID', /can't be converted/],
    ['a region behind the end', regions((table) => table.writeBigUInt64LE(1n << 40n, 32)), 'DISK_INVALID', /a VHDX whose tables are damaged/],
    ['a region at the end of all numbers', regions((table) => table.writeBigUInt64LE((1n << 64n) - 1n, 64)), 'DISK_INVALID', /a VHDX whose tables are damaged/],
    ['a region that begins in the header', regions((table) => table.writeBigUInt64LE(0n, 64)), 'DISK_INVALID', /tables are damaged/],
    ['two regions in one place', regions((table) => table.writeBigUInt64LE(BigInt(METADATA), 32)), 'DISK_INVALID', /its header and tables lie over each other/],
    ['a region of no bytes', regions((table) => table.writeUInt32LE(0, 40)), 'DISK_INVALID', /a VHDX whose tables are damaged/],
    ['a region of 4 GiB', regions((table) => table.writeUInt32LE(0xfff00000, 40)), 'DISK_INVALID', /a VHDX whose tables are damaged/],
    ['one region twice', regions((table) => table.copy(table, 48, 16, 32)), 'DISK_INVALID', /tables are damaged/],
    ['more regions than there can be', regions((table) => table.writeUInt32LE(0xffffffff, 8)), 'DISK_INVALID', /a VHDX whose tables are damaged/],
    ['a region table whose sum is wrong', (bytes) => { bytes.writeUInt32LE(0, REGIONS + 4) }, 'DISK_INVALID', /can't be converted/],
    ['a log that is to be replayed', logged, 'DISK_INVALID', /was not closed: its log holds changes that are not made yet.*qemu-img check -r all/],
    ['a log over the table', headers((header) => header.writeBigUInt64LE(BigInt(TABLE), 72)), 'DISK_INVALID', /its header and tables lie over each other/],
    ['no headers', (bytes) => { bytes.fill(0, HEADERS[0], HEADERS[1] + 4096) }, 'DISK_INVALID', /headers are damaged/],
    ['the first half of it', (bytes) => bytes.subarray(0, 12 * MIB), 'DISK_INVALID', CUT],
  ])('%s', async (_, change, code, said) => refused(changed('noise.vhdx', change), code, said))

  it('a log whose entries are all of another time is none', async () => {
    const config = site()
    const disk = changed('system.vhdx', (bytes) => {
      logged(bytes)
      headers((header) => { header.fill(0x22, 48, 64) })(bytes)
    })
    expect((await pullImage(`vm:${disk}`, { config })).imageSha256).toBe((await pullImage(`vm:${work.at('system')}`, { config })).imageSha256)
  })
})

describe('what is whole', () => {
  it('is the same image from each format, after all of the others', async () => {
    const config = site()
    const plain = await pullImage(`vm:${work.at('system')}`, { config })
    for (const format of formats) expect((await pullImage(`vm:${work.at(`system.${format}`)}`, { config })).imageSha256, format).toBe(plain.imageSha256)
    expect(readdirSync(`${config.stateDirectory}/work`)).toEqual([])
  })

  it('is itself where it names a parent that it does not need: nothing of that is opened', async () => {
    const config = site()
    copyFileSync(work.at('system.vhd'), work.at('parent.vhd'))
    const fd = openSync(work.at('parent.vhd'), 'r+')
    const header = readFileSync(work.at('system.vhd')).subarray(512, 512 + 1024)
    header.fill(7, 40, 56)
    header.write(Buffer.from('/etc/shadow', 'utf16le').swap16().toString('latin1'), 64, 'latin1')
    // Its locator: a place in the file, which holds a path.
    header.write('W2ku', 576)
    header.writeUInt32BE(1, 580)
    header.writeUInt32BE(11, 584)
    header.writeBigUInt64BE(600n, 592)
    summed(header, 36)
    writeSync(fd, header, 0, header.length, 512)
    closeSync(fd)
    expect((await pullImage(`vm:${work.at('parent.vhd')}`, { config })).imageSha256).toBe((await pullImage(`vm:${work.at('system')}`, { config })).imageSha256)
  })
})
