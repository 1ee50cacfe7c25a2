/**
 * The helper on an older kernel: Linux 6.1 as User-Mode Linux, whose root is this machine's file system, read-only. What newer kernels offer
 * besides is not there, so every mount takes the path that Linux 5.14 has.
 */
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { DEFAULT_PREFIX, installNative, type NativeInstallation, removeNative } from '../harness/native.js'
import { run } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage } from './fixture.js'

const PREFIX = `${DEFAULT_PREFIX}-older-kernel`
const IMAGES = join(PREFIX, 'images')
const workspace = useWorkspace('older-kernel')
let native: NativeInstallation
/** What each step printed in the guest, with its status on the last line. */
const told = new Map<string, string>()

/** One boot for all steps. A step is a shell command of root's or of a user's, and its output says its name. */
const boot = async (steps: ReadonlyArray<readonly [name: string, as: Account | 'root', command: string]>): Promise<void> => {
  const lines = steps.map(([name, as, command]) => {
    const user = as === 'root' ? '' : `setpriv --reuid=${as.uid} --regid=${as.gid} --init-groups --inh-caps=-all --reset-env env SHIFTER_JOB_ID=7 `
    return `echo '<${name}>'; ${user}sh -c '${command.replaceAll("'", `'\\''`)}' 2>&1; echo "status $?"`
  })
  const init = workspace.at('init')
  writeFileSync(init, `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /tmp; mount -t tmpfs -o mode=755 tmpfs /run
for module in drivers/block/loop fs/squashfs/squashfs fs/overlayfs/overlay; do
  busybox insmod "/usr/lib/uml/modules/$(uname -r)/kernel/$module.ko" || echo "no $module"
done
cd /
${lines.join('\n')}
echo '<end>'
busybox poweroff -f
`, { mode: 0o755 })
  const { stdout } = await run(['linux.uml', 'rootfstype=hostfs', 'ro', 'mem=512M', `init=${init}`, 'con=null', 'con0=fd:0,fd:1', 'quiet'], { timeoutMs: 100_000 })
  expect(stdout, 'the guest ran to its end').toContain('<end>')
  for (const [, name = '', text = ''] of stdout.replaceAll('\r', '').matchAll(/<([^>\n]+)>\n([\s\S]*?)(?=<[^>\n]+>\n|<end>)/g)) told.set(name, text.trimEnd())
}

beforeAll(async () => {
  const { service, userA, userB } = await ensureTestAccounts()
  removeNative(PREFIX)
  native = await installNative({ prefix: PREFIX })
  mkdirSync(IMAGES)
  chownSync(IMAGES, service.uid, service.gid)
  // The prefix is read-only there, and /run its own.
  native.configure({ imagePath: IMAGES, imageOwner: service.uid, siteFs: [`${PREFIX}/etc:/site`], runtime: { runDirectory: '/run/shifter' } })
  const { record } = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'image', config: { Env: ['PATH=/bin'] } })
  const image = `id:${record.id}`
  const shifter = (script: string, ...options: readonly string[]) => [native.bin('shifter'), ...options, `--image=${image}`, 'sh', '-c', `"${script}"`].join(' ')
  const setUp = `${PREFIX}/sbin/setupRoot --job=7 --uid=${userA.uid} --gid=${userA.gid} --user=${userA.name} id ${record.id}`
  await boot([
    ['kernel', 'root', 'uname -r'],
    ['start', userA, shifter('cat /etc/os-release; id -u; grep -e ^Cap -e NoNew /proc/self/status')],
    ['read-only', userA, shifter('touch /new')],
    ['volume', userA, shifter('ls /mnt/deep; touch /mnt/deep/no', '--volume=/site/shifter:/mnt/deep:ro')],
    ['writable', userA, `${native.bin('shifter')} --writable --volume=/tmp:/made/here --image=${image} sh -c "test -d /made/here && echo yes"`],
    ['refused', userA, shifter('true', '--volume=/tmp:/etc')],
    ['set up', 'root', setUp],
    ['joined', userA, shifter('readlink /proc/self/ns/mnt')],
    ['joined again', userA, shifter('readlink /proc/self/ns/mnt')],
    ['other user', userB, shifter('readlink /proc/self/ns/mnt')],
    ['list', 'root', `${PREFIX}/sbin/unsetupRoot --list`],
    ['taken down', 'root', `${PREFIX}/sbin/unsetupRoot --job=7 && ${PREFIX}/sbin/unsetupRoot --list`],
    ['left', 'root', 'losetup --list --noheadings; grep -e squashfs -e overlay -e /jobs/ /proc/mounts; true'],
  ])
})
afterAll(() => removeNative(PREFIX))

describe('on Linux 6.1', () => {
  it('the guest is what it says', () => {
    expect(told.get('kernel')).toMatch(/^6\.1\.\d+\nstatus 0$/)
  })

  it('a program runs as the user, without any right', () => {
    const text = told.get('start') ?? ''
    expect(text).toContain('PRETTY_NAME="Test image"')
    expect(text.match(/^Cap\w+:\t0+$/gm)).toHaveLength(5)
    expect(text).toMatch(/NoNewPrivs:\t1/)
    expect(text).toMatch(/status 0$/)
  })

  it('the root is read-only; volumes are made where the image has nothing', () => {
    expect(told.get('read-only')).toMatch(/Read-only file system\nstatus 1$/)
    expect(told.get('volume')).toMatch(/\budiRoot\.conf\n.*Read-only file system\nstatus 1$/)
    expect(told.get('writable')).toBe('yes\nstatus 0')
    expect(told.get('refused')).toMatch(/^shifter: VOLUME_INVALID: .*\nstatus \d+$/)
  })

  it('a prepared root is joined by its user, and by nobody else', () => {
    expect(told.get('set up')).toBe('status 0')
    expect(told.get('joined')).toMatch(/^mnt:\[\d+\]\nstatus 0$/)
    expect(told.get('joined again')).toBe(told.get('joined'))
    expect(told.get('other user')).toMatch(/^mnt:\[\d+\]\nstatus 0$/)
    expect(told.get('other user')).not.toBe(told.get('joined'))
    expect(told.get('list')).toMatch(/^7 .* ready$/m)
  })

  it('nothing is left', () => {
    expect(told.get('taken down')).toMatch(/^JOB[^\n]*\nstatus 0$/)
    expect(told.get('left')).toBe('status 0')
  })
})
