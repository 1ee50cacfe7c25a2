/** Who may do what: every role with every action. */
import * as Either from 'effect/Either'
import { Site } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import type { Identity } from '../../src/gateway/Identity.js'
import { type Caller, type Decision, type ImageAction, mayDo, mayDoWith, mayTry, mayUseTokens, type SystemAction } from '../../src/gateway/Policy.js'

const site = Either.getOrThrow(
  Site.decode({ version: 1, stateDirectory: '/s', systems: { here: { imagePath: '/i', admins: ['boss', 77] }, there: { imagePath: '/j' } }, defaultSystem: 'here' }),
)
const here = site.systems.get('here')!
const somebody = (changes: Partial<Identity> & { readonly uid: number; readonly gids?: readonly number[] }): Identity => {
  const { gids = [], uid, ...rest } = changes
  return { requester: { uid, gids }, user: undefined, by: 'munge', label: 'munge', scopes: ['read', 'pull', 'manage'], systems: ['here'], credentials: new Map(), ...rest }
}
const callers: Readonly<Record<string, Caller>> = {
  nobody: undefined,
  stranger: somebody({ uid: 9 }),
  owner: somebody({ uid: 1 }),
  listed: somebody({ uid: 2 }),
  member: somebody({ uid: 3, gids: [50] }),
  root: somebody({ uid: 0 }),
  adminByName: somebody({ uid: 8, user: 'boss' }),
  adminByNumber: somebody({ uid: 77 }),
  elsewhere: somebody({ uid: 0, systems: ['there'] }),
  reader: somebody({ uid: 1, by: 'token', scopes: ['read'] }),
  puller: somebody({ uid: 1, by: 'token', scopes: ['pull'] }),
  manager: somebody({ uid: 1, by: 'token', scopes: ['manage'] }),
  adminReader: somebody({ uid: 0, by: 'token', scopes: ['read'] }),
}
const publicImage = { access: 'public', owner: 1, allowUids: [], allowGids: [] } as const
const privateImage = { access: 'private', owner: 1, allowUids: [2], allowGids: [50] } as const
const said = (decision: Decision): string => (decision._tag === 'Allowed' ? decision.why : decision._tag)

describe('of images', () => {
  const table: readonly (readonly [caller: string, readPublic: string, readPrivate: string, changePublic: string, changePrivate: string])[] = [
    ['nobody', 'public', 'Hidden', 'Unauthenticated', 'Unauthenticated'],
    ['stranger', 'public', 'Hidden', 'Denied', 'Hidden'],
    ['owner', 'public', 'owner', 'owner', 'owner'],
    ['listed', 'public', 'user list', 'Denied', 'Denied'],
    ['member', 'public', 'group list 50', 'Denied', 'Denied'],
    ['root', 'administrator', 'administrator', 'administrator', 'administrator'],
    ['adminByName', 'administrator', 'administrator', 'administrator', 'administrator'],
    ['adminByNumber', 'administrator', 'administrator', 'administrator', 'administrator'],
    ['elsewhere', 'Denied', 'Denied', 'Denied', 'Denied'],
    ['reader', 'public', 'owner', 'Denied', 'Denied'],
    ['puller', 'public', 'owner', 'Denied', 'Denied'],
    ['manager', 'public', 'owner', 'owner', 'owner'],
    ['adminReader', 'administrator', 'administrator', 'Denied', 'Denied'],
  ]
  it('knows every caller', () => expect(table.map(([caller]) => caller)).toEqual(Object.keys(callers)))
  it.each(table)('%s', (name, readPublic, readPrivate, changePublic, changePrivate) => {
    const caller = callers[name]
    expect(said(mayDoWith(caller, 'read', here, publicImage))).toBe(readPublic)
    expect(said(mayDoWith(caller, 'read', here, privateImage))).toBe(readPrivate)
    for (const action of ['remove', 'expire', 'access', 'pin'] satisfies ImageAction[]) {
      expect(said(mayDoWith(caller, action, here, publicImage))).toBe(changePublic)
      expect(said(mayDoWith(caller, action, here, privateImage))).toBe(changePrivate)
    }
  })

  it('is refused before the image is looked for where it would be in any case', () => {
    for (const caller of Object.values(callers)) {
      for (const action of ['read', 'remove', 'expire', 'access', 'pin'] satisfies ImageAction[]) {
        const early = mayTry(caller, action, here)
        const late = [publicImage, privateImage].map((image) => said(mayDoWith(caller, action, here, image)))
        if (early !== undefined) expect(late).toEqual([said(early), said(early)])
        else expect(late).not.toContain('Unauthenticated')
      }
    }
  })
})

describe('of systems', () => {
  const table: readonly (readonly [caller: string, allowed: readonly SystemAction[]])[] = [
    ['nobody', ['read']],
    ['stranger', ['read', 'pull', 'import', 'cancel', 'queue']],
    ['owner', ['read', 'pull', 'import', 'cancel', 'queue']],
    ['root', ['read', 'pull', 'import', 'cancel', 'queue', 'queueOfAll', 'audit', 'collect', 'scrub']],
    ['adminByName', ['read', 'pull', 'import', 'cancel', 'queue', 'queueOfAll', 'audit', 'collect', 'scrub']],
    ['elsewhere', []],
    ['reader', ['read', 'queue']],
    ['puller', ['read', 'pull', 'import', 'cancel', 'queue']],
    ['adminReader', ['read', 'queue']],
  ]
  it.each(table)('%s may %j', (name, allowed) => {
    const all: readonly SystemAction[] = ['read', 'pull', 'import', 'cancel', 'queue', 'queueOfAll', 'audit', 'collect', 'scrub']
    expect(all.filter((action) => mayDo(callers[name], action, here)._tag === 'Allowed')).toEqual(allowed)
  })
})

it('tokens make no tokens', () => {
  expect(['nobody', 'owner', 'root', 'manager', 'adminReader'].map((name) => [said(mayUseTokens(callers[name], 'ofOwn', here)), said(mayUseTokens(callers[name], 'ofAll', here))])).toEqual([
    ['Unauthenticated', 'Unauthenticated'],
    ['user', 'Denied'],
    ['administrator', 'administrator'].map((_, i) => (i === 0 ? 'user' : 'administrator')),
    ['Denied', 'Denied'],
    ['Denied', 'Denied'],
  ])
})
