/** Roots that root prepares for a job, and that its ranks join: as a workload manager does it, and as the users of a node see it. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import hostsfile from '../cases/hostsfile.json' with { type: 'json' }
import reuseSignature from '../cases/reuse_signature.json' with { type: 'json' }
import { type Account, runAs, type RunAsOptions } from '../harness/accounts.js'
import { DEFAULT_PREFIX, type NativeConfig } from '../harness/native.js'
import { loopsOf, mountsOf } from '../harness/leftovers.js'
import { unmountBelow, useNode } from '../harness/node.js'
import { service, userA, userB } from '../harness/people.js'
import { run, runOk, type ProcessResult } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { busyboxRoot, publishMeta, pullTestImage, type TestImage } from './fixture.js'

// A prefix and run directories of its own: these tests spoil the configuration, and take everything down.
const PREFIX = `${DEFAULT_PREFIX}-prepared`
const RUN = join(PREFIX, 'run')
const OTHER_RUN = join(PREFIX, 'other-run')

const workspace = useWorkspace('prepared')
let image: TestImage
let other: TestImage
let secret: TestImage

const config = (runtime: Readonly<Record<string, string>> = {}): Partial<NativeConfig> => ({ runtime: { runDirectory: `${RUN} ${OTHER_RUN}`, ...runtime } })
const node = useNode('prepared', config())
const { helper, images: IMAGES } = node
const SETUP = node.sbin('setupRoot')
const UNSETUP = node.sbin('unsetupRoot')

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
  const places = (existsSync(directory) ? readdirSync(directory) : []).filter((name) => name.startsWith('pins'))
  return Object.fromEntries(places.flatMap((place) =>
    readdirSync(join(directory, place)).map((name) => [name, `mnt:[${statSync(join(directory, place, name)).ino}]`])))
}
/** Whether a start lands in a root that was prepared. */
const joins = async (...args: Parameters<typeof start>): Promise<boolean> => Object.values(pinned()).includes(await space(...args))

/** A rank that has started, and waits before it does what the script says. */
const waiting = async (job: string, script: string): Promise<{ readonly goOn: () => Promise<string> }> => {
  const child = spawn('setpriv', [`--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--init-groups', '--reset-env', 'env', `SLURM_JOB_ID=${job}`, helper, `--image=${image.reference}`, 'sh', '-c', `echo started; read line; ${script}`],
    { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] })
  const closed = new Promise((resolve) => child.on('close', resolve))
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await vi.waitFor(() => expect(said).toBe('started\n'), { timeout: 10_000, interval: 10 })
  const goOn = async (): Promise<string> => {
    child.stdin.end('go\n')
    await closed
    return said.slice('started\n'.length)
  }
  return { goOn }
}

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
const mounts = (): string[] => mountsOf(PREFIX)
const loops = (): Promise<string[]> => loopsOf(IMAGES)
const entries = (job: string, as = userA, directory = RUN): string[] => {
  const path = join(directory, 'jobs', job, String(as.uid))
  return existsSync(path) ? readdirSync(path) : []
}
/** Nothing is left of any job: no mount, no pin, no entry, no device. The kernel lets go of a device some time after its last user. */
const expectNothing = async (): Promise<void> => {
  expect(mounts()).toEqual([])
  for (const directory of [RUN, OTHER_RUN]) {
    for (const part of existsSync(directory) ? readdirSync(directory) : []) expect([part, readdirSync(join(directory, part))]).toEqual([part, []])
  }
  await vi.waitFor(async () => expect(await loops()).toEqual([]), { timeout: 10_000, interval: 50 })
}
/** What a test that was stopped left would be in the way. */
const clear = async (): Promise<void> => {
  await unmountBelow(PREFIX)
  for (const directory of [RUN, OTHER_RUN]) rmSync(directory, { recursive: true, force: true })
}

beforeAll(async () => {
  const common = { directory: workspace.path, imagePath: IMAGES, config: { Env: ['PATH=/bin', 'FROM_IMAGE=yes'], WorkingDir: '/start' } }
  image = await pullTestImage({ ...common, tag: 'good' })
  other = await pullTestImage({ ...common, tag: 'other', more: [{ name: 'other', type: 'dir' }] })
  secret = await pullTestImage({ ...common, tag: 'secret', config: { Env: ['PATH=/bin', 'SECRET=1'] }, requester: service.uid, allowUids: [userA.uid] })
})
afterEach(clear)

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
    node.configure({ siteFs: [`${workspace.path}:/site`] })
    expect(await joins('75', [])).toBe(false)
    node.configure()
    expect(await joins('75', [])).toBe(true)
    await takeDown('--job=75')
    await expectNothing()
  })
})

describe('volumes, modules and files of a prepared root', () => {
  const inside = async (job: string, args: readonly string[], script: string): Promise<string> => {
    const result = await start(job, [...args, 'sh', '-c', script])
    expect(result).toMatchObject({ status: 0, stderr: '' })
    return result.stdout
  }

  it('are those it was prepared with; others get a root of their own, over the same device', async () => {
    const [first, second] = ['first', 'second'].map((name) => {
      const path = join(userA.home, `prepared-${process.pid}-${name}`)
      mkdirSync(path)
      chownSync(path, userA.uid, userA.gid)
      onTestFinished(() => rmSync(path, { recursive: true }))
      return path
    })
    const volumes = [`${first}:/one`, `${second}:/two/deep:ro`]
    await prepare('81', userA, image.reference, ...volumes.map((volume) => `-v${volume}`))
    const devices = await loops()
    const as = (list: readonly string[]) => list.map((volume) => `--volume=${volume}`)
    const script = 'touch /one/x && ls /one /two; touch /two/deep/x 2>/dev/null || echo ro'
    expect(await joins('81', as(volumes))).toBe(true)
    expect(await inside('81', as(volumes), script)).toBe('/one:\nx\n\n/two:\ndeep\nro\n')
    // The same map in other words, and from the environment.
    expect(await joins('81', as([...volumes].reverse()))).toBe(true)
    expect(await joins('81', as([`${first}//.:/one/;${second}:/two/deep:ro`]))).toBe(true)
    expect(await joins('81', [], { env: { SHIFTER_VOLUME: volumes.join(';') } })).toBe(true)
    for (const other of [[], volumes.slice(0, 1), [`${first}:/one`, `${second}:/two/deep`], [`${second}:/one`, `${first}:/two/deep:ro`]]) expect([other, await joins('81', as(other))]).toEqual([other, false])
    expect(await inside('81', as([`${second}:/two`]), 'ls -d /two /one 2>&1; touch /two/y')).toBe('ls: /one: No such file or directory\n/two\n')
    expect(await joins('81', [...as(volumes), '--writable'])).toBe(false)
    expect(await inside('81', [...as(volumes), '--writable'], 'cd /tmp; ls -d /one')).toBe('/one\n')
    expect(await loops()).toEqual(devices)

    // A volume is checked like a rank's own: with the user's rights, and never over what is the site's.
    expect(refused(await setup('82', userB, image.reference, '-v', `${first}:/etc/x`))).toBe('VOLUME_INVALID')
    expect(refused(await setup('82', userB, image.reference, '-v', `${userA.home}/no-such:/data`))).toBe('VOLUME_FAILED')
    // What is refused leaves nothing that would have to be taken down, and of others what they have.
    expect(readdirSync(join(RUN, 'jobs'))).toEqual(['81'])
    expect(refused(await setup('81', userA, image.reference, '-v', `${userA.home}/no-such:/data`))).toBe('VOLUME_FAILED')
    expect(entries('81')).toHaveLength(1)
    await takeDown('--job=81')
    await expectNothing()
  })

  it('are modules too, in their order; what a module does at each start is done at each', async () => {
    const tree = join(PREFIX, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'file'), 'of the module\n')
    const told = `/tmp/shifter-sdk-hook-${process.pid}`
    writeFileSync(join(tree, 'hook'), `echo x >> ${told}\n`)
    onTestFinished(() => rmSync(told, { force: true }))
    node.configure({ udiRoot: {
      module_one_siteEnv: 'ONE=1', module_one_copyPath: tree, module_one_userhook: '/opt/udiImage/modules/one/hook',
      module_two_siteEnv: 'TWO=2 ONE=2', module_two_siteFs: `${tree}:/tree`,
    } })
    await prepare('83', userA, image.reference, '-m', 'one,two')
    const script = 'echo $ONE $TWO; cat /opt/udiImage/modules/one/file /tree/file'
    expect(await joins('83', ['--module=one,two'])).toBe(true)
    expect(await joins('83', [], { env: { SLURM_SPANK_SHIFTER_MODULE: 'one,two' } })).toBe(true)
    expect(await inside('83', ['--module=one,two'], script)).toBe('2 2\nof the module\nof the module\n')
    expect(readFileSync(told, 'utf8')).toBe('x\nx\nx\n')
    for (const other of [['--module=two,one'], ['--module=one'], ['--module=none'], []]) expect([other, await joins('83', other)]).toEqual([other, false])
    expect(await inside('83', ['--module=two,one'], 'echo $ONE $TWO')).toBe('1 2\n')
    expect(refused(await setup('84', userA, image.reference, '-m', 'three'))).toBe('MODULE_REFUSED')
    await takeDown('--job=83')
    await expectNothing()
  })

  it('can be a per-node cache, which the ranks of the job share', async () => {
    const place = join(PREFIX, 'caches')
    mkdirSync(place)
    node.configure({ udiRoot: { perNodeCachePath: place, perNodeCacheSizeLimit: '1G', perNodeCacheAllowedFsType: 'xfs', mkfsXfsPath: '/sbin/mkfs.xfs' } })
    const volume = '/any:/cache:perNodeCache=size=400M'
    await prepare('85', userA, image.reference, '-v', volume)
    expect(await inside('85', [`--volume=${volume}`], 'echo left > /cache/file')).toBe('')
    expect(await inside('85', [`--volume=${volume}`], 'cat /cache/file')).toBe('left\n')
    expect(readdirSync(place)).toEqual([])
    await takeDown('--job=85')
    await expectNothing()
  })

  it.each(hostsfile.cases)('/var/hostsfile of --nodes="$spec"', async ({ spec, lines, error }) => {
    if (spec === null) return // that is without --nodes: the next test
    const asked = await setup('86', userA, image.reference, '-N', spec)
    if (error === true) {
      expect(refused(asked)).toBe('USAGE')
      return
    }
    expect(asked).toMatchObject({ status: 0, stderr: '' })
    // "24 x host1, ..." in words
    const wanted = typeof lines === 'string' ? [...lines.matchAll(/(\d+) x (\w+)/g)].flatMap(([, count, host]) => Array<string>(Number(count)).fill(host ?? '')) : lines
    expect(await inside('86', [], 'cat /var/hostsfile')).toBe(`${wanted?.join('\n')}\n`)
    await prepare('86', userA, image.reference, '-N', spec)
    expect(refused(await setup('86', userA, image.reference, '-N', 'elsewhere/1'))).toBe('PREPARE_FAILED')
    expect(refused(await setup('86'))).toBe('PREPARE_FAILED')
    await takeDown('--job=86')
    await expectNothing()
  })

  it('have no /var/hostsfile where no hosts were told', async () => {
    await prepare('86')
    expect(await inside('86', [], 'ls /var')).not.toContain('hostsfile')
    await takeDown('--job=86')
  })

  it.each(reuseSignature.cases)("/var/shifterConfig.json with volumes $volumes and modules $modules", async ({ volumes, modules, text }) => {
    node.configure({ udiRoot: Object.fromEntries((modules ?? []).map((name) => [`module_${name}_siteEnv`, `${name}=1`])), siteFs: ['a', 'd'].map((name) => `${workspace.path}:/${name}`) })
    const more = [...(volumes === null ? [] : ['-v', volumes]), ...(modules === null ? [] : ['-m', modules.join(',')])]
    // /a and /d are the table's; targets must not be the site's.
    await prepare('87', userA, image.reference, ...more)
    const wanted = text.replace(/(?<="identifier":")[^"]*/, image.record.id).replace(/(?<="user":")[^"]*/, userA.name)
    expect(await inside('87', [...(volumes === null ? [] : ['--volume', volumes]), ...(modules === null ? [] : ['--module', modules.join(',')])], 'cat /var/shifterConfig.json')).toBe(wanted)
    await takeDown('--job=87')
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
    expect((await list('--job=112')).map(([job, uid]) => [job, Number(uid)]).sort()).toEqual([userA, userB].map(({ uid }) => ['112', uid]).sort())
    expect((await list(`--uid=${userB.uid}`, '--job=111')).map(([job, uid]) => [job, Number(uid)])).toEqual([['111', userB.uid]])
    expect([await list('--job=113'), await list('--job=112', '--uid=1')]).toEqual([[], []])
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

  it('is known to --explain, which tells of a joined root what it tells of another', async () => {
    const explain = async (): Promise<string> => (await start('116', ['--explain'])).stdout
    const alone = await explain()
    await prepare('116')
    const joined = await explain()
    expect(alone).toContain(`uid ${userA.uid} (${userA.name}) gid`)
    expect(alone).toMatch(/^root\tread-only\tthe default$/m)
    expect(joined).toBe(alone.replace('the default', 'prepared by setupRoot'))
    await takeDown('--job=116')
    await expectNothing()
  })

  it('takes the id of an image with any type of image, as the reference system hands it over, and no word that is no type', async () => {
    const id = image.record.id
    const as = ['-U', String(userA.uid), '-G', String(userA.gid), '--job=117']
    for (const type of ['docker', 'id', 'custom']) await runOk([SETUP, ...as, type, id])
    expect(entries('117')).toHaveLength(1)
    expect(refused(await run([SETUP, ...as, 'dockr', id]))).toBe('USAGE')
    const unnamed = await run([SETUP, ...as, '-u', userB.name, 'id', id])
    expect([refused(unnamed), unnamed.stderr]).toEqual(['CALLER_UNKNOWN', expect.stringContaining(`uid ${userA.uid} is not found by the name '${userB.name}'`)])
    await takeDown('--job=117')
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
    expect(refused(await unsetup('--run-directory=/tmp'))).toBe('PREPARE_FAILED')
    expect(refused(await unsetup('--run-directory=tmp'))).toBe('USAGE')
    expect(await unsetup('--run-directory=/nowhere')).toMatchObject({ status: 0, stderr: '' })
    await expectNothing()
  })

  it('is listed by job and user, in columns as wide as what is in them', async () => {
    const short = publishMeta(IMAGES, service, 'listed', busyboxRoot())
    for (const [job, as, reference] of [['9', userA, image.reference], ['10', userB, short], ['10', userA, short], ['10', userA, image.reference], ['9.a', userA, short]] as const) await prepare(job, as, reference)
    mkdirSync(join(RUN, 'jobs/8', String(userA.uid)), { recursive: true, mode: 0o700 })
    const { stdout } = await runOk([UNSETUP, '--list'])
    const [head = '', ...rows] = stdout.trimEnd().split('\n')
    const [low = 0, high = 0] = [userA.uid, userB.uid].sort((one, other) => one - other)
    const [first = '', second = ''] = [short, image.reference].sort()
    const ofJob10 = [low, high].flatMap((uid) => (uid === userA.uid ? [first, second].map((reference) => `10 ${uid} ${reference}`) : [`10 ${uid} ${short}`]))
    expect(rows.map((row) => row.split(/ +/).slice(0, 3).join(' '))).toEqual([`8 ${userA.uid} -`, `9 ${userA.uid} ${image.reference}`, `9.a ${userA.uid} ${short}`, ...ofJob10])
    // Longer than what any fixed width was made for.
    expect(image.reference.length).toBeGreaterThan(40)
    for (const title of ['JOB', 'UID', 'IMAGE', 'STATE']) {
      const at = head.indexOf(title)
      for (const row of rows) expect([row.slice(at - 1, at).trim(), row.slice(at, at + 1).trim().length], `${title}: ${row}`).toEqual(['', 1])
    }
    const end = head.indexOf(' AGE ') + ' AGE'.length
    for (const row of rows) expect(row.slice(end - 1, end + 1), row).toMatch(/^\S $/)
    for (const job of ['8', '9', '9.a', '10']) await takeDown(`--job=${job}`)
    await expectNothing()
  })

  it('takes the groups of the job user from the account database', async () => {
    // User B: the other tests' starts of user A must not find another group between preparation and joining.
    const group = 'shifter-tg'
    await run(['groupdel', group])
    await runOk(['groupadd', '--system', '--users', userB.name, group])
    onTestFinished(async () => { await run(['groupdel', group]) })
    const gid = Number((await runOk(['getent', 'group', group])).stdout.split(':')[2])
    const reference = publishMeta(IMAGES, service, 'for-the-group', busyboxRoot(), `FORMAT: squashfs\nENV: PATH=/bin\nGROUPACL: ${gid}\n`)
    await prepare('141', userB, reference)
    expect(await joins('141', [], { as: userB, reference })).toBe(true)
    expect((await start('141', ['id'], { as: userB, reference })).stdout).toContain(`${gid}(${group})`)
    expect(refused(await setup('141', userA, reference))).toBe('IMAGE_NOT_FOUND')
    // Without the group the kept record says no, as the published one does.
    expect(refused(await start('141', ['true'], { as: userB, reference, groups: [userB.gid] }))).toBe('IMAGE_NOT_FOUND')
    await takeDown('--job=141')

    // The same out of etcPath's files, where the site has no name service.
    const etc = join(PREFIX, 'etc/shifter/etc_files')
    writeFileSync(join(etc, 'passwd'), `x:x:1:1::/:/bin/sh\n${userB.name}:x:${userB.uid}:${userB.gid}::/home:/bin/sh\n`)
    writeFileSync(join(etc, 'group'), `other:x:3:\n${group}:x:${gid}:nobody,${userB.name}\n`)
    node.configure({ udiRoot: { allowLibcPwdCalls: '0' } })
    await prepare('142', userB, reference)
    expect(await joins('142', [], { as: userB, reference })).toBe(true)
    writeFileSync(join(etc, 'group'), `other:x:3:\n${group}:x:${gid}:nobody,${userB.name}2\n`)
    expect(refused(await setup('143', userB, reference))).toBe('IMAGE_NOT_FOUND')
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
    node.configure(config({ verifyImage: 'prepare' }))
    expect(refused(await setup('151', userA, damaged.reference))).toBe('IMAGE_CORRUPT')
    expect(refused(await setup('151', userA, meta))).toBe('RECORD_INVALID')
    await prepare('151')
    await takeDown('--job=151')
    await expectNothing()
  })

  it('has nothing to prepare for a directory of the host, and checks it all the same', async () => {
    expect(refused(await setup('161', userA, 'local:/'))).toBe('LOCAL_NOT_ALLOWED')
    node.configure({ udiRoot: { allowLocalChroot: '1' } })
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
    expect(await told([UNSETUP, '--report-fd=9', '--run-directory=nowhere'])).toMatchObject({ status: 2, stdout: expect.stringMatching(/^USAGE --run-directory=nowhere/) as string, stderr: '' })
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

interface Traced {
  readonly ended: Promise<ProcessResult>
  /** After it has stopped. */
  readonly stopped: () => Promise<void>
  readonly goOn: () => void
}
/** A program under strace, which sends it a signal at one of its own system calls (its children's are not looked at). */
const withSignal = (argv: readonly string[], signal: string, call: string, when: number, ...options: readonly string[]): Traced => {
  const file = workspace.at(`signal-${randomUUID()}`)
  // Whoever is traced writes its number there.
  writeFileSync(file, '')
  chmodSync(file, 0o666)
  const ended = run(['strace', '-o', `${file}.trace`, '-e', `trace=${call}`, '-e', `inject=${call}:signal=${signal}:when=${when}`, ...options,
    'sh', '-c', 'echo $$ > "$0"; exec "$@"', file, ...argv], { cwd: '/' })
  const send = (what: NodeJS.Signals) => {
    const pid = Number(readFileSync(file, 'utf8'))
    if (!(pid > 1)) throw new Error(`no process has told its number: ${pid}`)
    process.kill(pid, what)
  }
  let over = false
  void ended.then(() => (over = true))
  onTestFinished(() => {
    if (!over) send('SIGKILL')
  })
  return {
    ended,
    stopped: () => vi.waitFor(() => expect(readFileSync(`${file}.trace`, 'utf8')).toContain('--- stopped by SIGSTOP ---'), { timeout: 20_000, interval: 20 }),
    goOn: () => send('SIGCONT'),
  }
}
const setupWithSignal = (job: string, signal: string, call: string, when: number): Traced => withSignal(setupArgs(job, userA, image.reference), signal, call, when)

describe('a setupRoot that does not end well', () => {
  // Each before, between and after what it leaves on disk and among the mounts.
  const moments: ReadonlyArray<readonly [string, number]> = [
    ['mkdirat', 1], ['mkdirat', 2], ['mkdirat', 3], ['mkdirat', 4], ['flock', 1], ['flock', 2], ['fsopen', 1], ['move_mount', 1], ['mount_setattr', 1], ['getrandom', 1],
    ['ioctl', 2], ['ioctl', 3], ['pipe2', 1], ['pipe2', 2], ['pipe2', 3], ['poll', 3], ['mount', 1], ['renameat', 1], ['umount2', 1], ['wait4', 2],
  ]
  it.each(moments)('killed at its %s (%i) leaves nothing that hinders the next, or that unsetupRoot does not clear', async (call, when) => {
    const { ended } = setupWithSignal('201', 'SIGKILL', call, when)
    const { status, signal } = await ended
    // The moment exists; strace ends as what it ran did.
    expect([call, when, status, signal]).toEqual([call, when, null, 'SIGKILL'])
    expect((await start('201', ['true'])).status).toBe(0)
    await prepare('201')
    expect(await joins('201', [])).toBe(true)
    expect([entries('201').length, Object.keys(pinned()).length]).toEqual([1, 1])
    // Once more without a setupRoot in between.
    expect((await setupWithSignal('202', 'SIGKILL', call === 'mkdirat' || call === 'fsopen' || call === 'move_mount' || (call === 'flock' && when === 2) ? 'renameat' : call, call === 'mkdirat' || call === 'flock' ? 1 : when).ended).signal).toBe('SIGKILL')
    await takeDown('--job=202')
    await takeDown('--job=201')
    await expectNothing()
  })

  it.each([['flock', 1], ['flock', 2], ['fsopen', 1], ['move_mount', 1], ['poll', 3], ['mount', 1], ['renameat', 1]] as const)('stopped at its %s (%i) keeps nobody else from work, and unsetupRoot waits for nobody', async (call, when) => {
    const stopped = setupWithSignal('211', 'SIGSTOP', call, when)
    await stopped.stopped()
    expect((await start('211', ['true'])).status).toBe(0)
    await prepare('212')
    await prepare('211', userB)
    expect(await joins('212', [])).toBe(true)
    const began = Date.now()
    await takeDown('--job=211')
    expect(Date.now() - began).toBeLessThan(5_000)
    // The job's next preparation does not wait for it either.
    await prepare('211')
    expect(await joins('211', [])).toBe(true)
    stopped.goOn()
    const late = await stopped.ended
    // What it had published was taken down; what it had not, it takes back.
    if (late.status !== 0) expect([late.status, refused(late)]).toEqual([1, 'PREPARE_FAILED'])
    expect(await joins('211', [])).toBe(true)
    expect(entries('211')).toHaveLength(1)
    expect(Object.keys(pinned()).filter((name) => name.endsWith('.211'))).toHaveLength(1)
    for (const job of ['211', '212']) await takeDown(`--job=${job}`)
    await expectNothing()
  })

  // A name service that does not answer: the file of accounts is a FIFO that nobody writes to, in a mount namespace of the test's own.
  it.each([
    ['setupRoot', 'STOP'], ['setupRoot', 'KILL'], ['shifter', 'STOP'], ['shifter', 'KILL'],
  ] as const)('%s does not wait for a look-up that a process of the user has sent SIG%s', { timeout: 40_000 }, async (program, signal) => {
    const fifo = workspace.at(`accounts-${program}-${signal}`)
    await runOk(['mkfifo', '--mode=644', fifo])
    const argv = program === 'setupRoot'
      ? setupArgs('213', userA, image.reference)
      // unshare takes numbers as they are: no program that looks up accounts itself (Python may be a script of bash, which does).
      : ['unshare', `--setuid=${userA.uid}`, `--setgid=${userA.gid}`, helper, `--image=${image.reference}`, 'true']
    const child = spawn('unshare', ['--mount', 'sh', '-c', 'mount --bind "$0" /etc/passwd && exec "$@"', fifo, ...argv], { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    const statusOf = (pid: string): string => {
      try {
        return readFileSync(`/proc/${pid}/status`, 'utf8')
      } catch {
        return '' // it ended meanwhile
      }
    }
    const parent = new RegExp(`^PPid:\\t${child.pid}$`, 'm')
    // Its real, effective and saved ids are the user's: he can signal it.
    const own = new RegExp(`^Uid:\\t${userA.uid}\\t${userA.uid}\\t${userA.uid}\\t`, 'm')
    const lookUp = await vi.waitFor(() => {
      const found = readdirSync('/proc').find((pid) => /^\d+$/.test(pid) && parent.test(statusOf(pid)) && own.test(statusOf(pid)))
      expect(found).toBeDefined()
      return found ?? ''
    }, { timeout: 10_000, interval: 20 })
    expect(await runAs(userA, ['sh', '-c', `kill -${signal} ${lookUp}`])).toMatchObject({ status: 0, stderr: '' })
    expect(await ended).toBe(1)
    expect(stderr).toMatch(new RegExp(`^${program}: RESOURCE: uid ${userA.uid}: the account look-up was stopped or killed, which processes of that user can do, .*\\n$`))
    expect(statusOf(lookUp)).toBe('')
    await expectNothing()
  })

  it('waits for another of the same job and user, but not without end', { timeout: 60_000 }, async () => {
    const stopped = setupWithSignal('221', 'SIGSTOP', 'mount', 1)
    await stopped.stopped()
    expect(await states()).toEqual([`221 ${userA.uid} in preparation`])
    const waiting = setup('221')
    const never = setup('221', userA, other.reference)
    await vi.waitFor(() => expect(readFileSync('/proc/locks', 'utf8')).toMatch(/FLOCK/), { timeout: 5_000 })
    stopped.goOn()
    for (const result of [await waiting, await never, await stopped.ended]) expect(result.status).toBe(0)
    expect(entries('221')).toHaveLength(2)
    await takeDown('--job=221')
    await expectNothing()
  })
})

describe('what is left over', () => {
  it('of a boot: entries without their namespaces are no hindrance, and are cleared', async () => {
    await prepare('301')
    await prepare('302', userB)
    for (const line of mounts().reverse()) await runOk(['umount', '--lazy', line.split(' ')[4] ?? ''])
    expect(mounts()).toEqual([])
    expect(await states()).toEqual([`301 ${userA.uid} gone`, `302 ${userB.uid} gone`])
    expect((await start('301', ['sh', '-c', 'echo $FROM_IMAGE'])).stdout).toBe('yes\n')
    await prepare('301')
    expect(await joins('301', [])).toBe(true)
    expect(entries('301')).toHaveLength(1)
    await takeDown('--job=302')
    await takeDown('--job=301')
    await expectNothing()
  })

  it('of other programs: entries that are damaged, of a newer version, or no files are passed over, and are cleared', async () => {
    await prepare('311')
    const directory = join(RUN, 'jobs/311', String(userA.uid))
    const [name = ''] = readdirSync(directory)
    const good = readFileSync(join(directory, name))
    const put = (to: string, content: string | Buffer, mode = 0o600) => writeFileSync(join(directory, to), content, { mode })
    put('00-damaged', good.subarray(0, -5))
    put('01-newer', good.toString('latin1').replace('shifter-root 2', 'shifter-root 3'))
    put('08-older', good.toString('latin1').replace('shifter-root 2', 'shifter-root 1'))
    put('02-empty', '')
    put('03-huge', Buffer.alloc(9 << 20))
    symlinkSync(join(directory, name), join(directory, '04-link'))
    await runOk(['mkfifo', join(directory, '05-pipe')])
    put('06-writable', good, 0o666)
    chmodSync(join(directory, '06-writable'), 0o666)
    put('07-not-root', good)
    chownSync(join(directory, '07-not-root'), userA.uid, userA.gid)
    put('.new', good)
    expect(await joins('311', [])).toBe(true)
    expect((await states()).filter((state) => state.endsWith('ready'))).toHaveLength(1)
    expect((await states()).filter((state) => state.endsWith('of a newer version'))).toHaveLength(1)
    await prepare('311')
    expect(readdirSync(directory)).toEqual([name])
    put('01-newer', good.toString('latin1').replace('shifter-root 2', 'shifter-root 3'))
    put('.new', good)
    await takeDown('--job=311')
    await expectNothing()
  })

  it('of another boot: the numbers in its entry mean nothing, so that neither its root nor its device is used', async () => {
    await prepare('312')
    const rank = await waiting('312', 'echo still here')
    const file = join(RUN, 'jobs/312', String(userA.uid), entries('312')[0] ?? '')
    const good = readFileSync(file, 'latin1')
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    expect(good).toContain(`\nboot 36:${boot}\n`)
    const away = `${IMAGES}-away`
    renameSync(IMAGES, away)
    try {
      // Held by the rank and known from the entry, the device is all that a start needs, with its pin or without.
      expect(await joins('312', [])).toBe(true)
      for (const line of mounts().reverse()) await runOk(['umount', '--lazy', line.split(' ')[4] ?? ''])
      expect((await start('312', ['true'])).status).toBe(0)
      writeFileSync(file, good.replace(boot, boot.replace(/^./, (first) => (first === '0' ? '1' : '0'))), 'latin1')
      expect(refused(await start('312', ['true']))).toBe('IMAGE_NOT_FOUND')
    } finally {
      renameSync(away, IMAGES)
    }
    expect(await states()).toEqual([`312 ${userA.uid} gone`])
    await prepare('312')
    expect(entries('312')).toHaveLength(1)
    expect(await joins('312', [])).toBe(true)
    // Where its pin is there, too.
    const again = join(RUN, 'jobs/312', String(userA.uid), entries('312')[0] ?? '')
    const now = readFileSync(again, 'latin1')
    writeFileSync(again, now.replace(boot, boot.replace(/^./, (first) => (first === '0' ? '1' : '0'))), 'latin1')
    expect(await states()).toEqual([`312 ${userA.uid} gone`])
    expect(await joins('312', [])).toBe(false)
    expect(await rank.goOn()).toBe('still here\n')
    await takeDown('--job=312')
    await expectNothing()
  })

  it('of processes that still run: they keep their root until they end', async () => {
    await prepare('321')
    const rank = await waiting('321', 'cat /etc/os-release')
    await takeDown('--job=321')
    expect(mounts()).toEqual([])
    expect(await loops()).toHaveLength(1)
    expect(await rank.goOn()).toBe('PRETTY_NAME="Test image"\n')
    await expectNothing()
  })
})

describe('another mount namespace', () => {
  /** As job_container/tmpfs does: the job has a /tmp of its own. */
  const inPrivateTmp = (argv: readonly string[], as = userA): Promise<ProcessResult> =>
    run(['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs private /tmp && : > /tmp/private-to-the-job && exec "$@"', 'sh', 'setpriv', `--reuid=${as.uid}`, `--regid=${as.gid}`, '--init-groups', '--reset-env',
      'env', 'SLURM_JOB_ID=331', ...argv], { cwd: '/' })

  it("is not left: a job with a /tmp of its own keeps it, over the device that the preparation holds, without asking the image path", async () => {
    await prepare('331')
    const devices = await loops()
    const script = ['sh', '-c', 'ls /tmp; cat /etc/os-release; echo $FROM_IMAGE; readlink /proc/self/ns/mnt']
    const [files, release, from, place] = (await inPrivateTmp([helper, `--image=${image.reference}`, ...script])).stdout.split('\n')
    expect([files, release, from]).toEqual(['private-to-the-job', 'PRETTY_NAME="Test image"', 'yes'])
    expect(Object.values(pinned())).not.toContain(place)
    const trace = workspace.at('elsewhere')
    const traced = await run(['unshare', '--mount', 'strace', '-f', '-u', userA.name, '-o', trace, '-e', 'trace=!read,write', '-s', '300', '-E', 'SLURM_JOB_ID=331', helper, `--image=${image.reference}`, 'true'], { cwd: '/' })
    expect(traced.status).toBe(0)
    const calls = readFileSync(trace, 'utf8')
    expect(calls).not.toContain(IMAGES)
    expect(calls).not.toMatch(/LOOP_CONFIGURE|setns\(/)
    expect(calls).toMatch(/LOOP_GET_STATUS64/)
    expect(await loops()).toEqual(devices)
    await takeDown('--job=331')
    await expectNothing()
  })

  it('can prepare roots of its own beside those of the first', async () => {
    await prepare('341')
    // A daemon in a namespace of its own, with the ranks it starts.
    const inside = await run(['unshare', '--mount', 'sh', '-c', `
      "$@" || exit 1
      ${UNSETUP} --list
      mine=$(setpriv --reuid=${userA.uid} --regid=${userA.gid} --init-groups env SLURM_JOB_ID=341 ${helper} --image=${image.reference} readlink /proc/self/ns/mnt)
      again=$(setpriv --reuid=${userA.uid} --regid=${userA.gid} --init-groups env SLURM_JOB_ID=341 ${helper} --image=${image.reference} readlink /proc/self/ns/mnt)
      echo "spaces $mine $again"
      stat -c 'pin mnt:[%i]' ${RUN}/pins/*
      `, 'sh', ...setupArgs('341', userA, image.reference)], { cwd: '/' })
    expect(inside).toMatchObject({ status: 0, stderr: '' })
    expect(inside.stdout).toMatch(/ ready\n/)
    expect(inside.stdout).toMatch(/ of another mount namespace\n/)
    const [, mine = '', again] = /spaces (\S+) (\S+)\n/.exec(inside.stdout) ?? []
    expect(mine).toBe(again)
    expect(inside.stdout).toContain(`pin ${mine}\n`)
    expect(await joins('341', [])).toBe(true)
    await takeDown('--job=341')
    await expectNothing()
  })

  it('below another root directory joins nothing', async () => {
    await prepare('351')
    // Root has put the job below another root directory of the same mount namespace, from where the run directory can be seen.
    const result = await run(['chroot', '/', 'sh', '-c', 'true'])
    expect(result.status).toBe(0)
    const root = workspace.at('root')
    mkdirSync(root)
    await runOk(['mount', '--rbind', '/', root])
    await runOk(['mount', '--make-rprivate', root])
    onTestFinished(async () => { await run(['umount', '--recursive', '--lazy', root]) })
    const below = await run(['chroot', root, 'setpriv', `--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--init-groups', '--reset-env', 'env', 'SLURM_JOB_ID=351', helper, `--image=${image.reference}`, ...SPACE], { cwd: '/' })
    expect(Object.values(pinned())).not.toContain(below.stdout.trim())
    await run(['umount', '--recursive', '--lazy', root])
    expect(await joins('351', [])).toBe(true)
    await takeDown('--job=351')
    await expectNothing()
  })
})

describe('who may join', () => {
  it('is asked of the record that was kept: what a list says later counts from the next preparation on', async () => {
    await prepare('401', userA, secret.reference)
    expect(await joins('401', [], { reference: secret.reference })).toBe(true)
    expect((await start('401', ['sh', '-c', 'echo $SECRET'], { reference: secret.reference })).stdout).toBe('1\n')
    expect(refused(await start('401', ['true'], { reference: secret.reference, as: userB }))).toBe('IMAGE_NOT_FOUND')
    expect(refused(await setup('401', userB, secret.reference))).toBe('IMAGE_NOT_FOUND')

    const record = join(IMAGES, `${secret.record.id}.record`)
    const text = readFileSync(record, 'latin1')
    const put = (content: string) => {
      writeFileSync(`${record}.new`, content, { encoding: 'latin1', mode: 0o600 })
      chownSync(`${record}.new`, service.uid, service.gid)
      renameSync(`${record}.new`, record)
    }
    onTestFinished(() => put(text))
    put(text.replace(/allow-uid \d+:\d+\n/, `allow-uid ${String(userB.uid).length}:${userB.uid}\n`))
    // The job goes on as it began; nothing else of his does.
    expect(await joins('401', [], { reference: secret.reference })).toBe(true)
    expect(refused(await setup('402', userA, secret.reference))).toBe('IMAGE_NOT_FOUND')
    expect(refused(await start('402', ['true'], { reference: secret.reference }))).toBe('IMAGE_NOT_FOUND')
    await prepare('402', userB, secret.reference)
    expect(await joins('402', [], { reference: secret.reference, as: userB })).toBe(true)
    await takeDown('--job=401')
    expect(refused(await start('401', ['true'], { reference: secret.reference }))).toBe('IMAGE_NOT_FOUND')
    await takeDown('--job=402')
    await expectNothing()
  })

  it('attack 43: a job id that is forged leads nowhere but to the roots of the caller himself', async () => {
    await prepare('411', userB, secret.reference.replace(secret.reference, image.reference))
    await prepare('412', userB, other.reference)
    const spaces = Object.values(pinned())
    // Another's job, by every variable that is looked at.
    for (const name of ['SHIFTER_JOB_ID', 'SLURM_JOB_ID', 'PBS_JOBID']) {
      const result = await start(undefined, SPACE, { env: { [name]: '411' } })
      expect(result.status).toBe(0)
      expect(spaces).not.toContain(result.stdout.trim())
    }
    await prepare('413')
    const mine = Object.values(pinned()).filter((each) => !spaces.includes(each))
    const { uid } = userA
    const forged: ReadonlyArray<readonly [string, string, boolean]> = [
      ['SHIFTER_JOB_ID', '413', true], ['SLURM_JOB_ID', '413', true], ['PBS_JOBID', '413', true], ['SHIFTER_JOB_ID', '411', false],
      ...[
        '', '.', '..', '../413', '413/', `413/${uid}`, `../jobs/413/${uid}`, './413', '/', `${RUN}/jobs/413`, '413\n', '4*3', '413 ', '-413', '%s%n', '413\\0', 'a'.repeat(128), 'a'.repeat(129), 'a'.repeat(100_000),
        "413;id", '$(id)', 'é', '\x01', 'SLURM_JOB_ID=413', '413.', 'pins',
      ].map((job): [string, string, boolean] => ['SLURM_JOB_ID', job, false]),
      ['SLURM_JOBID', '413', false], ['SLURM_SPANK_SHIFTER_JOB_ID', '413', false], ['PBS_JOB_ID', '413', false], ['SHIFTER_RUN_DIRECTORY', RUN, false], ['XDG_RUNTIME_DIR', RUN, false],
    ]
    for (const [name, job, lands] of forged) {
      const result = await start(undefined, SPACE, { env: { [name]: job } })
      expect([name, job.slice(0, 200), result.status, result.stderr, mine.includes(result.stdout.trim())]).toEqual([name, job.slice(0, 200), 0, '', lands])
      expect(spaces).not.toContain(result.stdout.trim())
    }
    // The first that is a job of his counts, whatever the others say.
    expect(mine).toContain((await start('413', SPACE, { env: { SHIFTER_JOB_ID: '411', PBS_JOBID: '../411' } })).stdout.trim())
    // What a workload manager's variables say of image, volumes and modules has to be what was prepared.
    const lied = await start('413', SPACE, { env: { SLURM_SPANK_SHIFTER_IMAGE: other.record.id, SLURM_SPANK_SHIFTER_IMAGETYPE: 'id', SHIFTER_IMAGEREQUEST: other.reference } })
    expect(mine).toContain(lied.stdout.trim())
    for (const job of ['411', '412', '413']) await takeDown(`--job=${job}`)
    await expectNothing()
  })

  it('attack 43: nobody but root makes, sees or changes anything of the run directory', async () => {
    await prepare('421')
    await prepare('421', userB)
    const paths = ['', 'jobs', 'jobs/421', `jobs/421/${userA.uid}`, `jobs/421/${userB.uid}`, 'pins']
    for (const path of paths) {
      const { uid, mode } = statSync(join(RUN, path))
      expect([path, uid, mode & 0o077]).toEqual([path, 0, path === '' ? 0o011 : 0])
      const result = await runAs(userA, ['sh', '-c', 'ls "$0"; mkdir "$0/x"; touch "$0/y"; flock --nonblock "$0" true && echo LOCKED', join(RUN, path)])
      expect([path, result.stdout]).toEqual([path, ''])
      expect(result.stderr.match(/Permission denied/g)?.length).toBe(4)
    }
    for (const [job, , , , state] of await list()) expect([job, state]).toEqual(['421', 'ready'])
    await takeDown('--job=421')
    await expectNothing()
  })

  it('attack 43: entries in directories that others could change count for nothing', async () => {
    await prepare('431')
    const directory = join(RUN, 'jobs/431', String(userA.uid))
    const spoil: ReadonlyArray<readonly [string, number, number]> = [[directory, userA.uid, 0o700], [directory, 0, 0o770], [directory, 0, 0o707], [RUN, 0, 0o777], [RUN, userA.uid, 0o711], [PREFIX, 0, 0o757]]
    for (const [path, uid, mode] of spoil) {
      const had = statSync(path)
      chownSync(path, uid, 0)
      chmodSync(path, mode)
      try {
        if (path !== PREFIX) {
          expect((await start('431', ['true'])).status).toBe(0)
          expect([path, uid, mode, await joins('431', [])]).toEqual([path, uid, mode, false])
        }
        expect((await setup('431', userA, other.reference)).status).toBe(1)
      } finally {
        chownSync(path, had.uid, had.gid)
        chmodSync(path, had.mode & 0o7777)
      }
    }
    expect(await joins('431', [])).toBe(true)
    await takeDown('--job=431')
    await expectNothing()
  })

  it('attack 43: a pin that is another namespace, or a plain file, is no root', async () => {
    await prepare('441')
    const pin = join(RUN, 'pins', Object.keys(pinned())[0] ?? '')
    // Somebody inside keeps the namespace, and with it its number, from being another's.
    const rank = await waiting('441', 'true')
    await runOk(['umount', pin])
    const inside = async () => {
      const result = await start('441', ['sh', '-c', 'cat /etc/os-release; readlink /proc/self/ns/mnt'])
      expect(result.stdout).toContain('PRETTY_NAME="Test image"\n')
      return result.stdout.trim().split('\n').at(-1)
    }
    expect(await inside()).not.toBe((await runOk(SPACE)).stdout.trim())
    for (const kind of ['net', 'mnt']) {
      await runOk(['unshare', '--mount', '--net', 'sh', '-c', `nsenter --mount=/proc/${process.pid}/ns/mnt mount --bind /proc/$$/ns/${kind} ${pin}`])
      expect(await inside()).not.toBe(`mnt:[${statSync(pin).ino}]`)
      expect(await states()).toEqual([`441 ${userA.uid} gone`])
      await runOk(['umount', pin])
    }
    await prepare('441')
    expect(await joins('441', [])).toBe(true)
    await rank.goOn()
    await takeDown('--job=441')
    await expectNothing()
  })
})

describe('many ranks', () => {
  it.each([128, 256])('attack 42: of %i at once, one stopped and one killed, all others run in the one root', { timeout: 120_000 }, async (count) => {
    await prepare('501')
    const devices = await loops()
    // Those two at the middle of their start, with everything open that they open.
    const [stopped, killed] = ['SIGSTOP', 'SIGKILL'].map((signal) => withSignal(['env', 'SLURM_JOB_ID=501', helper, `--image=${image.reference}`, 'echo', 'late'], signal, 'setns', 1, '-u', userA.name))
    await stopped?.stopped()
    const script = `i=0; while [ $i -lt ${count} ]; do "$@" & i=$((i+1)); done; wait`
    const ranks = await runAs(userA, ['sh', '-c', script, 'sh', helper, `--image=${image.reference}`, ...SPACE], { env: { SLURM_JOB_ID: '501' } })
    expect(ranks.stderr).toBe('')
    expect(ranks.stdout.trimEnd().split('\n')).toEqual(Array.from({ length: count }, () => Object.values(pinned())[0]))
    expect(await loops()).toEqual(devices)
    await takeDown('--job=501')
    stopped?.goOn()
    const [late, dead] = await Promise.all([stopped?.ended, killed?.ended])
    // Its root is what it was when it joined.
    expect([late?.stdout, late?.status, dead?.signal]).toEqual(['late\n', 0, 'SIGKILL'])
    await expectNothing()
  })

  it('attack 42: 64 that can\'t join run over the one device', async () => {
    await prepare('511')
    const devices = await loops()
    const script = 'i=0; while [ $i -lt 64 ]; do "$@" & i=$((i+1)); done; wait'
    const ranks = await runAs(userA, ['sh', '-c', script, 'sh', helper, `--image=${image.reference}`, 'sh', '-c', 'echo $FROM_IMAGE'], { env: { SLURM_JOB_ID: '511' }, groups: [userA.gid, userB.gid] })
    expect([ranks.stdout, ranks.stderr]).toEqual(['yes\n'.repeat(64), ''])
    expect(await loops()).toEqual(devices)
    await takeDown('--job=511')
    await expectNothing()
  })
})
