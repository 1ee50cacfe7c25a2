/** What the merger says of its stream and the verifier of the packed image agree, and every difference is found. */
import { createHash } from 'node:crypto'
import { open, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Layer from 'effect/Layer'
import fc from 'fast-check'
import { gatewayLayer, pullImage } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import type { Digest } from '../../src/core/Digest.js'
import type { GatewayError } from '../../src/core/Errors.js'
import * as Gateway from '../../src/core/Gateway.js'
import { defaultPullLimits } from '../../src/core/Limits.js'
import * as Merge from '../../src/core/Merge.js'
import { layerTar2sqfs, Packer } from '../../src/core/Packer.js'
import type { RootfsSummary } from '../../src/core/RootfsStream.js'
import * as Site from '../../src/core/Site.js'
import * as Verify from '../../src/core/Verify.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { sha256, writeLayout } from '../harness/ociLayout.js'
import { run, runOk } from '../harness/process.js'
import { testSite } from '../harness/site.js'
import { describeLayers, stacks } from '../harness/stacks.js'
import { tarBytes, type TarEntry, type TarItem } from '../harness/tarWriter.js'
import { withWorkspace } from '../harness/workspace.js'

const KEY = '0123456789abcdef'
const STRUCTURE = `0:${KEY}`
const SAMPLED = `3:${KEY}`
const FULL = `1:${KEY}`
const program = (name: string) => join(DEFAULT_PREFIX, 'bin', name)

/** Merges layers, oldest first, into `rootfs.tar`, and tells what the merger says of it. */
const merge = async (directory: string, layers: readonly (readonly TarItem[])[], sample: string): Promise<RootfsSummary> => {
  const mergeable = await Promise.all(layers.map(async (items, i) => {
    const file = join(directory, `layer-${i}.tar`)
    const bytes = tarBytes(items)
    await writeFile(file, bytes)
    const digest = sha256(bytes) as Digest
    return { digest, diffId: digest, blob: Effect.succeed({ file, offset: 0, length: bytes.length }) }
  }))
  for (const plan of [false, true]) {
    const output = await open(join(directory, 'rootfs.tar'), 'w')
    try {
      const options = { program: program('shifter-merge'), limits: defaultPullLimits, sample, plan, onBytes: () => undefined }
      const summary = await Effect.runPromise(Merge.write(mergeable, output.fd, options).pipe(Effect.catchTag('RestartNeeded', () => Effect.succeed(undefined))))
      if (summary !== undefined) return summary
    } finally {
      await output.close()
    }
  }
  throw new Error('a second start is never asked for')
}

/** Packs `rootfs.tar` as pulls do. */
const pack = async (directory: string): Promise<string> => {
  const image = join(directory, 'image')
  const argv = ['tar2sqfs', '--quiet', '--force', '--no-skip', '--compressor', 'zstd', '--comp-extra', 'level=3', '--block-size', '131072', image]
  await runOk(argv, { input: await readFile(join(directory, 'rootfs.tar')), env: { ...process.env, SOURCE_DATE_EPOCH: '0' } })
  return image
}

/** Why an image is refused; undefined when it is not. */
const refusal = async (image: string, written: RootfsSummary, sample: string): Promise<GatewayError | undefined> =>
  Either.getOrUndefined(Either.flip(await Effect.runPromise(Effect.either(Verify.check(image, { program: program('shifter-verify'), sample, written })))))

const sound = async (layers: readonly (readonly TarItem[])[], samples = [STRUCTURE, SAMPLED, FULL]): Promise<void> =>
  withWorkspace(async ({ path }) => {
    let image: string | undefined
    for (const sample of samples) {
      const written = await merge(path, layers, sample)
      image ??= await pack(path)
      expect(written.contents).toMatch(/^[0-9a-f]{64}$/)
      expect(await refusal(image, written, sample)).toBeUndefined()
    }
  })

/** Bytes that no packer makes smaller. */
const noise = (bytes: number, seed = 'noise'): Buffer =>
  Buffer.concat(Array.from({ length: Math.ceil(bytes / 32) }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest())).subarray(0, bytes)

const file = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({ name, type: 'file', mode: 0o644, mtime: 1_600_000_000, data: name, ...more })

const TREE: readonly TarEntry[] = [
  { name: './', type: 'dir', mode: 0o711, mtime: 12 },
  { name: 'dir', type: 'dir', mode: 0o1777, mtime: 1_600_000_001, xattrs: { 'user.of.directory': 'yes' } },
  file('dir/large', { data: noise(1_000_001) }),
  file('dir/links', { data: 'several names' }),
  { name: 'hard', type: 'hardlink', linkname: 'dir/links' },
  { name: 'dir/hard', type: 'hardlink', linkname: 'hard' },
  { name: 'soft', type: 'symlink', linkname: 'dir/links', mtime: 7 },
  { name: 'hard to soft', type: 'hardlink', linkname: 'soft' },
  { name: 'soft and long', type: 'symlink', linkname: 'x/'.repeat(700) },
  file(`${'long/'.repeat(60)}${'name'.repeat(50)}`),
  { name: Buffer.from([0x62, 0xff, 0xfe, 0x0a]), type: 'file', data: 'a name of any bytes' },
  file('empty', { data: '' }),
  file('zeros', { data: Buffer.alloc(700_000) }),
  file('holes', { data: Buffer.concat([noise(1000), Buffer.alloc(400_000), noise(1000)]) }),
  file('attributes', { xattrs: { 'user.b': Buffer.from([0, 1, 255]), 'user.a': 'x', 'user.long': noise(9000), 'user.same': noise(9000), 'security.capability': 'dropped' } }),
  file('same attributes', { xattrs: { 'user.b': Buffer.from([0, 1, 255]), 'user.a': 'x', 'user.long': noise(9000), 'user.same': noise(9000) } }),
  file('implied/by/this'),
  file('old', { mtime: -5_000_000_000, format: 'gnu' }),
  file('far', { mtime: 2 ** 33, format: 'gnu' }),
  file('last', { mtime: 2 ** 32 - 1 }),
  file('setuid', { mode: 0o6755 }),
  { name: 'device', type: 'char', device: { major: 1, minor: 3 } },
]
const UPPER: readonly TarEntry[] = [
  { name: 'further', type: 'hardlink', linkname: 'dir/large' },
  file('.wh.zeros', { data: '' }),
  file('empty', { data: 'no more' }),
  file('implied/too', { mtime: 0.5 }),
]

/** An old sparse file of GNU tar: 4 KiB, a hole, 4 KiB. */
const sparse = (): TarItem => {
  const [head, tail] = [noise(4096, 'head'), noise(4096, 'tail')]
  const map = Buffer.from('2\n0\n4096\n1000000\n4096\n'.padEnd(512, '\0'))
  return {
    name: 'sparse', type: 'file', mode: 0o600, mtime: 1, data: Buffer.concat([map, head, tail]),
    pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'sparse', 'GNU.sparse.realsize': '1004096' },
  }
}

describe('an image that was packed as it was written', () => {
  it('is accepted, with everything that a root file system holds', () => sound([[...TREE, sparse()], UPPER]))
  it('is accepted when it is empty', () => sound([[]]))
  it('is accepted with 10,000 files', () =>
    sound([Array.from({ length: 10_000 }, (_, i) => file(`d${i % 100}/${i}`, { data: noise(i % 3000, String(i)), mtime: i }))]))
  it('is accepted with one directory of 10,000 hard links', () =>
    sound([[file('first'), ...Array.from({ length: 10_000 }, (_, i): TarEntry => ({ name: `d/${i}`, type: 'hardlink', linkname: 'first' }))]], [STRUCTURE, FULL]))
  it('is accepted, for generated layer stacks', { timeout: 300_000 }, async () => {
    const seed = Number(process.env['SHIFTER_TEST_SEED'] ?? Date.now() % 2 ** 31)
    console.log(`verified stacks: seed ${seed}`)
    await fc.assert(
      fc.asyncProperty(stacks({ reorderedLinks: true }), async ({ layers }) => {
        await sound(layers, [FULL]).catch((error: unknown) => {
          throw new Error(`${String(error)}\n${describeLayers(layers)}`)
        })
      }),
      { seed, numRuns: 40, endOnFailure: true },
    )
  })
})

describe('an image that differs', () => {
  const changed = (name: string, more: Partial<TarEntry>): readonly TarEntry[] => {
    expect(TREE.some((entry) => entry.name === name)).toBe(true)
    return TREE.map((entry) => (entry.name === name ? { ...entry, ...more } : entry))
  }
  const large = noise(1_000_001)
  large[large.length - 1] = (large.at(-1) ?? 0) ^ 1
  it.each<[string, readonly TarEntry[]]>([
    ['a mode', changed('empty', { mode: 0o645 })],
    ['the sticky bit of a directory', changed('dir', { mode: 0o777 })],
    ["the root's mode", changed('./', { mode: 0o755 })],
    ['a time', changed('last', { mtime: 2 ** 32 - 2 })],
    ["a symbolic link's time", changed('soft', { mtime: 8 })],
    ["a symbolic link's target", changed('soft', { linkname: 'dir/linkz' })],
    ["an attribute's value", changed('attributes', { xattrs: { 'user.b': Buffer.from([0, 1, 254]), 'user.a': 'x', 'user.long': noise(9000), 'user.same': noise(9000) } })],
    ['a missing attribute', changed('same attributes', { xattrs: { 'user.b': Buffer.from([0, 1, 255]) } })],
    ["a directory's attribute", changed('dir', { xattrs: { 'user.of.directory': 'no' } })],
    ['a size', changed('last', { data: 'longer than it was' })],
    ['a name', TREE.map((entry) => (entry.name === 'empty' ? { ...entry, name: 'emptY' } : entry))],
    ['a hard link to another file', changed('hard', { linkname: 'dir/large' })],
    ['a type', TREE.map((entry) => (entry.name === 'empty' ? { ...entry, type: 'dir', mode: 0o644 } : entry))],
  ])('by %s is refused', (_, layer) =>
    withWorkspace(async ({ path }) => {
      await merge(path, [layer], STRUCTURE)
      const image = await pack(path)
      const written = await merge(path, [TREE], STRUCTURE)
      const error = await refusal(image, written, STRUCTURE)
      expect(error?.code).toBe('IMAGE_VERIFY_FAILED')
      expect(error?.what).toContain('a name, its attributes or its contents differ')
    }))
  it('by one byte of content is refused when all is read back, and not by its structure', () =>
    withWorkspace(async ({ path }) => {
      await merge(path, [changed('dir/large', { data: large })], FULL)
      const image = await pack(path)
      expect((await refusal(image, await merge(path, [TREE], FULL), FULL))?.code).toBe('IMAGE_VERIFY_FAILED')
      expect(await refusal(image, await merge(path, [TREE], STRUCTURE), STRUCTURE)).toBeUndefined()
    }))
  it('by one name is refused with the number of inodes', () =>
    withWorkspace(async ({ path }) => {
      await merge(path, [[...TREE, file('one more')]], STRUCTURE)
      const image = await pack(path)
      const written = await merge(path, [TREE], STRUCTURE)
      expect((await refusal(image, written, STRUCTURE))?.what).toContain(`it has ${written.inodes + 1} inodes, not ${written.inodes}`)
    }))
  it('by an owner is refused', () =>
    withWorkspace(async ({ path }) => {
      const written = await merge(path, [[file('f')]], STRUCTURE)
      await writeFile(join(path, 'rootfs.tar'), tarBytes([file('f', { uid: 7 })]))
      expect((await refusal(await pack(path), written, STRUCTURE))?.what).toContain('"f" is not root\'s')
    }))
})

const flip = async (image: string, at: number): Promise<void> => {
  const handle = await open(image, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, at)
    byte[0] = (byte[0] ?? 0) ^ 0x10
    await handle.write(byte, 0, 1, at)
  } finally {
    await handle.close()
  }
}

describe('a damaged image', () => {
  it('is refused wherever its content was damaged, when all is read back', () =>
    withWorkspace(async ({ path }) => {
      const written = await merge(path, [[file('blocks', { data: noise(1 << 20) }), file('tail', { data: noise(5000, 'tail') })]], FULL)
      const image = await pack(path)
      for (let i = 0; i < 64; i++) {
        const at = 96 + Math.floor((((1 << 20) + 4900) * i) / 64)
        await flip(image, at)
        expect((await refusal(image, written, FULL))?.code, `byte ${at}`).toBe('IMAGE_VERIFY_FAILED')
        await flip(image, at)
      }
      expect(await refusal(image, written, FULL)).toBeUndefined()
    }))
  it('is refused with a reason when it is cut', () =>
    withWorkspace(async ({ path }) => {
      const written = await merge(path, [TREE], FULL)
      const image = await pack(path)
      for (const size of [1_000_000, 4096, 95, 0]) {
        await truncate(image, size)
        const error = await refusal(image, written, FULL)
        expect(error?.code).toBe('IMAGE_VERIFY_FAILED')
        expect(error?.what).toMatch(/is not what was written: ./)
      }
    }))
  it('ends the verifier in an orderly way wherever it was damaged', () =>
    withWorkspace(async ({ path }) => {
      await merge(path, [TREE], FULL)
      const image = await pack(path)
      const { length } = await readFile(image)
      for (let i = 0; i < 60; i++) {
        const at = i < 20 ? i * 4 : length - 4096 - i * 37
        await flip(image, at)
        const { stdout, status, signal } = await run(['sh', '-c', `exec ${program('shifter-verify')} --sample ${FULL} <"$0"`, image])
        await flip(image, at)
        expect({ signal, said: /^(done [0-9]+( [0-9a-f]{64}){2}|fault IMAGE_VERIFY_FAILED .+)\n$/.test(stdout), status }).toEqual({ signal: null, said: true, status: stdout.startsWith('done') ? 0 : 6 })
      }
    }))
})

describe('a pull', () => {
  const damaging = Layer.effect(
    Packer,
    Effect.map(Packer, (packer) => Packer.of({
      ...packer,
      pack: (write, options) => Effect.tap(packer.pack(write, options), () => Effect.promise(() => flip(options.target, 300_000))),
    })),
  ).pipe(Layer.provide(layerTar2sqfs))
  it('of an image that the disk damages fails, and leaves nothing', () =>
    withWorkspace(async ({ path }) => {
      writeLayout(join(path, 'layout'), { tag: 'v', layers: [[file('f', { data: noise(1 << 20) })]], compression: 'gzip' })
      const site = Either.getOrThrow(Site.decode({ ...testSite(path).config, readBack: 'full' }))
      const { code, images, what } = await Effect.runPromise(
        Effect.gen(function* () {
          const gateway = yield* Gateway.Gateway
          const failed = yield* Effect.flip(gateway.pull({ reference: `oci:${path}/layout:v` }))
          return { code: failed.code, what: failed.what, images: (yield* gateway.list()).images }
        }).pipe(Effect.provide(gatewayLayer(site, { packer: damaging }))),
      )
      expect(code).toBe('IMAGE_VERIFY_FAILED')
      expect(what).toContain('is not what was written')
      expect(images).toEqual([])
      expect((await runOk(['find', join(path, 'images'), '-type', 'f'])).stdout).toBe('')
    }))
  it.each(Verify.Verify.literals)('with readBack "%s" publishes the image', (readBack) =>
    withWorkspace(async ({ path }) => {
      writeLayout(join(path, 'layout'), { tag: 'v', layers: [TREE, UPPER], compression: 'zstd' })
      const record = await pullImage(`oci:${path}/layout:v`, { config: { ...testSite(path).config, readBack } })
      expect(record.entries).toBeGreaterThan(20)
    }))
  it('with a mistaken readBack is told so', () => {
    expect(Either.getOrThrow(Either.flip(Site.decode({ ...testSite('/x').config, readBack: 'some' }))).what).toContain('readBack')
  })
  it('samples anew each time', () => {
    expect(Verify.newSample('sampled')).toMatch(/^128:[0-9a-f]{16}$/)
    expect(Verify.newSample('sampled')).not.toBe(Verify.newSample('sampled'))
  })
})
