/** The queue of a gateway service, over both engines: who joins what, whose turn it is, and what becomes of pulls whose process is gone. */
import { Context, Effect, Fiber, Stream } from 'effect'
import { PullQueue } from 'shifter-sdk'
import { expect, it } from 'vitest'
import { client, using } from '../harness/database.js'
import { describeEngines } from '../harness/engines.js'

type Queue = typeof PullQueue.PullQueue.Service
const limits = { perUser: 2, perRegistry: 4 }
const order = (uid: number, name: string, more: Partial<PullQueue.PullOrder> = {}): PullQueue.PullOrder => ({
  system: 'test',
  reference: `docker:docker.io/library/${name}`,
  platform: undefined,
  requester: { uid, gids: [uid] },
  allowUids: undefined,
  allowGids: undefined,
  verify: false,
  registry: 'docker.io',
  key: `test|${name}`,
  hasCredentials: false,
  ...more,
})
const progress: PullQueue.PullProgress = { phase: 'fetch', imageId: undefined, received: 3, bytes: 10, layersDone: 0, layers: 2, packed: 0, isWaiting: false, warnings: [] }
const taken = (queue: Queue, runner = 'a', over: PullQueue.QueueLimits = limits) =>
  Effect.flatMap(queue.take(runner, over), (found) => (found === undefined ? Effect.die(new Error('there was nothing to take')) : Effect.succeed(found)))

describeEngines('the queue', (made, engine) => {
  const withQueue = async <A, E>(use: (queue: Queue, execute: (statement: string) => Effect.Effect<readonly string[]>) => Effect.Effect<A, E>): Promise<A> => {
    const database = await made()
    return using(database, Effect.flatMap(PullQueue.PullQueue, (queue) => use(queue, (statement) => Effect.promise(() => database.execute(statement)))))
  }

  it('joins who asks for what waits or runs, and not for what has ended', () =>
    withQueue((queue) => Effect.gen(function* () {
      const first = yield* queue.submit(order(1, 'a', { allowGids: [7], platform: 'linux/arm64' }), 10)
      expect(first.isNew).toBe(true)
      expect(first.pull).toMatchObject({ state: 'waiting', attempts: 0, askers: [1], outcome: undefined, order: { allowGids: [7], platform: 'linux/arm64', requester: { uid: 1, gids: [1] } } })
      expect(first.pull.id).toMatch(/^[0-9a-f]{32}$/)
      const joined = yield* queue.submit(order(2, 'a'), 10)
      expect([joined.isNew, joined.pull.id, joined.pull.askers]).toEqual([false, first.pull.id, [1, 2]])
      const mine = yield* taken(queue)
      expect((yield* queue.submit(order(3, 'a'), 10)).pull).toMatchObject({ id: first.pull.id, state: 'running', attempts: 1, askers: [1, 2, 3] })
      expect(yield* queue.finish(mine, { _tag: 'Done', imageId: 'ab' })).toBe(true)
      expect((yield* queue.get(first.pull.id))?.outcome).toEqual({ _tag: 'Done', imageId: 'ab' })
      const again = yield* queue.submit(order(1, 'a'), 10)
      expect(again.isNew).toBe(true)
      expect(again.pull.id).not.toBe(first.pull.id)
      expect(yield* queue.get('0'.repeat(32))).toBeUndefined()
    })))

  it('is one pull for all who ask at once, in two processes', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const queue = yield* PullQueue.PullQueue
      const other = Context.get(yield* client(database), PullQueue.PullQueue)
      const asked = yield* Effect.forEach(Array.from({ length: 30 }, (_, i) => i), (i) => (i % 2 === 0 ? queue : other).submit(order(i, 'a'), 10), { concurrency: 'unbounded' })
      expect(new Set(asked.map(({ pull }) => pull.id)).size).toBe(1)
      expect(asked.filter(({ isNew }) => isNew)).toHaveLength(1)
      const rows = yield* Effect.forEach([queue, other], (each) => each.take('r', limits), { concurrency: 'unbounded' })
      expect(rows.filter((row) => row !== undefined)).toHaveLength(1)
      expect((yield* queue.get(asked[0]?.pull.id ?? ''))?.askers).toHaveLength(30)
    }))
  })

  it('takes no more of one user than may wait; joining is free', () =>
    withQueue((queue) => Effect.gen(function* () {
      yield* queue.submit(order(1, 'a'), 2)
      yield* queue.submit(order(1, 'b'), 2)
      const refused = yield* Effect.flip(queue.submit(order(1, 'c'), 2))
      expect([refused.code, refused.reason]).toEqual(['QUEUE_FULL', 'Unavailable'])
      expect((yield* queue.submit(order(1, 'b'), 2)).isNew).toBe(false)
      // Another user whose number begins alike.
      expect((yield* queue.submit(order(11, 'c'), 2)).isNew).toBe(true)
      yield* taken(queue)
      expect((yield* queue.submit(order(1, 'd'), 2)).isNew).toBe(true)
    })))

  it('gives everyone his turn, and holds a user back who has enough while others wait', () =>
    withQueue((queue) => Effect.gen(function* () {
      for (const name of ['a', 'b', 'c', 'd']) yield* queue.submit(order(1, name), 10)
      yield* queue.submit(order(2, 'e'), 10)
      const names: string[] = []
      const mine: PullQueue.Taken[] = []
      for (let i = 0; i < 3; i++) {
        const next = yield* taken(queue)
        mine.push(next)
        names.push(next.pull.order.reference.slice(-1))
      }
      expect(names).toEqual(['a', 'e', 'b'])
      // Nobody else waits: he may have more. Somebody waits whose registry is full: not.
      yield* queue.submit(order(3, 'f'), 10)
      yield* queue.submit(order(1, 'x', { registry: 'quay.io', key: 'x' }), 10)
      expect(yield* queue.take('a', { perUser: 2, perRegistry: 3 })).toBeUndefined()
      yield* queue.finish(mine[1] ?? (yield* taken(queue)), { _tag: 'Done', imageId: 'i' })
      expect((yield* taken(queue, 'a', { perUser: 2, perRegistry: 3 })).pull.order.requester.uid).toBe(3)
      expect((yield* taken(queue, 'a', { perUser: 2, perRegistry: 3 })).pull.order.registry).toBe('quay.io')
    })))

  it('keeps the last place for another, whatever one user wants while nobody else waits', () =>
    withQueue((queue) => Effect.gen(function* () {
      const last = { ...limits, isLast: true }
      for (const name of ['a', 'b', 'c']) yield* queue.submit(order(1, name, { registry: `${name}.hostile`, key: name }), 10)
      yield* taken(queue, 'a', last)
      yield* taken(queue, 'a', last)
      expect(yield* queue.take('a', last)).toBeUndefined()
      yield* queue.submit(order(2, 'd'), 10)
      expect((yield* taken(queue, 'a', last)).pull.order.requester.uid).toBe(2)
      expect((yield* taken(queue)).pull.order.requester.uid).toBe(1)
    })))

  it('lets nobody wait behind another’s slow registries for what he joins', () =>
    withQueue((queue) => Effect.gen(function* () {
      for (const name of ['a', 'b', 'c', 'd', 'e']) yield* queue.submit(order(1, name, { registry: `${name}.hostile`, key: name }), 10)
      const popular = (yield* queue.submit(order(1, 'popular'), 10)).pull.id
      yield* taken(queue)
      yield* taken(queue)
      yield* queue.submit(order(3, 'other'), 10)
      expect((yield* queue.submit(order(2, 'popular'), 10)).isNew).toBe(false)
      expect([(yield* taken(queue)).pull.id, (yield* taken(queue)).pull.order.requester.uid]).toEqual([popular, 3])
      // It runs as his who joined: two who join each other have no more than any two.
      yield* queue.submit(order(4, 'more'), 10)
      for (const name of ['c', 'd']) yield* queue.submit(order(2, name, { registry: `${name}.hostile`, key: name }), 10)
      const rest = [yield* queue.take('a', limits), yield* queue.take('a', limits), yield* queue.take('a', limits)]
      expect(rest.map((found) => found?.pull.order.key)).toEqual(['test|more', 'c', 'd'])
    })))

  it('asks no registry more than it may', () =>
    withQueue((queue) => Effect.gen(function* () {
      for (const uid of [1, 2, 3]) yield* queue.submit(order(uid, `a${uid}`), 10)
      yield* queue.submit(order(4, 'b', { registry: '', key: 'b' }), 10)
      yield* queue.submit(order(5, 'c', { registry: '', key: 'c' }), 10)
      const over = { perUser: 5, perRegistry: 1 }
      const uids = [yield* taken(queue, 'a', over), yield* taken(queue, 'a', over), yield* taken(queue, 'a', over)].map(({ pull }) => pull.order.requester.uid)
      // What is no registry's knows no limit.
      expect(uids).toEqual([1, 4, 5])
      expect(yield* queue.take('a', over)).toBeUndefined()
    })))

  it('keeps both limits over all replicas that take at once', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const queues = [yield* PullQueue.PullQueue, Context.get(yield* client(database), PullQueue.PullQueue)]
      for (let i = 0; i < 12; i++) yield* (yield* PullQueue.PullQueue).submit(order(i % 3, `n${i}`), 20)
      const rows = yield* Effect.forEach(Array.from({ length: 10 }, (_, i) => queues[i % 2]), (queue) => queue?.take('r', limits) ?? Effect.succeed(undefined), { concurrency: 'unbounded' })
      expect(rows.filter((row) => row !== undefined)).toHaveLength(limits.perRegistry)
      expect(new Set(rows.flatMap((row) => row?.pull.id ?? [])).size).toBe(limits.perRegistry)
    }))
  })

  it('tells who runs a pull that it is another’s, and nothing of that counts', () =>
    withQueue((queue, execute) => Effect.gen(function* () {
      const { pull } = (yield* queue.submit(order(1, 'a'), 10))
      const old = yield* taken(queue)
      expect(yield* queue.renew(old, progress)).toBe('Held')
      expect((yield* queue.get(pull.id))?.progress).toEqual(progress)
      expect(yield* queue.recover(3)).toEqual([])
      yield* execute("UPDATE queue SET lease_until = 0 WHERE state = 'running'")
      expect(yield* queue.recover(3)).toEqual([pull.id])
      expect(yield* queue.get(pull.id)).toMatchObject({ state: 'waiting', attempts: 1, progress: undefined })
      expect(yield* queue.renew(old, progress)).toBe('Lost')
      const mine = yield* taken(queue, 'b')
      expect([mine.pull.id, mine.pull.attempts, mine.lease === old.lease]).toEqual([pull.id, 2, false])
      expect(yield* queue.finish(old, { _tag: 'Failed', code: 'INTERNAL', what: 'w', remedy: 'r' })).toBe(false)
      yield* queue.putBack(old, 0, true)
      expect((yield* queue.get(pull.id))?.state).toBe('running')
      expect(yield* queue.finish(mine, { _tag: 'Failed', code: 'REGISTRY_ERROR', what: 'w', remedy: 'r' })).toBe(true)
      // Told a second time, since the answer was lost with the connection.
      expect(yield* queue.finish(mine, { _tag: 'Failed', code: 'REGISTRY_ERROR', what: 'w', remedy: 'r' })).toBe(true)
      expect((yield* queue.get(pull.id))?.outcome).toEqual({ _tag: 'Failed', code: 'REGISTRY_ERROR', what: 'w', remedy: 'r' })
    })))

  it('ends a pull that ends its process again and again', () =>
    withQueue((queue, execute) => Effect.gen(function* () {
      const { pull } = yield* queue.submit(order(1, 'a'), 10)
      for (const state of ['waiting', 'failed']) {
        yield* taken(queue)
        yield* execute("UPDATE queue SET lease_until = 0 WHERE state = 'running'")
        yield* queue.recover(2)
        expect((yield* queue.get(pull.id))?.state).toBe(state)
      }
      expect((yield* queue.get(pull.id))?.outcome).toMatchObject({ code: 'LEASE_LOST' })
    })))

  it('puts back, for later, and counts what was an attempt', () =>
    withQueue((queue, execute) => Effect.gen(function* () {
      const { pull } = yield* queue.submit(order(1, 'a'), 10)
      yield* queue.putBack(yield* taken(queue), 60_000, true)
      expect(yield* queue.get(pull.id)).toMatchObject({ state: 'waiting', attempts: 1 })
      expect(yield* queue.take('a', limits)).toBeUndefined()
      yield* execute('UPDATE queue SET not_before = 0')
      yield* queue.putBack(yield* taken(queue), 0, false)
      expect(yield* queue.get(pull.id)).toMatchObject({ state: 'waiting', attempts: 1 })
    })))

  it('gives a pull with credentials to the process that has them; they are gone with it', () =>
    withQueue((queue, execute) => Effect.gen(function* () {
      const secret = (uid: number) => order(uid, 's', { key: `s|${uid}`, hasCredentials: true })
      const { pull } = yield* queue.submit(secret(1), 10, 'a')
      expect(yield* queue.take('b', limits)).toBeUndefined()
      expect(yield* queue.recover(5)).toEqual([])
      yield* execute('UPDATE runners SET alive_until = 0')
      expect(yield* queue.recover(5)).toEqual([pull.id])
      expect((yield* queue.get(pull.id))?.outcome).toMatchObject({ code: 'CREDENTIALS_GONE' })
      // One that ran when its process ended.
      const running = (yield* queue.submit(secret(1), 10, 'a')).pull
      expect((yield* taken(queue, 'a')).pull.id).toBe(running.id)
      yield* execute('UPDATE runners SET alive_until = 0')
      yield* execute("UPDATE queue SET lease_until = 0 WHERE state = 'running'")
      expect(yield* queue.recover(5)).toEqual([running.id])
      expect((yield* queue.get(running.id))?.outcome).toMatchObject({ code: 'CREDENTIALS_GONE' })
      // Asked again elsewhere before anybody saw that it was gone.
      const third = (yield* queue.submit(secret(1), 10, 'a')).pull
      yield* execute('UPDATE runners SET alive_until = 0')
      expect((yield* queue.submit(secret(1), 10, 'b')).pull.id).toBe(third.id)
      expect(yield* queue.recover(5)).toEqual([])
      yield* queue.alive('b')
      expect((yield* taken(queue, 'b')).pull.order.hasCredentials).toBe(true)
    })))

  it('cancels what nobody wants any more, and tells who runs it', () =>
    withQueue((queue) => Effect.gen(function* () {
      const { pull } = yield* queue.submit(order(1, 'a'), 10)
      yield* queue.submit(order(2, 'a'), 10)
      const mine = yield* taken(queue)
      expect(yield* queue.cancel(pull.id, 1, false)).toMatchObject({ state: 'running', askers: [2], leavers: [1] })
      expect(yield* queue.cancel(pull.id, 9, false)).toMatchObject({ state: 'running', askers: [2] })
      expect(yield* queue.renew(mine, undefined)).toBe('Held')
      // He changes his mind twice.
      expect((yield* queue.submit(order(1, 'a'), 10)).pull.askers).toEqual([1, 2])
      yield* queue.cancel(pull.id, 1, false)
      expect(yield* queue.cancel(pull.id, 2, false)).toMatchObject({ state: 'cancelled', askers: [], outcome: { _tag: 'Cancelled' } })
      expect(yield* queue.renew(mine, progress)).toBe('Cancelled')
      expect(yield* queue.finish(mine, { _tag: 'Done', imageId: 'i' })).toBe(true)
      expect((yield* queue.get(pull.id))?.state).toBe('cancelled')
      const other = (yield* queue.submit(order(1, 'a'), 10)).pull
      // Who wanted it is still told of it.
      expect(yield* queue.cancel(other.id, 0, true)).toMatchObject({ state: 'cancelled', askers: [1], leavers: [] })
      expect(yield* queue.cancel('f'.repeat(32), 0, true)).toBeUndefined()
    })))

  it('lists, counts and forgets', () =>
    withQueue((queue, execute) => Effect.gen(function* () {
      for (const [uid, name] of [[1, 'a'], [1, 'b'], [2, 'c'], [2, 'd']] as const) yield* queue.submit(order(uid, name), 10)
      yield* queue.submit(order(3, 'd'), 10)
      const first = yield* taken(queue)
      yield* queue.finish(first, { _tag: 'Done', imageId: 'i' })
      yield* taken(queue)
      const names = (filter: Partial<PullQueue.QueueFilter>) => Effect.map(queue.list({ limit: 10, ...filter }), (pulls) => pulls.map(({ order }) => order.reference.slice(-1)).join(''))
      expect(yield* names({})).toBe('dcba')
      expect(yield* names({ limit: 2 })).toBe('dc')
      expect(yield* names({ asker: 3 })).toBe('d')
      expect(yield* names({ states: ['waiting'] })).toBe('dc')
      expect(yield* names({ states: ['waiting', 'running', 'done'], asker: 1 })).toBe('ba')
      expect(yield* names({ states: [] })).toBe('')
      expect(yield* names({ system: 'other' })).toBe('')
      expect(yield* names({ reference: 'docker:docker.io/library/a', system: 'test' })).toBe('a')
      expect(yield* queue.counts).toEqual([{ system: 'test', state: 'running', count: 1 }, { system: 'test', state: 'waiting', count: 2 }])
      expect(yield* queue.prune(60_000)).toBe(0)
      yield* execute('UPDATE queue SET changed = 0')
      expect(yield* queue.prune(60_000)).toBe(1)
      expect(yield* names({})).toBe('dcb')
      expect(yield* execute('SELECT count(*) FROM queue_askers')).toEqual(['4'])
    })))

  it('tells of changes in this process and in others', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const queue = yield* PullQueue.PullQueue
      const other = Context.get(yield* client(database), PullQueue.PullQueue)
      const { pull } = yield* queue.submit(order(1, 'a'), 10)
      const heard = (by: Queue, work: Effect.Effect<unknown, unknown>) =>
        Effect.gen(function* () {
          const waiting = yield* Effect.fork(by.changes.pipe(Stream.filter((id) => id === pull.id), Stream.take(1), Stream.runDrain))
          // What is said before he listens is said again.
          const saying = yield* Effect.fork(Effect.forever(Effect.zipRight(work, Effect.sleep('100 millis'))))
          yield* Fiber.join(waiting)
          yield* Fiber.interrupt(saying)
        })
      const mine = yield* taken(queue)
      yield* heard(queue, queue.renew(mine, progress))
      yield* heard(other, queue.renew(mine, progress))
    }))
  })

  it('searches by index, however long its history is', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const queue = yield* PullQueue.PullQueue
      yield* queue.submit(order(1, 'a'), 10)
    }))
    const explain = async (statement: string) => (await database.execute(`${engine === 'SQLite' ? 'EXPLAIN QUERY PLAN' : 'SET enable_seqscan = off; EXPLAIN'} ${statement}`)).join('\n')
    const plans = await Promise.all([
      explain("SELECT min(lane) FROM queue WHERE state = 'waiting'"),
      explain("SELECT q.seq FROM queue q WHERE q.state = 'waiting' AND q.lane = 'x' AND q.not_before <= 5 ORDER BY q.seq LIMIT 1"),
      explain("SELECT uid, registry, count(*) AS n FROM queue WHERE state = 'running' GROUP BY uid, registry"),
      explain("UPDATE queue SET lease_until = 5 WHERE id = 'x' AND lease = 'y' AND state = 'running'"),
      explain("SELECT id FROM queue WHERE state = 'running' AND lease_until <= 5"),
      explain("SELECT seq FROM queue WHERE key = 'x' AND state IN ('waiting', 'running')"),
    ])
    for (const plan of plans) {
      expect(plan).toMatch(/index/i)
      expect(plan).not.toMatch(engine === 'SQLite' ? /SCAN queue(?! USING)/ : /Seq Scan/)
    }
  })
})
