/**
 * Every system call of the privileged phase fails once, and nothing is left half done: one line says why, no program runs with rights or in
 * half a root, and neither process, mount, loop device nor file stays. The list of those calls is kept (golden/), so that it grows on purpose.
 *
 * SHIFTER_TEST_LONG=1 takes every call and every error; otherwise one error each, and of calls in a row that are alike some.
 * SHIFTER_GOLDEN=write writes the lists anew.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nothingLeft } from '../harness/leftovers.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { useNode } from '../harness/node.js'
import { userA } from '../harness/people.js'
import { type ProcessResult, run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage, type TestImage } from './fixture.js'
import { type Call, canFail, privileged, trace, type Traced, withFault } from './tracing.js'

// A prefix of its own: what is left over is told by it.
const PREFIX = `${DEFAULT_PREFIX}-faults`
const SITE = join(PREFIX, 'site')
const RUN = join(PREFIX, 'run')
const CACHE = join(PREFIX, 'cache')
const HOOK = join(PREFIX, 'hook')
const MARK = 'SHIFTER_FAULT_TESTS'
const LONG = process.env['SHIFTER_TEST_LONG'] === '1'
const AT_ONCE = 3

/** What the kernel could answer to nearly anything. EINTR and EAGAIN are what is tried again. */
const ERRORS = ['EPERM', 'ENOMEM', 'EIO', 'ENOSYS', 'EINTR', 'EAGAIN', 'EBUSY'] as const

const workspace = useWorkspace('faults')
let image: TestImage

const node = useNode('faults', {
  siteFs: [`${SITE}:/site`],
  udiRoot: {
    perNodeCachePath: CACHE, perNodeCacheSizeLimit: '1G', perNodeCacheAllowedFsType: 'xfs', mkfsXfsPath: '/usr/sbin/mkfs.xfs', allowLocalChroot: '1',
    module_all_siteFs: `${SITE}:/from-a-module`, module_all_roothook: HOOK, module_all_siteEnv: 'A=1',
  },
  runtime: { runDirectory: RUN },
})

beforeAll(async () => {
  for (const directory of [SITE, CACHE]) mkdirSync(directory, { recursive: true })
  writeFileSync(HOOK, '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  image = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'good', config: { Env: ['PATH=/bin'] } })
})

afterAll(async () => {
  await run([node.sbin('unsetupRoot')])
  await nothingLeft(PREFIX, MARK)
})

/** What a program inside sees of itself and its root. */
const LOOK = [
  // Not the groups: others add the account to some while this goes on.
  'grep -E "^(Uid|Gid|Cap|NoNewPrivs)" /proc/$$/status', 'cat /etc/passwd', 'echo mounts', 'cat /proc/self/mountinfo', 'echo descriptors',
  'for f in /proc/$$/fd/*; do test ${f##*/} -gt 2 && readlink $f; done', 'echo end',
].join('; ')
interface Seen {
  readonly identity: string
  readonly mounts: readonly { readonly where: string; readonly options: string }[]
  readonly descriptors: string
}
const seen = (stdout: string): Seen => {
  const match = /^([^]*)mounts\n([^]*)descriptors\n([^]*)end\n$/.exec(stdout)
  if (match === null) throw new Error(`not what the script prints: ${stdout}`)
  const [, identity = '', table = '', descriptors = ''] = match
  const rows = table.trimEnd().split('\n').map((line) => line.split(' '))
  return { identity, mounts: rows.map(([, , , , where = '', options = '']) => ({ where, options })), descriptors }
}
/** A program that ran although something failed: what failed must have been harmless. */
const checkRun = (result: ProcessResult, clean: Seen): void => {
  const now = seen(result.stdout)
  expect(now.identity).toBe(clean.identity)
  // Pipes come from whoever runs the tests; a file or directory would be ours.
  expect(now.descriptors).toMatch(/^(pipe:.*\n|socket:.*\n)*$/)
  for (const { where, options } of now.mounts) {
    const flags = options.split(',')
    expect(flags, where).toContain('nosuid')
    if (!/^\/dev(\/|$)/.test(where)) expect(flags, where).toContain('nodev')
    const before = clean.mounts.find((mount) => mount.where === where)?.options.split(',') ?? []
    if (before.includes('ro')) expect(flags, where).toContain('ro')
    // Left out may be what is not there on every node, like the home directory; nothing may be added.
    expect(clean.mounts.map((mount) => mount.where)).toContain(where)
  }
  expect(result.stderr).toMatch(/^(shifter: warning: [^\n]*\n)*$/)
}
const ONE_LINE = /^(shifter|setupRoot|unsetupRoot): [A-Z_]+: [^\n]+\n$/
/** Nothing can be said where standard descriptors can't be opened, or a line not be written. */
const isRefusal = (result: ProcessResult, call: Call): boolean =>
  ONE_LINE.test(result.stderr) || (result.stderr === '' && (call.name === 'write' || /^[012], F_GETFD/.test(call.text)))
/** A descriptor that can't be looked at is replaced by /dev/null. */
const isSilenced = (call: Call): boolean => /^1, (F_GETFL|"", \{)/.test(call.text)

interface Profile {
  readonly name: string
  /** The run of a worker, which has a job of its own. */
  readonly what: (job: string) => Traced
  /** What has to be there before each run, and is taken away behind it. */
  readonly before?: (job: string) => Promise<void>
  readonly after?: (job: string) => Promise<void>
  /** A run that ended well. */
  readonly good: (result: ProcessResult, clean: ProcessResult) => void
  /** What may not be there after a refusal. */
  readonly refused?: (job: string) => void
  /** Runs that cost much: some of the calls do. */
  readonly every?: number
}

const setup = (job: string): Traced => ({
  argv: [node.sbin('setupRoot'), '-U', String(userA.uid), '-G', String(userA.gid), '-u', userA.name, `--job=${job}`, 'id', image.record.id],
  env: { [MARK]: '1' },
})
const unsetup = (job: string): Traced => ({ argv: [node.sbin('unsetupRoot'), `--job=${job}`], env: { [MARK]: '1' } })
const start = (options: readonly string[] = [], job?: string): Traced => ({
  argv: [node.helper, ...(options.some((option) => option.startsWith('--image')) ? [] : [`--image=id:${image.record.id}`]), ...options, 'sh', '-c', LOOK],
  as: userA,
  env: { [MARK]: '1', ...(job === undefined ? {} : { SHIFTER_JOB_ID: job }) },
})
const startIsGood = (result: ProcessResult, clean: ProcessResult): void => checkRun(result, seen(clean.stdout))
const quiet = (result: ProcessResult): void => expect(result).toMatchObject({ status: 0, stdout: '' })
const must = async ({ argv }: Traced): Promise<void> => {
  await runOk(argv, { cwd: '/' })
}
/** Entries are what a rank would find and join. */
const noEntries = (job: string): void => {
  const directory = join(RUN, 'jobs', job)
  const found = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => /\/[0-9a-f]{64}$/.test(name)) : []
  expect(found).toEqual([])
}

const profiles: readonly Profile[] = [
  { name: 'fresh', what: () => start(), good: startIsGood },
  { name: 'joined', what: (job) => start([], job), before: (job) => must(setup(job)), good: startIsGood },
  { name: 'writable', what: () => start(['--writable', '--volume=/tmp:/vol:ro;/bin:/vol2', '--module=all']), good: startIsGood, every: 2 },
  { name: 'cache', what: () => start(['--volume=/none:/cache:perNodeCache=size=320M']), good: startIsGood, every: 6 },
  { name: 'setupRoot', what: setup, good: quiet, after: (job) => must(unsetup(job)), refused: noEntries },
  { name: 'unsetupRoot', what: unsetup, before: (job) => must(setup(job)), good: quiet, after: (job) => must(unsetup(job)) },
]

const IDENTITY = new Set(['setgroups', 'setresgid', 'setresuid', 'setgid', 'setuid', 'getgroups', 'getresgid', 'getresuid', 'capget', 'capset', 'prctl'])

/** Alike calls in a row, such as those for each capability: the first, the last, and some between. */
const sample = (calls: readonly Call[]): readonly Call[] =>
  LONG ? calls : calls.filter((call, i) => {
    const [before, behind] = [calls[i - 1], calls[i + 1]]
    return before?.name !== call.name || behind?.name !== call.name || i % 7 === 0
  })

const faultsOf = (calls: readonly Call[], forked: readonly (readonly Call[])[], every: number) =>
  [
    ...sample(privileged(calls)).map((call) => ({ call, everywhere: false })),
    // Of a forked process only what nobody else calls as early: a fault there is one in every process.
    ...forked.flatMap((one) => sample(privileged(one))).filter((call) => IDENTITY.has(call.name)).map((call) => ({ call, everywhere: true })),
  ]
    .filter(({ call }) => canFail(call))
    .flatMap((fault, i) => (LONG ? ERRORS.map((error) => ({ ...fault, error })) : i % every === 0 ? [{ ...fault, error: ERRORS[i % ERRORS.length] ?? 'EIO' }] : []))

/** How many of each call; `*` where the kernel or the C library decides. */
const VARYING = new Set(['brk', 'mmap', 'munmap', 'mprotect', 'mremap', 'prctl', 'prlimit64', 'getrandom'])
const counted = (calls: readonly Call[]): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const { name } of privileged(calls)) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}
const golden = (name: string): string => fileURLToPath(new URL(`golden/${name}.txt`, import.meta.url))

describe('the system calls of the privileged phase', () => {
  it.each(profiles)('$name: none that is not in golden/, and no more of any', async ({ name, what, before, after }) => {
    const write = process.env['SHIFTER_GOLDEN'] === 'write'
    const kept = new Map(write ? [] : readFileSync(golden(name), 'utf8').trimEnd().split('\n').map((line) => {
      const [call = '', most] = line.split(' ')
      return [call, most === '*' ? Infinity : Number(most)] as const
    }))
    // The fewest of some runs: others hold loop devices for a moment, which are then asked for again.
    const fewest = new Map<string, number>()
    const more = (): string[] => [...fewest].filter(([call, count]) => count > (kept.get(call) ?? 0)).map(([call, count]) => `${call} ${count}, kept: ${kept.get(call) ?? 0}`)
    for (let round = 0; round < (write ? 8 : 12) && (round === 0 || more().length > 0); round++) {
      await before?.('golden')
      const { calls, result } = await trace(what('golden'))
      expect(result).toMatchObject({ status: 0 })
      await after?.('golden')
      await must(unsetup('golden'))
      const counts = counted(calls)
      if (round === 0) for (const [call, count] of counts) fewest.set(call, count)
      for (const [call, count] of fewest) {
        const now = Math.min(count, counts.get(call) ?? 0)
        if (now === 0) fewest.delete(call)
        else fewest.set(call, now)
      }
    }
    if (!write) return expect(more()).toEqual([])
    const lines = [...fewest].sort(([one], [other]) => one.localeCompare(other, 'en')).map(([call, count]) => `${call} ${VARYING.has(call) ? '*' : count}`)
    writeFileSync(golden(name), `${lines.join('\n')}\n`)
  })
})

describe.each(profiles)('attack 41: a system call that fails: $name', ({ name, what, before, after, good, refused, every = 1 }) => {
  it(`attack 41: ${name}: each is unwound`, { timeout: LONG ? 3_600_000 : 300_000 }, async () => {
    await before?.('clean')
    const clean = await trace(what('clean'))
    expect(clean.result).toMatchObject({ status: 0, stderr: '' })
    good(clean.result, clean.result)
    await must(unsetup('clean'))
    const faults = faultsOf(clean.calls, clean.forked, every)
    expect(faults.length).toBeGreaterThan(20)
    const codes = new Set<string>()
    const wrong: string[] = []
    const next = faults[Symbol.iterator]()
    const worker = async (_: unknown, index: number): Promise<void> => {
      const job = `worker-${index}`
      for (const { call, everywhere, error } of next) {
        await before?.(job)
        const result = await withFault(what(job), call, error, everywhere)
        try {
          if (result.status === 0 && result.stdout === '' && isSilenced(call)) expect(result.stderr).toBe('')
          else if (result.status === 0) good(result, clean.result)
          else {
            expect({ status: result.status, stdout: result.stdout, line: isRefusal(result, call) }).toEqual({ status: expect.any(Number) as number, stdout: '', line: true })
            codes.add(/: ([A-Z_]+):/.exec(result.stderr)?.[1] ?? '')
            refused?.(job)
          }
          await after?.(job)
        } catch (cause) {
          wrong.push(`${call.name} ${call.nth} ${error}${everywhere ? ' everywhere' : ''}: ${call.text}\n  ${result.status} ${result.signal} ${JSON.stringify(result.stderr.slice(0, 300))} ${JSON.stringify(result.stdout.slice(0, 300))}\n  ${String(cause).slice(0, 400)}`)
        }
      }
      await must(unsetup(job))
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    expect(wrong.join('\n')).toBe('')
    expect(codes.size).toBeGreaterThan(2)
    await nothingLeft(PREFIX, MARK)
  })
})
