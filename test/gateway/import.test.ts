/** Who may import what: users, names, and files that are named by a path on the gateway's machine. */
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, chownSync, linkSync, mkdirSync, readdirSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { importImage, inspectImage, pullImage } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { failure } from '../harness/gateway.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { run, runOk } from '../harness/process.js'
import { testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('import')
let sites = 0
let userA: Account
let userB: Account
const tar = (content = 'x') => tarBytes([{ name: 'f', type: 'file', data: content }])

/** A site that imports from `imports`, and the state of nothing. */
const siteWith = (settings: object = {}) => {
  const s = testSite(work.at(`site${sites++}`))
  return { ...s, config: { ...s.config, import: { roots: [work.at('imports')], users: 'all' as const, ...settings } } }
}
const put = (path: string, owner: { readonly uid: number } | undefined, bytes = tar()): string => {
  writeFileSync(work.at(path), bytes)
  if (owner !== undefined) chownSync(work.at(path), owner.uid, owner.uid)
  return work.at(path)
}
const as = (account: Account) => ({ requester: { uid: account.uid, gids: [account.gid] } })

beforeAll(async () => {
  ({ userA, userB } = await ensureTestAccounts())
  mkdirSync(work.at('imports/a/b'), { recursive: true })
  mkdirSync(work.at('imports2'))
  mkdirSync(work.at('outside'))
})

describe('a path', () => {
  it('to a file of the requester’s own below a root is imported, and the image is his', async () => {
    const { config } = siteWith()
    const path = put('imports/a/b/own.tar', userA)
    for (const name of [path, `${work.path}//imports/./a/b/own.tar`]) {
      const record = await importImage('custom:own', name, { config, ...as(userA) })
      expect(record).toMatchObject({ owner: userA.uid, access: 'public' })
    }
    // A hard link keeps the owner that it has.
    linkSync(path, work.at('imports/linked.tar'))
    expect((await importImage('custom:own', work.at('imports/linked.tar'), { config, ...as(userA) })).owner).toBe(userA.uid)
    expect(readdirSync(join(config.stateDirectory, 'work'))).toEqual([])
  })

  it('attack 45: says the same of what is not there, not his, no file, or elsewhere', async () => {
    const { config } = siteWith()
    put('outside/own.tar', userA)
    put('imports2/own.tar', userA)
    put('imports/others.tar', userB)
    put('imports/roots.tar', undefined)
    linkSync(work.at('imports/others.tar'), work.at('imports/others-linked.tar'))
    symlinkSync(work.at('outside/own.tar'), work.at('imports/link.tar'))
    symlinkSync('a', work.at('imports/directory-link'))
    put('imports/a/inner.tar', userA)
    symlinkSync('/proc/self', work.at('imports/magic'))
    mkdirSync(work.at('imports/mine'))
    chownSync(work.at('imports/mine'), userA.uid, userA.gid)
    await runOk(['sh', '-c', 'mkfifo "$1/fifo"; mknod "$1/null" c 1 3; chown "$2" "$1/fifo" "$1/null"', 'sh', work.at('imports'), String(userA.uid)])
    const sockets = await runOk(['python3', '-c', 'import socket,sys,os; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chown(sys.argv[1], int(sys.argv[2]), 0)', work.at('imports/socket'), String(userA.uid)])
    expect(sockets.status).toBe(0)
    const paths = [
      work.at('imports/missing'), work.at('imports/others.tar'), work.at('imports/others-linked.tar'), work.at('imports/roots.tar'), work.at('imports/link.tar'),
      work.at('imports/directory-link/inner.tar'), work.at('imports/magic/root/etc/passwd'), work.at('imports/magic/fd/0'), work.at('imports/mine'), work.at('imports/fifo'),
      work.at('imports/null'), work.at('imports/socket'), work.at('outside/own.tar'), work.at('imports2/own.tar'), work.at('imports'), `${work.at('imports')}/../outside/own.tar`,
      `${work.at('imports')}/a/../a/inner.tar`, '/etc/shadow', 'imports/a/inner.tar', `${work.at('imports')}/a/inner.tar\0`, '/', `${work.at('imports')}/--owner`,
    ]
    for (const path of paths) {
      const error = await failure(importImage('custom:stolen', path, { config, ...as(userA) }))
      expect({ path, code: error.code }).toEqual({ path, code: 'FILE_UNAVAILABLE' })
      expect(error.what).toBe(`There is no regular file of uid ${userA.uid} at ${path.replace('\0', '\\x00')} that this site imports`)
    }
  })

  it('is not taken where the site names no root, and a root that is a link is the site’s mistake', async () => {
    const path = put('imports/own.tar', userA)
    expect((await failure(importImage('custom:x', path, { config: siteWith({ roots: [] }).config, ...as(userA) }))).code).toBe('FILE_UNAVAILABLE')
    symlinkSync(work.at('imports'), work.at('linked-root'))
    const error = await failure(importImage('custom:x', work.at('linked-root/own.tar'), { config: siteWith({ roots: [work.at('linked-root')] }).config, ...as(userA) }))
    expect(error.code).toBe('CONFIG_INVALID')
  })

  it('below a file system that is mounted below a root is imported', async () => {
    mkdirSync(work.at('imports/mounted'))
    await runOk(['mount', '-t', 'tmpfs', 'tmpfs', work.at('imports/mounted')])
    try {
      const path = put('imports/mounted/own.tar', userA)
      expect((await importImage('custom:mounted', path, { config: siteWith().config, ...as(userA) })).owner).toBe(userA.uid)
    } finally {
      await runOk(['umount', work.at('imports/mounted')])
    }
  })

  it('to a file above the limit is refused', async () => {
    const { config } = siteWith()
    const path = put('imports/large.tar', userA)
    truncateSync(path, 100_001)
    expect((await failure(importImage('custom:x', path, { config: { ...config, limits: { blobBytes: 100_000 } }, ...as(userA) }))).code).toBe('LIMIT_EXCEEDED')
  })

  it('of this process’s own user is any file that he can read, by any link; a FIFO is not waited for', async () => {
    const { config } = siteWith({ roots: [], users: 'none' })
    put('outside/root.tar', undefined)
    symlinkSync(work.at('outside/root.tar'), work.at('outside/link'))
    expect((await importImage('custom:x', work.at('outside/link'), { config })).owner).toBe(0)
    await runOk(['mkfifo', work.at('outside/fifo')])
    for (const name of ['outside/fifo', 'outside', 'outside/missing']) expect((await failure(importImage('custom:x', work.at(name), { config }))).code, name).toBe('FILE_UNAVAILABLE')
  })
})

describe('a file that is changed while it is read', () => {
  const program = join(DEFAULT_PREFIX, 'bin/shifter-open')
  let child: ChildProcess | undefined
  afterAll(() => child?.kill('SIGKILL'))

  /** Stops the copy in the middle, where its output takes no more, does something to the file, and lets it go on. */
  const during = async (change: (path: string) => void): Promise<{ readonly status: number | null; readonly stderr: string; readonly copied: Buffer }> => {
    const path = work.at('imports/changing')
    writeFileSync(path, Buffer.alloc(8 * 1024 * 1024, 'a'))
    chownSync(path, userA.uid, userA.gid)
    const started = spawn(program, ['--most', '100000000', '--root', work.at('imports'), '--owner', String(userA.uid), '--', 'changing'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    const pieces: Buffer[] = []
    let stderr = ''
    started.stderr.on('data', (piece: Buffer) => { stderr += piece.toString() })
    await new Promise<void>((resolve) => started.stdout.once('data', (piece: Buffer) => { pieces.push(piece); started.stdout.pause(); resolve() }))
    change(path)
    started.stdout.on('data', (piece: Buffer) => pieces.push(piece)).resume()
    const status = await new Promise<number | null>((resolve) => started.once('close', resolve))
    return { status, stderr, copied: Buffer.concat(pieces) }
  }

  it.each([
    ['grows', (path: string) => appendFileSync(path, 'b')],
    ['shrinks', (path: string) => truncateSync(path, 100)],
    ['is written to', (path: string) => writeFileSync(path, 'b', { flag: 'r+' })],
    ['is given away', (path: string) => chownSync(path, userB.uid, userB.gid)],
  ])('is refused when it %s', async (_, change) => {
    const { status, stderr } = await during(change)
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/^FILE_CHANGED it (was changed|became shorter) while it was read\n$/)
  })

  it('is refused when another takes its name, of which nothing is read', async () => {
    put('imports/other', userB, Buffer.alloc(8 * 1024 * 1024, 'z'))
    const { copied, status, stderr } = await during((path) => renameSync(work.at('imports/other'), path))
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/^FILE_CHANGED/)
    expect(copied.length).toBe(8 * 1024 * 1024)
    expect(copied.includes('z')).toBe(false)
  })

  it.each([[['--most', '5']], [['--most', '5', '--root', '/x']], [['--root', '/x', '--owner', '1', '--', 'x']], [['--most', '1', '--root', 'x', '--owner', '1', '--', 'x']], [['--most', '1', '--owner', '1']], [['--most', '1', '--root', '/x', '--owner', '4294967295', '--', 'x']], [['--most', '1', 'x', 'y', 'z']]])(
    'is not read with wrong options: %j', async (args) => {
      const { status, stderr } = await run([program, ...args])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(args.length === 2 ? /^FILE_UNAVAILABLE/ : /^USAGE/)
    })
})

describe('who may import', () => {
  it('is named by the site: everyone, nobody, or accounts by name and number', async () => {
    const path = put('imports/who.tar', userA)
    const rows: ReadonlyArray<readonly [users: unknown, may: boolean]> = [
      ['all', true], ['none', false], [undefined, false], [[], false], [[userA.uid], true], [[userB.uid], false], [[userA.name], true], [[userB.name, 'nobody-of-this-name'], false],
      [[userB.uid, 'nobody-of-this-name', userA.name], true],
    ]
    for (const [users, may] of rows) {
      const { config } = siteWith()
      const settings = { ...config, import: { roots: config.import.roots, ...(users === undefined ? {} : { users }) } } as typeof config
      const result = importImage('custom:who', path, { config: settings, ...as(userA) })
      if (may) expect((await result).owner).toBe(userA.uid)
      else expect((await failure(result)).code, JSON.stringify(users)).toBe('ACCESS_DENIED')
    }
    // A call that names nobody is the gateway's own account's.
    expect((await importImage('custom:who', path, { config: siteWith({ users: 'none' }).config })).owner).toBe(0)
  })

  it('takes no name that is another’s, and keeps his own', async () => {
    const { config } = siteWith()
    put('imports/first.tar', userA, tar('first'))
    put('imports/second.tar', userA, tar('second'))
    put('imports/b.tar', userB, tar('first'))
    const first = await importImage('custom:tool', work.at('imports/first.tar'), { config, ...as(userA), allowUids: [] })
    const refused = await failure(importImage('custom:tool', work.at('imports/b.tar'), { config, ...as(userB) }))
    expect(refused.code).toBe('ACCESS_DENIED')
    expect(refused.message).not.toContain(first.id)
    expect(refused.message).not.toContain(String(userA.uid))
    // The file is not even looked at.
    expect((await failure(importImage('custom:tool', '/etc/shadow', { config, ...as(userB) }))).code).toBe('ACCESS_DENIED')
    const second = await importImage('custom:tool', work.at('imports/second.tar'), { config, ...as(userA) })
    expect(second.id).not.toBe(first.id)
    // The same bytes are an image of their own for each: neither's says anything about the other's.
    const own = await importImage('custom:own-tool', work.at('imports/b.tar'), { config, ...as(userB) })
    expect(own).toMatchObject({ owner: userB.uid, sourceDigest: first.sourceDigest })
    expect(own.id).not.toBe(first.id)
    expect((await inspectImage(`id:${first.id}`, { config })).record).toMatchObject({ access: 'private', owner: userA.uid })
    expect((await importImage('custom:own-tool', work.at('imports/b.tar'), { config, ...as(userB) })).id).toBe(own.id)
    // The administrator may.
    expect((await importImage('custom:tool', work.at('imports/b.tar'), { config })).owner).toBe(0)
  })

  it('makes it private where he gives a list', async () => {
    const { config } = siteWith()
    const path = put('imports/private.tar', userA)
    expect(await importImage('custom:p', path, { config, ...as(userA), allowGids: [userB.gid] })).toMatchObject({ access: 'private', owner: userA.uid, allowGids: [userB.gid] })
    expect((await pullImage('custom:p', { config, ...as(userB) })).owner).toBe(userA.uid)
    expect((await failure(pullImage('custom:p', { config, requester: { uid: 4711, gids: [4711] } }))).code).toBe('IMPORT_NEEDED')
  })
})
