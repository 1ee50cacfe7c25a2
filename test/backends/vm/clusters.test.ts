/**
 * qcow2 disks whose tables or clusters lie behind the end of the file, with each layout of tables that its version and options give. Those that are whole are
 * the same image as the raw disk.
 */
import { randomFillSync } from 'node:crypto'
import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { type Errors, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../../harness/gateway.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { makeFileSystem, makeSystem, MIB } from '../../native/disks/make.js'

const work = useWorkspace('vm-clusters')
const site = () => testSite(work.at('site')).config
type Row = readonly [what: string, change: (bytes: Buffer) => unknown, code: Errors.ErrorCode, said: RegExp]
const kinds = {
  plain: [],
  'version 2': ['-o', 'compat=0.10'],
  'clusters of 512 bytes': ['-o', 'cluster_size=512'],
  'clusters of 2 MiB': ['-o', 'cluster_size=2M'],
  'extended tables': ['-o', 'extended_l2=on,cluster_size=128k'],
  deflate: ['-c'],
  zstd: ['-c', '-o', 'compression_type=zstd'],
} as const

const qcow2 = (raw: string, file: string, options: readonly string[] = []) => runOk(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', ...options, work.at(raw), work.at(file)])

beforeAll(async () => {
  // 16 MiB, of which the first nine are there.
  writeFileSync(work.at('noise'), randomFillSync(Buffer.alloc(9 * MIB)))
  truncateSync(work.at('noise'), 16 * MIB)
  await qcow2('noise', 'noise.qcow2')
  await makeFileSystem('ext4', makeSystem(work.at('tree')), work.at('system'))
}, 120_000)

const refused = async (disk: string, code: Errors.ErrorCode, said: RegExp): Promise<void> => {
  const error = await failure(pullImage(`vm:${work.at(disk)}`, { config: site() }))
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
}
const FAR = 1n << 40n
const tablesAt = (bytes: Buffer): number => Number(bytes.readBigUInt64BE(40))
const tableAt = (bytes: Buffer): number => Number(bytes.readBigUInt64BE(tablesAt(bytes)) & 0x00ff_ffff_ffff_fe00n)
const CUT = /is cut off: cluster \d+ of its disk lies behind its end.*Fetch or export/

describe('a qcow2', () => {
  it.each<Row>([
    ['a cluster behind the end', (bytes) => { bytes.writeBigUInt64BE(FAR, tableAt(bytes)) }, 'DISK_INVALID', /cluster 0 of its disk/],
    ['a compressed cluster behind the end', (bytes) => { bytes.writeBigUInt64BE((1n << 62n) | FAR, tableAt(bytes) + 8) }, 'DISK_INVALID', /cluster 1 of its disk/],
    ['a table behind the end', (bytes) => { bytes.writeBigUInt64BE(FAR, tablesAt(bytes)) }, 'DISK_INVALID', /the table of cluster 0 lies behind its end/],
    ['a first table behind the end', (bytes) => { bytes.writeBigUInt64BE(FAR, 40) }, 'DISK_INVALID', /the first table of its clusters lies behind its end/],
    ['a first table at the end of all numbers', (bytes) => { bytes.writeBigUInt64BE((1n << 64n) - 1n, 40) }, 'DISK_INVALID', /the first table of its clusters lies behind its end/],
    ['a first table of fewer entries than its disk has', (bytes) => { bytes.writeUInt32BE(0, 36) }, 'DISK_INVALID', /can't be converted: .*L1 table/],
    ['a table that is no cluster', (bytes) => { bytes.writeBigUInt64BE(BigInt(tableAt(bytes) + 512), tablesAt(bytes)) }, 'DISK_INVALID', /can't be converted/],
    ['clusters of a byte', (bytes) => { bytes.writeUInt32BE(0, 20) }, 'DISK_INVALID', /a qcow2 of clusters of 2\^0 bytes/],
    ['clusters of 4 MiB', (bytes) => { bytes.writeUInt32BE(22, 20) }, 'DISK_INVALID', /a qcow2 of clusters of 2\^22 bytes/],
    ['more tables than any has', (bytes) => { bytes.writeUInt32BE(9, 20); bytes.writeBigUInt64BE(FAR, 24); bytes.writeUInt32BE(0xffffffff, 36) }, 'DISK_INVALID', /has a first table of 268435456 bytes/],
  ])('%s', async (_, change, code, said) => {
    const bytes = readFileSync(work.at('noise.qcow2'))
    change(bytes)
    writeFileSync(work.at('changed'), bytes)
    await refused('changed', code, said)
  })

  it('more tables than can be looked through in the time', async () => {
    // One of 64 clusters of 512 bytes each, and none where the one before it was.
    const count = 1 << 20
    const header = Buffer.alloc(512)
    header.write('QFI\xfb', 'latin1')
    header.writeUInt32BE(2, 4)
    header.writeUInt32BE(9, 20)
    header.writeBigUInt64BE(BigInt(count) * 64n * 512n, 24)
    header.writeUInt32BE(count, 36)
    header.writeBigUInt64BE(512n, 40)
    const first = Buffer.alloc(count * 8)
    for (let i = 0; i < count; i += 1) first.writeBigUInt64BE(BigInt(count * 8 + 512 + ((i * 7919) % count) * 512), i * 8)
    writeFileSync(work.at('tables'), Buffer.concat([header, first]))
    truncateSync(work.at('tables'), count * 520 + 512)
    const error = await failure(pullImage(`vm:${work.at('tables')}`, { config: { ...site(), vm: { seconds: 1 } } }))
    expect([error.code, error.message]).toEqual(['LIMIT_EXCEEDED', expect.stringMatching(/has tables that could not be looked through within 1 seconds.*vm.seconds/)])
  })

  it('a cluster of zeros is one wherever it would be', async () => {
    const bytes = readFileSync(work.at('noise.qcow2'))
    bytes.writeBigUInt64BE(FAR | 1n, tableAt(bytes))
    writeFileSync(work.at('changed'), bytes)
    await refused('changed', 'DISK_INVALID', /neither a partition table nor a file system/)
  })

  it.each(Object.entries(kinds))('a part of one: %s', async (_, options) => {
    await qcow2('noise', 'part', options)
    await refused('part', 'DISK_INVALID', /neither a partition table nor a file system/)
    truncateSync(work.at('part'), 7 * MIB)
    await refused('part', 'DISK_INVALID', /is cut off: (?:cluster \d+ of its disk|the table of cluster \d+) lies behind its end/)
  })

  it('one whose last cluster is there in part, as it is written, is whole', async () => {
    await runOk(['qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'extended_l2=on,cluster_size=64k', work.at('part'), '16M'])
    await runOk(['qemu-io', '-c', 'write 1M 512', work.at('part')])
    expect(statSync(work.at('part')).size % (64 * 1024)).not.toBe(0)
    await refused('part', 'DISK_INVALID', /neither a partition table nor a file system/)
  })

  it('one whose clusters were all reserved and never written is whole', async () => {
    await runOk(['qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', work.at('reserved'), String(16 * MIB + 512)])
    await refused('reserved', 'DISK_INVALID', /neither a partition table nor a file system/)
    truncateSync(work.at('reserved'), 8 * MIB)
    await refused('reserved', 'DISK_INVALID', CUT)
  })
})

describe('what is whole', () => {
  it('is the same image from each kind', async () => {
    const config = site()
    const plain = await pullImage(`vm:${work.at('system')}`, { config })
    for (const [kind, options] of Object.entries(kinds)) {
      await qcow2('system', 'whole', options)
      expect((await pullImage(`vm:${work.at('whole')}`, { config })).imageSha256, kind).toBe(plain.imageSha256)
    }
  }, 240_000)

  it('is the same image with a snapshot in it, whatever that holds', async () => {
    const config = site()
    const plain = await pullImage(`vm:${work.at('system')}`, { config })
    await qcow2('system', 'now')
    await runOk(['qemu-img', 'snapshot', '-c', 'then', work.at('now')])
    copyFileSync(work.at('now'), work.at('changed'))
    await runOk(['qemu-io', '-c', 'write -z 0 64k', '-c', 'write -P 7 64k 64k', work.at('changed')])
    await runOk(['qemu-img', 'snapshot', '-a', 'then', work.at('changed')])
    for (const disk of ['now', 'changed']) expect((await pullImage(`vm:${work.at(disk)}`, { config })).imageSha256, disk).toBe(plain.imageSha256)
  }, 120_000)
})
