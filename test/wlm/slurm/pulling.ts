/** `--image-pull` with what a site has: shifterimg, a gateway service that knows users by munge, and a registry. */
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { userA } from '../../harness/people.js'
import { writeLayout } from '../../harness/ociLayout.js'
import { type Registry, startRegistry } from '../../harness/registry.js'
import { ask, type Service, startService, writeClientConfig } from '../../harness/service.js'
import { program } from '../../harness/shifterimg.js'
import { until } from '../../harness/slurm.js'
import { busyboxRoot } from '../../native/fixture.js'
import { built } from '../../package/dist.js'
import { as, clean, CLUSTER, cluster, node, plugstack, PREFIX, shifter } from './site.js'

export const pulling = (): void => {
  let registry: Registry
  let service: Service
  /** A registry that takes calls and never answers. */
  let silent: Server
  let silentHost: string

  beforeAll(async () => {
    await built()
    registry = await startRegistry()
    const directory = join(PREFIX, 'pulling')
    writeLayout(join(directory, 'layout'), { tag: 'v', layers: [busyboxRoot([{ name: 'which', type: 'file', data: 'pulled\n' }])], config: { Env: ['PATH=/bin'] } })
    await registry.push(join(directory, 'layout'), 'v', 'new:v')
    silent = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    silentHost = `127.0.0.1:${(silent.address() as AddressInfo).port}`
    const munge = join(CLUSTER, 'munge/socket')
    service = await startService({
      version: 1,
      stateDirectory: join(directory, 'state'),
      prefix: PREFIX,
      systems: { test: { imagePath: node.images, munge } },
      registries: { [registry.host]: { plainHttp: true }, [silentHost]: { plainHttp: true } },
      server: { authentication: 'munge' },
    })
    const config = writeClientConfig(directory, service, { system: 'test', munge })
    const site = join(directory, 'shifterimg')
    writeFileSync(site, `#!/bin/sh\nexec ${process.execPath} ${program} --config ${config} "$@"\n`)
    chmodSync(site, 0o755)
    plugstack(`shifterimg=${site}`)
  })
  afterAll(async () => {
    plugstack()
    silent.closeAllConnections()
    silent.close()
    await service.stop()
    await registry.stop()
  })
  afterEach(clean)

  const noJobs = async (): Promise<void> => expect(await cluster().root('squeue', '--noheader', '--states=pending,running,configuring')).toBe('')

  it('pulls as the user, shows how it goes, and submits; what sbatch prints is the job’s number alone', async () => {
    const image = `docker:${registry.host}/new:v`
    const output = join(cluster().shared, 'pulled')
    const { status, stderr, stdout } = await as(userA, ['sbatch', '--parsable', '--wait', `--output=${output}`, `--image=${image}`, '--image-pull=1m', `--wrap=srun ${shifter} cat /which`])
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: expect.stringMatching(/^\d+\n$/) as string, stderr: expect.stringContaining(`${image} is ready: `) as string })
    expect((await as(userA, ['cat', output])).stdout).toBe('pulled\n')
  })

  it('tells what the gateway says of an image that there is not, and submits nothing', async () => {
    const { status, stderr } = await as(userA, ['sbatch', `--image=docker:${registry.host}/none:v`, '--image-pull', '--wrap=true'])
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/MANIFEST_NOT_FOUND/)
    await noJobs()
  })

  describe.each([
    ['that takes too long', (command: readonly string[]) => [...command, '--image-pull=3s']],
    ['that the user interrupts', (command: readonly string[]) => ['timeout', '--signal=INT', '3', ...command, '--image-pull']],
    ['whose terminal is interrupted', (command: readonly string[]) => ['timeout', '--foreground', '--signal=INT', '3', ...command, '--image-pull']],
  ])('a pull %s', (what, of) => {
    it('is cancelled on the gateway too', async () => {
      const reference = `docker:${silentHost}/${what.replaceAll(' ', '-').toLowerCase()}:v`
      const { status, stderr } = await as(userA, [...of(['sbatch', `--image=${reference}`]), '--wrap=true'])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(/shifter: CANCELLED: /)
      const munge = (await as(userA, ['munge', '--no-input', `--socket=${join(CLUSTER, 'munge/socket')}`])).stdout.trim()
      await until('the pull', async () => (await ask(`${service.url}/v1/pulls`, { headers: { authorization: `Munge ${munge}` } })).text, (text) => text.includes('cancelled'), 10)
      await noJobs()
    })
  })
}
