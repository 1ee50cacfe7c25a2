/**
 * Sparse VMDK disks whose grain directory or grain tables lie: behind the end of the file, over each other and over the header. A disk of each kind that is
 * written by a machine is the same image as the raw one, with the directory at its beginning or at its end.
 */
import { randomFillSync } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { type Errors, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../../harness/gateway.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { makeFileSystem, makeSystem, MIB } from '../../native/disks/make.js'

const work = useWorkspace('vm-grains')
const site = () => testSite(work.at('site')).config
const SECTOR = 512
/** Changes the bytes, or gives others in their place. */
type Change = (bytes: Buffer) => unknown
type Row = readonly [what: string, change: Change, code: Errors.ErrorCode, said: RegExp]
const kinds = { sparse: 'subformat=monolithicSparse', zeros: 'subformat=monolithicSparse,zeroed_grain=on', stream: 'subformat=streamOptimized' } as const

/** Where the grain directory is, and the first of its tables. */
const directoryOf = (bytes: Buffer): number => Number(bytes.readBigUInt64LE(56)) * SECTOR
const tableOf = (bytes: Buffer): number => bytes.readUInt32LE(directoryOf(bytes)) * SECTOR

/** A sector that says what follows it. */
const marker = (sectors: number, type: number): Buffer => {
  const made = Buffer.alloc(SECTOR)
  made.writeBigUInt64LE(BigInt(sectors), 0)
  made.writeUInt32LE(type, 12)
  return made
}
/** A stream as it is written in one go: what says where its grains are comes last. */
const written = (bytes: Buffer): Buffer => {
  const [TABLE, DIRECTORY, FOOTER] = [1, 2, 3] as const
  const pieces = [bytes]
  let sectors = bytes.length / SECTOR
  /** Puts a piece behind a marker, and says where it begins. */
  const put = (type: number, piece: Buffer): number => {
    pieces.push(marker(piece.length / SECTOR, type), piece)
    const at = sectors + 1
    sectors = at + piece.length / SECTOR
    return at
  }
  const tables = Math.ceil(Number(bytes.readBigUInt64LE(12)) / (512 * 128))
  const directory = Buffer.alloc(Math.ceil((tables * 4) / SECTOR) * SECTOR)
  for (let index = 0; index < tables; index += 1) {
    const at = bytes.readUInt32LE(directoryOf(bytes) + index * 4) * SECTOR
    directory.writeUInt32LE(put(TABLE, bytes.subarray(at, at + 2048)), index * 4)
  }
  const header = Buffer.from(bytes.subarray(0, SECTOR))
  header.writeBigUInt64LE(BigInt(put(DIRECTORY, directory)), 56)
  put(FOOTER, header)
  bytes.writeBigUInt64LE((1n << 64n) - 1n, 56)
  return Buffer.concat([...pieces, Buffer.alloc(SECTOR)])
}

beforeAll(async () => {
  // 16 MiB, of which the first nine are there.
  writeFileSync(work.at('noise'), randomFillSync(Buffer.alloc(9 * MIB)))
  truncateSync(work.at('noise'), 16 * MIB)
  await makeFileSystem('ext4', makeSystem(work.at('tree')), work.at('system'))
  for (const [kind, options] of Object.entries(kinds)) {
    for (const disk of ['noise', 'system']) await runOk(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', options, work.at(disk), work.at(`${disk}.${kind}`)])
  }
}, 120_000)

const changed = (of: string, change: Change): string => {
  const bytes = readFileSync(work.at(of))
  const given = change(bytes)
  writeFileSync(work.at('changed'), Buffer.isBuffer(given) ? given : bytes)
  return work.at('changed')
}
const refused = async (disk: string, code: Errors.ErrorCode, said: RegExp): Promise<void> => {
  const error = await failure(pullImage(`vm:${disk}`, { config: site() }))
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
}
const GRAIN_CUT = /is cut off: grain \d+ of its disk lies behind its end.*Fetch or export/
const GRAIN_OVER = /is damaged: grain \d+ of its disk lies over another part of it/

describe('a sparse VMDK', () => {
  it.each<Row>([
    ['the first half of it', (bytes) => bytes.subarray(0, 5 * MIB), 'DISK_INVALID', GRAIN_CUT],
    ['all of it but a sector', (bytes) => bytes.subarray(0, bytes.length - SECTOR), 'DISK_INVALID', GRAIN_CUT],
    ['a grain behind the end', (bytes) => { bytes.writeUInt32LE(0xffffffff, tableOf(bytes)) }, 'DISK_INVALID', GRAIN_CUT],
    ['two grains in one place', (bytes) => { bytes.copy(bytes, tableOf(bytes) + 4, tableOf(bytes), tableOf(bytes) + 4) }, 'DISK_INVALID', GRAIN_OVER],
    ['two grains that overlap', (bytes) => { bytes.writeUInt32LE(bytes.readUInt32LE(tableOf(bytes)) + 127, tableOf(bytes) + 4) }, 'DISK_INVALID', GRAIN_OVER],
    ['a grain over the header', (bytes) => { bytes.writeUInt32LE(1, tableOf(bytes)) }, 'DISK_INVALID', GRAIN_OVER],
    ['a grain over its table', (bytes) => { bytes.writeUInt32LE(tableOf(bytes) / SECTOR, tableOf(bytes)) }, 'DISK_INVALID', GRAIN_OVER],
    ['a table behind the end', (bytes) => { bytes.writeUInt32LE(0xffffffff, directoryOf(bytes)) }, 'DISK_INVALID', /is cut off: a table of its grains lies behind its end/],
    ['a table over the directory', (bytes) => { bytes.writeUInt32LE(directoryOf(bytes) / SECTOR, directoryOf(bytes)) }, 'DISK_INVALID', /is damaged: a table of its grains lies over another part of it/],
    ['a directory behind the end', (bytes) => { bytes.writeBigUInt64LE(1n << 40n, 56) }, 'DISK_INVALID', /is cut off: its grain directory lies behind its end/],
    ['a directory at the end of all numbers', (bytes) => { bytes.writeBigUInt64LE((1n << 64n) - 2n, 56) }, 'DISK_INVALID', /is cut off: its grain directory lies behind its end/],
    ['a directory over the header', (bytes) => { bytes.writeBigUInt64LE(0n, 56) }, 'DISK_INVALID', /is damaged: its grain directory lies over another part of it/],
    ['one table for all of a large disk', (bytes) => {
      bytes.writeBigUInt64LE(BigInt(64 * MIB / SECTOR), 12)
      const directory = Buffer.alloc(SECTOR)
      for (const at of [0, 4]) directory.writeUInt32LE(tableOf(bytes) / SECTOR, at)
      bytes.writeBigUInt64LE(BigInt(bytes.length / SECTOR), 56)
      return Buffer.concat([bytes, directory])
    }, 'DISK_INVALID', /is damaged: a table of its grains lies over another part of it/],
    ['a directory longer than the file', (bytes) => { bytes.writeBigUInt64LE(1n << 31n, 12); bytes.writeBigUInt64LE(8n, 20); return bytes.subarray(0, MIB) }, 'DISK_INVALID', /is cut off: its grain directory lies behind its end/],
    ['grains of no bytes', (bytes) => { bytes.writeBigUInt64LE(0n, 20) }, 'DISK_UNSUPPORTED', /a VMDK of grains of 0 sectors/],
    ['grains of a sector', (bytes) => { bytes.writeBigUInt64LE(1n, 20) }, 'DISK_UNSUPPORTED', /a VMDK of grains of 1 sectors/],
    ['grains of 100 sectors', (bytes) => { bytes.writeBigUInt64LE(100n, 20) }, 'DISK_UNSUPPORTED', /a VMDK of grains of 100 sectors/],
    ['grains of 2 GiB', (bytes) => { bytes.writeBigUInt64LE(1n << 22n, 20) }, 'DISK_UNSUPPORTED', /a VMDK of grains of 4194304 sectors/],
    ['tables of one entry', (bytes) => { bytes.writeUInt32LE(1, 44) }, 'DISK_UNSUPPORTED', /tables of 1 entries/],
    ['a disk of 16 EiB', (bytes) => { bytes.writeBigUInt64LE((1n << 55n) - 1n, 12) }, 'LIMIT_EXCEEDED', /more than 1099511627776/],
  ])('%s', async (_, change, code, said) => refused(changed('noise.sparse', change), code, said))

  it('a grain of zeros is one where the header says that there are such', async () => {
    const one: Change = (bytes) => { bytes.writeUInt32LE(1, tableOf(bytes)) }
    await refused(changed('noise.zeros', one), 'DISK_INVALID', /neither a partition table nor a file system/)
    await refused(changed('noise.sparse', one), 'DISK_INVALID', GRAIN_OVER)
  })
})

describe('a streamOptimized VMDK', () => {
  it.each<Row>([
    ['the first half of it', (bytes) => bytes.subarray(0, 5 * MIB), 'DISK_INVALID', GRAIN_CUT],
    ['all of it but the end of its last grain', (bytes) => bytes.subarray(0, bytes.length - 4 * SECTOR), 'DISK_INVALID', /can't be converted/],
    ['two grains in one place', (bytes) => { bytes.copy(bytes, tableOf(bytes) + 4, tableOf(bytes), tableOf(bytes) + 4) }, 'DISK_INVALID', GRAIN_OVER],
    ['the first half of one that is written in one go', (bytes) => written(bytes).subarray(0, 5 * MIB), 'DISK_INVALID', /is cut off: the header that belongs at its end is not there/],
    ['all but the last sector of that', (bytes) => written(bytes).subarray(0, -SECTOR), 'DISK_INVALID', /is cut off: the header that belongs at its end is not there/],
    ['less than the header at its end', (bytes) => written(bytes).subarray(0, 2 * SECTOR), 'DISK_INVALID', /is cut off/],
    ['a header at its end that says it is at the end', (bytes) => { const made = written(bytes); made.writeBigUInt64LE((1n << 64n) - 1n, made.length - 2 * SECTOR + 56); return made }, 'DISK_INVALID', /is cut off: the header that belongs at its end/],
    ['a directory behind the end', (bytes) => { const made = written(bytes); made.writeBigUInt64LE(1n << 40n, made.length - 2 * SECTOR + 56); return made }, 'DISK_INVALID', /is cut off: its grain directory lies behind its end/],
    ['a size at its end that is larger than its first', (bytes) => { const made = written(bytes); made.writeBigUInt64LE(1n << 40n, made.length - 2 * SECTOR + 12); return made }, 'LIMIT_EXCEEDED', /has 562949953421312 bytes, more than/],
  ])('%s', async (_, change, code, said) => refused(changed('noise.stream', change), code, said))
})

describe('what is whole', () => {
  it('is the same image from each kind, with the directory at its beginning or at its end', async () => {
    const config = site()
    const plain = await pullImage(`vm:${work.at('system')}`, { config })
    for (const kind of Object.keys(kinds)) expect((await pullImage(`vm:${work.at(`system.${kind}`)}`, { config })).imageSha256, kind).toBe(plain.imageSha256)
    writeFileSync(work.at('written'), written(readFileSync(work.at('system.stream'))))
    expect((await pullImage(`vm:${work.at('written')}`, { config })).imageSha256).toBe(plain.imageSha256)
  })

  it('is accepted with a disk that ends within a grain', async () => {
    writeFileSync(work.at('odd'), randomFillSync(Buffer.alloc(MIB + SECTOR)))
    for (const [kind, options] of Object.entries(kinds)) {
      await runOk(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', options, work.at('odd'), work.at(`odd.${kind}`)])
      await refused(work.at(`odd.${kind}`), 'DISK_INVALID', /neither a partition table nor a file system/)
    }
  })
})
