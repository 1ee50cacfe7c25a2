/** Conversions as jobs of a real Slurm: the same image as without it, and nothing left, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import { type Errors, pullImage } from 'shifter-sdk'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { run as runJob } from '../../src/core/Batch.js'
import { adapter } from '../../src/wlm/slurm/index.js'
import { failure } from '../harness/gateway.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { type Layer, writeLayout } from '../harness/ociLayout.js'
import { run } from '../harness/process.js'
import { testSite } from '../harness/site.js'
import { type SlurmCluster, startSlurm, until } from '../harness/slurm.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const shifterimg = fileURLToPath(new URL('../../dist/bin/shifterimg.js', import.meta.url))
const work = useWorkspace('conversions')
let slurm: SlurmCluster

beforeAll(async () => {
  await built()
  slurm = await startSlurm(work.at('slurm'))
  mkdirSync(work.at('shared'), { mode: 0o700 })
})
afterAll(() => slurm.stop())
afterEach(async () => {
  await slurm.drain()
  expect(readdirSync(work.at('shared'))).toEqual([])
})

const plain: readonly Layer[] = [
  [{ name: 'etc', type: 'dir' }, { name: 'etc/a', type: 'file', data: 'a'.repeat(300_000) }, { name: 'gone', type: 'file', data: 'x' }],
  [{ name: '.wh.gone', type: 'file', data: '' }, { name: 'etc/b', type: 'hardlink', linkname: 'etc/c' }, { name: 'etc/c', type: 'file', data: 'c' }].reverse() as Layer,
]
let count = 0
/** A reference that no other test has pulled. */
const image = (layers: readonly Layer[] = plain, diffIds?: readonly string[]): string => {
  const directory = work.at(`layout-${++count}`)
  writeLayout(directory, { tag: 'v1', layers: [...layers, [{ name: `only-${count}`, type: 'file', data: '' }]], diffIds })
  return `oci:${directory}:v1`
}
const configured = (name: string, conversions: Readonly<Record<string, unknown>> = {}, config = slurm.conf) => {
  const site = testSite(work.at(name))
  const system = { ...site.config.systems.test, slurm: { config } }
  return { ...site.config, systems: { test: system }, conversions: { wlm: 'slurm' as const, directory: work.at('shared'), prefix: DEFAULT_PREFIX, ...conversions } }
}
const jobs = async (...states: readonly string[]): Promise<readonly string[]> =>
  (await slurm.root('squeue', '--noheader', `--states=${states.join(',') || 'pending,running,completing'}`, '--format=%i')).split('\n').filter(Boolean)
/** A directory of programs for nodes, one of them another than it should be. */
const nodePrograms = (name: string, programs: Readonly<Record<string, string>>): string => {
  const bin = work.at(name, 'bin')
  mkdirSync(bin, { recursive: true })
  for (const [program, text] of Object.entries(programs)) {
    writeFileSync(join(bin, program), text)
    chmodSync(join(bin, program), 0o755)
  }
  return work.at(name)
}
const real = (program: string): string => `#!/bin/sh\nexec ${DEFAULT_PREFIX}/bin/${program} "$@"\n`

describe('a conversion as a job', () => {
  it('makes the image that this machine would', async () => {
    const reference = image()
    const here = await pullImage(reference, { config: testSite(work.at('here')).config })
    const there = await pullImage(reference, { config: configured('there') })
    expect([there.id, there.imageSha256, there.entries]).toEqual([here.id, here.imageSha256, here.entries])
    expect(await jobs('completed')).toHaveLength(1)
  })

  it('looks ahead where the layers ask for it', async () => {
    const twice: readonly Layer[] = [[{ name: 'f', type: 'file', data: 'first' }, { name: 'f', type: 'file', data: 'second' }]]
    const reference = image(twice)
    const here = await pullImage(reference, { config: testSite(work.at('here-twice')).config })
    const there = await pullImage(reference, { config: configured('there-twice') })
    expect(there.imageSha256).toBe(here.imageSha256)
  })

  it('is none of a small image where the site says so', async () => {
    const before = (await jobs('completed')).length
    await pullImage(image(), { config: configured('small', { fromBytes: 1_000_000 }) })
    expect((await jobs('completed')).length).toBe(before)
  })

  it('fails with what the layers are', async () => {
    const error = await failure(pullImage(image([plain[0] ?? []], [`sha256:${'0'.repeat(64)}`, `sha256:${'1'.repeat(64)}`]), { config: configured('forged') }))
    expect([error.code, error.what]).toEqual(['DIGEST_MISMATCH', expect.stringMatching(/^Layer 2 of 2/)])
  })

  it.each<readonly [string, Readonly<Record<string, string>>, Errors.ErrorCode, RegExp]>([
    ['no shifter-merge', {}, 'WLM_FAILED', /shifter-merge: not found/],
    ['another tar2sqfs', { 'shifter-merge': real('shifter-merge'), tar2sqfs: '#!/bin/sh\necho "tar2sqfs (squashfs-tools-ng) 0.9.0"\n' }, 'TOOL_UNSUITABLE', /no tar2sqfs \d/],
    ['a full disk', { 'shifter-merge': real('shifter-merge'), tar2sqfs: '#!/bin/sh\n[ "$1" = --version ] && exec /usr/bin/tar2sqfs --version\necho "No space left on device" >&2\nexit 1\n' }, 'STORAGE_FULL', /No space left/],
    ['a merge that was killed', { 'shifter-merge': '#!/bin/sh\nkill -9 $$\n' }, 'WLM_FAILED', /did not do it/],
    ['a packer that lies', { 'shifter-merge': real('shifter-merge'), tar2sqfs: '#!/bin/sh\n[ "$1" = --version ] && exec /usr/bin/tar2sqfs --version\ncat >/dev/null\nfor file; do :; done\nprintf hsqs >"$file"\n' }, 'IMAGE_VERIFY_FAILED', /not what was written/],
  ])('fails clearly on a node with %s', async (name, programs, code, what) => {
    const error = await failure(pullImage(image(), { config: configured('broken', { prefix: nodePrograms(name.replaceAll(' ', '-'), programs) }) }))
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(what)])
  })

  it.each<readonly [string, () => Readonly<Record<string, unknown>>, Errors.ErrorCode, RegExp]>([
    ['the options are none of sbatch', () => ({ options: ['--no-such-option'] }), 'WLM_REFUSED', /does not take the job: .*no-such-option/],
    ['the partition is not there', () => ({ options: ['--partition=none'] }), 'WLM_REFUSED', /invalid partition/i],
    ['the directory is not there', () => ({ directory: work.at('nowhere') }), 'STATE_UNUSABLE', /ENOENT/],
    ['others may write to the directory', () => ({ directory: slurm.shared }), 'STATE_UNUSABLE', /others may write there/],
  ])('is not begun where %s', async (_, conversions, code, what) => {
    const error = await failure(pullImage(image(), { config: configured('wrong', conversions()) }))
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(what)])
  })

  it('waits for no controller that is away', async () => {
    const conf = work.at('away.conf')
    writeFileSync(conf, readFileSync(slurm.conf, 'utf8').replace(/^SlurmctldPort=.*$/m, 'SlurmctldPort=1').concat('MessageTimeout=2\n'))
    const error = await failure(pullImage(image(), { config: configured('away', {}, conf) }))
    expect(error.code).toBe('WLM_MISSING')
  })

  it('is lost with a job that somebody cancels', async () => {
    const pulled = failure(pullImage(image(), { config: configured('cancelled', { options: ['--begin=now+1hour'] }) }))
    const [id = ''] = await until('a job', () => jobs('pending'), (found) => found.length === 1)
    await slurm.root('scancel', id)
    const error = await pulled
    expect([error.code, error.what]).toEqual(['WLM_FAILED', expect.stringContaining('ended with CANCELLED')])
  })

  it.each([
    ['waits', { options: ['--begin=now+1hour'] }, 'pending'],
    ['runs', { prefix: '' }, 'running'],
  ])('goes with the pull that asked for it, while it %s', async (_, conversions, state) => {
    const started = work.at(`started-${state}`)
    const hanging = nodePrograms(`hanging-${state}`, { 'shifter-merge': `#!/bin/sh\ntouch ${started}\nexec sleep 1000\n` })
    const stop = new AbortController()
    const pulled = failure(pullImage(image(), { config: configured(`stopped-${state}`, 'prefix' in conversions ? { prefix: hanging } : conversions), signal: stop.signal }))
    await until('a job', () => jobs(state), (found) => found.length === 1)
    if (state === 'running') await until('its program', () => readdirSync(work.path), (names) => names.includes(`started-${state}`))
    stop.abort()
    expect((await pulled).code).toBe('CANCELLED')
    expect(await jobs('pending', 'running')).toEqual([])
  })

  it('of a gateway that is killed is ended by the next one', async () => {
    const config = configured('killed', { options: ['--begin=now+1hour'] })
    const file = work.at('killed.json')
    writeFileSync(file, JSON.stringify(config))
    const reference = image()
    const gateway: ChildProcess = spawn(process.execPath, [shifterimg, '--config', file, 'pull', reference], { stdio: 'ignore' })
    const ended = new Promise((resolve) => gateway.once('close', resolve))
    const [job] = await until('a job', () => jobs('pending'), (found) => found.length === 1)
    await until('what it tells its job', () => readdirSync(work.at('shared')).flatMap((name) => readdirSync(work.at('shared', name))), (names) => names.includes('job'))
    gateway.kill('SIGKILL')
    await ended
    expect(await jobs('pending')).toEqual([job])
    await pullImage(reference, { config: { ...config, conversions: { ...config.conversions, options: [] } } })
    expect(await jobs('pending')).toEqual([])
  })

  it('of nobody ends by itself', async () => {
    // As a gateway leaves it that dies between submission and telling.
    const directory = work.at('shared', 'conversion-unknown')
    mkdirSync(directory)
    const { script } = await import('../../src/core/ConversionJob.js')
    writeFileSync(join(directory, 'convert'), script(1))
    const ended = await Effect.runPromise(
      runJob(adapter({ config: slurm.conf }).batch, { name: 'unknown', command: ['/bin/sh', join(directory, 'convert'), directory, DEFAULT_PREFIX, '1.2.0'], directory, output: join(directory, 'log') }),
    )
    expect(ended).toMatchObject({ status: 3 })
    expect((await run(['rm', '-r', directory])).status).toBe(0)
  })
})

describe('a job of the gateway', () => {
  const job = (command: readonly [string, ...string[]], output = work.at('out.%j')) => ({ name: 'probe', command, directory: work.path, output })
  const batch = () => adapter({ config: slurm.conf }).batch

  it('gets its words as they are, and ends with its status', async () => {
    const words = ['a b', '$(touch /tmp/x)', "'", '"', '*', '\n', 'é', '--help', '', '#SBATCH --array=1-9']
    const ended = await Effect.runPromise(runJob(batch(), job(['/bin/sh', '-c', 'printf "<%s>" "$@"; exit 7', 'sh', ...words])))
    expect(ended.status).toBe(7)
    // `%j` is no pattern here.
    expect(readFileSync(work.at('out.%j'), 'utf8')).toBe(words.map((word) => `<${word}>`).join(''))
  })

  it('is told from jobs whose names pretend to be it', async () => {
    const id = await Effect.runPromise(batch().submit(job(['/bin/sleep', '1000'], '/dev/null')))
    await slurm.root('sbatch', '--wrap=true', '--output=/dev/null', `--job-name=${id}                  COMPLETED                     0\n${id} COMPLETED 0`)
    await until('its start', () => Effect.runPromise(batch().state(id)), (state) => state._tag === 'Running')
    await until('the end of the other', () => slurm.root('squeue', '--noheader', '--states=completed', '--format=%j'), (names) => names.includes(`${id} COMPLETED 0`))
    expect((await Effect.runPromise(batch().state(id)))._tag).toBe('Running')
    await Effect.runPromise(batch().cancel(id))
    await until('its end', () => Effect.runPromise(batch().state(id)), (state) => state._tag === 'Ended')
    // Again, of one that has ended, and of one that never was.
    await Effect.runPromise(batch().cancel(id))
    await Effect.runPromise(batch().cancel('999999'))
    expect(await Effect.runPromise(batch().state('999999'))).toEqual({ _tag: 'Lost' })
  })

  it('is cancelled when whoever waits for it is interrupted at once', async () => {
    await Effect.runPromise(Effect.flatMap(Effect.fork(runJob(batch(), job(['/bin/sleep', '1000'], '/dev/null'))), (fiber) => Effect.zipRight(Effect.sleep('50 millis'), Fiber.interrupt(fiber))))
    expect(await jobs('pending', 'running')).toEqual([])
  })
})
