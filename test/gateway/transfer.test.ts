/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- answers are JSON, whose parts are compared */
/** What moves files between a service and its users: uploads, imports and exports, with connections that are cut; and what administrators ask for. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import * as Context from 'effect/Context'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Redacted from 'effect/Redacted'
import { collectImages, exportImage, importImage, keepImage, pinImage, type ProgressEvent, scrubImages, Tokens, unpinImage } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { rangeOf } from '../../src/gateway/v1/ImageFile.js'
import { failure, madeSource } from '../harness/gateway.js'
import { type Answer, ask, type Service, startService } from '../harness/service.js'
import { type TestSite, testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('transfer')
let site: TestSite
let service: Service
/** A service whose images are what the tests want. */
let made: Service
let token: string
const begun = Effect.runSync(Deferred.make<undefined>())
const go = Effect.runSync(Deferred.make<undefined>())
let conversions = 0
const ann = 'good:ann:ann::5001:5001'
const bob = 'good:bob:bob::5002:5002'
const eve = 'good:eve:eve::5003:5003'
const root = 'good:root:root::0:0'
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const noise = randomBytes(9 * 1024 * 1024)
const tar = tarBytes([{ name: 'noise', type: 'file', data: noise }])

beforeAll(async () => {
  site = testSite(work.at('site'))
  const settings = { server: { bodyBytes: 4096, requestSeconds: 2 }, import: { users: [0, 5001, 5002], uploadBytes: 20 * 1024 * 1024, roots: [] } }
  service = await startService({ ...site.config, ...settings })
  const before = Effect.suspend(() => { conversions++; return Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go)) })
  made = await startService({ ...testSite(work.at('made')).config, ...settings }, { sources: [madeSource({ 'slow:latest': { content: 'slow', before } })] })
  const tokens = Context.get(service.context, Tokens.Tokens)
  token = Redacted.value((await Effect.runPromise(tokens.create({ label: 't', uid: 0, scopes: ['manage'], systems: ['test'], expiresIn: 600_000 }))).secret)
})
afterAll(async () => {
  await made.stop()
  await service.stop()
})

const v1 = (path: string, options: Parameters<typeof ask>[1] = {}, of = service) => ask(`${of.url}${path}`, options)
const create = async (as: string, body: object, of = service) => v1('/v1/uploads', { as, method: 'POST', body: { name: 'x.tar', ...body } }, of)
/** Sends bytes, as they are. */
const append = (id: string, as: string, offset: number, bytes: Buffer, of = service): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = httpRequest(`${of.url}/v1/uploads/${id}`, { method: 'PATCH', agent: false, headers: { authorization: `Munge ${as}`, 'upload-offset': String(offset), 'content-length': bytes.length } }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => { text += chunk.toString() }).once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text, get body(): unknown { return JSON.parse(text) as unknown } }))
    })
    request.once('error', reject)
    request.end(bytes)
  })

/** A way to the service that is cut once, after so many bytes from the client or to it. */
const cutting = async (from: 'client' | 'service', after: number) => {
  let cuts = 0
  const sockets = new Set<Socket>()
  const server: Server = createServer((client) => {
    const { hostname, port } = new URL(service.url)
    const upstream = connect(Number(port), hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined).once('close', () => { client.destroy(); upstream.destroy() })
    }
    let passed = 0
    const pass = (to: Socket, counts: boolean) => (chunk: Buffer) => {
      passed += counts ? chunk.length : 0
      if (counts && cuts === 0 && passed > after) {
        cuts++
        client.destroy()
        upstream.destroy()
      } else to.write(chunk)
    }
    client.on('data', pass(upstream, from === 'client'))
    upstream.on('data', pass(client, from === 'service'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cuts: () => cuts,
    close: () => { for (const socket of sockets) socket.destroy(); server.close() },
  }
}
const done = ({ text }: Answer) => JSON.parse(/^event: done\ndata: (.*)$/m.exec(text)?.[1] ?? 'null') as unknown
/** At once, or in the end. */
const refusedBy = ({ status, text }: Answer) => (JSON.parse(status === 200 ? /^event: error\ndata: (.*)$/m.exec(text)?.[1] ?? 'null' : text) as { code: string } | null)?.code

describe('an upload', () => {
  it('comes in pieces of its user, larger than other requests, and is imported', async () => {
    const { body, status } = await create(ann, { bytes: tar.length, sha256: sha256(tar) })
    expect(status).toBe(201)
    const id = body.id as string
    expect((await append(id, ann, 0, tar.subarray(0, 100_000))).body).toMatchObject({ offset: 100_000, complete: false })
    expect(await append(id, ann, 0, tar.subarray(0, 100))).toMatchObject({ status: 409, headers: { connection: 'close' }, body: { code: 'UPLOAD_CONFLICT' } })
    for (const answer of [await append(id, bob, 100_000, tar.subarray(100_000)), await v1(`/v1/uploads/${id}`, { as: bob }), await v1(`/v1/uploads/${id}`, { as: bob, method: 'DELETE' })]) {
      expect(answer).toMatchObject({ status: 404, body: { code: 'UPLOAD_NOT_FOUND' } })
    }
    expect(await v1(`/v1/uploads/${id}`, { as: eve })).toMatchObject({ status: 404 })
    expect((await append(id, ann, 100_000, tar.subarray(100_000))).body).toMatchObject({ complete: true, digest: `sha256:${sha256(tar)}` })
    const wanted = { reference: 'custom:up', source: { _tag: 'Upload', id }, metadata: { env: ['A=b'] }, allowUids: [5002] }
    expect(refusedBy(await v1('/v1/imports', { as: bob, method: 'POST', body: wanted }))).toBe('UPLOAD_NOT_FOUND')
    const imported = await v1('/v1/imports', { as: ann, method: 'POST', body: wanted })
    expect(imported.headers['content-type']).toBe('text/event-stream')
    expect(done(imported)).toMatchObject({ owner: 5001, access: 'private', allowUids: [5002], env: ['A=b'] })
    // Asked again by whom it could not be told.
    expect(done(await v1('/v1/imports', { as: ann, method: 'POST', body: wanted }))).toEqual(done(imported))
    expect(await v1(`/v1/uploads/${id}`, { as: ann })).toMatchObject({ status: 404 })
    expect((await v1('/v1/audit?action=import', { as: root })).body.rows).toMatchObject([
      { uid: 5001, reference: 'custom:up:latest', why: 'upload' },
      { uid: 5001, reference: 'custom:up:latest', why: expect.stringMatching(/^asked, as pull/) as string },
    ])
  })

  it('is refused above the limit, for who may not import, with other bytes than it said, and without an offset', async () => {
    expect(await create(ann, { bytes: 20 * 1024 * 1024 + 1 })).toMatchObject({ status: 413, body: { code: 'LIMIT_EXCEEDED' } })
    expect(await create(eve, { bytes: 1 })).toMatchObject({ status: 403 })
    expect(await v1('/v1/uploads', { method: 'POST', body: { name: 'x', bytes: 1 } })).toMatchObject({ status: 401 })
    const { id } = (await create(ann, { bytes: 10, sha256: '0'.repeat(64) })).body as { id: string }
    expect(await append(id, ann, 0, Buffer.alloc(11))).toMatchObject({ status: 409 })
    expect(await v1(`/v1/uploads/${id}`, { as: ann, method: 'PATCH', body: 'x' })).toMatchObject({ status: 400 })
    expect((await append(id, ann, 0, Buffer.alloc(10))).body).toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect(await v1(`/v1/uploads/${id}`, { as: ann })).toMatchObject({ status: 404 })
    const other = (await create(ann, { bytes: 10 })).body as { id: string }
    expect(await v1(`/v1/uploads/${other.id}`, { as: ann, method: 'DELETE' })).toMatchObject({ status: 204 })
    // What is no upload has the limit of all requests.
    expect(await v1('/v1/uploads', { as: ann, method: 'POST', body: 'x'.repeat(5000) })).toMatchObject({ status: 413 })
  })

  it('that is cut goes on from what came, and one that stalls is ended', async () => {
    const { id } = (await create(ann, { bytes: tar.length })).body as { id: string }
    const { hostname, port } = new URL(service.url)
    const sent = tar.subarray(0, 1_000_000)
    const head = `PATCH /v1/uploads/${id} HTTP/1.1\r\nHost: x\r\nAuthorization: Munge ${ann}\r\nUpload-Offset: 0\r\nContent-Length: ${tar.length}\r\n\r\n`
    const socket = connect(Number(port), hostname)
    socket.write(head)
    await new Promise((resolve) => socket.write(sent, resolve))
    socket.end()
    const offset = await vi.waitFor(async () => {
      const { body } = await v1(`/v1/uploads/${id}`, { as: ann })
      expect(body.offset).toBeGreaterThan(0)
      return body.offset as number
    }, { timeout: 10_000, interval: 50 })
    expect(offset).toBeLessThanOrEqual(sent.length)
    const slow = connect(Number(port), hostname)
    slow.write(head.replace('Upload-Offset: 0', `Upload-Offset: ${offset}`))
    const answer = await new Promise<string>((resolve) => {
      let text = ''
      slow.on('data', (chunk) => { text += chunk.toString() }).once('close', () => resolve(text))
    })
    expect(answer).toMatch(/^HTTP\/1\.1 400 [\s\S]*Nothing of the upload came for 2 s/)
    expect((await append(id, ann, offset, tar.subarray(offset))).body).toMatchObject({ complete: true })
  })
})

describe('an import', () => {
  it('goes on when its connection is lost, and is joined by the same request', async () => {
    const { id } = (await create(ann, { bytes: 1 }, made)).body as { id: string }
    await append(id, ann, 0, Buffer.alloc(1), made)
    const wanted = { as: ann, method: 'POST', body: { reference: 'custom:slow', source: { _tag: 'Upload', id } } }
    const lost = httpRequest(`${made.url}/v1/imports`, { method: 'POST', headers: { authorization: `Munge ${ann}`, 'content-type': 'application/json' } })
    lost.once('error', () => undefined)
    lost.end(JSON.stringify(wanted.body))
    await Effect.runPromise(Deferred.await(begun))
    lost.destroy()
    const joined = v1('/v1/imports', wanted, made)
    // It is a pull like any.
    expect((await v1('/v1/pulls', { as: ann }, made)).body.pulls).toMatchObject([{ reference: 'custom:slow:latest', state: 'running' }])
    await Effect.runPromise(Deferred.succeed(go, undefined))
    expect(done(await joined)).toMatchObject({ owner: 5001 })
    expect(conversions).toBe(1)
  })

  it.each([
    [{ reference: 'custom:x', source: { _tag: 'Path', path: '/etc/shadow' } }, 'FILE_UNAVAILABLE'],
    [{ reference: 'docker:x', source: { _tag: 'Path', path: '/etc/shadow' } }, 'REFERENCE_INVALID'],
    [{ reference: 'custom:x', source: { _tag: 'Url', url: 'https://example.org/x' } }, 'OPTION_UNAVAILABLE'],
  ])('of what may not be is refused: %j', async (body, code) => {
    const codes = [refusedBy(await v1('/v1/imports', { as: ann, method: 'POST', body })), refusedBy(await v1('/v1/imports', { as: ann, method: 'POST', body }))]
    expect(codes[0]).toBe(codes[1])
    expect(codes[0]).toBeDefined()
    if (code !== 'OPTION_UNAVAILABLE') expect(codes[0]).toBe(code)
    expect(refusedBy(await v1('/v1/imports', { as: eve, method: 'POST', body: { ...body, reference: 'custom:x' } }))).toBe('ACCESS_DENIED')
  })
})

describe('the library', () => {
  it('uploads a file of its own machine over a connection that is cut, and exports the image over another', async () => {
    writeFileSync(work.at('own.tar'), tar)
    const up = await cutting('client', 5 * 1024 * 1024)
    const events: ProgressEvent[] = []
    const uploads = () => readdirSync(join(site.stateDirectory, 'uploads')).filter((name) => /^[0-9a-f]{32}$/.test(name))
    const others = uploads()
    const record = await importImage('custom:own:1', work.at('own.tar'), { gateway: up.url, token, metadata: { command: ['x'] }, onProgress: (event) => void events.push(event) })
    up.close()
    expect(up.cuts()).toBe(1)
    expect(record).toMatchObject({ owner: 0, command: ['x'], sourceDigest: `sha256:${sha256(tar)}` })
    expect(events.filter(({ _tag }) => _tag === 'Received').at(-1)).toMatchObject({ received: tar.length, bytes: tar.length })
    // It is removed once the image is there; the answer does not wait for that.
    await vi.waitFor(() => expect(uploads().filter((name) => !others.includes(name))).toEqual([]), { timeout: 10_000, interval: 50 })

    const down = await cutting('service', 3 * 1024 * 1024)
    const target = work.at('own.squashfs')
    await exportImage('custom:own:1', { gateway: down.url, token, format: 'squashfs', target })
    down.close()
    expect(down.cuts()).toBe(1)
    expect(sha256(readFileSync(target))).toBe(record.imageSha256)
    await exportImage('custom:own:1', { gateway: service.url, token, format: 'tar', target: work.at('exported.tar') })
    expect(readFileSync(work.at('exported.tar')).includes(noise.subarray(0, 1000))).toBe(true)
    expect((await failure(exportImage('custom:own:1', { gateway: service.url, token, format: 'squashfs', target }))).code).toBe('EXPORT_FAILED')
    expect((await failure(exportImage('custom:none', { gateway: service.url, token, format: 'squashfs', target: work.at('none') }))).code).toBe('IMAGE_NOT_FOUND')
    expect((await failure(importImage('custom:own:2', work.at('missing'), { gateway: service.url, token }))).code).toBe('FILE_UNAVAILABLE')
  })

  it('keeps, pins, collects and scrubs', async () => {
    const to = { gateway: service.url, token }
    const when = new Date(Date.now() + 3_600_000)
    expect(await keepImage('custom:own:1', when, to)).toMatchObject({ expires: when.getTime(), pins: [] })
    expect(await keepImage('custom:own:1', undefined, to)).toMatchObject({ expires: undefined })
    expect(await pinImage('custom:own:1', to)).toMatchObject({ pins: [0] })
    expect(await unpinImage('custom:own:1', to)).toMatchObject({ pins: [] })
    expect((await failure(unpinImage('custom:own:1', to))).code).toBe('USAGE')
    expect(await collectImages({ ...to, dryRun: true })).toMatchObject({ system: 'test', removed: [], problems: [] })
    expect(await scrubImages(to)).toMatchObject({ system: 'test', damaged: [] })
  })
})

describe('the file of an image', () => {
  const file = (reference: string, headers: Readonly<Record<string, string>> = {}, as = ann) => v1(`/v1/image/file?reference=${encodeURIComponent(reference)}`, { as, headers })

  it('is given whole and in ranges, to those who may use it', async () => {
    const { body } = await v1('/v1/image?reference=custom:up', { as: ann })
    const { imageSha256, imageSize } = body.record as { imageSha256: string; imageSize: number }
    const etag = `"${imageSha256}"`
    expect(await file('custom:up', {}, bob)).toMatchObject({ status: 200, headers: { etag, 'content-length': String(imageSize), 'accept-ranges': 'bytes' } })
    expect(await file('custom:up', { range: 'bytes=0-3' })).toMatchObject({ status: 206, text: 'hsqs', headers: { 'content-range': `bytes 0-3/${imageSize}`, 'content-length': '4' } })
    expect(await file('custom:up', { range: 'bytes=0-3', 'if-range': etag })).toMatchObject({ status: 206 })
    expect(await file('custom:up', { range: 'bytes=0-3', 'if-range': '"other"' })).toMatchObject({ status: 200 })
    expect(await file('custom:up', { range: `bytes=${imageSize}-` })).toMatchObject({ status: 416, headers: { 'content-range': `bytes */${imageSize}` } })
    const hidden = await file('custom:up', {}, eve)
    expect(hidden).toMatchObject({ status: 404 })
    expect(hidden.text.replaceAll('up', '')).toBe((await file('custom:none', {}, eve)).text.replaceAll('none', ''))
    expect(await v1('/v1/image/file?reference=custom:up')).toMatchObject({ status: 401 })
  })

  it.each([
    ['bytes=0-0', { first: 0, last: 0 }], ['bytes=5-', { first: 5, last: 9 }], ['bytes=-3', { first: 7, last: 9 }], ['bytes=-30', { first: 0, last: 9 }], ['bytes=3-99', { first: 3, last: 9 }],
    ['bytes=10-', 'none'], ['bytes=5-3', 'none'], ['bytes=-0', 'none'], ['bytes=-', undefined], ['bytes=0-1,3-4', undefined], ['chunks=0-1', undefined], [undefined, undefined],
  ] as const)('range %s', (header, range) => expect(rangeOf(header, 10)).toEqual(range))

  it('that is damaged is not taken for the image', async () => {
    const { body } = await v1('/v1/image?reference=custom:own:1', { as: root })
    const path = join(site.imagePath, `${body.record.id as string}.squashfs`)
    const descriptor = openSync(path, 'r+')
    writeSync(descriptor, Buffer.from('damaged'), 0, 7, 5000)
    closeSync(descriptor)
    expect((await failure(exportImage('custom:own:1', { gateway: service.url, token, format: 'squashfs', target: work.at('damaged') }))).code).toBe('IMAGE_CORRUPT')
    expect(existsSync(work.at('damaged'))).toBe(false)
    expect(readdirSync(work.path).filter((name) => name.startsWith('damaged'))).toEqual([])
    expect(await scrubImages({ gateway: service.url, token })).toMatchObject({ damaged: [{ id: body.record.id as string, names: ['custom:own:1'] }] })
  })
})

it('what keeps images in order is for administrators, who leave a trace', async () => {
  for (const path of ['/v1/collect', '/v1/scrub']) {
    expect(await v1(path, { as: ann, method: 'POST' })).toMatchObject({ status: 403, body: { code: 'ACCESS_DENIED' } })
    expect(await v1(path, { method: 'POST' })).toMatchObject({ status: 401 })
  }
  expect(done(await v1('/v1/collect?dryRun=true', { as: root, method: 'POST' }))).toMatchObject({ system: 'test' })
  expect(done(await v1('/v1/scrub?limit=1', { as: root, method: 'POST' }))).toMatchObject({ read: 1 })
  expect((await v1('/v1/audit?action=scrub&uid=0', { as: root })).body.rows[0]).toMatchObject({ why: 'asked for', by: 'mock' })
})
