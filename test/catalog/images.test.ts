/** The index of images, over both engines: who is told what, in pages; lifetimes; and the image path as the truth. */
import { Effect } from 'effect'
import { Digest, ImageIndex, type ImageRecord } from 'shifter-sdk'
import { expect, it } from 'vitest'
import { using } from '../harness/database.js'
import { describeEngines } from '../harness/engines.js'

type Index = typeof ImageIndex.ImageIndex.Service
const idOf = (n: number) => n.toString(16).padStart(64, '0')
const nameOf = (n: number) => `docker:docker.io/library/a${String(n).padStart(5, '0')}:latest`
const record = (n: number, access: Partial<ImageRecord.Access> = {}): ImageRecord.ImageRecord => ({
  id: idOf(n),
  reference: nameOf(n),
  sourceDigest: Digest.ofBytes(String(n)),
  profile: 'test',
  platform: 'linux/amd64',
  imageSize: 1,
  imageSha256: idOf(n),
  entries: 1,
  env: ['A=\u00e4'],
  entrypoint: [],
  command: ['sh'],
  labels: [['a', 'b']],
  access: 'public',
  owner: 1,
  allowUids: [],
  allowGids: [],
  ...access,
})

describeEngines('the index of images', (made) => {
  const withIndex = async <A, E>(use: (index: Index, execute: (statement: string) => Effect.Effect<readonly string[]>) => Effect.Effect<A, E>): Promise<A> => {
    const database = await made()
    return using(database, Effect.flatMap(ImageIndex.ImageIndex, (index) => use(index, (statement) => Effect.promise(() => database.execute(statement)))))
  }
  const published = (index: Index, n: number, access: Partial<ImageRecord.Access> = {}) =>
    Effect.zipRight(index.put('s', record(n, access)), index.name('s', { reference: nameOf(n), id: idOf(n) }))
  const numbers = (index: Index, more: Partial<ImageIndex.PageRequest>) =>
    Effect.map(index.page({ system: 's', limit: 100, ...more }), ({ rows }) => rows.map(({ image }) => parseInt(image.record.id, 16)))

  it('knows a record as it was published, under each of its names', () =>
    withIndex((index) => Effect.gen(function* () {
      yield* published(index, 1, { access: 'private', allowUids: [2, 3], allowGids: [4294967294] })
      yield* index.name('s', { reference: nameOf(9), id: idOf(1) })
      const found = yield* index.named('s', nameOf(9))
      expect(found).toMatchObject({ system: 's', names: [nameOf(1), nameOf(9)], expires: undefined, unnamed: undefined, pins: [], scrubbed: undefined, damage: undefined })
      expect(found?.record).toEqual(record(1, { access: 'private', allowUids: [2, 3], allowGids: [4294967294] }))
      expect(Math.abs((yield* index.now) - (found?.published ?? 0))).toBeLessThan(60_000)
      expect(yield* index.get('s', idOf(1))).toEqual(found)
      expect(yield* index.get('other', idOf(1))).toBeUndefined()
      expect(yield* index.named('s', nameOf(2))).toBeUndefined()
    })))

  it('knows since when an image has no name', () =>
    withIndex((index, execute) => Effect.gen(function* () {
      yield* index.put('s', record(1))
      expect((yield* index.get('s', idOf(1)))?.unnamed).toBeGreaterThan(0)
      yield* index.name('s', { reference: nameOf(1), id: idOf(1) })
      expect((yield* index.get('s', idOf(1)))?.unnamed).toBeUndefined()
      // The name goes to a newer one.
      yield* index.put('s', record(2))
      yield* index.name('s', { reference: nameOf(1), id: idOf(2) })
      expect((yield* index.get('s', idOf(1)))?.unnamed).toBeGreaterThan(0)
      expect(yield* index.forgotten('s', 60_000)).toEqual([])
      yield* execute('UPDATE images SET unnamed = 1 WHERE unnamed IS NOT NULL')
      expect(yield* index.forgotten('s', 60_000)).toEqual([idOf(1)])
      yield* index.pin('s', idOf(1), 7)
      expect((yield* index.get('s', idOf(1)))?.pins).toEqual([7])
      expect(yield* index.forgotten('s', 60_000)).toEqual([])
      expect([yield* index.unpin('s', idOf(1), 8), yield* index.unpin('s', idOf(1), 7), yield* index.unpin('s', idOf(1), 7)]).toEqual([false, true, false])
      expect((yield* index.page({ system: 's', limit: 5, unnamed: true })).rows.map(({ name }) => name)).toEqual([`id:${idOf(1)}`])
      yield* index.unname('s', nameOf(1))
      expect(yield* numbers(index, { unnamed: true })).toEqual([1, 2])
      expect(yield* numbers(index, {})).toEqual([])
      yield* index.remove('s', idOf(2))
      expect(yield* index.get('s', idOf(2))).toBeUndefined()
    })))

  it('tells of an image named before its record came only when that is there', () =>
    withIndex((index) => Effect.gen(function* () {
      yield* index.name('s', { reference: nameOf(1), id: idOf(1) })
      expect(yield* numbers(index, { requester: { uid: 5 } })).toEqual([])
      yield* index.put('s', record(1))
      expect(yield* numbers(index, { requester: { uid: 5 } })).toEqual([1])
      expect((yield* index.get('s', idOf(1)))?.unnamed).toBeUndefined()
    })))

  it('tells everyone of what he may use, and nobody of more', () =>
    withIndex((index) => Effect.gen(function* () {
      yield* published(index, 1)
      yield* published(index, 2, { access: 'private', owner: 1 })
      yield* published(index, 3, { access: 'private', owner: 1, allowUids: [2] })
      yield* published(index, 4, { access: 'private', owner: 1, allowGids: [2, 50] })
      yield* published(index, 5, { access: 'private', owner: 3, allowGids: [51] })
      const seen = (uid: number, gids?: readonly number[]) => numbers(index, { requester: { uid, gids } })
      expect(yield* seen(1)).toEqual([1, 2, 3, 4])
      // The user 2 is not the group 2.
      expect(yield* seen(2)).toEqual([1, 3])
      expect(yield* seen(9, [2])).toEqual([1, 4])
      expect(yield* seen(9, Array.from({ length: 65_536 }, (_, i) => i + 51))).toEqual([1, 5])
      expect(yield* seen(9)).toEqual([1])
      expect(yield* numbers(index, {})).toEqual([1, 2, 3, 4, 5])
      expect(yield* numbers(index, { owner: 3 })).toEqual([5])
      // Access that changes.
      yield* index.put('s', record(5, { access: 'private', owner: 3, allowUids: [9] }))
      expect(yield* seen(8, [51])).toEqual([1])
      expect(yield* seen(9)).toEqual([1, 5])
      yield* index.put('s', record(2))
      expect(yield* seen(9)).toEqual([1, 2, 5])
    })))

  it('goes on where a page ended, and knows the last one', () =>
    withIndex((index) => Effect.gen(function* () {
      for (let n = 1; n <= 7; n++) yield* published(index, n, n % 3 === 0 ? { access: 'private', owner: 2 } : {})
      yield* index.name('s', { reference: 'custom:z', id: idOf(1) })
      const pages: string[][] = []
      let after: string | undefined
      do {
        const page = yield* index.page({ system: 's', limit: 2, prefix: 'docker:docker.io/library/', requester: { uid: 5 }, after })
        pages.push(page.rows.map(({ name }) => name))
        after = page.next
      } while (after !== undefined)
      expect(pages).toEqual([[nameOf(1), nameOf(2)], [nameOf(4), nameOf(5)], [nameOf(7)]])
      expect(yield* numbers(index, { prefix: 'custom:' })).toEqual([1])
      expect(yield* numbers(index, { prefix: 'nothing' })).toEqual([])
    })))

  it('gives no page without measure, however many names somebody gives to however large an image', () =>
    withIndex((index) => Effect.gen(function* () {
      const large = { ...record(2), env: Array.from({ length: 30 }, (_, i) => `V${i}=${'x'.repeat(100_000)}`) }
      yield* published(index, 1)
      yield* index.put('s', large)
      const names = Array.from({ length: 40 }, (_, i) => nameOf(100 + i))
      for (const name of names) yield* index.name('s', { reference: name, id: idOf(2) })
      yield* published(index, 999)
      const told: string[] = []
      let after: string | undefined
      do {
        const page = yield* index.page({ system: 's', limit: 1000, after })
        expect(JSON.stringify(page.rows).length).toBeLessThan(10_000_000)
        told.push(...page.rows.map(({ name }) => name))
        after = page.next
      } while (after !== undefined)
      expect(told).toEqual([nameOf(1), ...names, nameOf(999)])
    })))

  it('ends the life of what nobody uses, unless somebody wants it otherwise', () =>
    withIndex((index, execute) => Effect.gen(function* () {
      for (const n of [1, 2, 3]) yield* published(index, n)
      const expires = (n: number) => Effect.map(index.get('s', idOf(n)), (image) => image?.expires)
      yield* index.touch('s', idOf(1), undefined)
      expect(yield* expires(1)).toBeUndefined()
      yield* index.touch('s', idOf(1), 1000)
      const soon = (yield* expires(1)) ?? 0
      expect(soon).toBeGreaterThan(0)
      yield* index.touch('s', idOf(1), 500_000)
      const later = (yield* expires(1)) ?? 0
      expect(later - soon).toBeGreaterThan(400_000)
      yield* index.touch('s', idOf(1), 1000)
      expect(yield* expires(1)).toBe(later)
      // Never is what its owner wants.
      yield* index.setExpiry('s', idOf(2), undefined)
      yield* index.touch('s', idOf(2), 1000)
      expect(yield* expires(2)).toBeUndefined()
      yield* index.setExpiry('s', idOf(3), 5)
      expect(yield* index.expired('s')).toEqual([idOf(3)])
      yield* index.pin('s', idOf(3), 1)
      expect(yield* index.expired('s')).toEqual([])
      yield* execute(`UPDATE images SET published = 1 WHERE id <> '${idOf(1)}'`)
      yield* index.scrubbed('s', idOf(2), 'a byte is wrong')
      expect((yield* index.get('s', idOf(2)))?.damage).toBe('a byte is wrong')
      expect(yield* index.unread('s', 60_000, 10)).toEqual([idOf(3)])
    })))

  it('becomes what the image path is; what was published or removed meanwhile stays so', () =>
    withIndex((index, execute) => Effect.gen(function* () {
      for (const n of [1, 2, 3, 4]) yield* published(index, n)
      yield* execute('UPDATE images SET changed = 1')
      yield* execute('UPDATE image_names SET changed = 1')
      const began = yield* index.now
      // While the path is listed, 5 is published and 6 is removed.
      yield* published(index, 5)
      yield* published(index, 6)
      yield* index.remove('s', idOf(6))
      const listed = [1, 3, 4, 6, 7]
      const found = {
        began,
        records: listed.map((n) => record(n, n === 3 ? { access: 'private' } : {})),
        names: [...listed.filter((n) => n !== 4), 8].map((n) => ({ reference: nameOf(n), id: idOf(n === 8 ? 1 : n) })),
      }
      expect(yield* index.reconcile('s', found, 1000)).toEqual({ added: 3, changed: 1, removed: 2 })
      expect(yield* numbers(index, {})).toEqual([1, 3, 5, 7, 1])
      expect((yield* index.get('s', idOf(3)))?.record.access).toBe('private')
      expect((yield* index.get('s', idOf(4)))?.unnamed).toBeGreaterThan(0)
      expect((yield* index.get('s', idOf(7)))?.expires).toBeGreaterThan(0)
      expect((yield* index.get('s', idOf(1)))?.expires).toBeUndefined()
      // A second time there is nothing to do, but for 5, which this listing does not show.
      const later = { ...found, began: (yield* index.now) + 60_000, records: found.records.filter(({ id }) => id !== idOf(6)), names: found.names.filter(({ id }) => id !== idOf(6)) }
      expect(yield* index.reconcile('s', later, 1000)).toEqual({ added: 0, changed: 0, removed: 1 })
      expect(yield* numbers(index, {})).toEqual([1, 3, 7, 1])
    })))
})
