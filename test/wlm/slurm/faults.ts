/** What goes wrong on a node: a job that is cancelled while it is prepared, a slurmd that dies, a node that is booted, a site that has no room. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { unmountBelow } from '../../harness/node.js'
import { userA } from '../../harness/people.js'
import { until } from '../../harness/slurm.js'
import { JOINS, of } from './jobs.js'
import { again, batch, clean, cluster, ended, fields, long, node, PREFIX, roots, runDirectory, shifter, submit, told } from './site.js'

const GATE = join(PREFIX, 'gate')
const REACHED = join(PREFIX, 'reached')
const HOOK = join(PREFIX, 'hook')

/** A hook of the site holds preparations up until the gate is opened. */
const closeGate = async (): Promise<{ readonly open: () => Promise<void>; readonly reached: () => Promise<void> }> => {
  rmSync(REACHED, { recursive: true, force: true })
  mkdirSync(REACHED)
  const holder: ChildProcess = spawn('flock', ['--exclusive', GATE, 'sh', '-c', 'echo held; read line'], { stdio: ['pipe', 'pipe', 'inherit'] })
  await new Promise((resolve) => holder.stdout?.once('data', resolve))
  node.configure({ udiRoot: { sitePreMountHook: HOOK } })
  const open = (): Promise<void> =>
    new Promise((resolve) => {
      if (holder.exitCode !== null) return resolve()
      holder.once('close', () => resolve())
      holder.stdin?.end('\n')
    })
  const reached = async (): Promise<void> => {
    await until('a preparation', () => readdirSync(REACHED), (names) => names.length > 0)
  }
  return { open, reached }
}

/** Waits until the controller no longer believes that a job may still begin on a node that does not tell of it (BatchStartTimeout and MessageTimeout). */
const missed = async (id: string): Promise<void> => {
  await until(`the age of job ${id}`, () => fields(id), ([found]) => (found?.['RunTime'] ?? '') >= '00:00:13')
}

export const faults = (): void => {
  let gate: Awaited<ReturnType<typeof closeGate>> | undefined
  beforeAll(() => {
    writeFileSync(GATE, '')
    writeFileSync(HOOK, `#!/bin/sh\n: > ${REACHED}/$$\nexec /usr/bin/flock --shared ${GATE} /bin/true\n`, { mode: 0o755 })
  })
  afterEach(async (context) => {
    await gate?.open()
    gate = undefined
    node.configure()
    await clean(context)
  })

  it('a job that is cancelled while its root is prepared leaves nothing', async () => {
    gate = await closeGate()
    const job = await submit(userA, 'true', [of('one'), '--nodelist=n1'])
    await gate.reached()
    await cluster().root('scancel', job.id)
    await gate.open()
    expect(await ended(job.id)).toEqual(['CANCELLED'])
    expect(await roots(job.id)).toEqual([])
  })

  it.each(long ? (['before', 'after'] as const) : (['after'] as const))('a slurmd that is killed while it prepares comes back by itself (the preparation ends %s that)', async (when) => {
    gate = await closeGate()
    const job = await submit(userA, `echo $(srun ${shifter} cat /which) $(${JOINS})`, [of('one'), '--nodelist=n1', '--requeue', '--open-mode=append'])
    await gate.reached()
    await cluster().kill('n1')
    if (when === 'before') await gate.open()
    await missed(job.id)
    await cluster().start('n1')
    await gate.open()
    node.configure()
    await again(job.id)
    expect(await ended(job.id, 120)).toEqual(['COMPLETED'])
    expect(job.output()).toBe('one 1\n')
    expect(await batch(userA, `srun ${shifter} cat /which; ${JOINS}`, of('two'), '--nodelist=n1')).toBe('two\n1\n')
  })

  it('a slurmd that is killed under a running job finds it again, and takes it down', async () => {
    const job = await submit(userA, 'echo up; exec sleep 600', [of('one'), '--nodelist=n1'])
    await told(job, /up/)
    await cluster().kill('n1')
    await cluster().start('n1')
    expect(await roots(job.id)).toEqual([`n1 ${userA.uid} ready`])
    await cluster().root('scancel', '--full', job.id)
    expect(await ended(job.id)).toEqual(['CANCELLED'])
  })

  it.each(long ? (['empty', 'as it was'] as const) : (['as it was'] as const))('a node that is booted prepares its jobs anew (its run directory is %s)', async (how) => {
    const job = await submit(userA, `echo "$SLURM_RESTART_COUNT" $(srun ${shifter} cat /which) $(${JOINS}); [ "$SLURM_RESTART_COUNT" ] || exec sleep 600`, [of('one'), '--nodelist=n1', '--requeue', '--open-mode=append'])
    await told(job, /^ one 1\n/)
    await cluster().lose('n1')
    await missed(job.id)
    await unmountBelow(runDirectory('n1'))
    if (how === 'empty') for (const name of readdirSync(runDirectory('n1'))) rmSync(join(runDirectory('n1'), name), { recursive: true, force: true })
    await cluster().start('n1')
    await again(job.id)
    await told(job, /\n1 one 1\n$/)
    expect(await ended(job.id)).toEqual(['COMPLETED'])
  })

  it('a node that can prepare nothing runs its jobs all the same, and is not drained', async () => {
    const directory = runDirectory('n1')
    rmSync(directory, { recursive: true })
    writeFileSync(directory, '')
    try {
      expect(await batch(userA, `srun ${shifter} cat /which`, of('one'), '--nodelist=n1')).toBe('one\n')
      expect(await cluster().root('scontrol', 'show', 'node', 'n1')).not.toMatch(/DRAIN|Reason=/)
    } finally {
      rmSync(directory)
      mkdirSync(directory, { mode: 0o711 })
    }
    expect(existsSync(directory)).toBe(true)
  })
}
