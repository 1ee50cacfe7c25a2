/** Who may use, see, change and remove an image. */
import { cpSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import { Errors, inspectImage, listImages, lookupImage, type ProgressEvent, pullImage, removeImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { failure, madeSource, withGateway } from '../harness/gateway.js'
import { blobPath, type Layer, type WrittenImage, writeLayout } from '../harness/ociLayout.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('access')
const layers: readonly Layer[] = [[{ name: 'secret', type: 'file', data: 's3' }]]
const owner = { uid: 4711 }
const stranger = { uid: 4712, gids: [4712] }
let image: WrittenImage
let count = 0

const reference = (layout = 'layout') => `oci:${work.at(layout)}:v`
const site = (): TestSite => testSite(work.at(`site${count++}`))
const warnings = (events: readonly ProgressEvent[]) => events.flatMap((event) => (event._tag === 'Warning' ? [event.message] : []))

beforeAll(() => {
  image = writeLayout(work.at('layout'), { tag: 'v', layers })
  cpSync(work.at('layout'), work.at('forged'), { recursive: true })
  for (const digest of image.blobDigests) rmSync(blobPath(work.at('forged'), digest))
})

describe('a private image', () => {
  it('is not given to who holds only what describes it', async () => {
    const { config, imagePath } = site()
    const { id } = await pullImage(reference(), { config, requester: owner, allowUids: [] })
    const refused = await failure(pullImage(reference('forged'), { config, requester: stranger }))
    expect(refused.code).toBe('LAYOUT_INVALID')
    expect((await inspectImage(`id:${id}`, { config })).record).toMatchObject({ access: 'private', owner: 4711, allowUids: [] })
    expect(readdirSync(imagePath).filter((name) => name.startsWith('.'))).toEqual([])
    // Whoever holds the layers gets it, with nothing left behind.
    expect(await pullImage(reference(), { config, requester: stranger, allowUids: [] })).toMatchObject({ access: 'private', allowUids: [4712] })
    // He who is in it shows nothing: no layer is read.
    expect(await pullImage(reference('forged'), { config, requester: stranger, allowUids: [4713] })).toMatchObject({ access: 'private', allowUids: [4712, 4713] })
    expect(readdirSync(join(config.stateDirectory, 'work'))).toEqual([])
  })

  it('is private to its puller alone where a list is given and empty', async () => {
    const { config } = site()
    expect(await pullImage(reference(), { config, requester: owner, allowGids: [] })).toMatchObject({ access: 'private', owner: 4711, allowUids: [], allowGids: [] })
  })

  it('becomes public by a plain pull, which says so to who could use it; and stays it, which a pull that wants it private is told', async () => {
    const { config } = site()
    const events: ProgressEvent[] = []
    const onProgress = (event: ProgressEvent) => { events.push(event) }
    await pullImage(reference(), { config, requester: owner, allowUids: [] })
    expect(await pullImage(reference(), { config, requester: owner, onProgress })).toMatchObject({ access: 'public' })
    expect(warnings(events)).toEqual(['The image was private to uid 4711; this pull makes it public.'])
    events.length = 0
    expect(await pullImage(reference(), { config, requester: owner, allowUids: [], onProgress })).toMatchObject({ access: 'public' })
    expect(warnings(events)).toEqual(['The image is public already: the access list has no effect.'])
    // Whose it was is nothing that a stranger is told who makes it public.
    const other = site()
    await pullImage(reference(), { config: other.config, requester: owner, allowUids: [] })
    events.length = 0
    expect(await pullImage(reference(), { config: other.config, requester: stranger, onProgress })).toMatchObject({ access: 'public' })
    expect(warnings(events)).toEqual([])
  })

  it('is not told of to a stranger when its record or its name can not be read', async () => {
    const { config, imagePath } = site()
    const { id } = await pullImage(reference(), { config, requester: owner, allowUids: [] })
    const none = (name: string) => Errors.errorFields('IMAGE_NOT_FOUND', `There is no image "${name}" on test`).message
    const names = readdirSync(join(imagePath, 'names'), { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('/'))
    for (const file of [join(imagePath, `${id}.record`), ...names.map((name) => join(imagePath, 'names', name))]) {
      for (const bytes of ['damaged', 'shifter-record 9\n', 'shifter-name 9\n']) {
        writeFileSync(file, bytes)
        for (const requester of [owner, stranger]) expect((await failure(lookupImage(reference(), { config, requester }))).message).toBe(none(reference()))
        expect((await failure(lookupImage(reference(), { config }))).code).toMatch(/^RECORD_(?:INVALID|NEWER)$/)
      }
    }
    // What he is told to do mends it.
    await pullImage(reference(), { config, requester: owner, allowUids: [] })
    expect(await lookupImage(reference(), { config, requester: owner })).toBe(id)
  })

  it('lists everyone of many who pull it at once', async () => {
    const { config } = site()
    await pullImage(reference(), { config, requester: owner, allowUids: [] })
    const uids = [10, 11, 12, 13, 14, 15, 16, 17]
    await Promise.all(uids.map((uid) => pullImage(reference(), { config, requester: { uid }, allowUids: [] })))
    expect((await inspectImage(reference(), { config })).record.allowUids).toEqual(uids)
  })

  it('is not told of to who may not use it, in the words for what is not there', async () => {
    const { config } = site()
    const { id } = await pullImage(reference(), { config, requester: owner, allowGids: [500] })
    const other = writeLayout(work.at('other'), { tag: 'v', layers: [[{ name: 'other', type: 'file', data: 'o' }]] })
    expect(other.configDigest).not.toBe(image.configDigest)
    await pullImage(reference('other'), { config })
    for (const ask of [lookupImage, inspectImage, removeImage]) {
      for (const name of [reference(), `id:${id}`]) {
        const refused = await failure(ask(name, { config, requester: stranger }))
        expect(refused.message).toBe(Errors.errorFields('IMAGE_NOT_FOUND', `There is no image "${name}" on test`).message)
      }
      expect((await failure(ask(`id:${'f'.repeat(64)}`, { config, requester: stranger }))).code).toBe('IMAGE_NOT_FOUND')
    }
    const member = { uid: 9, gids: [1, 500] }
    expect(await lookupImage(reference(), { config, requester: member })).toBe(id)
    expect((await listImages({ config, requester: stranger })).images.map(({ names }) => names)).toEqual([[reference('other')]])
    expect((await listImages({ config, requester: member })).images.length).toBe(2)
    expect((await listImages({ config })).images.length).toBe(2)
    // To use it is not to own it.
    for (const name of [reference(), `id:${id}`]) expect((await failure(removeImage(name, { config, requester: member }))).code).toBe('ACCESS_DENIED')
    expect(await removeImage(`id:${id}`, { config, requester: owner })).toEqual({ id, names: [reference()], image: false })
    // Jobs of others may use it: the image itself is a collection's to remove, or the image owner's.
    expect(await lookupImage(`id:${id}`, { config, requester: member })).toBe(id)
    expect((await failure(lookupImage(reference(), { config, requester: owner }))).code).toBe('IMAGE_NOT_FOUND')
  })

  it('has the mode of private ones, whatever was left of it', async () => {
    const { config, imagePath } = site()
    const open = { ...config, systems: { test: { imagePath, publicMode: '0644' } } } as const
    const { id } = await pullImage(reference(), { config: open })
    const file = join(imagePath, `${id}.squashfs`)
    expect(statSync(file).mode & 0o777).toBe(0o644)
    for (const suffix of ['record', 'meta']) rmSync(join(imagePath, `${id}.${suffix}`))
    await pullImage(reference(), { config: open, requester: owner, allowUids: [] })
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })
})

describe('a source of one\'s own that gives an image only to credentials', () => {
  const image = { content: 'same', isPrivate: true }
  const sources = [madeSource({ open: { content: 'same' }, hidden: image, other: image, one: { ...image, variant: 'team' }, two: { ...image, variant: 'team' } })]

  it('shares its id with nobody, or with whom it says', async () => {
    const ids = await withGateway(site(), { sources }, (gateway) =>
      Effect.gen(function* () {
        const records = yield* Effect.forEach(['open', 'hidden', 'other', 'one', 'two'], (name) => gateway.pull({ reference: `custom:${name}`, requester: owner }))
        expect(records.map(({ access }) => access)).toEqual(['public', 'private', 'private', 'private', 'private'])
        expect((yield* gateway.list({ requester: stranger })).images.map(({ names }) => names)).toEqual([['custom:open:latest']])
        return records.map(({ id }) => id)
      }))
    expect(ids[3]).toBe(ids[4])
    expect(new Set(ids).size).toBe(4)
  })
})

describe("another's pull of the same image", () => {
  const broken = (hold: Effect.Effect<undefined>) => Effect.zipRight(hold, Effect.fail(new Errors.ImageError(Errors.errorFields('LAYER_INVALID', 'broken at evil.example.org'))))

  const waiting = (second: { readonly reference: string; readonly uid: number }) =>
    Effect.gen(function* () {
      const held = yield* Deferred.make<undefined>()
      const begun = yield* Deferred.make<undefined>()
      const waits = yield* Deferred.make<undefined>()
      const bad = Effect.zipRight(Deferred.succeed(begun, undefined), broken(Deferred.await(held)))
      const sources = [madeSource({ bad: { content: 'same', before: bad }, good: { content: 'same' } })]
      return yield* Effect.promise(() =>
        withGateway(site(), { sources }, (gateway) =>
          Effect.gen(function* () {
            const first = yield* Effect.fork(Effect.either(gateway.pull({ reference: 'custom:bad', requester: owner })))
            yield* Deferred.await(begun)
            const next = yield* Effect.fork(
              Effect.either(
                gateway.pull({
                  reference: second.reference,
                  requester: { uid: second.uid },
                  onProgress: (event) => { if (event._tag === 'Waiting') Deferred.unsafeDone(waits, Effect.succeed(undefined)) },
                }),
              ),
            )
            yield* Deferred.await(waits)
            yield* Deferred.succeed(held, undefined)
            return { first: yield* Fiber.join(first), next: yield* Fiber.join(next) }
          })),
      )
    })

  it.each([['of another reference', { reference: 'custom:good', uid: 4711 }], ['of another reference for another', { reference: 'custom:good', uid: 4712 }]])(
    'is waited for, and its failure is its own: %s', async (_, second) => {
      const { first, next } = await Effect.runPromise(waiting(second))
      expect(first).toMatchObject({ _tag: 'Left', left: { code: 'LAYER_INVALID' } })
      expect(next).toMatchObject({ _tag: 'Right', right: { reference: 'custom:good:latest' } })
    })

  it('is ours when it is of the same reference for the same requester', async () => {
    const { next } = await Effect.runPromise(waiting({ reference: 'custom:bad', uid: 4711 }))
    expect(next).toMatchObject({ _tag: 'Left', left: { code: 'LAYER_INVALID', what: 'Another pull of the same image failed: broken at evil.example.org' } })
  })

  it('tells a stranger nothing of where it came from', async () => {
    const { next } = await Effect.runPromise(waiting({ reference: 'custom:bad', uid: 4712 }))
    expect(next).toMatchObject({ _tag: 'Left', left: { what: 'broken at evil.example.org' } })
  })
})

describe('a request', () => {
  it.each([
    ['a uid that is none', { allowUids: [99_999_999_999] }, 'allowUids.0'],
    ['a gid that is no number', { allowGids: [1, Number.NaN] }, 'allowGids.1'],
    ['a list that is too long', { allowUids: Array.from({ length: 1001 }, (_, i) => i) }, 'allowUids'],
    ['a requester that is none', { requester: { uid: -1 } }, 'requester.uid'],
  ])('with %s is refused, and nothing is published', async (_, options, field) => {
    const { config, imagePath } = site()
    const refused = await failure(pullImage(reference(), { config, ...options }))
    expect(refused).toMatchObject({ _tag: 'GatewayError', code: 'USAGE' })
    expect(refused.message).toContain(`"${field}"`)
    expect(readdirSync(imagePath)).toEqual([])
  })

  it.each([
    ['an environment entry', { Env: [`A=${'x'.repeat(131_073)}`] }, {}],
    ['a label', { Labels: { a: 'x'.repeat(5_000_000) } }, {}],
    ['a platform', {}, { platform: { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, variant: '' } }],
  ])('for an image with %s that no record can hold is refused before anything is fetched', async (_, imageConfig, more) => {
    const { config, imagePath } = site()
    const layout = `bad${count}`
    const bad = writeLayout(work.at(layout), { tag: 'v', layers, config: imageConfig, ...more })
    for (const digest of bad.blobDigests) rmSync(blobPath(work.at(layout), digest))
    const refused = await failure(pullImage(reference(layout), { config }))
    expect(refused.code).toBe('IMAGE_CONFIG_INVALID')
    expect(readdirSync(imagePath)).toEqual([])
  })

  it('that would make an access list too long is refused, and the image stays as it was', async () => {
    const { config } = site()
    const uids = Array.from({ length: 999 }, (_, i) => i + 1)
    await pullImage(reference(), { config, requester: owner, allowUids: uids })
    expect((await failure(pullImage(reference(), { config, requester: { uid: 5000 }, allowUids: [5001] }))).code).toBe('RECORD_INVALID')
    expect((await inspectImage(reference(), { config })).record.allowUids).toEqual(uids)
  })
})
