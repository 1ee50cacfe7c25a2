/**
 * Disks for the tests of shifter-disk, made by Debian's tools: trees, file systems with a tree in them, and disks with file systems in them.
 *
 * @module
 */
import { chmodSync, copyFileSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runOk } from '../../harness/process.js'

export const MIB = 1024 * 1024
/** mkfs.xfs makes none smaller. */
export const FILE_SYSTEM_SIZE = 320 * MIB

const OS_RELEASE = 'NAME="Debian"\nID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'

/** Put files below a directory; a text that begins with `-> ` is a link. */
export const put = (root: string, files: Readonly<Record<string, string>>): void => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), join(root, name))
    else writeFileSync(join(root, name), content)
  }
}

/** A system small enough to be made often: busybox, an os-release file, and something for many of the patterns that are left out. */
export const makeSystem = (root: string, files: Readonly<Record<string, string>> = {}): string => {
  mkdirSync(join(root, 'bin'), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
  chmodSync(join(root, 'bin/busybox'), 0o755)
  for (const directory of ['dev', 'home', 'opt', 'proc', 'sys', 'usr/bin', 'var']) mkdirSync(join(root, directory), { recursive: true })
  put(root, {
    'bin/sh': '-> busybox', 'etc/os-release': '-> ../usr/lib/os-release', 'usr/lib/os-release': OS_RELEASE,
    'etc/environment': 'PATH="/usr/bin:/bin"\n', 'loop/a': '-> b', 'loop/b': '-> a', 'loop/up': '-> ..', 'out': '-> /etc/passwd',
    ...files,
  })
  return root
}

/** What {@link makeSystem} takes besides, of which nothing comes into an image. */
export const OF_THE_MACHINE = {
  'boot/vmlinuz': 'kernel', 'lib/modules/6.1/x.ko': 'module', 'etc/shadow': 'root:$6$x:', 'etc/ssh/ssh_host_rsa_key': 'key', 'etc/machine-id': 'id',
  'etc/hostname': 'vm', 'etc/netplan/01.yaml': 'net', 'root/.ssh/id_rsa': 'key', 'var/lib/cloud/data': 'cloud', 'tmp/x': 'x', 'run/x': 'x',
} as const

/** Every entry of a tree with what an image keeps of it; owners are root's in each. */
export const listing = async (root: string): Promise<readonly string[]> => {
  const { stdout } = await runOk(['find', '.', '-mindepth', '1', '-printf', '%P %y %m %l\\n'], { cwd: root })
  const sums = await runOk(['sh', '-c', 'find . -type f -exec sha256sum {} +'], { cwd: root })
  return [...stdout.split('\n'), ...sums.stdout.split('\n')].filter((line) => line !== '').sort()
}

const protofile = (root: string): string => {
  const entries = (directory: string, depth: string): string[] => readdirSync(directory).sort().flatMap((name) => {
    const path = join(directory, name)
    const status = lstatSync(path)
    const mode = (status.mode & 0o777).toString(8).padStart(3, '0')
    if (status.isDirectory()) return [`${depth}${name} d--${mode} 0 0`, ...entries(path, `${depth} `), `${depth}$`]
    return status.isSymbolicLink() ? [`${depth}${name} l--777 0 0 ${readlinkSync(path)}`] : [`${depth}${name} -${(status.mode & 0o4000) === 0 ? '-' : 'u'}-${mode} 0 0 ${path}`]
  })
  return ['/nothing', '0 0', 'd--755 0 0', ...entries(root, ' '), '$', ''].join('\n')
}

export type FileSystem = 'btrfs' | 'ext2' | 'ext3' | 'ext4' | 'xfs'

/** A file that holds a file system with the tree in it. */
export const makeFileSystem = async (type: FileSystem, tree: string, file: string, options: { readonly label?: string; readonly uuid?: string } = {}): Promise<string> => {
  const { label = '', uuid } = options
  await runOk(['truncate', '-s', String(FILE_SYSTEM_SIZE), file])
  if (type === 'xfs') {
    const proto = `${file}.proto`
    writeFileSync(proto, protofile(tree))
    await runOk(['mkfs.xfs', '-q', '-L', label, ...(uuid === undefined ? [] : ['-m', `uuid=${uuid}`]), '-p', proto, file])
    rmSync(proto)
  } else if (type === 'btrfs') await runOk(['mkfs.btrfs', '-q', '-L', label, ...(uuid === undefined ? [] : ['-U', uuid]), '--rootdir', tree, file])
  else await runOk(['mkfs.ext4', '-q', '-t', type, '-L', label, ...(uuid === undefined ? [] : ['-U', uuid]), '-d', tree, file])
  return file
}

/** Write a file's bytes into another one at an offset, holes staying holes. */
export const place = async (file: string, disk: string, offset: number): Promise<void> => {
  await runOk(['dd', `if=${file}`, `of=${disk}`, 'bs=1M', `seek=${offset / MIB}`, 'conv=notrunc,sparse', 'status=none'])
}

/** A disk with a partition table of sfdisk's; each partition begins at a MiB of its own and holds what its file does. */
export const makeDisk = async (disk: string, label: 'dos' | 'gpt', parts: ReadonlyArray<{ readonly at: number; readonly size?: number; readonly more?: string; readonly file?: string }>): Promise<string> => {
  const last = Math.max(...parts.map(({ at, size = FILE_SYSTEM_SIZE }) => at * MIB + size))
  await runOk(['truncate', '-s', String(last + 2 * MIB), disk])
  const lines = parts.map(({ at, size = FILE_SYSTEM_SIZE, more }) => `start=${at * 2048}, size=${size / 512}${more === undefined ? '' : `, ${more}`}`)
  await runOk(['sfdisk', '--quiet', disk], { input: `label: ${label}\n${lines.join('\n')}\n` })
  for (const { at, file } of parts) if (file !== undefined) await place(file, disk, at * MIB)
  return disk
}

/** Mount a file system by the machine's own kernel, while `use` changes it. */
export const mounted = async <A>(file: string, options: string, use: (directory: string) => Promise<A>): Promise<A> => {
  const directory = mkdtempSync(`${file}-`)
  await runOk(['mount', '-o', `loop,${options}`, file, directory])
  try {
    return await use(directory)
  } finally {
    await runOk(['umount', directory])
    rmSync(directory, { recursive: true })
  }
}
