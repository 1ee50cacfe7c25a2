/** What is rarer than a batch script with an image: how jobs are submitted otherwise, options in several places, and requests that hurt. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { userA } from '../../harness/people.js'
import { NODES } from '../../harness/slurm.js'
import { JOINS, of } from './jobs.js'
import { as, batch, clean, cluster, plugstack, said, shifter } from './site.js'

export const unusual = (): void => {
  afterEach(async (context) => {
    plugstack()
    for (const name of NODES) expect(await cluster().root('scontrol', 'show', 'node', name)).not.toMatch(/DRAIN|Reason=/)
    await clean(context)
  })

  it('a request that no prologue could be started with is refused, in a script too', async () => {
    const volumes = Array.from({ length: 40 }, (_, i) => `--volume=/shared/${`${'x'.repeat(199)}/`.repeat(10)}:/data/${i}`)
    for (const [options, script] of [[volumes, 'true'], [[], `#!/bin/sh\n${volumes.map((volume) => `#SBATCH ${volume}\n`).join('')}true\n`]] as const) {
      const { status, stderr } = await as(userA, ['sbatch', of('one'), ...options], { input: script.startsWith('#!') ? script : `#!/bin/sh\n${script}\n` })
      expect(status).not.toBe(0)
      expect(stderr).toMatch(/\bUSAGE\b: .*65536/)
    }
    expect(await cluster().root('squeue', '--noheader')).toBe('')
  })

  it('volumes of the script and of the command line add up; of an image the last one counts', async () => {
    const script = `#!/bin/sh\n#SBATCH --volume=/shared:/a ${of('two')}\necho $SHIFTER_VOLUME; srun ${shifter} cat /which\n`
    expect(await batch(userA, script, '--volume=/shared:/b', of('three'), of('one'))).toBe('/shared:/a;/shared:/b\none\n')
  })

  it.each(['NONE', 'NIL', 'PATH'])('the image is there with --export=%s', async (exported) => {
    expect(await batch(userA, `srun --export=ALL ${shifter} cat /which; { ${JOINS}; }`, of('one'), `--export=${exported}`)).toBe('one\n1\n')
    expect(await said(userA, 'srun', of('two'), `--export=${exported}`, shifter, '/bin/cat', '/which')).toBe('two\n')
  })

  it('sbatch --wrap, and srun --overlap beside another step', async () => {
    expect(await batch(userA, `srun sleep 3 & srun --overlap ${shifter} cat /which; wait`, of('one'))).toBe('one\n')
    const { status, stdout } = await as(userA, ['sbatch', '--wait', '--output=/dev/null', of('two'), `--wrap=srun ${shifter} grep -q two /which`])
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^Submitted/) as string })
  })

  it('salloc runs its command where it was called, and that has the image too', async () => {
    expect(await said(userA, 'salloc', of('two'), shifter, 'cat', '/which')).toBe('two\n')
  })

  it('the interactive step of salloc joins', async () => {
    const etc = join(cluster().shared, 'interactive')
    mkdirSync(etc)
    cpSync(join(cluster().etc, 'plugstack.conf'), join(etc, 'plugstack.conf'))
    writeFileSync(join(etc, 'slurm.conf'), `${readFileSync(cluster().conf, 'utf8')}\nLaunchParameters=use_interactive_step\nInteractiveStepOptions="--interactive --preserve-env $SHELL"\n`)
    for (const words of [[], ['tasks=inside']]) {
      plugstack(...words)
      cpSync(join(cluster().etc, 'plugstack.conf'), join(etc, 'plugstack.conf'))
      const { status, stderr, stdout } = await as(userA, ['salloc', of('one')], { env: { SLURM_CONF: join(etc, 'slurm.conf'), SHELL: '/bin/sh' }, input: `[ -e /which ] || echo outside; ${JOINS}; ${shifter} cat /which; exit\n` })
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'outside\n1\none\n', stderr: expect.stringMatching(/^salloc: /) as string })
    }
  })

  it('root submits for a user by becoming him: --uid is refused, since what root may use says nothing of what the user may', async () => {
    const { status, stderr } = await as({ ...userA, name: 'root', uid: 0, gid: 0 }, ['sbatch', `--uid=${userA.uid}`, of('one'), '--wrap=true'])
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/\bCALLER_IS_ROOT\b/)
    expect(await cluster().root('squeue', '--noheader')).toBe('')
  })

  it('nodes and tasks are told inside by variables, and by no file', async () => {
    const printed = await said(userA, 'srun', of('one'), '--nodes=2', '--ntasks=3', shifter, 'sh', '-c', 'echo $SLURM_JOB_NODELIST $SLURM_TASKS_PER_NODE $SLURM_STEP_TASKS_PER_NODE; test ! -e /var/hostsfile')
    expect(printed).toBe('n[1-2] 2,1 2,1\n'.repeat(3))
  })

  describe('a step', () => {
    it('with --no-shifter has no image, whatever its job has', async () => {
      expect(await batch(userA, 'srun --no-shifter sh -c "env | grep -c SHIFTER_IMAGE || true"; srun env | grep -c ^SHIFTER_IMAGE', of('one'))).toBe('0\n3\n')
    })

    it('with its own volumes has those, and the job’s image', async () => {
      expect(await batch(userA, `srun --volume=/shared:/here ${shifter} sh -c 'cat /which; [ -d /here ] && echo here'`, of('one'))).toBe('one\nhere\n')
    })
  })
}
