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

describe('setupRoot', () => {
  it('changes nothing when it is run again, and unsetupRoot succeeds when there is nothing left', async () => {
    await prepare('101')
    const before = { pins: pinned(), entries: entries('101'), devices: await loops() }
    for (const more of [[], ['--volume='].slice(1), []]) await prepare('101', userA, image.reference, ...more)
    expect({ pins: pinned(), entries: entries('101'), devices: await loops() }).toEqual(before)
    await takeDown('--job=101')
    await expectNothing()
    await takeDown('--job=101')
    await takeDown('--job=never', `--uid=${userA.uid}`)
    rmSync(RUN, { recursive: true })
    await takeDown('--job=101')
    expect(await list()).toEqual([])
  })

  it('serves two jobs and two users at once, and each is taken down alone', async () => {
    const all = [['111', userA], ['112', userA], ['111', userB], ['112', userB]] as const
    await Promise.all(all.map(([job, as]) => prepare(job, as)))
    expect(await states()).toEqual(all.map(([job, as]) => `${job} ${as.uid} ready`).sort())
    const spaces = await Promise.all(all.flatMap(([job, as]) => [space(job, [], { as }), space(job, [], { as })]))
    expect(new Set(spaces).size).toBe(4)
    expect(Object.values(pinned()).sort()).toEqual([...new Set(spaces)].sort())
    await takeDown('--job=111', `--uid=${userA.uid}`)
    expect(await states()).toEqual([`111 ${userB.uid} ready`, ...[userA, userB].map(({ uid }) => `112 ${uid} ready`)].sort())
    expect(await joins('111', [], { as: userB })).toBe(true)
    expect(await joins('111', [])).toBe(false)
    await takeDown('--job=112')
    expect(await states()).toEqual([`111 ${userB.uid} ready`])
    await takeDown('--job=111')
    await expectNothing()
  })

  it('prepares several roots of a job, up to a limit', async () => {
    const { preparedRoots } = JSON.parse(readFileSync(new URL('../../formats/limits.json', import.meta.url), 'utf8')) as { readonly preparedRoots: number }
    const references = Array.from({ length: preparedRoots + 1 }, (_, i) => publishMeta(IMAGES, service, `many-${i}`, busyboxRoot()))
    for (const reference of references.slice(0, -1)) await prepare('121', userA, reference)
    expect(entries('121')).toHaveLength(preparedRoots)
    const last = references.at(-1) ?? ''
    expect(refused(await setup('121', userA, last))).toBe('PREPARE_FAILED')
    expect(entries('121')).toHaveLength(preparedRoots)
    // What there is can still be had, other jobs and users are not concerned, and a start without a prepared root runs.
    await prepare('121', userA, references[0])
    await prepare('121', userB, last)
    await prepare('122', userA, last)
    expect((await start('121', ['true'], { reference: last })).status).toBe(0)
    for (const job of ['121', '122']) await takeDown(`--job=${job}`)
    await expectNothing()
  })

  it('keeps roots in the directory asked for, so that two node daemons do not disturb each other', async () => {
    await prepare('131')
    await prepare('131', userA, other.reference, `--run-directory=${OTHER_RUN}`)
    expect([entries('131').length, entries('131', userA, OTHER_RUN).length]).toEqual([1, 1])
    expect(await list('--run-directory', OTHER_RUN)).toHaveLength(1)
    expect(Object.values(pinned())).toContain(await space('131', []))
    expect(Object.values(pinned(OTHER_RUN))).toContain(await space('131', [], { reference: other.reference }))
    await takeDown('--job=131')
    expect(Object.values(pinned(OTHER_RUN))).toContain(await space('131', [], { reference: other.reference }))
    await takeDown('--job=131', `--run-directory=${OTHER_RUN}`)
    expect(refused(await setup('131', userA, image.reference, '--run-directory=/run'))).toBe('USAGE')
    expect(refused(await unsetup('--run-directory=/tmp'))).toBe('USAGE')
    await expectNothing()
  })

  it('takes the groups of the job user from the account database', async () => {
    const group = 'shifter-tg'
    await run(['groupdel', group])
    await runOk(['groupadd', '--system', '--users', userA.name, group])
    onTestFinished(async () => void (await run(['groupdel', group])))
    const gid = Number((await runOk(['getent', 'group', group])).stdout.split(':')[2])
    const reference = publishMeta(IMAGES, service, 'for-the-group', busyboxRoot(), `FORMAT: squashfs\nENV: PATH=/bin\nGROUPACL: ${gid}\n`)
    await prepare('141', userA, reference)
    expect(await joins('141', [], { reference })).toBe(true)
    expect((await start('141', ['id'], { reference })).stdout).toContain(`${gid}(${group})`)
    expect(refused(await setup('141', userB, reference))).toBe('IMAGE_NOT_FOUND')
    // Without the group the kept record says no, as the published one does.
    expect(refused(await start('141', ['true'], { reference, groups: [userA.gid] }))).toBe('IMAGE_NOT_FOUND')
    await takeDown('--job=141')

    // The same out of etcPath's files, where the site has no name service.
    const etc = join(PREFIX, 'etc/shifter/etc_files')
    writeFileSync(join(etc, 'passwd'), `x:x:1:1::/:/bin/sh\n${userA.name}:x:${userA.uid}:${userA.gid}::/home:/bin/sh\n`)
    writeFileSync(join(etc, 'group'), `other:x:3:\n${group}:x:${gid}:nobody,${userA.name}\n`)
    native.configure({ ...config(), udiRoot: { allowLibcPwdCalls: '0' } })
    await prepare('142', userA, reference)
    expect(await joins('142', [], { reference })).toBe(true)
    writeFileSync(join(etc, 'group'), `other:x:3:\n${group}:x:${gid}:nobody,${userA.name}2\n`)
    expect(refused(await setup('143', userA, reference))).toBe('IMAGE_NOT_FOUND')
    for (const name of ['passwd', 'group']) rmSync(join(etc, name))
    await takeDown('--job=142')
    await takeDown('--job=143')
    await expectNothing()
  })

  it('answers --resolve with the id, for those who may use the image', async () => {
    const resolve = (as: Account, reference: string) => run([SETUP, '-U', String(as.uid), '-G', String(as.gid), `--resolve=${reference}`])
    expect(await resolve(userA, secret.reference)).toMatchObject({ status: 0, stdout: `${secret.record.id}\n`, stderr: '' })
    expect(refused(await resolve(userB, secret.reference))).toBe('IMAGE_NOT_FOUND')
    expect(refused(await resolve(userB, 'docker:no/such'))).toBe('IMAGE_NOT_FOUND')
    expect(readdirSync(PREFIX)).not.toContain('run')
  })

  it('compares the whole image with its record where the site sets verifyImage=prepare', async () => {
    const damaged = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'damaged', config: { Env: ['PATH=/bin'] }, more: [{ name: 'damage', type: 'dir' }] })
    const file = join(IMAGES, `${damaged.record.id}.squashfs`)
    const bytes = readFileSync(file)
    const at = Math.floor(bytes.length / 2)
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
    writeFileSync(file, bytes)
    const meta = publishMeta(IMAGES, service, 'without-record', busyboxRoot())
    for (const reference of [damaged.reference, meta]) await prepare('151', userA, reference)
    await takeDown('--job=151')
    native.configure(config({ verifyImage: 'prepare' }))
    expect(refused(await setup('151', userA, damaged.reference))).toBe('IMAGE_CORRUPT')
    expect(refused(await setup('151', userA, meta))).toBe('RECORD_INVALID')
    await prepare('151')
    await takeDown('--job=151')
    await expectNothing()
  })

  it('has nothing to prepare for a directory of the host, and checks it all the same', async () => {
    expect(refused(await setup('161', userA, 'local:/'))).toBe('LOCAL_NOT_ALLOWED')
    native.configure({ ...config(), udiRoot: { allowLocalChroot: '1' } })
    await prepare('161', userA, 'local:/')
    const private_ = workspace.at('private')
    mkdirSync(private_, { mode: 0o700 })
    expect(refused(await setup('161', userA, `local:${private_}`))).toBe('IMAGE_NOT_FOUND')
    await expectNothing()
  })

  it.each([
    ['-s', 'ssh-rsa AAAA', /no sshd/],
    ['--ssh-key=x', undefined, /no sshd/],
    ['--ccm', undefined, /sshd/],
    ['--memory-cgroup=/sys/fs/cgroup/memory', undefined, /workload manager/],
  ])('refuses %s with its reason', async (option, value, reason) => {
    const result = await setup('171', userA, image.reference, option, ...(value === undefined ? [] : [value]))
    expect([refused(result), result.stdout]).toEqual(['OPTION_UNAVAILABLE', ''])
    expect(result.stderr).toMatch(reason)
  })

  it.each([
    ['no uid', ['-G', '1', 'id', 'x'], 'USAGE'],
    ['root', ['-U', '0', '-G', '1', 'id', 'x'], 'USAGE'],
    ["root's group", ['-U', '1', '-G', '0', 'id', 'x'], 'USAGE'],
    ['an unknown uid', ['-U', '4000000', '-G', '4000000', 'id', 'x'], 'CALLER_UNKNOWN'],
    ["another's name", ['-U', '1', '-G', '1', '-u', 'root', 'id', 'x'], 'CALLER_UNKNOWN'],
    ['a name that is no one', ['-U', '1', '-G', '1', '-u', 'no-such-user', 'id', 'x'], 'CALLER_UNKNOWN'],
    ['a job that leads up', ['-U', '1', '-G', '1', '--job=../x', 'id', 'x'], 'USAGE'],
    ['a job that is a directory above', ['-U', '1', '-G', '1', '--job=..', 'id', 'x'], 'USAGE'],
    ['a job of 129 bytes', ['-U', '1', '-G', '1', `--job=${'1'.repeat(129)}`, 'id', 'x'], 'USAGE'],
    ['a missing image', ['-U', '1', '-G', '1', 'id', 'none'], 'IMAGE_NOT_FOUND'],
    ['an image that can be no name', ['-U', '1', '-G', '1', 'id', '../x'], 'REFERENCE_INVALID'],
    ['hosts without a number', ['-U', '1', '-G', '1', '-N', 'host1 host2', 'id', 'x'], 'USAGE'],
    ['hosts with none', ['-U', '1', '-G', '1', '-N', 'host1/0', 'id', 'x'], 'USAGE'],
    ['hosts with a word for a number', ['-U', '1', '-G', '1', '-N', 'host1/x', 'id', 'x'], 'USAGE'],
  ])('refuses %s, and leaves nothing', async (_, args, code) => {
    const result = await run([SETUP, ...args])
    expect([refused(result), result.stdout]).toEqual([code, ''])
    await expectNothing()
  })

  it('tells a refusal on the pipe of --report-fd', async () => {
    const told = (argv: readonly string[]) => run(['bash', '-c', '{ "$@" 9>&1 >/dev/null; } | cat; exit ${PIPESTATUS[0]}', 'bash', ...argv])
    expect(await told([...setupArgs('181', userA, 'id:none'), ...[]].toSpliced(1, 0, '--report-fd=9'))).toMatchObject({ status: 1, stdout: expect.stringMatching(/^IMAGE_NOT_FOUND there is no image 'id:none'/) as string, stderr: '' })
    expect(await told([UNSETUP, '--report-fd=9', '--run-directory=/nowhere'])).toMatchObject({ status: 2, stdout: expect.stringMatching(/^USAGE --run-directory=\/nowhere/) as string, stderr: '' })
  })

  it('is for root alone, as is unsetupRoot; both are no setuid programs', async () => {
    for (const [program, args] of [[SETUP, ['-U', String(userA.uid), '-G', String(userA.gid), ...idOf(image.reference)]], [UNSETUP, ['--list']], [UNSETUP, ['--job=1']]] as const) {
      const { uid, mode } = statSync(program)
      expect([uid, (mode & 0o7777).toString(8)]).toEqual([0, '755'])
      const result = await runAs(userA, [program, ...args])
      expect([refused(result), result.stdout]).toEqual(['NOT_ROOT', ''])
      // Root of a user namespace is nobody.
      const mapped = await runAs(userA, ['unshare', '-Urm', program, ...args])
      expect(mapped.status).not.toBe(0)
      expect(mapped.stdout).toBe('')
      for (const option of ['--help', '--version']) expect(await runAs(userA, [program, option])).toMatchObject({ status: 0, stderr: '' })
    }
    expect(existsSync(RUN)).toBe(false)
  })
})
