/** The reference's dialect over a real socket: the shared tables, a client as strict as the reference's, and callers who mean no good. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import * as Effect from 'effect/Effect'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as Digest from '../../src/core/Digest.js'
import { Audit } from '../../src/core/Audit.js'
import { ImageIndex } from '../../src/core/ImageIndex.js'
import { LISTED } from '../../src/gateway/dialect/record.js'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { type DialectService, exchange, type Reply, request, startDialect } from '../harness/dialectService.js'
import { type Munge, startMunge } from '../harness/munge.js'
import { writeLayout } from '../harness/ociLayout.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'

const KEYS = ['id', 'system', 'itype', 'tag', 'status', 'userACL', 'groupACL', 'ENV', 'ENTRY', 'WORKDIR', 'LABELS', 'last_pull', 'status_message']
const USER = 'good:user:user::500:500'
const OTHER = 'good:other:other::501:501'
const ROOT = 'good:root:root::0:0'

type Shown = Readonly<Record<(typeof KEYS)[number], unknown>> & { readonly status: string }
const shown = ({ body, status }: Reply): Shown => {
  expect(status, JSON.stringify(body)).toBe(200)
  expect(Object.keys(body as object)).toEqual(KEYS)
  return body as Shown
}

const work = useWorkspace('dialect')
let registry: Registry
let guarded: Registry
beforeAll(async () => {
  registry = await startRegistry()
  guarded = await startRegistry({ auth: { username: 'ann', password: 'se:cret' } })
  for (const name of ['alpine', 'team', 'third', 'secret']) writeLayout(work.at(name), { tag: 'v', layers: [[{ name, type: 'file', data: name }]], config: { Env: ['A=b'], Entrypoint: ['/bin/x', 'y'], WorkingDir: '/etc', Labels: { a: 'b' } } })
  await registry.push(work.at('alpine'), 'v', 'library/alpine:latest')
  await registry.push(work.at('alpine'), 'v', 'library/alpine:3')
  await registry.push(work.at('team'), 'v', 'team/app:1')
  await registry.push(work.at('third'), 'v', 'third:1')
  await guarded.push(work.at('secret'), 'v', 'secret:1')
})
afterAll(async () => {
  await registry.stop()
  await guarded.stop()
})

/** Asks as a user, again and again, until a pull has ended. */
const pulled = async (ask: (body: string) => Promise<Reply>, body = ''): Promise<Shown> => {
  const states: string[] = []
  for (;;) {
    const now = shown(await ask(body))
    if (states.at(-1) !== now.status) states.push(now.status)
    if (states.length > 20) throw new Error(`it goes round: ${states.join(' ')}`)
    if (!['INIT', 'PENDING', 'PULLING', 'EXAMINATION', 'CONVERSION', 'TRANSFER'].includes(now.status)) return now
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe('the dialect, where callers are believed', () => {
  let service: DialectService
  const config = (name: string) => {
    const site = testSite(work.at(name), [registry.host, guarded.host])
    const { imagePath } = site.config.systems.test
    return {
      ...site.config,
      systems: { systema: { imagePath }, systemb: { imagePath: work.at(name, 'b') } },
      defaultSystem: 'systema',
      server: { listen: ['127.0.0.1:0'], authentication: 'mock' },
      // What names no registry is of the test's.
      dialect: { registry: registry.host, locations: { lab: guarded.host } },
      lifetime: { imageSeconds: 3600 },
      import: { roots: [work.at('files')], users: ['nobody'] },
    }
  }
  const send = (method: 'GET' | 'POST', path: string, who: string | undefined = USER, body = method === 'POST' ? '' : undefined) => exchange(service.port, request(method, path, who, body))
  const pull = (tag: string, who = USER, body = '') => pulled((text) => send('POST', `/api/pull/systema/docker/${tag}/`, who, text), body)

  beforeAll(async () => {
    mkdirSync(work.at('mock', 'b'), { recursive: true })
    service = await startDialect(config('mock'))
  })
  afterAll(() => service.stop())

  it('has a row for every case of the table', () => {
    const { cases } = JSON.parse(readFileSync(new URL('../cases/rest_api.json', import.meta.url), 'utf8')) as { cases: readonly { req: string }[] }
    expect(cases).toHaveLength(12)
  })

  it('GET / says what there is', async () => {
    expect(await exchange(service.port, request('GET', '/'))).toMatchObject({ status: 200, text: '{lookup,pull,expire,list}' })
  })

  it('POST pull makes a record; the caller is on the lists that he gives; :latest comes where nothing stands', async () => {
    const first = shown(await send('POST', '/api/pull/systema/docker/library%2Falpine%3Alatest/', USER, '{"allowed_uids":"1000,1001","allowed_gids":"1002,1003"}'))
    expect(first).toMatchObject({ system: 'systema', itype: 'docker', tag: ['library/alpine:latest'], userACL: [1000, 1001, 500], groupACL: [1002, 1003, 500] })
    const ready = await pull('library/alpine', USER, '{"allowed_uids":"1000,1001","allowed_gids":"1002,1003"}')
    expect(ready).toMatchObject({ status: 'READY', tag: ['library/alpine:latest'], ENV: ['A=b'], ENTRY: ['/bin/x', 'y'], WORKDIR: '/etc', LABELS: { a: 'b' } })
    expect([...(ready['userACL'] as number[])].sort()).toEqual([1000, 1001, 500])
    expect([...(ready['groupACL'] as number[])].sort()).toEqual([1002, 1003, 500])
    expect(ready['id']).toMatch(/^[0-9a-f]{64}$/)
  })

  it('POST pull with strange lists, bodies and tags is refused', async () => {
    for (const body of ['{', '[]', '{"allowed_uids":[1]}', '{"allowed_uids":"1,x"}', '{"allowed_gids":"-1"}', '{"allowed_uids":","}', '{"allowed_uid":"1"}', 'null']) {
      expect((await send('POST', '/api/pull/systema/docker/a/', USER, body)).status, body).toBe(400)
    }
    expect((await send('POST', '/api/pull/systema/docker/a/', USER, `{"allowed_uids":"${'1,'.repeat(40_000)}"}`)).status).toBe(413)
    for (const tag of ['%zz', 'a%00b', '..%2F..', 'A', 'a%20b', '%2F%2F']) expect((await send('POST', `/api/pull/systema/docker/${tag}/`)).status, tag).toBe(400)
    for (const type of ['oci', 'docker-archive', 'docker-daemon', 'id', 'custom', 'local', 'chos']) expect((await send('POST', `/api/pull/systema/${type}/%2Fetc%2Fx/`)).status, type).toBeOneOf([400, 422])
    expect((await send('POST', '/api/pull/systema/bogus/a/')).status).toBe(400)
  })

  it('GET list of an unknown system is 404', async () => {
    expect(await send('GET', '/api/list/systemc/')).toMatchObject({ status: 404, body: { status: 404, error: 'Bad session or system', message: 'Not Found: /api/list/systemc/' } })
  })

  it('GET lookup gives the record and lets the image live on', async () => {
    const before = await service.ask(Effect.flatMap(ImageIndex, (index) => index.now))
    const found = shown(await send('GET', '/api/lookup/systema/docker/library%2Falpine%3Alatest/'))
    expect(found).toMatchObject({ status: 'READY', tag: ['library/alpine:latest'] })
    // A number with a fraction: the reference passes over others.
    const { text } = await send('GET', '/api/lookup/systema/docker/library%2Falpine%3Alatest/', ROOT)
    expect(text).toMatch(/"last_pull":[0-9]+\.[0-9]+,/)
    const image = await service.ask(Effect.flatMap(ImageIndex, (index) => index.get('systema', String(found['id']))))
    expect(image?.expires).toBeGreaterThanOrEqual(before + 3_600_000)
    expect(shown(await send('GET', `/api/lookup/systema/id/${String(found['id'])}/`))).toMatchObject({ id: found['id'], itype: 'id' })
  })

  it('GET lookup without a tag, of what is not there, and for whom it is not, is 404', async () => {
    expect((await send('GET', '/api/lookup/systema/bogus/')).status).toBe(404)
    expect(await send('GET', '/api/lookup/systema/docker/none/')).toMatchObject({ status: 404, body: { status: 404, error: 'image not found', message: 'Not Found: /api/lookup/systema/docker/none/' } })
    expect((await send('GET', '/api/lookup/systema/docker/library%2Falpine/', OTHER)).status).toBe(404)
    expect((await send('GET', '/api/lookup/systemb/docker/library%2Falpine/')).status).toBe(404)
  })

  it('GET list shows what is ready and readable', async () => {
    await pull('team/app:1')
    const tags = async (who: string) => ((await send('GET', '/api/list/systema/', who)).body as { list: { tag: string[]; status: string }[] }).list.map(({ status, tag }) => [status, tag])
    expect(await tags(USER)).toEqual([['READY', ['library/alpine:latest']], ['READY', ['team/app:1']]])
    expect(await tags(OTHER)).toEqual([['READY', ['team/app:1']]])
    expect((await send('GET', '/api/list/systemb/')).body).toEqual({ list: [] })
  })

  it('a pull of what is ready and recent asks the registry nothing, and a list that names more is applied', async () => {
    await pull('library/alpine:3', USER, '{"allowed_uids":"7"}')
    const before = (await registry.requests()).length
    expect(await pull('library/alpine:3', USER, '{"allowed_uids":"7"}')).toMatchObject({ status: 'READY' })
    expect(await pull('library/alpine:3')).toMatchObject({ status: 'READY' })
    expect((await registry.requests()).length).toBe(before)
    const more = await pull('library/alpine:3', USER, '{"allowed_uids":"7,8","allowed_gids":"9"}')
    expect(more['userACL']).toEqual(expect.arrayContaining([7, 8, 500]))
    expect(more['groupACL']).toEqual(expect.arrayContaining([9, 500]))
    expect((await registry.requests()).length).toBeGreaterThan(before)
  })

  it('a pull that fails says why, and is not tried again at once', async () => {
    const failed = await pull('none/such:1')
    expect(failed).toMatchObject({ status: 'FAILURE', tag: ['none/such:1'], id: 'MISSING' })
    expect(failed['status_message']).toMatch(/^MANIFEST_NOT_FOUND: /)
    const before = (await registry.requests()).length
    expect(await pull('none/such:1')).toMatchObject({ status: 'FAILURE' })
    expect((await registry.requests()).length).toBe(before)
  })

  it('GET queue shows the caller his own, and administrators everyone\'s', async () => {
    const queue = async (who: string) => (await send('GET', '/api/queue/systema/', who)).body
    expect(await queue(USER)).toEqual({ list: [{ status: 'FAILURE', image: 'none/such:1' }] })
    expect(await queue(OTHER)).toEqual({ list: [] })
    expect(await queue(ROOT)).toEqual({ list: [{ status: 'FAILURE', image: 'none/such:1' }] })
  })

  it('GET expire is false for a user, null for an administrator where there is nothing, and true', async () => {
    const expire = async (tag: string, who: string) => (await send('GET', `/api/expire/systema/docker/${tag}/`, who)).body
    await pull('third:1')
    expect(await expire('third%3A1', USER)).toEqual({ status: false })
    expect(await expire('none%3A1', USER)).toEqual({ status: false })
    expect(await expire('none%3A1', ROOT)).toEqual({ status: null })
    expect((await send('GET', '/api/lookup/systema/docker/third%3A1/')).status).toBe(200)
    expect(await expire('third%3A1', ROOT)).toEqual({ status: true })
    expect((await send('GET', '/api/lookup/systema/docker/third%3A1/')).status).toBe(404)
    // What has expired is pulled anew.
    expect(await pull('third:1')).toMatchObject({ status: 'READY' })
  })

  it('GET autoexpire expires what is due, on its own system, and is false for a user', async () => {
    const { list } = (await send('GET', '/api/list/systema/', ROOT)).body as { list: { id: string; tag: string[] }[] }
    const due = list.find(({ tag }) => tag.includes('third:1'))!
    const kept = list.find(({ tag }) => tag.includes('team/app:1'))!
    const now = await service.ask(Effect.flatMap(ImageIndex, (index) => index.now))
    await service.ask(Effect.flatMap(ImageIndex, (index) => Effect.zipRight(index.setExpiry('systema', due.id, now - 10_000), index.setExpiry('systema', kept.id, now + 1_000_000))))
    expect((await send('GET', '/api/autoexpire/systema/', USER)).body).toEqual({ status: false })
    expect((await send('GET', '/api/autoexpire/systemb/', ROOT)).body).toEqual({ status: [] })
    expect((await send('GET', '/api/lookup/systema/docker/team%2Fapp%3A1/', ROOT)).status).toBe(200)
    expect((await send('GET', '/api/autoexpire/systema/', ROOT)).body).toEqual({ status: [due.id] })
    expect((await send('GET', '/api/lookup/systema/docker/third%3A1/', ROOT)).status).toBe(404)
    expect((await send('GET', '/api/lookup/systema/docker/team%2Fapp%3A1/', ROOT)).status).toBe(200)
  })

  it('GET metrics is the latest lookups for administrators, and nothing for a user', async () => {
    expect((await send('GET', '/api/metrics/systema/', USER)).body).toEqual([])
    const rows = (await send('GET', '/api/metrics/systema/?limit=2', ROOT)).body as { uid: number; tag: string }[]
    expect(rows).toHaveLength(2)
    expect(rows.at(-1)).toMatchObject({ uid: 0, system: 'systema', type: 'docker', tag: 'team/app:1' })
    expect((await send('GET', '/api/metrics/systema/?limit=x', ROOT)).status).toBe(400)
  })

  it('POST doimport without a path or a format is a mistake of the caller, and without leave refused', async () => {
    for (const body of ['', '{}', '{"filepath":"/x"}', '{"format":"squashfs"}', '{"filepath":"","format":"squashfs"}', '{"filepath":"/x","format":"ext4"}']) {
      expect((await send('POST', '/api/doimport/systema/custom/mine/', USER, body)).status, body).toBe(400)
    }
    expect((await send('POST', '/api/doimport/systema/custom/mine/', USER, '{"filepath":"/x","format":"squashfs"}')).status).toBe(403)
    expect((await send('POST', '/api/doimport/systema/docker/mine/', ROOT, '{"filepath":"/x","format":"squashfs"}')).status).toBe(400)
  })

  it('POST doimport answers when the image is there, private to those who are named', async () => {
    mkdirSync(work.at('files'), { recursive: true, mode: 0o755 })
    writeFileSync(work.at('files', 'mine.tar'), tarBytes([{ name: 'x', type: 'file', data: 'x' }]))
    const imported = (path: string) => send('POST', '/api/doimport/systema/custom/mine/', ROOT, JSON.stringify({ filepath: path, format: 'tar', allowed_uids: '501' }))
    const done = shown(await imported(work.at('files', 'mine.tar')))
    expect(done).toMatchObject({ status: 'READY', itype: 'custom', tag: ['mine:latest'], userACL: [0, 501] })
    expect(shown(await send('GET', '/api/lookup/systema/custom/mine/', OTHER))['id']).toBe(done['id'])
    expect((await send('GET', '/api/lookup/systema/custom/mine/', USER)).status).toBe(404)
    // It lies elsewhere.
    const elsewhere = await imported('/etc/passwd')
    expect(elsewhere.status, elsewhere.text).toBe(404)
  })

  it('any call that is not good is refused', async () => {
    for (const who of [undefined, '', 'bad:user:user::501:501', 'good:user', 'good:a:b:c:d']) {
      for (const path of ['list/systema', 'lookup/systema/docker/team%2Fapp%3A1', 'queue/systema', 'expire/systema/docker/a', 'autoexpire/systema', 'metrics/systema']) {
        expect((await exchange(service.port, request('GET', `/api/${path}/`, who))).status, `${path} ${who ?? ''}`).toBe(401)
      }
      expect((await exchange(service.port, request('POST', '/api/pull/systema/docker/a/', who, ''))).status).toBe(401)
    }
  })

  it('changes nothing by another method', async () => {
    for (const method of ['HEAD', 'PUT', 'POST'] as const) {
      const path = '/api/expire/systema/docker/team%2Fapp%3A1/'
      if (method === 'HEAD') continue
      const reply = await exchange(service.port, request(method, path, ROOT, ''))
      expect(reply.status).toBe(405)
      expect(reply.headers).toContainEqual(['allow', 'GET'])
    }
    expect((await send('GET', '/api/pull/systema/docker/a/')).status).toBe(405)
    expect((await send('GET', '/api/lookup/systema/docker/team%2Fapp%3A1/', ROOT)).status).toBe(200)
  })

  it('keeps a location\'s images by their registry', async () => {
    expect(await pull('lab/secret:1', OTHER)).toMatchObject({ status: 'FAILURE', tag: ['lab/secret:1'] })
  })

  it('writes who did what into the audit log', async () => {
    const rows = await service.ask(Effect.flatMap(Audit, (audit) => audit.page({ system: 'systema', limit: 200 })))
    expect(rows.filter(({ action }) => action === 'expire').map(({ uid, why }) => [uid, why])).toEqual([[0, 'administrator'], [0, 'administrator']])
    expect(rows.findLast(({ action, uid }) => action === 'lookup' && uid === 500)).toMatchObject({ by: 'mock', reference: `docker:${registry.host}/library/alpine:latest`, why: 'owner' })
  })
})

describe('the dialect, with munge', () => {
  let service: DialectService
  let one: Munge
  let two: Munge
  let userA: Account
  let userB: Account
  beforeAll(async () => {
    ;({ userA, userB } = await ensureTestAccounts())
    one = await startMunge(work.at('one'))
    two = await startMunge(work.at('two'))
    const { config } = testSite(work.at('munge'), [registry.host, guarded.host])
    mkdirSync(work.at('munge', 'two'), { recursive: true })
    service = await startDialect({
      ...config,
      systems: { one: { imagePath: config.systems.test.imagePath, munge: one.socket, admins: [userB.name] }, two: { imagePath: work.at('munge', 'two'), munge: two.socket } },
      defaultSystem: 'one',
      server: { listen: ['127.0.0.1:0'] },
      dialect: { locations: { lab: guarded.host } },
    })
  })
  afterAll(async () => {
    await service.stop()
    await one.stop()
    await two.stop()
  })
  const as = (account: Account | undefined, payload = '') => one.credential(payload, account === undefined ? {} : { as: account })
  const get = async (path: string, account?: Account) => exchange(service.port, request('GET', path, await as(account)))
  const tag = () => encodeURIComponent(`${registry.host}/team/app:1`)

  it('a strict client pulls, looks up, lists and expires', async () => {
    const ready = await pulled(async () => exchange(service.port, request('POST', `/api/pull/one/docker/${tag()}/`, await as(userA), '')))
    expect(ready).toMatchObject({ status: 'READY', tag: [`${registry.host}/team/app:1`] })
    const found = await get(`/api/lookup/one/docker/${tag()}/`, userA)
    expect(found.headers.filter(([name]) => name === 'content-type')).toEqual([['content-type', 'application/json']])
    expect(shown(found)['id']).toBe(ready['id'])
    expect(((await get('/api/list/one/', userA)).body as { list: unknown[] }).list).toHaveLength(1)
    expect((await get(`/api/expire/one/docker/${tag()}/`, userA)).body).toEqual({ status: false })
    expect((await get(`/api/expire/one/docker/${tag()}/`, userB)).body).toEqual({ status: true })
    expect((await get(`/api/lookup/one/docker/${tag()}/`, userA)).status).toBe(404)
  })

  it('keeps a connection, with a credential for each request', async () => {
    const socket = connect(service.port, '127.0.0.1')
    try {
      for (let turn = 0; turn < 3; turn++) {
        const reply = await exchange(service.port, request('GET', '/api/list/one/', await as(userA), undefined, 'keep-alive'), socket)
        expect(reply.status).toBe(200)
      }
    } finally {
      socket.destroy()
    }
  })

  it('refuses a credential that was used, has expired or is of another system, and tokens', async () => {
    const used = await as(userA)
    const once = (credential: string) => exchange(service.port, request('GET', '/api/autoexpire/one/', credential))
    expect((await once(used)).status).toBe(200)
    const again = await once(used)
    expect(again).toMatchObject({ status: 401, body: { status: 401, error: expect.stringContaining('was used before') as string } })
    expect(again.headers).toContainEqual(['www-authenticate', 'Munge'])
    expect((await once(await two.credential('', { as: userA }))).status).toBe(401)
    expect((await exchange(service.port, request('GET', '/api/autoexpire/two/', await two.credential()))).status).toBe(200)
    for (const none of ['MUNGE:AAAA:', 'good:root:root::0:0', 'Bearer x', 'MUNGE:']) expect((await once(none)).status, none).toBe(401)
    const token = `GET /api/autoexpire/one/ HTTP/1.1\r\nHost: g\r\nAuthorization: Munge ${await as(undefined)}\r\nConnection: close\r\n\r\n`
    expect((await exchange(service.port, token)).status).toBe(401)
    const twice = `GET /api/autoexpire/one/ HTTP/1.1\r\nHost: g\r\nauthentication: ${await as(undefined)}\r\nauthentication: ${await as(undefined)}\r\nConnection: close\r\n\r\n`
    expect((await exchange(service.port, twice)).status).toBe(401)
  })

  it('pulls with the login that the credential carries, and shows it nowhere', async () => {
    const login = (password: string) => JSON.stringify({ authorized_locations: { default: 'nobody:x', lab: `ann:${password}` } })
    const pull = (account: Account, payload = '') => async () => exchange(service.port, request('POST', '/api/pull/one/docker/lab%2Fsecret%3A1/', await as(account, payload), ''))
    const ready = await pulled(pull(userA, login('se:cret')))
    expect(ready).toMatchObject({ status: 'READY', tag: ['lab/secret:1'], userACL: [userA.uid] })
    expect(service.log()).not.toContain('se:cret')
    const failed = await pulled(pull(userB, login('wrong-word')))
    // An administrator reads what is there.
    expect(failed.status).toBe('READY')
    expect(service.log()).not.toContain('wrong-word')
  })

  it('tells of a private image and of none in the same way', async () => {
    const someone: Account = { ...userB, name: 'nobody', uid: 65534, gid: 65534 }
    const there = await get('/api/lookup/one/docker/lab%2Fsecret%3A1/', someone)
    const none = await get('/api/lookup/one/docker/lab%2Fsecreu%3A1/', someone)
    const same = (reply: Reply) => [reply.status, reply.text.replace('secreu', 'secret'), reply.headers.filter(([name]) => !['date', 'x-request-id'].includes(name))]
    expect(same(there)).toEqual(same(none))
    expect((await get('/api/lookup/one/docker/lab%2Fsecret%3A1/', userA)).status).toBe(200)
    expect((await get('/api/list/one/', someone)).body).toEqual({ list: [] })
    // Asked for without a login, it is as one that nobody has pulled.
    const asked = async (name: string) => pulled(async () => exchange(service.port, request('POST', `/api/pull/one/docker/lab%2F${name}%3A1/`, await one.credential('', { as: someone }), '')))
    const [a, b] = [await asked('secret'), await asked('secreu')]
    expect([a.status, a['id'], String(a['status_message'])]).toEqual([b.status, b['id'], String(b['status_message']).replace('secreu', 'secret')])
    expect((await get('/api/queue/one/', userA)).body).toEqual({ list: [] })
  })

  it.each<[string, string, number[]]>([
    ['a malformed escape', 'GET /api/lookup/one/docker/%zz/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [400]],
    ['a NUL', 'GET /api/lookup/one/docker/a\0b/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [400]],
    ['a header that is too large', `GET /api/list/one/ HTTP/1.1\r\nHost: g\r\nauthentication: ${'A'.repeat(70_000)}\r\n\r\n`, [431]],
    ['an unknown system', 'GET /api/list/three/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [404]],
    ['a name of every object', 'GET /api/constructor/one/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [404]],
    ['no verb', 'GET /api/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [404]],
    ['an invalid verb', 'GET /api/invalid/one/docker/a/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [404]],
    ['a path to elsewhere', 'GET /api/../v1/images HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', [404]],
    ['no HTTP', 'hello\r\n\r\n', [400]],
  ])('%s is refused', async (_, bytes, statuses) => {
    expect(statuses).toContain((await exchange(service.port, bytes)).status)
  })

  it('is none the worse for it', async () => {
    expect((await get('/api/list/one/', userA)).status).toBe(200)
    expect(service.log()).not.toContain('level=ERROR')
  })
})

describe('the dialect, where public images are everyone\'s', () => {
  it('tells of public images without a credential, and of nothing else', async () => {
    const { config } = testSite(work.at('public'), [registry.host])
    const service = await startDialect({ ...config, server: { listen: ['127.0.0.1:0'], authentication: 'mock', publicReads: true } })
    try {
      const ask = (method: 'GET' | 'POST', path: string, who?: string, body?: string) => exchange(service.port, request(method, path, who, body ?? (method === 'POST' ? '' : undefined)))
      const path = (name: string) => `docker/${encodeURIComponent(`${registry.host}/${name}`)}`
      await pulled((body) => ask('POST', `/api/pull/test/${path('team/app:1')}/`, USER, body))
      await pulled((body) => ask('POST', `/api/pull/test/${path('third:1')}/`, USER, body), '{"allowed_uids":"7"}')
      expect((await ask('GET', `/api/lookup/test/${path('team/app:1')}/`)).status).toBe(200)
      expect((await ask('GET', `/api/lookup/test/${path('third:1')}/`)).status).toBe(404)
      expect(((await ask('GET', '/api/list/test/')).body as { list: { tag: string[] }[] }).list.map(({ tag }) => tag)).toEqual([[`${registry.host}/team/app:1`]])
      expect((await ask('GET', '/api/list/test/', 'bad:x:y')).status).toBe(401)
      expect((await ask('POST', `/api/pull/test/${path('team/app:1')}/`)).status).toBe(401)
      expect((await ask('GET', '/api/queue/test/')).status).toBe(401)
      expect((await ask('GET', `/api/expire/test/${path('team/app:1')}/`)).status).toBe(401)
    } finally {
      await service.stop()
    }
  })
})

describe('lists that nobody takes', () => {
  it('leave out what an image says too much of', async () => {
    const service = await startDialect({ ...testSite(work.at('talkative')).config, server: { listen: ['127.0.0.1:0'], authentication: 'mock' } })
    try {
      const id = '1'.repeat(64)
      const reference = 'docker:docker.io/library/large:latest'
      await service.ask(Effect.flatMap(ImageIndex, (index) => Effect.zipRight(
        index.put('test', {
          id, reference, sourceDigest: Digest.ofBytes(id), profile: 'test', platform: 'linux/amd64', imageSize: 1, imageSha256: id, entries: 1, access: 'public', owner: 1,
          allowUids: [], allowGids: [], entrypoint: [], command: [], labels: [['a', 'b']], env: [`V=${'x'.repeat(LISTED)}`],
        }),
        index.name('test', { reference, id }),
      )))
      const { body } = await exchange(service.port, request('GET', '/api/list/test/', USER, undefined))
      expect(body).toMatchObject({ list: [{ id, ENV: 'MISSING', LABELS: { a: 'b' } }] })
    } finally {
      await service.stop()
    }
  })

  it('are few of each user, and hold up no other', async () => {
    const service = await startDialect({ ...testSite(work.at('untaken')).config, server: { listen: ['127.0.0.1:0'], authentication: 'mock' } })
    const asks = (who: string) => request('GET', '/api/list/test/', who, undefined)
    try {
      // More than the system keeps of a connection.
      await service.ask(Effect.flatMap(ImageIndex, (index) => Effect.forEach(Array.from({ length: 600 }, (_, i) => i), (n) => {
        const id = String(n).padStart(64, '0')
        const reference = `docker:docker.io/library/large${n}:latest`
        return Effect.zipRight(
          index.put('test', {
            id, reference, sourceDigest: Digest.ofBytes(id), profile: 'test', platform: 'linux/amd64', imageSize: 1, imageSha256: id, entries: 1, access: 'public', owner: 1,
            allowUids: [], allowGids: [], entrypoint: [], command: [], labels: [['l', 'x'.repeat(LISTED - 100)]], env: [`V=${'x'.repeat(LISTED - 100)}`],
          }),
          index.name('test', { reference, id }),
        )
      })))
      const stalled = Array.from({ length: 8 }, () => connect(service.port, '127.0.0.1'))
      await Promise.all(stalled.map((socket) => {
        socket.write(asks(USER))
        return once(socket, 'readable')
      }))
      expect((await exchange(service.port, asks(USER))).status).toBe(429)
      expect((await exchange(service.port, asks(ROOT))).status).toBe(200)
      stalled.forEach((socket) => socket.destroy())
      await vi.waitFor(async () => expect((await exchange(service.port, asks(USER))).status).toBe(200), { timeout: 20_000 })
    } finally {
      await service.stop()
    }
  })
})
