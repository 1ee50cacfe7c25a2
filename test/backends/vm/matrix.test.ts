/**
 * Disks of every format, layout and file system: each becomes an image that holds what its tree held, and runs. A few of the combinations by default, so
 * that each format, layout and file system is among them; all with SHIFTER_TEST_VM=1, as `npm run test:vm` does.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Account, ensureTestAccounts, runAs } from '../../harness/accounts.js'
import { fileSystems, type Format, formats, inFormat, type Layout, layouts, layOut } from '../../harness/disks.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../../harness/native.js'
import { runOk } from '../../harness/process.js'
import { useWorkspace } from '../../harness/workspace.js'
import { type FileSystem, listing, makeFileSystem, makeSystem, OF_THE_MACHINE, put } from '../../native/disks/make.js'

type Combination = readonly [format: Format, layout: Layout, fileSystem: FileSystem]

const all: readonly Combination[] = formats.flatMap((format) => layouts.flatMap((layout) => fileSystems.map((type): Combination => [format, layout, type])))
const some: readonly Combination[] = [
  ['raw', 'bare', 'ext4'], ['qcow2', 'MBR', 'xfs'], ['vmdk', 'MBR logical', 'btrfs'], ['vdi', 'GPT', 'ext4'], ['vhd', 'GPT+LVM', 'ext4'], ['vhdx', 'GPT', 'btrfs'], ['ova', 'GPT', 'xfs'],
]
const isWhole = process.env['SHIFTER_TEST_VM'] === '1'
if (!isWhole) console.log(`${some.length} of ${all.length} combinations; all: npm run test:vm`)

const work = useWorkspace('vm-matrix')
const config = () => ({ version: 1 as const, stateDirectory: work.at('state'), prefix: DEFAULT_PREFIX, systems: { test: { imagePath: SHARED_IMAGE_PATH } } })
let user: Account
let wanted: readonly string[]
const made = new Set<string>()

beforeAll(async () => {
  ;({ userA: user } = await ensureTestAccounts())
  const tree = makeSystem(work.at('tree'))
  for (const directory of ['boot', 'etc/netplan', 'etc/ssh', 'lib/modules', 'root', 'run', 'tmp', 'var/lib/cloud']) mkdirSync(join(tree, directory), { recursive: true })
  wanted = await listing(tree)
  put(tree, OF_THE_MACHINE)
  chmodSync(join(tree, 'bin/busybox'), 0o4755)
})

/** The file system with the tree in it, made once. */
const fileSystem = async (type: FileSystem): Promise<string> => {
  const file = work.at(type)
  if (!made.has(type)) await makeFileSystem(type, work.at('tree'), file)
  made.add(type)
  return file
}

describe('a disk', () => {
  it.each(isWhole ? all : some)('%s, %s, %s', async (format, layout, type) => {
    const raw = await layOut(layout, await fileSystem(type), work.at('disk.raw'))
    const disk = await inFormat(format, raw, work.at('disk.image'))
    const record = await pullImage(`vm:${disk}`, { config: config() })
    expect(Object.fromEntries(record.labels)).toMatchObject({ source: 'vm', 'vm.format': format === 'ova' ? 'vmdk' : format, 'vm.file-system': type, 'vm.distribution': 'debian 12' })
    expect(record).toMatchObject({ env: ['PATH=/usr/bin:/bin'], workdir: '/', entrypoint: [], platform: 'linux/amd64' })

    const tree = work.at('unpacked')
    await runOk(['unsquashfs', '-quiet', '-no-progress', '-dest', tree, join(SHARED_IMAGE_PATH, `${record.id}.squashfs`)])
    expect(await listing(tree)).toEqual(wanted)

    const started = await runAs(user, [join(DEFAULT_PREFIX, 'bin/shifter'), `--image=id:${record.id}`, '/bin/busybox', 'id', '-u'])
    expect([started.status, started.stdout.trim()], started.stderr).toEqual([0, String(user.uid)])
    for (const file of [raw, disk, tree]) rmSync(file, { recursive: true })
  })
})
