/** Files that come in pieces: what is here stays here, for its owner alone, within limits. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Fiber from 'effect/Fiber'
import * as Stream from 'effect/Stream'
import { type Errors, importImage, Site, Uploads } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { failure } from '../harness/gateway.js'
import { testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { built, repository } from '../package/dist.js'

const work = useWorkspace('uploads')
let sites = 0
const made = (settings: object = {}) => {
  const site = testSite(work.at(`site${sites++}`))
  const config = { ...site.config, import: { users: 'all' as const, ...settings } }
  return { ...site, config, uploads: Uploads.make(Either.getOrThrow(Site.decode(config))) }
}
const run = Effect.runPromise
const refused = <A>(effect: Effect.Effect<A, Errors.GatewayError>) => run(Effect.flip(effect))
const of = (...pieces: readonly (Buffer | string)[]) => Stream.fromIterable(pieces.map((piece) => Buffer.from(piece)))
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const owner = 4711
const tar = tarBytes([{ name: 'f', type: 'file', data: 'uploaded' }])

describe('an upload', () => {
  it('comes in pieces, is complete when all of them are here, and is imported once', async () => {
    const { config, stateDirectory, uploads } = made()
    const { complete, id, offset } = await run(uploads.create({ owner, bytes: tar.length, sha256: sha256(tar), name: 'root.tar' }))
    expect({ complete, offset }).toEqual({ complete: false, offset: 0 })
    expect(await run(uploads.append(id, owner, 0, of(tar.subarray(0, 10), tar.subarray(10, 700))))).toMatchObject({ offset: 700, complete: false, digest: undefined })
    expect((await refused(uploads.file(id, owner))).code).toBe('UPLOAD_CONFLICT')
    expect((await failure(importImage('custom:up', { _tag: 'Upload', id }, { config, requester: { uid: owner } }))).code).toBe('UPLOAD_CONFLICT')
    expect(await run(uploads.append(id, owner, 700, of(tar.subarray(700))))).toMatchObject({ offset: tar.length, complete: true, digest: `sha256:${sha256(tar)}` })
    expect(statSync(join(stateDirectory, 'uploads', id)).mode & 0o777).toBe(0o700)
    expect(statSync(join(stateDirectory, 'uploads', id, 'data')).mode & 0o777).toBe(0o600)
    // Another user has no such upload.
    const others = await failure(importImage('custom:up', { _tag: 'Upload', id }, { config, requester: { uid: 4712 } }))
    expect(others).toMatchObject({ code: 'UPLOAD_NOT_FOUND', what: `There is no upload "${id}" of yours` })
    const record = await importImage('custom:up', { _tag: 'Upload', id }, { config, requester: { uid: owner } })
    expect(record).toMatchObject({ owner, sourceDigest: `sha256:${sha256(tar)}` })
    expect((await refused(uploads.status(id, owner))).code).toBe('UPLOAD_NOT_FOUND')
    expect(readdirSync(join(stateDirectory, 'uploads'))).toEqual([])
  })

  it('stays when its import fails', async () => {
    const { config, uploads } = made()
    const { id } = await run(uploads.create({ owner, bytes: 4, name: 'x' }))
    await run(uploads.append(id, owner, 0, of('text')))
    expect((await failure(importImage('custom:up', { _tag: 'Upload', id }, { config, requester: { uid: owner } }))).code).toBe('FILE_INVALID')
    expect((await run(uploads.status(id, owner))).complete).toBe(true)
  })

  it('does not exist for anybody else, nor does any other name', async () => {
    const { uploads } = made()
    const { id } = await run(uploads.create({ owner, bytes: 4, name: 'x' }))
    const ids = ['0'.repeat(32), '', '..', '../uploads', `${id}/`, id.toUpperCase() === id ? 'x' : id.toUpperCase(), 'create.lock']
    for (const [name, uid] of [[id, 4712] as const, ...ids.map((each) => [each, owner] as const)]) {
      const errors = [await refused(uploads.status(name, uid)), await refused(uploads.append(name, uid, 0, of('x'))), await refused(uploads.cancel(name, uid)), await refused(uploads.file(name, uid))]
      for (const error of errors) expect(error.what).toBe(`There is no upload "${name}" of yours`)
    }
    expect((await run(uploads.status(id, owner))).offset).toBe(0)
    await run(uploads.cancel(id, owner))
    expect((await refused(uploads.status(id, owner))).code).toBe('UPLOAD_NOT_FOUND')
  })

  it('takes bytes at its own offset alone, no more than it said, and none when it is complete', async () => {
    const { uploads } = made()
    const { id } = await run(uploads.create({ owner, bytes: 6, name: 'x' }))
    for (const offset of [1, 6, -1]) expect((await refused(uploads.append(id, owner, offset, of('abc')))).code).toBe('UPLOAD_CONFLICT')
    expect((await refused(uploads.append(id, owner, 0, of('abcdefg')))).code).toBe('UPLOAD_CONFLICT')
    expect((await run(uploads.append(id, owner, 0, of('abc')))).offset).toBe(3)
    expect((await refused(uploads.append(id, owner, 0, of('abc')))).code).toBe('UPLOAD_CONFLICT')
    expect((await run(uploads.append(id, owner, 3, of()))).offset).toBe(3)
    expect((await run(uploads.append(id, owner, 3, of('def')))).complete).toBe(true)
    expect((await refused(uploads.append(id, owner, 6, of('g')))).code).toBe('UPLOAD_CONFLICT')
    expect(readFileSync((await run(uploads.file(id, owner))).path, 'utf8')).toBe('abcdef')
  })

  it('of no bytes is complete by an append of none', async () => {
    const { uploads } = made()
    const { id } = await run(uploads.create({ owner, bytes: 0, name: 'x' }))
    expect((await run(uploads.append(id, owner, 0, of()))).digest).toBe(`sha256:${sha256(Buffer.alloc(0))}`)
  })

  it('is written to with few others of its owner at once, since each holds a piece in memory; others’ are not held up', async () => {
    const { uploads } = made()
    await run(Effect.gen(function* () {
      const begun = (whose: number) => Effect.map(uploads.create({ owner: whose, bytes: 3, name: 'x' }), ({ id }) => id)
      const id = yield* begun(owner)
      const silent = yield* Effect.forEach(Array.from({ length: 8 }), () => Effect.fork(uploads.append(id, owner, 0, Stream.never)))
      yield* Effect.yieldNow()
      expect((yield* Effect.flip(uploads.append(id, owner, 0, of('abc')))).code).toBe('QUEUE_FULL')
      expect((yield* uploads.append(yield* begun(4712), 4712, 0, of('abc'))).complete).toBe(true)
      yield* Effect.forEach(silent, Fiber.interrupt)
      expect((yield* uploads.append(id, owner, 0, of('abc'))).complete).toBe(true)
    }))
  })

  it('of two writers takes one’s bytes', async () => {
    const { uploads } = made()
    const size = 20 * 1024 * 1024
    const { id } = await run(uploads.create({ owner, bytes: size, name: 'x' }))
    const writer = (letter: string) => run(Effect.either(uploads.append(id, owner, 0, Stream.fromIterable(Array.from({ length: 20 }, () => Buffer.alloc(1024 * 1024, letter))))))
    const results = await Promise.all([writer('a'), writer('b')])
    expect(results.filter(Either.isRight)).toHaveLength(1)
    for (const result of results) if (Either.isLeft(result)) expect(result.left.code).toBe('UPLOAD_CONFLICT')
    const bytes = readFileSync((await run(uploads.file(id, owner))).path)
    expect(bytes.length).toBe(size)
    expect(new Set(bytes).size).toBe(1)
  })

  it('keeps what came before its stream failed, and goes on from there', async () => {
    const { uploads } = made()
    const { id } = await run(uploads.create({ owner, bytes: 6, name: 'x' }))
    const broken = Stream.concat(of('abcd'), Stream.fail('the line is cut'))
    expect(await run(Effect.flip(uploads.append(id, owner, 0, broken)))).toBe('the line is cut')
    expect((await run(uploads.status(id, owner))).offset).toBe(4)
    expect((await run(uploads.append(id, owner, 4, of('ef')))).complete).toBe(true)
  })

  it('whose bytes are not what was said is removed', async () => {
    const { stateDirectory, uploads } = made()
    const { id } = await run(uploads.create({ owner, bytes: 3, sha256: sha256(Buffer.from('abc')), name: 'x' }))
    expect((await refused(uploads.append(id, owner, 0, of('abd')))).code).toBe('DIGEST_MISMATCH')
    expect((await refused(uploads.status(id, owner))).code).toBe('UPLOAD_NOT_FOUND')
    expect(existsSync(join(stateDirectory, 'uploads', id))).toBe(false)
  })

  it('is refused above what the site allows for one, for all of a user, and for who may not import', async () => {
    const { config, uploads } = made({ uploadBytes: 100, userBytes: 150 })
    expect((await refused(uploads.create({ owner, bytes: 101, name: 'x' }))).code).toBe('LIMIT_EXCEEDED')
    const { id } = await run(uploads.create({ owner, bytes: 100, name: 'x' }))
    const racing = await Promise.all(Array.from({ length: 5 }, () => run(Effect.either(uploads.create({ owner, bytes: 50, name: 'x' })))))
    expect(racing.filter(Either.isRight)).toHaveLength(1)
    expect((await run(uploads.create({ owner: 4712, bytes: 100, name: 'x' }))).offset).toBe(0)
    await run(uploads.cancel(id, owner))
    expect((await run(uploads.create({ owner, bytes: 100, name: 'x' }))).bytes).toBe(100)
    const nobody = Uploads.make(Either.getOrThrow(Site.decode({ ...config, import: { users: 'none' } })))
    expect((await refused(nobody.create({ owner, bytes: 1, name: 'x' }))).code).toBe('ACCESS_DENIED')
  })

  it.each([
    [{ owner, bytes: -1, name: 'x' }],
    [{ owner, bytes: 1.5, name: 'x' }],
    [{ owner, bytes: 1, name: '' }],
    [{ owner, bytes: 1, name: 'a\nb' }],
    [{ owner, bytes: 1, name: 'x', sha256: 'abc' }],
    [{ owner: -1, bytes: 1, name: 'x' }],
  ])('is refused when it can’t be right: %j', async (request) => {
    expect((await refused(made().uploads.create(request))).code).toBe('USAGE')
  })

  it('is removed when nothing was added for the site’s hours, with what half a one left', async () => {
    const { stateDirectory, uploads } = made({ uploadHours: 1 })
    const old = await run(uploads.create({ owner, bytes: 4, name: 'old' }))
    const young = await run(uploads.create({ owner, bytes: 4, name: 'young' }))
    const before = new Date(Date.now() - 2 * 3600 * 1000)
    utimesSync(join(stateDirectory, 'uploads', old.id, 'state.json'), before, before)
    // It is gone for its owner before it is swept.
    expect((await refused(uploads.status(old.id, owner))).code).toBe('UPLOAD_NOT_FOUND')
    const half = await run(uploads.create({ owner, bytes: 4, name: 'half' }))
    writeFileSync(join(stateDirectory, 'uploads', half.id, 'state.json'), '')
    utimesSync(join(stateDirectory, 'uploads', half.id), before, before)
    expect(await run(uploads.sweep)).toBe(0)
    expect(readdirSync(join(stateDirectory, 'uploads')).filter((name) => !name.endsWith('.lock'))).toEqual([young.id])
  })
})

describe('a process that is killed while an upload is added to', () => {
  it('leaves what is durable, from which another goes on', async () => {
    await built()
    const { config, uploads } = made()
    const size = 64 * 1024 * 1024
    const bytes = Buffer.alloc(size)
    for (let at = 0; at < size; at += 4) bytes.writeUInt32LE(at, at)
    const { id } = await run(uploads.create({ owner, bytes: size, sha256: sha256(bytes), name: 'x' }))
    const script = `
      import * as Effect from "effect/Effect"
      import * as Either from "effect/Either"
      import * as Stream from "effect/Stream"
      import { Site, Uploads } from "${join(repository, 'dist/index.js')}"
      const uploads = Uploads.make(Either.getOrThrow(Site.decode(${JSON.stringify(config)})))
      const offset = Number(process.argv[1])
      const piece = (i) => { const b = Buffer.alloc(262144); for (let at = 0; at < b.length; at += 4) b.writeUInt32LE(offset + i * b.length + at, at); return b }
      const pieces = Stream.iterate(0, (i) => i + 1).pipe(Stream.takeWhile((i) => offset + i * 262144 < ${size}), Stream.map(piece), Stream.rechunk(1), Stream.tap(() => Effect.sync(() => process.stdout.write("."))))
      await Effect.runPromise(uploads.append("${id}", ${owner}, offset, pieces))`
    let offset = 0
    const offsets: number[] = []
    for (let kills = 0; kills < 3; kills++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, String(offset)], { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] })
      let said = 0
      let stderr = ''
      child.stderr.on('data', (piece: Buffer) => { stderr += piece.toString() })
      child.stdout.on('data', (piece: Buffer) => { if ((said += piece.length) > 50 + 13 * kills) child.kill('SIGKILL') })
      const [status, signal] = await new Promise<readonly [number | null, string | null]>((resolve) => child.once('close', (...end) => resolve(end)))
      expect({ status, signal }, stderr).toEqual({ status: null, signal: 'SIGKILL' })
      offset = (await run(uploads.status(id, owner))).offset
      offsets.push(offset)
    }
    expect(offset).toBeGreaterThan(0)
    expect([...offsets].sort((a, b) => a - b)).toEqual(offsets)
    // Whatever is beyond what is told to be here is written anew.
    expect(await run(uploads.append(id, owner, offset, of(bytes.subarray(offset))))).toMatchObject({ complete: true, digest: `sha256:${sha256(bytes)}` })
  }, 60_000)
})
