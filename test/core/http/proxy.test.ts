/** Which requests take a proxy, and that they do. */
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { inspect } from 'node:util'
import * as HttpClient from '@effect/platform/HttpClient'
import * as HttpClientRequest from '@effect/platform/HttpClientRequest'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Stream from 'effect/Stream'
import { afterEach, describe, expect, it } from 'vitest'
import { layer } from '../../../src/core/http/NodeHttp.js'
import { proxyFor } from '../../../src/core/http/Proxy.js'
import { defaultNetwork, environmentProxy } from '../../../src/core/Registries.js'
import cases from '../../cases/no_proxy.json' with { type: 'json' }

const containing = (text: string): unknown => expect.stringContaining(text)
const through = (noProxy: string) => environmentProxy({ HTTPS_PROXY: 'http://proxy.example:3128', NO_PROXY: noProxy })

describe('no_proxy', () => {
  it.each(cases.cases)('"$no_proxy" and $host', (row) => {
    const uses = 'want' in row ? row.want : row.use_proxy
    expect(proxyFor(through(row.no_proxy), new URL(`https://${row.host}/`)) !== undefined).toBe(uses)
  })

  it.each([
    ['*', 'x.org', false], ['.blah.com', 'a.blah.com', false], ['.blah.com', 'blah.com', false], ['blah.com', 'notblah.com', true], ['blah.com', 'blah.com.evil.org', true],
    ['BLAH.com', 'blah.com', false], ['blah.com:5000', 'blah.com:5000', false], ['blah.com:5000', 'blah.com', true], ['blah.com:443', 'blah.com', false], ['blah.com:80', 'blah.com', true],
    ['10.0.0.0/8', '10.1.2.3', false], ['10.0.0.0/8', '11.1.2.3', true], ['10.1.2.3', '10.1.2.3', false], ['fd00::/8', '[fd12::1]', false], ['10.0.0.0/99', '10.1.2.3', true],
    ['', 'localhost', false], ['', '127.0.0.1:5000', false], ['', '[::1]', false],
  ])('"%s" and %s', (rule, host, uses) => expect(proxyFor(through(rule), new URL(`https://${host}/`)) !== undefined).toBe(uses))

  it('takes the proxy of the protocol, in small letters before large ones', () => {
    const settings = environmentProxy({ http_proxy: 'http://small', HTTP_PROXY: 'http://large', ALL_PROXY: 'socks5h://all', NO_PROXY: '' })
    expect(proxyFor(settings, new URL('http://x.org/'))).toBe('http://small')
    expect(proxyFor(settings, new URL('https://x.org/'))).toBe('socks5h://all')
    expect(proxyFor(environmentProxy({ HTTPS_PROXY: 'proxy.example:3128' }), new URL('https://x.org/'))).toBe('http://proxy.example:3128')
    expect(proxyFor(environmentProxy({ HTTPS_PROXY: 'ftp://proxy.example' }), new URL('https://x.org/'))).toBeUndefined()
  })
})

const servers: { close: () => void }[] = []
afterEach(() => { for (const server of servers.splice(0)) server.close() })
const port = (server: Server | ReturnType<typeof createTcpServer>) => (server.address() as AddressInfo).port
const reading = (url: string, proxy: string) =>
  Effect.gen(function* () {
    const http = HttpClient.withScope(yield* HttpClient.HttpClient)
    const response = yield* http.execute(HttpClientRequest.get(url))
    const text = yield* Stream.runFold(Stream.decodeText(response.stream), '', (all, chunk) => all + chunk)
    return { text, address: response.remoteAddress._tag }
  }).pipe(
    Effect.scoped,
    Effect.provide(layer({ ...defaultNetwork, connectSeconds: 0.5 }, { http: proxy, https: proxy, noProxy: [] })),
    Effect.either,
    Effect.runPromise,
  ).then(Either.getOrThrowWith((error) => error))

describe('a proxy', () => {
  it('of HTTP is asked for the whole address, with its own password', async () => {
    const asked: (string | undefined)[] = []
    const proxy = createServer((request, response) => {
      asked.push(request.url, request.headers['proxy-authorization'])
      response.end('by proxy')
    })
    servers.push(proxy)
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    expect(await reading('http://registry.invalid/v2/', `http://ann:secret@127.0.0.1:${port(proxy)}`)).toEqual({ text: 'by proxy', address: 'None' })
    expect(asked).toEqual(['http://registry.invalid/v2/', `Basic ${Buffer.from('ann:secret').toString('base64')}`])
  })

  it('of SOCKS is told the name, which is not looked up here', async () => {
    const origin = createServer((_, response) => response.end('by socks'))
    servers.push(origin)
    await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
    let name = ''
    const socks = createTcpServer((socket: Socket) => {
      socket.once('data', () => {
        socket.write(Buffer.from([5, 0]))
        socket.once('data', (request: Buffer) => {
          name = request.subarray(5, 5 + (request[4] ?? 0)).toString()
          const onward = connect(port(origin), '127.0.0.1', () => {
            socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
            socket.pipe(onward).pipe(socket)
          })
          socket.on('close', () => onward.destroy())
        })
      })
      socket.on('error', () => undefined)
    })
    servers.push(socks)
    await new Promise<void>((resolve) => socks.listen(0, '127.0.0.1', resolve))
    expect(await reading('http://registry.invalid/v2/', `socks5h://127.0.0.1:${port(socks)}`)).toMatchObject({ text: 'by socks' })
    expect(name).toBe('registry.invalid')
  })

  it('of HTTPS registries is asked for a tunnel', async () => {
    let asked = ''
    const proxy = createServer()
    proxy.on('connect', (request, socket: Socket) => {
      asked = request.url ?? ''
      // What a proxy says is not what the registry says: it could ask for the registry's password.
      socket.end('HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm="https://thief.invalid/"\r\ncontent-length: 0\r\n\r\n')
    })
    servers.push(proxy)
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    await expect(reading('https://registry.invalid/v2/', `http://127.0.0.1:${port(proxy)}`)).rejects.toMatchObject({ cause: { code: 'PROXY_REFUSED' } })
    expect(asked).toBe('registry.invalid:443')
  })

  it.each([['http', 'https://registry.invalid/'], ['socks5h', 'https://registry.invalid/'], ['socks5h', 'http://registry.invalid/']])('of %s that takes a connection to %s and says nothing is given up', async (scheme, url) => {
    const silent = createTcpServer((socket) => socket.on('error', () => undefined).resume())
    const left = new Promise<void>((resolve) => silent.on('connection', (socket) => socket.once('close', () => resolve())))
    servers.push(silent)
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    await expect(reading(url, `${scheme}://127.0.0.1:${port(silent)}`)).rejects.toMatchObject({ cause: { code: 'TOO_SLOW', message: containing(`by the proxy 127.0.0.1:${port(silent)}`) } })
    // What knows SOCKS lets go by a limit of its own, of half a minute.
    if (scheme === 'http') await left
  })

  it('that is not there is named, without its password', async () => {
    const gone = createTcpServer()
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
    const at = port(gone)
    await new Promise<void>((resolve) => gone.close(() => resolve()))
    for (const scheme of ['http', 'socks5h']) {
      for (const url of ['https://registry.invalid/', 'http://registry.invalid/']) {
        const error = (await reading(url, `${scheme}://ann:secret@127.0.0.1:${at}`).catch((caught: unknown) => caught)) as { readonly cause: Error & { readonly code: string } }
        expect(error.cause).toMatchObject({ code: 'PROXY_REFUSED', message: containing(`127.0.0.1:${at}`) })
        expect(inspect(error, { depth: 9 })).not.toContain('secret')
      }
    }
  })

  it('that wants a password is told apart from a registry that does', async () => {
    const proxy = createServer((_, response) => response.writeHead(407, { 'proxy-authenticate': 'Basic realm="p"' }).end())
    servers.push(proxy)
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    await expect(reading('http://registry.invalid/v2/', `http://127.0.0.1:${port(proxy)}`)).rejects.toMatchObject({ cause: { code: 'PROXY_REFUSED', message: containing('HTTP 407') } })
  })

  it('takes nothing into the network that an address names', async () => {
    let connections = 0
    const proxy = createServer(() => { connections += 1 })
    servers.push(proxy)
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    await expect(reading('http://169.254.169.254/', `http://127.0.0.1:${port(proxy)}`)).rejects.toThrow()
    expect(connections).toBe(0)
  })
})
