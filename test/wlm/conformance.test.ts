/** The conformance suite, run on every adapter that is here, and on what it is to find. */
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import * as Layer from 'effect/Layer'
import { Requested, udiLayer, Wlm } from 'shifter-sdk'
import { adapterCases, type Case, type Complex, jobCases, liveCases, Refused, type Sample } from 'shifter-sdk/wlm-testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adapter as local } from '../../examples/local-wlm/adapter.js'
import { conformance, samples as localSamples } from '../../examples/local-wlm/conformance.js'
import { adapter as pbsAdapter } from '../../src/wlm/pbs/index.js'
import { adapter as slurmAdapter } from '../../src/wlm/slurm/index.js'
import { runAs } from '../harness/accounts.js'
import { mountsOf } from '../harness/leftovers.js'
import { useNode } from '../harness/node.js'
import { userA, userB } from '../harness/people.js'
import { runOk } from '../harness/process.js'
import { type SlurmCluster, startSlurm } from '../harness/slurm.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage, type TestImage } from '../native/fixture.js'

const each = (cases: readonly Case[]): void => {
  for (const { check, name } of cases) it(name, () => Effect.runPromise(check))
}

const job = { job: '4711', uid: 1001, gid: 100 }
const environment = { SLURM_JOB_ID: '4711', SLURM_JOB_UID: '1001', SLURM_JOB_GID: '100' }
const slurmSamples: readonly [Sample, ...Sample[]] = [
  {
    environment: {
      ...environment, SLURM_JOB_NODELIST: 'n[1-2,07],x', SLURM_TASKS_PER_NODE: '4(x3),1',
      SHIFTER_IMAGE: 'id:abc', SHIFTER_IMAGETYPE: 'id', SHIFTER_IMAGEREQUEST: 'docker:debian:12', SHIFTER_VOLUME: '/a:/b', SHIFTER_MODULE: 'none',
    },
    job: { ...job, nodes: [{ name: 'n1', tasks: 4 }, { name: 'n2', tasks: 4 }, { name: 'n07', tasks: 4 }, { name: 'x', tasks: 1 }], request: { image: 'id:abc', volumes: ['/a:/b'], modules: [], writable: [] } },
  },
  { environment: { ...environment, SPANK_SHIFTER_IMAGE: 'id:abc' }, job: { ...job, nodes: [], request: { image: 'id:abc', volumes: [], writable: [] } } },
  { environment, job: { ...job, nodes: [], request: undefined } },
]

const self = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 }
const asked = { SHIFTER_IMAGE: 'abc', SHIFTER_IMAGEREQUEST: 'id:abc', SHIFTER_IMAGETYPE: 'id', SHIFTER_VOLUME: '/a:/b', SHIFTER_MODULE: 'none' }
const pbsSamples: readonly [Sample, ...Sample[]] = [
  { environment: { PBS_JOBID: '12.server', ...asked }, job: { job: '12.server', ...self, nodes: [], request: { image: 'id:abc', volumes: ['/a:/b'], modules: [], writable: [] } } },
  // The kernel's own line stands for a list of one task.
  { environment: { PBS_JOBID: '7[1].server', PBS_NODEFILE: '/proc/sys/kernel/ostype' }, job: { job: '7[1].server', ...self, nodes: [{ name: 'Linux', tasks: 1 }], request: undefined } },
  { environment: { PBS_JOBID: '8.server' }, job: { job: '8.server', ...self, nodes: [], request: undefined } },
]
describe('the adapter of PBS', () => each(adapterCases(pbsAdapter({ programs: '/nowhere' }), pbsSamples)))

describe('the adapter of Slurm', () => each(adapterCases(slurmAdapter({ programs: '/nowhere' }), slurmSamples)))

describe('the jobs of Slurm', () => {
  const work = useWorkspace('conformance')
  let slurm: SlurmCluster
  beforeAll(async () => {
    slurm = await startSlurm(work.at('slurm'))
  })
  afterAll(() => slurm.stop())
  const late: Wlm.BatchJobs = {
    submit: (batchJob) => batch().submit(batchJob),
    state: (id) => batch().state(id),
    cancel: (id) => batch().cancel(id),
  }
  const batch = () => slurmAdapter({ config: slurm.conf }).batch
  // The names of the cases are known before there is a cluster.
  for (const [i, { name }] of jobCases(late, '/').entries()) it(name, () => Effect.runPromise(jobCases(late, work.path)[i]?.check ?? Effect.die('no case')))
})

describe('an adapter from outside', () => {
  const work = useWorkspace('local-wlm')
  it('conforms', async () => {
    expect(await Effect.runPromise(conformance(work.path))).toBe(0)
  })
})

describe('users\' jobs under an adapter from outside', () => {
  const work = useWorkspace('local-jobs')
  const node = useNode('wlm', {})
  const images: TestImage[] = []
  beforeAll(async () => {
    for (const tag of ['one', 'two']) {
      images.push(await pullTestImage({ directory: work.path, imagePath: node.images, tag, config: { Env: ['PATH=/bin'] }, more: [{ name: 'marker', type: 'file', data: `this is ${tag}\n` }] }))
    }
  })
  let jobs = 0
  // What a daemon of the workload manager does with each job, by the service alone.
  const run: Complex['run'] = ({ environment, request, script, user }) =>
    Effect.gen(function* () {
      const wlm = yield* Wlm.Wlm
      const account = user === 'one' ? userA : userB
      const pinned = request === undefined ? undefined : yield* Effect.mapError(wlm.pin(request, account), ({ message }) => new Refused({ message }))
      const id = `local-${++jobs}`
      const env = { SHIFTER_JOB_ID: id, ...(pinned === undefined ? {} : Requested.toEnvironment(pinned)), ...environment }
      return yield* Effect.acquireUseRelease(
        Effect.orDie(wlm.prepare({ job: id, uid: account.uid, gid: account.gid, nodes: [{ name: 'localhost', tasks: 1 }], request: pinned })),
        () => Effect.map(Effect.promise(() => runAs(account, ['sh', '-c', script], { env })), ({ status, stdout }) => ({ status: status ?? 128, output: stdout })),
        () => Effect.orDie(wlm.clean(id)),
      )
    }).pipe(Effect.provide(Layer.provide(Wlm.layer(local()), udiLayer(node.prefix))))
  const complex = (): Complex => ({
    images: [{ reference: images[0]?.reference ?? '', line: 'this is one' }, { reference: images[1]?.reference ?? '', line: 'this is two' }],
    marker: '/marker',
    shown: '/start',
    enter: node.helper,
    run,
    leftovers: Effect.promise(async () => [...(await runOk([node.sbin('unsetupRoot'), '--list'])).stdout.split('\n').slice(1).filter(Boolean), ...mountsOf(node.prefix).filter((line) => !/ - tmpfs /.test(line))]),
  })
  const cases = () => liveCases(complex())
  for (const [i, { name }] of cases().entries()) it(name, () => Effect.runPromise(cases()[i]?.check ?? Effect.die('no case')))

  // The form is looked at here, so that nothing else hides in it; what a size may be is the node's to say.
  it.each([
    ['/', undefined], ['/a:1.5G', 'CACHE_REFUSED'], ['/a:1T', 'CACHE_REFUSED'], ['/a:lots', 'VOLUME_INVALID'],
    ['/a', 'JOB_INVALID'], ['a:1G', 'JOB_INVALID'], ['/a:', 'JOB_INVALID'], ['/a:1G;/b', 'JOB_INVALID'], ['/a:1G,bs=1', 'JOB_INVALID'], ['/a:/etc:1G', 'JOB_INVALID'],
  ])('what is to be written to: %s', async (writable, code) => {
    const pinned = Effect.flatMap(Wlm.Wlm, (wlm) => wlm.pin({ image: images[0]?.reference ?? '', volumes: [], writable: [writable] }, userA))
    const end = await Effect.runPromise(Effect.either(Effect.provide(pinned, Layer.provide(Wlm.layer(local()), udiLayer(node.prefix)))))
    expect(end._tag === 'Left' ? end.left.code : undefined).toBe(code)
  })
})

describe('the suite finds', () => {
  const good = local()
  const broken: ReadonlyArray<readonly [string, Partial<Wlm.WlmAdapter>, string]> = [
    ['an id that is taken as it is', { jobOf: ({ LOCAL_JOB_ID: id }) => Effect.succeed(id === undefined ? undefined : { job: id, uid: 1, gid: 1, nodes: [], request: undefined }) }, 'refuses or understands any LOCAL_JOB_ID of job 1'],
    ['an adapter that dies', { jobOf: ({ LOCAL_JOB_ID: id }) => (id === undefined ? Effect.succeed(undefined) : Effect.die('no')) }, 'refuses or understands any LOCAL_JOB_USER of job 1'],
    ['a job where there is none', { jobOf: () => Effect.succeed({ job: 'local-1', uid: 1, gid: 1, nodes: [], request: undefined }) }, 'finds no job where there is none'],
    ['what depends on the time', { render: Effect.sync(() => [{ name: 'a', mode: 0o644, content: `${Math.floor(Date.now() / 1000)}\n` }]) }, 'renders the same bytes each time'],
    ['a file elsewhere', { render: Effect.succeed([{ name: '../../etc/cron.d/x', mode: 0o644, content: 'x\n' }]) }, 'renders files that can be installed'],
    ['a file that others may write', { render: Effect.succeed([{ name: 'x', mode: 0o666, content: 'x\n' }]) }, 'renders files that can be installed'],
    ['a setuid file', { render: Effect.succeed([{ name: 'x', mode: 0o4755, content: 'x\n' }]) }, 'renders files that can be installed'],
    ['no checks', { check: Effect.succeed([]) }, 'checks a node by names and details'],
  ]
  it.each(broken)('%s', async (_, parts, name) => {
    const found = adapterCases({ ...good, ...parts }, localSamples).find((one) => one.name === name)
    expect(Exit.isFailure(await Effect.runPromise(Effect.exit(found?.check ?? Effect.void)))).toBe(true)
  })

  const work = useWorkspace('broken-jobs')
  it.each<readonly [string, (batch: Wlm.BatchJobs) => Partial<Wlm.BatchJobs>, string]>([
    ['a shell that reads the words', ({ submit }) => ({ submit: (one) => submit({ ...one, command: ['/bin/sh', '-c', one.command.join(' ')] }) }), 'hands a program its words as they are'],
    ['a status that is lost', ({ state }) => ({ state: (id) => Effect.map(state(id), (found) => (found._tag === 'Ended' ? { ...found, status: 0 } : found)) }), "keeps a program's status"],
    ['a job that nobody cancels', () => ({ cancel: () => Effect.void }), 'leaves no job to whoever is interrupted'],
    ['another directory', ({ submit }) => ({ submit: (one) => submit({ ...one, directory: '/' }) }), 'runs a program in its directory'],
    ['a job that nobody gave', () => ({ state: () => Effect.succeed({ _tag: 'Running' }) }), 'knows no job of an id that it never gave'],
  ])('%s', async (_, break_, name) => {
    const { batch } = local()
    let submitted: readonly string[] = []
    const noted = { ...batch, submit: (one: Wlm.BatchJob) => Effect.tap(batch.submit(one), (id) => Effect.sync(() => { submitted = [...submitted, id] })) }
    const found = jobCases({ ...noted, ...break_(noted) }, work.path).find((one) => one.name === name)
    const exit = await Effect.runPromise(Effect.exit(found?.check ?? Effect.void))
    await Effect.runPromise(Effect.forEach(submitted, batch.cancel))
    expect(Exit.isFailure(exit)).toBe(true)
  })
})
