/** Registries that misbehave: each pull ends in an error that names the cause, and leaves nothing that counts as an image. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { networkInterfaces } from 'node:os'
import { inspect } from 'node:util'
import { listImages, pullImage, type ProgressEvent, type PullOptions } from 'shifter-sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { type Contents, honestImage, type HonestImage, type HostileOptions, type HostileRegistry, hostileRegistry, type Script } from '../harness/hostileRegistry.js'
import { hostPlatform, type Layer, sha256 } from '../harness/ociLayout.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const containing = (text: string): unknown => expect.stringContaining(text)
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern)
const work = useWorkspace('attacks')
const layers: readonly Layer[] = [[{ name: 'etc', type: 'dir' }, { name: 'etc/a', type: 'file', data: 'a' }], [{ name: 'b', type: 'file', data: 'b'.repeat(100_000) }]]
const image = honestImage(layers)
const topLayer = image.layers[1]?.digest ?? ''

const running: HostileRegistry[] = []
const registry = async (script?: Script, contents: Contents = image, options?: HostileOptions): Promise<HostileRegistry> => {
  const started = await hostileRegistry(contents, script, options)
  running.push(started)
  return started
}
afterEach(async () => { await Promise.all(running.splice(0).map((each) => each.stop())) })

let sites = 0
const siteFor = (...registries: readonly HostileRegistry[]): TestSite => {
  const site = testSite(work.at(`site${sites++}`), registries.map(({ host }) => host))
  return { ...site, config: { ...site.config, network: { connectSeconds: 1, headersSeconds: 0.5, stallSeconds: 0.5 } } }
}

interface Failure {
  readonly code: string
  readonly message: string
}
/** The error of a pull that must fail, and leave nothing behind that is an image. */
const failure = async (site: TestSite, reference: string, options: PullOptions = {}): Promise<Failure> => {
  const error = await pullImage(reference, { config: site.config, ...options }).then(
    () => { throw new Error('it succeeded') },
    (caught: unknown) => caught as Failure,
  )
  expect(existsSync(site.imagePath) ? readdirSync(site.imagePath) : []).toEqual([])
  expect(await listImages({ config: site.config })).toEqual({ images: [], problems: [] })
  expect(error.message).not.toContain('\n')
  return error
}
const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): true => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  return true
}
const blobs = (from: HostileRegistry) => from.seen.filter(({ path }) => path.includes('/blobs/'))
const credentials = { username: 'ann', password: 'Hunter2-secret' }
const secrets = [credentials.password, Buffer.from(`ann:${credentials.password}`).toString('base64'), 'TOKEN-secret']
/** A bearer registry: every token that `accepts` says is good. */
const bearer = (self: () => HostileRegistry, accepts: (token: string | undefined) => boolean, token: Script): Script => (request, response, raw) => {
  if (request.path.startsWith('/token')) return token(request, response, raw)
  if (accepts(request.headers.authorization?.replace('Bearer ', ''))) return false
  return json(response, 401, {}, { 'www-authenticate': `Bearer realm="${self().url}/token",service="test"` })
}

describe('a registry that lies about content', () => {
  it('attack 22: gets nobody the layer of another repository by its digest', async () => {
    const owner = await registry()
    const site = siteFor(owner)
    await pullImage(`docker:${owner.host}/private/x:v`, { config: site.config })
    mkdirSync(work.at('stranger'))
    const stranger = await registry((request, response) => request.path.includes(topLayer) && json(response, 404, {}))
    const other: TestSite = { ...site, imagePath: work.at('stranger'), config: { ...site.config, systems: { test: { imagePath: work.at('stranger') } }, registries: { ...site.config.registries, [stranger.host]: { plainHttp: true } } } }
    const error = await failure(other, `docker:${stranger.host}/private/x:v`)
    expect(error).toMatchObject({ code: 'REGISTRY_ERROR', message: containing('does not have the blob') })
    // Nor is it given within one registry.
    owner.script = (request, response) => request.path.includes(`/else/x/blobs/${topLayer}`) && json(response, 404, {})
    expect((await failure(other, `docker:${owner.host}/else/x:v`)).code).toBe('REGISTRY_ERROR')
  })

  it.each([
    ['the wrong bytes', (response: ServerResponse, size: number) => response.writeHead(200, { 'content-length': size }).end(Buffer.alloc(size)), 'DIGEST_MISMATCH', 'arrived as sha256:'],
    ['too few bytes', (response: ServerResponse, size: number) => response.writeHead(200, { 'content-length': size - 1 }).end(Buffer.alloc(size - 1)), 'DIGEST_MISMATCH', 'its manifest says'],
    ['too many bytes, and says so', (response: ServerResponse, size: number) => response.writeHead(200, { 'content-length': size + 1 }).end(Buffer.alloc(size + 1)), 'DIGEST_MISMATCH', 'its manifest says'],
    ['too many bytes', (response: ServerResponse, size: number) => response.writeHead(200).end(Buffer.alloc(size + 1)), 'DIGEST_MISMATCH', 'larger than'],
    ['a gzip Content-Encoding', (response: ServerResponse, size: number) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(Buffer.alloc(size)), 'DIGEST_MISMATCH', 'Content-Encoding "gzip"'],
    ['a 206 that nobody asked for', (response: ServerResponse, size: number) => response.writeHead(206, { 'content-range': `bytes 0-${size - 1}/${size}` }).end(Buffer.alloc(size)), 'REGISTRY_ERROR', 'answered HTTP 206'],
    ['an end before the end', (response: ServerResponse) => response.writeHead(200).end('x'), 'REGISTRY_UNREACHABLE', 'ended after'],
    ['nothing, ever', () => undefined, 'REGISTRY_TIMEOUT', 'no answer'],
    ['a byte now and then', (response: ServerResponse, size: number) => {
      response.writeHead(200, { 'content-length': size })
      const timer = setInterval(() => response.write('x'), 50)
      response.once('close', () => clearInterval(timer))
    }, 'REGISTRY_TIMEOUT', 'bytes came within'],
  ] as const)('attacks 15, 16 and 19: sends %s as a layer', async (_, answer, code, said) => {
    const size = image.layers[1]?.size ?? 0
    const hostile = await registry((request, response) => {
      if (!request.path.includes(topLayer)) return false
      answer(response, size)
      return true
    })
    const site = siteFor(hostile)
    const error = await failure(site, `docker:${hostile.host}/x:v`)
    expect(error.code).toBe(code)
    expect(error.message).toContain(said)
    expect(error.message).toContain(`${hostile.host}`)
    expect(blobs(hostile).filter(({ path }) => path.includes(topLayer)).length).toBeLessThanOrEqual(4)
    expect(readdirSync(site.stateDirectory, { recursive: true }).map(String).filter((file) => file.endsWith(topLayer.slice(7)))).toEqual([])
  })

  const of = (manifest: unknown): Contents => ({ blobs: image.blobs, manifests: new Map([['v', { data: Buffer.from(JSON.stringify(manifest)), type: 'application/json' }], ...image.manifests].filter(([name], i) => name !== 'v' || i === 0) as [string, { data: Buffer; type: string }][]) })
  const index = (size: number, digest = image.manifestDigest) => ({ schemaVersion: 2, manifests: [{ digest, size, mediaType: 'application/vnd.oci.image.manifest.v1+json', platform: hostPlatform }] })
  const configOf = (change: (config: Record<string, unknown>) => unknown): HonestImage =>
    honestImage(layers, { config: change({ ...hostPlatform, config: {}, rootfs: { type: 'layers', diff_ids: layers.map(() => sha256('x')) } }) })

  it.each([
    ['attack 16: a configuration of another size', of({ ...image.manifest, config: { ...(image.manifest['config'] as object), size: 1 } }), 'DIGEST_MISMATCH', 'its manifest says 1'],
    ['attack 16: a manifest of another size', of(index(1)), 'DIGEST_MISMATCH', 'its index says 1'],
    ['attack 17: 100,000 layers', of({ ...image.manifest, layers: Array.from({ length: 100_000 }, () => image.layers[0]) }), 'LIMIT_EXCEEDED', 'more than'],
    ['attack 17: 5,000 layers', of({ ...image.manifest, layers: Array.from({ length: 5_000 }, () => image.layers[0]) }), 'LIMIT_EXCEEDED', '5000 layers'],
    ['attack 18: fewer diff ids than layers', configOf((config) => ({ ...config, rootfs: { type: 'layers', diff_ids: [sha256('x')] } })), 'IMAGE_CONFIG_INVALID', 'lists 1 layers, its manifest 2'],
    ['attack 18: NUL in the environment', configOf((config) => ({ ...config, config: { Env: ['A=b\0LD_PRELOAD=/x'] } })), 'IMAGE_CONFIG_INVALID', 'NUL'],
    ['attack 18: an environment entry that is none', configOf((config) => ({ ...config, config: { Env: ['A'] } })), 'IMAGE_CONFIG_INVALID', 'NAME=VALUE'],
    ['attack 16: a blob of 8 EiB', of({ ...image.manifest, layers: [{ ...image.layers[0], size: Number.MAX_SAFE_INTEGER }, image.layers[1]] }), 'LIMIT_EXCEEDED', 'bytes'],
  ] as const)('%s is refused before a layer is asked for', async (_, contents, code, said) => {
    const hostile = await registry(undefined, contents)
    const error = await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)
    expect(error).toMatchObject({ code, message: containing(said) })
    expect(blobs(hostile).length).toBeLessThanOrEqual(1)
  })

  it('attack 17: an index that leads to itself, or to another without end, is left', async () => {
    const hostile = await registry((request, response) => {
      const [, reference] = /manifests\/(.*)$/.exec(request.path) ?? []
      return reference !== undefined && json(response, 200, index(10, `sha256:${'0'.repeat(64)}`))
    })
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'DIGEST_MISMATCH' })
    const levels: { data: Buffer; type: string }[] = []
    let inner = { digest: image.manifestDigest, size: image.manifests.get('v')?.data.length ?? 0 }
    for (let i = 0; i < 20; i++) {
      const data = Buffer.from(JSON.stringify(index(inner.size, inner.digest)))
      levels.push({ data, type: 'application/json' })
      inner = { digest: sha256(data), size: data.length }
    }
    const deep = await registry(undefined, { blobs: image.blobs, manifests: new Map([['v', levels[19] ?? { data: Buffer.alloc(0), type: '' }], ...levels.map((level): [string, { data: Buffer; type: string }] => [sha256(level.data), level]), ...[...image.manifests].filter(([name]) => name !== 'v')]) })
    expect(await failure(siteFor(deep), `docker:${deep.host}/x:v`)).toMatchObject({ code: 'MANIFEST_INVALID', message: containing('nested') })
    expect(deep.seen.length).toBeLessThan(5)
  })

  it('attack 20: moves the tag between the manifest and the blobs: one image, all of it', async () => {
    const other = honestImage([[{ name: 'other', type: 'file', data: 'other' }]])
    let asked = 0
    const manifests = new Map([...image.manifests, ...[...other.manifests].filter(([name]) => name !== 'v')])
    const hostile = await registry((request, response) => {
      if (!request.path.endsWith('/manifests/v')) return false
      const content = (asked++ === 0 ? image : other).manifests.get('v')
      response.writeHead(200, { 'content-type': content?.type }).end(content?.data)
      return true
    }, { manifests, blobs: new Map([...image.blobs, ...other.blobs]) })
    const site = siteFor(hostile)
    expect(await pullImage(`docker:${hostile.host}/x:v`, { config: site.config })).toMatchObject({ manifestDigest: image.manifestDigest, sourceDigest: image.configDigest })
    expect(asked).toBe(1)
    expect(await pullImage(`docker:${hostile.host}/x:v`, { config: site.config })).toMatchObject({ manifestDigest: other.manifestDigest, sourceDigest: other.configDigest })
  })
})

describe('a registry that sends one elsewhere', () => {
  const outside = Object.values(networkInterfaces()).flat().find((each) => each?.internal === false && each.family === 'IPv4')?.address

  it.each(['http://127.0.0.1:1/x', 'file:///etc/passwd', 'ftp://127.0.0.1/x', 'gopher://127.0.0.1/', 'javascript:1'])('attack 19: to %s is not followed', async (location) => {
    const hostile = await registry((request, response) => request.path.includes('/blobs/') && (response.writeHead(307, { location }).end(), true))
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REDIRECT_REFUSED', message: containing('not https') })
  })

  it.each(['https://169.254.169.254/latest/', 'https://10.0.0.1/', 'https://[fd00::1]/', 'https://[::ffff:169.254.169.254]/', 'https://0xa9fea9fe/'])('attack 19: into the network at %s is not followed', async (location) => {
    const hostile = await registry((request, response) => request.path.includes('/blobs/') && (response.writeHead(307, { location }).end(), true))
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REDIRECT_REFUSED', message: matching(/an address of this network: .* (link-local|private) address/) })
  })

  it.skipIf(outside === undefined).each(['https://127.0.0.1:PORT/', 'https://localhost:PORT/', 'https://[::ffff:127.0.0.1]:PORT/'])('attack 19: from outside to this machine itself at %s is not followed', async (location) => {
    const inner = await registry()
    const hostile = await registry((request, response) => request.path.includes('/blobs/') && (response.writeHead(307, { location: location.replace('PORT', String(inner.port)) }).end(), true), image, { address: outside ?? '' })
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REDIRECT_REFUSED', message: containing('loopback address') })
    expect(inner.connections()).toBe(0)
  })

  it('attack 19: to a token service in the network asks nobody there', async () => {
    const hostile = await registry((_, response) => json(response, 401, {}, { 'www-authenticate': 'Bearer realm="https://169.254.169.254/token"' }))
    expect((await failure(siteFor(hostile), `docker:${hostile.host}/x:v`, { credentials })).code).toBe('REDIRECT_REFUSED')
    const other = await registry()
    const weak = await registry((_, response) => json(response, 401, {}, { 'www-authenticate': `Bearer realm="${other.url}/token"` }))
    expect(await failure(siteFor(weak), `docker:${weak.host}/x:v`, { credentials })).toMatchObject({ code: 'REGISTRY_UNAUTHORIZED', message: containing('not https') })
    expect(other.connections()).toBe(0)
  })

  it('attack 19: without end is left', async () => {
    const hostile = await registry((request, response) => (response.writeHead(302, { location: `${request.path}x` }).end(), true))
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REDIRECT_REFUSED', message: containing('more than 5 times') })
    expect(hostile.seen.length).toBe(6)
  })

  it('attack 19: gets no password or token there, whatever that place asks, and nothing it says is repeated', async () => {
    const store = await registry((_, response) => json(response, 401, { errors: [{ message: 'INTERNAL-PAGE' }] }, { 'www-authenticate': `Bearer realm="${store.url}/steal"` }))
    const hostile: HostileRegistry = await registry(bearer(() => hostile, (token) => token === 'TOKEN-secret', (request, response) =>
      request.headers.authorization === undefined ? json(response, 401, {}) : json(response, 200, { token: 'TOKEN-secret' })))
    const honest = hostile.script
    hostile.script = (request, response, raw) => {
      if (honest(request, response, raw) === true) return true
      if (!request.path.includes('/blobs/')) return false
      response.writeHead(307, { location: `${store.url}/signed?signature=TOKEN-secret` }).end()
      return true
    }
    const events: ProgressEvent[] = []
    const error = await failure(siteFor(hostile, store), `docker:${hostile.host}/x:v`, { credentials, onProgress: (event) => events.push(event) })
    expect(error).toMatchObject({ code: 'REGISTRY_ERROR', message: containing(`${store.host}, which ${hostile.host}/x redirects to, answered with HTTP 401`) })
    expect(error.message).not.toContain('INTERNAL-PAGE')
    expect(store.seen.every(({ headers, path }) => headers.authorization === undefined && path.startsWith('/signed'))).toBe(true)
    for (const secret of secrets) expect(inspect([error, events], { depth: Infinity, showHidden: true }) + JSON.stringify([error, events])).not.toContain(secret)
  })
})

describe('a registry that asks who one is', () => {
  const broken: readonly (readonly [string, (response: ServerResponse) => void])[] = [
    ['refuses', (response) => response.writeHead(403).end()],
    ['resets', (response) => response.socket?.destroy()],
    ['says nonsense', (response) => response.socket?.end('nonsense\r\n\r\n')],
    ['says nothing', () => undefined],
    ['fails', (response) => response.writeHead(500).end('no')],
    ['redirects in circles', (response) => response.writeHead(302, { location: 'x' }).end()],
  ]
  it.each(broken)('never has its password or token in an error: when it %s', async (_, answer) => {
    for (const where of ['/token', '/manifests/', '/blobs/']) {
      const hostile: HostileRegistry = await registry(bearer(() => hostile, (token) => token === 'TOKEN-secret', (request, response) =>
        request.headers.authorization === undefined ? json(response, 401, {}) : json(response, 200, { token: 'TOKEN-secret' })))
      const honest = hostile.script
      hostile.script = (request, response, raw) => {
        if (request.path.includes(where) && request.headers.authorization !== undefined) {
          answer(response)
          return true
        }
        return honest(request, response, raw)
      }
      const events: ProgressEvent[] = []
      const error = await failure(siteFor(hostile), `docker:${hostile.host}/x:v`, { credentials, onProgress: (event) => events.push(event) })
      for (const secret of secrets) expect(inspect([error, events], { depth: Infinity, showHidden: true }) + JSON.stringify([error, events])).not.toContain(secret)
    }
  })

  it('attack 19: again and again is asked a few times', async () => {
    let tokens = 0
    const hostile: HostileRegistry = await registry(bearer(() => hostile, () => false, (_, response) => json(response, 200, { token: `t${tokens++}` })))
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REGISTRY_UNAUTHORIZED', message: containing('not given to everyone') })
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`, { credentials })).toMatchObject({ code: 'REGISTRY_UNAUTHORIZED', message: containing('refused the user name or password') })
    expect(hostile.seen.length).toBeLessThan(12)
  })

  it('gets a new token, in the way it was got, when one is spent in the middle', async () => {
    let given = 0
    let uses = 0
    const hostile: HostileRegistry = await registry(bearer(() => hostile, (token) => token === `t${given}` && uses++ < 1, (request, response) => {
      uses = 0
      expect(request.headers.authorization).toBeUndefined()
      return json(response, 200, { token: `t${++given}`, expires_in: 300 })
    }))
    const site = siteFor(hostile)
    expect(await pullImage(`docker:${hostile.host}/x:v`, { config: site.config, credentials })).toMatchObject({ access: 'public' })
    expect(given).toBeGreaterThan(2)
  })

  it('is not asked for a token that is still good', async () => {
    const hostile: HostileRegistry = await registry(bearer(() => hostile, (token) => token === 'good', (_, response) => json(response, 200, { access_token: 'good', expires_in: 300, issued_at: new Date().toISOString() })))
    await pullImage(`docker:${hostile.host}/x:v`, { config: siteFor(hostile).config })
    expect(hostile.seen.filter(({ path }) => path.startsWith('/token')).length).toBe(1)
  })

  it('gets a new token before one that has expired is refused', async () => {
    let given = 0
    let refused = 0
    const hostile: HostileRegistry = await registry((request, response, raw) => bearer(() => hostile, (token) => {
      if (token === undefined) return false
      if (token !== `t${given}`) refused += 1
      return true
    }, (_, answer) => json(answer, 200, { token: `t${++given}`, expires_in: 0 }))(request, response, raw))
    await pullImage(`docker:${hostile.host}/x:v`, { config: siteFor(hostile).config })
    expect(given).toBe(4)
    expect(refused).toBe(0)
  })

  it('is not told a password because its token service was busy for a moment: a public image stays public', async () => {
    let asked = 0
    const hostile: HostileRegistry = await registry(bearer(() => hostile, (token) => token === 'anyone', (request, response) => {
      expect(request.headers.authorization).toBeUndefined()
      return asked++ === 0 ? json(response, 503, {}) : json(response, 200, { token: 'anyone', expires_in: 300 })
    }))
    expect(await pullImage(`docker:${hostile.host}/x:v`, { config: siteFor(hostile).config, credentials })).toMatchObject({ access: 'public' })
    expect(asked).toBe(2)
  })

  it('makes nothing public that it gives to a login alone from one moment to the next', async () => {
    let isPublic = true
    const hostile: HostileRegistry = await registry(bearer(() => hostile, (token) => token === (isPublic ? 'anyone' : 'ann'), (request, response) =>
      request.headers.authorization !== undefined ? json(response, 200, { token: 'ann' }) : isPublic ? json(response, 200, { token: 'anyone' }) : json(response, 401, {})))
    const honest = hostile.script
    hostile.script = (request, response, raw) => {
      if (request.path.includes(topLayer)) isPublic = false
      return honest(request, response, raw)
    }
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`, { credentials })).toMatchObject({ code: 'REGISTRY_UNAUTHORIZED', message: containing('not any more') })
  })
})

describe('a registry that is not well', () => {
  it.each([[503, 4, 'REGISTRY_ERROR'], [500, 4, 'REGISTRY_ERROR'], [404, 1, 'REGISTRY_ERROR'], [410, 1, 'REGISTRY_ERROR'], [403, 1, 'REGISTRY_UNAUTHORIZED']])('and answers %i is asked %i times for a layer', async (status, times, code) => {
    const hostile = await registry((request, response) => request.path.includes(topLayer) && json(response, status, { errors: [{ code: 'SAID', message: 'so' }] }))
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code, message: containing('SAID: so') })
    expect(hostile.seen.filter(({ path }) => path.includes(topLayer)).length).toBe(times)
  })

  it('and is gone is told at once', async () => {
    const hostile = await registry()
    await hostile.stop()
    const started = Date.now()
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: containing('nothing listens there') })
    expect(Date.now() - started).toBeLessThan(1500)
  })

  it('and asks to wait a moment is left alone for it', async () => {
    const times: number[] = []
    const hostile = await registry((request, response) => {
      if (!request.path.endsWith('/manifests/v') || times.push(Date.now()) > 1) return false
      return json(response, 429, {}, { 'retry-after': '1' })
    })
    const events: ProgressEvent[] = []
    await pullImage(`docker:${hostile.host}/x:v`, { config: siteFor(hostile).config, onProgress: (event) => events.push(event) })
    expect(events.filter(({ _tag }) => _tag === 'RateLimit')).toEqual([{ _tag: 'RateLimit', registry: hostile.host, remaining: undefined, retryInSeconds: 1 }])
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(990)
  })

  it('and asks to wait for long says for how long', async () => {
    const hostile = await registry((_, response) => json(response, 429, { errors: [{ code: 'TOOMANYREQUESTS', message: 'slow down' }] }, { 'retry-after': '420', 'ratelimit-limit': '100;w=21600' }))
    expect(await failure(siteFor(hostile), `docker:${hostile.host}/x:v`)).toMatchObject({ code: 'REGISTRY_RATE_LIMITED', message: matching(/TOOMANYREQUESTS: slow down.*; it allows 100 requests in 21600 s\. Retry in 420 s/) })
    expect(hostile.seen.length).toBe(1)
  })

  it('and counts says when little is left', async () => {
    const hostile = await registry((request, response) => {
      response.setHeader('ratelimit-remaining', request.path.includes('/manifests/') ? '3;w=21600' : '99;w=21600')
      return false
    })
    const events: ProgressEvent[] = []
    await pullImage(`docker:${hostile.host}/x:v`, { config: siteFor(hostile).config, onProgress: (event) => events.push(event) })
    expect(events.filter(({ _tag }) => _tag === 'RateLimit')).toEqual([{ _tag: 'RateLimit', registry: hostile.host, remaining: 3, retryInSeconds: undefined }])
  })

  it('is left at once by a pull that is cancelled', async () => {
    const cancel = new AbortController()
    const hostile = await registry((request, response) => {
      if (!request.path.includes(topLayer)) return false
      response.writeHead(200).write('x')
      cancel.abort()
      return true
    })
    expect((await failure(siteFor(hostile), `docker:${hostile.host}/x:v`, { signal: cancel.signal })).code).toBe('CANCELLED')
    await hostile.quiet()
  })
})
