/**
 * shifter-disk: systems on disks of Debian's tools, read by a kernel in a process. What comes out is compared with what went in, entry by entry.
 */
import { createHash } from 'node:crypto'
import { chmodSync, createReadStream, linkSync, mkdirSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { run, runOk } from '../harness/process.js'
import { type FileSystem, FILE_SYSTEM_SIZE, listing, makeDisk, makeFileSystem, makeSystem, MIB, mounted, OF_THE_MACHINE, place, put } from './disks/make.js'
import { isKernel, PROGRAM, useReader } from './disks/reader.js'

const { account, fault, fileAt, read, scratch, unpacked } = useReader('disk')

const sha256 = async (file: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

let wanted: readonly string[]

beforeAll(async () => {
  const tree = makeSystem(fileAt('tree'))
  chmodSync(join(tree, 'usr/bin'), 0o711)
  writeFileSync(join(tree, 'usr/bin/tool'), 'x'.repeat(1_500_000), { mode: 0o750 })
  for (const directory of ['boot', 'etc/netplan', 'etc/ssh', 'lib/modules', 'root', 'run', 'tmp', 'var/lib/cloud']) mkdirSync(join(tree, directory), { recursive: true })
  wanted = await listing(tree)
  put(tree, OF_THE_MACHINE)
  for (const type of ['ext2', 'ext3', 'ext4', 'xfs', 'btrfs'] as const) await makeFileSystem(type, tree, fileAt(type), { label: `l-${type}` })
})

describe('layouts', () => {
  const offsets = { bare: 0, mbr: 1, logical: 5, gpt: 3 } as const
  const layout = async (kind: keyof typeof offsets, type: FileSystem): Promise<string> => {
    const disk = fileAt(`${kind}-${type}.raw`)
    const at = offsets[kind]
    if (kind === 'bare') return (await runOk(['cp', '--sparse=always', fileAt(type), disk])) && disk
    if (kind === 'mbr') return makeDisk(disk, 'dos', [{ at, more: 'type=83', file: fileAt(type) }])
    if (kind === 'gpt') return makeDisk(disk, 'gpt', [{ at: 1, size: MIB, more: 'type=21686148-6449-6E6F-744E-656564454649' }, { at, file: fileAt(type) }])
    return makeDisk(disk, 'dos', [{ at: 1, size: 2 * MIB, more: 'type=82' }, { at: 4, size: FILE_SYSTEM_SIZE + 2 * MIB, more: 'type=5' }, { at, more: 'type=83', file: fileAt(type) }])
  }

  it.each([
    ['bare', 'ext2'], ['bare', 'btrfs'], ['mbr', 'ext3'], ['mbr', 'xfs'], ['logical', 'ext4'], ['logical', 'btrfs'], ['gpt', 'ext4'], ['gpt', 'xfs'],
  ] as const)('%s, %s: the tree, but for what is of the machine', async (kind, type) => {
    const disk = await layout(kind, type)
    const before = await sha256(disk)
    const result = await read(disk)
    const name = { bare: 'disk', mbr: '1', logical: '5', gpt: '2' }[kind]
    expect(result.lines[0]).toMatch(new RegExp(`^found ${name} ${type} l-${type} [0-9a-f-]{36} Debian GNU/Linux 12 \\(bookworm\\)$`))
    expect(result.lines).toEqual(expect.arrayContaining([`root ${name} ${type}`, 'fact os debian', 'fact version 12', 'fact architecture amd64', 'fact path /usr/bin:/bin', 'stripped etc/shadow 1', 'stripped lib/modules 1', 'stripped boot 1']))
    expect(result.lines.at(-1)).toMatch(/^done \d+ \d+$/)
    expect(statSync(result.archive).uid).toBe(account().uid)
    expect(await unpacked(result)).toEqual(wanted)
    expect(await sha256(disk)).toBe(before)
    rmSync(disk)
  })

  it('hard links stay, devices and sockets go, times and setuid bits are as they were', async () => {
    const tree = makeSystem(fileAt('special'))
    linkSync(join(tree, 'bin/busybox'), join(tree, 'usr/bin/ls'))
    await runOk(['mknod', join(tree, 'opt/null'), 'c', '1', '3'])
    await runOk(['mkfifo', join(tree, 'opt/fifo')])
    await runOk(['touch', '-d', '2001-02-03T04:05:06Z', join(tree, 'etc/environment')])
    chmodSync(join(tree, 'usr/bin/ls'), 0o4755)
    const result = await read(await makeFileSystem('ext4', tree, fileAt('special.raw')))
    expect(result.lines).toContain('stripped special-files 2')
    const { stdout } = await runOk(['tar', '-tvf', result.archive, '--full-time', '--utc'])
    expect(stdout).toContain('usr/bin/ls link to bin/busybox')
    expect(stdout).toMatch(/-rwsr-xr-x 0\/0 .* bin\/busybox\n/)
    expect(stdout).toMatch(/2001-02-03 04:05:06 etc\/environment\n/)
    expect(stdout).not.toContain('opt/null')
  })

  it('the backup of a GPT is read where the first header is damaged, and a disk without either is refused', async () => {
    const disk = await layout('gpt', 'ext4')
    const fd = openSync(disk, 'r+')
    writeSync(fd, Buffer.alloc(512, 1), 0, 512, 512)
    closeSync(fd)
    expect(await unpacked(await read(disk))).toEqual(wanted)
    truncateSync(disk, 200 * MIB)
    expect(await fault(disk)).toBe('fault DISK_INVALID both headers of its GPT are damaged, or the disk was cut off')
    const cut = await layout('mbr', 'ext4')
    truncateSync(cut, 200 * MIB)
    expect(await fault(cut)).toMatch(/^fault DISK_INVALID partition 1 ends at byte \d+, but the disk has \d+: it was cut off$/)
  })

  it('the default subvolume of a btrfs, or the only one that holds a system, or the one that is named', async () => {
    const image = fileAt('subvolumes.raw')
    await runOk(['truncate', '-s', String(FILE_SYSTEM_SIZE), image])
    await runOk(['mkfs.btrfs', '-q', image])
    const system = makeSystem(fileAt('subvolumes'), { 'etc/fstab': `/dev/sda1 / btrfs subvol=@ 0 0\n/dev/vda /home btrfs subvol=@home 0 0\n` })
    await mounted(image, 'rw', async (directory) => {
      for (const name of ['@', '@home', 'other']) await runOk(['btrfs', 'subvolume', 'create', join(directory, name)])
      await runOk(['cp', '-a', `${system}/.`, join(directory, '@')])
    })
    const only = await read(image)
    expect(only.lines).toContain('root disk@@ btrfs')
    await mounted(image, 'rw', (directory) => runOk(['cp', '-a', `${system}/.`, join(directory, 'other')]))
    expect(await fault(image)).toBe('fault DISK_AMBIGUOUS 2 of its file systems hold a system')
    expect((await read(image, '--partition', 'disk@other')).lines).toContain('root disk@other btrfs')
    await mounted(image, 'rw', (directory) => runOk(['btrfs', 'subvolume', 'set-default', join(directory, 'other')]))
    expect((await read(image)).lines).toContain('root disk btrfs')
    expect((await read(image, '--partition', 'disk@@')).lines).toContain('root disk@@ btrfs')
  })
})

describe('logical volumes', () => {
  it('linear and striped over two partitions, with what fstab names by /dev/mapper', async () => {
    const disk = await makeDisk(fileAt('lvm.raw'), 'gpt', [{ at: 1, size: 600 * MIB, more: 'type=E6D6D379-F507-44C2-A23C-238F2A3DF928' }, { at: 601, size: 400 * MIB, more: 'type=E6D6D379-F507-44C2-A23C-238F2A3DF928' }])
    const system = makeSystem(fileAt('lvm'), { 'etc/fstab': '/dev/mapper/vg--x-root / ext4 defaults 0 1\n/dev/mapper/vg--x-opt /opt xfs defaults 0 2\n' })
    const root = await makeFileSystem('ext4', system, fileAt('lvm-root'))
    put(fileAt('lvm-opt'), { 'tool/data': 'y'.repeat(3_000_000) })
    const opt = await makeFileSystem('xfs', fileAt('lvm-opt'), fileAt('lvm-opt-image'))
    const loops: string[] = []
    try {
      for (const [at, size] of [[1, 600], [601, 400]] as const)
        loops.push((await runOk(['losetup', '--find', '--show', '--offset', String(at * MIB), '--sizelimit', String(size * MIB), disk])).stdout.trim())
      const lvm = (command: string, ...rest: readonly string[]) => runOk(['lvm', command, '--driverloaded', 'n', '--config', `devices { filter=[${loops.map((name) => `"a|^${name}$|"`).join(',')},"r|.*|"] } backup { backup=0 archive=0 }`, '-y', ...rest])
      // No device mapper is asked for: the volumes need not be seen by this machine.
      await lvm('vgcreate', 'vg-x', ...loops)
      await lvm('lvcreate', '-an', '-Zn', '-Wn', '-L', '320M', '-n', 'root', 'vg-x', loops[0] ?? '')
      await lvm('lvcreate', '-an', '-Zn', '-Wn', '-i', '2', '-I', '64', '-L', '320M', '-n', 'opt', 'vg-x')
    } finally {
      for (const loop of loops) await runOk(['losetup', '--detach', loop])
    }
    // Extents begin a MiB behind each partition's start; the striped volume's are behind the 320 MiB of the other on the first one.
    await place(root, disk, 2 * MIB)
    const [from, to] = [openSync(opt, 'r'), openSync(disk, 'r+')]
    const content = readFileSync(from)
    for (let at = 0; at < content.length; at += 65_536) {
      const piece = content.subarray(at, at + 65_536)
      const row = Math.floor(at / 131_072) * 65_536
      if (piece.some((byte) => byte !== 0)) writeSync(to, piece, 0, piece.length, (at / 65_536) % 2 === 0 ? 322 * MIB + row : 602 * MIB + row)
    }
    closeSync(from)
    closeSync(to)
    const result = await read(disk)
    expect(result.lines).toEqual(expect.arrayContaining(['root vg-x/root ext4', 'merged /opt vg-x/opt xfs']))
    const entries = await unpacked(result)
    expect(entries.filter((line) => line.includes('opt/tool'))).toEqual((await listing(fileAt('lvm-opt'))).map((line) => line.replace('tool', 'opt/tool').replace('opt/tool/data f', 'opt/tool/data f')).sort())
  })
})

describe('journals', () => {
  it.each(['ext4', 'xfs', 'btrfs'] as const)('%s: what was written is there, and the disk stays as it was', async (type) => {
    const image = fileAt(`dirty-${type}`)
    const dirty = fileAt(`dirty-${type}.raw`)
    await runOk(['cp', '--sparse=always', fileAt(type), image])
    await mounted(image, 'rw', async (directory) => {
      // In the journal alone, as if the machine had lost its power now.
      await runOk(['sh', '-c', `mkdir new && echo kept > new/file && sync new/file new && cp --sparse=always ${image} ${dirty}`], { cwd: directory })
    })
    const before = await sha256(dirty)
    const result = await read(dirty)
    expect(result.lines).toContain('replayed disk')
    expect((await unpacked(result)).filter((line) => line.includes('new'))).toEqual([
      `${createHash('sha256').update('kept\n').digest('hex')}  ./new/file`, 'new d 755 ', 'new/file f 644 ',
    ])
    expect(await sha256(dirty)).toBe(before)
  })
})

describe('fstab', () => {
  it('adds what it mounts, by UUID, LABEL, PARTUUID and name, in the order of the paths, and skips everything else', async () => {
    const system = makeSystem(fileAt('parts'), {
      'var/keep': 'hidden by the partition', 'etc/fstab': `# a comment
LABEL=lib /var/lib ext4 defaults 0 2
UUID=11111111-2222-3333-4444-555555555555 /var xfs defaults 0 2
PARTUUID=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee /home/ ext4 defaults 0 2
/dev/sda5 /opt ext4 ro 0 2
server:/export /usr/share nfs defaults 0 0
tmpfs /var/tmp tmpfs defaults 0 0
/opt /usr/local none bind 0 0
LABEL=none /home/backup ext4 noauto 0 0
LABEL=none /home/other ext4 nofail 0 0
LABEL=none /data ext4 defaults 0 0
UUID=ABCD-1234 /boot/efi vfat umask=0077 0 1
LABEL=swap none swap sw 0 0
`})
    const part = async (name: string, type: FileSystem, files: Readonly<Record<string, string>>, options = {}) => {
      put(fileAt(`part-${name}`), files)
      return makeFileSystem(type, fileAt(`part-${name}`), fileAt(`part-${name}-image`), options)
    }
    const disk = await makeDisk(fileAt('parts.raw'), 'gpt', [
      { at: 1, file: await makeFileSystem('ext4', system, fileAt('parts-root')) },
      { at: 331, file: await part('var', 'xfs', { 'spool/x': 'x', 'lib/hidden': 'h' }, { uuid: '11111111-2222-3333-4444-555555555555' }) },
      { at: 661, file: await part('lib', 'ext4', { 'dpkg/status': 's' }, { label: 'lib' }) },
      { at: 991, more: 'uuid=AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE', file: await part('home', 'ext4', { 'user/file': 'f' }) },
      { at: 1321, file: await part('opt', 'ext4', { 'program': 'p' }) },
    ])
    const result = await read(disk)
    expect(result.lines.filter((line) => line.startsWith('merged'))).toEqual(['merged /home 4 ext4', 'merged /opt 5 ext4', 'merged /var 2 xfs', 'merged /var/lib 3 ext4'])
    const names = (await unpacked(result)).map((line) => line.split(' ')[0] ?? '')
    expect(names).toEqual(expect.arrayContaining(['var/spool/x', 'var/lib/dpkg/status', 'home/user/file', 'opt/program']))
    expect(names).not.toContain('var/keep')
    expect(names).not.toContain('var/lib/hidden')
  })

  it('refuses what is on no partition of this disk', async () => {
    const system = makeSystem(fileAt('elsewhere'), { 'etc/fstab': 'LABEL=away /usr ext4 defaults 0 2\n' })
    expect(await fault(await makeFileSystem('ext4', system, fileAt('elsewhere.raw')))).toBe('fault DISK_UNSUPPORTED fstab mounts LABEL=away at /usr, which is not on this disk')
  })
})

describe('refused', () => {
  const filled = (name: string, ...pieces: ReadonlyArray<readonly [offset: number, bytes: string]>): string => {
    const disk = fileAt(name)
    writeFileSync(disk, '')
    truncateSync(disk, 16 * MIB)
    const fd = openSync(disk, 'r+')
    for (const [offset, bytes] of pieces) writeSync(fd, Buffer.from(bytes, 'latin1'), 0, bytes.length, offset)
    closeSync(fd)
    return disk
  }

  it('LUKS, software RAID, what nobody knows, nothing', async () => {
    expect(await fault(filled('luks.raw', [0, 'LUKS\xba\xbe\x00\x02']))).toBe('fault DISK_UNSUPPORTED disk is encrypted (LUKS)')
    expect(await fault(filled('raid.raw', [4096, '\xfc\x4e\x2b\xa9\x01\x00']))).toBe('fault DISK_UNSUPPORTED disk is a member of a software RAID (mdraid)')
    expect(await fault(filled('squashfs.raw', [0, 'hsqs']))).toBe('fault DISK_UNSUPPORTED disk is a squashfs (of a live medium)')
    expect(await fault(filled('zeros.raw'))).toBe('fault DISK_INVALID it has neither a partition table nor a file system that is known')
    expect(await fault(fileAt('missing.raw'))).toMatch(/^fault DISK_INVALID .*missing\.raw can't be opened: No such file or directory$/)
  })

  it('a copy-on-write file of the kernel, which names another file', async () => {
    // The magic, a version and the name of a backing file, as User-Mode Linux writes them.
    const cow = filled('cow.raw', [0, `OOOM\x00\x00\x00\x03\x00\x00\x00\x00/etc/passwd`])
    expect(await fault(cow)).toMatch(/^fault DISK_UNSUPPORTED .*cow\.raw is a copy-on-write file of User-Mode Linux, which names another$/)
  })

  it('no system, two systems, and the one that is chosen', async () => {
    put(fileAt('data'), { 'some/file': 'x' })
    expect(await fault(await makeFileSystem('ext4', fileAt('data'), fileAt('data.raw')))).toBe('fault DISK_NO_SYSTEM none of its 1 partitions and volumes holds a system')
    const two = await makeDisk(fileAt('two.raw'), 'gpt', [{ at: 1, file: fileAt('ext4') }, { at: 331, file: fileAt('xfs') }])
    const both = await read(two)
    expect(both.lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual(['found 1 ext4', 'found 2 xfs', 'fault DISK_AMBIGUOUS 2'])
    expect(await unpacked(await read(two, '--partition', '2'))).toEqual(wanted)
    expect(await fault(two, '--partition', '7')).toBe('fault DISK_NO_SYSTEM the disk has no 7 that holds a system')
  })

  it('another architecture', async () => {
    const system = makeSystem(fileAt('foreign'))
    const program = readFileSync(join(system, 'bin/busybox'))
    program.writeUInt16LE(183, 18)
    writeFileSync(join(system, 'bin/busybox'), program)
    expect(await fault(await makeFileSystem('ext4', system, fileAt('foreign.raw')))).toBe("fault PLATFORM_NOT_FOUND the system's programs are for arm64, not for this machine")
  })

  it('more entries, bytes or time than are allowed', async () => {
    expect(await fault(fileAt('ext4'), '--entries', '10')).toBe('fault LIMIT_EXCEEDED the disk holds more than 10 entries')
    expect(await fault(fileAt('ext4'), '--bytes', '1000000')).toBe("fault LIMIT_EXCEEDED the disk's files need more than 1000000 bytes")
    // The guest's start alone takes longer; the machine's own kernel is given more to do (diskKernel.test.ts).
    if (!isKernel()) expect(await fault(fileAt('ext4'), '--seconds', '1')).toBe('fault LIMIT_EXCEEDED the disk was not read within 1 seconds')
  })

  it('options that are none, root as the reader, a file that is there', async () => {
    expect((await run([PROGRAM, '--disk', fileAt('ext4')])).stdout).toBe('fault USAGE --disk and --output are needed\n')
    expect((await run([PROGRAM, '--disk', fileAt('ext4'), '--output', join(scratch(), 'x')])).stdout).toBe('fault USAGE root gives the account to become: --user UID:GID, neither of them 0\n')
    writeFileSync(join(scratch(), 'taken'), 'mine')
    const result = await run([PROGRAM, '--disk', fileAt('ext4'), '--output', join(scratch(), 'taken'), '--scratch', scratch(), '--user', `${account().uid}:${account().gid}`])
    expect(result.stdout).toMatch(/^fault USAGE .*taken can't be made: File exists\n$/)
    expect(readFileSync(join(scratch(), 'taken'), 'utf8')).toBe('mine')
  })
})
