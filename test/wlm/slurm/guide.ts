/** The guide for administrators, from an empty cluster to the first job: every command of it, in order. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { blocksOf } from '../../docs/guides.js'
import { userA } from '../../harness/people.js'
import { run } from '../../harness/process.js'
import { built, repository } from '../../package/dist.js'
import { as, clean, cluster, image, node, PREFIX } from './site.js'

const blocks = blocksOf('docs/slurm.md').filter(({ info, language }) => language === 'sh' && info.startsWith('cluster'))

export const guide = (): void => {
  const programs = join(PREFIX, 'bin')
  beforeAll(async () => {
    await built()
    const config = join(cluster().etc, 'gateway.json')
    // The directories of the guide are those of a machine; here they are below a prefix.
    const slurm = { directory: join(cluster().etc, 'shifter'), config: cluster().conf }
    writeFileSync(config, JSON.stringify({ version: 1, stateDirectory: join(PREFIX, 'gateway/state'), prefix: PREFIX, systems: { test: { imagePath: node.images, slurm } } }))
    for (const name of ['shifterimg', 'shifter-gateway']) {
      writeFileSync(join(programs, name), `#!/bin/sh\nexec '${process.execPath}' '${join(repository, `dist/bin/${name}.js`)}' --config '${config}' "$@"\n`, { mode: 0o755 })
    }
    mkdirSync(join(cluster().etc, 'shifter'), { recursive: true, mode: 0o755 })
  })
  afterEach(clean)

  it('leads from an empty cluster to a first job', { timeout: 120_000 }, async () => {
    const here = (text: string): string => text.replaceAll('/etc/slurm', cluster().etc).replaceAll('docker:debian:12', image('one').reference)
    let printed = ''
    for (const { info, line, text } of blocks) {
      const argv = ['sh', '-eux', '-c', here(text)]
      const env = { PATH: `${programs}:/usr/sbin:/usr/bin:/sbin:/bin`, SLURM_CONF: cluster().conf, HOME: '/' }
      const result = info === 'cluster' ? await run(argv, { env, cwd: cluster().shared }) : await as(userA, argv, { env })
      expect(result.status, `docs/slurm.md:${line}\n${result.stderr}${result.stdout}`).toBe(0)
      printed += result.stdout
    }
    expect(blocks.map(({ info }) => info)).toEqual(expect.arrayContaining(['cluster', 'cluster alice']))
    expect(printed).not.toMatch(/^MISSING/m)
    // From two nodes, by srun and by the script.
    expect(printed.match(/^PRETTY_NAME="Test image"$/gm)).toHaveLength(4)
  })
}
