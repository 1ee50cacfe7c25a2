/** The merger's rules one by one, by what the published image holds. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { type Compression, type Layer, writeLayout } from '../../harness/ociLayout.js'
import { testSite } from '../../harness/site.js'
import { padded, tarBytes, type TarItem, tarHeader } from '../../harness/tarWriter.js'
import { squashfsTree, type Tree } from '../../harness/umoci.js'
import { withWorkspace } from '../../harness/workspace.js'

const merged = (layers: readonly Layer[], compression: Compression = 'gzip', diffIds?: readonly string[]): Promise<Tree> =>
  withWorkspace(async ({ path }) => {
    const layout = join(path, 'layout')
    writeLayout(layout, { tag: 'v', layers, compression, diffIds })
    const site = testSite(path)
    const record = await pullImage(`oci:${layout}:v`, { config: site.config })
    return squashfsTree(join(site.imagePath, `${record.id}.squashfs`))
  })
const names = (tree: Tree) => [...tree.keys()].filter((name) => name !== '').sort()
const refused = (layers: readonly Layer[], diffIds?: readonly string[]) =>
  merged(layers, 'gzip', diffIds).then(
    () => { throw new Error('it was accepted') },
    (error: unknown) => error as { readonly code: string; readonly message: string },
  )

interface CaseEntry { readonly name: string; readonly type?: 'dir' | 'hard'; readonly to?: string; readonly data?: string; readonly mode?: number }
interface Case {
  readonly name: string
  readonly layers: readonly (readonly CaseEntry[])[]
  readonly upstream_result: readonly string[]
  readonly want?: { readonly result?: readonly string[]; readonly error?: string }
}
const item = (entry: CaseEntry): TarItem => ({
  name: entry.name.replace(/\/$/, ''),
  type: entry.type === 'hard' ? 'hardlink' : (entry.type ?? 'file'),
  mode: entry.mode ?? (entry.type === 'dir' ? 0o755 : 0o644),
  ...(entry.type === undefined ? { data: entry.data ?? 'x' } : {}),
  ...(entry.to === undefined ? {} : { linkname: entry.to }),
})

describe('cases seen on the reference', () => {
  const { cases } = JSON.parse(readFileSync(new URL('../../cases/layers.json', import.meta.url), 'utf8')) as { cases: readonly Case[] }
  for (const row of cases) {
    it(row.name, async () => {
      const layers = row.layers.map((layer) => layer.map(item))
      if (row.want?.error !== undefined) {
        const error = await refused(layers)
        expect(error.code).toBe('LAYER_INVALID')
        expect(error.message).toContain('../evil')
        expect(error.message).toMatch(/Layer 1 of 1/)
        return
      }
      const tree = await merged(layers)
      const expected = (row.want?.result ?? row.upstream_result).map((line) => line.replace(/ = .*/, '').replace(/\/$/, '')).sort()
      expect(names(tree)).toEqual(expected)
    })
  }
})

const file = (name: string, data = name): TarItem => ({ name, type: 'file', data })
const dir = (name: string, mode = 0o755): TarItem => ({ name, type: 'dir', mode })
const link = (name: string, linkname: string): TarItem => ({ name, type: 'hardlink', linkname })
const symlink = (name: string, linkname: string): TarItem => ({ name, type: 'symlink', linkname })

describe('hard links', () => {
  it('keep the content of a name that an upper layer replaces', async () => {
    const tree = await merged([[file('f', 'old'), link('g', 'f')], [file('f', 'new')]])
    expect(tree.get('g')?.sha256).not.toBe(tree.get('f')?.sha256)
  })
  it('to a file of a lower layer are one inode with it', async () => {
    const tree = await merged([[file('a/f')], [link('g', 'a/f'), link('h', 'g')]])
    expect(tree.get('g')?.links).toEqual(tree.get('a/f')?.links)
    expect(tree.get('h')?.links).toEqual(tree.get('a/f')?.links)
  })
  it('to a file of a lower layer that is removed later keep it', async () => {
    const tree = await merged([[file('f', 'x')], [link('g', 'f'), link('h', 'f')], [file('.wh.f', '')]])
    expect(names(tree)).toEqual(['g', 'h'])
    expect(tree.get('g')?.links).toEqual(tree.get('h')?.links)
  })
  it.each([
    ['nothing', [[link('g', 'missing')]]],
    ['a name removed between', [[file('f')], [file('.wh.f', '')], [link('g', 'f')]]],
    ['a name its own layer removed before', [[file('f')], [file('.wh.f', ''), link('g', 'f')]]],
    ['itself', [[link('g', 'g')]]],
    ['a directory', [[dir('d'), link('g', 'd')]]],
    ['a directory of a lower layer', [[dir('d')], [link('g', 'd')]]],
    ['an absolute name', [[file('f'), link('g', '/f')]]],
    ['a name with ..', [[file('f'), link('g', 'a/../f')]]],
  ])('to %s are refused', async (_, layers) => {
    const error = await refused(layers)
    expect(error.code).toBe('LAYER_INVALID')
    expect(error.message).toMatch(/entry "[gd]"/)
  })
})

describe('replacement within one layer', () => {
  it('ends with what came last', async () => {
    const tree = await merged([[file('f', '1'), dir('d'), file('d/x'), file('f', '2'), symlink('d', 'f'), dir('e', 0o700), dir('e', 0o711)]])
    expect(names(tree)).toEqual(['d', 'e', 'f'])
    expect(tree.get('d')).toMatchObject({ type: 'symlink', target: 'f' })
    expect(tree.get('e')?.mode).toBe(0o711)
  })
  it('keeps what a hard link has of a replaced name', async () => {
    const tree = await merged([[file('f', '1'), link('g', 'f'), file('f', '2')]])
    expect(tree.get('g')?.sha256).not.toBe(tree.get('f')?.sha256)
  })
})

describe('policy', () => {
  it('drops devices and FIFOs, clears setuid and setgid, and hides what they stood over', async () => {
    const tree = await merged([
      [file('n', 'lower'), { name: 's', type: 'file', data: 's', mode: 0o6755 }, { name: 't', type: 'dir', mode: 0o3777 }],
      [{ name: 'n', type: 'char', device: { major: 1, minor: 3 } }, { name: 'p', type: 'fifo' }, { name: 'b', type: 'block', device: { major: 7, minor: 0 } }],
    ])
    expect(names(tree)).toEqual(['s', 't'])
    expect(tree.get('s')?.mode).toBe(0o755)
    expect(tree.get('t')?.mode).toBe(0o1777)
  })
  it('lets a directory that an upper layer implies replace a symbolic link, as overlays do', async () => {
    const tree = await merged([[dir('usr/lib'), symlink('lib', 'usr/lib')], [file('lib/x')]])
    expect(tree.get('lib')?.type).toBe('dir')
    expect(names(tree)).toEqual(['lib', 'lib/x', 'usr', 'usr/lib'])
  })
  it('knows directories that no layer states', async () => {
    expect((await merged([[file('a/b/c')]])).get('a/b')).toMatchObject({ type: 'dir', mode: 0o755 })
  })
  it('skips the bookkeeping of AUFS', async () => {
    expect(names(await merged([[file('.wh..wh.aufs', ''), dir('.wh..wh.plnk'), file('.wh..wh.plnk/1.2', ''), file('f')]]))).toEqual(['f'])
  })
})

describe('refused', () => {
  const damaged = tarBytes([file('f')])
  damaged[0] = 0x67
  it.each<readonly [string, Layer, string]>([
    ['an absolute name', [file('/etc/x')], '/etc/x'],
    ['a name through a symbolic link of its layer', [symlink('a', '/etc'), file('a/x')], 'a/x'],
    ['a name through a file of its layer', [file('a'), file('a/x')], 'a/x'],
    ['a root that is no directory', [symlink('.', '/')], 'root'],
    ['a whiteout of nothing', [file('.wh.', '')], 'whiteout'],
    ['a whiteout of ..', [file('a/.wh...', '')], 'whiteout'],
    ['a whiteout as a directory', [file('a/.wh.b/c', '')], 'whiteout'],
    ['a wrong checksum', damaged, 'checksum'],
    ['an archive cut in an entry', tarBytes([file('f', 'x'.repeat(2000))]).subarray(0, 1024), 'middle'],
    ['a negative size', Buffer.concat([tarHeader({ name: Buffer.from('f'), typeflag: '0', mode: 0o644, size: -1 }), Buffer.alloc(1024)]), 'negative'],
    ['an unknown type', Buffer.concat([tarHeader({ name: Buffer.from('f'), typeflag: 'Z', mode: 0o644, size: 0 }), Buffer.alloc(1024)]), 'type flag'],
    ['a malformed pax header', Buffer.concat([tarHeader({ name: Buffer.from('p'), typeflag: 'x', mode: 0o644, size: 9 }), padded(Buffer.from('99 path=x')), tarBytes([file('f')])]), 'pax'],
  ])('%s', async (_, layer, said) => {
    const error = await refused([layer])
    expect(error.code).toBe('LAYER_INVALID')
    expect(error.message).toContain(said)
    expect(error.message).toContain('Layer 1 of 1')
  })

  it('a layer that is not what the configuration says', async () => {
    const error = await refused([[file('f')]], [`sha256:${'0'.repeat(64)}`])
    expect(error.code).toBe('DIGEST_MISMATCH')
  })
})

describe('the same layers', () => {
  it('give the same id and bytes, in every compression and on fresh state', async () => {
    const layers = [[dir('d'), file('d/f', 'x'.repeat(300_000)), symlink('l', 'd/f')], [file('d/g'), link('h', 'd/f')]]
    const images = await Promise.all(
      (['gzip', 'zstd', 'none'] as const).flatMap((compression) => [compression, compression]).map((compression) =>
        withWorkspace(async ({ path }) => {
          writeLayout(join(path, 'layout'), { tag: 'v', layers, compression })
          const record = await pullImage(`oci:${join(path, 'layout')}:v`, { config: testSite(path).config })
          return `${record.id} ${record.imageSha256}`
        }),
      ),
    )
    expect(new Set(images).size).toBe(1)
  })
})
