/**
 * A step of many tasks on a Slurm cluster of two nodes, with and without an image: what `shifter` adds to what Slurm takes itself. Interleaved,
 * so that a busy machine is busy for both.
 *
 * @module
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { begin, install, median, PREFIX, publish, run } from './start.mjs'

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
const TASKS = 64
const NODES = ['n1', 'n2']

const USAGE = `usage: npm run bench -- slurm [--rounds N] [--json]
  --rounds N   of every step of ${TASKS} tasks (default 15)`

/** The cluster and the accounts of the tests: Node reads no TypeScript. */
const harness = async (work) => {
  const outfile = join(work, 'harness.mjs')
  await build({ stdin: { contents: "export * from './slurm.js'; export * from './accounts.js'", resolveDir: join(REPOSITORY, 'test/harness'), loader: 'ts' }, bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'error' })
  return import(pathToFileURL(outfile).href)
}

/** Prologue, epilogue and plugin. The nodes are one machine, so each says which run directory is its own. */
const integration = (etc) => {
  const program = join(PREFIX, 'libexec/shifter/shifter-job')
  const lines = [['Prolog', 'prologue'], ['Epilog', 'epilogue']].map(([key, name]) => {
    writeFileSync(join(etc, name), `#!/bin/sh\nexec ${program} --run-directory=${PREFIX}/run-$SLURMD_NODENAME slurm-${name}\n`, { mode: 0o755 })
    return `${key}=${join(etc, name)}`
  })
  for (const name of NODES) mkdirSync(join(PREFIX, `run-${name}`), { recursive: true, mode: 0o711 })
  writeFileSync(join(PREFIX, 'etc/shifter/runtime.conf'), `imageOwner=0\nrunDirectory=${NODES.map((name) => `${PREFIX}/run-${name}`).join(' ')}\n`)
  return [...lines, 'PrologFlags=Alloc']
}

export const main = async (args) => {
  const asked = begin(args, USAGE, '15', 'installs setuid programs and starts a cluster')
  if (asked === undefined) return
  const { json, rounds, work } = asked
  run(['chmod', '755', work])
  let cluster
  try {
    install()
    const id = await publish(work)
    const { ensureAccount, startSlurm, USER_A } = await harness(work)
    const user = await ensureAccount(USER_A)
    const plugin = `required ${join(PREFIX, 'lib/shifter/shifter_slurm.so')}\n`
    cluster = await startSlurm(join(work, 'cluster'), { config: integration(join(PREFIX, 'etc/shifter')), files: { 'plugstack.conf': plugin } })
    const shifter = join(PREFIX, 'bin/shifter')
    const steps = { without: '/usr/bin/busybox true', with: `${shifter} /bin/true` }
    // Times are taken in the job, so that its queueing and preparation are none of them.
    const script = `#!/bin/bash\nfor i in $(seq ${rounds + 1}); do\n${Object.entries(steps).map(([name, command]) => `begin=$(date +%s%N); srun --nodes=2 --ntasks=${TASKS} ${command} || exit 1; echo ${name} $(( $(date +%s%N) - begin ))`).join('\n')}\ndone\n`
    const output = join(cluster.shared, 'times')
    const { status, stderr } = await cluster.as(user, ['sbatch', '--wait', `--image=id:${id}`, '--nodes=2', `--ntasks=${TASKS}`, `--output=${output}`], { input: script, timeoutMs: 600_000 })
    if (status !== 0) throw new Error(`the job failed: ${stderr}${run(['cat', output])}`)
    const times = run(['cat', output]).trimEnd().split('\n').map((line) => line.split(' '))
    // The first of each finds nothing in any cache.
    const of = (name) => median(times.filter(([each]) => each === name).slice(1).map(([, time]) => Number(time) / 1e6))
    const result = { tasks: TASKS, without: of('without'), with: of('with'), ratio: of('with') / of('without') }
    if (json) return console.log(JSON.stringify(result))
    console.log(`a step of ${TASKS} tasks without an image ${result.without.toFixed(0).padStart(6)} ms`)
    console.log(`the same with an image            ${result.with.toFixed(0).padStart(6)} ms   ${result.ratio.toFixed(2)} times`)
  } finally {
    await cluster?.stop()
    rmSync(work, { recursive: true, force: true })
    rmSync(PREFIX, { recursive: true, force: true })
  }
}
