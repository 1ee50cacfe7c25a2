/** The catalogue in SQLite: its directory, and what becomes of pulls whose process is gone. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import * as Effect from 'effect/Effect'
import { createClient } from '@libsql/client/sqlite3'
import { Catalog, PullQueue, pullImage, sqliteCatalog } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { ensureTestAccounts } from '../harness/accounts.js'
import { smallFileSystem } from '../harness/fileSystems.js'
import { failure, madeSource, withGateway } from '../harness/gateway.js'
import { runOk } from '../harness/process.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('catalogue')
let count = 0

const withCatalog = <A, E>(stateDirectory: string, use: (catalog: typeof Catalog.Catalog.Service) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.provide(Effect.flatMap(Catalog.Catalog, use), sqliteCatalog({ stateDirectory })))

const execute = async (stateDirectory: string, statement: string) => {
  const client = createClient({ url: `file:${stateDirectory}/catalog.db` })
  await client.execute(statement)
  client.close()
}
/** As if a process had been silent for longer than its lease. */
const expire = (stateDirectory: string) => execute(stateDirectory, 'UPDATE pulls SET lease_until = 0')

const request = { system: 'test', reference: 'docker:a', requester: 1 }

describe('a pull whose process is gone', () => {
  it('is given to reapers until one has removed what it left', async () => {
    const directory = work.at(`state${count++}`)
    await withCatalog(directory, (catalog) =>
      Effect.gen(function* () {
        const row = yield* catalog.begin(request)
        expect(row.token).toMatch(/^[0-9a-f]{32}$/)
        const { reap } = catalog
        expect(yield* reap).toEqual([])
        yield* Effect.promise(() => expire(directory))
        expect(yield* reap).toEqual([{ ...row, system: 'test' }])
        // Its reaper works on it now; then he died too.
        expect(yield* reap).toEqual([])
        yield* Effect.promise(() => expire(directory))
        expect(yield* reap).toEqual([{ ...row, system: 'test' }])
        expect((yield* catalog.state(row.id))._tag).toBe('Abandoned')
        yield* catalog.reaped(row)
        yield* Effect.promise(() => expire(directory))
        expect(yield* reap).toEqual([])
        // Waking up, it has lost its lease.
        expect(yield* catalog.enter(row, 'publish')).toBe(false)
      }))
  })

  it('is removed by the next pull, what it left and nothing else; another system that is away stops nobody', async () => {
    const site = testSite(work.at(`site${count++}`))
    const { config } = site
    const gone = await withCatalog(config.stateDirectory, (catalog) =>
      Effect.all([catalog.begin(request), catalog.begin({ ...request, system: 'away' })]))
    await expire(config.stateDirectory)
    const left = gone.map(({ token }) => `${site.imagePath}/.staging.${token}.0123456789ab`)
    for (const file of left) writeFileSync(file, '')
    const away = { ...config, defaultSystem: 'test', systems: { ...config.systems, away: { imagePath: '/nonexistent/images' } } }
    await withGateway({ ...site, config: away }, { sources: [madeSource({})] }, (gateway) => gateway.pull({ reference: 'custom:a' }))
    expect(left.map((file) => existsSync(file))).toEqual([false, true])
  })
})

describe('an image that is fetched', () => {
  const image = 'a'.repeat(64)

  it('is another request’s when it takes too long, and never that of the same one', async () => {
    const directory = work.at(`state${count++}`)
    await withCatalog(directory, (catalog) =>
      Effect.gen(function* () {
        const slow = yield* catalog.begin(request)
        const again = yield* catalog.begin(request)
        const other = yield* catalog.begin({ ...request, reference: 'docker:b' })
        const later = (phase: string) => execute(directory, `UPDATE pulls SET changed = changed - ${Catalog.fetchMillis} - 1 WHERE phase = '${phase}'`)
        expect((yield* catalog.claim(slow, image))._tag).toBe('Mine')
        yield* catalog.enter(slow, 'fetch')
        expect(yield* catalog.claim(other, image)).toMatchObject({ _tag: 'Theirs', pull: slow.id, isSameRequest: false })
        yield* Effect.promise(() => later('fetch'))
        expect(yield* catalog.claim(again, image)).toMatchObject({ _tag: 'Theirs', pull: slow.id, isSameRequest: true })
        expect((yield* catalog.claim(other, image))._tag).toBe('Mine')
        expect(yield* catalog.renew(slow)).toBe(false)
        expect(yield* catalog.enter(slow, 'publish')).toBe(false)
        yield* Effect.promise(() => expire(directory))
        expect((yield* catalog.reap).map(({ id }) => id)).toContain(slow.id)
      }))
  })

  it('stays who converts it, however long that takes', async () => {
    const directory = work.at(`state${count++}`)
    await withCatalog(directory, (catalog) =>
      Effect.gen(function* () {
        const first = yield* catalog.begin(request)
        const other = yield* catalog.begin({ ...request, reference: 'docker:b' })
        yield* catalog.claim(first, image)
        yield* catalog.enter(first, 'fetch')
        yield* catalog.enter(first, 'convert')
        yield* Effect.promise(() => execute(directory, `UPDATE pulls SET changed = changed - ${Catalog.fetchMillis} - 1`))
        expect((yield* catalog.claim(other, image))._tag).toBe('Theirs')
      }))
  })
})

describe('many transactions', () => {
  it('need no more files than one', async () => {
    const directory = work.at(`state${count++}`)
    await withCatalog(directory, (catalog) =>
      Effect.gen(function* () {
        const row = yield* catalog.begin(request)
        const files = () => readdirSync('/proc/self/fd').length
        const before = files()
        for (let i = 0; i < 200; i++) expect(yield* catalog.renew(row)).toBe(true)
        expect(files() - before).toBeLessThan(20)
      }))
  })
})

describe('a catalogue of another version', () => {
  it('becomes one of this version, with what is in it; a newer one is refused', async () => {
    const directory = work.at(`state${count++}`)
    mkdirSync(directory, { mode: 0o700 })
    const client = createClient({ url: `file:${directory}/catalog.db` })
    // As the first version of this package made it.
    await client.executeMultiple(`CREATE TABLE catalog_version (version INTEGER NOT NULL);
      CREATE TABLE pulls (id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL, system TEXT NOT NULL, reference TEXT NOT NULL, requester INTEGER NOT NULL, image_id TEXT,
        state TEXT NOT NULL, phase TEXT NOT NULL, lease_until INTEGER NOT NULL, code TEXT, what TEXT, changed INTEGER NOT NULL);
      CREATE UNIQUE INDEX pulls_conversion ON pulls (system, image_id) WHERE state = 'active' AND image_id IS NOT NULL;
      CREATE TABLE blob_uses (pull INTEGER NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (blob, pull));
      INSERT INTO catalog_version VALUES (1);
      INSERT INTO pulls (token, system, reference, requester, state, phase, lease_until, changed) VALUES ('t', 'test', 'docker:a', 1, 'done', 'publish', 0, unixepoch() * 1000);`)
    client.close()
    await Effect.runPromise(Effect.provide(Effect.gen(function* () {
      expect(yield* (yield* Catalog.Catalog).state(1)).toEqual({ _tag: 'Done' })
      expect(yield* (yield* PullQueue.PullQueue).list({ limit: 1 })).toEqual([])
    }), sqliteCatalog({ stateDirectory: directory })))
    await execute(directory, 'UPDATE catalog_version SET version = 3')
    const refused = await Effect.runPromise(Effect.flip(Effect.provide(Effect.flatMap(Catalog.Catalog, ({ state }) => state(1)), sqliteCatalog({ stateDirectory: directory }))))
    expect(refused.code).toBe('CATALOG_FAILED')
    expect(refused.message).toContain('up to 2 is understood')
  })
})

describe('a catalogue that another process holds', () => {
  it('is waited for', async () => {
    const directory = work.at(`state${count++}`)
    mkdirSync(directory, { mode: 0o700 })
    writeFileSync(`${directory}/catalog.db`, '')
    // As SQLite locks a database that nobody else may even read.
    const holder = spawn('python3', ['-c', 'import fcntl, sys; f = open(sys.argv[1], "r+b"); fcntl.lockf(f, fcntl.LOCK_EX, 510, 0x40000002); print("held", flush=True); sys.stdin.read()', `${directory}/catalog.db`])
    await once(holder.stdout, 'data')
    let ended = false
    const begun = withCatalog(directory, (catalog) => catalog.begin(request)).finally(() => { ended = true })
    await setTimeout(300)
    expect(ended).toBe(false)
    holder.stdin.end()
    expect((await begun).id).toBe(1)
  })
})

describe('a state directory', () => {
  const pulled = (stateDirectory: string) => {
    const { config } = testSite(work.at(`site${count++}`))
    return failure(pullImage('oci:/nonexistent:v', { config: { ...config, stateDirectory } }))
  }

  it('is made where only it is missing', async () => {
    expect((await pulled(work.at('none/state'))).code).toBe('STATE_UNUSABLE')
    expect(existsSync(work.at('none'))).toBe(false)
    expect((await pulled(work.at('made'))).code).toBe('MANIFEST_NOT_FOUND')
  })

  it('where nothing can be made is refused at once', { timeout: 20_000 }, async () => {
    expect((await pulled('/proc/shifter/state')).code).toBe('STATE_UNUSABLE')
  })

  it("that is another account's is refused, with the account to run as", async () => {
    const { service } = await ensureTestAccounts()
    mkdirSync(work.at('theirs'), { mode: 0o700 })
    chownSync(work.at('theirs'), service.uid, service.gid)
    const refused = await pulled(work.at('theirs'))
    expect(refused.code).toBe('STATE_UNUSABLE')
    expect(refused.message).toContain(`runuser -u ${service.name} -- shifterimg`)
  })

  it('that is full is said to be full', async () => {
    mkdirSync(work.at('full'), { mode: 0o700 })
    await runOk(['mount', '-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', work.at('full')])
    try {
      await runOk(['sh', '-c', `cat /dev/zero > ${work.at('full')}/filler 2>/dev/null || true`])
      expect((await pulled(work.at('full'))).code).toBe('STORAGE_FULL')
    } finally {
      // The driver leaves descriptors of statements that failed to the garbage collector.
      await runOk(['umount', '--lazy', work.at('full')])
    }
  })

  it('that is full for a while stops nobody for longer', { timeout: 20_000 }, async () => {
    const directory = work.at('narrow')
    const room = await smallFileSystem(directory, 1024 * 1024, { mode: 0o700 })
    try {
      await withCatalog(directory, (catalog) =>
        Effect.gen(function* () {
          yield* catalog.begin(request)
          yield* Effect.promise(() => room.leave(0))
          for (let i = 0; i < 3; i++) expect((yield* Effect.flip(catalog.begin(request))).code).toBe('STORAGE_FULL')
          yield* Effect.promise(() => room.empty())
          expect((yield* catalog.begin(request)).id).toBe(2)
        }))
    } finally {
      await room.stop()
    }
  })

  it('is one for a pull alone: a catalogue that could not be opened is tried again', async () => {
    const directory = work.at('later/state')
    await withCatalog(directory, (catalog) =>
      Effect.gen(function* () {
        expect((yield* Effect.flip(catalog.begin(request))).code).toBe('STATE_UNUSABLE')
        mkdirSync(work.at('later'))
        expect((yield* catalog.begin(request)).id).toBe(1)
      }))
  })
})
