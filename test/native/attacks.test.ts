/**
 * The numbered attacks on the programs of a node, tried against the installed ones under each profile (test/harness/profiles.ts). Numbers are
 * those of the attack checklist; each test says what an attacker does and what must come of it. More of them are in surroundings.test.ts,
 * volumes.test.ts, hidden.test.ts and modules.test.ts, what only one profile has in prepared.test.ts, faults.test.ts and userns.test.ts.
 */
import {
  appendFileSync, chmodSync, chownSync, copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync,
  symlinkSync, truncateSync, writeFileSync,
} from 'node:fs'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { runAs, type RunAsOptions } from '../harness/accounts.js'
import { nothingLeft } from '../harness/leftovers.js'
import { compileLaunch, useNode } from '../harness/node.js'
import { becoming, own, service, userA, userB } from '../harness/people.js'
import { PROFILES, profileOn, type StartOptions } from '../harness/profiles.js'
import { run, runOk, type ProcessResult } from '../harness/process.js'
import type { TarItem } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { ABSENT, attackIn } from './absent.js'
import { busyboxRoot, publishMeta, pullTestImage, refusal, settings, squashfs, type TestImage } from './fixture.js'

/** In the environment of everything started here, so that what is left over can be told from other tests' programs. */
const MARK = 'SHIFTER_ATTACK_TESTS'

// A prefix of its own: these tests spoil configuration and image path.
const node = useNode('attacks', {})
const { prefix: PREFIX, images: IMAGES } = node
const workspace = useWorkspace('attacks')
let launch: string
let image: TestImage

beforeAll(async () => {
  launch = workspace.at('launch')
  await compileLaunch(launch)
  image = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'good', config: { Env: ['PATH=/bin'] } })
})

afterAll(() => nothingLeft(PREFIX, MARK))

it('what is tried under which profile', () => {
  const texts = readdirSync(fileURLToPath(new URL('.', import.meta.url))).filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(new URL(name, import.meta.url), 'utf8').replaceAll("\\'", "'")).join('\n')
  for (let number = 23; number <= 45; number++) expect([number, texts.includes(`attack ${number}: `)]).toEqual([number, true])
  for (const { attack } of ABSENT) expect([attack, texts.includes(attack)]).toEqual([attack, true])
  console.info(`All attacks 23 to 45 are tried under: ${PROFILES.join(', ')}. But not:`)
  console.table(ABSENT.map(({ attack, profiles, reason }) => ({ attack, under: profiles.join(', '), reason })))
})

describe.each(PROFILES)('%s', (name) => {
  const attack = attackIn(name)
  const profile = profileOn(name, PREFIX, { [MARK]: '1' })
  const { helper } = profile
  const slug = name.replaceAll(' ', '-')
  let ours: string
  const asUser = (argv: readonly string[], options: RunAsOptions = {}): Promise<ProcessResult> => runAs(userA, argv, { ...options, env: { ...profile.environment, ...options.env } })
  const shifter = (args: readonly string[], options: StartOptions = {}): Promise<ProcessResult> => profile.start(args, options)
  /** The helper with the good image, running a shell script inside. */
  const good = (script: string): readonly string[] => [helper, ...words(script)]
  const words = (script: string): readonly string[] => [`--image=id:${image.record.id}`, 'sh', '-c', profile.script(script)]
  const refused = async (args: readonly string[], options: StartOptions = {}): Promise<string> => {
    const result = await shifter([...args, 'echo', 'RAN'], options)
    expect(result.status).not.toBe(0)
    expect(result.stdout).toBe('')
    return refusal(result)
  }
  const fileOf = (id: string): string => join(profile.images, `${id}.squashfs`)

  beforeAll(async () => {
    await profile.adopt()
    ours = publishMeta(profile.images, profile.owner, 'good-meta', busyboxRoot()).slice('id:'.length)
  })
  beforeEach(() => profile.prepare(`id:${image.record.id}`))
  afterEach(() => {
    // Nothing is taken down without a configuration.
    node.configure()
    return profile.clear()
  })

  attack('attack 23: a start is what this profile says', async () => {
    const result = await asUser(good('readlink /proc/self/ns/mnt; cat /proc/self/uid_map; ls /var/hostsfile 2>/dev/null; true'))
    const [space = '', map = '', hosts] = result.stdout.split('\n')
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect(profile.pinned().includes(space)).toBe(profile.joined)
    expect(map.trim().split(/ +/)).toEqual(profile.userns ? [String(userA.uid), '0', '1'] : ['0', '0', '4294967295'])
    expect(hosts).toBe(profile.joined ? '/var/hostsfile' : '')
    expect(space).not.toBe(readlinkSync('/proc/self/ns/mnt'))
  })

  describe('attack 23: odd argument vectors', () => {
    attack('attack 23: argc 0 runs nothing', async () => {
      const result = await asUser([launch, 'argc0', helper])
      expect([result.status, refusal(result), result.stdout]).toEqual([2, 'USAGE', ''])
    })

    attack('attack 23: argc 0 never reads the environment as arguments', async () => {
      // The first variable stands where argv[1] would be; the image of the environment must be what counts.
      const result = await asUser(['env', '-i', '--', '--image=id:none=1', `SHIFTER_IMAGEREQUEST=id:${image.record.id}`, ...profile.words, launch, 'argc0', helper], { input: profile.script('echo $0\n') })
      expect(result).toMatchObject({ status: 0, stdout: '/bin/sh\n' })
    })

    attack('attack 23: an empty argv[0] changes nothing', async () => {
      const result = await asUser(['bash', '-c', `exec -a '' "$@"`, 'bash', ...good('echo ok')])
      expect(result).toMatchObject({ status: 0, stdout: 'ok\n' })
    })

    attack('attack 23: arguments up to the kernel\'s limit arrive whole, or nothing runs', async () => {
      const word = 'x'.repeat(100_000)
      const count = async (words: number) =>
        asUser(['bash', '-c', `w=$(printf %100000s | tr ' ' x); a=(); for ((i=0;i<${words};i++)); do a+=("$w"); done; exec ${helper} --image=id:${image.record.id} sh -c '${profile.script('')}echo $#; echo \${#1}' sh "\${a[@]}"`])
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
      expect((await shifter([`--image=id:${image.record.id}`, ...many, 'sh', '-c', 'echo $V0 $V9999'])).stdout).toBe('0 9999\n')
    })
  })

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
        expect(await refused([`--report-fd=${number}`, `--image=id:${image.record.id}`])).toBe('USAGE')
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
      const inside = [helper, `--image=id:${image.record.id}`, 'sh', '-c', 'readlink /proc/self/ns/mnt; ls -d /var/hostsfile /proc/1/root/etc 2>/dev/null; grep CapEff /proc/self/status']
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
      const argv = [helper, `--image=id:${image.record.id}`, '--clearenv', 'echo', 'ok']
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
      const result = await shifter([`--image=id:${image.record.id}`, 'env'], { env: { PATH: '/evil', IFS: 'x', NORMAL: '1', TZ: 'UTC' } })
      expect(result.status).toBe(0)
      expect(settings(result.stdout)).toMatchObject({ PATH: '/bin', NORMAL: '1', TZ: 'UTC', HOME: userA.home })
    })

    attack('attack 25: the program inside gets what the helper itself ignores', async () => {
      // Without setuid the loader of the helper itself would complain of what it can't load.
      const mine = { LD_LIBRARY_PATH: '/mine/lib', ...(profile.userns ? {} : { LD_PRELOAD: '/mine/lib/x.so' }), LD_DEBUG_OUTPUT: '/mine/debug', TMPDIR: '/mine/tmp', MALLOC_TRACE: '/mine/trace', GCONV_PATH: '/mine', AFTER: 'x=y z' }
      const result = await shifter([`--image=id:${image.record.id}`, 'env'], { env: mine })
      expect(result).toMatchObject({ status: 0, stderr: '' })
      expect(settings(result.stdout)).toMatchObject(mine)
      expect(settings((await shifter([`--image=id:${image.record.id}`, '--clearenv', 'env'], { env: mine })).stdout)).not.toHaveProperty('LD_LIBRARY_PATH')
      // Nothing behind the last variable is taken for one.
      const none = await asUser(['env', '-i', ...profile.words, helper, `--image=id:${image.record.id}`, 'env'])
      expect(Object.keys(settings(none.stdout)).sort()).toEqual(['PATH', 'SHIFTER_IMAGE', 'SHIFTER_IMAGEREQUEST', ...Object.keys(profile.environment)].sort())
      // As the interpreter of a script, of which the kernel makes more arguments.
      const shown = mkdtempSync('/tmp/shifter-script-')
      onTestFinished(() => rmSync(shown, { recursive: true }))
      chmodSync(shown, 0o755)
      const script = join(shown, 'script')
      writeFileSync(script, `#!${helper} /bin/sh\nenv\n`)
      chmodSync(script, 0o755)
      const scripted = await asUser(['env', '-i', ...profile.words, 'LD_LIBRARY_PATH=/mine', `SHIFTER_IMAGEREQUEST=id:${image.record.id}`, 'LAST=1', script])
      expect(scripted).toMatchObject({ status: 0, stderr: '' })
      expect(settings(scripted.stdout)).toMatchObject({ LD_LIBRARY_PATH: '/mine', LAST: '1' })
    })

    attack('attack 25: variables without a name or an equals sign, and doubled ones, confuse nothing', async () => {
      const result = await asUser(['python3', '-c',
        `import ctypes,sys
libc=ctypes.CDLL(None)
argv=(ctypes.c_char_p*4)(b"shifter",b"--image=id:${image.record.id}",b"env",None)
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
      if (profile.joined) await runOk(['sh', '-c', `umask ${mask}; exec "$@"`, 'sh', ...profile.preparation(`id:${image.record.id}`)])
      const owner = profile.userns ? userA.uid : 0
      const result = await asUser(['sh', '-c', `umask ${mask}; exec "$@"`, 'sh', ...good('umask; stat -c "%a %u %n" /etc/passwd /etc/group /etc/shadow /etc/hosts /etc /')])
      expect(result).toMatchObject({
        status: 0,
        stdout: `${mask.padStart(4, '0').padEnd(4, '0')}\n644 ${owner} /etc/passwd\n644 ${owner} /etc/group\n600 ${owner} /etc/shadow\n644 ${owner} /etc/hosts\n755 ${owner} /etc\n755 ${owner} /\n`,
      })
    })

    attack('attack 27: groups inside are exactly those of the caller, none included', async () => {
      const groupsOf = async (groups: readonly number[]) => (await shifter([`--image=id:${image.record.id}`, 'sh', '-c', 'grep ^Groups /proc/$$/status'], { groups })).stdout.replace(/^Groups:\s*|\s*$/g, '')
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

  describe('attack 28: what stands at the image path', () => {
    let count = 0
    let id: string
    /** A name on the image path with a `.meta` that lets everybody in; the test puts something there. */
    beforeEach(() => {
      id = `victim-${slug}-${++count}`
      writeFileSync(join(profile.images, `${id}.meta`), 'FORMAT: squashfs\nENV: PATH=/bin\n')
      own(join(profile.images, `${id}.meta`), profile.owner, 0o600)
    })
    const outcome = () => refused([`--image=id:${id}`])

    attack('attack 28: a symbolic link, to a good image, a descriptor or nowhere', async () => {
      for (const target of [fileOf(ours), `${ours}.squashfs`, '/proc/self/fd/0', '/proc/self/fd/9', '/nowhere']) {
        rmSync(fileOf(id), { force: true })
        symlinkSync(target, fileOf(id))
        expect(await outcome(), target).toBe('IMAGE_UNSAFE')
      }
    })

    attack('attack 28: a FIFO, a socket, devices and a directory; nothing waits', async () => {
      for (const make of [['mkfifo', fileOf(id)], ['mknod', fileOf(id), 'c', '1', '5'], ['mknod', fileOf(id), 'b', '7', '0'], ['mkdir', fileOf(id)],
        ['python3', '-c', `import socket; socket.socket(socket.AF_UNIX).bind("${fileOf(id)}")`]]) {
        await runOk(make)
        chownSync(fileOf(id), profile.owner.uid, profile.owner.gid)
        expect(await refused([`--image=id:${id}`], { timeoutMs: 5000 }), make[0]).toBe('IMAGE_UNSAFE')
        rmSync(fileOf(id), { recursive: true })
      }
    })

    attack('attack 28: a file of another owner, or one that others can write', async () => {
      copyFileSync(fileOf(ours), fileOf(id))
      own(fileOf(id), profile.owner, 0o600)
      expect(await shifter([`--image=id:${id}`, 'true'])).toMatchObject({ status: 0 })
      for (const [account, mode] of [[profile.others[0], 0o644], [userB, 0o644], [profile.owner, 0o660], [profile.owner, 0o602], [profile.owner, 0o666]] as const) {
        own(fileOf(id), account, mode)
        expect(await outcome(), `${account.name} ${mode.toString(8)}`).toBe('IMAGE_UNSAFE')
      }
      // Root's own files are not the image owner's.
      chownSync(fileOf(id), 0, 0)
      chmodSync(fileOf(id), 0o600)
      expect(await outcome()).toMatch(/^IMAGE_(UNSAFE|NOT_FOUND|CORRUPT|UNREADABLE)$/)
    })

    attack('attack 28: descriptions and names that others could have written', async () => {
      copyFileSync(fileOf(ours), fileOf(id))
      own(fileOf(id), profile.owner, 0o600)
      own(join(profile.images, `${id}.meta`), profile.others[0], 0o644)
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      own(join(profile.images, `${id}.meta`), profile.owner, 0o620)
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      rmSync(join(profile.images, `${id}.meta`))
      symlinkSync(join(profile.images, `${ours}.meta`), join(profile.images, `${id}.meta`))
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      // A record that can't be used is not passed over for the .meta beside it.
      symlinkSync('/nowhere', join(profile.images, `${id}.record`))
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      const names = join(profile.images, 'names')
      renameSync(names, `${names}-moved`)
      symlinkSync(`${names}-moved`, names)
      try {
        expect(await refused([`--image=${image.reference}`])).toBe('IMAGE_UNSAFE')
      } finally {
        rmSync(names)
        renameSync(`${names}-moved`, names)
      }
    })

    attack('attack 28: an image path, or a directory above it, that others can write', async () => {
      const above = join(PREFIX, 'above')
      onTestFinished(() => rmSync(above, { recursive: true }))
      const deep = join(above, 'images')
      mkdirSync(deep, { recursive: true })
      own(deep, profile.owner, 0o755)
      copyFileSync(fileOf(ours), join(deep, 'x.squashfs'))
      writeFileSync(join(deep, 'x.meta'), 'FORMAT: squashfs\nENV: PATH=/bin\n')
      for (const name of ['x.squashfs', 'x.meta']) own(join(deep, name), profile.owner, 0o600)
      node.configure({ imagePath: deep })
      expect(await shifter(['--image=id:x', 'true'])).toMatchObject({ status: 0 })
      for (const directory of [above, deep]) {
        for (const [account, mode] of [[userA, 0o755], [service, 0o775], [service, 0o757], [service, 0o1777]] as const) {
          own(directory, account, mode)
          expect(await refused(['--image=id:x']), `${directory} ${account.name} ${mode.toString(8)}`).toBe('IMAGE_UNSAFE')
          own(directory, profile.owner, 0o755)
        }
      }
      symlinkSync(deep, join(above, 'link'))
      node.configure({ imagePath: join(above, 'link') })
      expect(await refused(['--image=id:x'])).toBe('IMAGE_UNSAFE')
      node.configure({ imagePath: '/tmp' })
      expect(await refused(['--image=id:x'])).toBe('IMAGE_UNSAFE')
    })

    attack('attack 28: an image path that the caller owns', async () => {
      node.configure({ imageOwner: userA.uid })
      expect(await refused([`--image=id:${ours}`])).toBe('IMAGE_UNSAFE')
    })

    attack('attack 28: exchanged for another file while programs start', { timeout: 60_000 }, async () => {
      squashfs(fileOf(id), busyboxRoot())
      own(fileOf(id), profile.owner, 0o600)
      const evil = join(profile.images, `${id}.evil`)
      squashfs(evil, busyboxRoot([{ name: 'EVIL', type: 'file', data: '' }]))
      own(evil, userB, 0o666)
      const attacker = spawn(launch, ['swap', fileOf(id), evil], { stdio: 'ignore', env: profile.environment })
      const look = [helper, `--image=id:${id}`, 'sh', '-c', 'test -e /EVIL && echo EVIL || echo good']
      /** What a preparation took, its ranks see; what it refused, they find out for themselves. */
      const once = async (job: string): Promise<readonly string[]> => {
        const prepared = profile.joined ? await run(profile.preparation(`id:${id}`, { job })) : undefined
        const result = await asUser(look, { env: { SHIFTER_JOB_ID: job } })
        if (profile.joined) await runOk([node.sbin('unsetupRoot'), `--job=${job}`])
        if (prepared?.status === 0) expect(result).toMatchObject({ status: 0, stdout: 'good\n' })
        return [prepared?.status === 1 ? refusal(prepared) : 'good', result.status === 0 ? result.stdout.trim() : refusal(result)]
      }
      try {
        const seen = new Set<string>()
        for (let round = 0; round < (name === 'setuid fresh' ? 60 : 15); round++) {
          for (const what of (await Promise.all([0, 1, 2, 3].map((each) => once(`swap-${round}-${each}`)))).flat()) seen.add(what)
        }
        // Both were met, or the race was none.
        expect([...seen].sort()).toEqual(['IMAGE_UNSAFE', 'good'])
      } finally {
        attacker.kill('SIGKILL')
        rmSync(evil, { force: true })
      }
    })

    attack('attack 28: shorter, longer, sparse and empty files', async () => {
      const size = statSync(fileOf(ours)).size
      for (const length of [0, 1, 95, 96, 4096, size - 4096]) {
        copyFileSync(fileOf(ours), fileOf(id))
        own(fileOf(id), profile.owner, 0o600)
        truncateSync(fileOf(id), length)
        expect(await outcome(), String(length)).toBe('IMAGE_CORRUPT')
      }
      // A hole behind the end is harmless, but not what a record says.
      copyFileSync(fileOf(ours), fileOf(id))
      own(fileOf(id), profile.owner, 0o600)
      truncateSync(fileOf(id), size + (1 << 30))
      expect(await shifter([`--image=id:${id}`, 'true'])).toMatchObject({ status: 0 })
      const recorded = fileOf(image.record.id)
      const had = statSync(recorded).size
      for (const length of [had - 4096, had + 4096]) {
        copyFileSync(recorded, `${recorded}.kept`)
        truncateSync(recorded, length)
        try {
          expect(await refused([`--image=id:${image.record.id}`])).toBe('IMAGE_CORRUPT')
        } finally {
          renameSync(`${recorded}.kept`, recorded)
          own(recorded, profile.owner, 0o600)
        }
      }
    })

    attack('attack 28: truncated under a running program', async () => {
      squashfs(fileOf(id), busyboxRoot([{ name: 'big', type: 'file', data: Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 2654435761) >>> 24)) }]))
      own(fileOf(id), profile.owner, 0o600)
      await profile.prepare(`id:${id}`)
      const [program, ...rest] = [...becoming(userA), helper, `--image=id:${id}`, 'sh', '-c', profile.script('echo up; read x; cat /big > /dev/null; echo $?')]
      const child = spawn(program, rest, { cwd: '/', env: { ...profile.environment, PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'ignore'] })
      const ended = new Promise((resolve) => child.on('close', resolve))
      expect(String(await new Promise((resolve) => child.stdout.once('data', resolve)))).toBe('up\n')
      truncateSync(fileOf(id), 4096)
      child.stdin.end('go\n')
      await ended // with whatever status: the host stands
      expect(await outcome()).toBe('IMAGE_CORRUPT')
      expect(await asUser(good('echo ok'))).toMatchObject({ status: 0, stdout: 'ok\n' })
    })

    attack('attack 28: grown, replaced and removed under a prepared or running root, which stays what it was', async () => {
      squashfs(fileOf(id), busyboxRoot([{ name: 'which', type: 'file', data: 'first\n' }]))
      own(fileOf(id), profile.owner, 0o600)
      await profile.prepare(`id:${id}`)
      const [program, ...rest] = [...becoming(userA), helper, `--image=id:${id}`, 'sh', '-c', profile.script('echo up; read x; cat /which /bin/busybox | head -c 6')]
      const child = spawn(program, rest, { cwd: '/', env: { ...profile.environment, PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'ignore'] })
      let out = ''
      const ended = new Promise((resolve) => child.on('close', resolve))
      await new Promise<void>((resolve) => child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString()
        resolve()
      }))
      appendFileSync(fileOf(id), Buffer.alloc(1 << 20, 'x'))
      squashfs(`${fileOf(id)}.next`, busyboxRoot([{ name: 'which', type: 'file', data: 'second\n' }]))
      own(`${fileOf(id)}.next`, profile.owner, 0o600)
      renameSync(`${fileOf(id)}.next`, fileOf(id))
      child.stdin.end('go\n')
      await ended
      expect(out).toBe('up\nfirst\n')
      const now = async () => (await asUser([helper, `--image=id:${id}`, 'cat', '/which'])).stdout
      expect(await now()).toBe(profile.joined ? 'first\n' : 'second\n')
      rmSync(fileOf(id))
      expect(await now()).toBe(profile.joined ? 'first\n' : '')
      await profile.clear()
      expect(await outcome()).toBe('IMAGE_NOT_FOUND')
    })

    attack('attack 28: that root can not read, as on a root-squashed file system, is opened as its owner', async () => {
      squashfs(fileOf(id), busyboxRoot())
      own(fileOf(id), profile.owner, 0o600)
      const closed = join(profile.images, '..')
      const squashed = ['setpriv', '--bounding-set=-dac_override,-dac_read_search']
      own(profile.images, profile.owner, 0o700)
      try {
        expect((await run([...squashed, 'cat', fileOf(id)], { cwd: closed })).status).not.toBe(0)
        // What is mounted afterwards is what was opened here; without these rights an overlay can't be.
        const asked = profile.joined ? [node.sbin('setupRoot'), '-U', String(userA.uid), '-G', String(userA.gid)] : [...becoming(userA), 'env', ...profile.words, helper]
        expect(await run([...squashed, ...asked, `--resolve=id:${id}`], { cwd: '/', env: { PATH: '/usr/bin:/bin' } })).toMatchObject({ status: 0, stdout: `${id}\n`, stderr: '' })
      } finally {
        own(profile.images, profile.owner, 0o755)
      }
    })

    attack('attack 28: ids are names, never ways', async () => {
      for (const bad of ['../good-meta', 'a/b', '.', '..', '.hidden', '', 'x\n', '%2e', '/etc/passwd', 'a'.repeat(129)]) {
        expect(await refused([`--image=id:${bad}`]), JSON.stringify(bad)).toBe('REFERENCE_INVALID')
      }
    })
  })

  describe('attack 29: what an image file is', () => {
    const put = (id: string, bytes: Buffer): string => {
      writeFileSync(fileOf(id), bytes)
      writeFileSync(join(profile.images, `${id}.meta`), 'FORMAT: squashfs\nENV: PATH=/bin\n')
      own(fileOf(id), profile.owner, 0o600)
      own(join(profile.images, `${id}.meta`), profile.owner, 0o600)
      return `--image=id:${id}`
    }
    const ext4 = async (): Promise<Buffer> => {
      const file = workspace.at('ext4')
      writeFileSync(file, '')
      truncateSync(file, 4 << 20)
      await runOk(['mkfs.ext4', '-q', '-F', file])
      return readFileSync(file)
    }
    const withMagic = (magic: string, at: number): Buffer => {
      const bytes = Buffer.alloc(1 << 20)
      bytes.write(magic, at, 'latin1')
      return bytes
    }

    attack('attack 29: other file systems under the name of a squashfs', async () => {
      const others: Record<string, Buffer> = {
        ext4: await ext4(), xfs: withMagic('XFSB', 0), iso: withMagic('\x01CD001\x01', 32768), btrfs: withMagic('_BHRfS_M', 65600), zeros: Buffer.alloc(1 << 20),
        swapped: withMagic('sqsh', 0), erofs: withMagic('\xe2\xe1\xf5\xe0', 1024), script: Buffer.from('#!/bin/sh\necho EVIL\n'.repeat(20)),
      }
      for (const [kind, bytes] of Object.entries(others)) expect(await refused([put(`fs-${kind}`, bytes)]), kind).toBe('IMAGE_CORRUPT')
    })

    attack('attack 29: the kernel is never left to guess: an ext4 behind a squashfs superblock is no ext4', async () => {
      const bytes = await ext4()
      // ext4 keeps its own at 1,024; the first 96 bytes are free for a superblock that passes every check of ours.
      readFileSync(fileOf(ours)).copy(bytes, 0, 0, 96)
      bytes.writeBigUInt64LE(BigInt(bytes.length), 40)
      expect(['MOUNT_FAILED', 'IMAGE_CORRUPT']).toContain(await refused([put('fs-both', bytes)]))
      const trace = workspace.at('trace-fs')
      // Joined: it is setupRoot that mounts.
      const mounting = profile.joined ? profile.preparation('id:fs-both') : ['-u', userA.name, helper, '--image=id:fs-both', 'true']
      await run(['strace', '-f', '-e', 'trace=fsopen,mount', '-o', trace, ...mounting], { cwd: '/', env: { ...process.env, ...profile.environment } })
      const kinds = [...readFileSync(trace, 'utf8').matchAll(/fsopen\("([^"]*)"/g)].map(([, kind]) => kind)
      expect(kinds).toContain('squashfs')
      expect(kinds.filter((kind) => !['squashfs', 'tmpfs', 'overlay'].includes(kind ?? ''))).toEqual([])
    })

    attack('attack 29: a superblock changed byte by byte is refused or harmless', { timeout: 60_000 }, async () => {
      const whole = readFileSync(fileOf(ours))
      const ends = new Set<string>()
      // The superblock is read by the same lines for each; the first profile takes every byte.
      for (let at = 0; at < 96; at += name === 'setuid fresh' ? 1 : 5) {
        const bytes = Buffer.from(whole)
        bytes.writeUInt8((bytes[at] ?? 0) ^ 0xff, at)
        const result = await shifter([put('fs-flipped', bytes), 'true'])
        expect(result.signal, `byte ${at}`).toBe(null)
        ends.add(result.status === 0 ? 'ran' : result.status === 127 ? 'EXEC_FAILED' : refusal(result))
      }
      expect([...ends].filter((end) => !['ran', 'IMAGE_CORRUPT', 'MOUNT_FAILED', 'EXEC_FAILED', 'IMAGE_LAYOUT'].includes(end))).toEqual([])
      expect(ends).toContain('IMAGE_CORRUPT')
    })
  })

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
      const site = join(PREFIX, 'site')
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
      const hook = join(PREFIX, 'hook')
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

  describe('attack 37: accounts', () => {
    const etcPath = () => join(PREFIX, 'etc/accounts')
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
      await profile.prepare(`id:${image.record.id}`)
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
      const result = await shifter([`--image=id:${image.record.id}`, 'sh', '-c', 'cat /proc/1/environ; ls /proc/1/root/; ls /proc/1/fd; echo end'])
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
    const etc = join(PREFIX, 'etc/shifter')
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
        const kept = join(PREFIX, 'etc', `${name}.kept`)
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
      for (const directory of [etc, join(PREFIX, 'etc'), PREFIX]) {
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
      writeFileSync(node.native.udiRootConf, `${readFileSync(node.native.udiRootConf, 'utf8')}imagePath=/nowhere\nimagePath=${IMAGES}\nsystem=one\nsystem=two\n`)
      writeFileSync(node.native.runtimeConf, `${readFileSync(node.native.runtimeConf, 'utf8')}imageOwner=0\nimageOwner=${service.uid}\n`)
      expect(await shifter([`--image=id:${ours}`, 'true'])).toMatchObject({ status: 0, stderr: '' })
      const { stdout } = await asUser([node.native.bin('shifter-check'), 'config', '--json'])
      expect(JSON.parse(stdout)).toMatchObject({ runtime: { imageOwner: service.uid }, udiRoot: { imagePath: IMAGES, system: 'two' } })
    })
  })

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
      expect(readdirSync(join(PREFIX, 'run/jobs')).filter((job) => job !== 'prolog')).toEqual([])
    })
  })
})

describe('attack 44: configuration, as administrators see it', () => {
  let ours: string
  beforeAll(() => {
    ours = publishMeta(IMAGES, service, 'good-meta', busyboxRoot()).slice('id:'.length)
  })
  const asUser = (argv: readonly string[]): Promise<ProcessResult> => runAs(userA, argv, { env: { [MARK]: '1' } })
  const shifter = (args: readonly string[]): Promise<ProcessResult> => asUser([node.helper, ...args])
  const setupRoot = () => run([node.sbin('setupRoot'), '-U', String(userA.uid), '-G', String(userA.gid), 'id', ours])
  const takeDown = () => runOk([node.sbin('unsetupRoot')])

  it('attack 44: what is deprecated or unknown is told to administrators, and by no start', async () => {
    node.configure({ udiRoot: { kmodBasePath: '/x', module_gpu_wrong: '1' } })
    const says = [/kmodBasePath is deprecated and has no effect$/, /module_gpu_wrong is no known setting of a module$/].map((line) => expect.stringMatching(line) as string)
    expect(JSON.parse((await asUser([node.native.bin('shifter-check'), 'config', '--json'])).stdout)).toMatchObject({ warnings: says, wrong: [] })
    const prepared = await setupRoot()
    await takeDown()
    expect(prepared.status, prepared.stderr).toBe(0)
    expect(prepared.stderr.trimEnd().split('\n')).toEqual(says)
    expect(prepared.stderr).toMatch(/^setupRoot: warning: /)
    // Users can do nothing about it.
    expect(await shifter([`--image=id:${ours}`, 'true'])).toMatchObject({ status: 0, stderr: '' })
  })

  it.each([
    ['a program that is not there', { cpPath: '/nowhere/cp' }, 'UDIROOT_CONF_INVALID'],
    ['a hook that anybody could have written', { sitePreMountHook: '/tmp/hook' }, 'UDIROOT_CONF_UNSAFE'],
    ['a tree of a module that anybody could have written', { module_gpu_copyPath: '/tmp' }, 'UDIROOT_CONF_UNSAFE'],
  ])('attack 44: %s: a preparation refuses it, and shifter-check tells it', async (_, udiRoot, code) => {
    node.configure({ udiRoot })
    const prepared = await setupRoot()
    expect([prepared.status, refusal(prepared)]).toEqual([1, code])
    expect((await asUser([node.native.bin('shifter-check'), 'config', '--json'])).status).toBe(1)
    const checked = await asUser([node.native.bin('shifter-check'), 'node'])
    expect((JSON.parse(checked.stdout) as { readonly checks: unknown[] }).checks).toContainEqual({
      name: 'settings', ok: false, detail: expect.stringMatching(new RegExp(`^udiRoot\\.conf:\\d+: ${Object.keys(udiRoot)[0] ?? ''}: `)) as string,
    })
    // A start looks at what it uses alone.
    if (!('sitePreMountHook' in udiRoot)) expect(await shifter([`--image=id:${ours}`, 'true'])).toMatchObject({ status: 0, stderr: '' })
  })

  it('attack 44: without runtime.conf root owns images, and who else does is told', async () => {
    rmSync(node.native.runtimeConf)
    const wrong = await shifter([`--image=id:${ours}`, 'true'])
    const says = `${IMAGES} belongs to uid ${service.uid}, not to root; runtime.conf says imageOwner=0`
    expect(wrong.stderr).toContain(says)
    const checked = await asUser([node.native.bin('shifter-check'), 'node'])
    expect(checked.status).toBe(1)
    expect((JSON.parse(checked.stdout) as { readonly checks: unknown[] }).checks).toContainEqual({ name: 'imagePath', ok: false, detail: says })
  })
})
