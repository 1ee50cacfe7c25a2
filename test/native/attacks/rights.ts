/** Attacks on a start: the drop of rights. */
import { readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { userA } from '../../harness/people.js'
import { run, type ProcessResult } from '../../harness/process.js'
import { busyboxRoot, publishMeta, refusal } from '../fixture.js'
import type { Ground } from './ground.js'

export const rightsAttacks = ({ workspace, profile, slug, attack, image, shifter, good }: Ground): void => {
  describe('attack 40: the drop of rights', () => {
    const traced = (options: readonly string[], script: string): Promise<ProcessResult> =>
      run(['strace', '-u', userA.name, ...options, ...good(script)], { cwd: '/', env: { ...profile.environment, PATH: '/usr/bin:/bin' } })

    attack('attack 40: a setuid root file inside gives nothing', async () => {
      const reference = publishMeta(profile.images, profile.owner, 'with-setuid', busyboxRoot([{ name: 'suid/cat', type: 'file', mode: 0o6755, data: readFileSync('/usr/bin/busybox') }]))
      const result = await shifter([`--image=${reference}`, 'sh', '-c', 'stat -c %a /suid/cat; /suid/cat /proc/self/status'])
      expect(result.stdout).toMatch(/^6755\n/)
      expect(result.stdout).toMatch(new RegExp(`\nUid:\t${Array(4).fill(userA.uid).join('\t')}\n`))
      expect(result.stdout).toMatch(/\nCapEff:\t0{16}\n/)
    })

    attack('attack 40: neither memory nor descriptors of the privileged phase are the user\'s to see', async () => {
      const result = await shifter([`--image=id:${image().record.id}`, 'sh', '-c', 'cat /proc/1/environ; ls /proc/1/root/; ls /proc/1/fd; echo end'])
      expect(result.stdout).toBe('end\n')
    })

    const calls = ['setgroups', 'setresgid', 'setresuid', 'capset', 'capget', 'getresuid', 'getresgid', 'getgroups', 'prctl', 'setfsuid'] as const
    for (const call of calls) attack(`attack 40: whichever ${call} fails, nothing runs with rights`, { timeout: 60_000 }, async () => {
      const trace = workspace.at(`trace-${slug}-${call}`)
      expect(await traced(['-e', `trace=${call}`, '-o', trace], 'echo RAN')).toMatchObject({ stdout: 'RAN\n' })
      const lines = readFileSync(trace, 'utf8').split('\n').filter((line) => line.startsWith(`${call}(`))
      if (call !== 'setfsuid') expect(lines.length).toBeGreaterThan(0)
      const codes: string[] = []
      // The forty-odd capabilities are asked for one by one in the same way: the first and last few stand for all.
      const bounding = lines.flatMap((line, i) => (/PR_CAPBSET/.test(line) ? [i + 1] : []))
      const passed = new Set(bounding.slice(5, -5))
      for (let nth = 1; nth <= lines.length; nth++) {
        if (passed.has(nth)) continue
        const result = await traced(['-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:error=EPERM:when=${nth}`], 'grep -E "^(Uid|Gid|Cap|NoNewPrivs)" /proc/$$/status; echo RAN')
        if (result.stdout === '') {
          codes.push(refusal(result))
          expect(result.status).not.toBe(0)
          continue
        }
        // A call that failed without effect (clearing what is clear already): everything must have been dropped all the same.
        expect(result.stdout, `${call} ${nth}: ${lines[nth - 1]}`).toBe(
          `Uid:\t${Array(4).fill(userA.uid).join('\t')}\nGid:\t${Array(4).fill(userA.gid).join('\t')}\n${['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t${'0'.repeat(16)}\n`).join('')}NoNewPrivs:\t1\nRAN\n`,
        )
      }
      if (call !== 'setfsuid') expect(codes).toContain('DROP_FAILED')
    })

    for (const call of ['setgroups', 'setresgid', 'setresuid', 'capset', 'prctl']) attack(`attack 40: a call that only claims to have worked is found out: ${call}`, { timeout: 60_000 }, async () => {
      const trace = workspace.at(`lie-${slug}-${call}`)
      await traced(['-e', `trace=${call}`, '-o', trace], 'echo RAN')
      const lines = readFileSync(trace, 'utf8').split('\n').filter((line) => line.startsWith(`${call}(`))
      const lie = async (nth: number) => traced(['-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:retval=0:when=${nth}`], 'echo RAN')
      const dropping = lines
        .map((line, i) => ({ line, nth: i + 1 }))
        .filter(({ line }) => (call === 'prctl' ? /CAPBSET_DROP|SET_NO_NEW_PRIVS/.test(line) : true))
        .slice(call === 'prctl' ? -3 : -1)
      expect(dropping.length).toBeGreaterThan(0)
      for (const { nth, line } of dropping) {
        const result = await lie(nth)
        // setresuid clears the capabilities of a process that leaves root, so that a lying capset changes nothing.
        if (call === 'capset') expect(result.stdout).toBe('RAN\n')
        else expect([line, refusal(result), result.stdout]).toEqual([line, 'DROP_FAILED', ''])
      }
    })

    attack('attack 40: root that can be had back is found out', async () => {
      const result = await traced(['-o', '/dev/null', '-e', 'trace=setuid', '-e', 'inject=setuid:retval=0'], 'echo RAN')
      expect([refusal(result), result.stdout]).toEqual(['DROP_FAILED', ''])
    })

    attack('attack 40: the account look-up drops too, or says nothing', async () => {
      // -f: the first setresuid that fails is then the child's own as well.
      const result = await traced(['-f', '-o', '/dev/null', '-e', 'trace=capget', '-e', 'inject=capget:error=EPERM'], 'echo RAN')
      expect(result.stdout).toBe('')
      expect(result.status).not.toBe(0)
    })
  })
}
