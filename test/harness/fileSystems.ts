/**
 * File systems of a test's own that can be filled: small ones in memory, and one with a quota.
 *
 * @module
 */
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runOk } from './process.js'

export interface SmallFileSystem {
  /** Leaves so many bytes free. */
  readonly leave: (bytes: number) => Promise<void>
  /** Nothing fills it any more. */
  readonly empty: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** A file system in memory, mounted on a directory, which is made. */
export const smallFileSystem = async (directory: string, size: number, options: { readonly mode: number; readonly inodes?: number }): Promise<SmallFileSystem> => {
  mkdirSync(directory, { recursive: true })
  const inodes = options.inodes === undefined ? '' : `,nr_inodes=${options.inodes}`
  await runOk(['mount', '-t', 'tmpfs', '-o', `size=${size},mode=${options.mode.toString(8)}${inodes}`, 'tmpfs', directory])
  const filler = join(directory, '.filler')
  const empty = () => rm(filler, { force: true })
  return {
    empty,
    leave: async (bytes) => {
      await empty()
      const { bavail, bsize } = await statfs(directory)
      await writeFile(filler, Buffer.alloc(Math.max(0, bavail * bsize - bytes)))
    },
    // The driver of the catalogue leaves descriptors to the garbage collector.
    stop: async () => { await runOk(['umount', '--lazy', directory]) },
  }
}

/** Whether this kernel can give directories a quota. */
export const hasQuota = (): boolean => readFileSync('/proc/filesystems', 'utf8').split(/\s/).includes('btrfs')

/** A directory with a quota, on a file system that has room. */
export const quotaFileSystem = async (image: string, mountPoint: string): Promise<SmallFileSystem & { readonly directory: string }> => {
  writeFileSync(image, '')
  truncateSync(image, 256 * 1024 * 1024)
  mkdirSync(mountPoint, { recursive: true })
  await runOk(['mkfs.btrfs', '-q', image])
  await runOk(['mount', '-o', 'loop', image, mountPoint])
  const directory = join(mountPoint, 'limited')
  await runOk(['btrfs', 'quota', 'enable', mountPoint])
  await runOk(['btrfs', 'subvolume', 'create', directory])
  const limit = async (bytes: number | 'none') => { await runOk(['btrfs', 'qgroup', 'limit', String(bytes), directory]) }
  return {
    directory,
    empty: () => limit('none'),
    leave: async (bytes) => {
      await runOk(['sync', '-f', mountPoint])
      const { stdout } = await runOk(['btrfs', 'qgroup', 'show', '-f', '--raw', directory])
      await limit(Number(stdout.trim().split('\n').at(-1)?.split(/\s+/)[1]) + bytes)
    },
    stop: async () => {
      // Lazily: the driver of the catalogue leaves descriptors to the garbage collector.
      await runOk(['umount', '--lazy', mountPoint])
      rmSync(image)
    },
  }
}
