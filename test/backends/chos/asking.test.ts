/** Who asks for trees and how: users of a service, accounts that can't read all of a tree, importers of archives, and users who name no image. */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import { importImage, inspectImage, pullImage, Site } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { Pulls } from '../../../src/gateway/Pulls.js'
import { defaultReference } from '../../../src/backends/chos/index.js'
import { runAs } from '../../harness/accounts.js'
import { chosSite, contents, oldLibrary, writeBusybox, writeTree } from '../../harness/chosSite.js'
import { failure } from '../../harness/gateway.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../../harness/native.js'
import { own, service, userA } from '../../harness/people.js'
import { runOk } from '../../harness/process.js'
import { outcomeOf, pulled, somebody, withPulls } from '../../harness/pulls.js'
import { tarBytes, type TarItem } from '../../harness/tarWriter.js'
import { useWorkspace } from '../../harness/workspace.js'
import { busyboxRoot } from '../../native/fixture.js'
import { built, repository } from '../../package/dist.js'

const work = useWorkspace('chos-asking')
let sites = 0
let tree: string
const site = (settings: object = {}) => chosSite(work.at(`site${sites++}`), `%SHELLS\na:${tree}\ndefault:${tree}\nlocal:/\n`, settings)

beforeAll(async () => {
  await built()
  tree = work.at('os/tree')
  writeBusybox(tree)
  writeTree(tree, { 'etc/os-release': 'PRETTY_NAME="tree"\n' })
})

describe('a user of a service', () => {
  it('has a tree converted where the site says so, and by others’ names nothing else', async () => {
    const { config } = site({ users: 'all' })
    await withPulls(config, {}, Effect.gen(function* () {
      const done = yield* pulled(somebody(1001), 'chos:a')
      expect(outcomeOf(done)).toBe('done')
      expect(outcomeOf(yield* pulled(somebody(1002, { password: 'secret' }), 'chos:a'))).toBe('done')
      expect(outcomeOf(yield* pulled(somebody(1002), 'chos:b'))).toBe('TREE_NOT_FOUND')
      expect(outcomeOf(yield* pulled(somebody(1002), `chos:${tree}/etc`))).toBe('TREE_NOT_FOUND')
      expect(outcomeOf(yield* pulled(somebody(1002), 'chos:local'))).toBe('TREE_UNSAFE')
    }))
    expect((await inspectImage('chos:a', { config })).record).toMatchObject({ access: 'public', owner: 1001 })
  })

  it('is told of every kind of name that is not as it was, and of a tree that is listed no more', async () => {
    const odd = work.at('os/odd')
    writeBusybox(odd)
    writeTree(odd, {
      'etc/shadow': 'x', 'etc/zz': 'x', 'etc/motd': ['/local/etc/motd'], 'var/run': ['/local/var/run'], 'usr/a': ['/chos/bin'], 'usr/b': ['/chos/usr/b'], 'usr/c': ['/none'], 'usr/.wh.d': 'x',
      'data/': null, 'lib64/libc-2.5.so': oldLibrary(),
    })
    chmodSync(join(odd, 'etc/zz'), 0o600)
    await runOk(['mkfifo', join(odd, 'usr/fifo')])
    await runOk(['mount', '-t', 'tmpfs', 'chos-test', join(odd, 'data')])
    try {
      const { config, shells } = site({ users: 'all' })
      writeFileSync(shells, `%SHELLS\nodd:${odd}\n`, { mode: 0o644 })
      await withPulls(config, {}, Effect.gen(function* () {
        const done = yield* pulled(somebody(1001), 'chos:odd')
        expect(outcomeOf(done)).toBe('done')
        const said = done.progress?.warnings.map((each) => each.split(' (')[0]) ?? []
        expect(said).toEqual([
          'Left out of the tree, as not everyone may read them', 'Left out of the tree, as keys or password files', 'Left out of the tree, as they lie on other file systems', 'Left out of the tree, as links of etc into /local',
          'Empty directories now, that were links into /local', 'Links through CHOS, that lead there directly now', 'Left out of the tree, as links that lead to themselves without CHOS', 'Links to nothing',
          'Left out of the tree, as names that stand for removed files in layers', 'Left out of the tree, as devices, FIFOs or sockets', "The tree's C library",
        ])
        writeFileSync(shells, '%SHELLS\n', { mode: 0o644 })
        const delisted = yield* pulled(somebody(1001), 'chos:odd')
        expect(outcomeOf(delisted)).toBe('done')
        expect(delisted.progress?.warnings).toEqual([`There is no tree "odd" in %SHELLS of ${shells}: the image stays what it is.`])
      }))
    } finally {
      await runOk(['umount', join(odd, 'data')])
    }
  })

  it('is told where the site does not say so', async () => {
    const { config } = site()
    await withPulls(config, {}, Effect.gen(function* () {
      const pulls = yield* Pulls
      const error = yield* Effect.flip(pulls.submit(somebody(1001), { system: 'test', reference: 'chos:a' }))
      expect(error.code).toBe('SOURCE_UNSUPPORTED')
    }))
  })

  it('does not learn of another’s archive by asking for its name', async () => {
    const { config } = site({ users: 'all' })
    writeFileSync(work.at('private.tar'), tarBytes(busyboxRoot()))
    await importImage('chos:private', work.at('private.tar'), { config: { ...config, import: { users: 'all', roots: [work.path] } }, allowUids: [1001] })
    await withPulls(config, {}, Effect.gen(function* () {
      expect(outcomeOf(yield* pulled(somebody(1001), 'chos:private'))).toBe('done')
      expect(outcomeOf(yield* pulled(somebody(1002), 'chos:private'))).toBe('TREE_NOT_FOUND')
    }))
  })
})

describe('an account without rights', () => {
  const asService = async (settings: object) => {
    const { config } = site(settings)
    const directory = work.at(`service${sites}`)
    for (const path of [directory, join(directory, 'images')]) { mkdirSync(path); own(path, service, 0o755) }
    const file = join(directory, 'gateway.json')
    writeFileSync(file, JSON.stringify({ ...config, stateDirectory: join(directory, 'state'), systems: { test: { imagePath: join(directory, 'images') } } }))
    return runAs(service, [process.execPath, join(repository, 'dist/bin/shifterimg.js'), '--config', file, 'pull', 'chos:a'])
  }

  it('makes the image that root makes, and refuses a tree of which it can’t read what everyone may', async () => {
    utimesSync(join(tree, 'etc'), 1_000_000_000, 1_000_000_000)
    const id = (await pullImage('chos:a', { config: site().config })).id
    const made = await asService({})
    expect(made, made.stderr).toMatchObject({ status: 0 })
    expect(made.stdout).toContain(id)
    // Its group may not read what all others may.
    writeFileSync(join(tree, 'etc/unreadable'), 'x')
    chownSync(join(tree, 'etc/unreadable'), 0, service.gid)
    chmodSync(join(tree, 'etc/unreadable'), 0o604)
    // The directory's time is the tree's too.
    utimesSync(join(tree, 'etc'), 1_000_000_000, 1_000_000_000)
    try {
      const refused = await asService({})
      expect(refused.status).toBe(6)
      expect(refused.stderr).toMatch(/The tree of chos:a: 1 of its names can't be read by this account, though everyone may: etc\/unreadable/)
      const skipped = await asService({ unreadable: 'skip' })
      expect(skipped, skipped.stderr).toMatchObject({ status: 0 })
      expect(skipped.stderr).toContain('Left out of the tree, as the account that converts can\'t read them (1): etc/unreadable')
      expect(skipped.stdout).toContain(id)
    } finally {
      rmSync(join(tree, 'etc/unreadable'))
    }
  })
})

describe('an archive of a tree', () => {
  const entries: readonly TarItem[] = [
    ...busyboxRoot(),
    { name: 'etc/passwd', type: 'symlink', linkname: '/local/etc/passwd' },
    { name: 'etc/shadow', type: 'file', data: 'secret', mode: 0o644 },
    { name: 'etc/private', type: 'file', data: 'mine', mode: 0o600 },
    { name: 'var/tmp', type: 'symlink', linkname: '/local/var/tmp' },
    { name: 'proc/1/x', type: 'file', data: 'x' },
    { name: 'lib', type: 'symlink', linkname: '/proc/chos/link/bin' },
  ]
  const given = (name: string, bytes: Buffer): string => { writeFileSync(work.at(name), bytes); return work.at(name) }

  it.each([
    ['tar', (bytes: Buffer) => bytes],
    ['tar.gz', (bytes: Buffer) => gzipSync(bytes)],
    ['tar.zst', (bytes: Buffer) => spawnSync('zstd', ['-q', '-c'], { input: bytes, maxBuffer: 1 << 26 }).stdout],
  ])('of %s is treated as a tree, runs, and is the same image again', async (form, pack) => {
    const made = site()
    const config = { ...made.config, systems: { test: { imagePath: SHARED_IMAGE_PATH } } }
    const file = given(`tree.${form}`, pack(tarBytes(entries)))
    const warnings: string[] = []
    const image = await importImage('chos:mine', file, { config, onProgress: (event) => { if (event._tag === 'Warning') warnings.push(event.message) } })
    expect(image).toMatchObject({ reference: 'chos:mine', env: expect.arrayContaining(['CHOS=mine']) as string[], workdir: '/' })
    const found = await contents(image, SHARED_IMAGE_PATH)
    for (const name of ['etc/passwd', 'etc/shadow', 'proc/1/x', 'proc/1']) expect(found.has(name), name).toBe(false)
    // Who gives it may read it.
    expect(found.get('etc/private')).toBe('-rw-------')
    expect(found.get('var/tmp')).toBe('drwxrwxrwt')
    expect(found.get('lib')).toBe('lrwxrwxrwx -> /bin')
    expect(warnings).toContainEqual('Left out of the tree, as keys or password files (1): etc/shadow')
    expect(await runAs(userA, [join(DEFAULT_PREFIX, 'bin/shifter'), '--image=chos:mine', 'sh', '-c', 'cat /etc/os-release; echo "$CHOS"'])).toMatchObject({ status: 0, stdout: 'PRETTY_NAME="Test image"\nmine\n' })
    expect((await importImage('chos:mine', file, { config })).id).toBe(image.id)
    // There is nowhere to pull it from: it stays what it is.
    expect((await pullImage('chos:mine', { config })).id).toBe(image.id)
  })

  it('takes no name of the site, and what its importer says goes before what the site says', async () => {
    const { config } = site()
    const file = given('named.tar', tarBytes(busyboxRoot()))
    const error = await failure(importImage('chos:a', file, { config }))
    expect({ code: error.code, message: error.message }).toMatchObject({ code: 'REFERENCE_INVALID', message: expect.stringContaining('chos:a is the name of a tree of this site') as string })
    const image = await importImage('chos:own', file, { config, metadata: { env: ['PATH=/bin'], command: ['/bin/sh'], labels: [['chos.name', 'other']] } })
    expect(image).toMatchObject({ env: ['CHOS=own', 'PATH=/bin'], command: ['/bin/sh'] })
    expect(Object.fromEntries(image.labels)).toMatchObject({ source: 'chos', 'chos.name': 'other' })
  })

  it.each<readonly [what: string, bytes: () => Buffer, code: string, said: RegExp]>([
    ['no archive', () => Buffer.from('#!/bin/sh\n'.repeat(300)), 'FILE_INVALID', /The archive of chos:x: /],
    ['nothing', () => Buffer.alloc(0), 'TREE_INVALID', /no \/bin\/sh/],
    ['cut', () => gzipSync(tarBytes(busyboxRoot())).subarray(0, 5000), 'FILE_INVALID', /The archive of chos:x: /],
    ['a way out', () => tarBytes([{ name: '../x', type: 'file', data: '' }]), 'FILE_INVALID', /has a '\.\.'/],
    ['a hard link to nothing', () => tarBytes([{ name: 'x', type: 'hardlink', linkname: 'y' }]), 'FILE_INVALID', /"x"? ?.*is a hard link to nothing before it/],
    ['no system', () => tarBytes([{ name: 'etc/x', type: 'file', data: 'x' }]), 'TREE_INVALID', /no \/bin\/sh/],
    ['a way through a link', () => tarBytes([...busyboxRoot(), { name: 'out', type: 'symlink', linkname: 'etc' }, { name: 'out/shadow', type: 'file', data: 'x' }]), 'LAYER_INVALID', /out/],
  ])('that is %s is refused', async (_, bytes, code, said) => {
    const error = await failure(importImage('chos:x', given('refused.tar', bytes()), { config: site().config }))
    expect({ code: error.code, message: error.message }).toMatchObject({ code, message: expect.stringMatching(said) as string })
  })
})

describe('the image of who names none', () => {
  const settingsOf = (settings: object) => Either.getOrThrow(Site.decode(site(settings).config)).chos
  const ask = (settings: object, person: Parameters<typeof defaultReference>[1]) => Effect.runPromise(Effect.either(defaultReference(settingsOf(settings), person))).then(Either.match({ onLeft: ({ code }) => code as string, onRight: (reference) => reference ?? 'none' }))

  it('is what CHOS would have chosen, where the site says so', async () => {
    const home = work.at('home')
    mkdirSync(home)
    expect(await ask({ defaults: true }, { home })).toBe('none')
    writeFileSync(join(home, '.chos'), 'a\nb\n')
    writeFileSync(join(home, 'mine'), 'default')
    expect(await ask({}, { chos: 'a', home })).toBe('none')
    expect(await ask({ defaults: true }, { home })).toBe('chos:a')
    expect(await ask({ defaults: true }, { chos: 'default', home })).toBe('chos:default')
    expect(await ask({ defaults: true }, { chos: '', home })).toBe('chos:a')
    expect(await ask({ defaults: true, userFile: 'mine' }, { home })).toBe('chos:default')
    expect(await ask({ defaults: true }, { chos: tree })).toBe(`chos:${tree}`)
    expect(await ask({ defaults: true }, { chos: 'none-such', home })).toBe('TREE_NOT_FOUND')
    expect(await ask({ defaults: true, failToDefault: true }, { chos: 'none-such', home })).toBe('chos:default')
    writeFileSync(join(home, '.chos'), 'x'.repeat(5000))
    expect(await ask({ defaults: true }, { home })).toBe('TREE_NOT_FOUND')
    // The machine itself is no image.
    expect(await ask({ defaults: true }, { chos: 'local' })).toBe('none')
    expect(await ask({ defaults: true, failToDefault: true }, { chos: '/' })).toBe('none')
    rmSync(join(home, '.chos'))
    mkdirSync(join(home, '.chos'))
    expect(await ask({ defaults: true }, { home })).toBe('CONFIG_INVALID')
  })
})
