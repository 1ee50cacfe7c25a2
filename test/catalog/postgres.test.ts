/** The catalogue in PostgreSQL: a server that restarts, its password and certificate, and pulls that two replicas run. */
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { Context, Effect, Fiber, Stream } from 'effect'
import { Catalog, PullQueue, postgresCatalog } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { client, postgresDatabase, using } from '../harness/database.js'
import { usePostgres } from '../harness/engines.js'
import { startPostgres } from '../harness/postgres.js'
import { runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('postgres')
const order: PullQueue.PullOrder = {
  system: 's', reference: 'docker:a', platform: undefined, requester: { uid: 1, gids: [] }, allowUids: undefined, allowGids: undefined,
  verify: false, registry: '', key: 'k', hasCredentials: false,
}
const request = { system: 's', reference: 'docker:a', requester: 1 }

describe('a server', () => {
  const postgres = usePostgres(work)

  it('that restarts is waited for, also in the middle of a transaction, and by who listens', async () => {
    const database = await postgresDatabase(postgres.server())
    await using(database, Effect.gen(function* () {
      const catalog = yield* Catalog.Catalog
      const queue = yield* PullQueue.PullQueue
      const other = Context.get(yield* client(database), PullQueue.PullQueue)
      const { pull } = yield* queue.submit(order, 5)
      const heard = yield* Effect.fork(Stream.runHead(Stream.filter(other.changes, (id) => id !== pull.id)))
      yield* catalog.useBlobs(yield* catalog.begin(request), ['used'])
      const done: string[] = []
      let restarted = false
      // The transaction is under way when its server goes, and is done again when that is back.
      yield* catalog.unused(['used', 'a', 'b'], (blob) =>
        Effect.gen(function* () {
          done.push(blob)
          if (!restarted) yield* Effect.promise(() => postgres.server().restart('immediate'))
          restarted = true
        }))
      expect(done).toEqual(['a', 'b', 'a', 'b'])
      // What was committed is there.
      expect((yield* queue.get(pull.id))?.state).toBe('waiting')
      yield* Effect.promise(() => postgres.server().restart())
      expect((yield* queue.submit({ ...order, key: 'l' }, 5)).isNew).toBe(true)
      // What is told before he listens again is missed.
      let key = 0
      const telling = Effect.zipRight(Effect.suspend(() => queue.submit({ ...order, key: `l${key++}` }, 1000)), Effect.sleep('100 millis'))
      expect((yield* Effect.raceFirst(Fiber.join(heard), Effect.forever(telling)))._tag).toBe('Some')
    }))
  })

  it('that is away for long is said to be, and where it is', { timeout: 90_000 }, async () => {
    const { server } = postgres
    const settings = { ...server().settings(), port: server().settings().port === 1 ? 2 : 1 }
    const error = await Effect.runPromise(Effect.flip(Effect.provide(Effect.flatMap(Catalog.Catalog, ({ begin }) => begin(request)), postgresCatalog(settings))))
    expect(error).toMatchObject({ code: 'CATALOG_FAILED' })
    expect(error.message).toContain(`.s.PGSQL.${settings.port}`)
  })

  it('has one conversion of an image, whichever replica asks', async () => {
    const database = await postgresDatabase(postgres.server())
    await using(database, Effect.gen(function* () {
      const replicas = [yield* Catalog.Catalog, Context.get(yield* client(database), Catalog.Catalog)]
      const claims = yield* Effect.forEach(
        Array.from({ length: 16 }, (_, i) => i),
        (i) => Effect.flatMap(Catalog.Catalog, (mine) => {
          const catalog = replicas[i % 2] ?? mine
          return Effect.flatMap(catalog.begin({ ...request, requester: i }), (row) => catalog.claim(row, 'a'.repeat(64)))
        }),
        { concurrency: 'unbounded' },
      )
      expect(claims.filter(({ _tag }) => _tag === 'Mine')).toHaveLength(1)
      expect(new Set(claims.flatMap((claim) => (claim._tag === 'Theirs' ? [claim.pull] : []))).size).toBe(1)
    }))
  })
})

describe('a server of a network', () => {
  it('is given the password of a file, and must show a certificate of the authority for its name', async () => {
    const own = (name: string) => work.at(`tls/${name}`)
    mkdirSync(work.at('tls'), { mode: 0o755 })
    await runOk(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=db', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', own('key'), '-out', own('certificate')])
    await runOk(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=other', '-keyout', own('otherkey'), '-out', own('other')])
    const uid = Number((await runOk(['id', '-u', 'postgres'])).stdout)
    chownSync(own('key'), uid, 0)
    chmodSync(own('key'), 0o600)
    writeFileSync(own('password'), 'sesame:with a colon\nnot this\n', { mode: 0o600 })
    writeFileSync(own('wrong'), 'secret-of-another\n', { mode: 0o600 })
    const server = await startPostgres(work.at('tls'), { tls: { certificate: own('certificate'), key: own('key') } })
    try {
      const settings = { ...server.settings(), host: '127.0.0.1', passwordFile: own('password'), ca: own('certificate') }
      const begun = (more: Partial<typeof settings>) =>
        Effect.runPromise(Effect.either(Effect.provide(Effect.flatMap(Catalog.Catalog, ({ begin }) => begin(request)), postgresCatalog({ ...settings, ...more }))))
      expect((await begun({}))._tag).toBe('Right')
      expect(await server.execute('postgres', "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'shifter-gateway'")).not.toContain('f')
      for (const wrong of [{ ca: own('other') }, { host: 'localhost' }, { passwordFile: own('wrong') }, { passwordFile: own('none') }]) {
        const refused = await begun(wrong)
        expect(refused._tag, JSON.stringify(wrong)).toBe('Left')
        expect(inspect(refused, { depth: 12 })).not.toMatch(/sesame|secret-of-another/)
      }
    } finally {
      await server.stop()
    }
  })
})
