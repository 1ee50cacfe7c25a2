/** Ways to a registry: logins that docker keeps, mirrors, a private authority. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { loginRegistry, logoutRegistry, pullImage } from 'shifter-sdk'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { honestImage, type HostileOptions, type HostileRegistry, hostileRegistry, type Script } from '../harness/hostileRegistry.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { writeLayout } from '../harness/ociLayout.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('access')
const containing = (text: string): unknown => expect.stringContaining(text)
const image = honestImage([[{ name: 'a', type: 'file', data: 'a' }]])
const running: HostileRegistry[] = []
const registry = async (script?: Script, options?: HostileOptions): Promise<HostileRegistry> => {
  const started = await hostileRegistry(image, script, options)
  running.push(started)
  return started
}
afterEach(async () => { await Promise.all(running.splice(0).map((each) => each.stop())) })
let made = 0
const siteWith = (registries: TestSite['config']['registries'], more: object = {}): TestSite['config'] => ({ ...testSite(work.at(`site${made++}`)).config, registries, ...more })
const directory = (config: unknown): string => {
  const path = work.at(`docker${made++}`)
  mkdirSync(path)
  writeFileSync(join(path, 'config.json'), JSON.stringify(config))
  return path
}

describe('logins that docker keeps', () => {
  let guarded: Registry
  const auth = Buffer.from('ann:se:cret').toString('base64')
  const pull = (dockerLogins: string) => pullImage(`docker:${guarded.host}/x:v`, { config: siteWith({ [guarded.host]: { plainHttp: true } }, { dockerLogins }) })
  beforeAll(async () => {
    guarded = await startRegistry({ auth: { username: 'ann', password: 'se:cret' } })
    writeLayout(work.at('layout'), { tag: 'v', layers: [[{ name: 'a', type: 'file', data: 'a' }]] })
    await guarded.push(work.at('layout'), 'v', 'x:v')
  })
  afterAll(() => guarded.stop())

  it('are found in its file, by host and by URL', async () => {
    expect(await pull(directory({ auths: { [guarded.host]: { auth } } }))).toMatchObject({ access: 'private' })
    expect(await pull(directory({ auths: { [`https://${guarded.host}/v1/`]: { auth } } }))).toMatchObject({ access: 'private' })
    await expect(pull(directory({ auths: { 'other.example': { auth } } }))).rejects.toMatchObject({ code: 'REGISTRY_UNAUTHORIZED' })
    await expect(pull(work.at('nowhere'))).rejects.toMatchObject({ code: 'REGISTRY_UNAUTHORIZED' })
  })

  it('are asked of the helper that the file names, by its own protocol, without a shell', async () => {
    const bin = work.at('bin')
    mkdirSync(bin)
    const program = join(bin, 'docker-credential-test')
    writeFileSync(program, '#!/bin/sh\nread -r server\n[ "$1" = get ] && [ "$server" = "$WANTED" ] || { echo "credentials not found in native keychain"; exit 1; }\necho \'{"ServerURL":"x","Username":"ann","Secret":"se:cret"}\'\n')
    chmodSync(program, 0o755)
    const { PATH } = process.env
    process.env['PATH'] = `${bin}:${PATH ?? ''}`
    process.env['WANTED'] = guarded.host
    try {
      expect(await pull(directory({ credsStore: 'test' }))).toMatchObject({ access: 'private' })
      expect(await pull(directory({ credHelpers: { [guarded.host]: 'test' } }))).toMatchObject({ access: 'private' })
      process.env['WANTED'] = 'nobody'
      expect(await pull(directory({ credsStore: 'test', auths: { [guarded.host]: { auth } } }))).toMatchObject({ access: 'private' })
      await expect(pull(directory({ credsStore: 'missing' }))).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: containing('docker-credential-missing can\'t be started') })
      await expect(pull(directory({ credsStore: '../x; touch y' }))).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    } finally {
      process.env['PATH'] = PATH
      delete process.env['WANTED']
    }
  })

  it('that are broken say so, without what is in them', async () => {
    const path = directory({})
    writeFileSync(join(path, 'config.json'), `{"auths":{"${guarded.host}":{"auth":"${auth}",}}}`)
    const error: unknown = await pull(path).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(inspect(error, { depth: Infinity })).not.toContain(auth)
  })

  it('may be tokens, which are exchanged and never sent to the registry', async () => {
    const bodies: string[] = []
    const hostile: HostileRegistry = await registry((request, response) => {
      if (request.path.startsWith('/token')) {
        if (request.method === 'GET') {
          response.writeHead(401).end()
          return true
        }
        void request.body.then((text) => {
          bodies.push(text)
          response.end('{"access_token":"good"}')
        })
        return true
      }
      expect(request.headers.authorization ?? '').not.toContain('IDENTITY')
      if (request.headers.authorization === 'Bearer good') return false
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${hostile.url}/token",service="s"` }).end()
      return true
    })
    const dockerLogins = directory({ auths: { [hostile.host]: { auth: Buffer.from('<token>:').toString('base64'), identitytoken: 'IDENTITY' } } })
    expect(await pullImage(`docker:${hostile.host}/x:v`, { config: siteWith({ [hostile.host]: { plainHttp: true } }, { dockerLogins }) })).toMatchObject({ access: 'private' })
    expect(Object.fromEntries(new URLSearchParams(bodies[0]))).toEqual({ grant_type: 'refresh_token', client_id: 'shifter-sdk', service: 's', scope: 'repository:x:pull', refresh_token: 'IDENTITY' })
  })

  it('are tried, kept with mode 0600 beside what else docker keeps, and forgotten', async () => {
    const dockerLogins = work.at('kept', 'docker')
    const config = siteWith({ [guarded.host]: { plainHttp: true } }, { dockerLogins })
    const file = join(dockerLogins, 'config.json')
    await expect(loginRegistry(guarded.host, { username: 'ann', password: 'wrong' }, { config })).rejects.toMatchObject({ code: 'REGISTRY_UNAUTHORIZED' })
    expect(existsSync(file)).toBe(false)
    expect(await loginRegistry(guarded.host, { username: 'ann', password: 'se:cret' }, { config })).toBe(file)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(dirname(file)).mode & 0o777).toBe(0o700)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ auths: { [guarded.host]: { auth } } })
    expect(await pull(dockerLogins)).toMatchObject({ access: 'private' })

    const elsewhere = directory({ psFormat: 'x', auths: { 'other.example': { auth: 'eDp5' }, [`https://${guarded.host}/`]: { auth: 'eDp5' } } })
    const link = work.at('linked')
    mkdirSync(link)
    symlinkSync(join(elsewhere, 'config.json'), join(link, 'config.json'))
    await loginRegistry(guarded.host, { username: 'ann', password: 'se:cret' }, { config: { ...config, dockerLogins: link } })
    expect(JSON.parse(readFileSync(join(elsewhere, 'config.json'), 'utf8'))).toEqual({ psFormat: 'x', auths: { 'other.example': { auth: 'eDp5' }, [guarded.host]: { auth } } })

    expect(await logoutRegistry(guarded.host, { config })).toBe(true)
    expect(await logoutRegistry(guarded.host, { config })).toBe(false)
    await expect(pull(dockerLogins)).rejects.toMatchObject({ code: 'REGISTRY_UNAUTHORIZED' })
  })

  it('are all there when many are changed at once, by this program and by docker', async () => {
    const dockerLogins = directory({ auths: {} })
    const file = join(dockerLogins, 'config.json')
    const guardedToo = await Promise.all(Array.from({ length: 12 }, () =>
      registry((request, response) => {
        if (request.headers.authorization === `Basic ${auth}`) return false
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
        return true
      })))
    const config = siteWith(Object.fromEntries(guardedToo.map(({ host }) => [host, { plainHttp: true }])), { dockerLogins })
    // docker knows no lock: it replaces the file.
    const byDocker = async () => {
      for (let i = 0; i < 5; i++) {
        const now = JSON.parse(readFileSync(file, 'utf8')) as { auths: object }
        writeFileSync(`${file}.docker`, JSON.stringify({ ...now, auths: { ...now.auths, [`docker${i}.example`]: { auth } } }))
        renameSync(`${file}.docker`, file)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    await Promise.all([...guardedToo.map(({ host }) => loginRegistry(host, { username: 'ann', password: 'se:cret' }, { config })), byDocker()])
    const kept = () => Object.keys((JSON.parse(readFileSync(file, 'utf8')) as { auths: object }).auths)
    expect(kept()).toEqual(expect.arrayContaining([...guardedToo.map(({ host }) => host), 'docker4.example']))
    await Promise.all(guardedToo.slice(1).map(({ host }) => logoutRegistry(host, { config })))
    expect(kept().filter((host) => !host.startsWith('docker'))).toEqual([guardedToo[0]?.host])
    expect(readdirSync(dockerLogins)).toEqual(['config.json'])
  })

  it('are changed although a process died with the lock', { timeout: 30_000 }, async () => {
    const dockerLogins = directory({ auths: { [guarded.host]: { auth } } })
    writeFileSync(join(dockerLogins, 'config.json.lock'), 'somebody')
    expect(await logoutRegistry(guarded.host, { config: siteWith({}, { dockerLogins }) })).toBe(true)
    expect(readdirSync(dockerLogins)).toEqual(['config.json'])
  })

  it('are not kept for a registry that asks nobody, nor for what is none', async () => {
    const open = await registry()
    const config = siteWith({ [open.host]: { plainHttp: true } }, { dockerLogins: work.at('none') })
    await expect(loginRegistry(open.host, { username: 'a', password: 'b' }, { config })).rejects.toMatchObject({ code: 'USAGE', message: containing('asks nobody') })
    await expect(loginRegistry('nothing', { username: 'a', password: 'b' }, { config })).rejects.toMatchObject({ code: 'USAGE' })
  })
})

describe('mirrors', () => {
  it('are asked in their order, and left for the next when they fail', async () => {
    const gone = await registry()
    await gone.stop()
    const lacking = await registry((_, response) => {
      response.writeHead(404).end()
      return true
    })
    const good = await registry()
    const origin = await registry()
    const plain = { plainHttp: true }
    const config = siteWith({ [origin.host]: { ...plain, mirrors: [gone.host, lacking.host, good.host] }, [gone.host]: plain, [lacking.host]: plain, [good.host]: plain })
    await pullImage(`docker:${origin.host}/x:v`, { config })
    expect(good.seen.length).toBe(3)
    expect(origin.seen).toEqual([])
  })

  it('that give something else are left, and what counts is the digest', async () => {
    const layer = image.layers[0]?.digest ?? ''
    const liar = await registry((request, response) => {
      if (!request.path.includes(layer)) return false
      response.end(Buffer.alloc(image.layers[0]?.size ?? 0))
      return true
    })
    const origin = await registry()
    const config = siteWith({ [origin.host]: { plainHttp: true, mirrors: [liar.host] }, [liar.host]: { plainHttp: true } })
    expect(await pullImage(`docker:${origin.host}/x:v`, { config })).toMatchObject({ manifestDigest: image.manifestDigest })
    // The tag is resolved once, by the first that answers; the rest is by digest.
    expect(origin.seen.map(({ path }) => path)).toEqual([`/v2/x/blobs/${layer}`])
  })

  it.each<readonly [string, string, Script]>([
    ['cuts each layer', 'blobs', (_, response) => { response.writeHead(200, { 'content-length': image.layers[0]?.size ?? 0 }).write('x', () => response.socket?.destroy()); return true }],
    ['stands still in each layer', 'blobs', (_, response) => { response.writeHead(200, { 'content-length': image.layers[0]?.size ?? 0 }).write('x'); return true }],
    ['ends each layer early', 'blobs', (_, response) => { response.writeHead(200).end('x'); return true }],
    ['gives another part of each layer', 'blobs', (_, response) => { response.writeHead(206, { 'content-range': 'bytes 5-9/10' }).end('xxxxx'); return true }],
    ['gives a page for a manifest', 'manifests', (_, response) => { response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'); return true }],
  ])('are left for the registry by a pull: one %s', async (_, what, answer) => {
    const layer = image.layers[0]?.digest ?? ''
    const bad = await registry((request, response, raw) => request.path.includes(what === 'blobs' ? layer : what) && answer(request, response, raw))
    const origin = await registry()
    const config = siteWith({ [origin.host]: { plainHttp: true, mirrors: [bad.host] }, [bad.host]: { plainHttp: true } }, { network: { stallSeconds: 0.5 } })
    expect(await pullImage(`docker:${origin.host}/x:v`, { config })).toMatchObject({ manifestDigest: image.manifestDigest })
    expect(origin.seen.some(({ path }) => path.includes(what))).toBe(true)
  })

  it('are told no login but their own', async () => {
    const mirror = await registry((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="m"' }).end()
      return true
    })
    const origin = await registry((request, response) => {
      if (request.headers.authorization !== undefined) return false
      response.writeHead(401, { 'www-authenticate': 'Basic realm="o"' }).end()
      return true
    })
    const config = siteWith({ [origin.host]: { plainHttp: true, mirrors: [mirror.host] }, [mirror.host]: { plainHttp: true } }, { dockerLogins: false })
    expect(await pullImage(`docker:${origin.host}/x:v`, { config, credentials: { username: 'ann', password: 'x' } })).toMatchObject({ access: 'private' })
    expect(mirror.seen.every(({ headers }) => headers.authorization === undefined)).toBe(true)
  })
})

describe('a private authority', () => {
  it('is trusted for the registry that names it, and for no other', async () => {
    const openssl = (...args: string[]) => {
      const { status, stderr } = spawnSync('openssl', args, { cwd: work.path })
      if (status !== 0) throw new Error(stderr.toString())
    }
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority')
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'host.key', '-out', 'host.csr', '-subj', '/CN=127.0.0.1')
    writeFileSync(work.at('san'), 'subjectAltName=IP:127.0.0.1,DNS:registry.test')
    openssl('x509', '-req', '-in', 'host.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'host.pem', '-days', '2', '-extfile', 'san')
    const secure = await registry(undefined, { tls: { key: readFileSync(work.at('host.key'), 'utf8'), cert: readFileSync(work.at('host.pem'), 'utf8') } })
    const reference = `docker:${secure.host}/x:v`
    expect(await pullImage(reference, { config: siteWith({ [secure.host]: { plainHttp: false, ca: work.at('ca.pem') } }) })).toMatchObject({ manifestDigest: image.manifestDigest })
    for (const registries of [{}, { '127.0.0.1:1': { plainHttp: false, ca: work.at('ca.pem') } }]) {
      await expect(pullImage(reference, { config: siteWith(registries) })).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: containing('no secure connection') })
    }
    // Also behind a proxy, which alone knows where the registry is; and an authority that is not named is refused there too.
    const asked: (string | undefined)[] = []
    const proxy = createServer().on('connect', ({ url }: { readonly url?: string }, socket: Socket) => {
      asked.push(url)
      const onward = connect(secure.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
        socket.pipe(onward).pipe(socket)
      })
      onward.on('error', () => socket.destroy())
      socket.on('error', () => onward.destroy())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const away = `registry.test:${secure.port}`
    const behind = { proxy: { https: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` } }
    expect(await pullImage(`docker:${away}/x:v`, { config: siteWith({ [away]: { plainHttp: false, ca: work.at('ca.pem') } }, behind) })).toMatchObject({ manifestDigest: image.manifestDigest })
    await expect(pullImage(`docker:${away}/x:v`, { config: siteWith({}, behind) })).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: containing('no secure connection') })
    expect(new Set(asked)).toEqual(new Set([away]))
    proxy.close()
    await expect(pullImage(reference, { config: siteWith({ [secure.host]: { plainHttp: false, ca: work.at('missing.pem') } }) })).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: containing('missing.pem') })
  })
})
