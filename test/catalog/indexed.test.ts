/** Embedded pulls keep the index, and nothing depends on it. */
import { writeFileSync } from 'node:fs'
import { Context, Effect, Either, Layer } from 'effect'
import { catalogLayer, Errors, gatewayLayer, Gateway, ImageIndex, Indexed, localTransport, Site } from 'shifter-sdk'
import { expect, it } from 'vitest'
import { madeSource, withGateway } from '../harness/gateway.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('indexed')
const siteOf = (site: TestSite) => Either.getOrThrow(Site.decode(site.config))
const names = (index: typeof ImageIndex.ImageIndex.Service) => Effect.map(index.page({ system: 'test', limit: 10 }), ({ rows }) => rows.map(({ name }) => name))

it('what is published, named, removed and found is in the index', async () => {
  const site = siteOf(testSite(work.at('kept')))
  const catalog = catalogLayer(site)
  await Effect.runPromise(Effect.gen(function* () {
    const gateway = yield* Gateway.Gateway
    const index = yield* ImageIndex.ImageIndex
    const record = yield* gateway.pull({ reference: 'custom:a', requester: { uid: 5, gids: [] } })
    yield* gateway.pull({ reference: 'custom:b' })
    expect(yield* names(index)).toEqual(['custom:a:latest', 'custom:b:latest'])
    expect((yield* index.named('test', 'custom:a:latest'))?.record).toEqual(record)
    yield* gateway.remove('custom:b')
    expect(yield* names(index)).toEqual(['custom:a:latest'])
    const system = Either.getOrThrow(Site.system(site, 'test'))
    yield* index.remove('test', record.id)
    expect(yield* names(index)).toEqual([])
    // It was removed from the index alone: a look at the path that begins after that finds it.
    expect((yield* Effect.repeat(Indexed.reconcile(system), { until: ({ added }) => added > 0 })).added).toBe(2)
    expect(yield* names(index)).toEqual(['custom:a:latest'])
  }).pipe(Effect.provide(Layer.mergeAll(gatewayLayer(site, { sources: [madeSource({})], catalog, index: catalog }), catalog, localTransport))))
})

it('an image is removed where no catalogue can be opened', async () => {
  const site = testSite(work.at('without'))
  const record = await withGateway(site, { sources: [madeSource({})] }, (gateway) => gateway.pull({ reference: 'custom:a' }))
  writeFileSync(work.at('file'), '')
  const without = { ...site, config: { ...site.config, stateDirectory: work.at('file') } }
  await withGateway(without, {}, (gateway) => Effect.gen(function* () {
    expect(yield* gateway.remove(`id:${record.id}`)).toMatchObject({ names: ['custom:a:latest'], image: true })
    expect((yield* gateway.list()).images).toEqual([])
  }))
})

it('an image whose access was narrowed is shown to nobody who lost it, also where the index could not be told', async () => {
  const site = siteOf(testSite(work.at('narrowed')))
  const away = { put: false, conceal: false }
  const fails = Effect.fail(new Errors.CatalogError(Errors.errorFields('CATALOG_FAILED', 'The catalogue is away')))
  const catalog = Layer.map(catalogLayer(site), (context) => {
    const index = Context.get(context, ImageIndex.ImageIndex)
    return Context.add(context, ImageIndex.ImageIndex, ImageIndex.ImageIndex.of({
      ...index,
      put: (...args) => (away.put ? fails : index.put(...args)),
      conceal: (...args) => (away.conceal ? fails : index.conceal(...args)),
    }))
  })
  await Effect.runPromise(Effect.gen(function* () {
    const gateway = yield* Gateway.Gateway
    const index = yield* ImageIndex.ImageIndex
    const shownTo = (uid: number) => Effect.map(index.page({ system: 'test', limit: 10, requester: { uid, gids: [] } }), ({ rows }) => rows.length)
    const shown = Effect.all([5, 6, 7, -1].map(shownTo))
    const record = yield* gateway.pull({ reference: 'custom:a', requester: { uid: 5, gids: [] }, allowUids: [6, 7] })
    const give = (...allowUids: readonly number[]) => gateway.setAccess(`id:${record.id}`, { allowUids, allowGids: [] })
    expect(yield* shown).toEqual([1, 1, 1, 0])
    away.put = true
    yield* give(7)
    // His who may still use it too, until the index is mended: nobody is told too much.
    expect(yield* shown).toEqual([0, 0, 0, 0])
    expect((yield* index.page({ system: 'test', limit: 10 })).rows).toHaveLength(1)
    away.put = false
    const system = Either.getOrThrow(Site.system(site, 'test'))
    yield* Effect.repeat(Indexed.reconcile(system), { until: ({ changed }) => changed > 0 })
    expect(yield* shown).toEqual([1, 0, 1, 0])
    // Giving more needs nothing to be hidden.
    away.conceal = true
    yield* give(6, 7)
    expect(yield* shown).toEqual([1, 1, 1, 0])
    // Where the index can't be told before, nothing is changed.
    expect((yield* Effect.flip(give())).code).toBe('CATALOG_FAILED')
    expect(yield* shown).toEqual([1, 1, 1, 0])
    expect((yield* gateway.record(`id:${record.id}`)).allowUids).toEqual([6, 7])
    away.conceal = false
    yield* give()
    expect(yield* shown).toEqual([1, 0, 0, 0])
  }).pipe(Effect.provide(Layer.mergeAll(gatewayLayer(site, { sources: [madeSource({})], catalog, index: catalog }), catalog, localTransport))))
})
