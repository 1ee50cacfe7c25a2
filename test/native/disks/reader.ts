/**
 * Running shifter-disk in tests, as root would on behalf of a service account, and what is left of a run. SHIFTER_TEST_READER=kernel has this machine's own
 * kernel read.
 *
 * @module
 */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect } from 'vitest'
import { ensureTestAccounts } from '../../harness/accounts.js'
import { DEFAULT_PREFIX } from '../../harness/native.js'
import { type ProcessResult, run, runOk } from '../../harness/process.js'
import { useWorkspace } from '../../harness/workspace.js'
import { listing } from './make.js'

export const PROGRAM = join(DEFAULT_PREFIX, 'bin/shifter-disk')

/** Evaluated late: a test file sets it before it imports another. */
export const isKernel = (): boolean => process.env['SHIFTER_TEST_READER'] === 'kernel'

export interface Read extends ProcessResult {
  readonly lines: readonly string[]
  /** The archive's file, which is there when it ended well. */
  readonly archive: string
}

export interface Reader {
  readonly account: () => { readonly uid: number; readonly gid: number }
  /** The directory that the account may write in. */
  readonly scratch: () => string
  readonly fileAt: (name: string) => string
  /** The words of a command that reads a disk into a new archive. */
  readonly command: (disk: string, ...options: readonly string[]) => { readonly argv: readonly string[]; readonly archive: string }
  readonly read: (disk: string, ...options: readonly string[]) => Promise<Read>
  /** The last line of one that fails; nothing is left of it. */
  readonly fault: (disk: string, ...options: readonly string[]) => Promise<string>
  /** The archive's tree, as the system's own tar unpacks it. */
  readonly unpacked: (result: Read) => Promise<readonly string[]>
  /** Every process of a launcher of this file, or in a root that one made. */
  readonly processes: () => readonly string[]
}

/** For the tests of a file, in a workspace of its own. */
export const useReader = (name: string): Reader => {
  const workspace = useWorkspace(name)
  const fileAt = (file: string): string => workspace.at(file)
  const scratch = (): string => fileAt('scratch')
  let account: { readonly uid: number; readonly gid: number }
  let runs = 0

  beforeAll(async () => {
    ;({ service: account } = await ensureTestAccounts())
    mkdirSync(scratch())
    chownSync(scratch(), account.uid, account.gid)
  })

  const command: Reader['command'] = (disk, ...options) => {
    const archive = join(scratch(), `${(runs += 1)}.tar`)
    return { archive, argv: [PROGRAM, '--disk', disk, '--output', archive, '--scratch', scratch(), '--user', `${account.uid}:${account.gid}`, ...(isKernel() ? ['--reader', 'kernel'] : []), ...options] }
  }

  const read: Reader['read'] = async (disk, ...options) => {
    const { argv, archive } = command(disk, ...options)
    const result = await run(argv, { timeoutMs: 110_000 })
    return { ...result, lines: result.stdout.trimEnd().split('\n'), archive }
  }

  const processes: Reader['processes'] = () => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      // A guest's root shows the archive, which lies in the scratch directory.
      return ['cmdline', 'mountinfo'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(scratch()))
    } catch {
      return false
    }
  })

  return {
    account: () => account, scratch, fileAt, command, read, processes,
    fault: async (disk, ...options) => {
      const { status, lines, archive } = await read(disk, ...options)
      expect([status, existsSync(archive)], lines.join('\n')).toEqual([1, false])
      expect(readdirSync(scratch()).filter((file) => file.startsWith('.'))).toEqual([])
      return lines.at(-1) ?? ''
    },
    unpacked: async ({ stdout, status, archive }) => {
      expect(status, stdout).toBe(0)
      const directory = `${archive}.tree`
      mkdirSync(directory)
      await runOk(['tar', '-xpf', archive, '-C', directory])
      const entries = await listing(directory)
      rmSync(directory, { recursive: true })
      rmSync(archive)
      return entries
    },
  }
}
