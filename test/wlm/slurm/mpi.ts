/** MPI programs of an image over two nodes, started by Slurm: by PMI2 and, where Slurm has it, by PMIx. */
import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { service, userA } from '../../harness/people.js'
import { run, runOk } from '../../harness/process.js'
import type { TarItem } from '../../harness/tarWriter.js'
import { useWorkspace } from '../../harness/workspace.js'
import { busyboxRoot, publishMeta } from '../../native/fixture.js'
import { as, clean, cluster, node, shifter } from './site.js'

/** Where Debian has libraries, on the machine as in the image. */
const LIBRARIES = '/usr/lib/x86_64-linux-gnu'
const SOURCE = fileURLToPath(new URL('../../native/mpi.c', import.meta.url))

/** What these need to run, as the loader finds it here. */
const needed = async (files: readonly string[]): Promise<readonly string[]> =>
  [...new Set([...(await run(['ldd', ...files])).stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(/gm)].map(([, path = '']) => path))]
const asFile = (path: string, name = path.slice(1)): TarItem => ({ name, type: 'file', mode: 0o755, data: readFileSync(realpathSync(path)) })
const below = (directory: string): readonly string[] =>
  readdirSync(directory, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? below(join(directory, entry.name)) : [join(directory, entry.name)]))

/** Publishes an image with the program, compiled by one of the two, and with all that it loads. */
const publish = async (id: string, compiler: string, program: string, plugins: readonly string[]): Promise<void> => {
  await runOk([compiler, '-O1', '-o', program, SOURCE])
  const libraries = await needed([program, ...plugins.filter((file) => file.endsWith('.so'))])
  publishMeta(node.images, service, id, [
    ...busyboxRoot(),
    asFile(program, 'app/mpi'),
    ...libraries.map((path) => asFile(path, basename(path).startsWith('ld-linux') ? path.slice(1) : `${LIBRARIES.slice(1)}/${basename(path)}`)),
    ...plugins.map((path) => asFile(path)),
  ])
}

const ranks = async (kind: string, id: string, env: Readonly<Record<string, string>> = {}): Promise<string[]> => {
  const result = await as(userA, ['srun', `--mpi=${kind}`, '--nodes=2', '--ntasks=4', `--image=id:${id}`, shifter, '/app/mpi'], { timeoutMs: 100_000, env })
  expect(result, cluster().log('n1').slice(-2000)).toMatchObject({ status: 0 })
  return result.stdout.trimEnd().split('\n').map((line) => line.replace(/ on .*/, '')).sort()
}
const all = [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 sum 10 token ${rank === 1 ? 10 : -1}`)

export const pmi2 = (): void => {
  const work = useWorkspace('slurm-pmi2')
  afterEach(clean)

  it('runs over both nodes', async () => {
    await publish('mpich', 'mpicc.mpich', work.at('mpich'), [])
    expect(await ranks('pmi2', 'mpich')).toEqual(all)
  })
}

/** Slurm's PMIx has a directory of the step in /tmp, so that each node needs its own. */
export const pmix = (): void => {
  const work = useWorkspace('slurm-pmix')
  afterEach(clean)

  it('runs over both nodes', async (context) => {
    const { stderr, stdout } = await run(['srun', '--mpi=list'], { env: { ...process.env, SLURM_CONF: cluster().conf } })
    context.skip(!/\bpmix\b/.test(stdout + stderr), 'this Slurm has no PMIx')
    const directories = [`${LIBRARIES}/openmpi/lib/openmpi3`, `${LIBRARIES}/pmix2/lib/pmix`, '/usr/share/openmpi', '/etc/openmpi']
    await publish('openmpi', 'mpicc.openmpi', work.at('openmpi'), directories.flatMap(below))
    // By TCP, since both nodes are one machine with one address.
    expect(await ranks('pmix', 'openmpi', { OMPI_MCA_pml: 'ob1', OMPI_MCA_btl: 'self,tcp', OMPI_MCA_btl_tcp_if_include: 'lo' })).toEqual(all)
  })
}
