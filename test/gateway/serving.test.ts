/* eslint-disable @typescript-eslint/no-unsafe-member-access -- answers are JSON, whose parts are compared */
/** What holds between a service and those who stay connected or unknown: public reads, streams, limits, and a client that loses what it had. */
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import * as Context from 'effect/Context'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as Stream from 'effect/Stream'
import * as TestClock from 'effect/TestClock'
import * as TestContext from 'effect/TestContext'
import { Gateway, type ProgressEvent, type PublishedImage, pullImage } from 'shifter-sdk'
import { describe, expect, it, vi } from 'vitest'
import { events, idOf } from '../../src/gateway/v1/Events.js'
import type { Pull } from '../../src/gateway/v1/Schemas.js'
import { madeSource } from '../harness/gateway.js'
import { ask, startService } from '../harness/service.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('serving')

it('public images are told to everyone where the site wants it, over the socket, and nothing else', async () => {
  const service = await startService({ ...testSite(work.at('public')).config, server: { publicReads: true } }, { sources: [madeSource({})] })
  try {
    const gateway = Context.get(service.context, Gateway.Gateway)
    await Effect.runPromise(gateway.pull({ reference: 'custom:open', requester: { uid: 5001 } }))
    const { id } = await Effect.runPromise(gateway.pull({ reference: 'custom:secret', requester: { uid: 5001 }, allowUids: [] }))
    const v1 = (path: string, method = 'GET') => ask(`${service.url}${path}`, { method })
    expect((await v1('/v1/images')).body.images).toMatchObject([{ name: 'custom:open:latest' }])
    for (const path of ['/v1/lookup', '/v1/image', '/v1/image/file']) {
      expect(await v1(`${path}?reference=custom:open`)).toMatchObject({ status: 200 })
      const [hidden, missing] = [await v1(`${path}?reference=custom:secret`), await v1(`${path}?reference=custom:zecret`)]
      expect(hidden).toMatchObject({ status: 404 })
      expect(hidden.text).toBe(missing.text.replaceAll('zecret', 'secret'))
      expect(await v1(`${path}?reference=id:${id}`)).toMatchObject({ status: 404 })
    }
    for (const [path, method] of [['/v1/image?reference=custom:open', 'DELETE'], ['/v1/image/pin?reference=custom:open', 'PUT'], ['/v1/pulls', 'GET'], ['/v1/queue', 'GET'], ['/v1/collect', 'POST'], ['/v1/tokens', 'GET']] as const) {
      expect(await v1(path, method)).toMatchObject({ status: 401 })
    }
  } finally {
    await service.stop()
  }
})

it('no more connect than the site allows, and the next when one has gone', async () => {
  const service = await startService({ ...testSite(work.at('limit')).config, server: { connections: 2 } })
  const { hostname, port } = new URL(service.url)
  const held: Socket[] = []
  try {
    for (let i = 0; i < 2; i++) {
      const socket = connect(Number(port), hostname)
      held.push(socket)
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
      await new Promise((resolve) => socket.once('data', resolve))
    }
    await expect(ask(`${service.url}/healthz`)).rejects.toThrow()
    held[0]?.destroy()
    await vi.waitFor(async () => expect(await ask(`${service.url}/healthz`)).toMatchObject({ status: 200 }), { timeout: 5000, interval: 20 })
  } finally {
    for (const socket of held) socket.destroy()
    await service.stop()
  }
})

const pull = (state: Pull['state'], rest: Partial<Pull> = {}): Pull => ({ id: '0'.repeat(32), system: 'test', reference: 'docker:x', state, attempts: 1, created: 1, changed: state === 'waiting' ? 1 : 2, notBefore: 0, ...rest })

describe('a stream of events', () => {
  const told = (states: Stream.Stream<Pull>, lastId: string | undefined, seconds: number) =>
    Effect.runPromise(
      Effect.gen(function* () {
        const stopped = yield* Deferred.make<undefined>()
        const { body } = events(states, lastId, stopped)
        if (body._tag !== 'Stream') throw new Error('it is no stream')
        const texts: string[] = []
        const reading = yield* Effect.fork(Stream.runForEach(body.stream, (bytes) => Effect.sync(() => void texts.push(new TextDecoder().decode(bytes)))))
        yield* TestClock.adjust(`${seconds} seconds`)
        yield* Deferred.succeed(stopped, undefined)
        yield* Fiber.join(reading)
        return texts
      }).pipe(Effect.provide(TestContext.TestContext)),
    )

  it('beats while nothing happens, and ends when the service stops', async () => {
    const texts = await told(Stream.concat(Stream.succeed(pull('waiting')), Stream.never), undefined, 50)
    expect(texts[0]).toMatch(/^retry: \d+\n\n$/)
    expect(texts.filter((text) => text.startsWith('event: pull\n'))).toHaveLength(1)
    expect(texts.filter((text) => text === ': \n\n').length).toBeGreaterThanOrEqual(3)
  })

  it('goes on after what was told last', async () => {
    const states = [pull('waiting'), pull('running'), pull('done', { changed: 3 })]
    const ids = (texts: readonly string[]) => texts.flatMap((text) => /^id: (.*)$/m.exec(text)?.[1] ?? [])
    expect(ids(await told(Stream.fromIterable(states), undefined, 1))).toEqual(states.map(idOf))
    expect(ids(await told(Stream.fromIterable(states), idOf(pull('waiting')), 1))).toEqual(states.slice(1).map(idOf))
    // Of one that has ended, the end is told all the same.
    expect(ids(await told(Stream.fromIterable(states.slice(2)), idOf(pull('done', { changed: 3 })), 1))).toEqual([idOf(pull('done', { changed: 3 }))])
  })
})

describe('a client', () => {
  const record = { id: 'a'.repeat(64), reference: 'docker:docker.io/library/x:latest', sourceDigest: `sha256:${'b'.repeat(64)}`, profile: 'p', platform: 'linux/amd64', imageSize: 1, imageSha256: 'c'.repeat(64), entries: 1, owner: 0, access: 'public', allowUids: [], allowGids: [], entrypoint: [], command: [], env: [], labels: [] }
  /** A service whose pulls and streams are as a proxy between would leave them. */
  const withService = async (answers: { readonly created: (n: number) => Pull; readonly looked: (n: number) => Pull }) => {
    const asked: string[] = []
    const json = (response: ServerResponse, status: number, body: unknown) => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    const count = (what: string) => asked.filter((each) => each === what).length
    const server = createServer((request, response) => {
      const path = request.url?.split('?')[0] ?? ''
      const what = `${request.method ?? ''} ${path.replace(/[0-9a-f]{32}/, 'ID')}`
      asked.push(what)
      if (what === 'POST /v1/pulls') json(response, 202, answers.created(count(what)))
      else if (what === 'GET /v1/pulls/ID/events') response.writeHead(200, { 'content-type': 'text/event-stream' }).end('retry: 1000\n\n')
      else if (what === 'GET /v1/pulls/ID') json(response, 200, answers.looked(count(what)))
      else json(response, 200, { system: 'test', record, names: [] })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const told: ProgressEvent[] = []
      const pulled: PublishedImage = await pullImage('docker:x', { gateway: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, token: 'any', onProgress: (event) => void told.push(event) })
      return { asked, count, pulled, told }
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }
  const done = pull('done', { imageId: record.id })

  it('looks now and then where streams are empty, and leaves them then', { timeout: 30_000 }, async () => {
    const { count, pulled } = await withService({ created: () => pull('waiting'), looked: (n) => (n < 5 ? pull('waiting') : done) })
    expect(pulled.id).toBe(record.id)
    expect(count('GET /v1/pulls/ID')).toBe(5)
    expect(count('GET /v1/pulls/ID/events')).toBe(3)
  })

  it('asks again when the process is gone that had its credentials, once', async () => {
    const gone = pull('failed', { error: { code: 'CREDENTIALS_GONE', what: 'The credentials are gone', remedy: 'Ask again.' } })
    const { count, pulled } = await withService({ created: (n) => (n === 1 ? gone : done), looked: () => done })
    expect(pulled.id).toBe(record.id)
    expect(count('POST /v1/pulls')).toBe(2)
    await expect(withService({ created: () => gone, looked: () => gone })).rejects.toMatchObject({ code: 'CREDENTIALS_GONE' })
  })
})
