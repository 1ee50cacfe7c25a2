/** Which system of a disk becomes the image, what is refused of a disk that can be opened, and disks in archives and directories. */
import { chownSync, closeSync, mkdirSync, openSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Errors, importImage, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { descriptor, inFormat, layOut, makeOva } from '../../harness/disks.js'
import { ensureTestAccounts, runAs } from '../../harness/accounts.js'
import { failure } from '../../harness/gateway.js'
import { run, runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { lvm } from '../../native/disks/lvm.js'
import { makeDisk, makeFileSystem, makeSystem, MIB, mounted, put } from '../../native/disks/make.js'

const work = useWorkspace('vm-systems')
let sites = 0
const site = (settings: object = {}) => ({ ...testSite(work.at(`site${(sites += 1)}`)).config, ...settings })
const labelsOf = (record: { readonly labels: readonly (readonly [string, string])[] }) => Object.fromEntries(record.labels)
const system = (name: string, title: string) => makeSystem(work.at(name), { 'usr/lib/os-release': `ID=${title}\nVERSION_ID=1\nPRETTY_NAME="The ${title}"\n` })

beforeAll(async () => {
  await makeFileSystem('ext4', system('first', 'first'), work.at('ext4'))
  await makeFileSystem('xfs', system('second', 'second'), work.at('xfs'))
  await makeDisk(work.at('two.raw'), 'gpt', [{ at: 1, file: work.at('ext4') }, { at: 331, file: work.at('xfs') }])
})

describe('two systems on a disk', () => {
  it('are listed, and the one that is named is the image', async () => {
    const config = site()
    const error = await failure(pullImage(`vm:${work.at('two.raw')}`, { config }))
    expect([error.code, error.message]).toEqual(['DISK_AMBIGUOUS', expect.stringMatching(/more than one system: 1 \(ext4, The first\); 2 \(xfs, The second\).*--partition 1/)])
    const named = await pullImage(`vm:${work.at('two.raw')}`, { config, partition: '2' })
    expect(labelsOf(named)).toMatchObject({ 'vm.partition': '2', 'vm.distribution': 'second 1', 'vm.title': 'The second' })
    const behind = await pullImage(`vm:${work.at('two.raw')}#1`, { config })
    expect(labelsOf(behind)).toMatchObject({ 'vm.partition': '1', 'vm.distribution': 'first 1' })
    expect(behind.id).not.toBe(named.id)
    expect((await importImage('vm:two', work.at('two.raw'), { config, partition: '2' })).labels).toEqual(named.labels)
    expect((await failure(pullImage(`vm:${work.at('two.raw')}`, { config, partition: '7' }))).message).toContain('the disk has no 7 that holds a system')
  })
})

describe('a disk that can be opened is refused', () => {
  const disk = (name: string, ...pieces: ReadonlyArray<readonly [offset: number, bytes: string]>): string => {
    const bytes = Buffer.alloc(16 * MIB)
    for (const [offset, text] of pieces) bytes.write(text, offset, 'latin1')
    writeFileSync(work.at(name), bytes)
    return work.at(name)
  }
  const foreign = async (): Promise<string> => {
    const tree = makeSystem(work.at('foreign'))
    const program = readFileSync(join(tree, 'bin/busybox'))
    program.writeUInt16LE(183, 18)
    writeFileSync(join(tree, 'bin/busybox'), program)
    return makeFileSystem('ext4', tree, work.at('foreign.raw'))
  }
  /** LVM's checksum. */
  const checksum = (bytes: Buffer): number => {
    let sum = 0xf597a6cf
    for (const byte of bytes) {
      sum ^= byte
      for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
    }
    return sum >>> 0
  }
  /** A disk whose volume says that it is a thin one, in the metadata of its group. Without a device mapper LVM makes none itself. */
  const thin = async (): Promise<string> => {
    const raw = await layOut('GPT+LVM', work.at('ext4'), work.at('thin.raw'))
    const fd = openSync(raw, 'r+')
    const header = Buffer.alloc(512)
    const at = MIB + 4096
    readSync(fd, header, 0, header.length, at)
    const text = Buffer.alloc(Number(header.readBigUInt64LE(48)))
    const textAt = at + Number(header.readBigUInt64LE(40))
    readSync(fd, text, 0, text.length, textAt)
    text.write('"thin"   ', text.indexOf('"striped"'))
    header.writeUInt32LE(checksum(text), 56)
    header.writeUInt32LE(checksum(header.subarray(4)), 0)
    writeSync(fd, text, 0, text.length, textAt)
    writeSync(fd, header, 0, header.length, at)
    closeSync(fd)
    return raw
  }
  /** A volume group of five million sections. */
  const volumes = (): string => {
    writeFileSync(work.at('volumes'), lvm(Buffer.from(`vg { x {${'a{}'.repeat(5_000_000)} } }`)))
    truncateSync(work.at('volumes'), 64 * MIB)
    return work.at('volumes')
  }
  const empty = async (): Promise<string> => {
    put(work.at('data'), { 'some/file': 'x' })
    return makeFileSystem('ext4', work.at('data'), work.at('data.raw'))
  }
  const cut = async (): Promise<string> => {
    const raw = await makeDisk(work.at('cut.raw'), 'dos', [{ at: 1, more: 'type=83', file: work.at('ext4') }])
    truncateSync(raw, 200 * MIB)
    return raw
  }
  it.each<readonly [what: string, make: () => Promise<string> | string, code: Errors.ErrorCode, said: RegExp, settings: object]>([
    ['LUKS', () => disk('luks', [0, 'LUKS\xba\xbe\x00\x02']), 'DISK_UNSUPPORTED', /is encrypted \(LUKS\)/, {}],
    ['software RAID', () => disk('raid', [4096, '\xfc\x4e\x2b\xa9\x01\x00']), 'DISK_UNSUPPORTED', /software RAID \(mdraid\)/, {}],
    ['thin volumes', thin, 'DISK_UNSUPPORTED', /a thin volume of LVM/, {}],
    ['a system for another processor', foreign, 'PLATFORM_NOT_FOUND', /for arm64/, {}],
    ['no system', empty, 'DISK_NO_SYSTEM', /none of its 1 partitions and volumes holds a system/, {}],
    ['cut off', cut, 'DISK_INVALID', /partition 1 ends at byte \d+, but the disk has \d+: it was cut off/, {}],
    ['a partition table of nothing', () => disk('nothing', [510, '\x55\xaa']), 'DISK_INVALID', /neither a partition table nor a file system/, {}],
    ['more time than the site gives', () => work.at('ext4'), 'LIMIT_EXCEEDED', /within 1 seconds.*"vm\.seconds"/, { vm: { seconds: 1 } }],
    ['more files than the site takes', () => work.at('ext4'), 'LIMIT_EXCEEDED', /more than 10 entries\. .*"limits\.entries"/, { limits: { entries: 10 } }],
    ['more bytes than the site takes', () => work.at('ext4'), 'LIMIT_EXCEEDED', /files need more than 1000000 bytes\. .*"limits\.inflatedBytes"/, { limits: { inflatedBytes: 1_000_000 } }],
    ['a file of more bytes than the site takes', () => work.at('ext4'), 'LIMIT_EXCEEDED', /has 335544320 bytes, more than 1000000/, { limits: { blobBytes: 1_000_000 } }],
    ['more metadata than its reader has memory for', volumes, 'LIMIT_EXCEEDED', /the reader('s memory was not enough| was killed, probably for want of memory)\. .*"vm\.memoryMiB"/, { vm: { memoryMiB: 128 } }],
    ['compressed, and larger than the site takes', () => { writeFileSync(work.at('zeros.gz'), gzipSync(Buffer.alloc(8 * MIB), { level: 1 })); return work.at('zeros.gz') }, 'LIMIT_EXCEEDED', /which is compressed, can't be unpacked/, { limits: { inflatedBytes: 1_000_000 } }],
    ['larger than the site takes', () => work.at('ext4'), 'LIMIT_EXCEEDED', /more than 1000000\. .*"vm\.virtualBytes"/, { vm: { virtualBytes: 1_000_000 } }],
  ])('%s', async (_, make, code, said, settings) => {
    const error = await failure(pullImage(`vm:${await make()}`, { config: site(settings) }))
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
  })

})

describe('the machine’s own kernel, where the site says so', () => {
  it('reads the same tree, also one whose journal is to be replayed, and leaves nothing', async () => {
    const image = await pullImage(`vm:${work.at('two.raw')}`, { config: site(), partition: '2' })
    const config = site({ vm: { reader: 'kernel' } })
    expect(await pullImage(`vm:${work.at('two.raw')}`, { config, partition: '2' })).toMatchObject({ id: image.id, labels: image.labels })
    const error = await failure(pullImage(`vm:${work.at('two.raw')}`, { config }))
    expect([error.code, error.message]).toEqual(['DISK_AMBIGUOUS', expect.stringMatching(/1 \(ext4, The first\); 2 \(xfs, The second\)/)])
    const [file, dirty] = [work.at('written'), work.at('dirty')]
    await runOk(['cp', '--sparse=always', work.at('ext4'), file])
    await mounted(file, 'rw', (directory) => runOk(['sh', '-c', `echo kept > opt/kept && sync opt/kept && cp --sparse=always ${file} ${dirty}`], { cwd: directory }))
    const warnings: string[] = []
    await pullImage(`vm:${dirty}`, { config, onProgress: (event) => { if (event._tag === 'Warning') warnings.push(event.message) } })
    expect(warnings).toEqual([expect.stringMatching(/its journal was replayed on a copy/)])
    expect((await runOk(['losetup', '--list', '--noheadings', '--output', 'BACK-FILE'])).stdout).not.toContain('vm-systems')
  })

  it('says what to do where the machine has not what that takes', async () => {
    const config = work.at('no-loops.json')
    writeFileSync(config, JSON.stringify(site({ vm: { reader: 'kernel' } })))
    const without = ['unshare', '--mount', 'sh', '-c', 'mount --bind /dev/null /dev/loop-control && exec "$@"', 'sh']
    const { status, stderr } = await run([...without, process.execPath, join(import.meta.dirname, '../../../dist/bin/shifterimg.js'), '--config', config, 'pull', `vm:${work.at('ext4')}`], { timeoutMs: 60_000 })
    expect([status, stderr]).toEqual([expect.any(Number), expect.stringMatching(/READER_FAILED: .*there is no free loop device: .*set "vm.reader" to "uml", which needs nothing of this machine/)])
    expect(status).not.toBe(0)
  })

  it('is refused to whoever is not root, and says what to do', async () => {
    const { userA } = await ensureTestAccounts()
    for (const directory of ['his', 'his/images']) {
      mkdirSync(work.at(directory))
      chownSync(work.at(directory), userA.uid, userA.gid)
    }
    const config = work.at('kernel.json')
    writeFileSync(config, JSON.stringify({ version: 1, stateDirectory: work.at('his/state'), prefix: site().prefix, systems: { test: { imagePath: work.at('his/images') } }, vm: { reader: 'kernel' } }))
    const { status, stderr } = await runAs(userA, [process.execPath, join(import.meta.dirname, '../../../dist/bin/shifterimg.js'), '--config', config, 'pull', `vm:${work.at('ext4')}`], { timeoutMs: 60_000 })
    expect([status, stderr]).toEqual([2, expect.stringMatching(/CONFIG_INVALID.*"vm.reader" is "kernel", which mounts it, and this is not root. Set "vm.reader" to "uml", or run the gateway as root/)])
  })
})

describe('several files', () => {
  const directory = (name: string, files: Readonly<Record<string, Buffer | string>>): string => {
    mkdirSync(work.at(name))
    for (const [file, content] of Object.entries(files)) writeFileSync(join(work.at(name), file), content)
    return work.at(name)
  }
  const stream = async (name: string): Promise<Buffer> => {
    await runOk(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', work.at('ext4'), work.at(name)])
    return readFileSync(work.at(name))
  }

  it('the directory of an OVF, its descriptor, and an OVA of the same disk', async () => {
    const config = site()
    const of = directory('ovf', { 'vm.ovf': descriptor('d.vmdk'), 'd.vmdk': await stream('d.vmdk') })
    const first = await pullImage(`vm:${of}`, { config })
    expect(labelsOf(first)).toMatchObject({ 'vm.format': 'vmdk', 'vm.distribution': 'first 1' })
    expect((await pullImage(`vm:${of}/vm.ovf`, { config })).id).toBe(first.id)
    writeFileSync(join(of, 'vm.mf'), `SHA256(vm.ovf)= ${'0'.repeat(64)}\n`)
    expect((await failure(pullImage(`vm:${of}`, { config }))).code).toBe('DIGEST_MISMATCH')
  })

  it('disks in them that are links, or not there', async () => {
    const config = site()
    const of = directory('links', { 'vm.ovf': descriptor('d.vmdk') })
    expect((await failure(pullImage(`vm:${of}`, { config }))).code).toBe('FILE_UNAVAILABLE')
    await runOk(['ln', '-s', work.at('ext4'), join(of, 'd.vmdk')])
    expect((await failure(pullImage(`vm:${of}`, { config }))).message).toMatch(/d\.vmdk can't be read: it is a link/)
  })

  it('a disk that is compressed, alone and in an OVA', async () => {
    const config = site()
    const qcow2 = await inFormat('qcow2', work.at('ext4'), work.at('packed.qcow2'))
    writeFileSync(work.at('packed.gz'), gzipSync(readFileSync(qcow2), { level: 1 }))
    expect(labelsOf(await pullImage(`vm:${work.at('packed.gz')}`, { config }))).toMatchObject({ 'vm.format': 'qcow2', 'vm.distribution': 'first 1' })
    const ova = await makeOva(work.at('ext4'), work.at('packed.ova'), (files) => {
      writeFileSync(`${files}/disk1.vmdk`, gzipSync(readFileSync(`${files}/disk1.vmdk`), { level: 1 }))
      writeFileSync(`${files}/vm.ovf`, descriptor('disk1.vmdk').replace('ovf:href', 'ovf:compression="gzip" ovf:href'))
      rmSync(`${files}/vm.mf`)
      writeFileSync(`${files}/vm.mf`, '')
    })
    // An empty manifest says nothing of its files.
    expect((await failure(pullImage(`vm:${ova}`, { config }))).message).toMatch(/says nothing of "vm\.ovf"/)
    await runOk(['tar', '--delete', '-f', ova, 'vm.mf'])
    expect(labelsOf(await pullImage(`vm:${ova}`, { config }))).toMatchObject({ 'vm.format': 'vmdk', 'vm.distribution': 'first 1' })
  })

  it('the extent of a flat VMDK is a disk; its descriptor is not', async () => {
    const config = site()
    await runOk(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=monolithicFlat', work.at('ext4'), work.at('flat.vmdk')])
    expect(labelsOf(await pullImage(`vm:${work.at('flat-flat.vmdk')}`, { config }))).toMatchObject({ 'vm.format': 'raw', 'vm.distribution': 'first 1' })
    expect((await failure(pullImage(`vm:${work.at('flat.vmdk')}`, { config }))).message).toContain('-flat.vmdk')
  })
})

describe('a person alone, on a machine without a gateway', () => {
  it('makes an image of a disk with no right that is not his', async () => {
    const { userA } = await ensureTestAccounts()
    const home = work.at('person')
    mkdirSync(home)
    const { config } = testSite(home)
    const disk = await inFormat('qcow2', work.at('ext4'), join(home, 'disk.qcow2'))
    writeFileSync(join(home, 'gateway.json'), JSON.stringify(config))
    await runOk(['chown', '-R', `${userA.uid}:${userA.gid}`, home])
    chownSync(work.path, userA.uid, userA.gid)
    const program = new URL('../../../dist/bin/shifterimg.js', import.meta.url).pathname
    const { status, stderr, stdout } = await runAs(userA, [process.execPath, program, '--config', join(home, 'gateway.json'), 'pull', `vm:${disk}`], { env: { PATH: '/usr/bin:/bin', HOME: home } })
    expect(status, stderr).toBe(0)
    expect(stdout).toMatch(/[0-9a-f]{64}/)
  })
})
