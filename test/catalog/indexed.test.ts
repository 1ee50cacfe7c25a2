/** Embedded pulls keep the index, and nothing depends on it. */
import { writeFileSync } from 'node:fs'
import { Effect, Either, Layer } from 'effect'
import { catalogLayer, gatewayLayer, Gateway, ImageIndex, Indexed, localTransport, Site } from 'shifter-sdk'
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
