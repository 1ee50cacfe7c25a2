/** What is refused of a disk before any tool opens it, and what each refusal says. Nothing that a header names is read. */
import { linkSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { Errors, importImage, lookupImage, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { descriptor, inFormat, makeOva } from '../../harness/disks.js'
import { failure } from '../../harness/gateway.js'
import { run, runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { makeFileSystem, makeSystem, MIB } from '../../native/disks/make.js'

const work = useWorkspace('vm-headers')
const site = () => testSite(work.at('site')).config
let files = 0
/** A file with this content, longer than any header. */
const file = (bytes: Buffer | string, size = MIB): string => {
  const path = work.at(`${(files += 1)}`)
  writeFileSync(path, bytes)
  truncateSync(path, Math.max(size, bytes.length))
  return path
}
const made = async (...args: readonly string[]): Promise<string> => {
  const path = work.at(`${(files += 1)}`)
  await runOk(['qemu-img', 'create', '-q', ...args.map((arg) => (arg === 'FILE' ? path : arg))])
  return path
}
/** One with some bytes changed. */
const changed = (path: string, change: (bytes: Buffer) => void): string => {
  const bytes = readFileSync(path)
  change(bytes)
  return file(bytes)
}
const sparse = (text: string) => async (): Promise<string> => {
  const path = await made('-f', 'vmdk', 'FILE', '16M')
  return changed(path, (bytes) => {
    bytes.fill(0, 512, 512 * 21)
    bytes.write(text, 512)
  })
}
const vmdkText = (extent: string, more = '', type = 'monolithicSparse') => `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n${more}createType="${type}"\n${extent}\n`

beforeAll(async () => {
  await makeFileSystem('ext4', makeSystem(work.at('tree')), work.at('ext4'))
})

describe('a disk that names another file is refused', () => {
  it.each<readonly [what: string, make: () => Promise<string> | string, code: Errors.ErrorCode, said: RegExp]>([
    ['qcow2 with a backing file', () => made('-f', 'qcow2', '-u', '-F', 'raw', '-b', '/etc/shadow', 'FILE', '16M'), 'DISK_UNSUPPORTED', /its backing file, which is not opened.*qemu-img convert/],
    ['qcow2 with a data file', () => made('-f', 'qcow2', '-o', `data_file=${work.at('data')}`, 'FILE', '16M'), 'DISK_UNSUPPORTED', /keeps its data in another file/],
    ['qcow2 that speaks of the format of a backing file', async () => changed(await made('-f', 'qcow2', 'FILE', '16M'), (bytes) => bytes.writeUInt32BE(0xe2792aca, bytes.readUInt32BE(100))), 'DISK_UNSUPPORTED', /speaks of a backing file/],
    ['qcow2 that is encrypted', async () => changed(await made('-f', 'qcow2', 'FILE', '16M'), (bytes) => bytes.writeUInt32BE(2, 32)), 'DISK_UNSUPPORTED', /is encrypted/],
    ['qcow2 that is marked as damaged', async () => changed(await made('-f', 'qcow2', 'FILE', '16M'), (bytes) => bytes.writeBigUInt64BE(2n, 72)), 'DISK_INVALID', /marked as damaged/],
    ['qcow2 with features of tomorrow', async () => changed(await made('-f', 'qcow2', 'FILE', '16M'), (bytes) => bytes.writeBigUInt64BE(1n << 40n, 72)), 'DISK_UNSUPPORTED', /features that are not known/],
    ['qcow, version 1', () => made('-f', 'qcow', 'FILE', '16M'), 'DISK_UNSUPPORTED', /version 1, not 2 or 3/],
    ['a VMDK descriptor with /etc/shadow as flat extent', () => file(vmdkText('RW 32768 FLAT "/etc/shadow" 0', '', 'monolithicFlat'), 0), 'DISK_UNSUPPORTED', /is a descriptor: its data is in other files.*-flat\.vmdk/],
    ['a sparse VMDK whose descriptor names /etc/shadow', sparse(vmdkText('RW 32768 FLAT "/etc/shadow" 0')), 'DISK_UNSUPPORTED', /names extents in other files/],
    ['a sparse VMDK of the type of several files', sparse(vmdkText('RW 32768 SPARSE "a.vmdk"', '', 'twoGbMaxExtentSparse')), 'DISK_UNSUPPORTED', /twoGbMaxExtentSparse/],
    ['a sparse VMDK with two extents', sparse(vmdkText('RW 32768 SPARSE "a.vmdk"\nRW 32768 SPARSE "b.vmdk"')), 'DISK_UNSUPPORTED', /names extents in other files/],
    ['a VMDK snapshot', sparse(vmdkText('RW 32768 SPARSE "a.vmdk"', 'parentFileNameHint="/etc/shadow"\n')), 'DISK_UNSUPPORTED', /is a snapshot/],
    ['a VMDK snapshot whose text takes for ever to be matched', sparse(vmdkText('RW 32768 SPARSE "a.vmdk"', `x= ${' '.repeat(9000)}"y\nparentFileNameHint="/etc/shadow"\n`)), 'DISK_UNSUPPORTED', /is a snapshot/],
    ['a sparse VMDK whose text is where the converter does not look', async () => changed(await made('-f', 'vmdk', 'FILE', '16M'), (bytes) => bytes.writeBigUInt64LE(2n, 28)), 'DISK_UNSUPPORTED', /descriptor in another place/],
    ['a sparse VMDK without data', async () => changed(await made('-f', 'vmdk', 'FILE', '16M'), (bytes) => bytes.writeBigUInt64LE(0n, 12)), 'DISK_UNSUPPORTED', /has no data of its own/],
    ['a VDI with a parent', async () => changed(await made('-f', 'vdi', 'FILE', '16M'), (bytes) => bytes.fill(7, 0x1b8, 0x1c8)), 'DISK_UNSUPPORTED', /is a snapshot/],
    ['a differencing VDI', async () => changed(await made('-f', 'vdi', 'FILE', '16M'), (bytes) => bytes.writeUInt32LE(4, 0x4c)), 'DISK_UNSUPPORTED', /is a snapshot/],
    ['a differencing VHD', async () => changed(await made('-f', 'vpc', 'FILE', '16M'), (bytes) => bytes.writeUInt32BE(4, 60)), 'DISK_UNSUPPORTED', /is a differencing disk/],
    ['a differencing VHDX', async () => changed(await made('-f', 'vhdx', 'FILE', '16M'), (bytes) => { const at = bytes.indexOf(Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex')); const table = bytes.indexOf('metadata'); bytes.writeUInt32LE(2, table + bytes.readUInt32LE(at + 16) + 4) }), 'DISK_UNSUPPORTED', /is a differencing disk/],
    ['a VHDX without its tables', async () => changed(await made('-f', 'vhdx', 'FILE', '16M'), (bytes) => bytes.fill(0, 192 * 1024, 320 * 1024)), 'DISK_INVALID', /tables are damaged/],
  ])('%s', async (_, make, code, said) => {
    const error = await failure(pullImage(`vm:${await make()}`, { config: site() }))
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
  })
})

describe('what is no disk', () => {
  it.each<readonly [what: string, make: () => Promise<string> | string, code: Errors.ErrorCode, said: RegExp]>([
    ['nothing', () => file('', 0), 'DISK_INVALID', /no disk image that is known/],
    ['a text', () => file('#!/bin/sh\n'.repeat(100), 0), 'DISK_INVALID', /no disk image that is known/],
    ['gzip that is none', () => file(Buffer.from('1f8b08', 'hex')), 'DISK_INVALID', /which is compressed, can't be unpacked: it is no valid gzip stream/],
    ['gzip of gzip', () => file(gzipSync(gzipSync('disk')), 0), 'DISK_UNSUPPORTED', /compressed twice with gzip/],
    ['xz', () => file(Buffer.from('fd377a585a00', 'hex')), 'DISK_UNSUPPORTED', /compressed with xz.*unxz/],
    ['a qcow2 whose first table is larger than any', async () => changed(await made('-f', 'qcow2', 'FILE', '16M'), (bytes) => bytes.writeUInt32BE(0xffffffff, 36)), 'DISK_INVALID', /can't be converted: .*L1 table/],
    ['a VDI of more blocks than its size has', async () => changed(await made('-f', 'vdi', 'FILE', '16M'), (bytes) => bytes.writeUInt32LE(0x7fffffff, 0x180)), 'DISK_INVALID', /can't be converted/],
    ['a squashfs', () => file('hsqs'), 'DISK_UNSUPPORTED', /custom:NAME/],
    ['a disk of 1 PiB', () => made('-f', 'qcow2', '-o', 'cluster_size=2M', 'FILE', '1P'), 'LIMIT_EXCEEDED', /has 1125899906842624 bytes, more than 1099511627776.*vm\.virtualBytes/],
    ['a qcow2 that is cut off', async () => { const path = await inFormat('qcow2', work.at('ext4'), work.at('whole.qcow2')); truncateSync(path, 400_000); return path }, 'DISK_INVALID', /is cut off: .* lies behind its end/],
    ['a file that is not there', () => '/nowhere/disk.raw', 'FILE_UNAVAILABLE', /\/nowhere\/disk\.raw/],
  ])('%s', async (_, make, code, said) => {
    const error = await failure(pullImage(`vm:${await make()}`, { config: site() }))
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
  })

  it('a partition that nobody can mean', async () => {
    expect((await failure(pullImage(`vm:${work.at('ext4')}`, { config: site(), partition: '1; rm' }))).code).toBe('USAGE')
    expect((await failure(pullImage(`vm:${work.at('ext4')}#2`, { config: site(), partition: '1' }))).message).toContain('means the partition 2, not 1')
  })
})

describe('an OVA', () => {
  const ova = (change: (directory: string) => void) => makeOva(work.at('ext4'), work.at(`${(files += 1)}.ova`), change)
  const ovf = (text: string) => () => ova((directory) => { writeFileSync(`${directory}/vm.ovf`, text); writeFileSync(`${directory}/vm.mf`, '') })
  it.each<readonly [what: string, make: () => Promise<string>, code: Errors.ErrorCode, said: RegExp]>([
    ['whose disk is not what its manifest says', () => ova((directory) => truncateSync(`${directory}/disk1.vmdk`, 4096)), 'DIGEST_MISMATCH', /"disk1\.vmdk" of The disk of vm:.* is not what its manifest says/],
    ['whose manifest leaves the disk out', () => ova((directory) => writeFileSync(`${directory}/vm.mf`, (readFileSync(`${directory}/vm.mf`, 'utf8').split('\n')[0] ?? '') + '\n')), 'DISK_INVALID', /says nothing of "disk1\.vmdk"/],
    ['that names /etc/shadow', ovf(descriptor('/etc/shadow')), 'DISK_INVALID', /names the disk "\/etc\/shadow", which is no file beside it/],
    ['that names a file above', ovf(descriptor('../disk1.vmdk')), 'DISK_INVALID', /no file beside it/],
    ['that names a file that it has not', ovf(descriptor('other.vmdk')), 'DISK_INVALID', /has no file "other\.vmdk"/],
    ['of two disks', ovf(descriptor('disk1.vmdk', '<Disk ovf:diskId="d2" ovf:fileRef="file1"/>')), 'DISK_UNSUPPORTED', /names 2 disks.*tar/],
    ['with an entity', ovf(`<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/shadow">]>${descriptor('disk1.vmdk')}`), 'DISK_INVALID', /declares what is not read/],
    ['with comments that never end', ovf('<!--'.repeat(1_000_000)), 'DISK_INVALID', /has a comment without an end/],
    ['with names that take for ever to be matched', ovf(`<File ${'a'.repeat(3_000_000)}:b:c=""/>`), 'DISK_INVALID', /is no OVF envelope/],
    ['compressed in a way that is not known', ovf(descriptor('disk1.vmdk').replace('ovf:href', 'ovf:compression="rar" ovf:href')), 'DISK_UNSUPPORTED', /compressed with "rar"/],
    ['in pieces', ovf(descriptor('disk1.vmdk').replace('ovf:href', 'ovf:chunkSize="1" ovf:href')), 'DISK_UNSUPPORTED', /in several pieces/],
    ['of two machines', ovf(descriptor('disk1.vmdk').replace('<VirtualSystem ', '<VirtualSystem ovf:id="other"/><VirtualSystem ')), 'DISK_UNSUPPORTED', /describes several machines/],
    ['whose manifest is none', () => ova((directory) => writeFileSync(`${directory}/vm.mf`, 'MD5(vm.ovf)= 00')), 'DISK_INVALID', /manifest of .* is malformed at "MD5/],
    ['whose disk is a link out of it', () => ova((directory) => { rmSync(`${directory}/disk1.vmdk`); symlinkSync('../../../etc/shadow', `${directory}/disk1.vmdk`) }), 'DISK_INVALID', /the link "disk1\.vmdk" leads out of it/],
    ['whose disk is a link to /etc/shadow', () => ova((directory) => { rmSync(`${directory}/disk1.vmdk`); symlinkSync('/etc/shadow', `${directory}/disk1.vmdk`) }), 'DISK_INVALID', /has no file "disk1\.vmdk"/],
    ['whose disk is another name of its descriptor', () => ova((directory) => { rmSync(`${directory}/disk1.vmdk`); linkSync(`${directory}/vm.ovf`, `${directory}/disk1.vmdk`) }), 'DISK_INVALID', /has no file "disk1\.vmdk"/],
    ['without a descriptor', async () => { const path = work.at('plain.tar'); await runOk(['tar', '-cf', path, '-C', work.at('tree'), '.']); return path }, 'DISK_INVALID', /without an OVF descriptor.*custom:NAME/],
  ])('%s is refused', async (_, make, code, said) => {
    const error = await failure(pullImage(`vm:${await make()}`, { config: site() }))
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(said)])
  })
})

describe('names', () => {
  it('the same disk again is the image that is there, and an import has a name', async () => {
    const config = site()
    const converted: string[] = []
    const onProgress = (event: { readonly _tag: string }) => converted.push(event._tag)
    const record = await importImage('vm:system:1', work.at('ext4'), { config, metadata: { env: ['PATH=/opt', 'A=1'], labels: [['vm.title', 'mine']] }, onProgress })
    expect(record).toMatchObject({ reference: 'vm:system:1', env: ['PATH=/opt', 'A=1'], workdir: '/' })
    expect(Object.fromEntries(record.labels)).toMatchObject({ 'vm.title': 'mine', 'vm.file-system': 'ext4' })
    expect(await lookupImage('vm:system:1', { config })).toBe(record.id)
    expect(converted).toContain('Packed')
    converted.length = 0
    const again = await importImage('vm:other', work.at('ext4'), { config, metadata: { env: ['PATH=/opt', 'A=1'], labels: [['vm.title', 'mine']] }, onProgress })
    expect([again.id, converted.includes('Packed')]).toEqual([record.id, false])
    expect((await pullImage('vm:system:1', { config })).id).toBe(record.id)
  })

  it('a path is no name of an import, and a name nothing to pull', async () => {
    expect((await failure(importImage('vm:/a/b', work.at('ext4'), { config: site() }))).message).toContain('Name it vm:NAME[:TAG].')
    expect((await failure(pullImage('vm:nothing', { config: site() }))).code).toBe('IMPORT_NEEDED')
  })

  it('the program that a disk is read by sees one directory', async () => {
    const { stdout, status } = await run(['sh', '-c', 'mkdir -m 777 "$1" && "$2" --directory "$1" --user 65534:65534 -- sh -c "ls /; cat /etc/shadow; cat /proc/net/dev; touch /usr/x; touch /room/x && id -u" 2>/dev/null', 'sh', work.at('room'), `${site().prefix}/bin/shifter-confined`])
    expect([status, stdout.split('\n').filter((line) => !/^(bin|dev|etc|lib.*|room|sbin|tmp|usr)$/.test(line))]).toEqual([0, ['65534', '']])
  })
})
