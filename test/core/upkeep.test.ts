/** What keeps a site's images in order: collections and scrubs, beside pulls that go on and processes that die. */
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as Context from 'effect/Context'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Layer from 'effect/Layer'
import { Audit, catalogLayer, Gateway, gatewayLayer, type GatewayParts, ImageIndex, localTransport, Site, Transport } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { Upkeep } from '../../src/core/Upkeep.js'
import { upkeepLayer } from '../../src/live.js'
import { sqliteDatabase } from '../harness/database.js'
import { madeSource, type MadeImage } from '../harness/gateway.js'
import { runOk } from '../harness/process.js'
import { startShifterimg } from '../harness/shifterimg.js'
import { testSite } from '../harness/site.js'
import { expectSound } from '../harness/soundness.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const work = useWorkspace('upkeep')
let sites = 0

/** A site whose images are whatever a test wants, and its upkeep. */
const made = (lifetime: object = {}, images: Readonly<Record<string, MadeImage>> = {}) => {
  const { config: plain, ...rest } = testSite(work.at(`site${sites++}`))
  const config = { ...plain, lifetime: { imageSeconds: 3600, retentionSeconds: 3600, ...lifetime } }
  const site = Either.getOrThrow(Site.decode(config))
  const database = sqliteDatabase(rest.stateDirectory)
  const gateway = (parts: GatewayParts = {}) => gatewayLayer(site, { sources: [madeSource(images)], ...parts })
  const pull = (name: string, parts: GatewayParts = {}) => Effect.runPromise(Effect.flatMap(Gateway.Gateway, ({ pull }) => pull({ reference: `custom:${name}` })).pipe(Effect.provide(gateway(parts))))
  const kept = <A, E>(use: (upkeep: typeof Upkeep.Service) => Effect.Effect<A, E>, ...parts: Parameters<typeof upkeepLayer> extends [unknown, ...infer Rest] ? Rest : never) =>
    Effect.runPromise(Effect.flatMap(Upkeep, use).pipe(Effect.provide(upkeepLayer(site, ...parts))))
  const asked = <A, E>(effect: Effect.Effect<A, E, ImageIndex.ImageIndex | Audit.Audit>) => Effect.runPromise(Effect.provide(effect, catalogLayer(site)))
  return {
    ...rest, config, site, database, gateway, pull, kept, asked,
    collect: (dryRun = false) => kept((upkeep) => upkeep.collect({ dryRun })),
    scrub: (request = {}) => kept((upkeep) => upkeep.scrub(request)),
    /** As if that had been so long ago. */
    expired: (id: string) => database.execute(`UPDATE images SET expires = 1 WHERE id = '${id}'`),
    unnamed: (id: string, secondsAgo: number) => database.execute(`UPDATE images SET unnamed = unnamed - ${secondsAgo * 1000} WHERE id = '${id}'`),
    /** Everything that is there. */
    files: () => readdirSync(rest.imagePath, { recursive: true }).map(String).sort(),
    has: (id: string) => existsSync(join(rest.imagePath, `${id}.squashfs`)),
    sound: (name: string) => expectSound({ ...rest, config }, `custom:${name}`, 'after the upkeep'),
    actions: async () => (await asked(Effect.flatMap(Audit.Audit, (audit) => audit.page({ limit: 100 })))).map(({ action, reference }) => `${action} ${reference ?? ''}`.trim()),
  }
}
type Made = ReturnType<typeof made>

/** The catalogue of a site, of which one function does something first. */
const catalogWith = (site: Made, own: (index: typeof ImageIndex.ImageIndex.Service) => Partial<typeof ImageIndex.ImageIndex.Service>) =>
  Layer.map(catalogLayer(site.site), (context) => {
    const index = Context.get(context, ImageIndex.ImageIndex)
    return Context.add(context, ImageIndex.ImageIndex, ImageIndex.ImageIndex.of({ ...index, ...own(index) }))
  })
const transportWith = (own: (transport: typeof Transport.Transport.Service) => Partial<typeof Transport.Transport.Service>) =>
  Layer.map(localTransport, (context) => {
    const transport = Context.get(context, Transport.Transport)
    return Context.add(context, Transport.Transport, Transport.Transport.of({ ...transport, ...own(transport) }))
  })
const once = () => {
  let done = false
  return (effect: Effect.Effect<unknown>) => Effect.suspend(() => (done ? Effect.void : ((done = true), effect)))
}

describe('a collection', () => {
  it('takes the names of what has expired, and removes it when its retention is over', async () => {
    const site = made()
    const old = await site.pull('old')
    const other = await site.pull('other')
    expect(await site.collect()).toEqual({ system: 'test', expired: [], removed: [], staged: [], scratch: 0, problems: [] })
    await site.expired(old.id)
    expect(await site.collect()).toMatchObject({ expired: [{ id: old.id, names: ['custom:old:latest'] }], removed: [], problems: [] })
    // Jobs may have it by its id.
    expect(site.has(old.id)).toBe(true)
    expect(await site.collect()).toMatchObject({ expired: [], removed: [] })
    await site.unnamed(old.id, 3601)
    expect(await site.collect()).toMatchObject({ expired: [], removed: [{ id: old.id, bytes: old.imageSize }], problems: [] })
    expect(site.files().filter((file) => file.startsWith(old.id))).toEqual([])
    expect(site.has(other.id)).toBe(true)
    expect(await site.actions()).toEqual(['collect', 'expire custom:old:latest'])
    await site.sound('other')
  })

  it('leaves what is pinned, used again or never to expire, and what another name has been given', async () => {
    const images = { moved: { content: 'one' } }
    const site = made({ retentionSeconds: 0 }, images)
    const [pinned, used, never] = [await site.pull('pinned'), await site.pull('used'), await site.pull('never')]
    for (const { id } of [pinned, used]) await site.expired(id)
    await site.asked(Effect.flatMap(ImageIndex.ImageIndex, (index) => Effect.zipRight(index.pin('test', pinned.id, 1), index.setExpiry('test', never.id, undefined))))
    // A pull that has nothing to do is a use.
    await site.pull('used')
    const before = await site.pull('moved')
    images.moved = { content: 'two' }
    const after = await site.pull('moved')
    expect(await site.collect()).toMatchObject({ expired: [], removed: [{ id: before.id }], problems: [] })
    for (const { id } of [pinned, used, never, after]) expect(site.has(id)).toBe(true)
    expect(site.has(before.id)).toBe(false)
    await site.sound('moved')
  })

  it('that is dry tells the same and does nothing', async () => {
    for (const retentionSeconds of [0, 3600]) {
      const site = made({ retentionSeconds })
      const [old, forgotten] = [await site.pull('old'), await site.pull('forgotten')]
      await site.pull('kept')
      await site.expired(old.id)
      await Effect.runPromise(Effect.flatMap(Gateway.Gateway, (gateway) => gateway.remove('custom:forgotten')).pipe(Effect.provide(site.gateway())))
      await site.unnamed(forgotten.id, 3601)
      const staging = join(site.imagePath, '.staging.anothers.squashfs')
      writeFileSync(staging, 'x')
      utimesSync(staging, 1, 1)
      mkdirSync(join(site.stateDirectory, 'work', 'gone'))
      const [files, rows] = [site.files(), await site.database.execute('SELECT id, expires, unnamed FROM images ORDER BY id')]
      const dry = await site.collect(true)
      expect([site.files(), await site.database.execute('SELECT id, expires, unnamed FROM images ORDER BY id')]).toEqual([files, rows])
      expect(await site.actions()).toEqual([])
      expect(dry).toMatchObject({ expired: [{ id: old.id }], staged: [{ name: '.staging.anothers.squashfs', bytes: 1 }], scratch: 1 })
      expect(dry.removed.map(({ id }) => id)).toEqual(retentionSeconds === 0 ? [forgotten.id, old.id] : [forgotten.id])
      const done = await site.collect()
      expect(done).toEqual(dry)
      expect(site.files().length).toBeLessThan(files.length)
    }
  })

  it.each(['named', 'pinned', 'expiry'])('leaves an image that is %s between mark and sweep', async (how) => {
    const site = made({ retentionSeconds: 0 })
    const { id } = await site.pull('one')
    if (how === 'expiry') await site.expired(id)
    else await Effect.runPromise(Effect.flatMap(Gateway.Gateway, (gateway) => gateway.remove('custom:one')).pipe(Effect.provide(site.gateway())))
    const first = once()
    const meanwhile = how === 'pinned' ? Effect.promise(() => site.asked(Effect.flatMap(ImageIndex.ImageIndex, (index) => index.pin('test', id, 1)))) : Effect.promise(() => site.pull('one'))
    const catalog = catalogWith(site, ({ expired, forgotten }) => ({
      forgotten: (...args) => Effect.tap(forgotten(...args), (ids) => (ids.includes(id) ? first(meanwhile) : Effect.void)),
      expired: (...args) => Effect.tap(expired(...args), (ids) => (ids.includes(id) ? first(meanwhile) : Effect.void)),
    }))
    expect(await site.kept((upkeep) => upkeep.collect(), catalog)).toMatchObject({ expired: [], removed: [], problems: [] })
    expect(site.has(id)).toBe(true)
    await site.sound('one')
    if (how === 'pinned') expect(await site.asked(Effect.flatMap(ImageIndex.ImageIndex, (index) => index.get('test', id)))).toMatchObject({ pins: [1] })
  })

  it('and a pull that finds the image published which it removes: no name points to nothing', async () => {
    const site = made({ retentionSeconds: 0 })
    const { id } = await site.pull('one')
    await Effect.runPromise(Effect.flatMap(Gateway.Gateway, (gateway) => gateway.remove('custom:one')).pipe(Effect.provide(site.gateway())))
    // The pull has read the record when the collection removes it.
    const first = once()
    const transport = transportWith((real) => ({ record: (...args) => Effect.tap(real.record(...args), (record) => (record === undefined ? Effect.void : first(Effect.promise(() => site.collect())))) }))
    expect((await site.pull('one', { transport })).id).toBe(id)
    expect(site.has(id)).toBe(true)
    await site.sound('one')

    // The collection has claimed it when the pull comes.
    await Effect.runPromise(Effect.flatMap(Gateway.Gateway, (gateway) => gateway.remove('custom:one')).pipe(Effect.provide(site.gateway())))
    let pulling: Promise<unknown> = Promise.resolve()
    const removing = transportWith((real) => ({
      remove: (...args) =>
        Effect.gen(function* () {
          const seen = yield* Deferred.make<undefined>()
          pulling = Effect.runPromise(
            Effect.flatMap(Gateway.Gateway, ({ pull }) => pull({ reference: 'custom:one', onProgress: ({ _tag }) => { if (_tag === 'Waiting') Effect.runSync(Deferred.succeed(seen, undefined)) } })).pipe(Effect.provide(site.gateway())),
          )
          yield* Deferred.await(seen)
          return yield* real.remove(...args)
        }),
    }))
    expect(await site.kept((upkeep) => upkeep.collect(), catalogLayer(site.site), removing)).toMatchObject({ removed: [{ id }] })
    expect(await pulling).toMatchObject({ id })
    await site.sound('one')
  })

  it('lets a pull go on that runs meanwhile', async () => {
    const begun = Effect.runSync(Deferred.make<undefined>())
    const collected = Effect.runSync(Deferred.make<undefined>())
    const site = made({ retentionSeconds: 0 }, { slow: { content: 'slow', before: Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(collected)) } })
    const pulling = site.pull('slow')
    await Effect.runPromise(Deferred.await(begun))
    expect(await site.collect()).toMatchObject({ expired: [], removed: [], staged: [], scratch: 0, problems: [] })
    await Effect.runPromise(Deferred.succeed(collected, undefined))
    await pulling
    await site.sound('slow')
  })

  it('removes what is left of pulls of nobody, but nothing young of another catalogue', async () => {
    const site = made()
    await site.pull('one')
    const at = (name: string) => join(site.imagePath, `.staging.${name}.squashfs`)
    for (const name of ['old', 'young']) writeFileSync(at(name), 'x')
    utimesSync(at('old'), 1, 1)
    mkdirSync(join(site.stateDirectory, 'work', 'left', 'deep'), { recursive: true })
    expect(await site.collect()).toMatchObject({ staged: [{ name: '.staging.old.squashfs', bytes: 1 }], scratch: 1 })
    expect([existsSync(at('old')), existsSync(at('young'))]).toEqual([false, true])
    expect(readdirSync(join(site.stateDirectory, 'work'))).toEqual([])
    expect(await site.collect()).toMatchObject({ staged: [], scratch: 0 })
  })

  it('goes on where one image can’t be removed, and tells it', async () => {
    const site = made({ retentionSeconds: 0 })
    const [one, two] = [await site.pull('one'), await site.pull('two')]
    for (const { id } of [one, two]) await site.expired(id)
    const stuck = transportWith((real) => ({ remove: (system, id) => (id === one.id ? Effect.flatMap(real.list({ ...system, imagePath: join(system.imagePath, 'none') }), () => real.remove(system, id)) : real.remove(system, id)) }))
    const told = await site.kept((upkeep) => upkeep.collect(), catalogLayer(site.site), stuck)
    expect(told).toMatchObject({ removed: [{ id: two.id }], problems: [expect.stringContaining(`${one.id}: `) as string] })
    // The next one does it.
    expect(await site.collect()).toMatchObject({ removed: [{ id: one.id }], problems: [] })
    expect(site.files().filter((file) => file.endsWith('.squashfs'))).toEqual([])
  })

  it('that is killed at one of its steps leaves nothing half', { timeout: 120_000 }, async () => {
    await built()
    await runOk(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', work.at('failing.so'), fileURLToPath(new URL('../harness/failing.c', import.meta.url)), '-ldl'])
    let killed = 0
    let steps = 40
    for (const at of [0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9].map((part) => part + Math.random() * 0.1)) {
      const site = made({ retentionSeconds: 0 })
      for (const name of ['one', 'two', 'kept']) await site.pull(name)
      await site.database.execute("UPDATE images SET expires = 1 WHERE id IN (SELECT id FROM image_names WHERE name <> 'custom:kept:latest')")
      const collected = (log: string, step: number) =>
        startShifterimg({ ...site, config: site.config }, work.path, ['gc'], 'pipe', {
          LD_PRELOAD: work.at('failing.so'), FAILING_BELOW: `${site.imagePath}:${site.stateDirectory}`, FAILING_AT: String(step), FAILING_WITH: 'kill', FAILING_LOG: log,
        }).ended
      const step = 1 + Math.floor(at * steps)
      const end = await collected(work.at(`log${sites}`), step)
      expect(end.signal ?? end.status, end.stderr).toBeOneOf(['SIGKILL', 0])
      if (end.signal === 'SIGKILL') killed += 1
      else steps = Math.floor(steps / 2)
      await site.sound('kept')
      // The lease of what was killed has run out.
      await site.database.execute("UPDATE pulls SET lease_until = 0 WHERE state IN ('active', 'reaping')")
      expect(await site.collect()).toMatchObject({ problems: [] })
      expect(await site.collect()).toMatchObject({ expired: [], removed: [], staged: [], problems: [] })
      expect(site.files().filter((each) => each.endsWith('.squashfs'))).toHaveLength(1)
      await site.sound('kept')
    }
    expect(killed).toBeGreaterThan(2)
  })
})

describe('a scrub', () => {
  const flip = (path: string) => {
    const bytes = readFileSync(path)
    const descriptor = openSync(path, 'r+')
    writeSync(descriptor, Buffer.from([(bytes[200] ?? 0) ^ 1]), 0, 1, 200)
    closeSync(descriptor)
  }

  it('finds a damaged image, which the next pull converts anew', async () => {
    const site = made()
    const [bad, good] = [await site.pull('bad'), await site.pull('good')]
    expect(await site.scrub()).toEqual({ system: 'test', read: 2, damaged: [] })
    flip(join(site.imagePath, `${bad.id}.squashfs`))
    const damage = { id: bad.id, names: ['custom:bad:latest'], what: 'its bytes are not those of its record' }
    expect(await site.scrub()).toEqual({ system: 'test', read: 2, damaged: [damage] })
    expect(await site.scrub()).toMatchObject({ damaged: [damage] })
    // Told once.
    expect(await site.actions()).toEqual(['scrub custom:bad:latest'])
    expect(await site.asked(Effect.flatMap(ImageIndex.ImageIndex, (index) => index.get('test', bad.id)))).toMatchObject({ damage: damage.what })
    expect(site.has(bad.id)).toBe(true)
    expect((await site.pull('bad')).id).toBe(bad.id)
    expect(await site.scrub()).toEqual({ system: 'test', read: 2, damaged: [] })
    expect(site.has(good.id)).toBe(true)
    await site.sound('bad')
  })

  it('finds an image that is missing or can’t be read, which the next pull converts anew', async () => {
    const site = made()
    const [gone, spoilt] = [await site.pull('gone'), await site.pull('spoilt')]
    rmSync(join(site.imagePath, `${gone.id}.squashfs`))
    writeFileSync(join(site.imagePath, `${spoilt.id}.record`), 'nonsense')
    const { damaged, read } = await site.scrub()
    expect(read).toBe(0)
    expect(damaged.map(({ id, names }) => [id, names]).sort()).toEqual([[gone.id, ['custom:gone:latest']], [spoilt.id, ['custom:spoilt:latest']]].sort())
    expect((await site.actions()).sort()).toEqual(['scrub custom:gone:latest', 'scrub custom:spoilt:latest'])
    for (const name of ['gone', 'spoilt']) await site.pull(name)
    expect(await site.scrub()).toEqual({ system: 'test', read: 2, damaged: [] })
    await site.sound('gone')
  })

  it('reads the longest unread first, as many as it is to', async () => {
    const site = made()
    const [one, two] = [await site.pull('one'), await site.pull('two')]
    await site.database.execute(`UPDATE images SET scrubbed = 1 WHERE id = '${two.id}'`)
    expect(await site.scrub({ olderThanSeconds: 60 })).toMatchObject({ read: 1 })
    await site.database.execute(`UPDATE images SET scrubbed = 1 WHERE id = '${one.id}'`)
    expect(await site.scrub({ limit: 1 })).toMatchObject({ read: 1 })
    expect(await site.scrub({ olderThanSeconds: 60 })).toMatchObject({ read: 0 })
  })
})
