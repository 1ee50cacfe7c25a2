/**
 * shifter-disk as a process: its limits, its end, and what is left of it, with guests that the disk has taken over, which say and do what they like.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { beforeAll, describe, expect, it } from 'vitest'
import { run, runOk } from '../harness/process.js'
import { lvm } from './disks/lvm.js'
import { makeFileSystem, makeSystem, MIB } from './disks/make.js'
import { useReader } from './disks/reader.js'

const { account, command, fault, fileAt, processes, read, scratch } = useReader('disk-process')
let system: string

/** A disk that tells the taken guest what to do. */
const order = (name: string, what: 'flood' | 'hold' | 'log' | 'print' | 'probe', text = ''): string => {
  const disk = fileAt(`${name}.order`)
  writeFileSync(disk, Buffer.from(`${what}\n${text}END${' '.repeat(512)}`, 'latin1'))
  // Whoever could write it on the host can't from there.
  chmodSync(disk, 0o666)
  return disk
}
const taken = (): readonly [string, string] => ['--kernel', fileAt('taken')]

/** A run whose first line has been told. */
const begin = async (disk: string, options: readonly string[], wrapper: readonly string[] = []) => {
  const { argv, archive } = command(disk, ...options)
  const [program = '', ...words] = [...wrapper, ...argv]
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child.stdout, 'close')
  await once(child.stdout, 'data')
  return { child, ended, archive }
}

beforeAll(async () => {
  await runOk(['cc', '-O2', '-static', '-Wall', '-Werror', '-o', fileAt('taken'), 'test/native/disks/guest.c'])
  system = await makeFileSystem('ext4', makeSystem(fileAt('system')), fileAt('system.raw'))
})

describe('a guest that the disk has taken over', () => {
  it('has no network, no further namespace, no file but its own, and limits', async () => {
    const { lines } = await read(order('probe', 'probe'), ...taken())
    expect(lines).toEqual([
      'fact title socket unix: done',
      ...['inet', 'inet6', 'netlink', 'packet', 'alg', 'vsock'].map((family) => `fact title ${family}: EAFNOSUPPORT`),
      'fact title user namespace: EPERM', 'fact title network namespace: EPERM', 'fact title unshare: ENOSYS', 'fact title mount: ENOSYS',
      "fact title host's files: ENOENT", "fact title host's processes: ENOENT", 'fact title write the disk: EROFS',
      'fact title unmapped memory: ENOMEM', 'fact title write far: EFBIG', 'fact title a thousand processes: EAGAIN',
      'fault READER_FAILED the reader ended without a word',
    ])
    expect(processes()).toEqual([])
  })

  it.each([
    ['words that are none', 'hello\n', 'tells what no reader tells'],
    ['control characters', 'root 1 ext4\x1b[2J\n', 'tells what no reader tells'],
    ['a NUL', 'root 1 ext4\0\n', 'tells what no reader tells'],
    ['a code that is not its own', 'fault USAGE take this\n', 'tells what no reader tells'],
    ['a line without an end', `fact title ${'x'.repeat(5000)}`, 'tells a line of more than 4096 bytes'],
    ['progress without progress', 'progress 1\n', 'tells more than a reader has to tell'],
    ['progress past the limit', 'progress 9000000000000000\n', 'tells more than a reader has to tell'],
    ['an archive that is longer than allowed', 'done 9000000000000000 1\n', 'tells of an archive of 9000000000000000 bytes'],
    ['an archive of no blocks', 'done 511 1\n', 'tells of an archive of 511 bytes'],
    ['an empty archive', 'done 0 0\n', 'tells of an archive of 0 bytes'],
    ['nothing', '', 'ended without a word'],
  ])('%s', async (_, text, message) => {
    expect(await fault(order('words', 'print', text), ...taken())).toBe(`fault READER_FAILED the reader ${message}`)
  })

  it('what it tells comes out visible, and nothing after its last word', async () => {
    const { lines } = await read(order('visible', 'print', 'fact title \xff\xfe\nfault DISK_INVALID a\\nb \xe2\x80\xae\nroot 1 ext4\n'), ...taken())
    expect(lines).toEqual(['fact title \ufffd\ufffd', 'fault DISK_INVALID a\\nb \\xe2\\x80\\xae'])
  })

  it('a flood of lines ends it, a flood of its log does not outlive the time', async () => {
    const { status, lines } = await read(order('flood', 'flood', 'stripped x 1\n'.repeat(1000)), ...taken())
    expect(lines.length).toBeLessThanOrEqual(1001)
    expect([status, lines.at(-1)]).toEqual([1, 'fault READER_FAILED the reader tells more than a reader has to tell'])
    expect(await fault(order('log', 'log', 'Kernel panic\n'.repeat(1000)), ...taken(), '--seconds', '2')).toBe('fault LIMIT_EXCEEDED the disk was not read within 2 seconds')
    expect(processes()).toEqual([])
  })

  it('one that never ends has its time, also when nobody reads what is told', async () => {
    expect(await fault(order('hold', 'hold', 'root 1 ext4\n'), ...taken(), '--seconds', '1')).toBe('fault LIMIT_EXCEEDED the disk was not read within 1 seconds')
    // The reader of the pipe opens it and does no more: 900 lines do not fit.
    const fifo = fileAt('fifo')
    await runOk(['mkfifo', fifo])
    const { argv, archive } = command(order('silent', 'hold', `fact title ${'x'.repeat(200)}\n`.repeat(900)), ...taken(), '--seconds', '2')
    const { status } = await run(['sh', '-c', 'exec 3<>"$0"; "$@" >"$0"', fifo, ...argv], { timeoutMs: 60_000 })
    expect([status, existsSync(archive), processes()]).toEqual([1, false, []])
  })
})

describe('its end', () => {
  const held = (): string => order('end', 'hold', 'root 1 ext4\n')

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const)('%s leaves neither a process nor a file', async (signal) => {
    const { child, ended, archive } = await begin(held(), taken())
    expect(processes().length).toBeGreaterThan(1)
    child.kill(signal)
    await ended
    expect([existsSync(archive), processes()]).toEqual([false, []])
  })

  it('ends with its parent', async () => {
    const { child, ended, archive } = await begin(held(), taken(), ['sh', '-c', '"$@"; exit 0', 'sh'])
    child.kill('SIGKILL')
    await ended
    expect([existsSync(archive), processes()]).toEqual([false, []])
  })

  it('killed, it leaves its archive for the owner of the directory, and no process', async () => {
    const { child, archive } = await begin(held(), taken())
    const guests = processes().filter((pid) => pid !== String(child.pid))
    child.kill('SIGKILL')
    await once(child, 'exit')
    // The kernel ends them; a process is gone when it can't be seen any more.
    await expect.poll(() => guests.filter((pid) => existsSync(`/proc/${pid}`)), { timeout: 30_000 }).toEqual([])
    expect(existsSync(archive)).toBe(true)
    expect(readdirSync(scratch()).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it('a real one in the middle of its work', async () => {
    const { child, ended, archive } = await begin(system, [])
    child.kill('SIGTERM')
    await ended
    // It may have been done already.
    expect([existsSync(archive) && child.exitCode !== 0, processes()]).toEqual([false, []])
  })
})

describe('limits', () => {
  it('memory: a disk whose metadata needs more than the guest has', async () => {
    const disk = fileAt('memory.raw')
    const text = Buffer.from(`vg { x {${'a{}'.repeat(5_000_000)} } }`)
    writeFileSync(disk, lvm(text))
    truncateSync(disk, 64 * MIB)
    expect(await fault(disk, '--memory', '128')).toMatch(/^fault LIMIT_EXCEEDED the reader('s memory was not enough| was killed, probably for want of memory)$/)
  })

  it('no room for the archive, or for what a file may have', async () => {
    const small = fileAt('small')
    mkdirSync(small)
    await runOk(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'small', small])
    try {
      chownSync(small, account().uid, account().gid)
      const { argv } = command(system)
      const output = join(small, 'x.tar')
      const { status, stdout } = await run(argv.map((word, i) => (argv[i - 1] === '--output' ? output : word)))
      expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^fault STORAGE_FULL the archive can't be written: /)
      expect([status, existsSync(output)]).toEqual([1, false])
    } finally {
      await runOk(['umount', small])
    }
    const { argv, archive } = command(system)
    const { stdout } = await run(['prlimit', '--fsize=1048576', ...argv])
    expect(stdout).toMatch(/^fault STORAGE_FULL .* can't have \d+ bytes, which --bytes allows: File too large\n$/)
    expect(existsSync(archive)).toBe(false)
  })

  it('a disk of 10 GB is read within 768 MB of memory', async () => {
    const tree = makeSystem(fileAt('big'))
    for (let i = 0; i < 4; i += 1) writeFileSync(join(tree, `opt/${i}`), Buffer.alloc(64 * MIB, i + 1))
    const disk = fileAt('big.raw')
    writeFileSync(disk, '')
    truncateSync(disk, 10_000 * MIB)
    await runOk(['mkfs.ext4', '-q', '-d', tree, disk])
    const { argv, archive } = command(disk)
    const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
    const peaks: number[] = []
    for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('progress ')) peaks.push(peak())
    expect(child.exitCode ?? (await once(child, 'exit'))[0]).toBe(0)
    expect(peaks.length).toBeGreaterThanOrEqual(3)
    expect(Math.max(...peaks)).toBeGreaterThan(0)
    expect(Math.max(...peaks)).toBeLessThan(768 * MIB)
    expect(statSync(archive).size).toBeGreaterThan(256 * MIB)
    console.info(`shifter-disk had at most ${Math.round(Math.max(...peaks) / MIB)} MiB`)
  })
})

/** The most memory that each process of a run has had, those that share theirs counted once. */
const peak = (): number => {
  const memories = new Map<string, number>()
  for (const pid of processes()) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      memories.set(readFileSync(`/proc/${pid}/maps`, 'utf8'), Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024)
    } catch {
      // It has ended meanwhile.
    }
  }
  return [...memories.values()].reduce((sum, each) => sum + each, 0)
}
