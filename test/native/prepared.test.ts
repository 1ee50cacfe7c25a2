/** Roots that root prepares for a job, and that its ranks join: as a workload manager does it, and as the users of a node see it. */
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Account, ensureTestAccounts, runAs, type RunAsOptions } from '../harness/accounts.js'
import { DEFAULT_PREFIX, installNative, type NativeConfig, type NativeInstallation, removeNative } from '../harness/native.js'
import { run, runOk, type ProcessResult } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { busyboxRoot, publishMeta, pullTestImage, type TestImage } from './fixture.js'

// A prefix and run directories of its own: these tests spoil the configuration, and take everything down.
const PREFIX = `${DEFAULT_PREFIX}-prepared`
const IMAGES = join(PREFIX, 'images')
const RUN = join(PREFIX, 'run')
const OTHER_RUN = join(PREFIX, 'other-run')

const workspace = useWorkspace('prepared')
let native: NativeInstallation
let helper: string
let service: Account
let userA: Account
let userB: Account
let image: TestImage
let other: TestImage
let secret: TestImage

const config = (runtime: Readonly<Record<string, string>> = {}): NativeConfig =>
  ({ imagePath: IMAGES, imageOwner: service.uid, runtime: { runDirectory: `${RUN} ${OTHER_RUN}`, ...runtime } })
const SETUP = join(PREFIX, 'sbin/setupRoot')
const UNSETUP = join(PREFIX, 'sbin/unsetupRoot')

const idOf = (reference: string): [string, string] => [reference.slice(0, reference.indexOf(':')), reference.slice(reference.indexOf(':') + 1)]
const setupArgs = (job: string, as: Account, reference: string, ...more: readonly string[]): string[] =>
  [SETUP, '-U', String(as.uid), '-G', String(as.gid), '-u', as.name, `--job=${job}`, ...more, ...idOf(reference)]
const setup = (job: string, as = userA, reference = image.reference, ...more: readonly string[]): Promise<ProcessResult> => run(setupArgs(job, as, reference, ...more))
const prepare = async (...args: Parameters<typeof setup>): Promise<void> => {
  expect(await setup(...args)).toMatchObject({ status: 0, stdout: '', stderr: '' })
}
const unsetup = (...args: readonly string[]): Promise<ProcessResult> => run([UNSETUP, ...args])
const takeDown = async (...args: readonly string[]): Promise<void> => {
  expect(await unsetup(...args)).toMatchObject({ status: 0, stdout: '', stderr: '' })
}
const refused = (result: ProcessResult): string => /^(?:setupRoot|unsetupRoot|shifter): ([A-Z_]+): [^\n]+\n$/.exec(result.stderr)?.[1] ?? `${result.status} ${result.stderr}`

/** A start of the job's user. */
const start = (job: string | undefined, args: readonly string[], options: RunAsOptions & { readonly as?: Account; readonly reference?: string } = {}): Promise<ProcessResult> => {
  const { as = userA, reference = image.reference, env = {}, ...rest } = options
  return runAs(as, [helper, `--image=${reference}`, ...args], { ...rest, env: { ...(job === undefined ? {} : { SLURM_JOB_ID: job }), ...env } })
}
const SPACE = ['readlink', '/proc/self/ns/mnt']
/** The mount namespace a start finds itself in. */
const space = async (...[job, args, options]: Parameters<typeof start>): Promise<string> => {
  const result = await start(job, [...args, ...SPACE], options)
  expect(result).toMatchObject({ status: 0, stderr: '' })
  return result.stdout.trim()
}
/** The namespaces that are pinned, by the name of their pin. While they are, no other has their number. */
const pinned = (directory = RUN): Record<string, string> => {
  const pins = join(directory, 'pins')
  return Object.fromEntries((existsSync(pins) ? readdirSync(pins) : []).map((name) => [name, `mnt:[${statSync(join(pins, name)).ino}]`]))
}
/** Whether a start lands in a root that was prepared. */
const joins = async (...args: Parameters<typeof start>): Promise<boolean> => Object.values(pinned()).includes(await space(...args))

/** `JOB UID IMAGE AGE STATE` of each root. */
const list = async (...args: readonly string[]): Promise<string[][]> => {
  const { stdout } = await runOk([UNSETUP, '--list', ...args])
  const [head = '', ...rows] = stdout.trimEnd().split('\n')
  expect(head.split(/ +/)).toEqual(['JOB', 'UID', 'IMAGE', 'AGE', 'STATE'])
  return rows.map((row) => {
    const [job = '', uid = '', name = '', age = '', ...state] = row.split(/ +/)
    return [job, uid, name, age, state.join(' ')]
  })
}
const states = async (): Promise<string[]> => (await list()).map(([job, uid, , , state]) => `${job} ${uid} ${state}`).sort()
const mounts = (): string[] => readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter((line) => line.includes(PREFIX))
const loops = async (): Promise<string[]> =>
  (await runOk(['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE'])).stdout.split('\n').filter((line) => line.includes(IMAGES))
const entries = (job: string, as = userA, directory = RUN): string[] => {
  const path = join(directory, 'jobs', job, String(as.uid))
  return existsSync(path) ? readdirSync(path) : []
}
/** Nothing is left of any job: no mount, no pin, no entry, no device. The kernel lets go of a device some time after its last user. */
const expectNothing = async (): Promise<void> => {
  expect(mounts()).toEqual([])
  for (const directory of [RUN, OTHER_RUN]) {
    for (const part of ['jobs', 'pins']) if (existsSync(join(directory, part))) expect(readdirSync(join(directory, part))).toEqual([])
  }
  await vi.waitFor(async () => expect(await loops()).toEqual([]), { timeout: 10_000, interval: 50 })
}
/** What a test that was stopped left would be in the way. */
const clear = async (): Promise<void> => {
  for (const line of mounts()) await run(['umount', '--lazy', line.split(' ')[4] ?? ''])
  for (const directory of [RUN, OTHER_RUN]) rmSync(directory, { recursive: true, force: true })
}

beforeAll(async () => {
  ;({ service, userA, userB } = await ensureTestAccounts())
  await clear()
  removeNative(PREFIX)
  native = await installNative({ prefix: PREFIX })
  helper = native.bin('shifter')
  mkdirSync(IMAGES, { recursive: true })
  chmodSync(IMAGES, 0o755)
  chownSync(IMAGES, service.uid, service.gid)
  native.configure(config())
  const common = { directory: workspace.path, imagePath: IMAGES, config: { Env: ['PATH=/bin', 'FROM_IMAGE=yes'], WorkingDir: '/start' } }
  image = await pullTestImage({ ...common, tag: 'good' })
  other = await pullTestImage({ ...common, tag: 'other', more: [{ name: 'other', type: 'dir' }] })
  secret = await pullTestImage({ ...common, tag: 'secret', config: { Env: ['PATH=/bin', 'SECRET=1'] }, requester: service.uid, allowUids: [userA.uid] })
})
afterEach(async () => {
  native.configure(config())
  await clear()
})
afterAll(async () => {
  await clear()
  native.remove()
})

describe('a prepared root', () => {
  it('is joined by every rank: one namespace, one device, and nothing opened on the image path', async () => {
    await prepare('71')
    const devices = await loops()
    expect(devices).toHaveLength(1)
    expect(await states()).toEqual([`71 ${userA.uid} ready`])
    const spaces = await Promise.all(Array.from({ length: 8 }, () => space('71', [])))
    expect(new Set(spaces).size).toBe(1)
    expect(Object.values(pinned())).toEqual([spaces[0]])
    expect(await loops()).toEqual(devices)

    const trace = workspace.at('joined')
    const result = await run(['strace', '-f', '-u', userA.name, '-o', trace, '-e', 'trace=!read,write', '-s', '300', '-E', 'SLURM_JOB_ID=71', helper, `--image=${image.reference}`, 'sh', '-c', 'echo $FROM_IMAGE'], { cwd: '/' })
    expect(result).toMatchObject({ status: 0, stdout: 'yes\n' })
    const calls = readFileSync(trace, 'utf8')
    expect(calls).toMatch(/setns\(/)
    expect(calls).not.toContain(IMAGES)
    expect(calls).not.toMatch(/ (clone3?|v?fork|unshare|mount|fsopen|open_tree|move_mount)\(|\/etc\/passwd|nsswitch|\/dev\/loop/)

    await takeDown('--job=71')
    await expectNothing()
  })

  it('shows what a private one does', async () => {
    const script = ['sh', '-c', 'id; cat /etc/passwd /etc/group /etc/os-release /etc/mtab | grep -v shifter; ls -a / /etc /dev; touch /x; env; pwd; cat /proc/self/status | grep -E "^(Uid|Gid|Groups|Cap|NoNew)"; umask; ulimit -n']
    const alone = await start('72', script)
    await prepare('72')
    expect(await joins('72', [])).toBe(true)
    const joined = await start('72', script)
    expect(joined).toEqual(alone)
    expect(joined.status).toBe(0)
    await takeDown('--job=72')
  })

  it('is found without a job id where none was given, under the name of the node', async () => {
    expect(await run([SETUP, '-U', String(userA.uid), '-G', String(userA.gid), ...idOf(image.reference)])).toMatchObject({ status: 0, stderr: '' })
    expect(await states()).toEqual([`node ${userA.uid} ready`])
    expect(await joins(undefined, [])).toBe(true)
    expect(await joins('73', [])).toBe(true)
    await takeDown()
    await expectNothing()
  })

  it('is asked for by its name and by its id', async () => {
    await prepare('74')
    expect(await space('74', [], { reference: `id:${image.record.id}` })).toBe(await space('74', []))
    await takeDown('--job=74')
    // And prepared by its id, it gets the name when it is prepared by that too.
    await prepare('74', userA, `id:${image.record.id}`)
    expect(await joins('74', [])).toBe(false)
    await prepare('74')
    expect(entries('74')).toHaveLength(1)
    expect(await joins('74', [])).toBe(true)
    await takeDown('--job=74')
    await expectNothing()
  })

  it('is for just what it was made from; anything else runs privately', async () => {
    await prepare('75')
    const rows: ReadonlyArray<readonly [string, Parameters<typeof start>]> = [
      ['another job', ['76', []]],
      ['another image', ['75', [], { reference: other.reference }]],
      ['another user', ['75', [], { as: userB }]],
      ['more groups', ['75', [], { groups: [userA.gid, userB.gid] }]],
      ['other groups', ['75', [], { groups: [userB.gid] }]],
    ]
    for (const [what, asked] of rows) expect([what, await joins(...asked)]).toEqual([what, false])
    // The primary group counts as one of the groups, whether the list says it or not.
    expect(await joins('75', [], { groups: [] })).toBe(true)
    native.configure({ ...config(), siteFs: [`${workspace.path}:/site`] })
    expect(await joins('75', [])).toBe(false)
    native.configure(config())
    expect(await joins('75', [])).toBe(true)
    await takeDown('--job=75')
    await expectNothing()
  })
})
