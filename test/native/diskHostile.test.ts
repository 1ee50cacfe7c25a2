/**
 * shifter-disk on disks that no machine would make: tables that lead in circles or far away, metadata of LVM by hand, an fstab that points outside, and trees
 * with everything that a file system can hold.
 */
import { copyFileSync, linkSync, mkdirSync, openSync, readFileSync, readSync, rmSync, symlinkSync, truncateSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { runOk } from '../harness/process.js'
import { crc32, lvm } from './disks/lvm.js'
import { FILE_SYSTEM_SIZE, listing, makeDisk, makeFileSystem, makeSystem, MIB, mounted, place, put } from './disks/make.js'
import { useReader } from './disks/reader.js'

const { fault, fileAt, read, unpacked } = useReader('disk-hostile')
const UUID = '11111111-2222-3333-4444-555555555555'
/** All of it with SHIFTER_TEST_VM=1, as `npm run test:vm` sets it. */
const whole = process.env['SHIFTER_TEST_VM'] === '1'
let wanted: readonly string[]

/** Change some bytes of a file. */
const patch = (file: string, offset: number, bytes: Buffer): void => {
  const fd = openSync(file, 'r+')
  writeSync(fd, bytes, 0, bytes.length, offset)
  closeSync(fd)
}

const bytesOf = (file: string, offset: number, length: number): Buffer => {
  const bytes = Buffer.alloc(length)
  const fd = openSync(file, 'r')
  readSync(fd, bytes, 0, length, offset)
  closeSync(fd)
  return bytes
}

/** A file that begins with what is given. */
const filled = (name: string, bytes: Buffer, size = 64 * MIB): string => {
  const disk = fileAt(name)
  writeFileSync(disk, bytes)
  truncateSync(disk, Math.max(size, bytes.length))
  return disk
}

beforeAll(async () => {
  const tree = makeSystem(fileAt('tree'))
  wanted = await listing(tree)
  await makeFileSystem('ext4', tree, fileAt('ext4'), { uuid: UUID })
  for (const type of ['xfs', 'btrfs'] as const) await makeFileSystem(type, tree, fileAt(type), { uuid: UUID })
})

describe('partition tables', () => {
  const entry = (type: number, start: number, sectors: number): Buffer => {
    const bytes = Buffer.alloc(16)
    bytes.writeUInt8(type, 4)
    bytes.writeUInt32LE(start, 8)
    bytes.writeUInt32LE(sectors, 12)
    return bytes
  }
  const table = (...entries: readonly Buffer[]): Buffer => Buffer.concat([Buffer.concat([Buffer.alloc(446), ...entries, Buffer.alloc(64)]).subarray(0, 510), Buffer.from([0x55, 0xaa])])

  /** A disk of such sectors as the machine's own kernel and sfdisk lay it out, its file system at 2 MiB. */
  const largeSectors = async (label: 'dos' | 'gpt'): Promise<string> => {
    const disk = filled(`sectors-${label}.raw`, Buffer.alloc(0), FILE_SYSTEM_SIZE + 4 * MIB)
    const loop = (await runOk(['losetup', '--find', '--show', '--sector-size', '4096', disk])).stdout.trim()
    try {
      await runOk(['sfdisk', '--quiet', '--no-reread', '--no-tell-kernel', loop], { input: `label: ${label}\nstart=512, size=${FILE_SYSTEM_SIZE / 4096}\n` })
    } finally {
      await runOk(['losetup', '--detach', loop])
    }
    await place(fileAt('ext4'), disk, 2 * MIB)
    return disk
  }

  it('sectors of 4096 bytes', async () => {
    const disk = await largeSectors('gpt')
    expect(await unpacked(await read(disk))).toEqual(wanted)
    // Its backup, too, is where such sectors put it.
    patch(disk, 4096, Buffer.alloc(512))
    expect(await unpacked(await read(disk))).toEqual(wanted)
  })

  it('sectors of 4096 bytes, which an MBR does not speak of', async () => {
    const disk = await largeSectors('dos')
    const result = await read(disk)
    expect(result.lines).toContain('root 1 ext4')
    expect(await unpacked(result)).toEqual(wanted)
  })

  it('a circle of logical partitions, and partitions that overlap', async () => {
    const circle = filled('circle.raw', table(entry(5, 64, 4096)))
    patch(circle, 64 * 512, table(entry(0x83, 2, 8), entry(5, 100, 64)))
    patch(circle, 164 * 512, table(entry(0x83, 2, 8), entry(5, 100, 64)))
    expect(await fault(circle)).toBe('fault DISK_INVALID the tables of its logical partitions lead back to each other')
    const disk = fileAt('overlapping.raw')
    writeFileSync(disk, '')
    truncateSync(disk, FILE_SYSTEM_SIZE + 2 * MIB)
    await place(fileAt('xfs'), disk, MIB)
    const sectors = FILE_SYSTEM_SIZE / 512
    patch(disk, 0, table(entry(0x83, 2048, sectors), entry(0x83, 2048, sectors), entry(0x83, 1, sectors)))
    expect(await fault(disk)).toBe('fault DISK_AMBIGUOUS 2 of its file systems hold a system')
    expect(await unpacked(await read(disk, '--partition', '2'))).toEqual(wanted)
  })

  it('places that are no places', async () => {
    const sealed = async (name: string, first: bigint, last: bigint): Promise<string> => {
      const disk = await makeDisk(fileAt(name), 'gpt', [{ at: 1, size: 8 * MIB }])
      const range = Buffer.alloc(16)
      range.writeBigUInt64LE(first, 0)
      range.writeBigUInt64LE(last, 8)
      patch(disk, 1024 + 32, range)
      const header = bytesOf(disk, 512, 92)
      header.writeUInt32LE(~crc32(bytesOf(disk, 1024, 128 * 128), 0xffffffff) >>> 0, 88)
      header.writeUInt32LE(0, 16)
      header.writeUInt32LE(~crc32(header, 0xffffffff) >>> 0, 16)
      patch(disk, 512, header)
      return disk
    }
    const most = (1n << 64n) - 1n
    expect(await fault(await sealed('backwards.raw', 5000n, 4000n))).toBe('fault DISK_INVALID partition 1 of the GPT ends before it begins')
    expect(await fault(await sealed('negative.raw', 2048n, most))).toBe('fault DISK_INVALID partition 1 of the GPT ends before it begins')
    expect(await fault(await sealed('all.raw', 0n, most / 512n - 1n))).toMatch(/^fault DISK_INVALID partition 1 ends at byte \d+, but the disk has \d+: it was cut off$/)
    expect(await fault(await sealed('petabyte.raw', 2048n, 1n << 41n))).toMatch(/^fault DISK_INVALID partition 1 ends at byte 1125899906843136, but the disk has \d+: it was cut off$/)
    expect(await fault(filled('far.raw', table(entry(0x83, 0xffffffff, 0xffffffff))))).toMatch(/^fault DISK_INVALID partition 1 ends at byte \d+, but the disk has \d+: it was cut off$/)
  })

  it('a disk of a petabyte, of which a little is there', async () => {
    const directory = fileAt('memory')
    mkdirSync(directory)
    await runOk(['mount', '-t', 'tmpfs', '-o', 'size=400m,mode=755', 'memory', directory])
    try {
      const disk = join(directory, 'disk.raw')
      writeFileSync(disk, '')
      truncateSync(disk, 1024 ** 5)
      await runOk(['sfdisk', '--quiet', disk], { input: `label: gpt\nstart=2048, size=${FILE_SYSTEM_SIZE / 512}\nstart=1048576\n` })
      await place(fileAt('ext4'), disk, MIB)
      expect(await unpacked(await read(disk))).toEqual(wanted)
    } finally {
      await runOk(['umount', directory])
    }
  })

  it.each(whole ? (['ext4', 'xfs', 'btrfs'] as const) : (['btrfs'] as const))('%s: two with one UUID, and one that is cut off in its middle', async (type) => {
    const disk = await makeDisk(fileAt('twins.raw'), 'gpt', [{ at: 1, file: fileAt(type) }, { at: 331, file: fileAt(type) }])
    expect(await fault(disk)).toBe('fault DISK_AMBIGUOUS 2 of its file systems hold a system')
    for (const name of ['1', '2']) expect(await unpacked(await read(disk, '--partition', name))).toEqual(wanted)
    const cut = fileAt('cut.raw')
    copyFileSync(fileAt(type), cut)
    truncateSync(cut, FILE_SYSTEM_SIZE / 2)
    expect(await fault(cut)).toMatch(new RegExp(`^fault DISK_INVALID the ${type} in disk can't be mounted: `))
  })
})

describe('metadata of LVM', () => {
  const physical = `id = "${'a'.repeat(32)}" pe_start = 2048`
  const group = (volumes: string, more = ''): Buffer => lvm(`vg { seqno = 1 extent_size = 8192 physical_volumes { pv0 { ${physical} } } logical_volumes { ${volumes} } ${more} }`)
  const volume = (name: string, segment: string): string => `${name} { status = ["READ", "VISIBLE"] segment_count = 1 segment1 { start_extent = 0 ${segment} } }`

  it.each([
    ['thin volumes', group(volume('pool', 'extent_count = 4 type = "thin-pool"') + volume('root', 'extent_count = 4 type = "thin"')), 'fault DISK_UNSUPPORTED vg/pool is a thin volume of LVM'],
    ['a mirror', group(volume('root', 'extent_count = 4 type = "raid1"')), 'fault DISK_UNSUPPORTED vg/root is a RAID or mirror of LVM'],
    ['a volume within itself', group(volume('root', 'extent_count = 4 type = "striped" stripe_count = 1 stripes = ["root", 0]')), 'fault DISK_INVALID the metadata of its LVM has no right stripes'],
    ['more extents than a disk has', group(volume('root', 'extent_count = 4294967295 type = "striped" stripe_count = 1 stripes = ["pv0", 4294967295]')),
      'fault DISK_INVALID vg/root lies outside of its physical volumes'],
    ['extents that overflow', group(volume('root', 'extent_count = 18446744073709551615 type = "striped" stripe_count = 1 stripes = ["pv0", 0]')), /^fault DISK_INVALID the metadata of its LVM is damaged, \d+ bytes before its end$/],
    ['stripes without a number', group(volume('root', 'extent_count = 4 type = "striped" stripe_count = 4294967296 stripes = []')), 'fault DISK_INVALID the metadata of its LVM has no right stripes'],
    ['names that are paths', group(volume('../../etc/passwd', 'extent_count = 4 type = "cache"')), 'fault DISK_UNSUPPORTED vg/../../etc/passwd is a cached volume of LVM'],
    ['sections in sections', lvm(`vg { ${'a { '.repeat(100)}`), /^fault DISK_INVALID the metadata of its LVM is damaged, \d+ bytes before its end$/],
    ['a part on another disk', lvm(`vg { seqno = 1 extent_size = 8192 physical_volumes { pv0 { id = "${'b'.repeat(32)}" pe_start = 2048 } } logical_volumes { ${volume('root', 'extent_count = 4 type = "striped" stripe_count = 1 stripes = ["pv0", 0]')} } }`),
      'fault DISK_UNSUPPORTED vg/root is a volume of LVM that another disk holds a part of'],
    ['a physical volume in a volume', group(volume('root', 'extent_count = 4 type = "striped" stripe_count = 1 stripes = ["pv0", 0]')), 'fault DISK_NO_SYSTEM none of its 2 partitions and volumes holds a system'],
  ] as ReadonlyArray<readonly [string, Buffer, RegExp | string]>)('%s', async (name, bytes, message) => {
    const disk = filled('lvm.raw', bytes)
    if (name === 'a physical volume in a volume') patch(disk, MIB, bytes.subarray(0, 65_536))
    expect(await fault(disk)).toEqual(typeof message === 'string' ? message : expect.stringMatching(message))
  })

  it('names that are paths name nothing but themselves', async () => {
    const disk = filled('paths.raw', group(volume('../../dev/ubda', `extent_count = ${FILE_SYSTEM_SIZE / (4 * MIB)} type = "striped" stripe_count = 1 stripes = ["pv0", 0]`)), FILE_SYSTEM_SIZE + 4 * MIB)
    await place(fileAt('ext4'), disk, MIB)
    const result = await read(disk)
    expect(result.lines).toContain('root vg/../../dev/ubda ext4')
    expect(await unpacked(result)).toEqual(wanted)
  })
})

describe('fstab', () => {
  const system = async (fstab: string, change: (tree: string) => void = () => undefined): Promise<string> => {
    rmSync(fileAt('mounts'), { recursive: true, force: true })
    const tree = makeSystem(fileAt('mounts'), { 'etc/fstab': fstab })
    change(tree)
    put(fileAt('second'), { 'evil': 'x' })
    return makeDisk(fileAt('mounts.raw'), 'gpt', [
      { at: 1, file: await makeFileSystem('ext4', tree, fileAt('mounts-root')) },
      { at: 331, file: await makeFileSystem('ext4', fileAt('second'), fileAt('mounts-second'), { label: 'second', uuid: UUID }) },
    ])
  }

  it('paths that lead out are none, and neither are places that the image does not take', async () => {
    const result = await read(await system(['/..', '/etc/../..', '/usr/../..', '/usr/./../../proc', '//', 'usr', '/', '/proc', '/usrx', '/dev/../usr'].map((path) => `LABEL=second ${path} ext4 defaults 0 0\n`).join('')))
    expect(result.lines.filter((line) => line.startsWith('merged'))).toEqual([])
    expect((await unpacked(result)).filter((line) => line.includes('evil'))).toEqual([])
  })

  it.each([
    ['a link to elsewhere', '/var', "fault DISK_INVALID fstab mounts LABEL=second at /var, which can't be reached: Too many levels of symbolic links"],
    ['below a link', '/var/lib', "fault DISK_INVALID fstab mounts LABEL=second at /var/lib, which can't be reached: Too many levels of symbolic links"],
    ['a file', '/opt/file', "fault DISK_INVALID fstab mounts LABEL=second at /opt/file, which can't be reached: Not a directory"],
    ['a name that is too long', `/opt/${'x'.repeat(300)}`, /^fault DISK_INVALID fstab mounts LABEL=second at \/opt\/x+.*/],
    ['a path that is too long', `/opt${'/y'.repeat(4000)}`, /^fault DISK_INVALID fstab mounts LABEL=second at \/opt\/y.*/],
  ])('%s', async (_, path, message) => {
    const disk = await system(`LABEL=second ${path} ext4 defaults 0 0\n`, (tree) => {
      rmSync(join(tree, 'var'), { recursive: true })
      symlinkSync('/proc/self/root', join(tree, 'var'))
      writeFileSync(join(tree, 'opt/file'), '')
    })
    expect(await fault(disk)).toEqual(typeof message === 'string' ? message : expect.stringMatching(message))
  })

  it('one that is larger than any, and one whose inode is damaged, are refused and not passed over', async () => {
    const disk = await system('#'.repeat(MIB))
    expect((await read(disk)).status).toBe(0)
    expect(await fault(await system('#'.repeat(MIB + 1)))).toBe('fault LIMIT_EXCEEDED etc/fstab of 1 has more than 1048576 bytes')
    const damaged = fileAt('mounts-root')
    // Where the tree of its extents begins there is no mark of one.
    await runOk(['debugfs', '-w', '-R', 'set_inode_field /etc/fstab block[0] 0', damaged])
    expect(await fault(damaged)).toBe("fault DISK_INVALID etc/fstab of disk can't be read: Structure needs cleaning")
  })

  it('a UUID that two have', async () => {
    const disk = await system(`UUID=${UUID} /opt ext4 defaults 0 0\n`)
    const third = await makeDisk(fileAt('three.raw'), 'gpt', [{ at: 1, file: fileAt('mounts-root') }, { at: 331, file: fileAt('mounts-second') }, { at: 661, file: fileAt('mounts-second') }])
    expect((await read(disk)).lines).toContain('merged /opt 2 ext4')
    expect(await fault(third)).toBe(`fault DISK_INVALID fstab mounts UUID=${UUID} at /opt, but 2 and 3 are both that`)
  })

  it('links that lead in circles, where a system has its files', async () => {
    const tree = makeSystem(fileAt('circles'))
    for (const name of ['etc/os-release', 'usr/lib/os-release', 'bin/sh']) rmSync(join(tree, name))
    put(tree, { 'etc/os-release': '-> ../usr/lib/os-release', 'usr/lib/os-release': '-> ../../etc/os-release', 'bin/sh': '-> sh', 'etc/fstab': '-> fstab' })
    const expected = (await listing(tree)).filter((line) => !line.startsWith('etc/fstab'))
    const result = await read(await makeFileSystem('ext4', tree, fileAt('circles.raw')))
    expect(result.lines).toEqual(expect.arrayContaining([expect.stringMatching(/^found disk ext4 - [0-9a-f-]+ -$/), 'fact architecture amd64']))
    expect(await unpacked(result)).toEqual(expected)
  })
})

describe('trees', () => {
  it.each(whole ? (['ext4', 'xfs', 'btrfs'] as const) : (['ext4'] as const))('%s: names of every byte, hard links, holes, attributes, a large directory, a deep one', async (type) => {
    const image = fileAt('tree.raw')
    await runOk(['cp', '--sparse=always', fileAt(type), image])
    const tree = await mounted(image, 'rw', async (root) => {
      mkdirSync(join(root, 'opt/bytes'))
      for (let byte = 1; byte < 256; byte += 1)
        if (byte !== 0x2e && byte !== 0x2f) writeFileSync(Buffer.concat([Buffer.from(`${root}/opt/bytes/`), Buffer.from([byte])]), String(byte))
      put(root, { 'opt/one': 'linked', [`opt/${'n'.repeat(255)}`]: 'long' })
      for (let i = 0; i < 50; i += 1) linkSync(join(root, 'opt/one'), join(root, `opt/also-${i}`))
      symlinkSync('t'.repeat(1000), join(root, 'opt/far'))
      writeFileSync(join(root, 'opt/holes'), 'start')
      truncateSync(join(root, 'opt/holes'), 40 * MIB)
      patch(join(root, 'opt/holes'), 20 * MIB, Buffer.from('middle'))
      await runOk(['sh', '-c', `mkdir opt/many && cd opt/many && seq ${whole ? 20_000 : 3000} | xargs touch`], { cwd: root })
      await runOk(['sh', '-c', 'i=0; cd opt; while [ $i -lt 400 ]; do mkdir d; cd d; i=$((i + 1)); done; echo deep > file'], { cwd: root })
      // An attribute that is kept, and an access list (a user and a mask) that is not.
      await runOk(['python3', '-c', `import os, struct
os.setxattr("opt/one", "user.kept", b"value\\0with\\xffbytes")
os.setxattr("opt/one", "trusted.dropped", b"x")
os.setxattr("opt/one", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
os.setxattr("opt/holes", "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in [(1, 6, 0xffffffff), (2, 7, 1000), (4, 4, 0xffffffff), (16, 7, 0xffffffff), (32, 4, 0xffffffff)]))`], { cwd: root })
      const status = await runOk(['stat', '-c', '%a', 'opt/holes'], { cwd: root })
      expect(status.stdout).toBe('674\n')
      return (await listing(root)).filter((line) => !line.startsWith('lost+found'))
    })
    const result = await read(image)
    const { stdout } = await runOk(['tar', '--xattrs', '--xattrs-include=*', '-tvvf', result.archive])
    const attributes = stdout.split('\n').filter((line) => line.startsWith('  x:'))
    expect(attributes.map((line) => line.trim().split(/\s+/).pop())).toEqual(['user.kept'])
    expect(stdout.split('\n').filter((line) => line.includes(' link to opt/')).length).toBe(50)
    expect(readFileSync(result.archive).includes('posix_acl')).toBe(false)
    expect(await unpacked(result)).toEqual(tree)
  })

  it('a file that claims more than is allowed, and a path that is deeper', async () => {
    const image = fileAt('claims.raw')
    await runOk(['cp', '--sparse=always', fileAt('xfs'), image])
    await mounted(image, 'rw', (root) => runOk(['truncate', '-s', '1T', join(root, 'opt/claim')]))
    expect(await fault(image, '--bytes', String(1024 ** 3))).toBe("fault LIMIT_EXCEEDED the disk's files need more than 1073741824 bytes")
    await mounted(image, 'rw', async (root) => {
      rmSync(join(root, 'opt/claim'))
      await runOk(['sh', '-c', 'i=0; cd opt; while [ $i -lt 600 ]; do mkdir d; cd d; i=$((i + 1)); done'], { cwd: root })
    })
    expect(await fault(image)).toMatch(/^fault LIMIT_EXCEEDED a directory lies deeper than 500 others: opt(\/d)+/)
  })
})
