/** Attacks on the reading of layers (items 1 to 14 of the project's list), end to end: what is refused leaves nothing behind, what is accepted is right. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, existsSync, ftruncateSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { pullImage } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { type Layer, type RawLayer, writeLayout } from '../../harness/ociLayout.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { padded, paxHeader, paxRecord, tarBytes, type TarEntry, type TarItem, tarHeader, withChecksum } from '../../harness/tarWriter.js'
import { attributesOf, squashfsTree, type Tree } from '../../harness/umoci.js'
import { withWorkspace } from '../../harness/workspace.js'

type Limits = Readonly<Record<string, number>>

const pull = <A>(layers: readonly (Layer | RawLayer)[], limits: Limits, use: (image: string) => Promise<A>): Promise<A> =>
  withWorkspace(async ({ path, at }) => {
    writeLayout(at('layout'), { tag: 'v', layers })
    const site = testSite(path)
    try {
      const record = await pullImage(`oci:${at('layout')}:v`, { config: { ...site.config, limits } })
      return await use(join(site.imagePath, `${record.id}.squashfs`))
    } finally {
      // However it ended: nothing staged, nothing of scratch, and nothing outside the site's own directories.
      const published = existsSync(site.imagePath) ? readdirSync(site.imagePath, { recursive: true }).map(String) : []
      expect(published.filter((name) => name.split('/').some((part) => part.startsWith('.') || part.endsWith('.tmp')))).toEqual([])
      expect(readdirSync(path).sort()).toEqual(expect.arrayContaining(['layout']))
      expect(readdirSync(path).filter((name) => !['images', 'layout', 'state'].includes(name))).toEqual([])
    }
  })

const accepted = (layers: readonly (Layer | RawLayer)[], limits: Limits = {}): Promise<Tree> => pull(layers, limits, squashfsTree)
/** Without unpacking: for names that no path of this machine could hold. */
const listed = (layers: readonly (Layer | RawLayer)[]): Promise<readonly string[]> =>
  pull(layers, {}, async (image) => (await runOk(['unsquashfs', '-l', image])).stdout.split('\n').filter((line) => line.startsWith('squashfs-root/')).map((line) => line.slice(14)))
const names = (tree: Tree) => [...tree.keys()].filter((name) => name !== '').sort()

/** Pulls what must be refused; gives the message, which names the layer. */
const refused = async (layers: readonly (Layer | RawLayer)[], code: string, said: readonly string[], layer = layers.length, limits: Limits = {}) => {
  await withWorkspace(async ({ path, at }) => {
    writeLayout(at('layout'), { tag: 'v', layers })
    const site = testSite(path)
    const error = await pullImage(`oci:${at('layout')}:v`, { config: { ...site.config, limits } }).then(
      () => { throw new Error('it was accepted') },
      (fault: unknown) => fault as { readonly code: string; readonly message: string },
    )
    expect(error).toMatchObject({ code })
    for (const text of said) expect(error.message).toContain(text)
    expect(error.message).toContain(`Layer ${layer} of ${layers.length} (sha256:`)
    expect(error.message).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/u)
    // No image, record, name or staged file; only the directories may be there.
    const left = existsSync(site.imagePath) ? readdirSync(site.imagePath, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory()) : []
    expect(left.map((entry) => entry.name)).toEqual([])
  })
}

const bytes = (text: string) => Buffer.from(text, 'latin1')
const file = (name: string | Buffer, data: string | Buffer = 'x', more: Partial<TarEntry> = {}): TarEntry => ({ name, type: 'file', data, ...more })
const dir = (name: string, mode = 0o755): TarItem => ({ name, type: 'dir', mode })
const hard = (name: string, linkname: string): TarItem => ({ name, type: 'hardlink', linkname })
const symlink = (name: string, linkname: string): TarItem => ({ name, type: 'symlink', linkname })
const sha = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')

describe('attack 1: absolute names', () => {
  it.each(['/etc/passwd', '//etc/passwd', '/./x'])('%s', (name) => refused([[file('a')], [file(name)]], 'LAYER_INVALID', [`entry "${name}"`, 'absolute']))
  it('by pax, and as directory, link and whiteout', async () => {
    await refused([[{ name: 'x', type: 'file', pax: { path: '/etc/passwd' } }]], 'LAYER_INVALID', ['entry "/etc/passwd"'])
    await refused([[dir('/etc')]], 'LAYER_INVALID', ['entry "/etc/"'])
    await refused([[symlink('/etc', 'x')]], 'LAYER_INVALID', ['entry "/etc"'])
    await refused([[file('/.wh.etc')]], 'LAYER_INVALID', ['entry "/.wh.etc"'])
  })
})

describe('attack 2: names with ..', () => {
  it.each(['..', '../x', 'a/../../x', 'a/..', './..', 'a/../b'])('%s', (name) => refused([[file(name)]], 'LAYER_INVALID', [`entry "${name}"`, "'..'"]))
  it('dots that are only dots are names', async () => {
    expect(names(await accepted([[file('a..b'), file('..c'), file('d..'), file('...')]]))).toEqual(['...', '..c', 'a..b', 'd..'])
  })
})

describe('attack 3: the root as something else', () => {
  it.each(['.', './', '/', './.', ''])('%j as a symbolic link', (name) => refused([[file('a')], [symlink(name, '/etc')]], 'LAYER_INVALID', ['entry "', 'root']))
  it.each(['.', ''])('%j as a file, device and hard link', async (name) => {
    await refused([[file(name)]], 'LAYER_INVALID', ['root'])
    await refused([[{ name, type: 'char', device: { major: 1, minor: 3 } }]], 'LAYER_INVALID', ['root'])
    await refused([[file('a'), hard(name, 'a')]], 'LAYER_INVALID', ['root'])
  })
  it('as a directory gives its mode', async () => {
    expect((await accepted([[dir('.', 0o711), file('a')]])).get('')?.mode).toBe(0o711)
  })
})

describe('attack 4: through a symbolic link', () => {
  it.each(['/tmp', '..', 'other'])('to %s, of the same layer', (target) =>
    refused([[dir('other'), symlink('l', target), file('l/x')]], 'LAYER_INVALID', ['entry "l/x"', '"l"', 'symbolic link']))
  it('of the same layer, deeper, and for every type', async () => {
    for (const item of [dir('l/a/b'), symlink('l/x', 'y'), hard('l/x', 'f'), file('l/.wh.x'), file('l/.wh..wh..opq'), { name: 'l/p', type: 'fifo' } as const]) {
      await refused([[file('f'), symlink('l', 'd'), item]], 'LAYER_INVALID', ['entry "l/', 'symbolic link'])
    }
  })
  it('of a lower layer writes nowhere else: the link becomes a directory', async () => {
    const tree = await accepted([[dir('other'), symlink('l', 'other')], [file('l/x')]])
    expect(names(tree)).toEqual(['l', 'l/x', 'other'])
    expect(tree.get('l')?.type).toBe('dir')
  })
  it('to the machine itself leaves the machine alone', async () => {
    await withWorkspace(async ({ path }) => {
      await accepted([[symlink('l', path)], [file('l/evil')], [file('l/.wh..wh..opq')]])
      expect(readdirSync(path)).toEqual([])
    }, 'victim')
  })
})

describe('attack 5: targets of hard links', () => {
  it.each<readonly [string, readonly Layer[], string, number]>([
    ['absolute', [[hard('g', '/etc/shadow')]], 'absolute', 1],
    ['with ..', [[hard('g', '../../etc/shadow')]], "'..'", 1],
    ['missing', [[file('a')], [hard('g', 'f')]], '"f"', 2],
    ['missing, in a middle layer', [[file('a')], [hard('g', 'f')], [file('b')]], '"f"', 2],
    ["whiteout'd in the layer", [[file('f')], [file('.wh.f'), hard('g', 'f')]], '"f"', 2],
    ["whiteout'd between", [[file('f')], [file('.wh.f')], [hard('g', 'f')]], '"f"', 3],
    ["its directory whiteout'd between", [[file('d/f')], [file('.wh.d')], [hard('g', 'd/f')]], '"d/f"', 3],
    ['a whiteout', [[file('.wh.f'), hard('g', '.wh.f')]], '".wh.f"', 1],
    ['a directory', [[dir('d'), hard('g', 'd')]], 'directory', 1],
    ['the root', [[hard('g', '.')]], 'directory', 1],
    ['through a symbolic link', [[dir('d'), file('d/f'), symlink('s', 'd'), hard('g', 's/f')]], '"s/f"', 1],
  ])('%s', (_, layers, said, layer) => refused(layers, 'LAYER_INVALID', ['entry "g"', said], layer))
  it('a symbolic link is linked, not followed', async () => {
    const tree = await accepted([[symlink('s', '/etc/shadow')], [hard('g', 's')]])
    expect(tree.get('g')).toMatchObject({ type: 'symlink', target: '/etc/shadow', links: ['g', 's'] })
  })
  it('a lower file is one inode with it', async () => {
    const tree = await accepted([[file('d/f', 'content')], [hard('g', 'd/f')]])
    expect(tree.get('g')).toMatchObject({ sha256: sha('content'), links: ['d/f', 'g'] })
  })
})

describe('attack 6: hard links in circles', () => {
  it('to itself', () => refused([[hard('g', 'g')]], 'LAYER_INVALID', ['entry "g"', 'itself']))
  it('to itself over a lower file', () => refused([[file('g')], [hard('g', './g')]], 'LAYER_INVALID', ['entry "g"', 'itself']))
  it('in one layer', () => refused([[hard('a', 'b'), hard('b', 'a')]], 'LAYER_INVALID', ['hard link', 'not there']))
  it('over layers', () => refused([[hard('a', 'b')], [hard('b', 'a')]], 'LAYER_INVALID', ['hard link', 'not there'], 1))
  it('a long chain is one inode', async () => {
    const chain = Array.from({ length: 300 }, (_, i) => hard(`l${i + 1}`, `l${i}`))
    const tree = await accepted([[file('l0', 'c')], chain.slice(0, 150), chain.slice(150)])
    expect(tree.get('l300')?.links).toHaveLength(301)
  })
})

describe('attack 7: changes of type', () => {
  const kinds: Readonly<Record<string, readonly TarItem[]>> = {
    file: [file('n', 'f')],
    dir: [dir('n'), file('n/x')],
    symlink: [symlink('n', '/etc')],
    device: [{ name: 'n', type: 'char', device: { major: 1, minor: 3 } }],
  }
  const results: Readonly<Record<string, readonly string[]>> = { file: ['n'], dir: ['n', 'n/x'], symlink: ['n'], device: [] }
  const pairs = Object.keys(kinds).flatMap((from) => Object.keys(kinds).filter((to) => to !== from).map((to) => [from, to] as const))
  it.each(pairs)('%s to %s, over layers and in one', async (from, to) => {
    const [old = [], young = []] = [kinds[from], kinds[to]]
    const tree = await accepted([old, young])
    expect(names(tree)).toEqual(results[to])
    if (to !== 'device') expect(tree.get('n')?.type).toBe(to)
    expect(names(await accepted([[...old, ...young]]))).toEqual(results[to])
  })
})

describe('attack 8: odd whiteouts', () => {
  it.each(['.wh.', '.wh..', '.wh...', 'a/.wh.', 'a/.wh...', '.wh.a/b', 'd/.wh.a/b/c'])('%s is refused', (name) =>
    refused([[file('a/x')], [file(name)]], 'LAYER_INVALID', [`entry "${name}"`, 'whiteout']))
  it('bookkeeping of AUFS is no part of the image', async () => {
    expect(names(await accepted([[file('f')], [file('.wh..wh.x'), dir('.wh..wh.plnk'), file('.wh..wh.plnk/1'), file('.wh..wh.aufs')]]))).toEqual(['f'])
  })
  it('hard links, directories, symbolic links and devices are whiteouts by their names', async () => {
    const tree = await accepted([
      [file('a'), file('b'), file('c'), file('d'), dir('e'), file('e/x')],
      [file('.wh.a'), hard('.wh.b', '.wh.a'), dir('.wh.c'), symlink('.wh.d', '/x'), { name: '.wh.e', type: 'char', device: { major: 0, minor: 0 } }],
    ])
    expect(names(tree)).toEqual([])
  })
  it('names that only look like one are names', async () => {
    expect(names(await accepted([[file('.wh'), file('.whx'), file('a.wh.b')]]))).toEqual(['.wh', '.whx', 'a.wh.b'])
  })
})

describe('attack 9: opaque marks and their siblings', () => {
  it.each([['before', 0], ['between', 1], ['after', 2]] as const)('%s them', async (_, at) => {
    const layer: TarItem[] = [file('d/new'), file('d/sub/new')]
    layer.splice(at, 0, file('d/.wh..wh..opq'))
    expect(names(await accepted([[dir('d'), file('d/old'), file('d/sub/old')], layer]))).toEqual(['d', 'd/new', 'd/sub', 'd/sub/new'])
  })
  it('hold for lower layers alone', async () => {
    expect(names(await accepted([[file('d/1')], [file('d/2'), file('d/.wh..wh..opq')], [file('d/3')]]))).toEqual(['d', 'd/2', 'd/3'])
  })
})

describe('attack 10: devices, FIFOs and sockets', () => {
  const nodes: readonly TarItem[] = [
    { name: 'null', type: 'char', device: { major: 1, minor: 3 } },
    { name: 'whiteout', type: 'char', device: { major: 0, minor: 0 } },
    { name: 'disk', type: 'block', device: { major: 8, minor: 0 } },
    { name: 'pipe', type: 'fifo' },
  ]
  it('are dropped, with links to them, and hide what they stand over', async () => {
    expect(names(await accepted([[file('null'), file('pipe/x'), file('f')], [...nodes, hard('link', 'null')], [hard('later', 'disk')]]))).toEqual(['f'])
  })
  it('that say a size have no content', async () => {
    const header = tarHeader({ name: bytes('null'), typeflag: '3', mode: 0o666, size: 512, device: { major: 1, minor: 3 } })
    expect(names(await accepted([Buffer.concat([header, tarBytes([file('f')])])]))).toEqual(['f'])
  })
})

describe('attack 11: privileges', () => {
  it('setuid and setgid go, sticky stays', async () => {
    const tree = await accepted([[file('s', 'x', { mode: 0o7755 }), { name: 'd', type: 'dir', mode: 0o7777 }, file('u', 'x', { uid: 1000, gid: 1000, mode: 0o4711 })]])
    expect(tree.get('s')?.mode).toBe(0o1755)
    expect(tree.get('d')?.mode).toBe(0o1777)
    expect(tree.get('u')).toMatchObject({ mode: 0o711, uid: 0, gid: 0 })
  })
  it('of attributes only user.* is kept, and nothing of overlays', async () => {
    const attributes = {
      'user.foo': 'bar', 'user.bytes': Buffer.from([0, 0x3d, 0xff]), 'security.capability': Buffer.from('0100000200200000000000000000000000000000', 'hex'),
      'trusted.overlay.opaque': 'y', 'user.overlay.opaque': 'y', 'user.overlay.redirect': '/etc', 'security.selinux': 'x', 'system.posix_acl_access': 'x', 'user.': 'x',
    }
    const layer: readonly TarItem[] = [{ name: 'f', type: 'file', data: 'x', xattrs: attributes }, { name: 'd', type: 'dir', xattrs: attributes }, { name: 'l', type: 'symlink', linkname: 'f', xattrs: attributes }]
    const kept = { 'user.foo': 'bar', 'user.bytes': '\u0000=\u00ff' }
    await pull([layer], {}, (image) => withWorkspace(async ({ at }) => {
      await runOk(['unsquashfs', '-no-progress', '-quiet', '-dest', at('root'), image])
      expect(await attributesOf(at('root'))).toEqual([{ f: kept, d: kept }])
    }))
  })
  it('more attributes than the packer takes are refused', () =>
    refused([[{ name: 'f', type: 'file', xattrs: { 'user.a': 'v'.repeat(40_000), 'user.b': 'v'.repeat(40_000) } }]], 'LIMIT_EXCEEDED', ['entry "f"', 'attributes']))
})

describe('attack 12: headers that lie', () => {
  const raw = (...parts: readonly Buffer[]) => Buffer.concat([...parts, Buffer.alloc(1024)])
  const header = (change: (header: Buffer) => void) => {
    const block = tarHeader({ name: bytes('f'), typeflag: '0', mode: 0o644, size: 0 })
    change(block)
    return withChecksum(block)
  }
  const long = (flag: 'L' | 'K', name: string) => Buffer.concat([tarHeader({ name: bytes('././@LongLink'), typeflag: flag, size: name.length + 1, gnu: true }), padded(bytes(`${name}\0`))])
  const records = (...list: readonly (readonly [string, string | Buffer])[]) => {
    const data = Buffer.concat(list.map(([key, value]) => paxRecord(key, value)))
    return Buffer.concat([tarHeader({ name: bytes('PaxHeaders/f'), typeflag: 'x', size: data.length }), padded(data)])
  }
  const f = tarBytes([file('f', '')], { end: false })
  it.each<readonly [string, Buffer, readonly string[]]>([
    ['pax size twice', raw(records(['size', '0'], ['size', '0']), f), ['pax size']],
    ['pax size of less than nothing', raw(records(['size', '-1']), f), ['pax size']],
    ['pax size 2^63', raw(records(['size', '9223372036854775808']), f), ['pax size']],
    ['pax size past the end', raw(records(['size', '999999']), f), ['entry "f"', 'middle']],
    ['pax path with NUL', raw(records(['path', Buffer.from('a\0b')]), f), ['pax path']],
    ['pax path and GNU name', raw(records(['path', 'a']), long('L', 'b'), f), ['pax', 'GNU']],
    ['pax path out', raw(records(['path', '../a']), f), ['entry "../a"']],
    ['pax link out', raw(records(['linkpath', '/etc/shadow']), tarBytes([hard('g', 'f')], { end: false })), ['entry "g"', 'absolute']],
    ['global path', raw(paxHeader({ path: 'a' }, 'g'), f), ['pax path', 'global']],
    ['two GNU names', raw(long('L', 'a'), long('L', 'b'), f), ['long name']],
    ['a GNU name without an entry', raw(long('L', 'a')), ['middle']],
    ['a sparse map outside its file', raw(records(['GNU.sparse.size', '10'], ['GNU.sparse.map', '8,5']), tarBytes([file('f', '12345')], { end: false })), ['entry "f"', 'sparse']],
    ['a sparse map of another length', raw(records(['GNU.sparse.size', '10'], ['GNU.sparse.map', '0,4']), tarBytes([file('f', '12345')], { end: false })), ['entry "f"', 'sparse']],
    ['a sparse count that lies', raw(records(['GNU.sparse.size', '10'], ['GNU.sparse.numblocks', '2'], ['GNU.sparse.map', '0,5']), tarBytes([file('f', '12345')], { end: false })), ['entry "f"', 'sparse']],
    ['a sparse name out', raw(records(['GNU.sparse.size', '0'], ['GNU.sparse.map', ''], ['GNU.sparse.name', '../x']), f), ['entry "../x"']],
    ['negative size in base 256', raw(header((b) => b.fill(0xff, 124, 136))), ['entry "f"', 'size']],
    ['owner 2^63 in base 256', raw(header((b) => { b.fill(0, 108, 116); b[108] = 0x81 })), ['entry "f"', 'owner']],
    ['a size that is no number', raw(header((b) => b.write('0000000000x', 124, 'latin1'))), ['entry "f"', 'size']],
    ['a wrong checksum', raw(Buffer.concat([f]).fill(0x67, 0, 1)), ['entry "g"', 'checksum']],
    ['an entry behind one block of zeros', raw(f, Buffer.alloc(512), f), ['end mark']],
    ['a file named as a directory', raw(tarBytes([file('d/', '')], { end: false })), ['entry "d/"']],
    ['an unknown type', raw(header((b) => b.write('Q', 156))), ['entry "f"', 'type flag']],
  ])('%s', (_, layer, said) => refused([[file('a')], layer], 'LAYER_INVALID', said))
  it('pax wins over the header, and owners are root whatever is said', async () => {
    const tree = await accepted([raw(records(['path', 'real'], ['size', '3'], ['uid', '9223372036854775808'], ['mtime', '1.5']), header((b) => b.write('00000000777', 124)), padded(bytes('abc')))])
    expect(tree.get('real')).toMatchObject({ sha256: sha('abc'), uid: 0, gid: 0, mtime: 1 })
  })
  it('zeros and junk behind the end mark are no part of the archive', async () => {
    expect(names(await accepted([Buffer.concat([tarBytes([file('f')]), Buffer.alloc(777), bytes('junk')]), Buffer.concat([tarBytes([file('g')], { end: false })])]))).toEqual(['f', 'g'])
  })
  it('the message shows a name from pax, cut and made visible', () =>
    refused([[file(`${'\u001b[31m\n'}${'n'.repeat(220)}/../x`)]], 'LAYER_INVALID', ['\\x1b[31m\\x0a', 'nnn...']))
})

describe('attack 13: names', () => {
  it('any bytes but NUL and slash are kept', async () => {
    const odd = ['new\nline', 'esc\u001b[31m', 'bad\xff\xfe', '\xc3(', 'tab\t', ' ', '\\', '*', 'del\x7f', '-rf', '\u0001']
    expect(names(await accepted([odd.map((name) => file(bytes(name)))]))).toEqual([...odd].sort())
  })
  it('twins of one look stay two files', async () => {
    const twins = ['caf\u00e9', 'cafe\u0301', 'K', '\u212a', 'a', 'A'].map((name) => Buffer.from(name))
    const tree = await accepted([twins.map((name) => file(name, name))])
    expect(names(tree)).toEqual(twins.map((name) => name.toString('latin1')).sort())
    for (const name of twins) expect(tree.get(name.toString('latin1'))?.sha256).toBe(sha(name))
  })
  it('the longest ones are kept, longer ones refused', async () => {
    const component = 'c'.repeat(255)
    const path = Array.from({ length: 16 }, () => 'p'.repeat(254)).join('/') // 4,079 bytes
    for (const format of ['pax', 'gnu'] as const) {
      const found = await listed([[file(component, 'x', { format }), file(`${path}/${'q'.repeat(15)}`, 'x', { format })]])
      expect(found).toEqual(expect.arrayContaining([component, `${path}/${'q'.repeat(15)}`]))
      await refused([[file(`${component}c`, 'x', { format })]], 'LAYER_INVALID', ['255 bytes', 'entry "ccc'])
      await refused([[file(`${path}/${'q'.repeat(16)}`, 'x', { format })]], 'LIMIT_EXCEEDED', ['4095 bytes', 'entry "ppp'])
    }
    await refused([[symlink('l', 't'.repeat(4096))]], 'LAYER_INVALID', ['entry "l"', '4,095'])
  })
  it('depth has a limit', async () => {
    const deep = (depth: number) => Array.from({ length: depth }, () => 'd').join('/')
    expect((await accepted([[file(deep(256))]])).size).toBe(257)
    await refused([[file(deep(257))]], 'LIMIT_EXCEEDED', ['256 components'])
    await refused([[file(deep(2000))]], 'LIMIT_EXCEEDED', ['256 components'], 1, { depth: 256 })
  })
  // tar2sqfs looks through the whole directory for each entry: its time grows with the square. The merger's own does not (test_merge.c).
  const many = process.env['SHIFTER_TEST_LONG'] === '1' ? 100_000 : 20_000
  it(`${many} entries in one directory`, { timeout: 600_000 }, async () => {
    const part = Array.from({ length: many }, (_, i) => tarHeader({ name: bytes(`d/${i}`), typeflag: '0', mode: 0o644 }))
    const count = await pull([Buffer.concat([...part, Buffer.alloc(1024)]), [file('d/.wh.0'), hard('last', `d/${many - 1}`)]], {}, async (image) =>
      (await runOk(['sh', '-c', 'unsquashfs -ll "$1" | grep -c squashfs-root/', 'sh', image])).stdout.trim())
    expect(Number(count)).toBe(many + 1)
  })
})

describe('attack 14: bombs', () => {
  const zeros = Buffer.alloc(80 << 20)
  const zstd = (data: Buffer) => spawnSync('zstd', ['-q', '-c', '-T1'], { input: data, maxBuffer: 1 << 30 }).stdout
  const archive = tarBytes([file('zeros', zeros)])
  const tooMuch = ['entry "zeros"', "the layer's files have more than 67108864 bytes"]
  it('by ratio, gzip', () => refused([{ blob: gzipSync(archive), tar: archive }], 'LIMIT_EXCEEDED', tooMuch, 1, { ratio: 100 }))
  it('by ratio, zstd', () => refused([{ blob: zstd(archive), tar: archive, compression: 'zstd' }], 'LIMIT_EXCEEDED', tooMuch))
  it('by ratio, behind the end of the archive', () => {
    const tar = Buffer.concat([tarBytes([file('f')]), zeros])
    return refused([{ blob: gzipSync(tar), tar }], 'LIMIT_EXCEEDED', ['100 times its size'], 1, { ratio: 100 })
  })
  it('by bytes', () => refused([[file('a')], [file('f', Buffer.alloc(70_000))]], 'LIMIT_EXCEEDED', ['65536 bytes'], 2, { inflatedBytes: 65_536 }))
  it('by bytes of all layers together', () =>
    refused([[file('a', Buffer.alloc(40_000))], [file('f', Buffer.alloc(40_000))]], 'LIMIT_EXCEEDED', [], 1, { inflatedBytes: 65_536 }))
  it('in gzip members, none of which is large', () => {
    const parts = Array.from({ length: 80 }, (_, i) => archive.subarray(i << 20, (i + 1) << 20))
    return refused([{ blob: Buffer.concat([...parts, archive.subarray(80 << 20)].map((part) => gzipSync(part))), tar: archive }], 'LIMIT_EXCEEDED', tooMuch, 1, { ratio: 100 })
  })
  it('gzip members and zstd frames, empty and skippable ones among them, are one stream', async () => {
    const tar = tarBytes([file('f', 'content')])
    const [front, back] = [tar.subarray(0, 300), tar.subarray(300)]
    const skip = Buffer.from('5a2a4d1804000000deadbeef', 'hex')
    const empty = Buffer.alloc(0)
    for (const layer of [
      { blob: Buffer.concat([gzipSync(empty), gzipSync(front), gzipSync(empty), gzipSync(back), gzipSync(empty)]), tar },
      { blob: Buffer.concat([skip, zstd(front), skip, zstd(back), skip]), tar, compression: 'zstd' as const },
    ]) expect((await accepted([layer])).get('f')?.sha256).toBe(sha('content'))
  })
  it('a zstd window of 2 GiB', () => {
    const tar = tarBytes([file('f')])
    return refused([{ blob: Buffer.from('28b52ffd00a8010000', 'hex'), tar, compression: 'zstd' }], 'LIMIT_EXCEEDED', ['window', '128 MiB'])
  })
  it('a sparse file, by ratio and by bytes', async () => {
    const bomb = (size: string) => [{ raw: paxHeader({ 'GNU.sparse.size': size, 'GNU.sparse.map': '' }) }, file('hole', '')] as const
    await refused([bomb('1099511627776')], 'LIMIT_EXCEEDED', ['entry "hole"', 'layer'])
    await refused([bomb('1000000000000000000')], 'LIMIT_EXCEEDED', ['entry "hole"', 'bytes'])
    await refused([bomb('70000')], 'LIMIT_EXCEEDED', ['entry "hole"', '65536 bytes'], 1, { inflatedBytes: 65_536 })
  })
  it('inodes, by entries and by the directories that names imply', async () => {
    await refused([[file('a'), file('b')], [file('c'), file('d'), file('e')]], 'LIMIT_EXCEEDED', ['entry "b"', '4 entries'], 1, { entries: 4 })
    await refused([['a', 'b', 'c', 'd', 'e'].map((name) => file(`d/${name}`))], 'LIMIT_EXCEEDED', ['entry "d/e"', '4 names'], 1, { directoryEntries: 4 })
    await refused([[file('a/b/c/d/e/f')]], 'LIMIT_EXCEEDED', ['entry "a/b/c/d/e/f"', '4 names'], 1, { entries: 4 })
  })
  it('garbage behind the stream, a cut one and another algorithm', async () => {
    const tar = tarBytes([file('f')])
    await refused([{ blob: Buffer.concat([gzipSync(tar), bytes('garbage')]), tar }], 'LAYER_INVALID', ['gzip'])
    await refused([{ blob: gzipSync(tar).subarray(0, -9), tar }], 'LAYER_INVALID', ['gzip', 'cut'])
    await refused([{ blob: zstd(tar).subarray(0, -3), tar, compression: 'zstd' }], 'LAYER_INVALID', ['zstd', 'cut'])
    await refused([{ blob: Buffer.from('fd377a585a000000', 'hex'), tar }], 'LAYER_INVALID', ['xz'])
    await refused([{ blob: gzipSync(tar), tar: tarBytes([file('g')]) }], 'DIGEST_MISMATCH', ['sha256:'])
  })
  it('sparse files of real writers have their content, holes and all', async () => {
    await withWorkspace(async ({ path, at }) => {
      const pieces: readonly (readonly [number, string])[] = [[0, 'begin'], [1 << 20, 'middle'], ...Array.from({ length: 40 }, (_, i) => [(2 << 20) + i * 16_384, `piece ${i}`] as const)]
      const fd = openSync(at('s'), 'w')
      for (const [offset, text] of pieces) writeSync(fd, text, offset)
      ftruncateSync(fd, 5_000_001)
      closeSync(fd)
      const sum = sha(readFileSync(at('s')))
      for (const form of [['--format=gnu'], ['--format=posix', '--sparse-version=0.0'], ['--format=posix', '--sparse-version=0.1'], ['--format=posix', '--sparse-version=1.0']]) {
        await runOk(['tar', '--sparse', ...form, '-cf', at('s.tar'), '-C', path, 's'])
        const tar = readFileSync(at('s.tar'))
        expect(tar.length).toBeLessThan(1 << 20)
        expect((await accepted([[file('a')], tar])).get('s')?.sha256).toBe(sum)
      }
    }, 'sparse')
  })
})
