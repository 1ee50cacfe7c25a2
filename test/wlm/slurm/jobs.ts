/** Jobs of every shape: each sees its own image, by a root that its prologue prepared, and leaves nothing. */
import { afterEach, expect, it } from 'vitest'
import { userA, userB } from '../../harness/people.js'
import { NODES } from '../../harness/slurm.js'
import { again, as, batch, clean, cluster, ended, fields, image, long, roots, said, shifter, state, submit, told } from './site.js'

/** Prints 1 when a start of the job would join what its prologue prepared, or else 0. */
export const JOINS = `{ ${shifter} --explain | grep -c 'prepared by setupRoot' || true; }`
export const of = (name: string): string => `--image=${image(name).reference}`

export const jobs = (): void => {
  afterEach(clean)

  it('has a root on each node, which its steps join, and which is gone with the job', async () => {
    const job = await submit(userA, `srun ${shifter} cat /which; srun sh -c "${JOINS}"; exec sleep 600`, [of('one'), '--nodes=2'])
    await told(job, /^one\none\n1\n1\n$/)
    expect(await roots(job.id)).toEqual(NODES.map((name) => `${name} ${userA.uid} ready`))
    await cluster().root('scancel', '--full', job.id)
    expect(await ended(job.id)).toEqual(['CANCELLED'])
    expect(await roots(job.id)).toEqual([])
  })

  it('shares a node with others of the same user and of another, each with its own', async () => {
    const show = `srun ${shifter} cat /which; ${JOINS}`
    const printed = await Promise.all([
      ...['one', 'two', 'three'].map((name) => batch(userA, show, of(name), '--nodelist=n1')),
      ...['one', 'secret'].map((name) => batch(userB, show, of(name), '--nodelist=n1')),
      batch(userA, show, of('one'), '--volume=/shared:/here', '--nodelist=n1'),
    ])
    expect(printed).toEqual(['one', 'two', 'three', 'one', 'secret', 'one'].map((name) => `${name}\n1\n`))
  })

  it('may be an array, each element with a root of its own', async () => {
    const printed = await batch(userA, `echo $SLURM_ARRAY_TASK_ID $(srun ${shifter} cat /which) $(${JOINS})`, of('two'), '--array=1-6')
    expect(printed).toBe([1, 2, 3, 4, 5, 6].map((i) => `${i} two 1\n`).join(''))
  })

  it('may be heterogeneous, each component with the image it asked for', async () => {
    const job = await submit(userA, `#!/bin/sh
#SBATCH --nodes=1 ${of('one')}
#SBATCH hetjob
#SBATCH --nodes=1 ${of('two')}
for i in 0 1; do srun --het-group=$i ${shifter} cat /which; srun --het-group=$i sh -c "${JOINS}"; done
srun --het-group=1 ${of('three')} ${shifter} cat /which
exec sleep 600
`)
    await told(job, /^one\n1\ntwo\n1\nthree\n$/)
    const parts = await fields(job.id)
    expect(await Promise.all(parts.map(({ JobId = '' }) => roots(JobId)))).toEqual([[expect.stringMatching(/ ready$/)], [expect.stringMatching(/ ready$/)]])
    await cluster().root('scancel', '--full', job.id)
    expect([...new Set(await ended(job.id))]).toEqual(['CANCELLED'])
  })

  it.each(['sbatch', 'salloc'])('%s: components share one environment, and each has its own image, or none where the first names none', async (command) => {
    const script = `for i in 0 1; do srun --het-group=$i ${shifter} cat /which || echo none; done 2>/dev/null; echo "script: ${'${SHIFTER_VOLUME:-}'}"; ${shifter} cat /which 2>/dev/null || echo none`
    const run = async (...components: readonly (readonly string[])[]): Promise<string> => {
      const words = components.flatMap((options, i) => [...(i === 0 ? [] : [':']), '--nodes=1', ...options])
      return command === 'sbatch' ? batch(userA, script, ...words) : said(userA, 'salloc', ...words, 'sh', '-c', script)
    }
    expect(await run([of('one')], [of('two'), '--volume=/shared:/x'])).toBe('one\ntwo\nscript: \none\n')
    expect(await run([], [of('two')])).toBe('none\ntwo\nscript: \nnone\n')
    // The first one's environment is that of all steps.
    expect(await run([of('one')], ['--no-shifter'])).toBe('one\none\nscript: \none\n')
  })

  it('keeps its image when it is put back into the queue', async () => {
    const script = `echo "$SLURM_RESTART_COUNT" $(srun ${shifter} cat /which) $(${JOINS}); [ "$SLURM_RESTART_COUNT" ] || exec sleep 600`
    const job = await submit(userA, script, [of('one'), '--requeue', '--open-mode=append'])
    await told(job, /^ one 1\n/)
    await cluster().root('scontrol', 'requeue', job.id)
    await again(job.id)
    await told(job, /\n1 one 1\n$/)
    expect(await ended(job.id)).toEqual(['COMPLETED'])
  })

  it('may be a script that a shell of the image reads', async () => {
    expect(await batch(userA, `#!${shifter} /bin/sh\ncat /which; echo $NAME_OF_IMAGE\n`, of('two'))).toBe('two\ntwo\n')
  })

  it('gives back the exit status and signals of its steps', async () => {
    expect(await as(userA, ['srun', of('one'), shifter, 'sh', '-c', 'exit 7'])).toMatchObject({ status: 7 })
    expect(await as(userA, ['srun', of('one'), shifter, 'sh', '-c', 'kill -9 $$'])).toMatchObject({ status: 137 })
  })

  it('can be had by salloc, its root ready when the allocation is', async () => {
    const printed = await said(userA, 'salloc', of('three'), '--nodes=2', 'srun', '--label', 'sh', '-c', `${JOINS}; ${shifter} cat /which`)
    expect(printed.trimEnd().split('\n').sort()).toEqual(['0: 1', '0: three', '1: 1', '1: three'])
  })

  it('costs a job without an image nothing: it has no root and no variable', async () => {
    const job = await submit(userA, 'env | grep -c ^SHIFTER_I; exec sleep 600')
    await told(job, /^0\n/)
    expect(await roots(job.id)).toEqual([])
    await cluster().root('scancel', '--full', job.id)
    expect(await ended(job.id)).toEqual(['CANCELLED'])
  })

  it.skipIf(!long)('is taken down when its time is over (long form alone: a minute is the shortest there is)', { timeout: 240_000 }, async () => {
    const job = await submit(userA, `mkfifo waiting; srun ${shifter} cat /shared/waiting`, [of('one'), '--time=1'])
    await state(job.id, /RUNNING/)
    expect(await ended(job.id, 200)).toEqual(['TIMEOUT'])
  })
}
