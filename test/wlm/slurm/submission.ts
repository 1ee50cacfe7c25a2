/** What a user asks for when he submits: the options in every command, what they give the job, and what is refused before there is a job. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { own, userA } from '../../harness/people.js'
import { of } from './jobs.js'
import { as, batch, clean, cluster, ended, image, plugstack, pull, said, shifter, state, submit, told } from './site.js'

/** Nothing waits or runs: what was refused is no job. */
const noJobs = async (): Promise<void> => expect(await cluster().root('squeue', '--noheader', '--states=pending,running,configuring')).toBe('')

export const submission = (): void => {
  afterEach(async (context) => {
    plugstack()
    await clean(context)
  })

  it('takes --image in sbatch, #SBATCH, salloc and srun', async () => {
    expect(await batch(userA, `srun ${shifter} cat /which`, of('one'))).toBe('one\n')
    expect(await batch(userA, `#!/bin/sh\n#SBATCH ${of('two')}\nsrun ${shifter} cat /which\n`)).toBe('two\n')
    expect(await said(userA, 'salloc', of('three'), 'srun', shifter, 'cat', '/which')).toBe('three\n')
    expect(await said(userA, 'srun', of('one'), '--nodes=2', shifter, 'cat', '/which')).toBe('one\none\n')
    // The command line is stronger than the script.
    expect(await batch(userA, `#!/bin/sh\n#SBATCH ${of('two')}\nsrun ${shifter} cat /which\n`, of('one'))).toBe('one\n')
  })

  it('tells the job what it has, and what was asked for', async () => {
    const { record, reference } = image('one')
    const [type, ...name] = reference.split(':')
    const printed = await batch(userA, 'env | grep ^SHIFTER_ | sort', of('one'), '--volume=/shared:/b', '--volume=/shared:/a:ro')
    expect(printed.trimEnd().split('\n')).toEqual([
      `SHIFTER_IMAGE=${record.id}`, `SHIFTER_IMAGEREQUEST=${type}:${name.join(':')}`, 'SHIFTER_IMAGETYPE=id', expect.stringMatching(/^SHIFTER_JOB_ID=\d+$/), 'SHIFTER_VOLUME=/shared:/a:ro;/shared:/b',
    ])
  })

  it('keeps the image of the submission, whatever its name means later', async () => {
    await pull('moving', 'before')
    const job = await submit(userA, `srun ${shifter} cat /which`, [of('moving'), '--hold'])
    await pull('moving', 'after')
    const later = await submit(userA, `srun ${shifter} cat /which`, [of('moving')])
    await cluster().root('scontrol', 'release', job.id)
    expect([await ended(job.id), await ended(later.id)]).toEqual([['COMPLETED'], ['COMPLETED']])
    expect([job.output(), later.output()]).toEqual(['before\n', 'after\n'])
  })

  describe.each(['sbatch', 'salloc', 'srun'])('%s', (command) => {
    const tail = command === 'sbatch' ? ['--wrap=true'] : ['true']
    it.each([
      ['an image that there is not', '--image=docker:there/is:none', 'IMAGE_NOT_FOUND'],
      ['an image that is no reference', '--image=docker:../../etc', 'REFERENCE_INVALID'],
      ['a type that there is not', '--image=tape:x', 'IMAGE_NOT_FOUND'],
      ['a local directory that is not allowed', '--image=local:/', /[A-Z_]+/],
    ] as const)('refuses %s', async (_, option, code) => {
      const { status, stderr } = await as(userA, [command, option, ...tail])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(typeof code === 'string' ? new RegExp(`\\b${code}\\b: .+`) : code)
      await noJobs()
    })

    it.each([
      ['a volume on what is not for users', '--volume=/shared:/etc', 'VOLUME_INVALID'],
      ['a volume that is none', '--volume=nonsense', 'VOLUME_INVALID'],
      ['a module that there is not', '--module=absent', 'MODULE_REFUSED'],
    ])('refuses %s', async (_, option, code) => {
      const { status, stderr } = await as(userA, [command, of('one'), option, ...tail])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(new RegExp(`\\b${code}\\b: .+`))
      await noJobs()
    })

    it('refuses an image of somebody else as one that is not there', async () => {
      const { status, stderr } = await as(userA, [command, of('secret'), ...tail])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(/\bIMAGE_NOT_FOUND\b/)
      expect(stderr).not.toContain(image('secret').record.id)
      await noJobs()
    })
  })

  it('shows volumes of the user', async () => {
    writeFileSync(join(cluster().shared, 'hello'), 'from outside\n')
    expect(await batch(userA, `srun ${shifter} cat /data/hello`, of('one'), '--volume=/shared:/data')).toBe('from outside\n')
  })

  it('runs the entry point of the image where it is asked to', async () => {
    expect(await batch(userA, `srun ${shifter} cat /which`, of('one'), '--entrypoint=/bin/echo')).toBe('cat /which\n')
  })

  it('gives no image to what is started with --no-shifter', async () => {
    const script = `#!/bin/sh\n#SBATCH ${of('one')}\nenv | grep -c ^SHIFTER_IMAGE`
    const job = await submit(userA, `${script}; exec sleep 600\n`, ['--no-shifter'])
    await told(job, /^0\n/)
    await cluster().root('scancel', '--full', job.id)
    expect(await ended(job.id)).toEqual(['CANCELLED'])
  })

  it('has the long forms alone where the site says so', async () => {
    plugstack('long_options')
    const { reference } = image('two')
    expect(await batch(userA, `srun ${shifter} cat /which`, `--shifter.image=${reference}`, '--shifter.volume=/shared:/x')).toBe('two\n')
    expect(await batch(userA, `#!/bin/sh\n#SBATCH --shifter.image=${reference}\nsrun ${shifter} cat /which\n`)).toBe('two\n')
    expect((await as(userA, ['srun', of('two'), 'true'])).stderr).toMatch(/unrecognized option/)
    await noJobs()
  })

  it('tells of words of plugstack.conf that it does not know', async () => {
    plugstack('enable_sshd=1')
    const { status, stderr } = await as(userA, ['srun', 'true'])
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/enable_sshd/)
    await noJobs()
  })

  describe('where every task runs inside', () => {
    const inside = (): void => plugstack('tasks=inside')

    it('a step needs no shifter, and the script is outside', async () => {
      inside()
      const printed = await batch(userA, '[ -e /which ] || echo outside; srun --nodes=2 cat /which; srun which-is-not-there; echo $?', of('two'), '--nodes=2')
      expect(printed).toMatch(/^outside\ntwo\ntwo\n[^]*\n(127|2)\n$/)
      expect(await said(userA, 'srun', of('one'), 'sh', '-c', 'echo $NAME_OF_IMAGE $SLURM_PROCID; cat /which')).toBe('one 0\none\n')
    })

    it('statuses and signals are the program’s', async () => {
      inside()
      expect(await as(userA, ['srun', of('one'), 'sh', '-c', 'exit 7'])).toMatchObject({ status: 7 })
      expect(await as(userA, ['srun', of('one'), 'sh', '-c', 'kill -9 $$'])).toMatchObject({ status: 137 })
    })

    it('a step with --no-shifter is outside, and so is a job without an image', async () => {
      inside()
      expect(await batch(userA, 'srun --no-shifter sh -c "[ -e /which ] || echo outside"', of('one'))).toBe('outside\n')
      expect(await said(userA, 'srun', 'sh', '-c', '[ -e /which ] || echo outside')).toBe('outside\n')
    })

    it('what the site’s task prologue sets is there', async () => {
      inside()
      const file = join(cluster().etc, 'task-prologue')
      writeFileSync(file, '#!/bin/sh\necho export OF_SITE=yes\n')
      chmodSync(file, 0o755)
      expect(await said(userA, 'srun', of('one'), `--task-prolog=${file}`, 'sh', '-c', 'echo $OF_SITE; cat /which')).toBe('yes\none\n')
    })
  })

  describe('--image-pull', () => {
    let program = ''
    /** A shifterimg of the site that does as it is told: the pull's own tests are elsewhere. */
    const shifterimg = (script: string): void => {
      writeFileSync(program, `#!/bin/sh\n${script}\n`)
      chmodSync(program, 0o755)
      plugstack(`shifterimg=${program}`)
    }
    beforeAll(() => {
      program = join(cluster().etc, 'shifterimg')
    })

    it('pulls, shows how it goes, and then submits', async () => {
      shifterimg('echo "pulling $*" >&2')
      const { status, stderr, stdout } = await as(userA, ['srun', of('one'), '--image-pull', shifter, 'cat', '/which'])
      expect({ status, stdout }).toEqual({ status: 0, stdout: 'one\n' })
      expect(stderr).toMatch(new RegExp(`pulling .*pull.*${image('one').reference.slice(-20)}`))
    })

    it('submits nothing when the pull fails, takes too long or is interrupted', async () => {
      shifterimg('echo "shifterimg: IMAGE_NOT_FOUND: no such image" >&2; exit 3')
      const failed = await as(userA, ['sbatch', '--image=docker:nothing', '--image-pull', '--wrap=true'])
      expect(failed.status).not.toBe(0)
      expect(failed.stderr).toMatch(/IMAGE_NOT_FOUND/)
      const ends = join(cluster().shared, 'ends')
      mkdirSync(ends)
      own(ends, userA, 0o755)
      shifterimg(`trap 'touch ${ends}/given-up; exit 1' INT TERM; touch ${ends}/begun; while :; do sleep 0.1; done`)
      const late = await as(userA, ['sbatch', of('one'), '--image-pull=1', '--wrap=true'])
      expect(late.status).not.toBe(0)
      expect(existsSync(join(ends, 'given-up'))).toBe(true)
      const stopped = await as(userA, ['timeout', '--signal=INT', '1', 'sbatch', of('one'), '--image-pull', '--wrap=true'])
      expect(stopped.status).not.toBe(0)
      await noJobs()
    })
  })

  it('pins what a step of another image asks for', async () => {
    const job = await submit(userA, `srun ${of('two')} ${shifter} cat /which; srun ${shifter} cat /which`, [of('one')])
    await state(job.id, /COMPLET|RUNNING|PENDING/)
    expect(await ended(job.id)).toEqual(['COMPLETED'])
    expect(job.output()).toBe('two\none\n')
  })
}
