/** The rules of the reference's dialect, each without a server: the shared tables, and the cases that break them. */
import { readFileSync } from 'node:fs'
import { Either, Redacted } from 'effect'
import { describe, expect, it } from 'vitest'
import { mayUse } from '../../src/core/ImageRecord.js'
import type { PullProgress, QueuedPull } from '../../src/core/PullQueue.js'
import { defaultDialect, type Dialect } from '../../src/core/ServiceConfig.js'
import * as Ids from '../../src/gateway/dialect/ids.js'
import { limitOf } from '../../src/gateway/dialect/administration.js'
import { covers, located } from '../../src/gateway/dialect/pull.js'
import { isPullable, type Status } from '../../src/gateway/dialect/pullable.js'
import { messageOf, ofPull, statusOf, write } from '../../src/gateway/dialect/record.js'
import * as Target from '../../src/gateway/dialect/target.js'

const cases = <A>(name: string): readonly A[] => (JSON.parse(readFileSync(new URL(`../cases/${name}.json`, import.meta.url), 'utf8')) as { cases: A[] }).cases
const code = (result: Either.Either<unknown, { readonly code: string }>) => (Either.isLeft(result) ? result.left.code : 'accepted')

describe('a pull decision', () => {
  const NOW = 1_800_000_000_000
  const time = (value: unknown): number | undefined => (value === undefined ? undefined : value === 'T' ? NOW : value === 'T-7200' ? NOW - 7_200_000 : Number(value))
  for (const { pullable, record } of cases<{ record: { status?: Status; last_pull?: unknown; last_heartbeat?: unknown } | null; pullable: boolean }>('gateway_pullable')) {
    it(`${JSON.stringify(record)} is ${pullable ? '' : 'not '}pullable`, () => {
      const standing = record === null ? undefined : { status: record.status, lastPull: time(record.last_pull), heartbeat: time(record.last_heartbeat) }
      expect(isPullable(standing, NOW, 300_000)).toBe(pullable)
    })
  }
  it.each<[string, Parameters<typeof isPullable>[0], boolean]>([
    ['ready, 300 seconds ago', { status: 'READY', lastPull: NOW - 300_000 }, false],
    ['ready, a moment longer ago', { status: 'READY', lastPull: NOW - 300_001 }, true],
    ['failed just now', { status: 'FAILURE', lastPull: NOW - 1 }, false],
    ['failed long ago', { status: 'FAILURE', lastPull: NOW - 300_001 }, true],
    ['expired just now', { status: 'EXPIRED', lastPull: NOW }, true],
    ['waiting for a day', { status: 'PENDING', lastPull: NOW - 86_400_000 }, false],
    ['running, heard of an hour ago', { status: 'CONVERSION', lastPull: 1, heartbeat: NOW - 3_600_000 }, false],
  ])('%s', (_, standing, expected) => expect(isPullable(standing, NOW, 300_000)).toBe(expected))
})

describe('an access list', () => {
  interface Row { readonly record: { private?: boolean; userACL?: number[] | null; groupACL?: number[] | null }; readonly uid: number; readonly gid: number; readonly allow: boolean }
  for (const { allow, gid, record, uid } of cases<Row>('gateway_checkread')) {
    it(`${JSON.stringify(record)} for ${uid}:${gid}`, () => {
      const [allowUids, allowGids] = [record.userACL ?? [], record.groupACL ?? []]
      // The reference takes a record without lists for public; an owner it does not have.
      const isPublic = record.private === false || (allowUids.length === 0 && allowGids.length === 0)
      const image = { access: isPublic ? 'public' : 'private', owner: 4_000_000_000, allowUids, allowGids } as const
      expect(mayUse(image, { uid, gids: [gid] })).toBe(allow)
    })
  }
  const image = { access: 'private', owner: 10, allowUids: [11], allowGids: [12] } as const
  it('covers those whom it names, and everyone when it is public', () => {
    expect(covers(image, { allowUids: [10, 11], allowGids: [12] })).toBe(true)
    expect(covers(image, { allowUids: undefined, allowGids: undefined })).toBe(true)
    expect(covers(image, { allowUids: [13], allowGids: undefined })).toBe(false)
    expect(covers(image, { allowUids: undefined, allowGids: [13] })).toBe(false)
    expect(covers({ ...image, access: 'public' }, { allowUids: [13], allowGids: [13] })).toBe(true)
  })
})

describe('a list of ids', () => {
  for (const { error, ids, input } of cases<{ input: string; ids?: number[]; error?: string }>('acl_list')) {
    it(JSON.stringify(input), () => {
      const text = input.startsWith('(more') ? Array.from({ length: 1001 }, (_, n) => n).join(',') : input
      const parsed = Ids.parse('allowed_uids', text)
      // A mistyped id is passed over by the reference, and refused here.
      if (error !== undefined || input.includes('temp')) expect(code(parsed)).toBe('USAGE')
      else expect(Either.getOrThrow(parsed)).toEqual(ids)
    })
  }
  it.each(['-1', '1.5', '0x10', '1e3', '4294967295', '99999999999', '1,\0', '١', ',', ' , '])('%j is refused', (text) => expect(code(Ids.parse('allowed_uids', text))).toBe('USAGE'))
  it('names each once', () => expect(Either.getOrThrow(Ids.parse('allowed_uids', '7,8,7,4294967294'))).toEqual([7, 8, 4_294_967_294]))
})

describe('a path', () => {
  const of = (url: string) => Either.map(Target.parse(url), ({ system, tag, type, verb }) => [verb, system, type, tag])
  it.each<[string, (string | undefined)[]]>([
    ['/api/list/systema/', ['list', 'systema', undefined, undefined]],
    ['/api/list/systema', ['list', 'systema', undefined, undefined]],
    ['/api/lookup/systema/docker/alpine%3Alatest/', ['lookup', 'systema', 'docker', 'alpine:latest']],
    ['/api/lookup/systema/docker/alpine:latest', ['lookup', 'systema', 'docker', 'alpine:latest']],
    ['/api/lookup/s/docker/registry.example.org:5000/a/b:tag/', ['lookup', 's', 'docker', 'registry.example.org:5000/a/b:tag']],
    ['/api/lookup/s/docker/registry.example.org%3A5000%2Fa%2Fb%3Atag/', ['lookup', 's', 'docker', 'registry.example.org:5000/a/b:tag']],
    ['/api/lookup/s/docker/a%252Fb/', ['lookup', 's', 'docker', 'a%2Fb']],
    ['/api/metrics/s/?limit=3', ['metrics', 's', undefined, undefined]],
    ['/api/lookup/systema/bogus/', ['lookup', 'systema', 'bogus', undefined]],
    ['/api/', ['', undefined, undefined, undefined]],
  ])('%s', (url, parts) => expect(Either.getOrThrow(of(url))).toEqual(parts))
  it.each(['/api/lookup/s/docker/%zz/', '/api/lookup/s/docker/%/', '/api/lookup/s/docker/%c3%28/', '/api/lookup/%ff/docker/a/', '/api/%E0%A4%A/'])('%s is refused', (url) =>
    expect(code(of(url))).toBe('USAGE'),
  )
})

describe('a tag', () => {
  const site: Dialect = { registry: 'docker.io', locations: { lab: 'registry.example.org:5000', 'index.docker.io': 'docker.io' } }
  const own: Dialect = { registry: 'registry.example.org:5000', locations: {} }
  const DIGEST = `sha256:${'a'.repeat(64)}`
  const rows: [string, Dialect, string, string, string][] = [
    ['alpine', defaultDialect, 'docker', 'docker:docker.io/library/alpine:latest', 'alpine:latest'],
    ['alpine:3', defaultDialect, 'docker', 'docker:docker.io/library/alpine:3', 'alpine:3'],
    ['team/app', defaultDialect, 'docker', 'docker:docker.io/team/app:latest', 'team/app:latest'],
    [`alpine@${DIGEST}`, defaultDialect, 'docker', `docker:docker.io/library/alpine@${DIGEST}`, `alpine@${DIGEST}`],
    // The reference looks for any colon, so that a port keeps it from adding the tag.
    ['registry.example.org:5000/a/b', defaultDialect, 'docker', 'docker:registry.example.org:5000/a/b:latest', 'registry.example.org:5000/a/b:latest'],
    ['mine', defaultDialect, 'custom', 'custom:mine:latest', 'mine:latest'],
    ['lab/app:1', site, 'docker', 'docker:registry.example.org:5000/app:1', 'lab/app:1'],
    ['index.docker.io/alpine:3', site, 'docker', 'docker:docker.io/library/alpine:3', 'alpine:3'],
    ['laboratory/app:1', site, 'docker', 'docker:docker.io/laboratory/app:1', 'laboratory/app:1'],
    ['app', own, 'docker', 'docker:registry.example.org:5000/app:latest', 'app:latest'],
    ['team/app:2', own, 'docker', 'docker:registry.example.org:5000/team/app:2', 'team/app:2'],
    ['docker.io/library/alpine', own, 'docker', 'docker:docker.io/library/alpine:latest', 'docker.io/library/alpine:latest'],
  ]
  it.each(rows)('%s', (tag, dialect, type, canonical, shown) => {
    expect(Either.getOrThrow(Target.reference(type, tag, dialect)).canonical).toBe(canonical)
    expect(Target.short(canonical, dialect)).toEqual({ type, tag: shown })
    // What is shown is understood again.
    expect(Either.getOrThrow(Target.reference(type, shown, dialect)).canonical).toBe(canonical)
  })
  it.each([['bogus', 'a'], ['docker', 'a b'], ['docker', '../a'], ['docker', 'a\0'], ['docker', 'a//b'], ['docker', 'A'], ['docker', 'toString/x y'], ['docker', 'a'.repeat(2000)], ['custom', 'a/b']])('%s %j is refused', (type, tag) =>
    expect(code(Target.reference(type, tag, defaultDialect))).toBe('REFERENCE_INVALID'),
  )
  it('takes no name of every object for a location', () => {
    expect(Either.getOrThrow(Target.reference('docker', 'constructor/app', site)).canonical).toBe('docker:docker.io/constructor/app:latest')
  })
})

const order = { system: 's', reference: 'docker:docker.io/library/alpine:3', platform: undefined, requester: { uid: 500, gids: [500] }, allowUids: [7, 500], allowGids: undefined, verify: false, registry: 'docker.io', key: 'k', hasCredentials: false }
const waiting: QueuedPull = { id: 'f'.repeat(32), order, askers: [500], leavers: [], state: 'waiting', outcome: undefined, progress: undefined, attempts: 0, created: 1_700_000_000_000, changed: 1_700_000_000_000, notBefore: 0 }
const progress: PullProgress = { phase: 'resolve', imageId: undefined, received: 0, bytes: 0, layersDone: 0, layers: 0, packed: 0, isWaiting: false, warnings: [] }
const running = (more: Partial<PullProgress>): QueuedPull => ({ ...waiting, state: 'running', progress: { ...progress, ...more } })

describe('a pull', () => {
  it.each<[string, QueuedPull, boolean, Status]>([
    ['that was just asked for', waiting, true, 'INIT'],
    ['that waits', waiting, false, 'PENDING'],
    ['that waits to be tried again', { ...waiting, attempts: 1 }, true, 'PENDING'],
    ['that begins', { ...waiting, state: 'running' }, false, 'PENDING'],
    ['that asks the registry', running({ phase: 'resolve' }), false, 'PULLING'],
    ['that fetches', running({ phase: 'fetch' }), false, 'PULLING'],
    ['that converts', running({ phase: 'convert' }), false, 'CONVERSION'],
    ['that is sent', running({ phase: 'transfer' }), false, 'TRANSFER'],
    ['that is published', running({ phase: 'publish' }), false, 'TRANSFER'],
    ['that is done', { ...waiting, state: 'done' }, false, 'READY'],
    ['that failed', { ...waiting, state: 'failed' }, false, 'FAILURE'],
    ['that was cancelled', { ...waiting, state: 'cancelled' }, false, 'FAILURE'],
  ])('%s', (_, pull, isNew, status) => expect(statusOf(pull, isNew)).toBe(status))

  it('has thirteen keys, MISSING for what is not there, and a time that the reference reads', () => {
    const text = write(ofPull(waiting, defaultDialect, true))
    expect(JSON.parse(text)).toEqual({
      id: 'MISSING', system: 's', itype: 'docker', tag: ['alpine:3'], status: 'INIT', userACL: [7, 500], groupACL: [], ENV: 'MISSING', ENTRY: 'MISSING', WORKDIR: 'MISSING', LABELS: 'MISSING',
      last_pull: 1_700_000_000, status_message: 'Waiting for its turn',
    })
    expect(text).toContain('"last_pull":1700000000.000,')
  })
  it('says why it failed, without a password that somebody wrote into an address', () => {
    const failed: QueuedPull = { ...waiting, state: 'failed', outcome: { _tag: 'Failed', code: 'REGISTRY_ERROR', what: 'https://me:secret@host/v2/ said\n no', remedy: 'Wait' } }
    expect(messageOf(failed)).toBe('REGISTRY_ERROR: https://…@host/v2/ said\\x0a no. Wait')
  })
  it('has its credentials by the registry that a location names', () => {
    const password = { username: 'me', password: Redacted.make('p:w') }
    const identity = { requester: { uid: 1, gids: [] }, user: undefined, by: 'munge', label: 'munge', scopes: [], systems: [], credentials: new Map([['lab', password], ['registry-1.docker.io', password], ['default', password]]) } as const
    expect([...located(identity, { registry: 'docker.io', locations: { lab: 'registry.example.org:5000' } }).credentials.keys()]).toEqual(['registry.example.org:5000', 'docker.io', 'default'])
  })
})

describe('a number of rows', () => {
  it.each<[string | null, number | undefined]>([[null, 10], ['3', 3], ['0', 0], ['100000', 1000], ['-1', undefined], ['x', undefined], ['1e9', undefined], ['', undefined]])('%j', (text, limit) => expect(limitOf(text)).toBe(limit))
})
