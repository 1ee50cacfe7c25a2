/** Pulls that users ask of a gateway service: who shares one, who sees one, and how one ends. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as Layer from 'effect/Layer'
import * as Stream from 'effect/Stream'
import { Executor, Gateway, lookupImage, type ProgressEvent } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Audit } from '../../src/core/Audit.js'
import { PullQueue, type QueuedPull } from '../../src/core/PullQueue.js'
import * as Metrics from '../../src/gateway/Metrics.js'
import { Pulls } from '../../src/gateway/Pulls.js'
import { sqliteDatabase } from '../harness/database.js'
import { honestImage, type HostileRegistry, hostileRegistry, manyImages } from '../harness/hostileRegistry.js'
import { ended, outcomeOf, pulled, pullsOf, somebody, withPulls } from '../harness/pulls.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('pulls')
const images = 20
let registry: HostileRegistry
let configs: readonly string[] = []
let sites = 0
beforeAll(async () => {
  const made = Array.from({ length: images }, (_, i) => honestImage([[{ name: `file${i}`, type: 'file', data: `content ${i}` }]]))
  configs = made.map(({ configDigest }) => configDigest)
  registry = await hostileRegistry(manyImages(made))
})
afterAll(() => registry.stop())

const siteWith = (pulls: object = {}, registrySettings: object = {}): TestSite => {
  const site = testSite(work.at(`site${sites++}`), [registry.host])
  const registries = { [registry.host]: { plainHttp: true, ...registrySettings } }
  return { ...site, config: { ...site.config, registries, dockerLogins: false, pulls: { retrySeconds: 1, ...pulls } } }
}
const reference = (n = 0) => `docker:${registry.host}/app:v${n}`
const isLong = process.env['SHIFTER_TEST_LONG'] === '1'

/** Answers as a registry that gives only to who logs in with the password `secret`. */
const closed: HostileRegistry['script'] = ({ headers }, response) => {
  if (headers.authorization !== undefined && Buffer.from(headers.authorization.slice(6), 'base64').toString().endsWith(':secret')) return false
  response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
  return true
}
const scripted = async <A>(script: HostileRegistry['script'], use: () => Promise<A>): Promise<A> => {
  registry.script = script
  try {
    return await use()
  } finally {
    registry.script = () => false
  }
}

/** An executor whose conversions wait for a gate, and how many wait there. */
const gated = () => {
  let open: () => void = () => undefined
  let waiting = 0
  const gate = new Promise<void>((resolve) => { open = resolve })
  const layer = Layer.succeed(Executor.Executor, Executor.Executor.of({
    convert: ({ fetched, here }) => Effect.zipRight(Effect.zipRight(fetched, Effect.promise(() => { waiting++; return gate })), here),
  }))
  return { layer, open: () => open(), waiting: () => waiting }
}

const submit = (uid: number, n = 0, more: Parameters<typeof somebody>[1] & { readonly wanted?: object } = {}) =>
  Effect.flatMap(Pulls, (pulls) => pulls.submit(somebody(uid, more), { system: 'test', reference: reference(n), ...more.wanted }))
const until = (uid: number, id: string, is: (pull: QueuedPull) => boolean) =>
  Effect.flatMap(Pulls, (pulls) => Stream.runHead(Stream.filter(pulls.watch(somebody(uid), id), is))).pipe(Effect.flatten)
/** A pull of three users that waits for its next try. */
const submitAndWait = Effect.gen(function* () {
  const { id } = yield* submit(1001, 1)
  yield* submit(1002, 1)
  yield* submit(1003, 1)
  yield* until(1001, id, ({ attempts, state }) => attempts === 1 && state === 'waiting')
  return id
})
const isWaiting = ({ progress }: QueuedPull) => progress?.isWaiting === true
const codeOf = <A, R>(effect: Effect.Effect<A, { readonly code: string }, R>) => Effect.map(Effect.flip(effect), ({ code }) => code)
const files = (directory: string) => (existsSync(directory) ? readdirSync(directory) : [])

describe('an order', () => {
  it('of a public image is one pull for all who ask for it', async () => {
    const site = siteWith()
    const gate = gated()
    const seen = registry.seen.length
    await withPulls(site.config, { parts: { executor: gate.layer } }, Effect.gen(function* () {
      const orders = yield* Effect.forEach(Array.from({ length: 30 }, (_, i) => 1000 + i), (uid) => submit(uid))
      expect(new Set(orders.map(({ id }) => id)).size).toBe(1)
      const [first] = orders
      gate.open()
      const ends = yield* Effect.forEach(Array.from({ length: 30 }, (_, i) => 1000 + i), (uid) => ended(somebody(uid), first?.id ?? ''), { concurrency: 'unbounded' })
      expect(ends.map(outcomeOf)).toEqual(ends.map(() => 'done'))
    }))
    // One manifest, one configuration, one layer.
    expect(registry.seen.length - seen).toBe(3)
  })

  it.each([
    ['credentials of a user', { password: 'secret' }, {}, {}],
    ['lists', { wanted: { allowUids: [7] } }, {}, {}],
    ['a login of the site', {}, { username: 'site', passwordFile: '/dev/null' }, {}],
    ['a login of the site for a mirror', {}, { mirrors: ['mirror.example'] }, { 'mirror.example': { username: 'site', passwordFile: '/dev/null' } }],
  ])('that %s could decide is one user\'s', async (_, more, settings, others) => {
    const { config } = siteWith({}, settings)
    const layer = pullsOf({ ...config, registries: { ...config.registries, ...others } })
    // Nothing runs: what is asked for stays in the queue.
    await Effect.runPromise(Effect.gen(function* () {
      const mine = yield* submit(1001, 0, more)
      expect((yield* submit(1001, 0, more)).id).toBe(mine.id)
      expect((yield* submit(1002, 0, more)).id).not.toBe(mine.id)
    }).pipe(Effect.provide(layer)))
  })

  it('for another platform, or to verify, is another one; this machine\'s platform is the one that nobody names', async () => {
    await Effect.runPromise(Effect.gen(function* () {
      const plain = yield* submit(1001)
      const arch = process.arch === 'x64' ? 'amd64' : process.arch
      expect((yield* submit(1002, 0, { wanted: { platform: `linux/${arch}` } })).id).toBe(plain.id)
      expect((yield* submit(1002, 0, { wanted: { platform: 'linux/s390x' } })).id).not.toBe(plain.id)
      expect((yield* submit(1002, 0, { wanted: { verify: true } })).id).not.toBe(plain.id)
    }).pipe(Effect.provide(pullsOf(siteWith().config))))
  })

  it.each([
    ['oci:/etc', 'SOURCE_UNSUPPORTED'],
    ['oci-archive:/etc/passwd', 'SOURCE_UNSUPPORTED'],
    ['docker-archive:/etc/passwd', 'SOURCE_UNSUPPORTED'],
    ['docker-daemon:debian:12', 'SOURCE_UNSUPPORTED'],
    ['custom:thing', 'SOURCE_UNSUPPORTED'],
    ['chos:debian', 'SOURCE_UNSUPPORTED'],
    ['local:/srv/tree', 'SOURCE_UNSUPPORTED'],
    ['id:0123', 'SOURCE_UNSUPPORTED'],
    ['docker:Bad Name', 'REFERENCE_INVALID'],
  ])('%s is refused with %s, from an administrator too', async (text, code) => {
    await Effect.runPromise(Effect.gen(function* () {
      for (const uid of [0, 1001]) {
        expect(yield* codeOf(submit(uid, 0, { wanted: { reference: text } }))).toBe(code)
      }
    }).pipe(Effect.provide(pullsOf(siteWith().config))))
  })

  it('needs a right to pull, on that system', async () => {
    await Effect.runPromise(Effect.gen(function* () {
      expect(yield* codeOf(submit(1001, 0, { scopes: ['read'] }))).toBe('ACCESS_DENIED')
      expect(yield* codeOf(submit(1001, 0, { systems: ['other'] }))).toBe('ACCESS_DENIED')
      expect(yield* codeOf(submit(1001, 0, { wanted: { system: 'other' } }))).toBe('SYSTEM_UNKNOWN')
      expect(yield* codeOf(submit(1001, 0, { wanted: { allowUids: [-1] } }))).toBe('USAGE')
      expect((yield* submit(1001, 0, { scopes: ['pull'] })).state).toBe('waiting')
    }).pipe(Effect.provide(pullsOf(siteWith().config))))
  })

  it('to a registry of the gateway\'s own network that the site does not name is not asked for', async () => {
    const site = siteWith()
    const other = await hostileRegistry(honestImage([]))
    try {
      const end = await withPulls(site.config, {}, Effect.gen(function* () {
        const secure = yield* submit(1001, 0, { wanted: { reference: `docker:${other.host}/app:v` } })
        return yield* ended(somebody(1001), secure.id)
      }))
      expect(outcomeOf(end)).toBe('REDIRECT_REFUSED')
      expect(end.outcome).toMatchObject({ what: expect.stringContaining('loopback') as string })
      expect(other.connections()).toBe(0)
    } finally {
      await other.stop()
    }
  })
})

describe('what a registry gives to one', () => {
  it('is not given to another: each is asked for his own login', async () => {
    const site = siteWith()
    await scripted(closed, () => withPulls(site.config, {}, Effect.gen(function* () {
      const mine = yield* Effect.flatMap(submit(1001, 0, { password: 'secret' }), ({ id }) => ended(somebody(1001), id))
      expect(outcomeOf(mine)).toBe('done')
      expect(outcomeOf(yield* pulled(somebody(1002), reference()))).toBe('REGISTRY_UNAUTHORIZED')
      const wrong = yield* Effect.flatMap(submit(1002, 0, { password: 'wrong' }), ({ id }) => ended(somebody(1002), id))
      expect(outcomeOf(wrong)).toBe('REGISTRY_UNAUTHORIZED')
      expect(JSON.stringify(wrong)).not.toContain('wrong:')
      // It may pass by no waiting, and was tried once.
      expect(wrong.attempts).toBe(1)
      const gateway = yield* Gateway.Gateway
      const id = mine.outcome?._tag === 'Done' ? mine.outcome.imageId : ''
      expect((yield* gateway.inspect(`id:${id}`)).record).toMatchObject({ access: 'private', owner: 1001, allowUids: [] })
      expect(yield* codeOf(gateway.lookup(reference(), { requester: { uid: 1002, gids: [] } }))).toBe('IMAGE_NOT_FOUND')
      const his = yield* Effect.flatMap(submit(1002, 0, { password: 'secret' }), ({ id: pull }) => ended(somebody(1002), pull))
      expect(outcomeOf(his)).toBe('done')
      expect(yield* gateway.lookup(reference(), { requester: { uid: 1002, gids: [] } })).toBe(id)
    })))
  })

  it('is asked for again when the process ends that had the credentials', async () => {
    const site = siteWith()
    // It runs nothing, and ends.
    const id = await Effect.runPromise(Effect.map(submit(1001, 0, { password: 'secret' }), (pull) => pull.id).pipe(Effect.provide(pullsOf(site.config))))
    await scripted(closed, () => withPulls(site.config, {}, Effect.gen(function* () {
      expect(outcomeOf(yield* ended(somebody(1001), id))).toBe('CREDENTIALS_GONE')
      const again = yield* submit(1001, 0, { password: 'secret' })
      expect(outcomeOf(yield* ended(somebody(1001), again.id))).toBe('done')
    })))
  })

  it('is in no file and no row: credentials are in memory alone', async () => {
    const site = siteWith()
    const password = 'a-password-like-no-other'
    await scripted(closed, () => withPulls(site.config, {}, Effect.flatMap(submit(1001, 0, { password }), ({ id }) => ended(somebody(1001), id))))
    const { execFileSync } = await import('node:child_process')
    const found = execFileSync('sh', ['-c', 'grep -rl "$0" "$1" || true', password, site.stateDirectory]).toString()
    expect(found).toBe('')
  })
})

describe('a pull', () => {
  it('is seen by those who asked for it and by administrators; for others there is none', async () => {
    const site = siteWith()
    const config = { ...site.config, systems: { test: { imagePath: site.imagePath, admins: [1009] } } }
    await Effect.runPromise(Effect.gen(function* () {
      const pulls = yield* Pulls
      const { id } = yield* submit(1001)
      yield* submit(1002)
      for (const uid of [1001, 1002, 1009, 0]) expect((yield* pulls.get(somebody(uid), id)).id).toBe(id)
      for (const [identity, wanted] of [[somebody(1003), id], [somebody(1001, { systems: [] }), id], [somebody(1001), 'f'.repeat(32)], [somebody(0), 'x'.repeat(500)]] as const) {
        expect(yield* codeOf(pulls.get(identity, wanted))).toBe('PULL_NOT_FOUND')
        expect(yield* codeOf(pulls.cancel(identity, wanted))).toBe('PULL_NOT_FOUND')
        expect(yield* codeOf(Stream.runDrain(pulls.watch(identity, wanted)))).toBe('PULL_NOT_FOUND')
      }
      const listed = (uid: number, all: boolean) => Effect.map(pulls.list(somebody(uid), { system: 'test', all, limit: 10 }), (rows) => rows.map((row) => row.id))
      expect(yield* listed(1002, false)).toEqual([id])
      expect(yield* listed(1003, false)).toEqual([])
      expect(yield* listed(1009, false)).toEqual([])
      expect(yield* listed(1009, true)).toEqual([id])
      expect(yield* codeOf(listed(1001, true))).toBe('ACCESS_DENIED')
    }).pipe(Effect.provide(pullsOf(config))))
  })

  it('is cancelled when the last one does who wants it, at once, and leaves nothing', async () => {
    const site = siteWith()
    const gate = gated()
    await withPulls(site.config, { parts: { executor: gate.layer } }, Effect.gen(function* () {
      const pulls = yield* Pulls
      const { id } = yield* submit(1001)
      yield* submit(1002)
      yield* until(1001, id, ({ progress }) => progress?.phase === 'convert')
      expect((yield* pulls.cancel(somebody(1001), id)).state).toBe('running')
      expect((yield* pulls.cancel(somebody(1002), id)).state).toBe('cancelled')
      // The next one finds the place that this one had.
      const next = yield* submit(1001, 1)
      gate.open()
      expect(outcomeOf(yield* ended(somebody(1001), next.id))).toBe('done')
      const gateway = yield* Gateway.Gateway
      expect(yield* codeOf(gateway.lookup(reference()))).toBe('IMAGE_NOT_FOUND')
    }))
    expect(files(join(site.stateDirectory, 'work'))).toEqual([])
    expect(files(site.imagePath).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it('that an administrator cancels is told as cancelled to all who wanted it, and so is one to who wants it no more', async () => {
    const site = siteWith()
    await withPulls(site.config, {}, Effect.gen(function* () {
      const pulls = yield* Pulls
      const far = yield* Effect.promise(() => scripted((_, response) => { response.writeHead(503, { 'retry-after': '3600' }).end(); return true }, () => Effect.runPromise(Effect.provideService(submitAndWait, Pulls, pulls))))
      yield* pulls.cancel(somebody(1003), far)
      expect((yield* pulls.get(somebody(1003), far)).state).toBe('waiting')
      yield* pulls.cancel(somebody(0), far)
      for (const uid of [1001, 1002, 1003]) expect((yield* pulls.get(somebody(uid), far)).state, `${uid}`).toBe('cancelled')
      expect(yield* codeOf(pulls.get(somebody(1004), far))).toBe('PULL_NOT_FOUND')
    }))
  })

  it('that another process took over counts as a lost lease, and is converted by one', async () => {
    const site = siteWith()
    const gate = gated()
    const losses = async () => Number(/^shifter_lease_losses_total (\d+)$/m.exec(await Effect.runPromise(Metrics.text(Effect.succeed([]))))?.[1] ?? 0)
    const before = await losses()
    await withPulls(site.config, { parts: { executor: gate.layer } }, Effect.gen(function* () {
      const { id } = yield* submit(1001)
      yield* until(1001, id, ({ progress }) => progress?.phase === 'convert')
      yield* Effect.promise(() => sqliteDatabase(site.stateDirectory).execute("UPDATE queue SET lease = 'of another', lease_until = 0"))
      yield* until(1001, id, ({ attempts, state }) => state === 'running' && attempts === 2)
      gate.open()
      expect(outcomeOf(yield* ended(somebody(1001), id))).toBe('done')
    }))
    expect(await losses()).toBe(before + 1)
  })

  it('that takes longer than the site allows is ended, and leaves nothing', async () => {
    const site = siteWith({ longestSeconds: 1 })
    await withPulls(site.config, { parts: { executor: gated().layer } }, Effect.gen(function* () {
      const { id } = yield* submit(1001)
      expect(outcomeOf(yield* ended(somebody(1001), id))).toBe('LIMIT_EXCEEDED')
    }))
    expect(files(join(site.stateDirectory, 'work'))).toEqual([])
    expect(files(site.imagePath).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it('is cancelled for all by an administrator', async () => {
    await withPulls(siteWith().config, { parts: { executor: gated().layer } }, Effect.gen(function* () {
      const pulls = yield* Pulls
      const { id } = yield* submit(1001)
      yield* submit(1002)
      const watcher = yield* Effect.fork(ended(somebody(1002), id))
      yield* until(1001, id, ({ state }) => state === 'running')
      expect((yield* pulls.cancel(somebody(0), id)).state).toBe('cancelled')
      expect(outcomeOf(yield* Fiber.join(watcher))).toBe('cancelled')
    }))
  })

  it('that waits for another\'s conversion leaves its place to the next', async () => {
    const site = siteWith({ atOnce: 1, conversions: 1, perUser: 9, perRegistry: 9 })
    const isHeld = await Effect.runPromise(Deferred.make<undefined>())
    const free = await Effect.runPromise(Deferred.make<undefined>())
    // The image of the first pull is held; all else is not.
    const executor = Layer.succeed(Executor.Executor, Executor.Executor.of({
      convert: ({ here, resolved }) =>
        resolved.blobs.length === 1 && resolved.sourceDigest === held
          ? Effect.zipRight(Deferred.succeed(isHeld, undefined), Effect.zipRight(Deferred.await(free), here))
          : here,
    }))
    const held = configs[0]
    // Another process has the only place of its own, and converts what both want.
    await withPulls(site.config, { parts: { executor } }, Effect.gen(function* () {
      const first = yield* submit(1001)
      yield* Deferred.await(isHeld)
      yield* Effect.promise(() => withPulls(site.config, { parts: { executor } }, Effect.gen(function* () {
        // The same image for another user's list: another order, which has to wait.
        const second = yield* submit(1002, 0, { wanted: { allowUids: [1002] } })
        yield* until(1002, second.id, isWaiting)
        const third = yield* submit(1003, 1)
        expect(outcomeOf(yield* ended(somebody(1003), third.id))).toBe('done')
        yield* Deferred.succeed(free, undefined)
        expect(outcomeOf(yield* ended(somebody(1002), second.id))).toBe('done')
      })))
      expect(outcomeOf(yield* ended(somebody(1001), first.id))).toBe('done')
    }))
  })

  it('finds a place although another user was alone before and wants them all', async () => {
    const site = siteWith({ atOnce: 2, conversions: 2, perUser: 1, perRegistry: 9 })
    const gate = gated()
    await withPulls(site.config, { parts: { executor: gate.layer } }, Effect.gen(function* () {
      const hostile = yield* Effect.forEach([0, 1, 2], (n) => submit(1001, n))
      yield* until(1001, hostile[0]?.id ?? '', ({ progress }) => progress?.phase === 'convert')
      const { id } = yield* submit(1002, 3)
      yield* until(1002, id, ({ state }) => state === 'running')
    }))
  })

  it('goes on where it was when its process is stopped, and that is no failed try', async () => {
    const site = siteWith()
    const seen = registry.seen.length
    const id = await withPulls(site.config, { parts: { executor: gated().layer } }, Effect.gen(function* () {
      const pull = yield* submit(1001)
      yield* until(1001, pull.id, ({ progress }) => progress?.phase === 'convert')
      return pull.id
    }))
    expect(files(join(site.stateDirectory, 'work'))).toEqual([])
    const end = await withPulls(site.config, {}, ended(somebody(1001), id))
    expect(end).toMatchObject({ state: 'done', attempts: 1 })
    // Manifest and configuration again, the layer not.
    expect(registry.seen.slice(seen).filter(({ path }) => path.includes('/blobs/') && !configs.some((config) => path.includes(config))).length).toBe(1)
  })

  it('that fails for a reason that may pass is begun again, not before the registry wants it, and at last ended', async () => {
    const site = siteWith({ attempts: 2 })
    const times: number[] = []
    const limited: HostileRegistry['script'] = (_, response) => {
      times.push(performance.now())
      response.writeHead(429, { 'retry-after': '1' }).end()
      return true
    }
    // More than a process waits for by itself.
    const far: HostileRegistry['script'] = (_, response) => {
      response.writeHead(503, { 'retry-after': '3600' }).end()
      return true
    }
    await scripted(limited, () => withPulls(site.config, {}, Effect.gen(function* () {
      const end = yield* pulled(somebody(1001), reference())
      expect(outcomeOf(end)).toBe('REGISTRY_RATE_LIMITED')
      expect(end.attempts).toBe(2)
      expect(end.outcome).toMatchObject({ remedy: 'Retry in 1 s, or give credentials.' })
      for (const [i, time] of times.entries()) if (i > 0) expect(time - (times[i - 1] ?? 0)).toBeGreaterThan(900)
    })))
    await scripted(far, () => withPulls(site.config, {}, Effect.gen(function* () {
      const { id } = yield* submit(1001, 1)
      const back = yield* until(1001, id, ({ attempts, state }) => attempts === 1 && state === 'waiting')
      expect(back.notBefore - back.changed).toBeGreaterThan(3_500_000)
      // Whoever looks sees why it waits.
      expect(back.progress?.warnings.at(-1)).toMatch(/^Try 1 of 2 failed, and the next is in \d+ s: REGISTRY_\w+: /)
      expect(back.progress).toMatchObject({ phase: 'resolve', received: 0, isWaiting: false })
    })))
  })

  it('leaves in the audit log who asked, what he was given, and why', async () => {
    const site = siteWith()
    await withPulls(site.config, {}, Effect.gen(function* () {
      expect(outcomeOf(yield* pulled(somebody(1001), reference()))).toBe('done')
      yield* Effect.ignore(submit(1002, 0, { scopes: ['read'] }))
    }))
    const rows = await Effect.runPromise(Effect.flatMap(Audit, (audit) => audit.page({ limit: 10 })).pipe(Effect.provide(pullsOf(site.config))))
    const id = await lookupImage(reference(), { config: site.config })
    expect(rows.map(({ action, by, imageId, uid, why }) => [action, uid, by.replace(/ [0-9a-f]{32}/, ' ID'), imageId, why.replace(/ [0-9a-f]{32}/, ' ID')])).toEqual([
      ['refused', 1002, 'mock', undefined, 'ACCESS_DENIED'],
      ['pull', 1001, 'pull ID', id, 'public'],
      ['pull', 1001, 'mock', undefined, 'asked, as pull ID'],
    ])
  })
})

describe('many', () => {
  it('watch one pull for the cost of one', async () => {
    let looks = 0
    const counted = Layer.effect(PullQueue, Effect.map(PullQueue, (queue) => PullQueue.of({ ...queue, get: (id) => Effect.suspend(() => { looks++; return queue.get(id) }) })))
    const gate = gated()
    const site = siteWith()
    const services = pullsOf(site.config, { parts: { executor: gate.layer }, queue: counted })
    await Effect.runPromise(Effect.gen(function* () {
      const pulls = yield* Pulls
      yield* pulls.run
      const { id } = yield* submit(1001)
      // Each is let in by a look of his own, and is then told what one looks at for all.
      const watchers = yield* Effect.forEach(Array.from({ length: 500 }), () => Effect.fork(ended(somebody(1001), id)))
      yield* until(1001, id, ({ progress }) => progress?.phase === 'convert')
      const before = looks
      yield* Effect.sleep('3 seconds')
      const idle = looks - before
      gate.open()
      const ends = yield* Effect.forEach(watchers, Fiber.join)
      expect(ends.map(outcomeOf)).toEqual(ends.map(() => 'done'))
      // One for all watchers and one for the runner, for each change, of which there are two in three seconds.
      expect(idle).toBeLessThan(20)
    }).pipe(Effect.scoped, Effect.provide(services)))
  })

  it('pulls of few images by many users are few conversions', async () => {
    const [users, wanted] = isLong ? [50, 20] : [20, 10]
    const site = siteWith({ conversions: 2, atOnce: 8, perUser: 8, perRegistry: 8 })
    const events: ProgressEvent[] = []
    const between = Layer.effect(Gateway.Gateway, Effect.map(Gateway.Gateway, (gateway) => Gateway.Gateway.of({
      ...gateway,
      pull: (request) => gateway.pull({ ...request, onProgress: (event) => { events.push(event); request.onProgress?.(event) } }),
    })))
    const ends = await withPulls(site.config, { between }, Effect.forEach(
      Array.from({ length: users * wanted }, (_, i) => ({ uid: 1000 + (i % users), n: Math.floor(i / users) })),
      // The list of every fifth user makes his pulls his own.
      ({ n, uid }) => Effect.flatMap(submit(uid, n, uid % 5 === 0 ? { wanted: { allowUids: [uid] } } : {}), ({ id }) => ended(somebody(uid), id)),
      { concurrency: 'unbounded' },
    ))
    expect(ends.length).toBe(users * wanted)
    expect(ends.filter(({ state }) => state !== 'done').map(outcomeOf)).toEqual([])
    expect(events.filter((event) => event._tag === 'Phase' && event.phase === 'convert').length).toBe(wanted)
    expect(files(site.imagePath).filter((name) => name.endsWith('.squashfs')).length).toBe(wanted)
  })
})
