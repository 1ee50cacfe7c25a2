/**
 * The reference for merging layers: `umoci unpack`, and a comparison of what it makes with what a squashfs holds.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { runOk } from './process.js'
import { withWorkspace } from './workspace.js'

export type TreeType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'

export interface TreeNode {
  readonly type: TreeType
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  /** Of a symbolic link; one character a byte. */
  readonly target?: string
  /** SHA-256 of a file's contents. */
  readonly sha256?: string
  /** Names of the same inode, sorted; absent when there is one name only. */
  readonly links?: readonly string[]
  /** Device number of a device node. */
  readonly rdev?: number
}

/** Paths (no leading slash, one character a byte, so that any name is a key) to what is there. The root is `''`. */
export type Tree = ReadonlyMap<string, TreeNode>

/** Unpack an image of a layout as root; gives the directory of the root file system. */
export const umociUnpack = async (layoutDir: string, tag: string, dest: string): Promise<string> => {
  await runOk(['umoci', 'unpack', '--image', `${layoutDir}:${tag}`, dest])
  return join(dest, 'rootfs')
}

const typeOf = (stat: ReturnType<typeof lstatSync>): TreeType => {
  if (stat === undefined) throw new Error('no status')
  if (stat.isFile()) return 'file'
  if (stat.isDirectory()) return 'dir'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isCharacterDevice()) return 'char'
  if (stat.isBlockDevice()) return 'block'
  if (stat.isFIFO()) return 'fifo'
  return 'socket'
}

/** Read a directory tree. Names are bytes all the way: a decoded name could not be opened again. */
export const directoryTree = (dir: string): Tree => {
  const nodes = new Map<string, TreeNode>()
  const inodes = new Map<string, string[]>()
  const inodeOf = new Map<string, string>()
  const visit = (path: Buffer, key: string): void => {
    const stat = lstatSync(path)
    const type = typeOf(stat)
    nodes.set(key, {
      type,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      mtime: Math.floor(stat.mtimeMs / 1000),
      ...(type === 'symlink' ? { target: readlinkSync(path, { encoding: 'buffer' }).toString('latin1') } : {}),
      ...(type === 'file' ? { sha256: createHash('sha256').update(readFileSync(path)).digest('hex') } : {}),
      ...(type === 'char' || type === 'block' ? { rdev: stat.rdev } : {}),
    })
    if (type === 'dir') {
      for (const name of readdirSync(path, { encoding: 'buffer' })) {
        visit(Buffer.concat([path, Buffer.from('/'), name]), `${key === '' ? '' : `${key}/`}${name.toString('latin1')}`)
      }
    } else if (stat.nlink > 1) {
      const inode = `${stat.dev}:${stat.ino}`
      inodeOf.set(key, inode)
      inodes.set(inode, [...(inodes.get(inode) ?? []), key])
    }
  }
  visit(Buffer.from(dir), '')
  const groups = new Map([...inodes].map(([inode, names]) => [inode, names.length > 1 ? names.sort() : undefined]))
  return new Map(
    [...nodes].map(([key, node]) => {
      const links = groups.get(inodeOf.get(key) ?? '')
      return [key, links === undefined ? node : { ...node, links }]
    }),
  )
}

/** Read a squashfs by unpacking it (as root) to a temporary directory. */
export const squashfsTree = (file: string): Promise<Tree> =>
  withWorkspace(async (workspace) => {
    const dest = workspace.at('root')
    await runOk(['unsquashfs', '-no-progress', '-quiet', '-dest', dest, file])
    return directoryTree(dest)
  }, 'unsquashfs')

/** Node can't read them. */
const readAttributes = `
import os, sys, json
def attributes(root):
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            got = {a: os.getxattr(path, a, follow_symlinks=False).decode('latin1') for a in os.listxattr(path, follow_symlinks=False)}
            if got: found[os.path.relpath(path, root).decode('latin1')] = got
    return found
print(json.dumps([attributes(os.fsencode(root)) for root in sys.argv[1:]]))
`

type Attributes = Readonly<Record<string, Readonly<Record<string, string>>>>

/** Of each directory, the extended attributes by path (one character a byte) of what has any. */
export const attributesOf = async (...dirs: readonly string[]): Promise<readonly Attributes[]> =>
  JSON.parse((await runOk(['python3', '-c', readAttributes, ...dirs])).stdout) as readonly Attributes[]

export interface CompareOptions {
  /** Permission bits to compare; a policy that clears setuid is compared with `0o1777` and asserted on its own. */
  readonly modeMask?: number
  /** Off unless asked: images owned by one account may squash them. */
  readonly owners?: boolean
  readonly mtimes?: boolean
  /** The root directory itself is mostly not stated by layers, and every unpacker picks its own mode. */
  readonly root?: boolean
}

const show = (key: string): string => JSON.stringify(key === '' ? '/' : key)

/** Every difference in words; empty when the trees are equal. */
export const compareTrees = (a: Tree, b: Tree, options: CompareOptions = {}): string[] => {
  const mask = options.modeMask ?? 0o7777
  const differences: string[] = []
  for (const key of [...new Set([...a.keys(), ...b.keys()])].sort()) {
    if (key === '' && options.root !== true) continue
    const left = a.get(key)
    const right = b.get(key)
    if (left === undefined || right === undefined) {
      differences.push(`${show(key)}: only in the ${left === undefined ? 'second' : 'first'} (${(left ?? right)?.type})`)
      continue
    }
    const check = (what: string, x: unknown, y: unknown): void => {
      const [textX, textY] = [JSON.stringify(x), JSON.stringify(y)]
      if (textX !== textY) differences.push(`${show(key)}: ${what} ${textX} and ${textY}`)
    }
    check('type', left.type, right.type)
    // A symbolic link has no mode of its own on Linux.
    if (left.type !== 'symlink') check('mode', (left.mode & mask).toString(8), (right.mode & mask).toString(8))
    check('target', left.target, right.target)
    check('contents', left.sha256, right.sha256)
    check('hard links', left.links, right.links)
    check('device', left.rdev, right.rdev)
    if (options.owners === true) check('owner', [left.uid, left.gid], [right.uid, right.gid])
    if (options.mtimes === true) check('mtime', left.mtime, right.mtime)
  }
  return differences
}
