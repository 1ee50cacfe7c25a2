/** Pulls from a real registry: forms of manifests, authentication, errors a person can act on. */
import { inspectImage, listImages, lookupImage, pullImage, removeImage, type ProgressEvent } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hostPlatform, type Layer, writeIndexLayout, writeLayout } from '../harness/ociLayout.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const layers: readonly Layer[] = [
  [{ name: 'etc', type: 'dir' }, { name: 'etc/os-release', type: 'file', data: 'NAME=test\n' }],
  [{ name: 'bin/x', type: 'file', data: 'x'.repeat(100_000), mode: 0o755 }],
]
const work = useWorkspace('registry')
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => { throw new Error('it succeeded') },
    (error: unknown) => error as { readonly code: string; readonly message: string },
  )

describe('a registry', () => {
  let registry: Registry
  let guarded: Registry
  const site = () => testSite(work.at('site'), [registry.host, guarded.host])
  beforeAll(async () => {
    registry = await startRegistry()
    guarded = await startRegistry({ auth: { username: 'ann', password: 'se:cret' } })
    writeLayout(work.at('oci'), { tag: 'v', layers, config: { Env: ['A=b', 'PATH=/bin'], Entrypoint: ['/bin/x'], Cmd: ["it's"], WorkingDir: '/etc', Labels: { a: 'b' } } })
    writeLayout(work.at('docker'), { tag: 'v', layers, mediaTypes: 'docker', compression: 'gzip' })
    writeLayout(work.at('zstd'), { tag: 'v', layers, compression: 'zstd' })
    const other = hostPlatform.architecture === 'arm64' ? 'amd64' : 'arm64'
    writeIndexLayout(work.at('index'), {
      tag: 'v',
      images: [
        { layers: [[{ name: 'other', type: 'file', data: 'o' }]], platform: { os: 'linux', architecture: other } },
        { layers, platform: hostPlatform },
      ],
    })
    for (const name of ['oci', 'docker', 'zstd', 'index']) await registry.push(work.at(name), 'v', `group/${name}:v`)
    await guarded.push(work.at('oci'), 'v', 'oci:v')
  })
  afterAll(async () => {
    await registry.stop()
    await guarded.stop()
  })

  it('gives OCI and Docker manifests, gzip and zstd, by tag and digest, with one id for one configuration', async () => {
    const events: ProgressEvent[] = []
    const oci = await pullImage(`docker:${registry.host}/group/oci:v`, { config: site().config, onProgress: (event) => events.push(event) })
    expect(oci).toMatchObject({ env: ['A=b', 'PATH=/bin'], entrypoint: ['/bin/x'], command: ["it's"], workdir: '/etc', labels: [['a', 'b']], access: 'public' })
    expect(events.filter((event) => event._tag === 'Phase').map((event) => event.phase)).toEqual(['resolve', 'fetch', 'convert', 'transfer', 'publish'])
    const docker = await pullImage(`docker:${registry.host}/group/docker:v`, { config: site().config })
    const zstd = await pullImage(`docker:${registry.host}/group/zstd:v`, { config: site().config })
    expect(docker.sourceDigest).toBe(zstd.sourceDigest)
    expect(docker.id).toBe(zstd.id)
    const byDigest = await pullImage(`docker:${registry.host}/group/oci@${oci.manifestDigest}`, { config: site().config })
    expect(byDigest.id).toBe(oci.id)
    const byLayout = await pullImage(`oci:${work.at('oci')}:v`, { config: site().config })
    expect(byLayout.imageSha256).toBe(oci.imageSha256)
  })

  it('chooses the platform of an index, and says what there is when there is none', async () => {
    const host = await pullImage(`docker:${registry.host}/group/index:v`, { config: site().config })
    expect(host.platform).toBe(`linux/${hostPlatform.architecture}`)
    const other = hostPlatform.architecture === 'arm64' ? 'linux/amd64' : 'linux/arm64'
    const chosen = await pullImage(`docker:${registry.host}/group/index:v`, { config: site().config, platform: other })
    expect(chosen.platform).toBe(other)
    const error = await failure(pullImage(`docker:${registry.host}/group/index:v`, { config: site().config, platform: 'linux/s390x' }))
    expect(error.code).toBe('PLATFORM_NOT_FOUND')
    expect(error.message).toContain(other)
  })

  it('fetches nothing again that is published', async () => {
    await pullImage(`docker:${registry.host}/group/oci:v`, { config: site().config })
    const before = await registry.blobFetches('group/oci')
    await pullImage(`docker:${registry.host}/group/oci:v`, { config: site().config })
    const after = await registry.blobFetches('group/oci')
    // The configuration is read to know the image; no layer is.
    expect([...after.values()].reduce((a, b) => a + b, 0) - [...before.values()].reduce((a, b) => a + b, 0)).toBe(1)
  })

  it('is told who pulls, and the image is private to him', async () => {
    const reference = `docker:${guarded.host}/oci:v`
    expect((await failure(pullImage(reference, { config: testSite(work.at('private'), [guarded.host]).config }))).code).toBe('REGISTRY_UNAUTHORIZED')
    const wrong = await failure(pullImage(reference, { config: testSite(work.at('private'), [guarded.host]).config, credentials: { username: 'ann', password: 'wrong' } }))
    expect(wrong.code).toBe('REGISTRY_UNAUTHORIZED')
    expect(JSON.stringify(wrong) + wrong.message).not.toContain('wrong')
    const config = testSite(work.at('private'), [guarded.host]).config
    const image = await pullImage(reference, { config, credentials: { username: 'ann', password: 'se:cret' }, requester: { uid: 4711 } })
    expect(image).toMatchObject({ access: 'private', owner: 4711, allowUids: [] })
    const second = await pullImage(reference, { config, credentials: { username: 'ann', password: 'se:cret' }, requester: { uid: 4712 } })
    expect(second).toMatchObject({ access: 'private', owner: 4711, allowUids: [4712] })
  })

  it.each([
    ['a missing tag', () => `docker:${registry.host}/group/oci:none`, 'MANIFEST_NOT_FOUND', 'none'],
    ['a missing repository', () => `docker:${registry.host}/nobody/nothing:v`, 'MANIFEST_NOT_FOUND', 'nobody/nothing'],
    ['nobody listening', () => 'docker:127.0.0.1:1/x:v', 'REGISTRY_UNREACHABLE', '127.0.0.1:1'],
    ['a source that is not there', () => 'local:/tree', 'SOURCE_UNSUPPORTED', 'docker'],
    ['a bad reference', () => 'docker:Upper/x', 'REFERENCE_INVALID', 'lower case'],
    ['a missing layout', () => 'oci:/nonexistent/layout', 'MANIFEST_NOT_FOUND', '/nonexistent/layout'],
  ])('says what is wrong: %s', async (_, reference, code, said) => {
    const config = testSite(work.at('site'), [registry.host, '127.0.0.1:1']).config
    const error = await failure(pullImage(reference(), { config }))
    expect(error.code).toBe(code)
    expect(error.message).toContain(said)
    expect(error.message).not.toContain('\n')
  })

  it('says that plain HTTP is not configured', async () => {
    const error = await failure(pullImage(`docker:${registry.host}/group/oci:v`, { config: testSite(work.at('site')).config }))
    expect(error.code).toBe('REGISTRY_UNREACHABLE')
  })

  it('can be left in the middle', async () => {
    const cancel = new AbortController()
    const pulling = pullImage(`docker:${registry.host}/group/oci:v`, {
      config: testSite(work.at('cancelled'), [registry.host]).config,
      signal: cancel.signal,
      onProgress: (event) => { if (event._tag === 'Phase' && event.phase === 'fetch') cancel.abort() },
    })
    expect((await failure(pulling)).code).toBe('CANCELLED')
  })

  it('is looked up, listed, inspected and removed', async () => {
    const { config } = testSite(work.at('life'), [registry.host])
    const reference = `docker:${registry.host}/group/oci:v`
    expect((await failure(lookupImage(reference, { config }))).code).toBe('IMAGE_NOT_FOUND')
    const image = await pullImage(reference, { config })
    await pullImage(`docker:${registry.host}/group/index:v`, { config })
    expect(await lookupImage(reference, { config })).toBe(image.id)
    expect((await listImages({ config })).images.flatMap(({ names }) => names).sort()).toEqual([`docker:${registry.host}/group/index:v`, reference])
    expect((await inspectImage(`id:${image.id}`, { config })).names).toEqual([reference])
    expect(await removeImage(reference, { config })).toEqual({ id: image.id, names: [reference], image: false })
    expect((await inspectImage(`id:${image.id}`, { config })).names).toEqual([])
    expect(await removeImage(`id:${image.id}`, { config })).toMatchObject({ image: true })
    expect((await failure(inspectImage(`id:${image.id}`, { config }))).code).toBe('IMAGE_NOT_FOUND')
    expect((await failure(removeImage(reference, { config }))).code).toBe('IMAGE_NOT_FOUND')
  })
})
