/** Values that a user puts where the plugin leaves its own: they give an error, and change nothing else. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { userA, userB } from '../../harness/people.js'
import { runOk } from '../../harness/process.js'
import { NODES, until } from '../../harness/slurm.js'
import { JOINS, of } from './jobs.js'
import { as, clean, cluster, ended, fields, image, roots, shifter, submit, told } from './site.js'

let forge = ''
let count = 0
const TOUCHED = '/run/shifter-slurm-test-touched'

/** A job whose prologue is told this, by a client of the user's own: what it had prepared when it ran. */
const forged = async (settings: readonly string[]): Promise<string[]> => {
  const output = join(cluster().shared, `forged-${++count}`)
  const { status, stderr, stdout } = await as(userA, [forge, output, '#!/bin/sh\necho up\nexec sleep 600\n', ...settings])
  if (status !== 0) throw new Error(`forge ended with ${status}: ${stderr}`)
  const id = stdout.trim()
  await until(`job ${id}`, () => existsSync(output) && readFileSync(output, 'utf8'), (text) => text === 'up\n')
  // What setupRoot refuses leaves at most an empty directory, which the epilogue takes away.
  const prepared = (await roots(id)).filter((root) => root.endsWith(' ready'))
  await cluster().root('scancel', '--full', id)
  expect(await ended(id)).toEqual(['CANCELLED'])
  return prepared
}

/** SPANK_ is put before the name by Slurm, or by whoever forges. */
const spank = (name: string, value: string): readonly string[] => [`SPANK_${name}=${value}`, `${name}=${value}`]
const request = (image_: string, type = 'id', ...more: readonly string[]): readonly string[] => [...spank('SHIFTER_IMAGETYPE', type), ...spank('SHIFTER_IMAGE', image_), ...more]

export const hostile = (): void => {
  beforeAll(async () => {
    forge = join(cluster().etc, 'forge')
    await runOk(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-o', forge, fileURLToPath(new URL('forge.c', import.meta.url)), '-lslurm'])
    rmSync(TOUCHED, { force: true })
  })
  afterEach(async (context) => {
    expect(existsSync(TOUCHED)).toBe(false)
    await clean(context)
  })

  it('a forged request that is good is prepared: the tests below are of what a prologue sees', async () => {
    expect(await forged(request(image('one').record.id))).toEqual([`n1 ${userA.uid} ready`])
  })

  const values: readonly (readonly [what: string, settings: () => readonly string[]])[] = [
    ['an image of somebody else', () => request(image('secret').record.id)],
    ['a path for an id', () => request('../../../etc/passwd')],
    ['a command of a shell', () => request(`$(touch ${TOUCHED})`)],
    ['a command after another', () => request(`x; touch ${TOUCHED}`, 'docker')],
    ['an option of setupRoot', () => request('--job=4711', '--uid=0')],
    ['a line break', () => request(`x\nSLURM_JOB_UID=0`)],
    ['a control character', () => request('x\u001b[2J')],
    ['a format', () => request('%s%s%n%n')],
    ['a very long name', () => request('x'.repeat(60_000))],
    ['a type that there is not', () => request('x', 'tape')],
    ['the root of the node', () => request('/', 'local')],
    ['an image without a type', () => spank('SHIFTER_IMAGE', image('one').record.id)],
    ['a volume over /etc', () => request(image('one').record.id, 'id', ...spank('SHIFTER_VOLUME', '/shared:/etc'))],
    ['a volume with a line break', () => request(image('one').record.id, 'id', ...spank('SHIFTER_VOLUME', '/shared:/x\n/a:/b'))],
    ['a volume of what he may not see', () => request(image('one').record.id, 'id', ...spank('SHIFTER_VOLUME', '/root:/x'))],
    ['a module that is a path', () => request(image('one').record.id, 'id', ...spank('SHIFTER_MODULE', '../../x'))],
    ['another job, user and group', () => ['SLURM_JOB_ID=1', 'SLURM_JOB_UID=0', 'SLURM_JOB_GID=0', 'SPANK_SLURM_JOB_UID=0', ...request('0'.repeat(64))]],
    ['a library to load', () => ['LD_PRELOAD=/tmp/evil.so', 'PATH=/tmp', 'SPANK_LD_PRELOAD=/tmp/evil.so', ...request('x', 'docker')]],
  ]
  it.each(values)('told to a prologue: %s', async (_, settings) => {
    expect(await forged(settings())).toEqual([])
    for (const name of NODES) expect(await cluster().root('scontrol', 'show', 'node', name)).not.toMatch(/DRAIN|Reason=/)
  })

  it('in the environment of a submission: with an option nothing is submitted and the user is told; without one no root is prepared', async () => {
    for (const [env, code] of [
      [{ SHIFTER_VOLUME: '/shared:/etc' }, 'VOLUME_INVALID'],
      [{ SHIFTER_MODULE: '../x' }, 'MODULE_[A-Z]+'],
    ] as const) {
      const { status, stderr } = await as(userA, ['sbatch', of('one'), '--wrap=true'], { env })
      expect({ env, refused: status !== 0 }).toEqual({ env, refused: true })
      expect(stderr).toMatch(new RegExp(`\\b${code}\\b`))
    }
    expect(await cluster().root('squeue', '--noheader', '--states=pending,running,configuring')).toBe('')
    const job = await submit(userA, `${shifter} true; exec sleep 600`, [], { SHIFTER_IMAGE: `$(touch ${TOUCHED})`, SHIFTER_IMAGETYPE: 'docker' })
    await told(job, /^shifter: [A-Z_]+: /)
    expect(await roots(job.id)).toEqual([])
    await cluster().root('scancel', '--full', job.id)
    await ended(job.id)
  })

  it('in the environment of a step: shifter refuses as it does anywhere, and the job keeps its root', async () => {
    const tries = [
      [`SHIFTER_IMAGE=${image('secret').record.id}`, 'IMAGE_NOT_FOUND'],
      ['SHIFTER_IMAGE=../../x', '[A-Z]+_[A-Z]+'],
      ['SHIFTER_VOLUME=/shared:/etc', 'VOLUME_INVALID'],
      ['SHIFTER_MODULE=absent', 'MODULE_REFUSED'],
    ] as const
    const script = [...tries.map(([setting]) => `env '${setting}' ${shifter} true`), `srun ${shifter} cat /which`, JOINS].join('\n')
    const job = await submit(userA, script, [of('one')])
    expect(await ended(job.id)).toEqual(['COMPLETED'])
    const lines = job.output().trimEnd().split('\n')
    for (const [i, [, code]] of tries.entries()) expect(lines[i]).toMatch(new RegExp(`^shifter: ${code}: `))
    expect(lines.slice(tries.length)).toEqual(['one', '1'])
  })

  it('another job’s number leads to no root of another user', async () => {
    const theirs = await submit(userB, 'exec sleep 600', [of('secret')])
    await expect.poll(() => roots(theirs.id), { timeout: 20_000 }).toHaveLength(1)
    const mine = await submit(userA, `for name in SHIFTER_JOB_ID SLURM_JOB_ID; do env $name=${theirs.id} ${shifter} --image=id:${image('secret').record.id} cat /which; env $name=${theirs.id} ${shifter} cat /which; done`, [of('one')])
    await ended(mine.id)
    expect(mine.output()).toMatch(/^(shifter: IMAGE_NOT_FOUND: .*\none\n){2}$/)
    expect((await fields(theirs.id))[0]?.['JobState']).toBe('RUNNING')
    await cluster().root('scancel', '--full', theirs.id)
    await ended(theirs.id)
  })
}
