/** Attacks on a start: how it is called: arguments, environment, umask, groups and ids. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { own, service, userA, userB } from '../../harness/people.js'
import { run, runOk } from '../../harness/process.js'
import { busyboxRoot, publishMeta, refusal, settings } from '../fixture.js'
import type { Ground } from './ground.js'

export const callingAttacks = ({ node, workspace, profile, helper, slug, attack, launch, image, fileOf, asUser, shifter, good }: Ground): void => {
  describe('attack 23: odd argument vectors', () => {
    attack('attack 23: argc 0 runs nothing', async () => {
      const result = await asUser([launch, 'argc0', helper])
      expect([result.status, refusal(result), result.stdout]).toEqual([2, 'USAGE', ''])
    })

    attack('attack 23: argc 0 never reads the environment as arguments', async () => {
      // The first variable stands where argv[1] would be; the image of the environment must be what counts.
      const result = await asUser(['env', '-i', '--', '--image=id:none=1', `SHIFTER_IMAGEREQUEST=id:${image().record.id}`, ...profile.words, launch, 'argc0', helper], { input: profile.script('echo $0\n') })
      expect(result).toMatchObject({ status: 0, stdout: '/bin/sh\n' })
    })

    attack('attack 23: an empty argv[0] changes nothing', async () => {
      const result = await asUser(['bash', '-c', `exec -a '' "$@"`, 'bash', ...good('echo ok')])
      expect(result).toMatchObject({ status: 0, stdout: 'ok\n' })
    })

    attack('attack 23: arguments up to the kernel\'s limit arrive whole, or nothing runs', async () => {
      const word = 'x'.repeat(100_000)
      const count = async (words: number) =>
        asUser(['bash', '-c', `w=$(printf %100000s | tr ' ' x); a=(); for ((i=0;i<${words};i++)); do a+=("$w"); done; exec ${helper} --image=id:${image().record.id} sh -c '${profile.script('')}echo $#; echo \${#1}' sh "\${a[@]}"`])
      expect(await count(15)).toMatchObject({ status: 0, stdout: `15\n${word.length}\n` })
      const most = await count(20)
      expect([0, 127, 126]).toContain(most.status)
      if (most.status === 0) expect(most.stdout).toBe(`20\n${word.length}\n`)
      else expect(most.stdout).toBe('')
    })

    attack('attack 23: a long option is refused in one short line; ten thousand options are taken', async () => {
      const result = await shifter([`--image=${'a'.repeat(100_000)}`, 'true'])
      expect(refusal(result)).toBe('REFERENCE_INVALID')
      expect(result.stderr.length).toBeLessThan(5000)
      const many = Array.from({ length: 10_000 }, (_, i) => `-eV${i}=${i}`)
      expect((await shifter([`--image=id:${image().record.id}`, ...many, 'sh', '-c', 'echo $V0 $V9999'])).stdout).toBe('0 9999\n')
    })
  })

  describe('attack 25: environment', () => {
    const hostile = (dir: string): Record<string, string> => ({
      LD_PRELOAD: `${dir}/evil.so`, LD_LIBRARY_PATH: dir, LD_AUDIT: `${dir}/evil.so`, LD_DEBUG: 'all', LD_DEBUG_OUTPUT: `${dir}/debug`, GLIBC_TUNABLES: `glibc.malloc.check=3:glibc.malloc.mxfast=${'A'.repeat(5000)}`, MALLOC_CHECK_: '3', MALLOC_TRACE: `${dir}/trace`,
      LIBMOUNT_MTAB: `${dir}/mtab`, LIBMOUNT_FSTAB: `${dir}/fstab`, LIBMOUNT_FORCE_MOUNT2: 'always', PATH: dir, IFS: 'abcdefghijklmnopqrstuvwxyz/', TZ: `:${dir}/tz`,
      TZDIR: dir, LOCPATH: dir, LC_ALL: `../../..${dir}/x`, LANG: `../../..${dir}/x`, NLSPATH: `${dir}/%N`, GCONV_PATH: dir, HOSTALIASES: `${dir}/aliases`,
      RESOLV_HOST_CONF: `${dir}/host.conf`, RES_OPTIONS: 'debug', GETCONF_DIR: dir, TMPDIR: dir, BASH_ENV: `${dir}/rc`, ENV: `${dir}/rc`, HOME: dir,
      SHELL: `${dir}/sh`, USER: 'root', LOGNAME: 'root', SHIFTER_CONFIG: `${dir}/udiRoot.conf`, UDIROOT_CONF: `${dir}/udiRoot.conf`,
    })

    attack('attack 25: the helper neither loads nor opens nor runs anything that a variable names', async () => {
      const dir = workspace.at(`evil-${slug}`)
      mkdirSync(dir)
      own(dir, userA, 0o755)
      writeFileSync(join(dir, 'evil.c'), `#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void evil(void) { if (geteuid() != getuid()) { write(1, "EVIL\\n", 5); _exit(66); } }\n`)
      await runOk(['gcc', '-shared', '-fPIC', '-w', '-o', join(dir, 'evil.so'), join(dir, 'evil.c')])
      for (const name of ['sh', 'cp', 'mv', 'dd', 'chmod', 'mount', 'modprobe', 'busybox', 'echo']) writeFileSync(join(dir, name), '#!/bin/sh\necho EVIL\n', { mode: 0o755 })
      const trace = workspace.at('trace')
      const bad = hostile(dir)
      // --clearenv: what the program inside does with such variables is not the helper's doing.
      const argv = [helper, `--image=id:${image().record.id}`, '--clearenv', 'echo', 'ok']
      const result = await run(['strace', '-f', '-u', userA.name, '-s', '300', '-e', 'trace=%file,execve,execveat', '-o', trace, 'env', '-i',
        ...Object.entries({ ...bad, ...profile.environment }).map(([key, value]) => `${key}=${value}`), ...argv], { cwd: '/' })
      expect(result).toMatchObject({ status: 0, stdout: 'ok\n', stderr: '' })
      const calls = readFileSync(trace, 'utf8').split('\n')
      const start = calls.findIndex((line) => line.includes(`execve("${helper}"`))
      expect(start).toBeGreaterThanOrEqual(0)
      expect(calls.slice(start + 1).filter((line) => line.includes(dir))).toEqual([])
      // The one program it runs is the one asked for.
      expect(calls.slice(start + 1).filter((line) => line.includes('execve'))).toEqual([expect.stringMatching(/execve\("\/bin\/echo", \["echo", "ok"\]/)])
      expect(readdirSync(dir).sort()).toEqual(['busybox', 'chmod', 'cp', 'dd', 'echo', 'evil.c', 'evil.so', 'mount', 'modprobe', 'mv', 'sh'].sort())
    })

    attack('attack 25: the program inside gets the intended variables and the image\'s PATH', async () => {
      const result = await shifter([`--image=id:${image().record.id}`, 'env'], { env: { PATH: '/evil', IFS: 'x', NORMAL: '1', TZ: 'UTC' } })
      expect(result.status).toBe(0)
      expect(settings(result.stdout)).toMatchObject({ PATH: '/bin', NORMAL: '1', TZ: 'UTC', HOME: userA.home })
    })

    attack('attack 25: the program inside gets what the helper itself ignores', async () => {
      // Without setuid the loader of the helper itself would complain of what it can't load.
      const mine = { LD_LIBRARY_PATH: '/mine/lib', ...(profile.userns ? {} : { LD_PRELOAD: '/mine/lib/x.so' }), LD_DEBUG_OUTPUT: '/mine/debug', TMPDIR: '/mine/tmp', MALLOC_TRACE: '/mine/trace', GCONV_PATH: '/mine', AFTER: 'x=y z' }
      const result = await shifter([`--image=id:${image().record.id}`, 'env'], { env: mine })
      expect(result).toMatchObject({ status: 0, stderr: '' })
      expect(settings(result.stdout)).toMatchObject(mine)
      expect(settings((await shifter([`--image=id:${image().record.id}`, '--clearenv', 'env'], { env: mine })).stdout)).not.toHaveProperty('LD_LIBRARY_PATH')
      // Nothing behind the last variable is taken for one.
      const none = await asUser(['env', '-i', ...profile.words, helper, `--image=id:${image().record.id}`, 'env'])
      expect(Object.keys(settings(none.stdout)).sort()).toEqual(['PATH', 'SHIFTER_IMAGE', 'SHIFTER_IMAGEREQUEST', ...Object.keys(profile.environment)].sort())
      // As the interpreter of a script, of which the kernel makes more arguments.
      const shown = mkdtempSync('/tmp/shifter-script-')
      onTestFinished(() => rmSync(shown, { recursive: true }))
      chmodSync(shown, 0o755)
      const script = join(shown, 'script')
      writeFileSync(script, `#!${helper} /bin/sh\nenv\n`)
      chmodSync(script, 0o755)
      const scripted = await asUser(['env', '-i', ...profile.words, 'LD_LIBRARY_PATH=/mine', `SHIFTER_IMAGEREQUEST=id:${image().record.id}`, 'LAST=1', script])
      expect(scripted).toMatchObject({ status: 0, stderr: '' })
      expect(settings(scripted.stdout)).toMatchObject({ LD_LIBRARY_PATH: '/mine', LAST: '1' })
    })

    attack('attack 25: variables without a name or an equals sign, and doubled ones, confuse nothing', async () => {
      const result = await asUser(['python3', '-c',
        `import ctypes,sys
libc=ctypes.CDLL(None)
argv=(ctypes.c_char_p*4)(b"shifter",b"--image=id:${image().record.id}",b"env",None)
env=(ctypes.c_char_p*${6 + profile.words.length})(b"NOEQUALS",b"=x",b"",b"TWICE=1",b"TWICE=2",${profile.words.map((word) => `b"${word}"`).join(',')},None)
libc.execve(b"${helper}",argv,env)`], { env: { PATH: '/usr/bin:/bin' } })
      expect(result.status).toBe(0)
      const lines = result.stdout.trimEnd().split('\n')
      expect(lines).toContain('TWICE=1')
      expect(lines).not.toContain('TWICE=2')
      expect(lines.filter((line) => !/^[A-Z_]+=/.test(line))).toEqual([])
    })
  })

  describe('attack 27: umask, groups and ids', () => {
    for (const mask of ['0', '0777']) attack(`attack 27: umask ${mask} opens or closes nothing that is written`, async () => {
      await profile.clear()
      if (profile.joined) await runOk(['sh', '-c', `umask ${mask}; exec "$@"`, 'sh', ...profile.preparation(`id:${image().record.id}`)])
      const owner = profile.userns ? userA.uid : 0
      const result = await asUser(['sh', '-c', `umask ${mask}; exec "$@"`, 'sh', ...good('umask; stat -c "%a %u %n" /etc/passwd /etc/group /etc/shadow /etc/hosts /etc /')])
      expect(result).toMatchObject({
        status: 0,
        stdout: `${mask.padStart(4, '0').padEnd(4, '0')}\n644 ${owner} /etc/passwd\n644 ${owner} /etc/group\n600 ${owner} /etc/shadow\n644 ${owner} /etc/hosts\n755 ${owner} /etc\n755 ${owner} /\n`,
      })
    })

    attack('attack 27: groups inside are exactly those of the caller, none included', async () => {
      const groupsOf = async (groups: readonly number[]) => (await shifter([`--image=id:${image().record.id}`, 'sh', '-c', 'grep ^Groups /proc/$$/status'], { groups })).stdout.replace(/^Groups:\s*|\s*$/g, '')
      expect(await groupsOf([])).toBe('')
      expect(await groupsOf([userA.gid])).toBe(`${userA.gid}`)
      expect(await groupsOf([5, 70000, 4294967294])).toBe('5 70000 4294967294')
    })

    attack('attack 27: root, group root and ids without an account run nothing', async () => {
      const outcome = async (ruid: number, euid: number, rgid: number, egid: number) => {
        const result = await run([launch, 'ids', ...[ruid, euid, rgid, egid].map(String), ...good('echo RAN')], { env: profile.environment, cwd: '/' })
        expect(result.stdout).toBe('')
        return refusal(result)
      }
      expect(await outcome(0, 0, 0, 0)).toBe('CALLER_IS_ROOT')
      // Without setuid one who has two identities is refused before anything else.
      expect(await outcome(0, userA.uid, userA.gid, userA.gid)).toBe(profile.userns ? 'DROP_FAILED' : 'CALLER_IS_ROOT')
      expect(await outcome(userA.uid, userA.uid, 0, 0)).toBe('CALLER_IS_ROOT')
      expect(await outcome(userA.uid, userA.uid, 0, userA.gid)).toBe(profile.userns ? 'DROP_FAILED' : 'CALLER_IS_ROOT')
      expect(await outcome(4294967294, 4294967294, userA.gid, userA.gid)).toBe('CALLER_UNKNOWN')
      expect(await outcome(2147483648, 2147483648, userA.gid, userA.gid)).toBe('CALLER_UNKNOWN')
      // The owner of the images is no caller of them; without setuid he is a user like any other.
      if (!profile.userns) expect(await outcome(service.uid, service.uid, service.gid, service.gid)).toBe('IMAGE_UNSAFE')
    })

    attack('attack 27: a file that changes hands between its check and its use is the right one or refused', { timeout: 60_000 }, async () => {
      const id = 'changing'
      publishMeta(profile.images, profile.owner, id, busyboxRoot())
      const attacker = spawn('python3', ['-c', `import os\nwhile 1:\n for u in (${userB.uid}, ${profile.owner.uid}): os.chown("${fileOf(id)}", u, u)`], { stdio: 'ignore', env: profile.environment })
      try {
        const seen = new Set<string>()
        for (let round = 0; round < 200 && seen.size < 2; round++) {
          const result = profile.joined ? await run(profile.preparation(`id:${id}`, { job: `changing-${round}` })) : await shifter([`--image=id:${id}`, 'echo', 'good'])
          seen.add(result.status === 0 ? 'good' : refusal(result))
          if (profile.joined) await runOk([node.sbin('unsetupRoot'), `--job=changing-${round}`])
        }
        expect([...seen].map((what) => what.replace('IMAGE_UNREADABLE', 'IMAGE_UNSAFE')).sort()).toEqual(['IMAGE_UNSAFE', 'good'])
      } finally {
        attacker.kill('SIGKILL')
      }
    })

    attack('attack 27: a borrowed effective id is not taken for the caller', async () => {
      // Without setuid such a caller has more than one identity to hand on, and is refused.
      const result = await run([launch, 'ids', String(userA.uid), String(userB.uid), String(userA.gid), String(userB.gid), ...good('grep -E "^(Uid|Gid)" /proc/$$/status')],
        { env: profile.environment, cwd: '/' })
      if (profile.userns) return expect([refusal(result), result.stdout]).toEqual(['DROP_FAILED', ''])
      expect(result.stdout).toBe(`Uid:\t${Array(4).fill(userA.uid).join('\t')}\nGid:\t${Array(4).fill(userA.gid).join('\t')}\n`)
    })
  })
}
