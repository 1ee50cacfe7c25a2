/** Files from URLs: where they may come from, and that a cut transfer goes on with the same bytes or not at all. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createPlainServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { importImage, type ProgressEvent } from 'shifter-sdk'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../harness/gateway.js'
import { testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('download')
const body = tarBytes([{ name: 'f', type: 'file', data: Buffer.alloc(3_000_000, 'fetched ') }])
const sha256 = createHash('sha256').update(body).digest('hex')

type Answer = (request: IncomingMessage, response: ServerResponse) => void
let answer: Answer = () => undefined
let asked: IncomingMessage[] = []
let server: Server
let host = ''
let sites = 0

beforeAll(async () => {
  const openssl = (...args: string[]) => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: work.path })
    if (status !== 0) throw new Error(stderr.toString())
  }
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority')
  openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'host.key', '-out', 'host.csr', '-subj', '/CN=127.0.0.1')
  writeFileSync(work.at('san'), 'subjectAltName=IP:127.0.0.1,DNS:localhost')
  openssl('x509', '-req', '-in', 'host.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'host.pem', '-days', '2', '-extfile', 'san')
  server = createServer({ key: readFileSync(work.at('host.key')), cert: readFileSync(work.at('host.pem')) }, (request, response) => {
    asked.push(request)
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => { server.closeAllConnections(); server.close() })
afterEach(() => { asked = [] })

const siteWith = (settings: object = {}, more: object = {}) => {
  const { config } = testSite(work.at(`site${sites++}`))
  return { ...config, ...more, import: { users: 'all' as const, urls: true, urlHosts: [host], urlCa: work.at('ca.pem'), ...settings } }
}
const fetched = (url: string, config: ReturnType<typeof siteWith> = siteWith(), hash?: string, onProgress?: (event: ProgressEvent) => void) =>
  importImage('custom:web', { _tag: 'Url', url, ...(hash === undefined ? {} : { sha256: hash }) }, { config, requester: { uid: 4711 }, onProgress })
const whole: Answer = (_, response) => void response.writeHead(200, { 'content-length': body.length, etag: '"one"' }).end(body)
const at = (path: string) => `https://${host}${path}`

describe('a URL', () => {
  it('of a host that the site names is fetched', async () => {
    answer = whole
    const events: ProgressEvent[] = []
    expect(await fetched(at('/root.tar?token=secret'), siteWith(), sha256, (event) => events.push(event))).toMatchObject({ owner: 4711, sourceDigest: `sha256:${sha256}` })
    expect(events).toContainEqual({ _tag: 'Received', received: body.length, bytes: body.length })
    expect(asked[0]?.headers).toMatchObject({ 'accept-encoding': 'identity' })
  })

  it('attack 19: leads to no address of this network that the site does not name, whatever it is called', async () => {
    answer = whole
    const port = host.split(':')[1] ?? ''
    const config = siteWith({ urlHosts: [] })
    for (const url of [at('/x'), `https://localhost:${port}/x`, `https://2130706433:${port}/x`, `https://[::1]:${port}/x`, `https://[::ffff:127.0.0.1]:${port}/x`, 'https://169.254.169.254/latest/meta-data', 'https://10.0.0.1/x', `https://0.0.0.0:${port}/`]) {
      const error = await failure(fetched(url, config))
      expect({ url, code: error.code }).toEqual({ url, code: 'URL_REFUSED' })
    }
    // A name for one address says nothing of another.
    expect((await failure(fetched(`https://localhost:${port}/x`))).code).toBe('URL_REFUSED')
    expect(asked).toEqual([])
  })

  it('is of https, without a login, also where it redirects to', async () => {
    const plain = createPlainServer((_, response) => { response.end(body) })
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
    const insecure = `127.0.0.1:${(plain.address() as AddressInfo).port}`
    const config = siteWith({ urlHosts: [host, insecure] })
    const refused = [`http://${insecure}/x`, 'file:///etc/shadow', 'ftp://example.org/x', 'nothing', `https://user:secret@${host}/x`, 'https://']
    for (const url of refused) {
      const error = await failure(fetched(url, config))
      expect({ url, code: error.code }).toEqual({ url, code: 'URL_REFUSED' })
      expect(error.message).not.toContain('secret')
    }
    for (const location of [`http://${insecure}/x`, 'file:///etc/shadow', `https://user:secret@${host}/x`, 'https://169.254.169.254/', 'https://localhost:1/', 'https://']) {
      answer = (_, response) => void response.writeHead(302, { location }).end()
      const error = await failure(fetched(at('/x'), config))
      expect({ location, code: error.code }).toEqual({ location, code: 'URL_REFUSED' })
      expect(error.message).not.toContain('secret')
    }
    plain.close()
  })

  it('redirects a few times', async () => {
    answer = (request, response) => (request.url === '/end' ? whole(request, response) : void response.writeHead(307, { location: '/end' }).end())
    expect((await fetched(at('/begin'))).sourceDigest).toBe(`sha256:${sha256}`)
    answer = (_, response) => void response.writeHead(302, { location: '/again' }).end()
    const error = await failure(fetched(at('/begin')))
    expect(error.code).toBe('URL_REFUSED')
    expect(error.message).toContain('more than 5 times')
  })

  it('is fetched where the site allows it, and with an authority that is known', async () => {
    answer = whole
    for (const urls of [false, undefined]) expect((await failure(fetched(at('/x'), siteWith({ urls })))).message).toContain('imports nothing from URLs')
    expect(asked).toEqual([])
    const unknown = await failure(fetched(at('/x'), siteWith({ urlCa: undefined })))
    expect(unknown.code).toBe('URL_FAILED')
    expect(unknown.message).toContain('import.urlCa')
    expect((await failure(fetched(at('/x'), siteWith({ urlCa: work.at('missing.pem') })))).code).toBe('CONFIG_INVALID')
  })

  it('whose bytes are not what was said, or too many, is refused', async () => {
    answer = whole
    expect((await failure(fetched(at('/x'), siteWith(), '0'.repeat(64)))).code).toBe('DIGEST_MISMATCH')
    const small = siteWith({ uploadBytes: 1_000_000 })
    expect((await failure(fetched(at('/x'), small))).code).toBe('LIMIT_EXCEEDED')
    // One that does not say how many.
    answer = (_, response) => { response.writeHead(200); response.end(body) }
    expect((await failure(fetched(at('/x'), small))).code).toBe('LIMIT_EXCEEDED')
    answer = (_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(body)
    expect((await failure(fetched(at('/x')))).code).toBe('URL_FAILED')
  })

  it('whose host refuses is told without what it says', async () => {
    answer = (_, response) => void response.writeHead(404).end('internal secret')
    const error = await failure(fetched(at('/x?token=t')))
    expect(error).toMatchObject({ code: 'URL_FAILED', what: `${host} answered with HTTP 404` })
  })
})

describe('a transfer that is cut', () => {
  /** Gives so many bytes of the first answer, and cuts. */
  const cut = (first: number, etags: readonly string[], ranges = true): Answer => (request, response) => {
    const turn = asked.length - 1
    const etag = etags[Math.min(turn, etags.length - 1)] ?? ''
    const headers = etag === '' ? {} : { etag }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (turn === 0) {
      response.writeHead(200, { ...headers, 'content-length': body.length })
      response.write(body.subarray(0, first), () => setImmediate(() => response.destroy()))
    } else if (from > 0 && ranges && request.headers['if-range'] === etag) {
      response.writeHead(206, { ...headers, 'content-length': body.length - from, 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` }).end(body.subarray(from))
    } else {
      response.writeHead(200, { ...headers, 'content-length': body.length }).end(body)
    }
  }

  it.each<readonly [string, Answer, boolean]>([
    ['goes on where it was', cut(2_000_000, ['"one"']), true],
    ['begins anew where there are no ranges', cut(2_000_000, ['"one"'], false), true],
    ['begins anew where the file is another', cut(2_000_000, ['"one"', '"two"']), true],
    ['begins anew where nothing says that it is the same', cut(2_000_000, ['']), false],
    ['begins anew where a weak tag says so', cut(2_000_000, ['W/"one"']), false],
  ])('%s', async (_, script, asksForRest) => {
    answer = script
    expect((await fetched(at('/x'), siteWith(), sha256)).sourceDigest).toBe(`sha256:${sha256}`)
    expect(asked).toHaveLength(2)
    expect(asked[1]?.headers.range !== undefined).toBe(asksForRest)
  })

  it('joins no part that it did not ask for', async () => {
    answer = (request, response) => {
      if (asked.length === 1) return cut(2_000_000, ['"one"'])(request, response)
      if (asked.length === 2) return void response.writeHead(206, { etag: '"one"', 'content-range': `bytes 0-9/${body.length}` }).end(body.subarray(0, 10))
      whole(request, response)
    }
    expect((await fetched(at('/x'), siteWith(), sha256)).sourceDigest).toBe(`sha256:${sha256}`)
    expect(asked).toHaveLength(3)
  })

  it('ends when nothing comes', async () => {
    answer = (_, response) => { response.writeHead(200, { 'content-length': body.length }); response.write(body.subarray(0, 10)) }
    const error = await failure(fetched(at('/x'), siteWith({}, { network: { stallSeconds: 0.2, headersSeconds: 0.5 } })))
    expect(error.code).toBe('URL_FAILED')
    expect(error.message).toContain('too slow')
  })
})
