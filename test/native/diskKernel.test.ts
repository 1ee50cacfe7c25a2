/**
 * shifter-disk by this machine's own kernel, as a site may choose: the disks of the guest's tests give the same, and the process that reads them has no more
 * than it needs. Damaged file systems are left to the guest, since a kernel may fall over them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, linkSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { run, runOk } from '../harness/process.js'
import { makeFileSystem, makeSystem, MIB, mounted } from './disks/make.js'
import { PROGRAM, useReader } from './disks/reader.js'

process.env['SHIFTER_TEST_READER'] = 'kernel'
await import('./disk.test.js')
// Quick, but not for every run; `npm run test:vm` has them.
if (process.env['SHIFTER_TEST_VM'] === '1') await import('./diskHostile.test.js')

const { account, command, fault, fileAt, processes, read, scratch } = useReader('disk-kernel')
const CAP_DAC_READ_SEARCH = 1n << 2n
let system: string
/** Takes as long as one likes: a file of a terabyte, of which nothing is there. */
let endless: string

beforeAll(async () => {
  const tree = makeSystem(fileAt('tree'))
  system = await makeFileSystem('ext4', tree, fileAt('system.raw'))
  endless = await makeFileSystem('xfs', tree, fileAt('endless.raw'))
  await mounted(endless, 'rw', (root) => runOk(['truncate', '-s', '1T', join(root, 'opt/claim')]))
})

const loops = async (): Promise<readonly string[]> => (await runOk(['losetup', '--list', '--noheadings', '--output', 'BACK-FILE'])).stdout.split('\n').filter((line) => line.includes('disk-kernel'))

/** A run that has begun to write. */
const begin = async () => {
  const { argv, archive } = command(endless, '--bytes', String(2 * 1024 ** 4))
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
    child.kill('SIGTERM')
    await ended
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

  it('is an archive where a link is, or a file', async () => {
    symlinkSync('/etc/passwd', join(scratch(), 'taken'))
    const result = await run([PROGRAM, '--disk', system, '--output', join(scratch(), 'taken'), '--scratch', scratch(), '--user', `${account().uid}:${account().gid}`, '--reader', 'kernel'])
    expect(result.stdout).toMatch(/^fault USAGE .*taken can't be made: File exists\n$/)
    await runOk(['rm', join(scratch(), 'taken')])
  })
})
