/** Tokens and the audit log, over both engines. */
import { createHash } from 'node:crypto'
import { Effect, Redacted } from 'effect'
import { Audit, Tokens } from 'shifter-sdk'
import { expect, it } from 'vitest'
import { using } from '../harness/database.js'
import { describeEngines } from '../harness/engines.js'

const wanted = { label: 'portal', uid: 5, scopes: ['read', 'pull'] as const, systems: ['s'], expiresIn: 60_000 }

describeEngines('tokens', (made) => {
  it('are told once, kept as a hash, and end', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const tokens = yield* Tokens.Tokens
      const { secret, token } = yield* tokens.create(wanted)
      expect(Redacted.value(secret)).toMatch(/^shf_[A-Za-z0-9_-]{43}$/)
      expect(token).toMatchObject({ label: 'portal', uid: 5, scopes: ['read', 'pull'], systems: ['s'], used: undefined })
      expect(yield* Effect.promise(() => database.execute('SELECT hash FROM tokens'))).toEqual([createHash('sha256').update(Redacted.value(secret)).digest('hex')])
      expect(yield* tokens.verify(secret)).toMatchObject({ id: token.id, uid: 5 })
      const [used] = yield* tokens.list(5)
      expect(used?.used).toBeGreaterThan(0)
      yield* tokens.verify(secret)
      expect((yield* tokens.list(5))[0]?.used).toBe(used?.used)
      yield* Effect.promise(() => database.execute('UPDATE tokens SET used = 5'))
      yield* tokens.verify(secret)
      expect((yield* tokens.list(undefined))[0]?.used).toBeGreaterThan(5)
      for (const wrong of [Redacted.value(secret).replace(/.$/, (c) => (c === 'A' ? 'E' : 'A')), token.id, '', `shf_${'a'.repeat(43)}`]) expect(yield* tokens.verify(Redacted.make(wrong))).toBeUndefined()
      expect(yield* tokens.list(6)).toEqual([])
      expect([yield* tokens.revoke(token.id, 6), yield* tokens.revoke(token.id, 5), yield* tokens.revoke(token.id, undefined)]).toEqual([false, true, false])
      expect(yield* tokens.verify(secret)).toBeUndefined()
      const ended = yield* tokens.create(wanted)
      yield* Effect.promise(() => database.execute('UPDATE tokens SET expires = 5'))
      expect(yield* tokens.verify(ended.secret)).toBeUndefined()
      expect(yield* tokens.list(5)).toEqual([])
    }))
  })

  it('are at most a hundred for one user', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const tokens = yield* Tokens.Tokens
      for (let i = 0; i < 100; i++) yield* tokens.create(wanted)
      expect((yield* Effect.flip(tokens.create(wanted))).code).toBe('LIMIT_EXCEEDED')
      yield* tokens.create({ ...wanted, uid: 6 })
    }))
  })
})

describeEngines('the audit log', (made) => {
  it('is told in pages, by system, user and action, and forgets', async () => {
    const database = await made()
    await using(database, Effect.gen(function* () {
      const audit = yield* Audit.Audit
      const entry: Audit.AuditEntry = { action: 'pull', uid: 5, by: 'munge', system: 's', reference: 'docker:a', imageId: 'i', digest: 'sha256:1', why: 'public' }
      for (let i = 0; i < 5; i++) yield* audit.write({ ...entry, uid: i, action: i % 2 === 0 ? 'pull' : 'remove', system: i === 4 ? 't' : 's' })
      yield* audit.write({ ...entry, action: 'collect', uid: undefined, by: 'service', system: undefined, reference: undefined, imageId: undefined, digest: undefined })
      const uids = (filter: Partial<Parameters<typeof audit.page>[0]>) => Effect.map(audit.page({ limit: 10, ...filter }), (rows) => rows.map(({ uid }) => uid))
      expect(yield* uids({})).toEqual([undefined, 4, 3, 2, 1, 0])
      expect(yield* uids({ action: 'pull' })).toEqual([4, 2, 0])
      expect(yield* uids({ system: 't' })).toEqual([4])
      expect(yield* uids({ uid: 3 })).toEqual([3])
      const first = yield* audit.page({ limit: 2 })
      expect(first[1]).toMatchObject({ ...entry, uid: 4, system: 't' })
      expect(yield* uids({ limit: 2, before: first[1]?.id })).toEqual([3, 2])
      expect(yield* audit.prune(60_000)).toBe(0)
      yield* Effect.promise(() => database.execute('UPDATE audit SET time = 5 WHERE uid < 3'))
      expect(yield* audit.prune(60_000)).toBe(3)
    }))
  })
})
