/** Attacks on a start: links of an image where the runtime mounts and writes. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { userA } from '../../harness/people.js'
import { run, type ProcessResult } from '../../harness/process.js'
import type { TarItem } from '../../harness/tarWriter.js'
import { busyboxRoot, publishMeta, refusal } from '../fixture.js'
import type { Ground } from './ground.js'

export const linksAttacks = ({ node, workspace, profile, helper, slug, attack, shifter }: Ground): void => {
  describe('attack 34: links of an image where the helper mounts and writes', () => {
    let count = 0
    /** A root without /etc, to be given one by the test. */
    const bare = (more: readonly TarItem[]): readonly TarItem[] => [...busyboxRoot().filter((item) => 'raw' in item || !String(item.name).startsWith('etc')), ...more]
    const start = async (more: readonly TarItem[], script = 'echo ran'): Promise<ProcessResult> =>
      shifter([`--image=${publishMeta(profile.images, profile.owner, `links-${++count}`, bare(more))}`, 'sh', '-c', script])
    const link = (name: string, linkname: string): TarItem => ({ name, type: 'symlink', linkname })
    const etc: TarItem = { name: 'etc', type: 'dir' }

    it.each(['proc', 'sys', 'dev'])('attack 34: /%s as a link or a file is refused', async (name) => {
      for (const target of ['etc', '/etc', '../../../../etc', '/proc/self/root/tmp', '/tmp', '.', '/nowhere']) {
        const result = await start([etc, link(name, target)])
        expect([target, refusal(result), result.stdout]).toEqual([target, 'IMAGE_LAYOUT', ''])
      }
      expect(refusal(await start([etc, { name, type: 'file', data: '' }]))).toBe('IMAGE_LAYOUT')
    })

    attack('attack 34: /etc as a link writes nothing on the host', async () => {
      const victim = workspace.at(`victim-${slug}`)
      mkdirSync(victim)
      chmodSync(victim, 0o777)
      for (const target of [victim, `../../../..${victim}`, `/proc/self/root${victim}`, '/proc/1/root/etc', '/tmp', userA.home]) {
        const before = readdirSync(victim)
        const result = await start([link('etc', target)], 'cat /etc/passwd')
        expect(readdirSync(victim), target).toEqual(before)
        if (result.status === 0) expect(result.stdout).toContain(userA.name)
        else expect(refusal(result)).toBe('IMAGE_LAYOUT')
      }
      expect(existsSync('/tmp/passwd') || existsSync(join(userA.home, 'passwd'))).toBe(false)
    })

    attack('attack 34: files of /etc as links, directories or devices are replaced, not written through', async () => {
      const victim = workspace.at('passwd-victim')
      writeFileSync(victim, 'untouched')
      chmodSync(victim, 0o666)
      const names = ['passwd', 'group', 'shadow', 'hosts', 'resolv.conf', 'nsswitch.conf', 'mtab']
      const result = await start([etc, ...names.map((name) => link(`etc/${name}`, victim))], 'cat /etc/passwd; readlink /etc/passwd')
      expect(result.stdout).toBe(`${userA.name}:x:${userA.uid}:${userA.gid}::${userA.home}:/bin/sh\n`)
      expect(readFileSync(victim, 'utf8')).toBe('untouched')
      const directory = await start([etc, { name: 'etc/passwd', type: 'dir' }])
      expect(refusal(directory)).toBe('IMAGE_LAYOUT')
      const device = await start([etc, { name: 'etc/passwd', type: 'char', device: { major: 1, minor: 3 } }], 'cat /etc/passwd')
      expect(device.stdout).toContain(userA.name)
    })

    attack('attack 34: /dev/null of the image, link or device, is covered by the real one', async () => {
      const result = await start([etc, { name: 'dev', type: 'dir' }, link('dev/null', '/etc/passwd'), link('dev/pts', '/etc')], 'stat -c "%t %T" /dev/null; echo x > /dev/null && cat /dev/null')
      expect(result).toMatchObject({ status: 0, stdout: '1 3\n' })
    })

    attack('attack 34: /tmp, /var/tmp and the home directory as links lead nowhere outside and cover neither / nor /etc', async () => {
      const mark = `attack-34-${process.pid}`
      writeFileSync(`/tmp/${mark}`, '')
      try {
        for (const name of ['tmp', 'var/tmp', userA.home.slice(1)]) {
          const parents = name.split('/').slice(0, -1).map((_, i, all): TarItem => ({ name: all.slice(0, i + 1).join('/'), type: 'dir' }))
          for (const target of ['/', '/etc', '../../../../../../../..', '/proc/1/root', '/proc/self/root', '/dev', '/bin', '/start', '/nowhere/below']) {
            const result = await start([etc, ...parents, link(name, target)], 'cat /etc/passwd && ls -d /bin/sh')
            if (result.status === 0) expect(result.stdout, `${name} -> ${target}`).toContain(`${userA.name}:x:${userA.uid}`)
            else expect(refusal(result), `${name} -> ${target}`).toMatch(/^(IMAGE_LAYOUT|MOUNT_FAILED|EXEC_FAILED)$/)
          }
        }
      } finally {
        rmSync(`/tmp/${mark}`)
      }
      expect(existsSync('/nowhere')).toBe(false)
    })

    attack('attack 34: no link of the image leads what others can write over a directory above /etc', async () => {
      // What another user leaves in /tmp must not become the accounts, libraries and name servers of a program.
      const name = `attack-34-etc-${process.pid}`
      const theirs = join('/tmp', name)
      mkdirSync(join(theirs, 'etc'), { recursive: true })
      writeFileSync(join(theirs, 'etc/passwd'), 'theirs\n')
      const inTheirs = [{ name, type: 'dir' }, { name: `${name}/etc`, type: 'dir' }].map((item): TarItem => ({ ...item, name: `x/${item.name}`, type: 'dir' }))
      try {
        for (const [at, more] of [
          ['tmp', [{ name: 'x', type: 'dir' }, ...inTheirs, link('tmp', 'x'), link('etc', `x/${name}/etc`)]],
          ['tmp', [{ name: 'x', type: 'dir' }, ...inTheirs, link('tmp', '/x'), link('etc', `/tmp/${name}/etc`)]],
          ['var/tmp', [{ name: 'var', type: 'dir' }, { name: 'x', type: 'dir' }, { name: 'x/etc', type: 'dir' }, link('var/tmp', '../x'), link('etc', 'x/etc')]],
        ] as const) {
          const result = await start(more, 'cat /etc/passwd')
          expect([at, refusal(result), result.stdout]).toEqual([at, 'IMAGE_LAYOUT', ''])
        }
      } finally {
        rmSync(theirs, { recursive: true })
      }
      // Beside /etc it may lie.
      const beside = await start([{ name: 'x', type: 'dir' }, { name: 'x/etc', type: 'dir' }, { name: 'x/tmp', type: 'dir' }, link('etc', 'x/etc'), link('tmp', 'x/tmp')], 'cat /etc/passwd')
      expect(beside.stdout).toContain(userA.name)
    })

    attack('attack 34: siteFs targets that are links of the image create nothing on the host', async () => {
      const site = join(node.prefix, 'site')
      mkdirSync(site, { recursive: true })
      const victim = workspace.at(`site-victim-${slug}`)
      mkdirSync(victim)
      chmodSync(victim, 0o777)
      node.configure({ siteFs: [`${site}:/global/data`] })
      for (const target of [victim, '/tmp', `../../..${victim}`, '/etc', '/']) {
        const result = await start([etc, link('global', target)], 'cat /etc/passwd')
        expect(readdirSync(victim), target).toEqual([])
        expect(existsSync('/tmp/data')).toBe(false)
        if (result.status === 0) expect(result.stdout).toContain(userA.name)
        else expect(refusal(result)).toMatch(/^(IMAGE_LAYOUT|SITE_FS_FAILED)$/)
      }
    })

    attack('attack 34: a program of the site follows no link of a local image, nor one on what the user has mounted there', async () => {
      const local = workspace.at('local-hooked')
      const victim = workspace.at('local-victim')
      const hook = join(node.prefix, 'hook')
      for (const part of ['', 'bin', 'etc', 'proc', 'sys', 'dev', 'mounted']) mkdirSync(join(local, part))
      mkdirSync(victim)
      copyFileSync('/usr/bin/busybox', join(local, 'bin/sh'))
      symlinkSync(victim, join(local, 'link'))
      writeFileSync(hook, '#!/bin/sh\necho top > ./link/top\necho below > ./mounted/link/below\ntrue\n', { mode: 0o755 })
      node.configure({ udiRoot: { allowLocalChroot: '1', sitePreMountHook: hook } })
      const { stdout } = await run(
        [
          'unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none "$1" && ln -s "$2" "$1/link" && shift 2 && exec "$@"', 'sh', join(local, 'mounted'), victim,
          'setpriv', `--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--init-groups', helper, `--image=local:${local}`, '/bin/sh', '-c', 'test -L /mounted/link && echo ran',
        ],
        { cwd: '/', env: { ...profile.environment, PATH: '/usr/bin:/bin' } },
      )
      expect(stdout).toBe('ran\n')
      expect(readdirSync(victim)).toEqual([])
    })

    attack('attack 34: a loop of links ends', async () => {
      const result = await start([link('etc', 'b'), link('b', 'etc'), link('tmp', 'tmp')])
      expect(refusal(result)).toBe('IMAGE_LAYOUT')
    })
  })
}
