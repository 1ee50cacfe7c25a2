/** The gateway over the network as programs and the command line use it: as an embedded one, with real munge and tokens. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import * as Redacted from 'effect/Redacted'
import { catalogLayer, exportImage, inspectImage, listImages, lookupImage, type ProgressEvent, pullImage, PullQueue, removeImage, Tokens } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { failure } from '../harness/gateway.js'
import { type Munge, startMunge } from '../harness/munge.js'
import { writeLayout } from '../harness/ociLayout.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { type Service, startService } from '../harness/service.js'
import { program } from '../harness/shifterimg.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const work = useWorkspace('client')
let munge: Munge
let registry: Registry
let guarded: Registry
let service: Service
let config: string
/** A registry that takes calls and never answers. */
let silent: Server
let silentHost: string
let called: Promise<void>

beforeAll(async () => {
  await built()
  munge = await startMunge(work.at('munge'))
  registry = await startRegistry()
  guarded = await startRegistry({ auth: { username: 'ann', password: 'se:cret' } })
  for (const tag of ['one', 'two', 'three']) {
    writeLayout(work.at(tag), { tag: 'v', layers: [[{ name: tag, type: 'file', data: tag }]] })
    await registry.push(work.at(tag), 'v', `${tag}:v`)
  }
  await guarded.push(work.at('one'), 'v', 'own:v')
  silent = createServer(() => undefined)
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  silentHost = `127.0.0.1:${(silent.address() as AddressInfo).port}`
  called = new Promise<void>((resolve) => silent.once('connection', () => resolve()))
  const site = testSite(work.at('site'), [registry.host, guarded.host, silentHost])
  service = await startService({ ...site.config, systems: { test: { ...site.config.systems.test, munge: munge.socket } }, server: { authentication: 'munge' } })
  config = work.at('client.json')
  writeFileSync(config, JSON.stringify({ version: 1, gateways: [service.url], system: 'test', munge: munge.socket }))
})
afterAll(async () => {
  silent.closeAllConnections()
  silent.close()
  await service.stop()
  await guarded.stop()
  await registry.stop()
  await munge.stop()
})

const name = (tag: string) => `docker:${registry.host}/${tag}`
const client = (rest: Readonly<Record<string, unknown>> = {}) => ({ version: 1 as const, gateways: [service.url] as [string], munge: munge.socket, ...rest })

const shifterimg = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
    child.once('close', (status) => resolve({ status, stdout, stderr }))
  })

describe('the library', () => {
  it('pulls, looks up, lists, inspects and removes as within its own process', async () => {
    const record = await pullImage(name('one:v'), { config: client() })
    expect(record).toMatchObject({ reference: name('one:v'), access: 'public', owner: 0 })
    expect(await lookupImage(name('one:v'), { config: client() })).toBe(record.id)
    expect(await inspectImage(`id:${record.id}`, { config: client() })).toEqual({ record, names: [name('one:v')], system: 'test' })
    expect((await listImages({ config: client() })).images).toEqual([{ record, names: [name('one:v')], system: 'test' }])
    expect(await removeImage(name('one:v'), { config: client() })).toEqual({ id: record.id, names: [name('one:v')], image: false })
    expect((await listImages({ config: client() })).images).toMatchObject([{ names: [] }])
    expect(await removeImage(`id:${record.id}`, { config: client() })).toMatchObject({ image: true })
    expect((await failure(lookupImage(name('one:v'), { config: client() }))).code).toBe('IMAGE_NOT_FOUND')
  })

  it('has the codes of an embedded one', async () => {
    expect((await failure(pullImage('oci:/etc:v', { config: client() }))).code).toBe('SOURCE_UNSUPPORTED')
    expect((await failure(pullImage('docker:UPPER', { config: client() }))).code).toBe('REFERENCE_INVALID')
    expect((await failure(pullImage(name('nothing:v'), { config: client() }))).code).toBe('MANIFEST_NOT_FOUND')
    expect((await failure(lookupImage('docker:x', { config: client({ system: 'none' }) }))).code).toBe('SYSTEM_UNKNOWN')
    expect((await failure(exportImage('docker:x', { config: client(), format: 'tar', target: work.at('out') }))).code).toBe('IMAGE_NOT_FOUND')
  })

  it('gives registry passwords to one pull', async () => {
    const own = `docker:${guarded.host}/own:v`
    expect((await failure(pullImage(own, { config: client() }))).code).toBe('REGISTRY_UNAUTHORIZED')
    expect((await failure(pullImage(own, { config: client(), credentials: { username: 'ann', password: 'wrong' } }))).code).toBe('REGISTRY_UNAUTHORIZED')
    expect(await pullImage(own, { config: client(), credentials: { username: 'ann', password: 'se:cret' } })).toMatchObject({ access: 'private' })
    expect(service.log.join('')).not.toMatch(/se:cret|wrong/)
  })

  it('asks another replica where one does not answer', async () => {
    for (let i = 0; i < 4; i++) await listImages({ config: client({ gateways: ['http://127.0.0.1:1', service.url] }) })
    expect(await failure(listImages({ config: client({ gateways: ['http://127.0.0.1:1', 'http://127.0.0.1:2'] }) }))).toMatchObject({ code: 'GATEWAY_UNREACHABLE', message: expect.stringContaining('127.0.0.1:2') as string })
  })

  it('says when what answers is no gateway', async () => {
    const other: Server = createServer((_, response) => void response.writeHead(418).end('teapot'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const error = await failure(listImages({ config: client({ gateways: [`http://127.0.0.1:${(other.address() as AddressInfo).port}`] }) }))
    other.close()
    expect(error.message).toContain('is no answer of its API')
  })

  it('cancels on the gateway what is cancelled here', async () => {
    const cancel = new AbortController()
    let began = (_: ProgressEvent) => {}
    const told = new Promise<ProgressEvent>((resolve) => { began = resolve })
    const pull = failure(pullImage(`docker:${silentHost}/x:v`, { config: client(), signal: cancel.signal, onProgress: (event) => began(event) }))
    await Promise.race([called, pull])
    expect(await told).toEqual({ _tag: 'Phase', phase: 'resolve' })
    cancel.abort()
    expect((await pull).code).toBe('CANCELLED')
    const queue = await fetch(`${service.url}/v1/pulls`, { headers: { authorization: `Munge ${await munge.credential()}` } })
    const { pulls } = (await queue.json()) as { pulls: { reference: string; state: string }[] }
    expect(pulls.find(({ reference }) => reference.includes(silentHost))).toMatchObject({ state: 'cancelled' })
  })

  it('shows tokens from a file that nobody else reads', async () => {
    const tokens = Context.get(service.context, Tokens.Tokens)
    const { secret } = await Effect.runPromise(tokens.create({ label: 't', uid: 4711, scopes: ['read'], systems: [], expiresIn: 60_000 }))
    const file = work.at('token')
    writeFileSync(file, `${Redacted.value(secret)}\n`, { mode: 0o600 })
    const config = { version: 1 as const, gateways: [service.url] as [string], token: file }
    // uid 4711 may use what is public alone.
    expect((await listImages({ config })).images.map(({ record }) => record.access)).not.toContain('private')
    expect((await failure(pullImage(name('one:v'), { config }))).code).toBe('ACCESS_DENIED')
    writeFileSync(work.at('open-token'), 'x', { mode: 0o644 })
    expect((await failure(listImages({ config: { ...config, token: work.at('open-token') } }))).code).toBe('CONFIG_INVALID')
    expect((await failure(listImages({ gateway: service.url, token: 'wrong' }))).code).toBe('UNAUTHENTICATED')
  })
})

describe('shifterimg', () => {
  it('works with a gateway by configuration', async () => {
    const pulled = await shifterimg(['--config', config, 'pull', name('two:v')])
    expect(pulled).toMatchObject({ status: 0, stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/) as string, stderr: expect.stringContaining(`${name('two:v')} is ready: `) as string })
    const id = pulled.stdout.trim()
    expect(await shifterimg(['--config', config, 'lookup', name('two:v')])).toEqual({ status: 0, stdout: `${id}\n`, stderr: '' })
    expect((await shifterimg(['--config', config, 'images', '--quiet'])).stdout).toContain(`${name('two:v')}\n`)
    expect((await shifterimg(['--config', config, 'inspect', '--json', name('two:v')])).stdout).toContain(id)
    expect(await shifterimg(['--config', config, 'rm', name('two:v')])).toMatchObject({ status: 0, stdout: expect.stringContaining('Removed the name') as string })
    expect(await shifterimg(['--config', config, 'rm', `id:${id}`])).toMatchObject({ status: 0, stdout: `Removed the image ${id} and 0 names.\n` })
    expect(await shifterimg(['--config', config, 'lookup', name('two:v')])).toMatchObject({ status: 1, stderr: expect.stringContaining('IMAGE_NOT_FOUND') as string })
  })

  it('finds it by option and environment', async () => {
    const env = { SHIFTER_TOKEN_FILE: work.at('any-token') }
    writeFileSync(env.SHIFTER_TOKEN_FILE, 'x\n', { mode: 0o600 })
    expect(await shifterimg(['--gateway', 'http://127.0.0.1:1', 'images'], env)).toMatchObject({ status: 4, stderr: expect.stringContaining('GATEWAY_UNREACHABLE') as string })
    expect(await shifterimg(['images'], { ...env, SHIFTER_GATEWAY: 'http://127.0.0.1:1' })).toMatchObject({ status: 4 })
    expect(await shifterimg(['--gateway', 'nonsense', 'images'])).toMatchObject({ status: 2, stderr: expect.stringContaining('CONFIG_INVALID') as string })
  })
})

// The last: it ends the service of this file.
it('a service that stops ends its streams, and what runs is put back', async () => {
  const headers = { authorization: `Munge ${await munge.credential()}`, 'content-type': 'application/json' }
  const created = await fetch(`${service.url}/v1/pulls`, { method: 'POST', headers, body: JSON.stringify({ reference: `docker:${silentHost}/y:v` }) })
  const { id } = (await created.json()) as { id: string }
  const stream = await fetch(`${service.url}/v1/pulls/${id}/events`, { headers: { authorization: `Munge ${await munge.credential()}` } })
  const queue = Context.get(service.context, PullQueue.PullQueue)
  const text = stream.text()
  await vi.waitFor(async () => expect((await Effect.runPromise(queue.get(id)))?.state).toBe('running'), { timeout: 10_000, interval: 20 })
  await service.stop()
  expect(await text).toMatch(/^retry: \d+\n\n[\s\S]*event: pull\n/)
  await expect(fetch(`${service.url}/healthz`)).rejects.toThrow()
  // Read anew: the service's own database is closed.
  const left = await Effect.runPromise(Effect.provide(Effect.flatMap(PullQueue.PullQueue, (again) => again.get(id)), catalogLayer(service.site)))
  expect(left).toMatchObject({ state: 'waiting' })
})
