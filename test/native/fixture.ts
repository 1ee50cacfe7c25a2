/**
 * Images and starts for the tests of the installed helper.
 *
 * @module
 */
import { spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ImageRecord, pullImage } from 'shifter-sdk'
import { type Account } from '../harness/accounts.js'
import { type ImageConfig, writeLayout } from '../harness/ociLayout.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import type { ProcessResult } from '../harness/process.js'
import { tarBytes, type TarItem } from '../harness/tarWriter.js'

const APPLETS = [
  'cat', 'cp', 'dd', 'echo', 'env', 'false', 'grep', 'head', 'id', 'ls', 'mkdir', 'printf', 'pwd', 'readlink', 'seq', 'sh', 'stat', 'test',
  'touch', 'true', 'wc',
]

/** A root file system of one static program; `more` comes on top of it. */
export const busyboxRoot = (more: readonly TarItem[] = []): readonly TarItem[] => [
  { name: 'bin', type: 'dir' },
  { name: 'bin/busybox', type: 'file', mode: 0o755, data: readFileSync('/usr/bin/busybox') },
  ...APPLETS.map((name): TarItem => ({ name: `bin/${name}`, type: 'hardlink', linkname: 'bin/busybox' })),
  { name: 'etc', type: 'dir' },
  { name: 'etc/os-release', type: 'file', data: 'PRETTY_NAME="Test image"\n' },
  { name: 'start', type: 'dir' },
  ...more,
]

export interface PullTestImage {
  /** Where the layout and the gateway's state are kept; a tag names an image there. */
  readonly directory: string
  readonly imagePath: string
  readonly tag: string
  readonly config?: ImageConfig
  readonly more?: readonly TarItem[]
  readonly allowUids?: readonly number[]
  readonly requester?: number
}

export interface TestImage {
  readonly reference: string
  readonly record: ImageRecord.ImageRecord
}

/** Put an image on an image path in the way everybody does: by a pull. */
export const pullTestImage = async (options: PullTestImage): Promise<TestImage> => {
  const layout = join(options.directory, 'layout')
  writeLayout(layout, { tag: options.tag, layers: [busyboxRoot(options.more)], config: options.config })
  const reference = `oci:${layout}:${options.tag}`
  const record = await pullImage(reference, {
    config: { version: 1, stateDirectory: join(options.directory, 'state'), prefix: DEFAULT_PREFIX, systems: { test: { imagePath: options.imagePath } } },
    allowUids: options.allowUids,
    requester: options.requester === undefined ? undefined : { uid: options.requester },
  })
  return { reference, record }
}

/** A squashfs of whatever entries, without any policy: what a careless or hostile publisher could make. */
export const squashfs = (file: string, entries: readonly TarItem[]): void => {
  const { status, stderr } = spawnSync('tar2sqfs', ['--quiet', '--force', '--compressor', 'zstd', '--comp-extra', 'level=1', file], { input: tarBytes(entries) })
  if (status !== 0) throw new Error(`tar2sqfs: ${stderr.toString()}`)
}

/** Publish as the reference system does: an image and its `.meta`, nothing more. */
export const publishMeta = (
  imagePath: string,
  owner: Account,
  id: string,
  entries: readonly TarItem[],
  meta = 'FORMAT: squashfs\nENV: PATH=/bin\n',
): string => {
  mkdirSync(imagePath, { recursive: true })
  const file = join(imagePath, `${id}.squashfs`)
  squashfs(file, entries)
  writeFileSync(join(imagePath, `${id}.meta`), meta, { mode: 0o600 })
  for (const path of [file, join(imagePath, `${id}.meta`)]) chownSync(path, owner.uid, owner.gid)
  return `id:${id}`
}

/** The code of a refusal: one line, `shifter: CODE: what. What to do.`, and nothing else. */
export const refusal = (result: ProcessResult): string => {
  const match = /^(?:shifter|setupRoot|unsetupRoot): ([A-Z_]+): [^\n]+\n$/.exec(result.stderr)
  return match?.[1] ?? `no refusal: status ${result.status}, ${JSON.stringify(result.stderr)} ${JSON.stringify(result.stdout.slice(0, 200))}`
}

/** `NAME=VALUE` lines as a record. */
export const settings = (text: string): Record<string, string> =>
  Object.fromEntries(
    text.trimEnd().split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
