/**
 * Generated stacks of layers, for comparing a merger with a reference on thousands of cases nobody thought of.
 *
 * Operations are drawn freely and played against a model of the root file system, which turns down or bends what would not be
 * valid at that point (a hard link needs a target, nothing goes through a symbolic link). So every stack is a valid one, it
 * shrinks well, and the model's own result is at hand as a second opinion.
 *
 * Shapes that are odd but right are among them: sparse files, long names, chains of hard links, entries stated twice,
 * whiteouts that are links or directories, extended attributes, layers with nothing in them, device nodes and FIFOs that hide what is below. Absolute names and `..` are left to tests of their own: they are matters of policy, not of merging.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type { TarEntry, TarFormat } from './tarWriter.js'
import type { Tree, TreeNode } from './umoci.js'

/** A stack, oldest layer first. */
export interface Stack {
  readonly layers: readonly (readonly TarEntry[])[]
  /** What the layers make together, by the model. */
  readonly expected: Tree
  /** One line an entry, for the report of a failure. */
  readonly describe: () => string
}

export interface StackOptions {
  /** 5 unless told. */
  readonly maxLayers?: number
  /** 14 unless told. */
  readonly maxOperations?: number
  /**
   * Let a layer link to a file and then replace or remove that file further on in the same layer. Builders do not write this;
   * off unless asked.
   */
  readonly reorderedLinks?: boolean
}

interface Operation {
  readonly kind: number
  readonly where: number
  readonly what: number
  readonly how: number
  readonly form: number
}

interface Inode {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  readonly data: Buffer
  readonly xattrs?: Xattrs | undefined
}

type Xattrs = Readonly<Record<string, string>>

type Node =
  | { readonly type: 'dir'; readonly mode: number; readonly uid: number; readonly gid: number; readonly mtime: number }
  | { readonly type: 'file'; readonly inode: Inode }
  | { readonly type: 'symlink'; readonly target: string }
  /** A device node or FIFO: there for the layers, and left out of what they make. */
  | { readonly type: 'special' }

/** Paths and names are strings of one character a byte. Few short names, so that layers meet; then every awkward sort. */
const NAMES = [
  'a', 'b', 'c', 'usr', 'lib', 'bin', 'etc',
  'with space', 'new\nline', 'back\\slash', 'tab\there', '..dots', '.whx', 'x.wh.y', '-dash', '*', 'quote"\'',
  Buffer.from('naïve-ü').toString('latin1'),
  'caf\xe9', '\xff\xfe', 'bad\xc3(utf8',
  `long-${'n'.repeat(95)}`, `longer-${'m'.repeat(120)}`, `longest-${'k'.repeat(230)}`,
]
const FILE_MODES = [0o644, 0o755, 0o600, 0o444, 0o4755, 0o2755, 0o6711, 0o1644, 0o000]
const DIR_MODES = [0o755, 0o700, 0o1777, 0o2775, 0o555, 0o711]
const TARGETS = [
  'a', '../b', 'usr/lib', '/etc/passwd', '/', '.', '..', 'nowhere/at/all', 'with space', 'caf\xe9',
  `long/${'t'.repeat(120)}`, `${'d/'.repeat(140)}end`,
]
const MAX_PATH = 900
const MAX_DEPTH = 7

const pick = <A>(list: readonly A[], n: number): A => {
  if (list.length === 0) throw new Error('nothing to pick from')
  return list[n % list.length] as A
}

const join = (dir: string, name: string): string => (dir === '' ? name : `${dir}/${name}`)
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
const isBelow = (path: string, dir: string): boolean => path !== '' && (dir === '' || path.startsWith(`${dir}/`))

/** Plays operations against the model and writes down the entries that state them. */
class StackBuilder {
  readonly layers: TarEntry[][] = []
  readonly #tree = new Map<string, Node>()
  /** Paths stated by the current layer. */
  #stated = new Set<string>()
  /** Targets of the current layer's hard links: they must stay what they are until it ends. */
  #pinned = new Set<string>()
  #entries: TarEntry[] = []
  #serial = 0

  constructor(readonly options: StackOptions) {}

  layer(operations: readonly Operation[]): void {
    this.#stated = new Set()
    this.#pinned = new Set()
    this.#entries = []
    for (const operation of operations) this.#play(operation)
    this.layers.push(this.#entries)
  }

  #play(op: Operation): void {
    const kind = op.kind % 100
    if (kind < 26) this.#file(this.#free(op), op)
    else if (kind < 36) this.#directory(this.#free(op), op)
    else if (kind < 44) this.#symlink(this.#free(op), op)
    else if (kind < 56) this.#hardLink(op)
    else if (kind < 64) this.#whiteout(op, false)
    else if (kind < 70) this.#whiteout(op, true)
    else if (kind < 76) this.#opaque(op)
    else if (kind < 82) this.#restate(op)
    else if (kind < 88) this.#changeType(op)
    else if (kind < 92) this.#impliedParents(op)
    else if (kind < 95) this.#special(this.#free(op), op)
    else this.#duplicate(op)
  }

  // --- what is there -------------------------------------------------------------------------------------------------

  #paths(keep: (node: Node, path: string) => boolean): readonly string[] {
    return [...this.#tree].filter(([path, node]) => keep(node, path)).map(([path]) => path)
  }

  #directories(): readonly string[] {
    return ['', ...this.#paths((node, path) => node.type === 'dir' && path.split('/').length < MAX_DEPTH)]
  }

  /** A path where a file or link may be stated: new, or taken by something that isn't a directory. */
  #free(op: Operation): string {
    const wanted = join(pick(this.#directories(), op.where), pick(NAMES, op.what))
    if (wanted.length <= MAX_PATH && this.#tree.get(wanted)?.type !== 'dir' && this.#mayChange(wanted)) return wanted
    // Always possible, so that no operation is lost.
    return `f${this.#serial++}`
  }

  #mayChange(path: string): boolean {
    return this.options.reorderedLinks === true || ![...this.#pinned].some((pin) => pin === path || isBelow(pin, path))
  }

  /** Whether a path comes from lower layers alone, all the way down, so that this layer may take it away. */
  #isLower(path: string): boolean {
    return this.#mayChange(path) && ![...this.#stated].some((stated) => stated === path || isBelow(stated, path))
  }

  // --- the entries ---------------------------------------------------------------------------------------------------

  #emit(op: Operation, path: string, entry: Omit<TarEntry, 'name' | 'format' | 'linkname'> & { readonly linkname?: string }): void {
    // All the prefixes and forms in which builders write the same path.
    const prefix = op.form % 3 === 0 ? './' : ''
    const formats: readonly (TarFormat | undefined)[] = [undefined, 'gnu', 'pax']
    const { linkname, ...rest } = entry
    const format = entry.xattrs !== undefined ? 'pax' : pick(formats, Math.floor(op.form / 3))
    this.#entries.push({
      ...rest,
      name: Buffer.from(path === '' ? './' : prefix + path, 'latin1'),
      format,
      ...(linkname === undefined
        ? {}
        : { linkname: Buffer.from(entry.type === 'hardlink' ? prefix + linkname : linkname, 'latin1') }),
    })
  }

  #attributes(op: Operation): { readonly uid: number; readonly gid: number; readonly mtime: number } {
    const id = op.how % 5 === 0 ? 1000 : op.how % 7 === 0 ? 3_000_000 : 0
    return { uid: id, gid: id, mtime: 1_000_000_000 + (op.how % 1000) }
  }

  #xattrs(op: Operation): Xattrs | undefined {
    return op.where % 17 === 3 ? { 'user.foo': `value ${op.how}`, 'user.other': '=\n' } : undefined
  }

  #file(path: string, op: Operation): void {
    const sparse = op.where % 6 === 1 ? pick(['0.1', '1.0'] as const, op.how) : undefined
    const size = sparse !== undefined ? 20_000 + (op.how % 3) * 512 : ([0, 1, 511, 512, 513, 20_000][op.how % 6] ?? 0)
    // No two files alike, so that a mix-up shows.
    const data = Buffer.from(`${this.#serial++}:${path}\n`.repeat(size === 0 ? 0 : Math.ceil(size / 4)).slice(0, size), 'latin1')
    // Holes at the beginning, at the end, and between.
    if (sparse !== undefined) for (let at = (op.how % 2) * 512; at < size; at += 1024 * (1 + (op.what % 4))) data.fill(0, at, Math.min(at + 512, size))
    const inode: Inode = { mode: pick(FILE_MODES, op.how), ...this.#attributes(op), data, xattrs: this.#xattrs(op) }
    this.#emit(op, path, { type: 'file', ...inode, sparse })
    this.#tree.set(path, { type: 'file', inode })
    this.#stated.add(path)
  }

  #directory(path: string, op: Operation): void {
    // A file of this layer does not turn into a directory in the same layer.
    if (path !== '' && this.#tree.has(path) && this.#tree.get(path)?.type !== 'dir' && !this.#isLower(path)) {
      return this.#directory(`d${this.#serial++}`, op)
    }
    // The root is not in the model, so that nothing may depend on its setgid bit.
    const mode = pick(DIR_MODES, op.how) & (path === '' ? 0o5777 : 0o7777)
    const node = { mode, ...this.#attributes(op) }
    this.#emit(op, path, { type: 'dir', ...node, xattrs: path === '' ? undefined : this.#xattrs(op) })
    if (path !== '') this.#tree.set(path, { type: 'dir', ...node })
    this.#stated.add(path)
  }

  #symlink(path: string, op: Operation): void {
    const target = pick(TARGETS, op.how)
    this.#emit(op, path, { type: 'symlink', mode: 0o777, ...this.#attributes(op), linkname: target })
    this.#tree.set(path, { type: 'symlink', target })
    this.#stated.add(path)
  }

  #special(path: string, op: Operation): void {
    const type = pick(['char', 'block', 'fifo'] as const, op.how)
    // 0:0 is what overlay file systems take for a whiteout, and no tar does.
    const device = type === 'fifo' ? undefined : pick([{ major: 0, minor: 0 }, { major: 1, minor: 3 }], op.what)
    this.#emit(op, path, { type, mode: pick(FILE_MODES, op.how), ...this.#attributes(op), device })
    this.#tree.set(path, { type: 'special' })
    this.#stated.add(path)
  }

  #hardLink(op: Operation): void {
    const files = this.#paths((node) => node.type === 'file')
    const path = this.#free(op)
    if (files.length === 0) return this.#file(path, op)
    const target = pick(files, op.how)
    const node = this.#tree.get(target)
    if (target === path || node?.type !== 'file') return
    // As tar writes it: the link repeats the attributes of its target.
    const { mode, uid, gid, mtime, xattrs } = node.inode
    this.#emit(op, path, { type: 'hardlink', mode, uid, gid, mtime, xattrs, linkname: target })
    this.#tree.set(path, node)
    this.#stated.add(path)
    this.#pinned.add(target)
  }

  #remove(path: string): void {
    for (const other of [...this.#tree.keys()]) if (other === path || isBelow(other, path)) this.#tree.delete(other)
  }

  #whiteout(op: Operation, addAgain: boolean): void {
    const lower = this.#paths((_, path) => this.#isLower(path) && nameOf(path).length < 250)
    if (lower.length === 0) return this.#file(this.#free(op), op)
    const path = pick(lower, op.where)
    // By its name, whatever its type.
    const form = op.how % 9
    const type = form === 0 ? 'symlink' : form === 1 ? 'dir' : form === 2 ? 'hardlink' : 'file'
    const to = type === 'symlink' || type === 'hardlink' ? { linkname: '.wh.nothing' } : {}
    this.#emit(op, join(parentOf(path), `.wh.${nameOf(path)}`), { type, mode: 0, mtime: 0, ...to })
    this.#remove(path)
    if (!addAgain) return
    if (op.what % 3 === 0) this.#directory(path, op)
    else if (op.what % 3 === 1) this.#symlink(path, op)
    else this.#file(path, op)
  }

  #opaque(op: Operation): void {
    // What this layer says below the directory must say its own parents too: whether a parent that only a lower layer states
    // outlives the marker is answered differently by every unpacker.
    const fits = (dir: string): boolean =>
      this.#paths((_, path) => isBelow(path, dir)).every((path) => {
        if (!this.#stated.has(path)) return this.#mayChange(path)
        for (let up = parentOf(path); isBelow(up, dir); up = parentOf(up)) if (!this.#stated.has(up)) return false
        return true
      })
    const dirs = this.#directories().filter((dir) => dir !== '' && fits(dir))
    if (dirs.length === 0) return this.#directory(this.#free(op), op)
    const dir = pick(dirs, op.where)
    this.#emit(op, join(dir, '.wh..wh..opq'), { type: 'file', mode: 0, mtime: 0 })
    for (const path of this.#paths((_, other) => isBelow(other, dir))) if (!this.#stated.has(path)) this.#tree.delete(path)
  }

  #restate(op: Operation): void {
    this.#directory(pick(['', ...this.#paths((node) => node.type === 'dir')], op.where), op)
  }

  #changeType(op: Operation): void {
    const lower = this.#paths((_, path) => this.#isLower(path))
    if (lower.length === 0) return this.#file(this.#free(op), op)
    const path = pick(lower, op.where)
    const type = this.#tree.get(path)?.type
    this.#remove(path)
    if (type !== 'dir' && op.what % 2 === 0) return this.#directory(path, op)
    if (type === 'symlink' || (type === 'dir' && op.what % 2 === 0)) return this.#file(path, op)
    this.#symlink(path, op)
  }

  #impliedParents(op: Operation): void {
    // An unpacker's mkdir would inherit the setgid bit of the directory above; a stream has nothing to inherit from.
    const inherits = (dir: string): boolean => {
      const node = this.#tree.get(dir)
      return node?.type === 'dir' && (node.mode & 0o2000) !== 0
    }
    const base = pick(this.#directories().filter((dir) => !inherits(dir)), op.where)
    const first = `p${this.#serial++}`
    const path = [base, first, pick(NAMES, op.what), pick(NAMES, op.how)].filter((part) => part !== '').join('/')
    if (path.length > MAX_PATH) return this.#file(this.#free(op), op)
    for (let up = parentOf(path); up !== base; up = parentOf(up)) {
      this.#tree.set(up, { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0 })
    }
    this.#file(path, op)
  }

  #duplicate(op: Operation): void {
    const again = [...this.#stated].filter((path) => this.#mayChange(path) && this.#tree.has(path))
    if (again.length === 0) return this.#file(this.#free(op), op)
    const path = pick(again, op.where)
    if (this.#tree.get(path)?.type === 'dir') this.#directory(path, op)
    else if (op.what % 3 === 0) this.#symlink(path, op)
    else this.#file(path, op)
  }

  // --- the result ----------------------------------------------------------------------------------------------------

  expected(): Tree {
    const names = new Map<Inode, string[]>()
    for (const [path, node] of this.#tree) {
      if (node.type === 'file') names.set(node.inode, [...(names.get(node.inode) ?? []), path])
    }
    const show = (node: Exclude<Node, { type: 'special' }>): TreeNode => {
      switch (node.type) {
        case 'dir':
          return node
        case 'symlink':
          return { type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtime: 0, target: node.target }
        case 'file': {
          const { mode, uid, gid, mtime, data } = node.inode
          const links = names.get(node.inode) ?? []
          return {
            type: 'file', mode, uid, gid, mtime,
            sha256: createHash('sha256').update(data).digest('hex'),
            ...(links.length > 1 ? { links: [...links].sort() } : {}),
          }
        }
      }
    }
    return new Map([...this.#tree].flatMap(([path, node]) => (node.type === 'special' ? [] : [[path, show(node)]])))
  }
}

/** The layers in words. */
export const describeLayers = (layers: readonly (readonly TarEntry[])[]): string => {
  const text = (name: string | Buffer | undefined): string => JSON.stringify((typeof name === 'string' ? name : (name?.toString('latin1') ?? '')))
  return layers
    .flatMap((entries, i) => [
      `layer ${i}:`,
      ...entries.map((entry) => {
        const link = entry.linkname === undefined ? '' : ` -> ${text(entry.linkname)}`
        const size = entry.type === 'file' ? ` ${entry.data?.length ?? 0} bytes` : ''
        return `  ${entry.type} ${(entry.mode ?? 0).toString(8)} ${text(entry.name)}${link}${size}${entry.format === undefined ? '' : ` (${entry.format})`}`
      }),
    ])
    .join('\n')
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.nat(99),
  where: fc.nat(1000),
  what: fc.oneof({ weight: 3, arbitrary: fc.nat(4) }, { weight: 2, arbitrary: fc.nat(NAMES.length - 1) }),
  how: fc.nat(1000),
  form: fc.nat(8),
})

/** An arbitrary of valid stacks. */
export const stacks = (options: StackOptions = {}): fc.Arbitrary<Stack> =>
  fc
    .array(fc.array(operation, { minLength: 0, maxLength: options.maxOperations ?? 14, size: 'max' }), {
      minLength: 1,
      maxLength: options.maxLayers ?? 5,
      size: 'max',
    })
    .map((layers) => {
      const builder = new StackBuilder(options)
      for (const operations of layers) builder.layer(operations)
      const describe = (): string => describeLayers(builder.layers)
      const stack: Stack = { layers: builder.layers, expected: builder.expected(), describe }
      return Object.defineProperty(stack, fc.toStringMethod, { value: () => `\n${describe()}`, enumerable: false })
    })
