/** The promise face and the parts of a gateway: what callers of any kind may give, and what they get. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import * as Layer from 'effect/Layer'
import { Catalog, Errors, listImages, localTransport, lookupImage, pullImage, sqliteCatalog, Transport } from 'shifter-sdk'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { failure, madeSource, withGateway } from '../harness/gateway.js'
import { type Layer as ImageLayer, writeLayout } from '../harness/ociLayout.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('face')
const layers: readonly ImageLayer[] = [[{ name: 'a', type: 'file', data: 'a' }]]
const reference = () => `oci:${work.at('layout')}:v`
const site = () => testSite(work.at('site'))
beforeAll(() => { writeLayout(work.at('layout'), { tag: 'v', layers }) })

describe('a promise', () => {
  it.each([
    ['a configuration that is wrong', () => pullImage('debian', { config: { version: 1 } as never }), 'CONFIG_INVALID'],
    ['a system that is not there', () => listImages({ config: site().config, system: 'none' }), 'SYSTEM_UNKNOWN'],
    ['a state directory that can not be', () => pullImage(reference(), { config: { ...site().config, stateDirectory: '/proc/x/y' } }), 'STATE_UNUSABLE'],
    ['a bad reference', () => lookupImage('docker:Upper', { config: site().config }), 'REFERENCE_INVALID'],
    ['a bad platform', () => pullImage(reference(), { config: site().config, platform: 'x' }), 'USAGE'],
    // What JavaScript lets through.
    ['no reference', () => pullImage(undefined as never, { config: site().config }), 'USAGE'],
    ['nothing to look up', () => lookupImage(undefined as never, { config: site().config }), 'USAGE'],
    ['a list that is none', () => pullImage(reference(), { config: site().config, allowUids: 'me' as never }), 'USAGE'],
    ['a requester that is a number', () => listImages({ config: site().config, requester: 7 as never }), 'USAGE'],
  ])('is rejected with a GatewayError for %s', async (_, call, code) => {
    const error = await failure(call())
    expect(error).toBeInstanceOf(Errors.GatewayError)
    expect(error).toMatchObject({ _tag: 'GatewayError', code })
    expect(error.message).not.toContain('\n')
  })

  it('knows the errors of this library by their tags', () => {
    expect(Errors.isShifterError(new Errors.FormatError(Errors.errorFields('USAGE', 'x')))).toBe(true)
    expect(Errors.isShifterError({ _tag: 'SomethingElse', code: 'USAGE', message: 'x' })).toBe(false)
  })

  it('is not harmed by a receiver of events that throws', async () => {
    let told = 0
    const image = await pullImage(reference(), { config: testSite(work.at('throws')).config, onProgress: () => { told++; throw new Error('mine') } })
    expect(image.id).toMatch(/^[0-9a-f]{64}$/)
    expect(told).toBe(1)
  })
})

describe('a receiver of events', () => {
  it('that rejects harms nobody, and is told nothing more', async () => {
    const rejections: unknown[] = []
    const listener = (reason: unknown) => { rejections.push(reason) }
    process.on('unhandledRejection', listener)
    try {
      let told = 0
      const onProgress = async () => {
        told++
        await Promise.reject(new Error('mine'))
      }
      // eslint-disable-next-line @typescript-eslint/no-misused-promises
      await pullImage(reference(), { config: testSite(work.at('rejects')).config, onProgress })
      expect(told).toBeGreaterThan(0)
      expect(told).toBeLessThan(3)
      expect(rejections).toEqual([])
    } finally {
      process.off('unhandledRejection', listener)
    }
  })
})

describe('a working directory', () => {
  const home = process.cwd()
  afterEach(() => process.chdir(home))

  it('that is gone matters to relative paths alone', async () => {
    const { config } = testSite(work.at('cwd'), ['127.0.0.1:1'])
    mkdirSync(work.at('gone'))
    process.chdir(work.at('gone'))
    rmSync(work.at('gone'), { recursive: true })
    expect((await failure(lookupImage('docker:debian', { config }))).code).toBe('IMAGE_NOT_FOUND')
    expect((await failure(pullImage('docker:127.0.0.1:1/x:v', { config }))).code).toBe('REGISTRY_UNREACHABLE')
    expect((await failure(lookupImage('oci:.', { config }))).code).toBe('REFERENCE_INVALID')
  })

  it('whose name looks like one with a tag is taken for no other', async () => {
    const { config } = testSite(work.at('tagged'))
    const directory = work.at('lay:v1')
    writeLayout(directory, { tag: 'other', layers })
    process.chdir(directory)
    const { id } = await pullImage('oci:.', { config })
    expect(await lookupImage('oci:.', { config })).toBe(id)
    process.chdir(join(directory, '..'))
    expect(await lookupImage('oci:lay:v1/', { config })).toBe(id)
    expect(await lookupImage('oci:lay:v1', { config }).catch((error: unknown) => (error as Errors.GatewayError).code)).toBe('IMAGE_NOT_FOUND')
  })
})

describe('the parts of a gateway', () => {
  it('can be one’s own: source, transport and catalogue', async () => {
    const target = testSite(work.at('parts'))
    const seen: string[] = []
    const transport = localTransport.pipe(
      (layer) => Layer.effect(Transport.Transport, Effect.map(Transport.Transport, (local): typeof Transport.Transport.Service => ({
        ...local,
        publish: (system, staging, image, options) => Effect.zipRight(Effect.sync(() => seen.push(`publish ${image.reference}`)), local.publish(system, staging, image, options)),
      }))).pipe(Layer.provide(layer)),
    )
    const catalog = Layer.effect(Catalog.Catalog, Effect.map(Catalog.Catalog, (sqlite): typeof Catalog.Catalog.Service => ({
      ...sqlite,
      begin: (request) => Effect.zipRight(Effect.sync(() => seen.push(`begin ${request.reference}`)), sqlite.begin(request)),
    }))).pipe(Layer.provide(sqliteCatalog(target.config)))
    const parts = { sources: [madeSource({})], transport, catalog }
    const record = await withGateway(target, parts, (gateway) => gateway.pull({ reference: 'custom:mine' }))
    expect(record.reference).toBe('custom:mine:latest')
    expect(seen).toEqual(['begin custom:mine:latest', 'publish custom:mine:latest'])
    // Those of the package are there too.
    await withGateway(target, parts, (gateway) => gateway.pull({ reference: reference() }))
  })

  it('that fail after an image is published do not fail its pull', async () => {
    const target = testSite(work.at('busy'))
    const busy = new Errors.CatalogError(Errors.errorFields('CATALOG_FAILED', 'database is locked'))
    const catalog = Layer.effect(Catalog.Catalog, Effect.map(Catalog.Catalog, (sqlite): typeof Catalog.Catalog.Service => ({ ...sqlite, releaseBlobs: () => Effect.fail(busy) }))).pipe(
      Layer.provide(sqliteCatalog(target.config)),
    )
    await withGateway(target, { catalog }, (gateway) => gateway.pull({ reference: reference() }))
    expect((await listImages({ config: target.config })).images.length).toBe(1)
  })
})
