/** Many jobs of several users at random over both nodes, some cancelled, some killed: nothing is left, and each saw its own image alone. */
import { afterEach, expect, it } from 'vitest'
import { run } from '../../harness/process.js'
import { processesWith, until } from '../../harness/slurm.js'
import { of } from './jobs.js'
import { clean, cluster, ended, long, shifter, submit, users } from './site.js'

const JOBS = long ? 150 : 50
const IMAGES = ['one', 'two', 'three'] as const
const SCRIPTS = [
  `for i in 1 2 3; do srun ${shifter} cat /which; done`,
  `${shifter} cat /which; srun --ntasks=2 ${shifter} cat /which`,
  `srun sh -c '${shifter} cat /which; sleep 0.3; ${shifter} cat /which' & ${shifter} cat /which; wait`,
  `${shifter} cat /which; ${shifter} sh -c 'while cat /which; do :; done' | head -n 50; sleep 1`,
] as const
const FATES = ['ends', 'ends', 'ends', 'is cancelled', 'is cancelled at once', 'is killed', 'is killed by root'] as const

/** Numbers that a seed decides: a run's choices can be made again. */
const numbers = (seed: number): ((below: number) => number) => {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

export const crowd = (): void => {
  afterEach(clean)

  it(`${JOBS} jobs of ${users.length} users`, { timeout: 600_000 }, async () => {
    const seed = Number(process.env['SHIFTER_CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
    console.log(`SHIFTER_CHAOS_SEED=${seed}`)
    const random = numbers(seed)
    const pick = <A>(values: readonly A[]): A => {
      const value = values[random(values.length)]
      if (value === undefined) throw new Error('nothing to pick from')
      return value
    }
    const choices = Array.from({ length: JOBS }, () => ({ user: pick(users), name: pick(IMAGES), script: pick(SCRIPTS), fate: pick(FATES), nodes: 1 + random(2), volume: random(3) === 0 }))
    const one = async ({ fate, name, nodes, script, user, volume }: (typeof choices)[number]) => {
      const job = await submit(user, script, [of(name), `--nodes=${nodes}`, '--ntasks=2', ...(volume ? ['--volume=/shared:/mine'] : [])])
      if (fate !== 'ends') {
        if (fate !== 'is cancelled at once') await until(`job ${job.id}`, () => job.output(), (text) => text !== '', 120)
        // That it has ended meanwhile is one more thing that happens.
        if (fate === 'is killed by root') await run(['kill', '-9', ...processesWith(`SLURM_CONF=${cluster().conf}`, `SLURM_JOB_ID=${job.id}`).slice(-2).map(String)])
        else await run(['scancel', ...(fate === 'is killed' ? ['--full', '--signal=KILL'] : []), job.id], { env: { ...process.env, SLURM_CONF: cluster().conf } })
      }
      const states = await ended(job.id, 300)
      return { name, fate, states, seen: [...new Set(job.output().split('\n'))] }
    }
    // So many at once that nodes are shared, and that the machine is not only busy with waiting.
    const results: Awaited<ReturnType<typeof one>>[] = []
    const queue = [...choices]
    await Promise.all(Array.from({ length: 8 }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) results.push(await one(next))
    }))
    for (const { fate, name, seen, states } of results) {
      const others = IMAGES.filter((each) => each !== name && seen.includes(each))
      expect({ name, others }).toEqual({ name, others: [] })
      if (fate === 'ends') expect({ states, saw: seen.includes(name) }).toEqual({ states: [expect.stringMatching(/COMPLETED|FAILED/)], saw: true })
    }
    expect(results).toHaveLength(JOBS)
  })
}
