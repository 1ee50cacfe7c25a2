/** Daemons that keep images as containerd does, and the logins that a daemon is given: one of the tests' own, since Debian's is too old. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { madeDaemon, type MadeDaemonOptions } from '../../harness/madeDaemon.js'
import { hostPlatform, writeIndexLayout, writeLayout } from '../../harness/ociLayout.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace, withWorkspace } from '../../harness/workspace.js'

const work = useWorkspace('store')
const foreign = { os: 'linux', architecture: hostPlatform.architecture === 's390x' ? 'amd64' : 's390x' }
const layers = (text: string) => [[{ name: 'a', type: 'file' as const, data: text }], [{ name: 'b', type: 'file' as const, data: 'b' }]]
const diffIds = ['sha256:' + 'a'.repeat(64)]
const CONTENT_STORE = { DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']] }
const CLASSIC = { DriverStatus: [['Backing Filesystem', 'extfs'], ['Native Overlay Diff', 'true']] }

let made = 0
const stops: (() => Promise<void>)[] = []
afterEach(async () => { await Promise.all(stops.splice(0).map((stop) => stop())) })

/** What a daemon of either kind says of an image. */
const inspected = (id: string, more: object = {}) => ({ Id: id, Os: 'linux', Architecture: hostPlatform.architecture, Config: {}, RootFS: { Type: 'layers', Layers: diffIds }, ...more })
const daemon = async (options: Omit<MadeDaemonOptions, 'socket'>) => {
  const socket = work.at(`${made++}.sock`)
  const started = await madeDaemon({ ...options, socket })
  stops.push(started.stop)
  return { ...started, socket }
}
const pulled = (reference: string, more: object = {}, options: object = {}) =>
  withWorkspace(async ({ path }) => pullImage(reference, { config: { ...testSite(path).config, dockerLogins: false, ...more }, ...options }))
const archived = async (layout: string): Promise<string> => {
  const file = work.at(`${made++}.tar`)
  await runOk(['tar', '-C', layout, '-cf', file, '.'])
  return file
}

describe('a daemon that keeps images as containerd does', () => {
  let indexDigest = ''
  let manifestDigest = ''
  beforeAll(() => {
    ;({ indexDigest } = writeIndexLayout(work.at('index'), { tag: 'v', images: [{ platform: foreign, layers: layers('foreign') }, { platform: hostPlatform, layers: layers('host') }] }))
    ;({ manifestDigest } = writeLayout(work.at('single'), { tag: 'v', layers: layers('single') }))
  })

  it.each([
    ['which says so with each image', () => inspected(indexDigest, { Descriptor: { digest: indexDigest } }), undefined],
    ['which says so of itself', () => inspected(indexDigest), CONTENT_STORE],
  ])('(%s) gives the image of a platform, with the id of any other way', async (_, said, info) => {
    const { socket } = await daemon({ inspected: said(), info, archive: await archived(work.at('index')) })
    for (const platform of [undefined, 'linux/' + foreign.architecture]) {
      const direct = await pulled(`oci:${work.at('index')}:v`, {}, { platform })
      const { id, imageSha256 } = await pulled('docker-daemon:x', { dockerDaemon: { socket } }, { platform })
      expect({ id, imageSha256 }).toEqual({ id: direct.id, imageSha256: direct.imageSha256 })
    }
    await expect(pulled('docker-daemon:x', { dockerDaemon: { socket } }, { platform: 'linux/riscv64' })).rejects.toMatchObject({ code: 'PLATFORM_NOT_FOUND' })
  })

  it('that says nothing is not waited for without end', async () => {
    const socket = work.at('silent.sock')
    const silent = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(socket, resolve))
    await expect(pulled('docker-daemon:x', { dockerDaemon: { socket }, network: { headersSeconds: 0.3 } })).rejects.toMatchObject({ code: 'REGISTRY_TIMEOUT', message: expect.stringContaining(socket) as unknown })
    silent.closeAllConnections()
    silent.close()
  })

  it('gives an image of one platform, however many names it has', async () => {
    const layout = work.at('names')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    await runOk(['cp', '-r', `${work.at('single')}/.`, layout])
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { annotations: Record<string, string> }[] }
    const [entry] = index.manifests
    writeFileSync(join(layout, 'index.json'), JSON.stringify({ ...index, manifests: ['one', 'two'].map((name) => ({ ...entry, annotations: { 'org.opencontainers.image.ref.name': name } })) }))
    const { socket } = await daemon({ inspected: inspected(manifestDigest, { Descriptor: {} }), archive: await archived(layout) })
    expect((await pulled('docker-daemon:x', { dockerDaemon: { socket } })).id).toBe((await pulled(`oci:${work.at('single')}:v`)).id)
  })

  it('that saves another image than it names is refused', async () => {
    const { socket } = await daemon({ inspected: inspected(`sha256:${'0'.repeat(64)}`), info: CONTENT_STORE, archive: await archived(work.at('single')) })
    await expect(pulled('docker-daemon:x', { dockerDaemon: { socket } })).rejects.toMatchObject({ code: 'MANIFEST_NOT_FOUND' })
    const classic = await daemon({ inspected: inspected(`sha256:${'0'.repeat(64)}`), info: CLASSIC, archive: work.at('saved.tar') })
    writeLayout(work.at('saved'), { tag: 'v', layers: layers('saved') })
    await runOk(['skopeo', '--insecure-policy', 'copy', '--quiet', `oci:${work.at('saved')}:v`, `docker-archive:${work.at('saved.tar')}:x:v`])
    await expect(pulled('docker-daemon:x', { dockerDaemon: { socket: classic.socket } })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  })
})

describe('a daemon that pulls', () => {
  const auth = Buffer.from('ann:secret').toString('base64')
  const logins = (auths: object): string => {
    const directory = work.at(`docker${made++}`)
    mkdirSync(directory)
    writeFileSync(join(directory, 'config.json'), JSON.stringify({ auths }))
    return directory
  }
  const guarded = async (accepts: (login: unknown) => boolean) => {
    const { manifestDigest } = writeLayout(work.at(`guarded${made}`), { tag: 'v', layers: layers('guarded') })
    const started = await daemon({
      inspected: inspected(manifestDigest, { Descriptor: {} }),
      archive: await archived(work.at(`guarded${made}`)),
      refusal: (login) => (accepts(login) ? undefined : 'pull access denied for x, repository does not exist or may require docker login'),
    })
    return { ...started, dockerDaemon: { socket: started.socket, pulls: ['private.example', 'docker.io'] } }
  }

  it.each([
    ['what docker login keeps', { dockerLogins: () => logins({ 'private.example': { auth } }) }, {}, { username: 'ann', password: 'secret', serveraddress: 'private.example' }],
    ['a token that it keeps', { dockerLogins: () => logins({ 'private.example': { identitytoken: 'TOKEN' } }) }, {}, { identitytoken: 'TOKEN', serveraddress: 'private.example' }],
    ['what the request gives', { dockerLogins: () => logins({ 'private.example': { auth } }) }, { credentials: { username: 'bob', password: 'b' } }, { username: 'bob', password: 'b', serveraddress: 'private.example' }],
  ])('is given %s, where the registry does not give the image to everyone', async (_, { dockerLogins }, options, login) => {
    const { dockerDaemon, pulls } = await guarded((given) => given !== undefined)
    expect(await pulled('docker:private.example/x:v', { dockerDaemon, dockerLogins: dockerLogins() }, options)).toMatchObject({ access: 'private' })
    expect(pulls.map((pull) => pull.login)).toEqual([undefined, login])
  })

  it('is given none for what everyone may have', async () => {
    const { dockerDaemon, pulls } = await guarded(() => true)
    expect(await pulled('docker:private.example/x:v', { dockerDaemon, dockerLogins: logins({ 'private.example': { auth } }) })).toMatchObject({ access: 'public' })
    expect(pulls.map((pull) => pull.login)).toEqual([undefined])
  })

  it('is given Docker Hub’s under the name that docker uses, and no other registry’s', async () => {
    const { dockerDaemon, pulls } = await guarded((given) => given !== undefined)
    await pulled('docker:x:v', { dockerDaemon, dockerLogins: logins({ 'https://index.docker.io/v1/': { auth }, 'private.example': { auth: 'eDp5' } }) })
    expect(pulls.at(-1)?.login).toEqual({ username: 'ann', password: 'secret', serveraddress: 'https://index.docker.io/v1/' })
    await expect(pulled('docker:private.example/x:v', { dockerDaemon, dockerLogins: logins({ 'other.example': { auth } }) })).rejects.toMatchObject({ code: 'REGISTRY_UNAUTHORIZED' })
  })

  it('gives what a login was needed for an id of its repository alone', async () => {
    const { dockerDaemon } = await guarded((given) => given !== undefined)
    const open = await guarded(() => true)
    const dockerLogins = logins({ 'private.example': { auth } })
    const [one, again, other, everyones] = [
      await pulled('docker:private.example/x:v', { dockerDaemon, dockerLogins }),
      await pulled('docker:private.example/x:w', { dockerDaemon, dockerLogins }),
      await pulled('docker:private.example/y:v', { dockerDaemon, dockerLogins }),
      await pulled('docker:private.example/x:v', { dockerDaemon: open.dockerDaemon, dockerLogins }),
    ]
    expect(new Set([one, other, everyones].map(({ id }) => id)).size).toBe(3)
    expect(again.id).toBe(one.id)
    expect(new Set([one, other, everyones].map(({ imageSha256 }) => imageSha256)).size).toBe(1)
  })
})
