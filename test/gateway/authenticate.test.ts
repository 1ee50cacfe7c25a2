/** Who asks: munge credentials of real daemons, the mock's strings, tokens' users and their groups. */
import { readFileSync } from 'node:fs'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Layer from 'effect/Layer'
import * as Redacted from 'effect/Redacted'
import { Site } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Token, Tokens } from '../../src/core/Tokens.js'
import * as Accounts from '../../src/gateway/Accounts.js'
import * as Authenticate from '../../src/gateway/Authenticate.js'
import { Authentication, type Identity } from '../../src/gateway/Identity.js'
import * as Munge from '../../src/gateway/Munge.js'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { type Munge as Daemon, startMunge } from '../harness/munge.js'
import { runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('authenticate')
let one: Daemon
let two: Daemon
let userA: Account

beforeAll(async () => {
  one = await startMunge(work.at('one'))
  two = await startMunge(work.at('two'))
  userA = (await ensureTestAccounts()).userA
})
afterAll(async () => {
  await one.stop()
  await two.stop()
})

const site = (authentication: 'munge' | 'mock' = 'munge') =>
  Either.getOrThrow(
    Site.decode({
      version: 1,
      stateDirectory: work.at('state'),
      systems: { one: { imagePath: work.at('images'), munge: one.socket }, two: { imagePath: work.at('images2'), munge: two.socket }, none: { imagePath: work.at('images3'), munge: work.at('no-socket') } },
      defaultSystem: 'one',
      server: { authentication },
    }),
  )

/** Tokens as they are known to the database, which is another test's. */
const kept = (tokens: Readonly<Record<string, Token>>) =>
  Layer.succeed(Tokens, Tokens.of({
    create: () => Effect.die('not used'),
    list: () => Effect.die('not used'),
    revoke: () => Effect.die('not used'),
    verify: (secret) => Effect.succeed(tokens[Redacted.value(secret)]),
  }))

const identified = (use: (authentication: typeof Authentication.Service, site: Site.Site) => Effect.Effect<Identity, { readonly code: string; readonly message: string }>, tokens = {}, mode?: 'mock') =>
  Effect.runPromise(
    Effect.flatMap(Authentication, (authentication) => Effect.either(use(authentication, site(mode)))).pipe(
      Effect.provide(Authenticate.layer(site(mode)).pipe(Layer.provide([kept(tokens), Accounts.layer]))),
    ),
  )
const byMunge = (credential: string, system = 'one', mode?: 'mock') =>
  identified((authentication, of) => authentication.munge(Redacted.make(credential), of.systems.get(system)!), {}, mode)

describe('munge', () => {
  it('tells the user, his groups and his logins', async () => {
    const found = Either.getOrThrow(await byMunge(await one.credential('{"authorized_locations":{"default":"ann:se:cr:et","docker.io":"bob:"}}', { as: userA })))
    const groups = (await runOk(['id', '-G', userA.name])).stdout.trim().split(' ').map(Number)
    expect(found).toMatchObject({ requester: { uid: userA.uid, gids: groups }, user: userA.name, by: 'munge', systems: ['one'], scopes: ['read', 'pull', 'manage'] })
    const logins = [...found.credentials].map(([location, { password, username }]) => [location, username, Redacted.value(password)])
    expect(logins).toEqual([['default', 'ann', 'se:cr:et'], ['docker.io', 'bob', '']])
  })

  it.each(['', 'no JSON', '[]', '{"authorized_locations":3}', '{"authorized_locations":{"default":"no colon"}}'])('takes no logins from %j', async (payload) => {
    expect(Either.getOrThrow(await byMunge(await one.credential(payload))).credentials.size).toBe(0)
  })

  it('is good once', async () => {
    const credential = await one.credential()
    expect(Either.isRight(await byMunge(credential))).toBe(true)
    expect(await byMunge(credential)).toMatchObject({ left: { code: 'UNAUTHENTICATED', message: expect.stringContaining('was used before') as string } })
  })

  it('is good for its time alone', async () => {
    const credential = await one.credential('', { ttl: 1 })
    // One that was shown in time is refused as used before; afterwards it has expired.
    await vi.waitFor(async () => expect(await byMunge(credential)).toMatchObject({ left: { code: 'UNAUTHENTICATED', message: expect.stringContaining('has expired') as string } }), { timeout: 10_000, interval: 300 })
  })

  it('of another system is refused', async () => {
    expect(await byMunge(await two.credential(), 'one')).toMatchObject({ left: { code: 'UNAUTHENTICATED', message: expect.stringContaining('not valid for this system') as string } })
    expect(Either.isRight(await byMunge(await two.credential(), 'two'))).toBe(true)
  })

  it.each(['', 'MUNGE:', 'MUNGE:abc', 'MUNGE:AwQ=:', 'MUNGE:x y:', '--help', `MUNGE:${'A'.repeat(300_000)}:`])('that is none is refused: %.20s', async (credential) => {
    expect(await byMunge(credential)).toMatchObject({ left: { code: 'UNAUTHENTICATED' } })
  })

  it('whose daemon is not there is the service\'s fault', async () => {
    expect(await byMunge(await one.credential(), 'none')).toMatchObject({ left: { code: 'RESOURCE' } })
  })

  it('is not taken where it is refused', () => {
    const { cases } = JSON.parse(readFileSync(new URL('../cases/munge.json', import.meta.url), 'utf8')) as { cases: readonly { unmunge_exit?: number; STATUS?: string }[] }
    const exits = cases.filter((each) => each.unmunge_exit !== undefined)
    expect(exits.length).toBeGreaterThan(3)
    for (const { STATUS, unmunge_exit: exit } of exits) {
      const result = Munge.understood(exit!, `STATUS:   ${STATUS ?? 'x (1)'}\nUID:  ann (1000)\nGID:  ann (1001)\n\nbody`, '')
      expect(Either.isRight(result)).toBe(exit === 0)
    }
    expect(Either.getLeft(Munge.understood(15, '', ''))).toMatchObject({ value: { message: expect.stringContaining('expired') as string } })
    // What the tool prints of a credential that it refuses is not believed.
    expect(Either.isLeft(Munge.understood(0, 'STATUS: Expired (15)\nUID: a (1)\nGID: a (1)\n\n', ''))).toBe(true)
    expect(Either.isLeft(Munge.understood(0, 'STATUS: Success (0)\nGID: a (1)\n\nUID: a (0)', ''))).toBe(true)
  })
})

describe('the mock', () => {
  const { cases } = JSON.parse(readFileSync(new URL('../cases/auth_mock.json', import.meta.url), 'utf8')) as {
    cases: readonly { input: string | null; error?: string; result?: { user: string; uid?: number; gid?: number } }[]
  }
  it.each(cases.filter(({ input }) => input !== null).map((each) => [each.input!, each] as const))('%j', async (input, { error, result }) => {
    const found = await byMunge(input, 'one', 'mock')
    if (error !== undefined || result?.uid === undefined) {
      // A name alone is somebody where this machine knows it.
      expect(found).toMatchObject({ left: { code: 'UNAUTHENTICATED' } })
    } else {
      expect(found).toMatchObject({ right: { requester: { uid: result.uid }, by: 'mock' } })
    }
  })

  it('knows accounts by name', async () => {
    expect(await byMunge(`good:${userA.name}:any`, 'one', 'mock')).toMatchObject({ right: { requester: { uid: userA.uid }, user: userA.name } })
  })

  it('has the group that was shown, before those that this machine knows', async () => {
    expect(await byMunge(`good:any:any::${userA.uid}:4711`, 'one', 'mock')).toMatchObject({ right: { requester: { uid: userA.uid, gids: [4711, userA.gid] } } })
    expect(await byMunge(`good:any:any::${userA.uid}:${userA.gid}`, 'one', 'mock')).toMatchObject({ right: { requester: { gids: [userA.gid] } } })
    expect(await byMunge('good:any:any::999999990:4711', 'one', 'mock')).toMatchObject({ right: { requester: { gids: [4711] } } })
  })

  it('is not heard where munge is asked', async () => {
    expect(await byMunge('good:root:root::0:0')).toMatchObject({ left: { code: 'UNAUTHENTICATED' } })
  })
})

describe('a token', () => {
  const token = (systems: readonly string[]): Token => ({ id: 'tok1', label: 'portal', uid: userA.uid, scopes: ['read'], systems, created: 0, expires: 1, used: undefined })
  it('has its user\'s groups, and its own scopes and systems', async () => {
    const tokens = { good: token(['two']), all: token([]) }
    expect(await identified((authentication) => authentication.token(Redacted.make('good')), tokens)).toMatchObject({
      right: { requester: { uid: userA.uid, gids: [userA.gid] }, user: userA.name, by: 'token', label: 'token tok1', scopes: ['read'], systems: ['two'] },
    })
    expect(await identified((authentication) => authentication.token(Redacted.make('all')), tokens)).toMatchObject({ right: { systems: ['one', 'two', 'none'] } })
    expect(await identified((authentication) => authentication.token(Redacted.make('other')), tokens)).toMatchObject({ left: { code: 'UNAUTHENTICATED' } })
  })
})
