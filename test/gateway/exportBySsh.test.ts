/** The file of an image that lies on another machine, through the service: by a real sshd, no faster than it is taken, and over cuts. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import * as Layer from 'effect/Layer'
import * as Redacted from 'effect/Redacted'
import { exportImage, type ImageRecord, pullImage, siteTransport, Tokens, Transport } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { writeLayout } from '../harness/ociLayout.js'
import { ask, type Service, startService } from '../harness/service.js'
import { testSite } from '../harness/site.js'
import { type Line, lineTo, type Sshd, startSshd } from '../harness/sshd.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('export-ssh')
const SIZE = 48 * 1024 * 1024
const root = 'good:root:root::0:0'
let sshd: Sshd
/** What listens on its port now: it, or the same host again. */
let host: Sshd
let line: Line
let service: Service
let record: ImageRecord.ImageRecord
let token: string
/** Bytes that were asked of the other machine. */
let asked = 0

beforeAll(async () => {
  sshd = await startSshd()
  line = await lineTo(sshd)
  host = sshd
  const site = testSite(work.at('site'))
  const ssh = { hosts: [`127.0.0.1:${line.port}`], username: 'root', keyFile: sshd.keyFile, knownHosts: sshd.knownHosts }
  const config = { ...site.config, systems: { test: { imagePath: site.imagePath, ssh } } }
  writeLayout(work.at('layout'), { tag: 'v', layers: [[{ name: 'noise', type: 'file', data: createHash('shake256', { outputLength: SIZE }).update('x').digest() }]] })
  record = await pullImage(`oci:${work.at('layout')}:v`, { config })
  const transport = Layer.map(siteTransport, (context) => {
    const real = Context.get(context, Transport.Transport)
    return Context.add(context, Transport.Transport, Transport.Transport.of({
      ...real,
      open: (...args) => Effect.map(real.open(...args), (read) => (at: number, length: number) => Effect.suspend(() => { asked += length; return read(at, length) })),
    }))
  })
  service = await startService(config, { transport })
  const tokens = Context.get(service.context, Tokens.Tokens)
  token = Redacted.value((await Effect.runPromise(tokens.create({ label: 't', uid: 0, scopes: ['read'], systems: ['test'], expiresIn: 600_000 }))).secret)
})
afterAll(async () => {
  await service.stop()
  await line.stop()
  await host.stop()
  await sshd.stop()
})

const path = () => `/v1/image/file?reference=id:${record.id}`
const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('the file of an image on another machine', () => {
  it('is given whole, and in ranges', async () => {
    const target = work.at('whole.squashfs')
    await exportImage(`id:${record.id}`, { gateway: service.url, token, format: 'squashfs', target })
    const bytes = readFileSync(target)
    expect(hashOf(bytes)).toBe(record.imageSha256)
    const part = await ask(`${service.url}${path()}`, { as: root, headers: { range: 'bytes=0-3' } })
    expect(part).toMatchObject({ status: 206, text: bytes.subarray(0, 4).toString() })
  })

  it('is read no faster than it is taken, whatever its size', async () => {
    asked = 0
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get(`${service.url}${path()}`, { agent: false, headers: { authorization: `Munge ${root}` } }, resolve).once('error', reject)
    })
    response.pause()
    // Until nothing more is asked for: what is on its way fills the sockets' buffers, and is no part of the image that matters.
    let before = -1
    await vi.waitFor(() => { const now = asked; const still = now === before; before = now; expect(still).toBe(true) }, { timeout: 30_000, interval: 1000 })
    expect(asked).toBeLessThan(SIZE / 2)
    const hash = createHash('sha256')
    for await (const piece of response) hash.update(piece as Buffer)
    expect(hash.digest('hex')).toBe(record.imageSha256)
  })

  it('is left alone when nobody takes it any more', async () => {
    asked = 0
    const { hostname, port } = new URL(service.url)
    const socket = connect(Number(port), hostname)
    socket.write(`GET ${path()} HTTP/1.1\r\nHost: x\r\nAuthorization: Munge ${root}\r\n\r\n`)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
    let before = -1
    await vi.waitFor(() => { const now = asked; const still = now === before; before = now; expect(still).toBe(true) }, { timeout: 30_000, interval: 1000 })
    expect(asked).toBeLessThan(SIZE)
  })

  it('comes over a connection to the other machine that is cut', async () => {
    const target = work.at('cut.squashfs')
    // What is idle is closed; the next connection ends in the middle of what it is asked for.
    const before = line.connections()
    await host.stop()
    host = await startSshd({ as: sshd, port: sshd.port })
    line.cutNext(20_000)
    await exportImage(`id:${record.id}`, { gateway: service.url, token, format: 'squashfs', target })
    expect(line.connections()).toBeGreaterThanOrEqual(before + 2)
    expect(hashOf(readFileSync(target))).toBe(record.imageSha256)
  })
})
