/** Jobs whose processes have a mount namespace of their own: where slurmd has one, and where every job has. */
import { readFileSync } from 'node:fs'
import { afterEach, expect, it } from 'vitest'
import { userA, userB } from '../../harness/people.js'
import { NODES } from '../../harness/slurm.js'
import { JOINS, of } from './jobs.js'
import { batch, clean, cluster, ended, shifter, submit, told } from './site.js'

/** Mounts of roots that a node's slurmd sees. */
const mounted = (): string[] =>
  NODES.flatMap((name) => readFileSync(`/proc/${cluster().pid(name)}/mountinfo`, 'utf8').split('\n').filter((line) => /\/pins[ /]| - (squashfs|overlay) .*(loop|shifter)/.test(line)))

/** `joins`: whether steps are in the namespace that was prepared, and not only over the image that the preparation holds. */
export const elsewhere = (joins: boolean) => (): void => {
  afterEach(async (context) => {
    await clean(context)
    expect(mounted()).toEqual([])
  })

  it('see their own image on both nodes, also when they share them', async () => {
    const show = `srun ${shifter} cat /which; ${JOINS}`
    const printed = await Promise.all([batch(userA, show, of('one'), '--nodes=2'), batch(userA, show, of('two'), '--nodes=2'), batch(userB, show, of('secret'), '--nodes=2')])
    const joined = joins ? 1 : 0
    expect(printed).toEqual(['one', 'two', 'secret'].map((name) => `${name}\n${name}\n${joined}\n`))
  })

  it('see their own /tmp inside', async () => {
    expect(await batch(userA, `f=/tmp/of-job-$SLURM_JOB_ID; echo mine > $f; srun ${shifter} cat $f; rm $f`, of('one'))).toBe('mine\n')
  })

  it('leave nothing when they are cancelled', async () => {
    const job = await submit(userA, `srun ${shifter} sh -c 'cat /which; while :; do :; done'`, [of('one'), '--nodes=2'])
    await told(job, /^one\none\n$/)
    await cluster().root('scancel', '--full', job.id)
    expect(await ended(job.id)).toEqual(['CANCELLED'])
  })

  it('leave nothing when slurmd was killed meanwhile, and is another one afterwards', async () => {
    const job = await submit(userA, `srun ${shifter} cat /which; exec sleep 600`, [of('one'), '--nodelist=n1'])
    await told(job, /^one\n$/)
    await cluster().kill('n1')
    await cluster().start('n1')
    await cluster().root('scancel', '--full', job.id)
    expect(await ended(job.id)).toEqual(['CANCELLED'])
    expect(await batch(userA, `srun ${shifter} cat /which`, of('two'), '--nodelist=n1')).toBe('two\n')
  })
}
