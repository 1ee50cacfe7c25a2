/**
 * Every system call of the privileged phase fails once, and nothing is left half done: one line says why, no program runs with rights or in
 * half a root, and neither process, mount, loop device nor file stays. The list of those calls is kept (golden/), so that it grows on purpose.
 *
 * SHIFTER_TEST_LONG=1 takes every call and every error; otherwise one error each, and of calls in a row that are alike some.
 * SHIFTER_GOLDEN=write writes the lists anew.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { DEFAULT_PREFIX, installNative, type NativeInstallation, removeNative } from '../harness/native.js'
import { type ProcessResult, run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage, type TestImage } from './fixture.js'
import { type Call, canFail, privileged, trace, type Traced, withFault } from './tracing.js'

// A prefix of its own: what is left over is told by it.
const PREFIX = `${DEFAULT_PREFIX}-faults`
const IMAGES = join(PREFIX, 'images')
const SITE = join(PREFIX, 'site')
const RUN = join(PREFIX, 'run')
const MARK = 'SHIFTER_FAULT_TESTS'
const LONG = process.env['SHIFTER_TEST_LONG'] === '1'
const WRITE = process.env['SHIFTER_GOLDEN'] === 'write'
const AT_ONCE = 3

/** What the kernel could answer to nearly anything. EINTR and EAGAIN are what is tried again. */
const ERRORS = ['EPERM', 'ENOMEM', 'EIO', 'ENOSYS', 'EINTR', 'EAGAIN', 'EBUSY'] as const

const workspace = useWorkspace('faults')
let native: NativeInstallation
let service: Account
let userA: Account
let image: TestImage

beforeAll(async () => {
  ;({ service, userA } = await ensureTestAccounts())
  removeNative(PREFIX)
  native = await installNative({ prefix: PREFIX })
  for (const directory of [IMAGES, SITE]) mkdirSync(directory, { recursive: true })
  chownSync(IMAGES, service.uid, service.gid)
  chmodSync(IMAGES, 0o755)
  native.configure({ imagePath: IMAGES, imageOwner: service.uid, siteFs: [`${SITE}:/site`], runtime: { runDirectory: RUN } })
  image = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'good', config: { Env: ['PATH=/bin'] } })
})

const mounts = (): string[] => readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter((line) => line.includes(PREFIX) || / - (squashfs|overlay) .*(loop|shifter)/.test(line))
const prepared = (): string[] => (existsSync(RUN) ? (readdirSync(RUN, { recursive: true, encoding: 'utf8' })) : [])
/** Programs, loop devices and mounts of these tests that are there. */
const present = async (): Promise<string[]> => {
  const processes = readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${MARK}=1`)
    } catch {
      return false // it ended meanwhile
    }
  })
  const { stdout: loops } = await runOk(['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE'])
  return [...processes.map((pid) => `process ${pid}`), ...loops.split('\n').filter((line) => line.includes(PREFIX)), ...mounts()]
}
/** The kernel lets go of a loop device some time after its last user. */
const nothingLeft = (): Promise<void> => vi.waitFor(async () => expect(await present()).toEqual([]), { timeout: 10_000, interval: 50 })
afterAll(async () => {
  await run([join(PREFIX, 'sbin/unsetupRoot')])
  await nothingLeft()
  native.remove()
})

/** What a program inside sees of itself and its root. */
const LOOK = [
  'grep -E "^(Uid|Gid|Groups|Cap|NoNewPrivs)" /proc/$$/status', 'cat /etc/passwd /etc/group', 'echo mounts', 'cat /proc/self/mountinfo', 'echo descriptors',
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
    if (where === '/' || where === '/sys') expect(flags, where).toContain('ro')
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
  readonly what: () => Traced
  /** What has to be there before each run, and is taken away after all of them. */
  readonly before?: () => Promise<void>
  readonly after?: () => Promise<void>
  /** A run that ended well. */
  readonly good: (result: ProcessResult, clean: ProcessResult) => void
  /** What may be there in spite of a refusal. */
  readonly left?: () => Promise<void>
}

const sbin = (name: string): string => join(PREFIX, 'sbin', name)
const setup = (job: string): string[] => [sbin('setupRoot'), '-U', String(userA.uid), '-G', String(userA.gid), '-u', userA.name, `--job=${job}`, 'id', image.record.id]
const start = (job?: string): Traced => ({
  argv: [native.bin('shifter'), `--image=id:${image.record.id}`, 'sh', '-c', LOOK],
  as: userA,
  env: { [MARK]: '1', ...(job === undefined ? {} : { SHIFTER_JOB_ID: job }) },
})
const startIsGood = (result: ProcessResult, clean: ProcessResult): void => checkRun(result, seen(clean.stdout))
const takeDown = async (...options: readonly string[]): Promise<void> => {
  await runOk([sbin('unsetupRoot'), ...options])
}

const profiles: readonly Profile[] = [
  { name: 'fresh', what: () => start(), good: startIsGood },
]

const IDENTITY = new Set(['setgroups', 'setresgid', 'setresuid', 'setgid', 'setuid', 'getgroups', 'getresgid', 'getresuid', 'capget', 'capset', 'prctl'])

/** Alike calls in a row, such as those for each capability: the first, the last, and some between. */
const sample = (calls: readonly Call[]): readonly Call[] =>
  LONG ? calls : calls.filter((call, i) => {
    const [before, behind] = [calls[i - 1], calls[i + 1]]
    return before?.name !== call.name || behind?.name !== call.name || i % 7 === 0
  })

describe.each(profiles)('attack 41: a system call that fails: $name', ({ name, what, before, after, good, left }) => {
  it(`attack 41: ${name}: each is unwound`, { timeout: 900_000 }, async () => {
    await before?.()
    const clean = await trace(what())
    expect(clean.result).toMatchObject({ status: 0 })
    good(clean.result, clean.result)
    await after?.()
    // Of a forked process only what nobody else calls as early: a fault there is one in every process.
    const faults = [
      ...sample(privileged(clean.calls)).map((call) => ({ call, everywhere: false })),
      ...clean.forked.flatMap((calls) => sample(privileged(calls))).filter((call) => IDENTITY.has(call.name)).map((call) => ({ call, everywhere: true })),
    ]
      .filter(({ call }) => canFail(call))
      .flatMap(({ call, everywhere }, i) => (LONG ? ERRORS : [ERRORS[i % ERRORS.length] ?? 'EIO']).map((error) => ({ call, everywhere, error })))
    expect(faults.length).toBeGreaterThan(20)
    const codes = new Set<string>()
    const wrong: string[] = []
    const next = faults[Symbol.iterator]()
    const worker = async (): Promise<void> => {
      for (const { call, everywhere, error } of next) {
        await before?.()
        const result = await withFault(what(), call, error, everywhere)
        try {
          if (result.status === 0 && result.stdout === '' && isSilenced(call)) expect(result.stderr).toBe('')
          else if (result.status === 0) good(result, clean.result)
          else {
            expect({ status: result.status, stdout: result.stdout, line: isRefusal(result, call) }).toEqual({ status: expect.any(Number) as number, stdout: '', line: true })
            codes.add(/: ([A-Z_]+):/.exec(result.stderr)?.[1] ?? '')
            await left?.()
          }
        } catch (cause) {
          wrong.push(`${call.name} ${call.nth} ${error}${everywhere ? ' everywhere' : ''}: ${call.text}\n  ${result.status} ${result.signal} ${JSON.stringify(result.stderr.slice(0, 300))} ${JSON.stringify(result.stdout.slice(0, 300))}\n  ${String(cause).slice(0, 400)}`)
        }
        await after?.()
      }
    }
    await Promise.all(Array.from({ length: before === undefined ? AT_ONCE : 1 }, worker))
    expect(wrong.join('\n')).toBe('')
    expect(codes.size).toBeGreaterThan(2)
    console.log(`${name}: ${faults.length} faults: ${[...codes].sort().join(' ')}`)
    await nothingLeft()
  })
})
