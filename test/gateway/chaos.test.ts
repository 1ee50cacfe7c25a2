/**
 * Services that are killed, stopped and continued, registries that fail and disks that are full: whatever happens, what is ready is whole, what was
 * asked for is finished, nothing is converted twice that one would have done, and nothing is left. `SHIFTER_TEST_LONG=1` goes on for long;
 * `SHIFTER_CHAOS_SEED` repeats a run's choices.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Layer from 'effect/Layer'
import { pullImage } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Gateway } from '../../src/core/Gateway.js'
import { phases } from '../../src/core/Progress.js'
import { Pulls } from '../../src/gateway/Pulls.js'
import { smallFileSystem } from '../harness/fileSystems.js'
import { honestImage, type HostileRegistry, hostileRegistry, manyImages } from '../harness/hostileRegistry.js'
import { ended, outcomeOf, pulled, pullsOf, somebody, withPulls } from '../harness/pulls.js'
import { type ServiceSite, withPullServices, withReplicas } from '../harness/pullService.js'
import { type TestSite, testSite } from '../harness/site.js'
import { expectSound, expireLeases, leftovers } from '../harness/soundness.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('chaos')
const isLong = process.env['SHIFTER_TEST_LONG'] === '1'
const seed = Number(process.env['SHIFTER_CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const images = 4

/** Bytes that do not compress, the same every time. */
const noise = (from: number, size: number): Buffer => {
  const out = Buffer.alloc(size)
  for (let i = 0, state = from; i < size; i++) out[i] = (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16
  return out
}
const contents = () => manyImages(Array.from({ length: images }, (_, i) => honestImage([
  [{ name: 'opt/noise', type: 'file', data: noise(i + 1, 1_000_000) }],
  [{ name: 'opt/more', type: 'file', data: noise(i + 100, 500_000) }],
])))

let registry: HostileRegistry
let sites = 0
beforeAll(async () => { registry = await hostileRegistry(contents()) })
afterAll(() => registry.stop())

const siteAt = (pulls: object = {}, at = registry): ServiceSite => {
  const directory = work.at(`site${sites++}`)
  mkdirSync(directory, { recursive: true })
  const site = testSite(directory, [at.host])
  return {
    ...site,
    directory,
    config: {
      ...site.config,
      cache: { bytes: 0 },
      dockerLogins: false,
      network: { connectSeconds: 5, headersSeconds: 0.5, stallSeconds: 1 },
      pulls: { retrySeconds: 1, attempts: 20, perUser: 4, ...pulls },
    },
  }
}
const reference = (n = 0, at = registry) => `docker:${at.host}/app:v${n}`

/** Every image is whole, can be pulled again, and nothing is left then that nobody uses. */
const expectClean = async (site: TestSite, wanted: readonly number[], context: string, at = registry) => {
  await expectSound(site, reference(wanted[0], at), context)
  await expireLeases(site)
  for (const n of wanted) await pullImage(reference(n, at), { config: site.config })
  await expectSound(site, reference(wanted[0], at), context)
  expect(leftovers(site), context).toEqual([])
}

describe.concurrent('a service', () => {
  it.each(phases)('that dies in the phase %s is followed by another one within ten seconds, which goes on', (phase) =>
    withPullServices(async (start) => {
      const site = siteAt()
      const first = await start(site, { DIE_AT: phase })
      const asked = await first.ask(1001, reference())
      await first.ended
      const died = performance.now()
      const second = await start(site)
      await second.says(({ _tag }) => _tag === 'Phase')
      // The lease of six seconds, and the second's own start.
      expect(performance.now() - died).toBeLessThan(10_000)
      expect(await second.end(1001, asked.id)).toMatchObject({ state: 'done', attempts: 2 })
      await second.stop()
      await expectClean(site, [0], phase)
      expect(first.packed() + second.packed(), 'what was not begun is not begun twice').toBe(phase === 'transfer' || phase === 'publish' ? 2 : 1)
    }))

  it('that stands still for longer than its lease publishes nothing when it wakes up, and works on', () =>
    withPullServices(async (start) => {
      const site = siteAt({ atOnce: 1 })
      const first = await start(site, { STOP_AT: 'transfer' })
      const asked = await first.ask(1001, reference())
      await first.says((answer) => answer._tag === 'Phase' && answer.phase === 'transfer')
      await first.stoodStill()
      const second = await start(site)
      expect(await second.end(1001, asked.id)).toMatchObject({ state: 'done', attempts: 2 })
      await second.stop()
      await expectSound(site, reference(), 'before it wakes up')
      // Only now it reads on, and stops itself once more in the same phase of the next one.
      const next = first.ask(1001, reference(1))
      first.child.kill('SIGCONT')
      await next
      await first.says((answer) => answer._tag === 'Phase' && answer.reference === reference(1) && answer.phase === 'transfer')
      await first.stoodStill()
      first.child.kill('SIGCONT')
      expect((await first.end(1001, (await next).id)).state).toBe('done')
      await first.stop()
      await expectClean(site, [0, 1], 'stopped')
    }))

  it('beside another one converts what both are asked for once', () =>
    withPullServices(async (start) => {
      const site = siteAt({ atOnce: 8, perRegistry: 8 })
      const services = await Promise.all([start(site), start(site)])
      const ends = await Promise.all(Array.from({ length: 24 }, async (_, i) => {
        const [asked, other] = i % 2 === 0 ? services : [services[1], services[0]]
        const { id } = await asked.ask(1000 + i, reference(i % images))
        return other.end(1000 + i, id)
      }))
      expect(ends.map(outcomeOf)).toEqual(ends.map(() => 'done'))
      expect(services[0].packed() + services[1].packed()).toBe(images)
      await Promise.all(services.map((service) => service.stop()))
      await expectClean(site, [0, 1, 2, 3], 'two')
    }))
})

describe('a database of two replicas', () => {
  it('may be restarted in the middle of pulls, and one of the replicas may die', () =>
    withReplicas(work.at('database'), siteAt, async (start, replicas, server) => {
      const services = [await start(replicas[0]), await start(replicas[1])] as const
      const asked = await Promise.all(Array.from({ length: images * 2 }, async (_, i) => ({ uid: 1001 + i, pull: await services[i % 2 === 0 ? 0 : 1].ask(1001 + i, reference(i % images)) })))
      const victim = await Promise.any(services.map(async (service, i) => { await service.says(({ _tag }) => _tag === 'Packing'); return i }))
      const [dies, lives] = victim === 0 ? services : [services[1], services[0]]
      await server.restart('immediate')
      await dies.kill()
      for (const { pull, uid } of asked) expect(outcomeOf(await lives.end(uid, pull.id))).toBe('done')
      await lives.stop()
      const third = await start(replicas[0])
      expect((await third.end(1001, asked[0]?.pull.id ?? '')).state).toBe('done')
      await third.stop()
      for (const replica of replicas) await expectClean(replica, [0, 1, 2, 3], 'replicas')
    }))
})

/** The first so many requests of what is named are answered by something else. */
const firstly = (count: number, part: string, answer: HostileRegistry['script']): HostileRegistry['script'] => {
  let left = count
  return (request, response, raw) => request.path.includes(part) && left-- > 0 && answer(request, response, raw)
}
const status = (code: number, headers: Readonly<Record<string, string>> = {}): HostileRegistry['script'] => (_, response) => {
  response.writeHead(code, headers).end()
  return true
}
const blobs = contents().blobs
const blobOf = (path: string) => blobs.get(path.split('/').at(-1) ?? '') ?? Buffer.alloc(0)

describe.concurrent('a registry that', () => {
  it.each<readonly [string, HostileRegistry['script'], string]>([
    ['refuses everyone', firstly(9, '/', status(401, { 'www-authenticate': 'Basic realm="test"' })), 'REGISTRY_UNAUTHORIZED'],
    ['wants to be left alone for a moment', firstly(2, '/', status(429, { 'retry-after': '1' })), 'done'],
    ['fails for longer than one try has patience', firstly(5, '/manifests/', status(500)), 'done'],
    ['breaks off in the middle of layers', firstly(5, '/blobs/', ({ path }, response) => {
      const blob = blobOf(path)
      response.writeHead(200, { 'content-length': blob.length })
      response.write(blob.subarray(0, blob.length / 2), () => response.destroy())
      return true
    }), 'done'],
    ['sends other layers than it says', firstly(99, '/blobs/', ({ path }, response) => {
      const blob = blobOf(path)
      if (blob.length < 10_000) return false
      response.writeHead(200, { 'content-length': blob.length }).end(Buffer.alloc(blob.length))
      return true
    }), 'DIGEST_MISMATCH'],
    ['says nothing', firstly(3, '/', () => true), 'done'],
  ])('%s does no harm', async (name, script, outcome) => {
    const mine = await hostileRegistry(contents(), script)
    try {
      const site = siteAt({}, mine)
      expect(outcomeOf(await withPulls(site.config, {}, pulled(somebody(1001), reference(0, mine)))), name).toBe(outcome)
      mine.script = () => false
      if (outcome !== 'done') expect(outcomeOf(await withPulls(site.config, {}, pulled(somebody(1001), reference(0, mine)))), name).toBe('done')
      await expectClean(site, [0], name, mine)
    } finally {
      await mine.stop()
    }
  })
})

describe.concurrent('a full disk', () => {
  it.each([
    ['of the image path', 'images', 600_000],
    ['of the state directory', 'state', 900_000],
  ])('%s delays a pull until there is room', async (_, which, bytes) => {
    const site = siteAt()
    const room = await smallFileSystem(join(site.directory, which), 16 * 1024 * 1024, { mode: which === 'state' ? 0o700 : 0o755 })
    try {
      const full = await Effect.runPromise(Deferred.make<string>())
      const between = Layer.effect(Gateway, Effect.map(Gateway, (gateway) => Gateway.of({
        ...gateway,
        pull: (request) => Effect.tapError(gateway.pull(request), ({ code }) => Deferred.succeed(full, code)),
      })))
      // The tables are made while there is room for them.
      await Effect.runPromise(Effect.flatMap(Pulls, (pulls) => pulls.list(somebody(1001), { system: 'test', all: false, limit: 1 })).pipe(Effect.provide(pullsOf(site.config))))
      await room.leave(bytes)
      const end = await withPulls(site.config, { between }, Effect.gen(function* () {
        const pulls = yield* Pulls
        const { id } = yield* pulls.submit(somebody(1001), { system: 'test', reference: reference() })
        expect(yield* Deferred.await(full)).toBe('STORAGE_FULL')
        yield* Effect.promise(() => room.empty())
        return yield* ended(somebody(1001), id)
      }))
      expect(outcomeOf(end)).toBe('done')
      expect(end.attempts).toBeGreaterThan(1)
      await expectClean(site, [0], which)
    } finally {
      await room.stop()
    }
  })
})

describe('at random', () => {
  it(`two services are killed, stopped and started, and finish what was asked for (seed ${seed})`, { timeout: isLong ? 3600_000 : 110_000 }, async () => {
    let state = seed
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    for (let round = 0; round < (isLong ? 60 : 1); round++) {
      const context = `seed ${seed}, round ${round}`
      await withPullServices(async (start) => {
        const site = siteAt()
        const services = [await start(site), await start(site)]
        const wanted = Array.from({ length: 3 }, () => random(images))
        const asked = await Promise.all(wanted.map(async (n, i) => ({ uid: 1001 + i, pull: await (services[i % 2] ?? services[0])?.ask(1001 + i, reference(n)) })))
        for (let blow = 0; blow < 1 + random(isLong ? 5 : 2); blow++) {
          await sleep(random(1500))
          const victim = random(2)
          const service = services[victim]
          if (random(3) > 0) {
            await service?.kill()
            services[victim] = await start(site)
          } else {
            service?.child.kill('SIGSTOP')
            await sleep(random(9000))
            service?.child.kill('SIGCONT')
          }
        }
        for (const { pull, uid } of asked) expect(outcomeOf((await services[0]?.end(uid, pull?.id ?? '')) ?? { state: 'failed' }), context).toBe('done')
        for (const service of services) await service.stop()
        await expectClean(site, wanted, context)
      })
    }
  })
})
