/** What every transport does: what it publishes, mends, refuses and tells of an image path. */
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import { inspectImage, listImages, lookupImage, NameFile, type ProgressEvent, pullImage, removeImage, Site, siteTransport, Transport } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../harness/gateway.js'
import { sha256, writeLayout } from '../harness/ociLayout.js'
import { run, runOk } from '../harness/process.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

export const staged = (path: string) => readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.staging.'))

/** Uses the transport of a site. */
export const withTransport = <A, E>({ config }: TestSite, use: (transport: typeof Transport.Transport.Service, system: Site.System) => Effect.Effect<A, E>): Promise<A> => {
  const system = Either.getOrThrow(Site.system(Either.getOrThrow(Site.decode(config)), undefined))
  const used = Effect.provide(Effect.flatMap(Transport.Transport, (transport) => use(transport, system)), siteTransport)
  // As it is, for those who look at its code.
  return Effect.runPromise(Effect.either(used)).then(Either.getOrThrowWith((error) => error))
}

const damage = (file: string) => {
  const bytes = readFileSync(file)
  bytes[200] = (bytes[200] ?? 0) ^ 255
  writeFileSync(file, bytes)
}

/** The tests, for the way by which `reached` has a site's image path reached. */
export const imagePathTests = (name: string, reached: (site: TestSite) => TestSite): void => {
  const work = useWorkspace(name)
  let count = 0
  const site = () => reached(testSite(work.at(`site${count++}`)))
  const reference = () => `oci:${work.at('layout')}:v`

  beforeAll(() => {
    writeLayout(work.at('layout'), { tag: 'v', layers: [[{ name: 'a', type: 'file', data: 'a'.repeat(100_000) }]] })
    writeLayout(work.at('other'), { tag: 'v', layers: [[{ name: 'b', type: 'file', data: 'b' }]] })
  })

  describe('a damaged image', () => {
    it('is replaced by the pull that finds it in its way', async () => {
      const { config, imagePath } = site()
      const { id, imageSha256 } = await pullImage(reference(), { config })
      const file = join(imagePath, `${id}.squashfs`)
      damage(file)
      rmSync(join(imagePath, `${id}.record`))
      await pullImage(reference(), { config })
      expect(sha256(readFileSync(file))).toBe(`sha256:${imageSha256}`)
      expect(staged(imagePath)).toEqual([])
    })

    it('is found and replaced by a pull that verifies, with the access it had', async () => {
      const { config, imagePath } = site()
      const { id, imageSha256 } = await pullImage(reference(), { config, requester: { uid: 7 }, allowUids: [8] })
      const file = join(imagePath, `${id}.squashfs`)
      const events: ProgressEvent[] = []
      const again = () => pullImage(reference(), { config, requester: { uid: 8 }, allowUids: [], verify: true, onProgress: (event) => { events.push(event) } })
      await again()
      expect(events.filter((event) => event._tag === 'Packed').length).toBe(0)
      damage(file)
      expect(await again()).toMatchObject({ access: 'private', owner: 7, allowUids: [8] })
      expect(sha256(readFileSync(file))).toBe(`sha256:${imageSha256}`)
    })

    it('is converted anew when its record can not be read', async () => {
      const { config, imagePath } = site()
      const { id } = await pullImage(reference(), { config })
      writeFileSync(join(imagePath, `${id}.record`), 'nonsense')
      expect((await failure(lookupImage(reference(), { config }))).code).toBe('RECORD_INVALID')
      await pullImage(reference(), { config })
      expect(await lookupImage(reference(), { config })).toBe(id)
    })
  })

  describe('an image path', () => {
    it('with files that can not be read still gives all others, and says which', async () => {
      const { config, imagePath } = site()
      const good = await pullImage(reference(), { config })
      const bad = await pullImage(`oci:${work.at('other')}:v`, { config })
      const where = (name: string) => join(imagePath, name)
      writeFileSync(where(`${bad.id}.record`), 'shifter-record 99\nend\n')
      writeFileSync(where('names/README'), 'x')
      mkdirSync(where('names/zz'), { recursive: true })
      writeFileSync(where(`names/zz/${'0'.repeat(64)}`), '')
      writeFileSync(where(`names/zz/${'1'.repeat(64)}`), readFileSync(where(NameFile.pathOf(good.reference))))
      symlinkSync('/etc/passwd', where(`names/zz/${'2'.repeat(64)}`))
      await runOk(['mkfifo', where(`names/zz/${'3'.repeat(64)}`)])
      writeFileSync(where('lost.squashfs'), 'x')
      expect(await lookupImage(reference(), { config })).toBe(good.id)
      expect((await inspectImage(reference(), { config })).names).toEqual([good.reference])
      const { images, problems } = await listImages({ config })
      expect(images.map(({ record }) => record.id)).toEqual([good.id])
      expect(problems.map((problem) => problem.where.replace(`${imagePath}/`, '')).sort()).toEqual(
        ['lost.squashfs', `${bad.id}.record`, 'names/README', ...['0', '1', '2', '3'].map((digit) => `names/zz/${digit.repeat(64)}`)].sort(),
      )
      // What can't be read can be removed.
      expect(await removeImage(`id:${bad.id}`, { config })).toMatchObject({ image: true, names: [`oci:${work.at('other')}:v`] })
      expect(readdirSync(imagePath).filter((name) => name.startsWith(bad.id))).toEqual([])
      expect((await failure(removeImage(`id:${bad.id}`, { config }))).code).toBe('IMAGE_NOT_FOUND')
    })

    it('shows images without a name, whose room would be lost', async () => {
      const { config } = site()
      const { id } = await pullImage(reference(), { config })
      await removeImage(reference(), { config })
      expect((await listImages({ config })).images).toMatchObject([{ record: { id }, names: [] }])
    })

    it('is read without a catalogue', async () => {
      const target = site()
      await pullImage(reference(), { config: target.config })
      rmSync(target.stateDirectory, { recursive: true })
      await listImages({ config: target.config })
      await lookupImage(reference(), { config: target.config })
      expect(existsSync(target.stateDirectory)).toBe(false)
    })

    it('that is missing is a file system that is not mounted: nothing is made, and nothing is empty', async () => {
      const target = site()
      rmSync(target.imagePath, { recursive: true })
      const asked = [pullImage(reference(), { config: target.config }), listImages({ config: target.config }), lookupImage(reference(), { config: target.config })]
      for (const { code } of await Promise.all(asked.map(failure))) expect(code).toBe('IMAGE_PATH_UNUSABLE')
      expect(existsSync(target.imagePath)).toBe(false)
    })

    it.each([
      ['of which a directory above is writable by others', (target: TestSite) => chmodSync(join(target.imagePath, '..'), 0o777), /site\d+, which may be written by others/],
      ['of which a directory above is another account’s', (target: TestSite) => chownSync(join(target.imagePath, '..'), 4711, 4711), /site\d+, which belongs to uid 4711/],
      ['that is writable by others', (target: TestSite) => chmodSync(target.imagePath, 0o775), /images of test may be written by others/],
      ['that is a symbolic link', (target: TestSite) => { rmSync(target.imagePath, { recursive: true }); mkdirSync(work.at('real'), { recursive: true }); symlinkSync(work.at('real'), target.imagePath) }, /is a symbolic link/],
    ])('%s is refused before the image is looked for, also when the image is there', async (_, spoil, said) => {
      const target = site()
      await pullImage(reference(), { config: target.config })
      spoil(target)
      const events: ProgressEvent[] = []
      const refused = await failure(pullImage(reference(), { config: target.config, onProgress: (event) => { events.push(event) } }))
      expect(refused.code).toBe('IMAGE_PATH_UNUSABLE')
      expect(refused.message).toMatch(said)
      expect(events).toEqual([])
    })

    it('that is full is said to be full', async () => {
      const target = site()
      await runOk(['mount', '-t', 'tmpfs', '-o', 'size=512k,mode=0755', 'tmpfs', target.imagePath])
      try {
        const bytes = Buffer.alloc(4_000_000)
        for (let i = 0, state = 1; i < bytes.length; i++) bytes[i] = (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16
        writeLayout(work.at('large'), { tag: 'v', layers: [[{ name: 'large', type: 'file', data: bytes }]] })
        const refused = await failure(pullImage(`oci:${work.at('large')}:v`, { config: target.config }))
        expect(refused.code).toBe('STORAGE_FULL')
        expect(refused.message).not.toContain('..')
        expect(readdirSync(target.imagePath)).toEqual([])
      } finally {
        await runOk(['umount', target.imagePath])
      }
    })

    it('has directories of names that are the image owner’s, also when a killed process left one that is not', async () => {
      const { config, imagePath } = site()
      chownSync(imagePath, 4711, 4711)
      mkdirSync(join(imagePath, 'names'))
      const { reference: name } = await pullImage(reference(), { config })
      for (const file of ['names', join(NameFile.pathOf(name), '..'), NameFile.pathOf(name)]) expect(lstatSync(join(imagePath, file)).uid).toBe(4711)
      expect(statSync(join(imagePath, 'names')).mode & 0o777).toBe(0o700)
    })
  })

  describe('what a pull leaves on an image path', () => {
    it('is removed by its token, and no other’s with it', async () => {
      const target = site()
      for (const name of ['.staging.aaaa.squashfs', '.staging.aaaa.0123456789ab', '.staging.aaaab.squashfs']) writeFileSync(join(target.imagePath, name), '')
      await withTransport(target, (transport, system) => transport.discard(system, 'aaaa'))
      expect(staged(target.imagePath)).toEqual(['.staging.aaaab.squashfs'])
    })
  })

  describe('publishing', () => {
    it('is not interrupted between its files', async () => {
      const target = site()
      const cancel = new AbortController()
      const refused = await failure(
        pullImage(reference(), { config: target.config, signal: cancel.signal, onProgress: (event) => { if (event._tag === 'Phase' && event.phase === 'publish') cancel.abort(new Error('enough')) } }),
      )
      expect(refused).toMatchObject({ _tag: 'GatewayError', code: 'CANCELLED', cause: { message: 'enough' } })
      const files = readdirSync(target.imagePath).sort()
      // All or nothing, and nothing goes on after the rejection.
      expect([[], ['meta', 'record', 'squashfs', 'names']]).toContainEqual(files.map((name) => name.split('.').at(-1)))
      await run(['sync'])
      expect(readdirSync(target.imagePath).sort()).toEqual(files)
      expect(staged(target.imagePath)).toEqual([])
    })

    it('is left while the image is read back, with nothing behind', async () => {
      const target = site()
      const cancel = new AbortController()
      const refused = await failure(
        pullImage(reference(), { config: target.config, signal: cancel.signal, onProgress: (event) => { if (event._tag === 'Phase' && event.phase === 'transfer') cancel.abort() } }),
      )
      expect(refused.code).toBe('CANCELLED')
      expect(readdirSync(target.imagePath)).toEqual([])
    })
  })
}
