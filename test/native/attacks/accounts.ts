/** Attacks on a start: passwd and group. */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { own, userA } from '../../harness/people.js'
import type { StartOptions } from '../../harness/profiles.js'
import { run } from '../../harness/process.js'
import { refusal } from '../fixture.js'
import type { Ground } from './ground.js'

export const accountsAttacks = ({ node, profile, attack, launch, image, ours, shifter, good, words, refused }: Ground): void => {
  describe('attack 37: accounts', () => {
    const etcPath = () => join(node.prefix, 'etc/accounts')
    const withAccounts = (passwd: string, group = `${userA.name}:x:${userA.gid}:\n`, more: Readonly<Record<string, string>> = {}): void => {
      mkdirSync(etcPath(), { recursive: true })
      writeFileSync(join(etcPath(), 'passwd'), passwd)
      writeFileSync(join(etcPath(), 'group'), group)
      node.configure({ udiRoot: { etcPath: etcPath(), allowLibcPwdCalls: '0', ...more } })
    }
    const files = (options: StartOptions = {}) => shifter(words('cat /etc/passwd; echo; cat /etc/group'), options)

    attack('attack 37: accounts from files are written as they are', async () => {
      withAccounts(`root:x:0:0:root:/root:/bin/sh\nme:x:${userA.uid}:${userA.gid}:A, Person:${userA.home}:/bin/sh\n`, `root:x:0:me\nmine:x:${userA.gid}:\nother:x:77:me\n`)
      // Groups that the accounts give and the caller lacks are another identity's: nothing is joined.
      expect((await files({ joins: false })).stdout.replace('did-not-join\n', '')).toBe(`me:x:${userA.uid}:${userA.gid}:A, Person:${userA.home}:/bin/sh\n\nmine:x:${userA.gid}:\n`)
    })

    attack('attack 37: a field with a colon, a newline or a control character gives no account', async () => {
      const { uid, gid, home } = userA
      for (const line of [
        `me:x:${uid}:${gid}:ge:cos:${home}:/bin/sh`, `me:x:${uid}:${gid}:gecos:${home}:/bin/sh:more`, `m\x1be:x:${uid}:${gid}::${home}:/bin/sh`,
        `me:x:${uid}:${gid}:x\ny:${home}:/bin/sh`, `me:x:${uid}:${gid}::${home}\r:/bin/sh`, `:x:${uid}:${gid}::${home}:/bin/sh`, `me:x:-1:${gid}::${home}:/bin/sh`,
        `me:x:${uid}x:${gid}::${home}:/bin/sh`, `me:x:${uid}:${gid}`, `me:x:4294967296:${gid}::${home}:/bin/sh`, `+me::::::`, '', '\n\n',
      ]) {
        withAccounts(`${line}\n`)
        expect(await refused([`--image=id:${ours}`]), JSON.stringify(line)).toBe('CALLER_UNKNOWN')
      }
      // A newline that smuggles in a line of root's: only the caller's own line is ever copied.
      withAccounts(`me:x:${uid}:${gid}:gecos\nroot::0:0::/:/bin/sh\nme2:x:${uid}:${gid}::${home}:/bin/sh\n`)
      expect((await files()).stdout.split('\n\n')[0]).toBe(`me2:x:${uid}:${gid}::${home}:/bin/sh`)
    })

    attack('attack 37: a home directory that means something else is not mounted', async () => {
      for (const home of ['/', '/etc', '/proc', '/usr/../etc', 'relative', '', '/dev/shm', '/tmp']) {
        withAccounts(`me:x:${userA.uid}:${userA.gid}::${home}:/bin/sh\n`)
        const result = await files()
        expect(result.status, home).toBe(0)
        expect(result.stdout).toContain(`me:x:${userA.uid}:${userA.gid}::${home}:/bin/sh`)
      }
    })

    attack('attack 37: an unknown user, by files and by the name service', async () => {
      withAccounts('other:x:77:77::/:/bin/sh\n')
      expect(await refused([`--image=id:${ours}`])).toBe('CALLER_UNKNOWN')
      node.configure()
      const result = await run([launch, 'ids', '54321', '54321', '54321', '54321', ...good('echo RAN')], { env: profile.environment, cwd: '/' })
      expect([refusal(result), result.stdout]).toEqual(['CALLER_UNKNOWN', ''])
      withAccounts(`me:x:${userA.uid}:${userA.gid}::${userA.home}:/bin/sh\n`, '', { usersToImport: 'nobody-there' })
      const unknown = /^(?:shifter|setupRoot): UDIROOT_CONF_INVALID: usersToImport names the unknown account nobody-there\. /
      expect((await shifter([`--image=id:${ours}`, 'true'])).stderr).toMatch(unknown)
      node.configure({ udiRoot: { usersToImport: 'root nobody-there' } })
      expect((await shifter([`--image=id:${ours}`, 'true'])).stderr).toMatch(unknown)
      node.configure()
    })

    attack('attack 37: 65,536 groups of the caller and 100,000 of the site', async () => {
      const { uid, gid } = userA
      const count = async (groups: number) => {
        const result = await run([launch, 'groups', String(groups), String(uid), String(gid), ...good('grep ^Groups /proc/$$/status | wc -w; cat /etc/group | wc -l')], { env: profile.environment, cwd: '/' })
        expect(result, String(groups)).toMatchObject({ status: 0, stderr: '' })
        return result.stdout.split('\n').slice(0, 2).map((n) => Number(n))
      }
      expect((await count(1000))[0]).toBe(1001)
      withAccounts(`me:x:${uid}:${gid}::${userA.home}:/bin/sh\n`, Array.from({ length: 100_000 }, (_, i) => `g${i}:x:${100_000 + i}:me\n`).join(''), { maxGroupCount: '31' })
      expect(await count(65_536)).toEqual([65_537, 65_536])
    })

    attack('attack 37: a thousand groups of the account are taken by a preparation, and joined by who has them', async () => {
      const { uid, gid } = userA
      withAccounts(`${userA.name}:x:${uid}:${gid}::${userA.home}:/bin/sh\n`, Array.from({ length: 1000 }, (_, i) => `g${i}:x:${100_000 + i}:${userA.name}\n`).join(''))
      await profile.prepare(`id:${image().record.id}`)
      const result = await run([launch, 'groups', '1000', String(uid), String(gid), ...good('grep ^Groups /proc/$$/status | wc -w')], { env: profile.environment, cwd: '/' })
      expect(result).toMatchObject({ status: 0, stdout: '1001\n', stderr: '' })
    })

    attack('attack 37: files of accounts that others can write are refused', async () => {
      for (const spoil of [() => chmodSync(join(etcPath(), 'passwd'), 0o664), () => own(join(etcPath(), 'group'), userA, 0o644), () => chmodSync(etcPath(), 0o777)]) {
        rmSync(etcPath(), { recursive: true, force: true })
        withAccounts(`me:x:${userA.uid}:${userA.gid}::${userA.home}:/bin/sh\n`)
        spoil()
        expect(await refused([`--image=id:${ours}`])).toBe('UDIROOT_CONF_UNSAFE')
      }
      rmSync(etcPath(), { recursive: true })
    })
  })
}
