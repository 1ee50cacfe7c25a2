/** Attacks on a start: the configuration. */
import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { service, userA } from '../../harness/people.js'
import { runOk } from '../../harness/process.js'
import { refusal } from '../fixture.js'
import type { Ground } from './ground.js'

export const configurationAttacks = ({ node, profile, attack, ours, asUser, shifter, good, refused }: Ground): void => {
  describe('attack 44: configuration', () => {
    const spoiled = async (spoil: () => void, mend: () => void): Promise<string> => {
      spoil()
      try {
        const code = await refused([`--image=id:${ours}`])
        // A root that was prepared before is no way round it.
        const there = await asUser(good('echo RAN'))
        expect([refusal(there), there.stdout]).toEqual([code, ''])
        return code
      } finally {
        mend()
        node.configure()
      }
    }
    const etc = join(node.prefix, 'etc/shifter')
    const nothing = (): void => undefined

    for (const name of ['udiRoot.conf', 'runtime.conf']) {
      const file = join(etc, name)
      const text = () => readFileSync(file, 'utf8')
      const replaced = (make: () => void) => () => {
        rmSync(file)
        make()
      }
      const gone = (): void => rmSync(file, { recursive: true, force: true })

      attack(`attack 44: ${name} that someone other than root could change`, async () => {
        expect(await spoiled(() => chownSync(file, userA.uid, 0), nothing)).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(() => chownSync(file, service.uid, 0), nothing)).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(() => chmodSync(file, 0o664), nothing)).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(() => chmodSync(file, 0o646), nothing)).toBe('UDIROOT_CONF_UNSAFE')
      })

      attack(`attack 44: ${name} that is no plain file`, async () => {
        const kept = join(node.prefix, 'etc', `${name}.kept`)
        linkSync(file, kept)
        expect(await spoiled(replaced(() => symlinkSync(kept, file)), gone)).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(replaced(() => symlinkSync('/proc/self/fd/0', file)), gone)).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(replaced(() => mkdirSync(file)), gone)).toBe('UDIROOT_CONF_UNSAFE')
        rmSync(kept)
        rmSync(file)
        await runOk(['mkfifo', file])
        expect(await spoiled(nothing, gone)).toBe('UDIROOT_CONF_UNSAFE')
      })

      attack(`attack 44: ${name} of more than 1 MiB, with CR, NUL, unknown keys or a line without end`, async () => {
        const whole = text()
        for (const bad of [
          `${whole}#${'x'.repeat(1 << 20)}\n`, whole.replaceAll('\n', '\r\n'), `${whole}# \0\n`, `${whole}include=/tmp/more.conf\n`, `${whole}x=${'y\\\n'.repeat(70_000)}`, `${whole}imageOwner:=0\n`,
        ]) {
          expect(await spoiled(() => writeFileSync(file, bad), nothing), bad.slice(-40)).toBe('UDIROOT_CONF_INVALID')
        }
      })
    }

    attack('attack 44: directories above it that others could change, or that are links', async () => {
      for (const directory of [etc, join(node.prefix, 'etc'), node.prefix]) {
        const mend = (): void => {
          chownSync(directory, 0, 0)
          chmodSync(directory, 0o755)
        }
        expect(await spoiled(() => chmodSync(directory, 0o775), mend), directory).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(() => chmodSync(directory, 0o1777), mend), directory).toBe('UDIROOT_CONF_UNSAFE')
        expect(await spoiled(() => chownSync(directory, userA.uid, userA.gid), mend), directory).toBe('UDIROOT_CONF_UNSAFE')
      }
      const moved = `${etc}-moved`
      expect(await spoiled(
        () => {
          renameSync(etc, moved)
          symlinkSync(moved, etc)
        },
        () => {
          expect(readlinkSync(etc)).toBe(moved)
          rmSync(etc)
          renameSync(moved, etc)
        },
      )).toBe('UDIROOT_CONF_UNSAFE')
    })

    attack('attack 44: a missing udiRoot.conf, or runtime.conf', async () => {
      // Without setuid a person needs no site.
      rmSync(node.native.udiRootConf)
      if (profile.userns) expect(await shifter([`--image=id:${ours}`, 'true'])).toMatchObject({ status: 0 })
      else expect(await refused([`--image=id:${ours}`])).toBe('UDIROOT_CONF_MISSING')
      node.configure()
      // Without the other, root owns the site's images.
      rmSync(node.native.runtimeConf)
      if (profile.userns) expect(await refused(['--image=id:only-of-the-site'])).toBe('IMAGE_UNSAFE')
      else expect(await refused([`--image=id:${ours}`])).toBe('IMAGE_UNSAFE')
    })

    attack('attack 44: of duplicate keys the last one counts, for shifter-check as for shifter', async () => {
      writeFileSync(node.native.udiRootConf, `${readFileSync(node.native.udiRootConf, 'utf8')}imagePath=/nowhere\nimagePath=${node.images}\nsystem=one\nsystem=two\n`)
      writeFileSync(node.native.runtimeConf, `${readFileSync(node.native.runtimeConf, 'utf8')}imageOwner=0\nimageOwner=${service.uid}\n`)
      expect(await shifter([`--image=id:${ours}`, 'true'])).toMatchObject({ status: 0, stderr: '' })
      const { stdout } = await asUser([node.native.bin('shifter-check'), 'config', '--json'])
      expect(JSON.parse(stdout)).toMatchObject({ runtime: { imageOwner: service.uid }, udiRoot: { imagePath: node.images, system: 'two' } })
    })
  })
}
