/**
 * shifter-disk on damaged file systems: whatever their bytes make the guest's kernel do, the host's side ends in its time, with an archive or a fault, and
 * nothing is left.
 */
import { closeSync, copyFileSync, existsSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { runOk } from '../harness/process.js'
import { makeFileSystem, makeSystem, MIB, OF_THE_MACHINE, put } from './disks/make.js'
import { useReader } from './disks/reader.js'

const { fileAt, processes, read, scratch } = useReader('disk-damaged')

beforeAll(async () => {
  const tree = makeSystem(fileAt('tree'))
  put(tree, OF_THE_MACHINE)
  for (const type of ['ext4', 'xfs', 'btrfs'] as const) await makeFileSystem(type, tree, fileAt(type))
})

describe('damaged file systems', () => {
  /** The same changes each time: a generator of numbers with a seed. */
  const numbers = (seed: number) => () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed
  }
  // 100 of each with SHIFTER_TEST_VM=1, as `npm run test:vm` sets it.
  const rounds = process.env['SHIFTER_TEST_VM'] === '1' ? 100 : 2
  // Another one makes other damage.
  const seed = Number(process.env['SHIFTER_TEST_SEED'] ?? 0)

  it.each(['ext4', 'xfs', 'btrfs'] as const)(`%s: ${rounds} of them end with an archive or a fault`, async (type) => {
    const ends: Record<string, number> = {}
    for (let round = 0; round < rounds; round += 1) {
      const next = numbers(seed * 104_729 + round * 7919 + type.length)
      const disk = fileAt(`fuzz-${type}.raw`)
      copyFileSync(fileAt(type), disk)
      const fd = openSync(disk, 'r+')
      // Where the metadata of a new file system is: in what of the file is no hole.
      const { stdout } = await runOk(['filefrag', '-e', disk]).catch(() => ({ stdout: '' }))
      const extents = [...stdout.matchAll(/^ +\d+: +(\d+)\.\. +(\d+):/gm)].map(([, first, last]) => [Number(first) * 4096, (Number(last) + 1) * 4096] as const)
      for (let change = 0; change < 24; change += 1) {
        const [first, end] = extents[next() % Math.max(1, extents.length)] ?? [0, MIB]
        const at = change < 4 ? next() % 4096 : first + (next() % (end - first))
        writeSync(fd, Buffer.from([next() >>> 8]), 0, 1, at)
      }
      closeSync(fd)
      const { status, lines, archive } = await read(disk, '--seconds', '60', '--bytes', String(1024 * MIB))
      const last = lines.at(-1) ?? ''
      expect(last, `round ${round}`).toMatch(/^(done \d+ \d+|fault (DISK_\w+|LIMIT_EXCEEDED|READER_FAILED|PLATFORM_NOT_FOUND) .+)$/)
      expect([status, existsSync(archive)]).toEqual(last.startsWith('done') ? [0, true] : [1, false])
      rmSync(archive, { force: true })
      expect([readdirSync(scratch()), processes()], `round ${round}`).toEqual([[], []])
      const end = last.split(' ').slice(0, last.startsWith('done') ? 1 : 2).join(' ')
      ends[end] = (ends[end] ?? 0) + 1
    }
    console.info(`${type}: ${Object.entries(ends).map(([end, count]) => `${end} ${count}`).join(', ')}`)
  }, 1_800_000)
})
