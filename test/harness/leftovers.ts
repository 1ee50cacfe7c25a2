/**
 * What the programs of a node may have left: processes, loop devices and mounts.
 *
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, vi } from 'vitest'
import { runOk } from './process.js'

/** Loop devices of files below a path, a line each. Raw: columns would be as wide as what others have there. */
export const loopsOf = async (path: string): Promise<string[]> =>
  (await runOk(['losetup', '--list', '--noheadings', '--raw', '--output', 'NAME,BACK-FILE'])).stdout.split('\n').filter((line) => line.includes(path))

export const mountsOf = (path: string): string[] => readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter((line) => line.includes(path))

/** Whether a process has this in its environment. */
export const isMarked = (pid: string, mark: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${mark}=1`)
  } catch {
    return false // it ended meanwhile
  }
}

export const markedProcesses = (mark: string): string[] => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && isMarked(pid, mark))

/** Processes that have a mark, loop devices and mounts of an installation; and mounts that a root is made of, whosever they are. */
const leftovers = async (prefix: string, mark: string): Promise<string[]> => [
  ...markedProcesses(mark).map((pid) => `process ${pid}`),
  ...(await loopsOf(prefix)),
  ...mountsOf('').filter((line) => line.includes(prefix) || / - (squashfs|overlay) .*(loop|shifter)/.test(line)),
]

/** The kernel lets go of a loop device some time after its last user. */
export const nothingLeft = (prefix: string, mark: string): Promise<void> =>
  vi.waitFor(async () => expect(await leftovers(prefix, mark)).toEqual([]), { timeout: 10_000, interval: 50 })
