/** Attacks on a start: many at once, and jobs. */
import { existsSync, readdirSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { becoming, userA } from '../../harness/people.js'
import { run, runOk } from '../../harness/process.js'
import { refusal } from '../fixture.js'
import type { Ground } from './ground.js'

export const jobsAttacks = ({ node, workspace, profile, helper, attack, ours, asUser, good }: Ground): void => {
  describe('attacks 42 and 43: many at once, and jobs', () => {
    attack('attack 42: of 256 at once, some killed and one stopped, all others run', { timeout: 120_000 }, async () => {
      const held = [0, 1, 2, 3].map(() => {
        const [program = '', ...rest] = [...becoming(userA), ...good('echo up; read x')]
        const child = spawn(program, rest, { cwd: '/', env: { ...profile.environment, PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'ignore'] })
        onTestFinished(() => void child.kill('SIGKILL'))
        return child
      })
      await Promise.all(held.map((child) => new Promise((resolve) => child.stdout.once('data', resolve))))
      held[0]?.kill('SIGSTOP')
      for (const child of held.slice(1)) child.kill('SIGKILL')
      const ranks = await asUser(['sh', '-c', 'i=0; while [ $i -lt 256 ]; do "$@" & i=$((i+1)); done; wait', 'sh', ...good('cat /etc/os-release')])
      expect([ranks.stderr, ranks.stdout]).toEqual(['', 'PRETTY_NAME="Test image"\n'.repeat(256)])
    })

    attack('attack 43: job ids of the environment lead nowhere but to what was prepared', async () => {
      for (const id of ['1', '../../..', 'x'.repeat(100_000), '\n', '', '.', userA.home, '%s%n', '$(id)']) {
        const result = await asUser([helper, `--image=id:${ours}`, 'sh', '-c', 'readlink /proc/self/ns/mnt'], { env: { SHIFTER_JOB_ID: id, SLURM_JOB_ID: id, PBS_JOBID: id } })
        expect(result).toMatchObject({ status: 0, stderr: '' })
        expect(profile.pinned()).not.toContain(result.stdout.trim())
      }
    })

    attack('attack 43: a preparation with words of a user that a prolog hands on does nothing but prepare', async () => {
      const victim = workspace.at('prolog-victim')
      const evil = [`;touch ${victim}`, `$(touch ${victim})`, `\`touch ${victim}\``, `|touch ${victim}`, `\ntouch ${victim}`, `/tmp:/x;touch ${victim}`, '--job=other', '-U0', '--run-directory=/tmp', '\x1b[31m', `${'a'.repeat(100_000)}`]
      for (const word of evil) {
        for (const asked of [{ volumes: [word] }, { modules: word }, { job: word }] as const) {
          const result = await run(profile.preparation(`id:${ours}`, { job: 'prolog', ...asked }))
          if (result.status === 0) await runOk([node.sbin('unsetupRoot'), `--job=${'job' in asked ? asked.job : 'prolog'}`])
          else expect([word.slice(0, 50), refusal(result)]).toEqual([word.slice(0, 50), expect.stringMatching(/^(USAGE|VOLUME_INVALID|VOLUME_FAILED|MODULE_REFUSED|REFERENCE_INVALID)$/)])
          expect(result.stderr).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/)
        }
        const image = await run(profile.preparation(`id:${word}`, { job: 'prolog' }))
        expect([word.slice(0, 50), image.status, image.stdout]).toEqual([word.slice(0, 50), expect.any(Number), ''])
        expect(image.status).not.toBe(0)
        expect(existsSync(victim)).toBe(false)
      }
      for (const number of ['-1', '0', '4294967295', '4294967296', '1e3', ' 1', '0x10', '']) {
        for (const option of ['-U', '-G']) {
          const asked = profile.preparation(`id:${ours}`)
          const at = asked.indexOf(option) + 1
          const result = await run(asked.toSpliced(at, 1, number))
          expect([option, number, refusal(result)]).toEqual([option, number, 'USAGE'])
        }
      }
      await profile.clear()
      expect(readdirSync(join(node.prefix, 'run/jobs')).filter((job) => job !== 'prolog')).toEqual([])
    })
  })
}
