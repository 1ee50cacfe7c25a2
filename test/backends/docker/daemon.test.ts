/** A real Docker daemon: what it has, and pulls left to it, give the id and bytes of the direct pull. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Dockerd, startDockerd } from '../../harness/dockerd.js'
import { writeLayout } from '../../harness/ociLayout.js'
import { runOk } from '../../harness/process.js'
import { type Registry, startRegistry } from '../../harness/registry.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace, withWorkspace } from '../../harness/workspace.js'

// A container of CI may have no dockerd, or no right to mount; then this can't be seen here.
const reason = spawnSync('dockerd', ['--version']).error !== undefined ? 'dockerd is not installed' : process.getuid?.() !== 0 ? 'dockerd needs root' : undefined
if (reason !== undefined) console.log(`skipped: ${reason}`)

describe.skipIf(reason !== undefined)('a Docker daemon', () => {
  const workspace = useWorkspace('daemon')
  let dockerd: Dockerd
  let registry: Registry
  let expected = ''

  const pulled = (reference: string, dockerDaemon?: { readonly socket: string; readonly pulls?: readonly string[] }) =>
    withWorkspace(async ({ path }) => {
      const site = testSite(path, [registry.host])
      const record = await pullImage(reference, { config: { ...site.config, dockerDaemon: dockerDaemon ?? { socket: dockerd.socket } } })
      expect(readdirSync(join(site.stateDirectory, 'work'))).toEqual([])
      return `${record.id} ${record.imageSha256} ${record.access} ${record.env.join()}`
    })

  beforeAll(async () => {
    registry = await startRegistry()
    dockerd = await startDockerd(workspace.at('docker'), [registry.host])
    writeLayout(workspace.at('layout'), {
      tag: 'v1',
      layers: [
        [{ name: 'a', type: 'file', data: 'one' }, { name: 'd', type: 'dir' }, { name: 'd/b', type: 'file', data: 'x'.repeat(50_000) }],
        [{ name: '.wh.a', type: 'file', data: '' }, { name: 'c', type: 'file', data: 'c' }, { name: 'e', type: 'hardlink', linkname: 'c' }],
      ],
      config: { Env: ['PATH=/bin', 'A=1'], Entrypoint: ['/bin/sh'], Labels: { one: 'two' } },
    })
    await registry.push(workspace.at('layout'), 'v1', 'team/tool:v1')
    await runOk(['skopeo', '--insecure-policy', 'copy', '--quiet', `oci:${workspace.at('layout')}:v1`, `docker-archive:${workspace.at('saved.tar')}:localhost/tool:v1`])
    await dockerd.docker('load', '--input', workspace.at('saved.tar'))
    expected = await pulled(`docker:${registry.host}/team/tool:v1`)
  }, 120_000)
  afterAll(async () => {
    await dockerd.stop()
    await registry.stop()
  })

  it('gives what it has', async () => {
    expect(await pulled('docker-daemon:localhost/tool:v1')).toBe(expected)
  })

  it('pulls for a site that leaves a registry to it', async () => {
    expect(await pulled(`docker:${registry.host}/team/tool:v1`, { socket: dockerd.socket, pulls: [registry.host] })).toBe(expected)
    // It came by the daemon, which has it now.
    expect(await dockerd.docker('images', '--format', '{{.Repository}}:{{.Tag}}')).toContain(`${registry.host}/team/tool:v1`)
  })

  it('and what it saves itself give one image', async () => {
    await dockerd.docker('save', '--output', workspace.at('docker-save.tar'), 'localhost/tool:v1')
    expect(await pulled(`docker-archive:${workspace.at('docker-save.tar')}`)).toBe(expected)
  })

  it('that has no such image, or is not there, is named', async () => {
    await expect(pulled('docker-daemon:localhost/missing')).rejects.toMatchObject({ code: 'MANIFEST_NOT_FOUND' })
    await expect(pulled(`docker:${registry.host}/team/missing:v1`, { socket: dockerd.socket, pulls: [registry.host] })).rejects.toMatchObject({ code: 'MANIFEST_NOT_FOUND' })
    await expect(pulled('docker-daemon:x', { socket: workspace.at('no.sock') })).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: expect.stringContaining(workspace.at('no.sock')) as string })
  })
})
