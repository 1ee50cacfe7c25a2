/** Attacks on a start: what a caller leaves open, where he stands, and which signals wait. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { becoming, own, userA } from '../../harness/people.js'
import { run } from '../../harness/process.js'
import { refusal } from '../fixture.js'
import type { Ground } from './ground.js'

export const descriptorsAttacks = ({ workspace, profile, helper, slug, attack, launch, image, asUser, good, refused }: Ground): void => {
  describe('attack 24: descriptors and directories', () => {
    attack('attack 24: closed standard descriptors are never a file of ours', async () => {
      const out = mkdtempSync('/tmp/shifter-sdk-closed-')
      onTestFinished(() => rmSync(out, { recursive: true }))
      own(out, userA, 0o755)
      // /tmp is shared, so the program inside can tell through a file.
      const script = `for n in 0 1 2; do (readlink /proc/$$/fd/$n >> ${out}/fds); done`
      const result = await asUser(['sh', '-c', `exec "$@" <&- >&- 2>&-`, 'sh', ...good(script)])
      expect(result.status).toBe(0)
      // The C library opens /dev/full for a setuid program that has none; nothing else may stand there.
      expect(readFileSync(join(out, 'fds'), 'utf8')).toMatch(/^(\/dev\/(null|full)\n){3}$/)
      const refusedQuietly = await asUser(['sh', '-c', `exec ${helper} --image=id:none true <&- >&- 2>&-`])
      expect(refusedQuietly).toMatchObject({ status: 1, stdout: '', stderr: '' })
    })

    attack('attack 24: of 1,000 descriptors the harmless half is kept, and starting works', async () => {
      const result = await asUser([launch, 'fds', '1000', ...good('for f in /proc/$$/fd/*; do readlink $f; done')])
      expect(result.status).toBe(0)
      const targets = result.stdout.trimEnd().split('\n')
      expect(targets.filter((target) => target === '/dev/null').length).toBeGreaterThanOrEqual(500)
      expect(targets.filter((target) => target === '/')).toEqual([])
    })

    attack('attack 24: no directory, O_PATH, namespace, mount or process descriptor comes along', async () => {
      const script = 'ls /proc/$$/fd; for n in 100 101 104; do ls /proc/$$/fd/$n/ 2>/dev/null && echo ESCAPED; done; (cd /proc/$$/fd/100 && echo ESCAPED) 2>/dev/null; head -c1 <&113 | wc -c; true'
      const result = await asUser([launch, 'escape', ...good(script)])
      expect(result).toMatchObject({ status: 0, stderr: '' })
      expect(result.stdout).not.toContain('ESCAPED')
      const numbers = result.stdout.split('\n').filter((line) => /^1\d\d$/.test(line))
      expect(numbers).toEqual(['110', '111', '112', '113'])
      expect(result.stdout).toMatch(/\n1\n$/)
    })

    attack("attack 24: none of the helper's own descriptors leaks", async () => {
      const result = await asUser(['bash', '-c', 'for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval "exec $n>&-"; done 2>/dev/null; exec "$@"', 'bash',
        ...good('for f in /proc/$$/fd/*; do n=${f##*/}; test $n -gt 2 && readlink $f; done; true')])
      expect(result).toMatchObject({ status: 0, stdout: '' })
    })

    attack('attack 24: the descriptor that a refusal is told on is a pipe of the caller, and never the program\'s', async () => {
      const seen = 'for f in /proc/$$/fd/*; do n=${f##*/}; test $n -gt 2 && readlink $f; done; (echo "IMAGE_NOT_FOUND no" >&9) 2>/dev/null || echo closed'
      const closing = 'for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval "exec $n>&-"; done 2>/dev/null'
      const at = (name: string) => `${userA.home}/report-${process.pid}-${name}`
      // The reader starts first and gets the descriptor by name, so that nobody else has it.
      const told = (argv: readonly string[]) =>
        asUser(['bash', '-c', `${closing}; mkfifo ${at('pipe')}; cat ${at('pipe')} > ${at('told')} & exec 9> ${at('pipe')}; "$@"; s=$?; exec 9>&-; wait; sed 's/^/told: /' ${at('told')}; rm ${at('pipe')} ${at('told')}; exit $s`, 'bash', ...argv])
      const [program = '', ...rest] = good(seen)
      expect(await told([program, '--report-fd=9', ...rest])).toMatchObject({ status: 0, stdout: 'closed\n' })
      const refusedThere = await told([helper, '--report-fd=9', '--image=id:none', 'true'])
      expect(refusedThere.status).toBe(1)
      expect(refusedThere.stdout).toMatch(/^told: IMAGE_NOT_FOUND there is no image 'id:none' for you[^\n]*\n$/)
    })

    attack('attack 24: a refusal is told on nothing but a pipe or stream socket that the caller can write', async () => {
      const file = workspace.at(`report-${slug}`)
      mkdirSync(file)
      own(file, userA, 0o755)
      for (const redirect of ['', '9</dev/null', '9<>/dev/null', `9>${file}/x`, '9</etc', '9< <(true)']) {
        const result = await asUser(['bash', '-c', `exec "$@" ${redirect}`, 'bash', helper, '--report-fd=9', '--image=id:none', 'true'])
        expect([redirect, result.status, refusal(result)]).toEqual([redirect, 2, 'USAGE'])
      }
      expect(readFileSync(join(file, 'x'), 'utf8')).toBe('')
      for (const number of ['0', '1', '2', '-1', '1e1', '/etc/passwd', '99999999999']) {
        expect(await refused([`--report-fd=${number}`, `--image=id:${image().record.id}`])).toBe('USAGE')
      }
    })

    attack('attack 24: a working directory that the image lacks is not kept as a way out', async () => {
      const result = await asUser(good('pwd; readlink /proc/self/cwd; ls ..'), { cwd: '/usr/lib' })
      expect(result.status).toBe(0)
      expect(result.stdout).toMatch(/^\/\n\/\n/)
      expect(result.stdout).not.toContain('old_root')
      const gone = await asUser(['sh', '-c', 'd=$(mktemp -d); cd $d; rmdir $d; exec "$@"', 'sh', ...good('pwd')])
      expect(gone).toMatchObject({ status: 0, stdout: '/\n' })
    })

    attack('attack 24: a working directory that the caller can not reach is not entered for him', async () => {
      const closed = workspace.at(`closed-${slug}`)
      mkdirSync(join(closed, 'in'), { recursive: true, mode: 0o700 })
      chmodSync(closed, 0o700)
      const result = await run([...becoming(userA), 'env', ...profile.words, ...good('pwd; ls ..; readlink /proc/self/cwd')], { cwd: join(closed, 'in'), env: { PATH: '/usr/bin:/bin' } })
      expect(result).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\/\n[^]*\n\/\n$/) as string })
      expect(result.stdout).not.toContain('closed')
    })

    attack('attack 24: from below another root directory the caller gets no more than from the right one, and joins nothing', async () => {
      const script = `mount --rbind / "$0"; mount --make-rprivate "$0"; mkdir "$0/tmp/way-out" 2>/dev/null; exec chroot "$0" "$@"`
      const root = mkdtempSync('/opt/shifter-sdk-chroot-')
      onTestFinished(() => rmSync(root, { recursive: true }))
      const inside = [helper, `--image=id:${image().record.id}`, 'sh', '-c', 'readlink /proc/self/ns/mnt; ls -d /var/hostsfile /proc/1/root/etc 2>/dev/null; grep CapEff /proc/self/status']
      const result = await run(['unshare', '-m', 'sh', '-ec', script, root, ...becoming(userA), 'env', ...profile.words, ...inside], { cwd: '/', env: { PATH: '/usr/sbin:/usr/bin:/bin' } })
      rmSync('/tmp/way-out', { recursive: true, force: true })
      if (profile.userns) return expect([refusal(result), result.stdout]).toEqual(['USERNS_UNAVAILABLE', ''])
      expect(result.stdout).toMatch(/^mnt:\[\d+\]\nCapEff:\t0{16}\n$/)
      expect(profile.pinned()).not.toContain(result.stdout.split('\n')[0])
    })

    attack("attack 24: inside a user's own namespace the helper has no rights and runs nothing", async () => {
      for (const options of [...(profile.userns ? [] : [['-U']]), ['-r'], ['-rm'], ['-rmpf']]) {
        const result = await asUser(['unshare', ...options, ...good('echo RAN')])
        expect(result.status).not.toBe(0)
        expect(result.stdout).toBe('')
        expect(result.stderr).toMatch(/CALLER_IS_ROOT|UDIROOT_CONF_UNSAFE: \/ belongs to uid 65534|unshare: /)
      }
    })

    attack('attack 24: ignored, blocked and pending signals are handed on, not used', async () => {
      const result = await asUser([launch, 'quiet', ...good('grep -E "^(SigBlk|SigIgn|SigPnd|ShdPnd)" /proc/$$/status')])
      expect(result.status).toBe(0)
      expect(result.stdout).toMatch(/SigBlk:\tf{4,}/)
      expect(result.stdout).toMatch(/(SigPnd|ShdPnd):\t0*200\n/)
    })
  })
}
