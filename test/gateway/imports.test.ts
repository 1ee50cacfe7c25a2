/**
 * Imports of a service whose processes are killed: another process of the same state directory goes on with every one, another machine with those
 * whose file it can reach, and whose upload it can't reach is told so.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as Chunk from 'effect/Chunk'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Stream from 'effect/Stream'
import { importImage, inspectImage, Site } from 'shifter-sdk'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import * as Uploads from '../../src/core/Uploads.js'
import { freePort } from '../harness/ports.js'
import { runOk } from '../harness/process.js'
import { type ServiceSite, withPullServices, withReplicas } from '../harness/pullService.js'
import { outcomeOf } from '../harness/pulls.js'
import { ask } from '../harness/service.js'
import { expectSound, leftovers } from '../harness/soundness.js'
import { type TestSite, testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const work = useWorkspace('imports')
const tar = tarBytes([{ name: 'opt/noise', type: 'file', data: randomBytes(2_000_000) }])
/** The tests run as root, whose files these are. */
const ME = 0
let sites = 0

const siteAt = (): ServiceSite => {
  const directory = work.at(`site${sites++}`)
  mkdirSync(directory, { recursive: true })
  const site = testSite(directory)
  const config = { ...site.config, cache: { bytes: 0 }, import: { users: [ME], roots: [work.path] }, pulls: { retrySeconds: 1 } }
  return { ...site, directory, config }
}

/** An upload that is complete, on the disk of a site. */
const uploaded = (site: TestSite): Promise<string> => {
  const uploads = Uploads.make(Either.getOrThrow(Site.decode(site.config)))
  return Effect.runPromise(
    Effect.flatMap(uploads.create({ owner: ME, name: 'x.tar', bytes: tar.length }), ({ id }) => Effect.as(uploads.append(id, ME, 0, Stream.fromChunk(Chunk.of(new Uint8Array(tar)))), id)),
  )
}

beforeAll(async () => {
  writeFileSync(work.at('x.tar'), tar)
  await built()
})
const path = () => ({ _tag: 'Path', path: work.at('x.tar') }) as const

describe.concurrent('an import whose process is killed', () => {
  it.each(['resolve', 'convert', 'publish'])('in the phase %s is finished by the next process, and nothing is left', (phase) =>
    withPullServices(async (start) => {
      const site = siteAt()
      const upload = await uploaded(site)
      const first = await start(site, { DIE_AT: phase })
      const asked = await first.askImport(ME, 'custom:path', path())
      const other = await first.askImport(ME, 'custom:upload', { _tag: 'Upload', id: upload }).catch(() => undefined)
      await first.ended
      const second = await start(site)
      const again = other ?? (await second.askImport(ME, 'custom:upload', { _tag: 'Upload', id: upload }))
      expect(await second.end(ME, asked.id)).toMatchObject({ state: 'done', order: { reference: 'custom:path:latest' } })
      expect(outcomeOf(await second.end(ME, again.id))).toBe('done')
      // Whoever was not told asks again, and is told.
      expect((await second.askImport(ME, 'custom:upload', { _tag: 'Upload', id: upload })).id).toBe(again.id)
      await second.stop()
      await expectSound(site, 'custom:path', phase)
      expect(leftovers(site)).toEqual([])
      expect((await inspectImage('custom:upload', { config: site.config })).names).toEqual(['custom:path:latest', 'custom:upload:latest'])
    }))
})

describe('replicas on two machines', () => {
  it('go on with what they can reach: a path, and an upload where it lies; else they say that it is out of reach', () =>
    withReplicas(work.at('database'), siteAt, async (start, [here, there], server) => {
      const upload = { _tag: 'Upload', id: await uploaded(here) } as const
      const lives = await start(there);
      const refused = await lives.askImport(ME, 'custom:u', upload).catch((error: unknown) => String(error))
      expect(refused).toMatch(/There is no upload/)
      const dies = await start(here, { DIE_AT: 'convert' })
      const asked = await dies.askImport(ME, 'custom:u', upload)
      await dies.ended
      // It does not lie here: it waits for the machine where it does.
      expect(await lives.askImport(ME, 'custom:u', upload)).toMatchObject({ id: asked.id })
      const back = await start(here)
      expect(await lives.end(ME, asked.id)).toMatchObject({ state: 'done', attempts: 2 })
      await back.kill()

      const lost = { _tag: 'Upload', id: await uploaded(here) } as const
      const goes = await start(here, { STOP_AT: 'resolve' })
      const gone = await goes.askImport(ME, 'custom:lost', lost)
      await goes.stoodStill()
      await goes.kill()
      // As if a minute had passed.
      await server.execute('postgres', 'UPDATE runners SET alive_until = 0')
      expect((await lives.end(ME, gone.id)).outcome).toMatchObject({ code: 'UPLOAD_NOT_FOUND', what: expect.stringContaining('does not answer') as string })

      const third = await start(here, { DIE_AT: 'convert' })
      // Whoever takes it first: one dies of it, the other does not.
      const paths = await Promise.all(['a', 'b'].map((name) => lives.askImport(ME, `custom:${name}`, path())))
      for (const { id } of paths) expect(outcomeOf(await lives.end(ME, id))).toBe('done')
      await third.kill()
    }))
})

describe('a client', () => {
  const program = new URL('../../dist/bin/shifter-gateway.js', import.meta.url).pathname
  const serve = async (site: ServiceSite, port: number) => {
    const file = join(site.directory, `gateway${port}.json`)
    writeFileSync(file, JSON.stringify({ ...site.config, server: { listen: [`127.0.0.1:${port}`], authentication: 'mock', stopSeconds: 1 } }))
    const child = spawn(process.execPath, [program, '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stderr).on('line', (line) => { if (line.includes('"listening"')) resolve() })
      void ended.then(() => reject(new Error('the service ended')))
    })
    return { child, ended, file }
  }

  it('whose replica is killed asks the other one, which goes on with its import', async () => {
    const site = siteAt()
    const [portA, portB] = [await freePort(), await freePort()]
    const urls = [portA, portB].map((port) => `http://127.0.0.1:${port}`) as [string, string]
    writeFileSync(work.at('large.tar'), tarBytes([{ name: 'noise', type: 'file', data: randomBytes(40_000_000) }]))
    const a = await serve(site, portA)
    const secret = (await runOk([process.execPath, program, 'token', 'create', '--config', a.file, '--user', 'root', '--label', 't', '--scope', 'manage', '--days', '1'])).stdout.trim()
    writeFileSync(work.at('token'), secret, { mode: 0o600 })
    const headers = { authorization: `Bearer ${secret}` }
    let b: Awaited<ReturnType<typeof serve>> | undefined
    try {
      const imported = importImage('custom:large', work.at('large.tar'), { config: { version: 1, gateways: urls, token: work.at('token') } })
      imported.catch(() => undefined)
      await vi.waitFor(async () => expect((await ask(`${urls[0]}/v1/pulls`, { headers })).body).toMatchObject({ pulls: [{ state: 'running' }] }), { timeout: 60_000, interval: 10 })
      // Not a moment more for it; then the other one is there, and it is not.
      a.child.kill('SIGSTOP')
      b = await serve(site, portB)
      a.child.kill('SIGKILL')
      expect(await imported).toMatchObject({ owner: 0, reference: 'custom:large:latest' })
      expect((await ask(`${urls[1]}/v1/pulls`, { headers })).body).toMatchObject({ pulls: [{ state: 'done', attempts: 2 }] })
    } finally {
      for (const { child, ended } of [a, ...(b === undefined ? [] : [b])]) {
        child.kill('SIGKILL')
        await ended
      }
    }
  })
})
