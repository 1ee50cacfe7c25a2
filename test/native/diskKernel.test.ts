/**
 * shifter-disk by this machine's own kernel, as a site may choose: the disks of the guest's tests give the same, and the process that reads them has no more
 * than it needs. Damaged file systems are left to the guest, since a kernel may fall over them.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, linkSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { run, runOk } from '../harness/process.js'
import { crc32, lvm } from './disks/lvm.js'
import { makeFileSystem, makeSystem, MIB, mounted, place } from './disks/make.js'
import { PROGRAM, useReader } from './disks/reader.js'

process.env['SHIFTER_TEST_READER'] = 'kernel'
await import('./disk.test.js')
// Quick, but not for every run; `npm run test:vm` has them.
if (process.env['SHIFTER_TEST_VM'] === '1') await import('./diskHostile.test.js')

const { account, command, fault, fileAt, processes, read, scratch } = useReader('disk-kernel')
const CAP_DAC_READ_SEARCH = 1n << 2n
let system: string
let endless: string

/** Takes as long as one likes: a file of a terabyte, of which nothing is there. */
const lengthen = (disk: string) => mounted(disk, 'rw', (root) => runOk(['truncate', '-s', '1T', join(root, 'opt/claim')]))

beforeAll(async () => {
  const tree = makeSystem(fileAt('tree'))
  system = await makeFileSystem('ext4', tree, fileAt('system.raw'))
  endless = await makeFileSystem('xfs', tree, fileAt('endless.raw'))
  await lengthen(endless)
})

const loops = async (): Promise<readonly string[]> => (await runOk(['losetup', '--list', '--noheadings', '--output', 'BACK-FILE'])).stdout.split('\n').filter((line) => line.includes('disk-kernel'))

/** A run that has begun to write. */
const begin = async (disk = endless) => {
  const { argv, archive } = command(disk, '--bytes', String(2 * 1024 ** 4))
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('progress')) break
  const reader = processes().find((pid) => readFileSync(`/proc/${pid}/status`, 'utf8').includes(`\nPPid:\t${child.pid}\n`)) ?? ''
  return { child, ended, archive, reader }
}

describe('the process that reads', () => {
  it('is the account, may read files of every owner and nothing else, and sees what it has mounted, which nobody else does', async () => {
    const { child, ended, reader } = await begin()
    const status = readFileSync(`/proc/${reader}/status`, 'utf8')
    const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? ''
    const { uid, gid } = account()
    expect([field('Uid'), field('Gid'), field('Groups')]).toEqual([`${uid}\t${uid}\t${uid}\t${uid}`, `${gid}\t${gid}\t${gid}\t${gid}`, ''])
    expect(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((name) => BigInt(`0x${field(name)}`))).toEqual([0n, CAP_DAC_READ_SEARCH, CAP_DAC_READ_SEARCH, 0n, 0n])
    expect([field('NoNewPrivs'), field('Seccomp')]).toEqual(['1', '2'])
    const mounts = readFileSync(`/proc/${reader}/mountinfo`, 'utf8').trimEnd().split('\n').map((line) => line.split(' '))
    expect(mounts.map((words) => [words[4], words[5]])).toEqual([
      ['/', 'ro,nosuid,nodev,noexec,relatime'], ['/proc', 'rw,nosuid,nodev,noexec,relatime'], ['/root', 'ro,nosuid,nodev,noexec,noatime'],
    ])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('disk-kernel')
    for (const space of ['mnt', 'net', 'pid', 'ipc', 'uts']) expect(statSync(`/proc/${reader}/ns/${space}`).ino).not.toBe(statSync(`/proc/self/ns/${space}`).ino)
    expect(readFileSync(`/proc/${child.pid}/status`, 'utf8')).toContain(`\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`)
    expect(await loops()).toHaveLength(1)
    // From a directory or a device of the machine's, its one right would lead to every file.
    const open = readdirSync(`/proc/${reader}/fd`).map((fd) => readlinkSync(`/proc/${reader}/fd/${fd}`))
    expect(open.filter((path) => !/^(pipe:.*|(\/dev)?\/null|\/root(\/.*)?|.*\/scratch\/\d+\.tar)$/.test(path))).toEqual([])
    child.kill('SIGTERM')
    await ended
  })

  it('does not end the machine where a file system asks for that', async () => {
    const disk = await makeFileSystem('ext4', makeSystem(fileAt('panic')), fileAt('panic.raw'))
    await lengthen(disk)
    await runOk(['tune2fs', '-e', 'panic', disk])
    const { child, ended, reader } = await begin(disk)
    expect(readFileSync(`/proc/${reader}/mountinfo`, 'utf8')).toMatch(/ \/root .* - ext4 .*\berrors=remount-ro\b/)
    child.kill('SIGTERM')
    await ended
  })

  it('is missed when it is killed', async () => {
    const { child, ended, archive, reader } = await begin()
    const said = createInterface({ input: child.stdout })
    process.kill(Number(reader), 'SIGKILL')
    const lines: string[] = []
    for await (const line of said) lines.push(line)
    await ended
    expect([lines.at(-1), child.exitCode, existsSync(archive)]).toEqual(['fault READER_FAILED the reader ended without a word', 1, false])
    expect(await loops()).toEqual([])
  })

  it('ends with who started its launcher, also where nobody listens', async () => {
    const { argv } = command(endless, '--bytes', String(2 * 1024 ** 4))
    const parent = spawn('sh', ['-c', '"$@" > /dev/null & wait', 'sh', ...argv], { stdio: 'ignore' })
    onTestFinished(() => void parent.kill('SIGKILL'))
    await vi.waitFor(async () => expect(await loops()).toHaveLength(1), { timeout: 10_000, interval: 20 })
    parent.kill('SIGKILL')
    await vi.waitFor(async () => expect([processes(), await loops(), readdirSync(scratch())]).toEqual([[], [], []]), { timeout: 10_000, interval: 20 })
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('is gone with its launcher, and so are its mounts and loop devices (%s)', async (signal) => {
    const { child, ended, archive, reader } = await begin()
    child.kill(signal)
    await ended
    await vi.waitFor(async () => expect([existsSync(`/proc/${reader}`), await loops()]).toEqual([false, []]), { timeout: 10_000, interval: 20 })
    // Who is killed can't take its archive away; the directory's owner does.
    expect(existsSync(archive)).toBe(signal === 'SIGKILL')
    if (signal === 'SIGKILL') await runOk(['rm', archive])
    expect(readdirSync(scratch())).toEqual([])
  })

  it('has its time', async () => {
    expect(await fault(endless, '--bytes', String(2 * 1024 ** 4), '--seconds', '1')).toBe('fault LIMIT_EXCEEDED the disk was not read within 1 seconds')
    expect(await loops()).toEqual([])
  })
})

describe('refused', () => {
  it('is whoever is not root', async () => {
    const result = await run(['setpriv', `--reuid=${account().uid}`, `--regid=${account().gid}`, '--clear-groups', PROGRAM, '--disk', system, '--output', join(scratch(), 'x.tar'), '--scratch', scratch(), '--reader', 'kernel'])
    expect([result.status, result.stdout]).toEqual([1, 'fault USAGE --reader kernel mounts the disk, which root alone can\n'])
    expect((await run([PROGRAM, '--disk', system, '--output', join(scratch(), 'x.tar'), '--reader', 'kernel'])).stdout).toBe('fault USAGE root gives the account to become: --user UID:GID, neither of them 0\n')
    expect((await read(system, '--reader', 'fuse')).stdout).toBe('fault USAGE --reader is uml or kernel\n')
  })

  it('are disks that lead elsewhere: links, files that the account may not read, devices', async () => {
    const link = fileAt('link.raw')
    symlinkSync(system, link)
    expect(await fault(link)).toBe(`fault DISK_INVALID ${link} can't be opened: Too many levels of symbolic links`)
    const secret = fileAt('secret.raw')
    writeFileSync(secret, '', { mode: 0o600 })
    truncateSync(secret, MIB)
    linkSync(secret, fileAt('named.raw'))
    expect(await fault(fileAt('named.raw'))).toBe(`fault DISK_INVALID ${fileAt('named.raw')} can't be opened: Permission denied`)
    expect(await fault('/dev/null')).toBe('fault DISK_INVALID /dev/null is no regular file')
  })

  it('is a subvolume whose name is further options', async () => {
    const disk = await makeFileSystem('btrfs', makeSystem(fileAt('subvolume')), fileAt('subvolume.raw'))
    expect(await fault(disk, '--partition', 'disk@,skip_balance')).toBe('fault DISK_NO_SYSTEM the disk has no disk@,skip_balance that holds a system')
  })

  it('is a machine without loop devices', async () => {
    const { argv } = command(system)
    const empty = 'touch "$0" && mount --bind /dev/null "$0" && mount -t tmpfs none /dev && touch /dev/null && mount --bind "$0" /dev/null && exec "$@"'
    const result = await run(['unshare', '--mount', 'sh', '-c', empty, fileAt('null'), ...argv])
    expect(result.stdout).toBe("fault READER_FAILED this machine has no loop devices: /dev/loop-control can't be opened: No such file or directory\n")
    expect(readdirSync(scratch())).toEqual([])
  })

  it('is an archive where a link is, or a file', async () => {
    symlinkSync('/etc/passwd', join(scratch(), 'taken'))
    const result = await run([PROGRAM, '--disk', system, '--output', join(scratch(), 'taken'), '--scratch', scratch(), '--user', `${account().uid}:${account().gid}`, '--reader', 'kernel'])
    expect(result.stdout).toMatch(/^fault USAGE .*taken can't be made: File exists\n$/)
    await runOk(['rm', join(scratch(), 'taken')])
  })
})

describe('tables that ask for more than a machine should give', () => {
  const at = (bytes: Buffer, offset: number, size = 64 * MIB): string => {
    const disk = fileAt(`tables-${offset}-${bytes.length}.raw`)
    writeFileSync(disk, Buffer.concat([Buffer.alloc(offset), bytes]))
    truncateSync(disk, Math.max(size, offset + bytes.length))
    return disk
  }

  it('get so much memory', async () => {
    // Logical partitions that are all the same physical volume, whose metadata is large.
    const disk = at(lvm(Buffer.alloc(16 * MIB - 1024, '#')), MIB)
    const table = (...entries: ReadonlyArray<readonly [type: number, start: number, sectors: number]>): Buffer => {
      const bytes = Buffer.alloc(512)
      for (const [i, [type, start, sectors]] of entries.entries()) {
        bytes.writeUInt8(type, 450 + 16 * i)
        bytes.writeUInt32LE(start, 454 + 16 * i)
        bytes.writeUInt32LE(sectors, 458 + 16 * i)
      }
      bytes.writeUInt16LE(0xaa55, 510)
      return bytes
    }
    // A partition's place is told from its own table, the next table's from the first.
    const chain = Array.from({ length: 64 }, (_, i) => table([0x8e, 2048 - 64 - i, 60 * 2048], ...(i < 63 ? [[5, i + 1, 1] as const] : [])))
    await runOk(['dd', `of=${disk}`, 'conv=notrunc', 'status=none'], { input: Buffer.concat([table([5, 64, 4096]), Buffer.alloc(63 * 512), ...chain]) })
    expect(await fault(disk, '--memory', '128')).toBe("fault LIMIT_EXCEEDED the reader's memory was not enough")
  })

  it('get so many devices', async () => {
    const entries = Buffer.alloc(300 * 128)
    const last = BigInt(statSync(system).size / 512 + 2047)
    for (let i = 0; i < 300; i += 1) {
      entries.fill(1, i * 128, i * 128 + 32)
      entries.writeBigUInt64LE(2048n, i * 128 + 32)
      entries.writeBigUInt64LE(last, i * 128 + 40)
    }
    const header = Buffer.alloc(512)
    header.write('EFI PART')
    header.writeUInt32LE(92, 12)
    header.writeBigUInt64LE(1n, 24)
    header.writeBigUInt64LE(2n, 72)
    header.writeUInt32LE(300, 80)
    header.writeUInt32LE(128, 84)
    header.writeUInt32LE(~crc32(entries, 0xffffffff) >>> 0, 88)
    header.writeUInt32LE(~crc32(header.subarray(0, 92), 0xffffffff) >>> 0, 16)
    const disk = at(Buffer.concat([header, entries]), 512, statSync(system).size + 2 * MIB)
    await place(system, disk, MIB)
    expect(await fault(disk, '--partition', '300')).toBe('fault LIMIT_EXCEEDED the disk has too many partitions and volumes')
    expect(await loops()).toEqual([])
  })

  it('get copies of no more than is on the disk', async () => {
    const tree = makeSystem(fileAt('random'))
    writeFileSync(join(tree, 'opt/random'), randomBytes(8 * MIB))
    const whole = fileAt('random.raw')
    await runOk(['truncate', '-s', '16M', whole])
    await runOk(['mkfs.ext4', '-q', '-d', tree, whole])
    const volume = (i: number): string => `v${i} { status = ["READ", "VISIBLE"] segment_count = 2 ${[0, 2].map((extent) => `segment${extent / 2 + 1} { start_extent = ${extent} extent_count = 2 type = "striped" stripe_count = 1 stripes = ["pv0", ${extent}] }`).join(' ')} }`
    const group = (volumes: number) => lvm(`vg { seqno = 1 extent_size = 8192 physical_volumes { pv0 { id = "${'a'.repeat(32)}" pe_start = 2048 } } logical_volumes { ${Array.from({ length: volumes }, (_, i) => volume(i)).join(' ')} } }`)
    const disk = at(group(1), 0, 17 * MIB)
    await place(whole, disk, MIB)
    const one = await read(disk)
    expect(one.lines).toContain('root vg/v0 ext4')
    await runOk(['rm', one.archive])
    await runOk(['dd', `of=${disk}`, 'conv=notrunc', 'status=none'], { input: group(8) })
    expect(await fault(disk, '--partition', 'vg/v7')).toBe('fault DISK_INVALID its volumes lie in each other')
    expect(await loops()).toEqual([])
  })
})
