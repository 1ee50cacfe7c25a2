/** The HTTP client by itself: where it goes, how long it waits, and that a broken connection is nobody's end. */
import { createServer, type Server } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import * as HttpClient from '@effect/platform/HttpClient'
import * as HttpClientRequest from '@effect/platform/HttpClientRequest'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as Stream from 'effect/Stream'
import { afterEach, describe, expect, it } from 'vitest'
import { layer } from '../../../src/core/http/NodeHttp.js'
import { Reach, type ReachOptions } from '../../../src/core/http/Reach.js'
import { defaultNetwork, type NetworkLimits } from '../../../src/core/Registries.js'

const containing = (text: string): unknown => expect.stringContaining(text)
/** A server of bytes: what it says is up to each test. */
const speaking = async (speak: (socket: Socket) => void): Promise<{ readonly port: number; readonly sockets: Set<Socket>; readonly closed: Promise<void>; readonly server: Server }> => {
  const sockets = new Set<Socket>()
  let onClosed: () => void = () => undefined
  const closed = new Promise<void>((resolve) => { onClosed = resolve })
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', onClosed)
    socket.resume()
    speak(socket)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as AddressInfo).port, sockets, closed, server }
}
const servers: Server[] = []
afterEach(() => { for (const server of servers.splice(0)) server.close() })

const anywhere: ReachOptions = { kinds: 'any', ca: undefined }
const quick: NetworkLimits = { ...defaultNetwork, connectSeconds: 2, headersSeconds: 0.4, stallSeconds: 0.4 }

const reading = (url: string, reach: ReachOptions = anywhere, limits: NetworkLimits = quick) =>
  Effect.gen(function* () {
    const http = HttpClient.withScope(yield* HttpClient.HttpClient)
    const response = yield* http.execute(HttpClientRequest.get(url)).pipe(Effect.provideService(Reach, reach))
    const bytes = yield* Stream.runFold(response.stream, 0, (sum, chunk) => sum + chunk.length)
    return { status: response.status, bytes }
  }).pipe(Effect.scoped, Effect.provide(layer(limits)))
const failureOf = (url: string, reach?: ReachOptions) =>
  Effect.runPromise(Effect.flip(reading(url, reach))).then((error) => error.cause as Error & { readonly code?: string })

describe('the HTTP client', () => {
  it('reads an answer to its end', async () => {
    const { port } = await speaking((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')))
    expect(await Effect.runPromise(reading(`http://127.0.0.1:${port}/`))).toEqual({ status: 200, bytes: 5 })
  })

  it.each([
    ['http://127.0.0.1:PORT/', 'loopback'],
    ['http://localhost:PORT/', 'loopback'],
    ['http://2130706433:PORT/', 'loopback'],
    ['http://[::ffff:127.0.0.1]:PORT/', 'loopback'],
    ['http://169.254.169.254/latest/meta-data/', 'link-local'],
    ['http://10.255.255.254/', 'private'],
  ])('attack 19: connects to no address out of reach: %s', async (url, kind) => {
    let connections = 0
    const { port } = await speaking(() => { connections += 1 })
    const error = await failureOf(url.replace('PORT', String(port)), { kinds: [], ca: undefined })
    expect(error).toMatchObject({ code: 'ADDRESS_REFUSED', kind })
    expect(connections).toBe(0)
  })

  it('attack 19: goes where the registry itself is, and nowhere else inside', async () => {
    const { port } = await speaking((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')))
    expect(await Effect.runPromise(reading(`http://localhost:${port}/`, { kinds: ['loopback'], ca: undefined }))).toMatchObject({ status: 200 })
    expect(await failureOf('http://192.168.0.1/', { kinds: ['loopback'], ca: undefined })).toMatchObject({ code: 'ADDRESS_REFUSED', kind: 'private' })
  })

  it('attack 19: waits for no answer, and for no body, without end', async () => {
    const silent = await speaking(() => undefined)
    expect(await failureOf(`http://127.0.0.1:${silent.port}/`)).toMatchObject({ code: 'TOO_SLOW', message: containing('no answer') })
    const standing = await speaking((socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello')))
    expect(await failureOf(`http://127.0.0.1:${standing.port}/`)).toMatchObject({ code: 'TOO_SLOW', message: containing('bytes came within') })
    const trickling = await speaking((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n')
        const timer = setInterval(() => socket.write('x'), 20)
        socket.once('close', () => clearInterval(timer))
      })
    })
    expect(await failureOf(`http://127.0.0.1:${trickling.port}/`)).toMatchObject({ code: 'TOO_SLOW' })
    await Promise.all([silent.closed, standing.closed, trickling.closed])
  })

  it('survives a connection that is reset after the answer began', async () => {
    const uncaught: unknown[] = []
    const seen = (error: unknown): void => void uncaught.push(error)
    process.on('uncaughtException', seen)
    try {
      for (let i = 0; i < 20; i++) {
        const server = await speaking((socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello', () => socket.resetAndDestroy())))
        expect(await Effect.runPromise(Effect.flip(reading(`http://127.0.0.1:${server.port}/`)))).toHaveProperty('cause')
      }
      // What nobody listens for comes in a later turn.
      await new Promise((resolve) => setImmediate(resolve))
      expect(uncaught).toEqual([])
    } finally {
      process.off('uncaughtException', seen)
    }
  })

  it('attack 19: waits for no body of a connection that broke off before anybody read', async () => {
    const server = await speaking((socket) => socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello', () => socket.destroy())))
    const late = Effect.gen(function* () {
      const http = HttpClient.withScope(yield* HttpClient.HttpClient)
      const response = yield* http.execute(HttpClientRequest.get(`http://127.0.0.1:${server.port}/`)).pipe(Effect.provideService(Reach, anywhere))
      yield* Effect.promise(() => server.closed)
      // Both ends know it now.
      yield* Effect.sleep('50 millis')
      return yield* Effect.flip(Stream.runDrain(response.stream))
    }).pipe(Effect.scoped, Effect.provide(layer({ ...defaultNetwork })), Effect.timeout('10 seconds'))
    expect(await Effect.runPromise(late)).toHaveProperty('cause')
  })

  it('closes its connection at once when it is interrupted, before and after the answer', async () => {
    for (const answer of ['', 'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello']) {
      let asked: () => void = () => undefined
      const wasAsked = new Promise<void>((resolve) => { asked = resolve })
      const server = await speaking((socket) => socket.once('data', () => { socket.write(answer === '' ? '' : answer); asked() }))
      const patient: NetworkLimits = { ...defaultNetwork }
      const fiber = Effect.runFork(reading(`http://127.0.0.1:${server.port}/`, anywhere, patient))
      await wasAsked
      await Effect.runPromise(Fiber.interrupt(fiber))
      await server.closed
    }
  })
})
