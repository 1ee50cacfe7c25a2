/**
 * A site with Slurm, as its administrators install it: the native programs, images, and a cluster of two nodes. And jobs of its users.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, type TestContext } from 'vitest'
import { type Account, ensureAccount } from '../../harness/accounts.js'
import { nothingLeft } from '../../harness/leftovers.js'
import { DEFAULT_PREFIX, type NativeConfig } from '../../harness/native.js'
import { useNode } from '../../harness/node.js'
import { service, userA, userB } from '../../harness/people.js'
import { type ProcessResult, runOk } from '../../harness/process.js'
import { NODES, type SlurmCluster, type SlurmOptions, startSlurm, until } from '../../harness/slurm.js'
import { pullTestImage, type TestImage } from '../../native/fixture.js'

/** One prefix for all tests with Slurm: the whole cluster lies below it. */
export const PREFIX = `${DEFAULT_PREFIX}-slurm`
export const CLUSTER = join(PREFIX, 'cluster')
/** Where each node's roots are: the machine is both nodes. */
export const runDirectory = (name: string): string => join(PREFIX, `run-${name}`)
/** In the environment of what the users of this cluster run. */
const MARK = `OF_${basename(PREFIX).replaceAll('-', '_').toUpperCase()}`

/** Users of the cluster. */
export const users: readonly Account[] = [userA, userB, await ensureAccount('shifter-tc')]

/** Many tries, and what takes minutes. */
export const long = process.env['SHIFTER_TEST_LONG'] !== undefined

const standard: Partial<NativeConfig> = {
  // The spool directories: batch scripts are there, and what PMIx shows to ranks.
  siteFs: [`${CLUSTER}/shared:/shared`, `${CLUSTER}/shared:${CLUSTER}/shared`, ...NODES.map((name) => `${CLUSTER}/spool-${name}:${CLUSTER}/spool-${name}`)],
  runtime: { runDirectory: NODES.map(runDirectory).join(' ') },
}

export const node = useNode('slurm', standard)
export const shifter = node.helper
const plugin = join(PREFIX, 'lib/shifter/shifter_slurm.so')

const made = new Map<string, TestImage>()
/** Images of the site by name; each has its name in `/which`. `secret` is for the second user alone. */
export const image = (name: string): TestImage => {
  const found = made.get(name)
  if (found === undefined) throw new Error(`no image ${name}`)
  return found
}
/** Pulls an image of a name, anew if it is there. `/which` says `text`. */
export const pull = async (name: string, text = name, allowUids?: readonly number[]): Promise<TestImage> => {
  const common = { directory: join(PREFIX, 'gateway'), imagePath: node.images, tag: name, config: { Env: ['PATH=/bin', `NAME_OF_IMAGE=${text}`] } }
  const pulled = await pullTestImage({ ...common, more: [{ name: 'which', type: 'file', data: `${text}\n` }], ...(allowUids === undefined ? {} : { allowUids, requester: service.uid }) })
  made.set(name, pulled)
  return pulled
}

let running: SlurmCluster | undefined
export const cluster = (): SlurmCluster => {
  if (running === undefined) throw new Error('the cluster exists only while its tests run')
  return running
}

/** Writes what `plugstack.conf` says; clients and steps read it when they begin. */
export const plugstack = (...args: readonly string[]): void => writeFileSync(join(cluster().etc, 'plugstack.conf'), `required ${[plugin, ...args].join(' ')}\n`)

/** Prologue and epilogue. Each node has its own run directory, which a site with a machine for each need not say. */
const scripts = (own: boolean): readonly string[] =>
  (['prologue', 'epilogue'] as const).map((name) => {
    const program = `${PREFIX}/libexec/shifter/shifter-job`
    const file = join(PREFIX, `etc/shifter/${name}`)
    writeFileSync(file, own ? `#!${program} slurm-${name}\n` : `#!/bin/sh\nexec ${program} --run-directory=${PREFIX}/run-$SLURMD_NODENAME slurm-${name}\n`, { mode: 0o755 })
    return `${name === 'prologue' ? 'Prolog' : 'Epilog'}=${file}`
  })

/** Starts a cluster for the tests of the enclosing `describe` or file; an empty one knows nothing of images. */
export const useCluster = ({ empty = false, ...options }: SlurmOptions & { readonly empty?: boolean } = {}): void => {
  beforeAll(async () => {
    rmSync(CLUSTER, { recursive: true, force: true })
    mkdirSync(CLUSTER, { recursive: true, mode: 0o755 })
    for (const name of NODES) mkdirSync(runDirectory(name), { recursive: true, mode: 0o711 })
    const config = [...scripts(options.space !== undefined), ...(options.config ?? ['PrologFlags=Alloc'])]
    const files = { 'plugstack.conf': `required ${plugin}\n`, ...options.files }
    running = await startSlurm(CLUSTER, empty ? options : { ...options, config, files })
  })
  afterAll(async () => {
    await running?.stop()
    running = undefined
  })
}

export const useImages = (): void => {
  beforeAll(async () => {
    for (const name of ['one', 'two', 'three']) await pull(name)
    await pull('secret', 'secret', [userB.uid])
  })
}

/** Runs a command on the cluster as a user, with nothing of Slurm's or ours in its environment but what is said. */
export const as = (account: Account, argv: readonly string[], options: Parameters<SlurmCluster['as']>[2] = {}): Promise<ProcessResult> =>
  cluster().as(account, argv, { timeoutMs: 60_000, ...options, env: { [MARK]: '1', ...options.env } })
/** What a command that must succeed printed. */
export const said = async (account: Account, ...argv: readonly string[]): Promise<string> => {
  const { status, stderr, stdout } = await as(account, argv)
  expect({ argv, status, stderr }).toEqual({ argv, status: 0, stderr: expect.stringMatching(/^(srun: job \d+ .*\n|salloc: .*\n)*$/) as string })
  return stdout
}

let outputs = 0
export interface Submitted {
  readonly id: string
  /** What it has printed, on standard output and error. */
  readonly output: () => string
}
/** Submits a batch script by standard input. */
export const submit = async (account: Account, script: string, options: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Submitted> => {
  const name = join(cluster().shared, `out-${++outputs}`)
  const { status, stderr, stdout } = await as(account, ['sbatch', '--parsable', `--output=${name}-%a`, ...options], { input: script.startsWith('#!') ? script : `#!/bin/sh\n${script}\n`, env })
  if (status !== 0) throw new Error(`sbatch ended with ${status}: ${stderr}`)
  const output = (): string =>
    readdirSync(cluster().shared).filter((file) => file.startsWith(`out-${name.split('out-').at(-1)}-`)).sort().map((file) => readFileSync(join(cluster().shared, file), 'utf8')).join('')
  return { id: stdout.trim(), output }
}

/** Fields of a job, or of each element of an array, as `scontrol` tells them. */
export const fields = async (id: string): Promise<readonly Readonly<Record<string, string>>[]> =>
  (await cluster().root('scontrol', 'show', 'job', '--oneliner', id)).trimEnd().split('\n').map((line) => Object.fromEntries([...line.matchAll(/(\S+?)=(\S*)/g)].map(([, key = '', value = '']) => [key, value])))
const OVER = /^(COMPLETED|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|PREEMPTED|DEADLINE)$/
/** Waits until a job is over, its epilogues too; the states in which it, or each of its elements, ended. */
export const ended = async (id: string, seconds = 60): Promise<readonly string[]> =>
  (await until(`the end of job ${id}`, () => fields(id), (jobs) => jobs.every(({ JobState = '' }) => OVER.test(JobState)), seconds)).map(({ JobState = '' }) => JobState)
export const state = async (id: string, wanted: RegExp): Promise<void> => {
  await until(`job ${id}`, () => fields(id), (jobs) => jobs.every(({ JobState = '' }) => wanted.test(JobState)))
}
/**
 * A job that is put back begins soon, and not after the two minutes that Slurm gives whoever looks for what went wrong. Not at once: a node takes
 * no job in the second in which it was told to forget it.
 */
export const again = async (id: string): Promise<void> => {
  await state(id, /PENDING/)
  await cluster().root('scontrol', 'update', `JobId=${id}`, 'StartTime=now+2')
}
/** Waits until a job has printed something. */
export const told = async (job: Submitted, wanted: RegExp): Promise<void> => {
  await until(`what job ${job.id} prints`, job.output, (text) => wanted.test(text))
}
/** Runs a batch script to its end; what it printed. */
export const batch = async (account: Account, script: string, ...options: readonly string[]): Promise<string> => {
  const { id, output } = await submit(account, script, options)
  const states = await ended(id)
  if (states.some((each) => each !== 'COMPLETED')) throw new Error(`job ${id} ended as ${states.join(' ')}: ${output()}`)
  return output()
}

/** `NODE UID STATE` of each root that is prepared for a job. */
export const roots = async (job: string): Promise<string[]> => {
  const lines = await Promise.all(NODES.map(async (name) =>
    (await runOk([node.sbin('unsetupRoot'), '--list', `--run-directory=${runDirectory(name)}`])).stdout.split('\n').slice(1).map((line) => line.split(/ +/)).filter(([id]) => id === job)
      .map(([, uid = '', , , ...rest]) => `${name} ${uid} ${rest.join(' ')}`)))
  return lines.flat().sort()
}

/** After each test, no job has left anything: no process, mount, loop device, pinned namespace or file, and both nodes serve. */
export const clean = async ({ task }: TestContext): Promise<void> => {
  // A test that failed may not have come to the end of its jobs.
  if (task.result?.state === 'fail') await cluster().drain()
  await until('idle nodes', () => cluster().root('sinfo', '--noheader', '--Node', '--format=%N=%T'), (text) => text === NODES.map((name) => `${name}=idle\n`).join(''))
  await nothingLeft(PREFIX, MARK)
  const files = NODES.flatMap((name) => readdirSync(runDirectory(name)).flatMap((part) => readdirSync(join(runDirectory(name), part)).map((entry) => `${name} ${part}/${entry}`)))
  expect(files).toEqual([])
  const kept = existsSync('/dev/shm') ? readdirSync('/dev/shm').filter((name) => name.includes('shifter')) : []
  expect(kept).toEqual([])
}
