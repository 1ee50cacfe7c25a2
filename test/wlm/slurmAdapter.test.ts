/** The adapter of Slurm where no Slurm is needed: what an environment tells, what is rendered, what its programs print. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { jobOf, type Environment } from '../../src/wlm/slurm/Environment.js'
import { adapter } from '../../src/wlm/slurm/index.js'
import { stateOf } from '../../src/wlm/slurm/Jobs.js'
import { run } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const job = { SLURM_JOB_ID: '4711', SLURM_JOB_UID: '1001', SLURM_JOB_GID: '100' }
const told = (environment: Environment, self?: { readonly uid: number; readonly gid: number }) => Effect.runSync(Effect.either(jobOf(environment, self)))
const refused = (environment: Environment) => {
  const found = told(environment)
  return Either.isLeft(found) ? `${found.left.code} ${found.left.what}` : `told ${JSON.stringify(found.right)}`
}

describe('the job of an environment', () => {
  it('is none without its id', () => {
    expect(told({ PATH: '/bin', SHIFTER_IMAGE: 'docker:debian:12' })).toEqual(Either.right(undefined))
  })

  it('is told whole', () => {
    const environment = {
      ...job, SLURM_JOB_NODELIST: 'n[08-10,12],login', SLURM_TASKS_PER_NODE: '2(x3),1,7',
      SHIFTER_IMAGETYPE: 'id', SHIFTER_IMAGE: 'a'.repeat(64), SHIFTER_VOLUME: '/a:/b;/c:/d:ro', SHIFTER_MODULE: 'mpich,gpu',
    }
    expect(told(environment)).toEqual(
      Either.right({
        job: '4711', uid: 1001, gid: 100,
        nodes: [{ name: 'n08', tasks: 2 }, { name: 'n09', tasks: 2 }, { name: 'n10', tasks: 2 }, { name: 'n12', tasks: 1 }, { name: 'login', tasks: 7 }],
        request: { image: `id:${'a'.repeat(64)}`, volumes: ['/a:/b', '/c:/d:ro'], modules: ['mpich', 'gpu'], writable: [] },
      }),
    )
  })

  it('is the prologue\'s, where what was asked for has another name', () => {
    expect(told({ ...job, SPANK_SHIFTER_IMAGE: 'id:abc', SPANK_SHIFTER_MODULE: 'none' })).toMatchObject({ right: { request: { image: 'id:abc', modules: [] } } })
    expect(told({ ...job, SPANK_SHIFTER_MODULE: 'none', SPANK_SHIFTER_COMPONENT_IMAGE: 'id:def' })).toMatchObject({ right: { request: { image: 'id:def', modules: undefined } } })
  })

  it('has the group of the process that asks, where it is that user\'s and nothing else says it', () => {
    const older = { SLURM_JOB_ID: '1', SLURM_JOB_UID: '1001' }
    expect(told(older, { uid: 1001, gid: 77 })).toMatchObject({ right: { uid: 1001, gid: 77 } })
    expect(told(older, { uid: 0, gid: 0 })).toMatchObject({ left: { code: 'JOB_INVALID', what: 'SLURM_JOB_GID is not set' } })
  })

  it.each<readonly [string, Environment]>([
    ['SLURM_JOB_ID', { ...job, SLURM_JOB_ID: '' }],
    ['SLURM_JOB_ID', { ...job, SLURM_JOB_ID: '../1' }],
    ['SLURM_JOB_ID', { ...job, SLURM_JOB_ID: '1\n2' }],
    ['SLURM_JOB_ID', { ...job, SLURM_JOB_ID: '1; reboot' }],
    ['SLURM_JOB_ID', { ...job, SLURM_JOB_ID: '-1' }],
    ['SLURM_JOB_UID', { ...job, SLURM_JOB_UID: '-1' }],
    ['SLURM_JOB_UID', { ...job, SLURM_JOB_UID: '4294967295' }],
    ['SLURM_JOB_UID', { ...job, SLURM_JOB_UID: '0x0' }],
    ['SLURM_JOB_GID', { ...job, SLURM_JOB_GID: '1e3' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: 'n[1-99999999]' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: 'n[1-999][1-999]' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: 'n[1-' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: 'n[2-1]' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: 'a b' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: '--uid=0' }],
    ['SLURM_JOB_NODELIST', { ...job, SLURM_JOB_NODELIST: 'a/9\nb' }],
    ['SLURM_TASKS_PER_NODE', { ...job, SLURM_JOB_NODELIST: 'n1', SLURM_TASKS_PER_NODE: '1(x9)' }],
    ['SLURM_TASKS_PER_NODE', { ...job, SLURM_JOB_NODELIST: 'n[1-2]', SLURM_TASKS_PER_NODE: '1' }],
    ['SHIFTER_IMAGE', { ...job, SHIFTER_IMAGE: 'debian' }],
    ['SHIFTER_IMAGE', { ...job, SHIFTER_IMAGE: 'docker:a\nb' }],
    ['SHIFTER_IMAGE', { ...job, SHIFTER_IMAGE: `docker:${'a'.repeat(5000)}` }],
    ['SHIFTER_VOLUME', { ...job, SHIFTER_IMAGE: 'id:a', SHIFTER_VOLUME: '/a:/b\u0001' }],
    ['SHIFTER_MODULE', { ...job, SHIFTER_IMAGE: 'id:a', SHIFTER_MODULE: 'a,,b' }],
    ['SHIFTER_MODULE', { ...job, SHIFTER_IMAGE: 'id:a', SHIFTER_MODULE: '--x=../y' }],
  ])('refuses a %s that is none: %j', (variable, environment) => {
    expect(refused(environment)).toMatch(new RegExp(`^JOB_INVALID ${variable} is `))
  })

  it('is told or refused, whatever the values are', () => {
    const names = ['SLURM_JOB_ID', 'SLURM_JOB_UID', 'SLURM_JOB_GID', 'SLURM_JOB_NODELIST', 'SLURM_TASKS_PER_NODE', 'SHIFTER_IMAGE', 'SHIFTER_IMAGETYPE', 'SHIFTER_VOLUME', 'SHIFTER_MODULE']
    const pieces = fc.array(fc.oneof(fc.constantFrom('[', ']', ',', '-', '(x', ')', '1', '07', 'n', ':', ';', '/', '\n', 'id', '%'), fc.string({ maxLength: 4 })), { maxLength: 12 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), pieces), (values) => {
        const found = told({ ...job, ...values })
        if (Either.isLeft(found)) {
          expect(found.left.code).toBe('JOB_INVALID')
          return
        }
        for (const { name } of found.right?.nodes ?? []) expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]*$/)
        const asked = found.right?.request
        for (const text of [asked?.image, ...(asked?.volumes ?? []), ...(asked?.modules ?? [])]) expect(text ?? '').not.toMatch(/[\u0000-\u001f]/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('what squeue prints', () => {
  const line = (id: string, state: string, code: string) => `${id.padEnd(20)}${state.padEnd(30)}${code.padEnd(20)}\n`
  it.each([
    [line('12', 'PENDING', '0'), { _tag: 'Waiting' }],
    [line('12', 'REQUEUED', '0'), { _tag: 'Waiting' }],
    [line('12', 'RUNNING', '0'), { _tag: 'Running' }],
    [line('12', 'COMPLETING', '0'), { _tag: 'Running' }],
    [line('12', 'A_STATE_OF_TOMORROW', '0'), { _tag: 'Running' }],
    [line('12', 'COMPLETED', '0'), { _tag: 'Ended', status: 0 }],
    [line('12', 'FAILED', '768'), { _tag: 'Ended', status: 3, why: 'FAILED' }],
    [line('12', 'FAILED', '3:0'), { _tag: 'Ended', status: 3, why: 'FAILED' }],
    [line('12', 'CANCELLED', '15'), { _tag: 'Ended', status: 143, why: 'CANCELLED' }],
    [line('12', 'CANCELLED', '0'), { _tag: 'Ended', status: 1, why: 'CANCELLED' }],
    [line('12', 'TIMEOUT', '0:15'), { _tag: 'Ended', status: 143, why: 'TIMEOUT' }],
    ['', { _tag: 'Lost' }],
    [line('1', 'COMPLETED', '0') + line('123', 'COMPLETED', '0'), { _tag: 'Lost' }],
  ])('%j', (printed, state) => {
    expect(stateOf('12', printed)).toEqual(state)
  })
})

describe('shifter-gateway wlm', () => {
  const work = useWorkspace('wlm')
  const program = fileURLToPath(new URL('../../dist/bin/shifter-gateway.js', import.meta.url))
  const gateway = (...args: readonly string[]) => run([process.execPath, program, 'wlm', ...args])
  beforeAll(() => built())
  const configured = (slurm: Readonly<Record<string, unknown>>) => {
    writeFileSync(work.at('gateway.json'), JSON.stringify({ version: 1, stateDirectory: work.at('state'), prefix: '/opt/shifter', systems: { one: { imagePath: '/scratch', slurm } } }))
    return ['--config', work.at('gateway.json')]
  }

  it('renders the files of a site, the same each time', async () => {
    const config = configured({ longOptions: true, tasks: 'inside', shifterimg: '/usr/bin/shifterimg', directory: '/shared/etc' })
    const first = await gateway('render', 'slurm', ...config, '--out', work.at('out'))
    expect(first).toEqual({ status: 0, signal: null, stderr: '', stdout: ['plugstack.conf', 'prologue', 'epilogue', 'slurm.conf'].map((name) => `${work.at('out')}/${name}\n`).join('') })
    const read = (name: string) => readFileSync(work.at(`out/${name}`), 'utf8')
    expect(read('plugstack.conf').split('\n').filter((line) => !line.startsWith('#'))).toEqual(['required /opt/shifter/lib/shifter/shifter_slurm.so long_options tasks=inside shifterimg=/usr/bin/shifterimg', ''])
    expect(read('prologue').split('\n')[0]).toBe('#!/opt/shifter/libexec/shifter/shifter-job slurm-prologue')
    expect(read('epilogue').split('\n')[0]).toBe('#!/opt/shifter/libexec/shifter/shifter-job slurm-epilogue')
    expect(read('slurm.conf')).toMatch(/^Prolog=\/shared\/etc\/prologue\nEpilog=\/shared\/etc\/epilogue\n[^]*^PrologFlags=Alloc$/m)
    expect([statSync(work.at('out/prologue')).mode & 0o777, statSync(work.at('out/slurm.conf')).mode & 0o777]).toEqual([0o755, 0o644])
    const before = ['plugstack.conf', 'prologue', 'epilogue', 'slurm.conf'].map(read)
    await gateway('render', 'slurm', ...config, '--out', work.at('out'))
    expect(['plugstack.conf', 'prologue', 'epilogue', 'slurm.conf'].map(read)).toEqual(before)
  })

  it.each([
    [['render'], 2, 'needs --out DIR'],
    [['render', 'lsf', '--out', '/x'], 2, 'there is no adapter "lsf"'],
    [['check', 'toString'], 2, 'there is no adapter "toString"'],
    [['check', 'slurm', '--out', '/x'], 2, 'wlm check has no option --out'],
    [['check', 'slurm', '--system', 'two'], 2, 'There is no system "two"'],
    [['render', 'slurm', '--out', '/proc/x'], 6, '/proc/x/plugstack.conf can\'t be written'],
  ])('%j is refused', async (args, status, what) => {
    expect(await gateway(...args, ...configured({}))).toMatchObject({ status, stderr: expect.stringContaining(what) as string })
  })

  it.each(['/opt/a b', '/opt/a\nrequired evil.so', '/opt/$(x)', '/opt/../x'])('refuses a prefix that a file of words can\'t hold: %j', async (prefix) => {
    expect(await gateway('render', 'slurm', ...configured({ prefix }), '--out', work.at('odd'))).toMatchObject({ status: 2, stderr: expect.stringContaining('not valid: systems.one.slurm.prefix: an absolute path') as string })
  })

  it('says what a machine lacks', async () => {
    mkdirSync(work.at('etc'), { recursive: true })
    const checked = await gateway('check', 'slurm', '--json', ...configured({ directory: work.at('etc'), programs: work.at('none') }))
    expect(checked.status).toBe(6)
    const { checks, ok } = JSON.parse(checked.stdout) as { readonly ok: boolean; readonly checks: ReadonlyArray<{ readonly name: string; readonly detail: string }> }
    expect(ok).toBe(false)
    expect(checks.find(({ name }) => name === 'plugin')?.detail).toBe('there is no /opt/shifter/lib/shifter/shifter_slurm.so')
    expect(checks.find(({ name }) => name === 'options')?.detail).toContain('is not installed')
  })
})

describe('the adapter', () => {
  it('finds no job outside of one', async () => {
    expect(await Effect.runPromise(adapter().jobOf({}))).toBeUndefined()
  })
})
