/**
 * An image that a registry gives only for credentials, while the same bytes are public elsewhere: nobody else learns that it is here, of its name, or of its
 * repository, from whatever face of the gateway.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { inspectImage, listImages, lookupImage, type ProgressEvent, pullImage } from 'shifter-sdk'
import { failure } from '../harness/gateway.js'
import { honestImage, type HostileRegistry, hostileRegistry } from '../harness/hostileRegistry.js'
import { type Answer, ask, type Service, startService } from '../harness/service.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('private')
const image = honestImage([[{ name: 'same', type: 'file', data: 'bytes' }]])
const ANN = { uid: 5001, credentials: { username: 'ann', password: 'of-ann' } }
const BOB = { uid: 5002, credentials: { username: 'bob', password: 'of-bob' } }
const STRANGER = { uid: 5003, gids: [5003] }

let registry: HostileRegistry
/** Who may have the repositories that are not everyone's. */
const members: Readonly<Record<string, readonly (typeof ANN)[]>> = { 'ann/secret': [ANN, BOB], 'ann/other': [ANN] }
let sites = 0

beforeAll(async () => {
  registry = await hostileRegistry(image, ({ headers, path }, response) => {
    const repository = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(path)?.[1] ?? ''
    const allowed = repository.startsWith('open/') ? undefined : (members[repository] ?? [])
    const isHis = allowed?.some(({ credentials: { password, username } }) => headers.authorization === `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`)
    if (allowed === undefined || isHis === true) return false
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    return true
  })
})
afterAll(() => registry.stop())

const name = (repository: string) => `docker:${registry.host}/${repository}:v`
const site = (): TestSite['config'] => ({ ...testSite(work.at(`site${sites++}`), [registry.host]).config, dockerLogins: false })
const blobs = (repository: string) => registry.seen.filter(({ path }) => path.startsWith(`/v2/${repository}/blobs/`) && path.includes(image.layers[0]!.digest)).length

describe('the same bytes of a private repository and of a public one', () => {
  it.each([['before', true], ['after', false]])('are two images, when the private one is pulled %s the public one', async (_, isFirst) => {
    const config = site()
    const hidden = () => pullImage(name('ann/secret'), { config, requester: { uid: ANN.uid }, credentials: ANN.credentials })
    const first = isFirst ? await hidden() : undefined
    const open = await pullImage(name('open/tool'), { config, requester: STRANGER })
    const secret = first ?? (await hidden())
    expect(open).toMatchObject({ access: 'public', reference: name('open/tool'), sourceDigest: secret.sourceDigest, imageSha256: secret.imageSha256 })
    expect(secret).toMatchObject({ access: 'private', owner: ANN.uid, allowUids: [], reference: name('ann/secret') })
    expect(secret.id).not.toBe(open.id)

    const told = await listImages({ config, requester: STRANGER })
    expect(told.images.map(({ names, record: { id } }) => [id, names])).toEqual([[open.id, [name('open/tool')]]])
    expect(JSON.stringify([told, await inspectImage(name('open/tool'), { config, requester: STRANGER })])).not.toContain('secret')
    for (const ask of [lookupImage, inspectImage]) {
      const refusals = await Promise.all([name('ann/secret'), name('ann/nothing'), `id:${secret.id}`].map(async (each) => (await failure(ask(each, { config, requester: STRANGER }))).message.replace(each, 'X')))
      expect(new Set(refusals).size).toBe(1)
    }

    expect(await lookupImage(name('ann/secret'), { config, requester: { uid: ANN.uid } })).toBe(secret.id)
    expect((await listImages({ config, requester: { uid: ANN.uid } })).images.map(({ names }) => names).sort()).toEqual([[name('ann/secret')], [name('open/tool')]].sort())
    expect((await inspectImage(name('ann/secret'), { config, requester: { uid: ANN.uid } })).names).toEqual([name('ann/secret')])
  })

  it('are one image for all whom the registry gives the repository, each of whom it is asked for', async () => {
    const config = site()
    const pull = (repository: string, { credentials, uid }: typeof ANN) => pullImage(name(repository), { config, requester: { uid }, credentials })
    const byAnn = await pull('ann/secret', ANN)
    expect((await failure(pull('ann/secret', { uid: STRANGER.uid, credentials: { username: 'bob', password: 'guessed' } }))).code).toBe('REGISTRY_UNAUTHORIZED')
    expect((await failure(pull('ann/other', BOB))).code).toBe('REGISTRY_UNAUTHORIZED')
    expect(await pull('ann/secret', BOB)).toMatchObject({ id: byAnn.id, access: 'private', owner: ANN.uid, allowUids: [BOB.uid] })
    expect((await listImages({ config })).images).toHaveLength(1)
    // Of another repository nothing is shared, not even a layer.
    const before = blobs('ann/other')
    const other = await pull('ann/other', ANN)
    expect(blobs('ann/other')).toBe(before + 1)
    expect(other.id).not.toBe(byAnn.id)
    expect((await inspectImage(name('ann/secret'), { config, requester: { uid: BOB.uid } })).names).toEqual([name('ann/secret')])
    expect((await failure(lookupImage(name('ann/other'), { config, requester: { uid: BOB.uid } }))).code).toBe('IMAGE_NOT_FOUND')
  })

  it('are converted once for two of one repository who pull at once', async () => {
    const config = site()
    const converted: number[] = []
    const pull = ({ credentials, uid }: typeof ANN) =>
      pullImage(name('ann/secret'), { config, requester: { uid }, credentials, onProgress: (event: ProgressEvent) => { if (event._tag === 'Phase' && event.phase === 'convert') converted.push(uid) } })
    const [a, b] = await Promise.all([pull(ANN), pull(BOB)])
    expect(a.id).toBe(b.id)
    expect(converted).toHaveLength(1)
    const { allowUids, owner } = (await inspectImage(name('ann/secret'), { config })).record
    expect([owner, ...allowUids].sort()).toEqual([ANN.uid, BOB.uid])
  })

  it('become the public image when the repository does, and the private one loses its name', async () => {
    const config = site()
    const hidden = await pullImage(name('ann/secret'), { config, requester: { uid: ANN.uid }, credentials: ANN.credentials })
    const { script } = registry
    registry.script = () => false
    try {
      const events: ProgressEvent[] = []
      const open = await pullImage(name('ann/secret'), { config, requester: STRANGER, onProgress: (event) => { events.push(event) } })
      expect(open).toMatchObject({ access: 'public', owner: STRANGER.uid })
      expect(open.id).not.toBe(hidden.id)
      expect(events.filter(({ _tag }) => _tag === 'Warning' || _tag === 'Waiting')).toEqual([])
      expect(await lookupImage(name('ann/secret'), { config, requester: STRANGER })).toBe(open.id)
      expect(await inspectImage(`id:${hidden.id}`, { config, requester: { uid: ANN.uid } })).toMatchObject({ names: [], record: { access: 'private' } })
      expect((await failure(lookupImage(`id:${hidden.id}`, { config, requester: STRANGER }))).code).toBe('IMAGE_NOT_FOUND')
      expect((await pullImage(name('open/tool'), { config, requester: STRANGER })).id).toBe(open.id)
    } finally {
      registry.script = script
    }
  })
})

interface Pull {
  readonly id: string
  readonly state: string
  readonly imageId?: string
  readonly error?: unknown
  readonly progress?: unknown
  readonly attempts: number
}

interface Page {
  readonly images: readonly { readonly image: { readonly names: readonly string[] } }[]
  readonly next?: string
}

describe('a service with a private image whose bytes are public elsewhere', () => {
  const as = ({ uid }: { readonly uid: number }) => `good:u${uid}:u${uid}::${uid}:${uid}`
  const root = 'good:root:root::0:0'
  let service: Service
  let secret: string
  let open: string

  const v1 = (path: string, who: string, options: Parameters<typeof ask>[1] = {}) => ask(`${service.url}${path}`, { as: who, ...options })
  const dialect = (path: string, who: string, method = 'GET') => ask(`${service.url}/api/${path}`, { method, headers: { authentication: who } })
  const reference = (repository: string) => `reference=${encodeURIComponent(name(repository))}`
  const tag = (repository: string) => encodeURIComponent(`${registry.host}/${repository}:v`)
  const submitted = (who: string, repository: string, credentials?: typeof ANN.credentials): Promise<Answer> =>
    v1('/v1/pulls', who, { method: 'POST', body: { reference: name(repository), ...(credentials === undefined ? {} : { credentials }) } })
  const read = <A>({ body }: Answer) => body as A
  /** Asks for a pull and waits for its end. */
  const pulled = async (who: string, repository: string, credentials?: typeof ANN.credentials) => {
    const { id } = read<Pull>(await submitted(who, repository, credentials))
    await v1(`/v1/pulls/${id}/events`, who)
    return read<Pull>(await v1(`/v1/pulls/${id}`, who))
  }
  /** What answers to all requests differ in is left out; names of one length have answers of one. */
  const same = ({ headers, status, text }: Answer, repository: string) => {
    const { date: _, 'x-request-id': __, ...others } = headers
    return { status, headers: others, text: text.replaceAll(repository, 'X').replaceAll(encodeURIComponent(repository), 'X') }
  }

  beforeAll(async () => {
    service = await startService({ ...site(), server: {} })
    open = (await pulled(as(STRANGER), 'open/tool')).imageId ?? ''
    secret = (await pulled(as(ANN), 'ann/secret', ANN.credentials)).imageId ?? ''
  })
  afterAll(() => service.stop())
  afterEach(() => { expect(service.log.join('\n')).not.toContain('of-ann') })

  it('has two of them', () => {
    expect([open, secret].every((id) => /^[0-9a-f]{64}$/.test(id))).toBe(true)
    expect(secret).not.toBe(open)
  })

  it.each(['v1', 'dialect'])('tells a stranger of the public one alone, and its owner of both: %s', async (face) => {
    const list = async (who: string): Promise<Answer> => (face === 'v1' ? v1('/v1/images', who) : dialect('list/test/', who))
    const found = async (who: string, repository: string): Promise<Answer> => (face === 'v1' ? v1(`/v1/image?${reference(repository)}`, who) : dialect(`lookup/test/docker/${tag(repository)}/`, who))
    const byId = async (who: string, id: string): Promise<Answer> => (face === 'v1' ? v1(`/v1/image?reference=id:${id}`, who) : dialect(`lookup/test/id/${id}/`, who))
    const tags = (answer: Answer) => (face === 'v1' ? read<Page>(answer).images.flatMap(({ image }) => image.names) : read<{ list: { tag: string[] }[] }>(answer).list.flatMap((each) => each.tag))
    const shown = (repository: string) => (face === 'v1' ? name(repository) : `${registry.host}/${repository}:v`)

    const told = [await list(as(STRANGER)), await found(as(STRANGER), 'open/tool'), await byId(as(STRANGER), open)]
    expect(told.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(told.some(({ text }) => text.includes('secret') || text.includes(secret))).toBe(false)
    expect(tags(told[0]!)).toEqual([shown('open/tool')])
    expect(tags(await list(as(ANN))).sort()).toEqual([shown('ann/secret'), shown('open/tool')])
    expect((await found(as(ANN), 'ann/secret')).status).toBe(200)
    expect((await byId(as(ANN), secret)).status).toBe(200)

    const there = await found(as(STRANGER), 'ann/secret')
    expect(there.status).toBe(404)
    expect(same(there, 'ann/secret')).toEqual(same(await found(as(STRANGER), 'ann/secreu'), 'ann/secreu'))
    expect(same(await byId(as(STRANGER), secret), secret)).toEqual(same(await byId(as(STRANGER), 'f'.repeat(64)), 'f'.repeat(64)))
  })

  it('ends pages where they end for who asks', async () => {
    const page = read<Page>(await v1(`/v1/images?limit=1&prefix=${encodeURIComponent(`docker:${registry.host}/`)}`, as(STRANGER)))
    expect(page.images).toHaveLength(1)
    expect(page.next).toBeUndefined()
    expect(read<Page>(await v1('/v1/images?unnamed=true', as(STRANGER))).images).toEqual([])
    expect(read<Page>(await v1(`/v1/images?owner=${ANN.uid}`, as(STRANGER))).images).toEqual([])
  })

  it("answers a stranger's pull of it as one of what is nowhere", async () => {
    const ended = async (repository: string) => {
      const { attempts, error, imageId, progress, state } = await pulled(as(STRANGER), repository)
      return JSON.parse(JSON.stringify({ attempts, error, imageId, progress, state }).replaceAll(repository, 'X')) as unknown
    }
    expect(await ended('ann/secret')).toEqual(await ended('ann/secreu'))
    expect(await ended('ann/secret')).toMatchObject({ state: 'failed', error: { code: 'REGISTRY_UNAUTHORIZED' } })
    const byDialect = async (repository: string) => same(await dialect(`pull/test/docker/${tag(repository)}/`, as(STRANGER), 'POST'), repository)
    const times = /"last_pull":[^,]+/
    const [there, none] = [await byDialect('ann/secret'), await byDialect('ann/secreu')]
    expect({ ...there, text: there.text.replace(times, '') }).toEqual({ ...none, text: none.text.replace(times, '') })
  })

  it('tells nobody else of its pull, in lists, queue, metrics or the audit log', async () => {
    const [pull] = read<{ pulls: Pull[] }>(await v1('/v1/pulls', as(ANN))).pulls
    for (const path of [`/v1/pulls/${pull!.id}`, `/v1/pulls/${pull!.id}/events`]) {
      expect(same(await v1(path, as(STRANGER)), pull!.id)).toEqual(same(await v1(path.replace(pull!.id, 'f'.repeat(32)), as(STRANGER)), 'f'.repeat(32)))
    }
    const fresh = { uid: 5004 }
    const told = [
      ...(await Promise.all(['/v1/pulls', '/v1/queue', '/v1/images', '/metrics', '/v1/systems'].map((path) => v1(path, as(fresh))))),
      await dialect('queue/test/', as(fresh)),
      await dialect('metrics/test/', as(fresh)),
    ]
    expect(told.map(({ status }) => status)).toEqual(told.map(() => 200))
    expect(told.some(({ text }) => text.includes('ann/') || text.includes(secret))).toBe(false)
    expect((await v1('/v1/audit', as(fresh))).status).toBe(403)
    expect((await v1('/v1/audit?action=pull', root)).text).toContain('ann/secret')
  })
})
