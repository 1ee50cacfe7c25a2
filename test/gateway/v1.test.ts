/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- answers are JSON, whose parts are compared */
/** Version 1 of the API over a real socket: what it answers, and to whom. */
import { mkdirSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import * as HttpServerResponse from '@effect/platform/HttpServerResponse'
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import * as Layer from 'effect/Layer'
import * as Redacted from 'effect/Redacted'
import * as Scope from 'effect/Scope'
import { siteTransport, Transport } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as Server from '../../src/gateway/Server.js'
import { Tokens } from '../../src/core/Tokens.js'
import { writeLayout } from '../harness/ociLayout.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { type Answer, ask, type Service, startService } from '../harness/service.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('v1')
let service: Service
let registry: Registry
const ann = 'good:ann:ann::5001:5001'
const bob = 'good:bob:bob::5002:5002'
const member = 'good:mel:mel::5003:5050'
const root = 'good:root:root::0:0'
/** Calls of the transport, by name. */
let reads: string[] = []

const v1 = (path: string, options: Parameters<typeof ask>[1] = {}) => ask(`${service.url}${path}`, options)
const image = (reference: string, rest = '') => `/v1/image${rest}?reference=${encodeURIComponent(reference)}`
const name = (tag: string) => `docker:${registry.host}/${tag}`

/** Events of a stream, until it ends. */
const events = (path: string, as: string): Promise<{ status: number; text: string }> => ask(`${service.url}${path}`, { as }).then(({ status, text }) => ({ status, text }))

const pulled = async (tag: string, as: string, rest: Readonly<Record<string, unknown>> = {}): Promise<string> => {
  const created = await v1('/v1/pulls', { as, method: 'POST', body: { reference: name(tag), ...rest } })
  expect(created).toMatchObject({ status: 202 })
  await events(`/v1/pulls/${created.body.id}/events`, as)
  const { body } = await v1(`/v1/pulls/${created.body.id}`, { as })
  expect(body).toMatchObject({ state: 'done' })
  return body.imageId as string
}

beforeAll(async () => {
  registry = await startRegistry()
  for (const tag of ['open', 'secret', 'other']) {
    writeLayout(work.at(tag), { tag: 'v', layers: [[{ name: tag, type: 'file', data: tag }]] })
    await registry.push(work.at(tag), 'v', `${tag}:v`)
  }
  const site = testSite(work.at('site'), [registry.host])
  const transport = Layer.effect(
    Transport.Transport,
    Effect.map(Transport.Transport, (real) => Transport.Transport.of({
      ...real,
      lookup: (...args) => { reads.push('lookup'); return real.lookup(...args) },
      record: (...args) => { reads.push('record'); return real.record(...args) },
      list: (...args) => { reads.push('list'); return real.list(...args) },
    })),
  ).pipe(Layer.provide(siteTransport))
  service = await startService({ ...site.config, server: { bodyBytes: 65536, requestSeconds: 2, connections: 64 } }, { transport })
  await pulled('open:v', ann)
  await pulled('secret:v', ann, { allowGids: [5050] })
})
afterAll(async () => {
  await service.stop()
  await registry.stop()
})

describe('images', () => {
  it('are told to those who may use them, in pages', async () => {
    const names = (answer: Answer) => (answer.body.images as { name: string }[]).map((each) => each.name)
    expect(names(await v1('/v1/images', { as: ann }))).toEqual([name('open:v'), name('secret:v')])
    expect(names(await v1('/v1/images', { as: member }))).toEqual([name('open:v'), name('secret:v')])
    expect(names(await v1('/v1/images', { as: bob }))).toEqual([name('open:v')])
    const first = await v1('/v1/images?limit=1', { as: root })
    expect(names(first)).toEqual([name('open:v')])
    expect(names(await v1(`/v1/images?limit=1&after=${encodeURIComponent(first.body.next as string)}`, { as: root }))).toEqual([name('secret:v')])
    expect(names(await v1(`/v1/images?prefix=${encodeURIComponent(name('s'))}`, { as: root }))).toEqual([name('secret:v')])
    expect(names(await v1('/v1/images?owner=1', { as: root }))).toEqual([])
    expect(names(await v1('/v1/images?unnamed=true', { as: root }))).toEqual([])
  })

  it('are found by name and by id', async () => {
    const { body } = await v1(image(name('secret:v')), { as: ann })
    expect(body).toMatchObject({ system: 'test', names: [name('secret:v')], record: { access: 'private', owner: 5001, allowGids: [5050] } })
    expect((await v1(`/v1/lookup?reference=${encodeURIComponent(name('secret:v'))}`, { as: ann })).body).toEqual({ id: body.record.id })
    expect((await v1(image(`id:${body.record.id}`), { as: root })).body).toMatchObject({ names: [name('secret:v')] })
  })

  it.each(['', '/expiry', '/pin', '/access'])('that are private are as if they were not, for who may not use them: image%s', async (rest) => {
    const secret = (await v1(image(name('secret:v')), { as: ann })).body.record.id as string
    const methods = { '': ['GET', 'DELETE', 'HEAD'], '/expiry': ['PUT', 'DELETE'], '/pin': ['PUT', 'DELETE'], '/access': ['PATCH'] }[rest]!
    const bodies: Record<string, unknown> = { '/expiry': { expires: 1e13 }, '/access': { allowUids: [5002], allowGids: [] } }
    for (const method of methods) {
      for (const [hidden, missing] of [[name('secret:v'), name('zecret:v')], [`id:${secret}`, `id:${'f'.repeat(64)}`]] as const) {
        const tell = async (reference: string) => {
          reads = []
          const body = method === 'PUT' || method === 'PATCH' ? bodies[rest] : undefined
          const { headers, status, text } = await v1(image(reference, rest), { as: bob, method, ...(body === undefined ? {} : { body }) })
          const { date: _, 'x-request-id': __, ...others } = headers
          return { status, headers: others, text: text.replaceAll(reference, 'X'), reads }
        }
        const answer = await tell(hidden)
        expect(answer.status).toBe(404)
        expect(answer.reads).toContain('record')
        expect(answer).toEqual(await tell(missing))
      }
    }
    expect(await v1(image(name('secret:v')), { as: ann })).toMatchObject({ status: 200 })
  })

  it('are changed by their owners and administrators alone', async () => {
    for (const [rest, method, body] of [['', 'DELETE'], ['/expiry', 'PUT', { expires: 1e13 }], ['/expiry', 'DELETE'], ['/pin', 'PUT'], ['/pin', 'DELETE'], ['/access', 'PATCH', { allowUids: [], allowGids: [] }]] as const) {
      expect(await v1(image(name('open:v'), rest), { as: bob, method, ...(body === undefined ? {} : { body }) })).toMatchObject({ status: 403, body: { code: 'ACCESS_DENIED' } })
    }
    expect((await v1(image(name('open:v'), '/expiry'), { as: ann, method: 'PUT', body: { expires: 10_000_000_000_000 } })).body).toMatchObject({ expires: 10_000_000_000_000 })
    expect((await v1(image(name('open:v'), '/expiry'), { as: root, method: 'DELETE' })).body).not.toHaveProperty('expires')
    expect((await v1(image(name('open:v'), '/pin'), { as: ann, method: 'PUT' })).body).toEqual({ pinned: true })
    expect((await v1(image(name('open:v')), { as: ann })).body).toMatchObject({ pins: [5001] })
    expect((await v1(image(name('open:v'), '/pin'), { as: ann, method: 'DELETE' })).body).toEqual({ pinned: false })
    expect(await v1(image(name('open:v'), '/pin'), { as: ann, method: 'DELETE' })).toMatchObject({ status: 400 })
  })

  it('are opened to others by their owners, and made public by administrators alone', async () => {
    const access = (as: string, body: unknown) => v1(image(name('secret:v'), '/access'), { as, method: 'PATCH', body })
    expect((await access(ann, { allowUids: [5002], allowGids: [5050] })).body).toMatchObject({ record: { allowUids: [5002], allowGids: [5050], access: 'private' } })
    expect(await v1(image(name('secret:v')), { as: bob })).toMatchObject({ status: 200 })
    expect(await access(bob, { allowUids: [5002], allowGids: [] })).toMatchObject({ status: 403 })
    expect(await access(ann, { access: 'public', allowUids: [], allowGids: [] })).toMatchObject({ status: 403 })
    expect(await v1(image(name('open:v'), '/access'), { as: ann, method: 'PATCH', body: { access: 'private' } })).toMatchObject({ status: 403 })
    expect(await v1(image(name('open:v'), '/access'), { as: ann, method: 'PATCH', body: { allowUids: [1] } })).toMatchObject({ status: 400 })
    expect((await access(ann, { allowGids: [5050] })).body).toMatchObject({ record: { allowUids: [] } })
    expect(await v1(image(name('secret:v')), { as: bob })).toMatchObject({ status: 404 })
  })

  it('leave a trace', async () => {
    const { body } = await v1('/v1/audit?action=access', { as: root })
    expect(body.rows[0]).toMatchObject({ uid: 5001, by: 'mock', system: 'test', why: 'owner', reference: name('secret:v') })
    expect((await v1('/v1/audit?action=refused&uid=5002', { as: root })).body.rows.length).toBeGreaterThan(0)
    expect(await v1('/v1/audit', { as: ann })).toMatchObject({ status: 403 })
  })
})

describe('pulls', () => {
  it('are followed by events, from the id on that was told last', async () => {
    const created = await v1('/v1/pulls', { as: bob, method: 'POST', body: { reference: name('other:v') } })
    expect(created.body).toMatchObject({ system: 'test', reference: name('other:v') })
    const path = `/v1/pulls/${created.body.id}`
    const { text } = await events(`${path}/events`, bob)
    expect(text).toMatch(/^retry: \d+\n\n/)
    const told = [...text.matchAll(/^event: pull\nid: (\S+)\ndata: (.*)$/gm)].map(([, id, data]) => ({ id: id!, ...(JSON.parse(data!) as { state: string }) }))
    expect(told.at(-1)).toMatchObject({ state: 'done' })
    expect((await v1(path, { as: bob })).body).not.toHaveProperty('askers')
    expect((await v1(path, { as: root })).body).toMatchObject({ askers: [5002] })
    for (const rest of ['', '/events']) expect(await v1(`${path}${rest}`, { as: ann })).toMatchObject({ status: 404, body: { code: 'PULL_NOT_FOUND' } })
    expect(await v1(path, { as: ann, method: 'DELETE' })).toMatchObject({ status: 404 })
    expect((await v1('/v1/pulls', { as: bob })).body.pulls).toHaveLength(1)
  })

  it.each([
    [{ reference: 'oci:/etc:v' }, 422, 'SOURCE_UNSUPPORTED'],
    [{ reference: '' }, 400, 'USAGE'],
    [{ reference: 3 }, 400, 'USAGE'],
    [{}, 400, 'USAGE'],
    [{ reference: 'docker:x', platform: 'nonsense' }, 400, undefined],
    ['no JSON', 400, 'USAGE'],
    ['x'.repeat(70_000), 413, 'LIMIT_EXCEEDED'],
  ])('are refused: %.40j', async (body, status, code) => {
    const answer = await v1('/v1/pulls', { as: root, method: 'POST', body })
    expect({ status: answer.status, ...(code === undefined ? {} : { code: answer.body.code as string }) }).toEqual({ status, ...(code === undefined ? {} : { code }) })
    expect(Object.keys(answer.body as object)).toEqual(['code', 'reason', 'what', 'remedy', 'message'])
  })

  it.each([
    ['/v1/pulls', 'POST', { reference: 'docker:x', allowUid: [1] }, 'allowUid'],
    ['/v1/pulls', 'POST', { reference: 'docker:x', credentials: { username: 'a', password: 'b', passwort: 'c' } }, 'credentials.passwort'],
    ['/v1/image/access?reference=docker:x', 'PATCH', { allowUid: [1] }, 'allowUid'],
    ['/v1/image/expiry?reference=docker:x', 'PUT', { expires: 2e12, days: 1 }, 'days'],
    ['/v1/uploads', 'POST', { name: 'x', bytes: 1, sha: 'x' }, 'sha'],
    ['/v1/imports', 'POST', { reference: 'custom:x', source: { _tag: 'Path', path: '/x' }, allowGid: [1] }, 'allowGid'],
    ['/v1/tokens', 'POST', { label: 'x', scopes: ['read'], expiresInSeconds: 600, system: 'test' }, 'system'],
  ])('of %s that holds a key that is not known is refused', async (path, method, body, key) => {
    // As if it were not there, an access list that is mistyped would make an image everybody's.
    expect(await v1(path, { as: ann, method, body })).toMatchObject({ status: 400, body: { code: 'USAGE', what: `${key} is unknown` } })
  })

  it.each([['POST', '/v1/collect?dryrun=true', 'dryrun'], ['GET', '/v1/images?sytem=other', 'sytem'], ['DELETE', '/v1/tokens/1?everyone=true', 'everyone']])('a query that is not known is refused: %s %s', async (method, path, key) => {
    expect(await v1(path, { as: ann, method })).toMatchObject({ status: 400, body: { code: 'USAGE', what: `${key} is unknown` } })
  })

  it('never tell what was sent', async () => {
    const answer = await v1('/v1/pulls', { as: ann, method: 'POST', body: { reference: 'docker:x', credentials: { username: 7, password: 'hunter2' } } })
    expect(answer.status).toBe(400)
    const refused = await v1('/v1/pulls', { as: ann, method: 'POST', body: '{"credentials":{"password":"hunter2"' })
    expect(`${answer.text}${refused.text}${service.log.join('')}`).not.toContain('hunter2')
  })
})

describe('tokens', () => {
  it('do what they are for, and make no others', async () => {
    const made = await v1('/v1/tokens', { as: ann, method: 'POST', body: { label: 'portal', scopes: ['read'], expiresInSeconds: 600 } })
    expect(made).toMatchObject({ status: 201, body: { token: { uid: 5001, scopes: ['read'], systems: ['test'] } } })
    const headers = { authorization: `Bearer ${made.body.secret as string}` }
    expect(await v1(image(name('secret:v')), { headers })).toMatchObject({ status: 200 })
    expect(await v1('/v1/pulls', { headers, method: 'POST', body: { reference: name('open:v') } })).toMatchObject({ status: 403 })
    expect(await v1('/v1/tokens', { headers, method: 'POST', body: { label: 'x', scopes: ['read'], expiresInSeconds: 600 } })).toMatchObject({ status: 403 })
    // Whether the image is there makes no difference to who may not try.
    const [there, missing] = await Promise.all([image(name('open:v')), image(name('nothing'))].map((path) => v1(path, { headers, method: 'DELETE' })))
    expect([there!.status, there!.text]).toEqual([403, missing!.text])
    const { id } = made.body.token as { id: string }
    expect((await v1('/v1/tokens', { as: bob })).body).toEqual({ tokens: [] })
    expect(await v1(`/v1/tokens/${id}`, { as: bob, method: 'DELETE' })).toMatchObject({ status: 400 })
    expect(await v1(`/v1/tokens/${id}`, { as: ann, method: 'DELETE' })).toMatchObject({ status: 204 })
    expect(await v1(image(name('open:v')), { headers })).toMatchObject({ status: 401 })
    expect(service.log.join('')).not.toContain(made.body.secret)
  })
})

describe('a service of two systems', () => {
  let two: Service
  const here = 'test'
  const there = 'other'
  const ask2 = (path: string, options: Parameters<typeof ask>[1] = {}) => ask(`${two.url}${path}`, options)
  const made = async (as: string, system: string, label: string) =>
    (await ask2(`/v1/tokens?system=${system}`, { as, method: 'POST', body: { label, scopes: ['read'], expiresInSeconds: 600 } })).body.token.id as string
  const labels = async (as: string, query: string) =>
    ((await ask2(`/v1/tokens?${query}`, { as })).body.tokens as { label: string }[]).map(({ label }) => label).sort()
  const minted = (uid: number, label: string, systems: readonly string[]) =>
    Effect.runPromise(Effect.flatMap(Tokens, (tokens) => tokens.create({ label, uid, scopes: ['manage'], systems, expiresIn: 600_000 })).pipe(Effect.provide(two.context)))

  beforeAll(async () => {
    const { config } = testSite(work.at('two'), [registry.host])
    const imagePath = work.at('two-other')
    mkdirSync(imagePath, { mode: 0o755 })
    two = await startService({ ...config, defaultSystem: here, systems: { ...config.systems, [there]: { imagePath, admins: [5001] } } })
  })
  afterAll(() => two.stop())

  it('lets nobody with the key of the one at the tokens of the other, be he its root', async () => {
    const mine = await made(ann, here, 'mine')
    const abroad = await made(ann, there, 'abroad')
    const both = (await minted(5001, 'both', [])).token.id
    expect(await labels(ann, `system=${here}`)).toEqual(['both', 'mine'])
    expect(await labels(ann, `system=${there}`)).toEqual(['abroad', 'both'])
    expect(await labels(root, `system=${here}&all=true`)).toEqual(['mine'])
    for (const [as, query, id] of [[ann, `system=${here}`, abroad], [root, `system=${here}&all=true`, abroad], [root, `system=${here}&all=true`, both]] as const) {
      expect(await ask2(`/v1/tokens/${id}?${query}`, { as, method: 'DELETE' })).toMatchObject({ status: 400, body: { what: 'There is no such token of yours' } })
    }
    for (const [as, query, id] of [[root, `system=${there}&all=true`, abroad], [root, `system=${here}&all=true`, mine], [ann, `system=${here}`, both]] as const) {
      expect(await ask2(`/v1/tokens/${id}?${query}`, { as, method: 'DELETE' })).toMatchObject({ status: 204 })
    }
  })

  it('tells an administrator of the one not who else asked for a pull of the other', async () => {
    const { body } = await ask2('/v1/pulls', { as: ann, method: 'POST', body: { reference: name('none:v') } })
    await ask2('/v1/pulls', { as: bob, method: 'POST', body: { reference: name('none:v') } })
    const headers = { authorization: `Bearer ${Redacted.value((await minted(5001, 'both', [])).secret)}` }
    const path = `/v1/pulls/${body.id as string}`
    for (const [way, method] of [[path, 'GET'], [`${path}/events`, 'GET'], [path, 'DELETE']] as const) {
      const { status, text } = await ask2(`${way}?system=${there}`, { headers, method })
      expect({ status, tells: text.includes('askers') }).toEqual({ status: 200, tells: false })
    }
    expect((await ask2(path, { as: root })).body).toMatchObject({ askers: [5001, 5002] })
  })
})

describe('the service', () => {
  it('says what it is', async () => {
    for (const path of ['/healthz', '/readyz']) expect(await v1(path)).toMatchObject({ status: 200, text: '{"status":"ok"}', headers: { 'content-type': 'application/json', 'content-length': '15' } })
    expect((await v1('/v1/version')).body).toEqual({ version: '0.0.0-test', api: 1 })
    expect((await v1('/v1/systems', { as: root })).body).toEqual({ systems: [{ name: 'test', isDefault: true, may: ['read', 'pull', 'manage'], isAdmin: true }] })
    expect((await v1('/v1/queue', { as: bob })).body).toMatchObject({ pulls: [], counts: expect.any(Array) as unknown })
  })

  it('describes its API, on a page that asks nothing of other hosts', async () => {
    const { body } = await v1('/v1/openapi.json')
    expect(body).toMatchObject({ openapi: expect.stringMatching(/^3\./) as string, components: { securitySchemes: { munge: {}, token: {} } } })
    expect(Object.keys(body.paths as object)).toEqual(expect.arrayContaining(['/v1/images', '/v1/pulls/{id}/events', '/v1/tokens', '/metrics']))
    const page = await v1('/v1/docs')
    expect(page.headers['content-security-policy']).toContain("default-src 'none'")
    expect(page.text).not.toMatch(/(?:src|href)="https?:/)
  })

  it('counts without names', async () => {
    const { text } = await v1('/metrics')
    expect(text.includes('shifter_http_requests_total{route="/v1/image",method="GET",status="200"}')).toBe(true)
    expect(text).toMatch(/^shifter_pulls_total\{outcome="done"\} [1-9]/m)
    expect(text).toMatch(/^shifter_phase_seconds_count\{phase="convert"\} [1-9]/m)
    expect(text).toMatch(/^shifter_conversions_total [1-9]/m)
    expect(text).toMatch(/^shifter_fetched_bytes_total [1-9]/m)
    for (const secret of ['secret', 'open:v', '5001', registry.host]) expect(text.includes(secret)).toBe(false)
  })

  it('keeps nothing of paths that strangers make up', async () => {
    for (const path of ['/api/madeup/x/', '/api/madeupagain/x/', '/madeup', '/v1/madeup', '//madeup', '/api/list/madeup/']) await v1(path)
    const { text } = await vi.waitFor(async () => {
      const answer = await v1('/metrics')
      expect(answer.text.includes('route="/api/list"')).toBe(true)
      return answer
    }, { timeout: 10_000 })
    expect({ known: text.includes('route="unknown"'), madeUp: text.includes('madeup') }).toEqual({ known: true, madeUp: false })
  })

  it('refuses a body that is nested deeper than can be read, and does not call that its own failure', async () => {
    const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`
    for (const body of [deep, `{"reference":${deep}}`]) {
      expect(await v1('/v1/pulls', { as: ann, method: 'POST', body })).toMatchObject({ status: 400, body: { code: 'USAGE' } })
    }
    expect(service.log.join('')).not.toContain('unexpectedly')
  })

  it.each([['/nonsense', 'GET', 404], ['/v1/images', 'PUT', 405], ['/v1/pulls/x', 'POST', 405], ['/v1/images/../../etc', 'GET', 404]] as const)('has no %s for %s: %i', async (path, method, status) => {
    const answer = await v1(path, { as: ann, method })
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toBe('application/json')
    if (status === 405) expect(answer.headers.allow).toBeDefined()
  })

  it('asks who it is', async () => {
    for (const [path, method] of [['/v1/images', 'GET'], ['/v1/pulls', 'POST'], ['/v1/tokens', 'GET'], ['/v1/queue', 'GET'], ['/v1/audit', 'GET']] as const) {
      expect(await v1(path, { method, body: method === 'POST' ? {} : undefined })).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Munge, Bearer' }, body: { code: 'UNAUTHENTICATED' } })
    }
    expect(await v1('/v1/images?system=none', { as: ann })).toMatchObject({ status: 400, body: { code: 'SYSTEM_UNKNOWN' } })
  })

  it('waits for nobody who dawdles', async () => {
    const { hostname, port } = new URL(service.url)
    const socket = connect(Number(port), hostname)
    socket.write('POST /v1/pulls HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n')
    const answer = await new Promise<string>((resolve) => {
      let text = ''
      socket.on('data', (chunk) => { text += chunk.toString() }).once('close', () => resolve(text))
    })
    expect(answer).toMatch(/^HTTP\/1.1 408 /)
  })

  it('keeps nothing of an answer whose reader has gone, or takes nothing of it', async () => {
    const scope = Effect.runSync(Scope.make())
    let ended = 0
    const big: Server.Dialect = {
      prefix: '/big',
      routes: ['/big'],
      app: Effect.as(Effect.addFinalizer(() => Effect.sync(() => { ended++ })), HttpServerResponse.uint8Array(new Uint8Array(64 * 1024 * 1024))),
    }
    const served = Server.serve({ site: service.site, version: 'test', dialects: [big], answerSeconds: 1 })
    const { addresses } = await Effect.runPromise(Scope.extend(served, scope).pipe(Effect.provide(service.context)))
    try {
      for (const [i, way] of (['goes', 'breaks', 'stays'] as const).entries()) {
        const socket = connect(Number(new URL(addresses[0] ?? '').port), '127.0.0.1')
        socket.on('error', () => undefined).once('readable', () => {
          if (way === 'goes') socket.destroy()
          if (way === 'breaks') socket.resetAndDestroy()
        })
        socket.write('GET /big HTTP/1.1\r\nHost: x\r\n\r\n')
        await vi.waitFor(() => expect([way, ended]).toEqual([way, i + 1]), { timeout: 10_000 })
        socket.destroy()
      }
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  })

  it('takes no body without end', async () => {
    const status = await new Promise<number>((resolve) => {
      const request = httpRequest(`${service.url}/v1/pulls`, { method: 'POST', headers: { authorization: `Munge ${ann}`, 'content-type': 'application/json', 'transfer-encoding': 'chunked' } }, (response) => {
        resolve(response.statusCode ?? 0)
        request.destroy()
      })
      // Told by an answer, or by the end of the connection when more is on its way.
      request.once('error', () => resolve(0))
      request.write('x'.repeat(100_000))
    })
    expect([0, 413]).toContain(status)
  })
})
