/** What surrounds a start, under each profile: limits and signals, the host's mounts, /proc, terminals, labels, and everybody else who starts something meanwhile. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, vi } from 'vitest'
import { runAs, type RunAsOptions } from '../harness/accounts.js'
import { compileLaunch, useNode } from '../harness/node.js'
import { becoming, userA, userB } from '../harness/people.js'
import { PROFILES, profileOn } from '../harness/profiles.js'
import { type ProcessResult, run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { attackIn } from './absent.js'
import { busyboxRoot, publishMeta, pullTestImage, refusal, type TestImage } from './fixture.js'

// A prefix of its own: these tests change the configuration, and tell their loop devices by it.
const node = useNode('surroundings', {})
const { prefix: PREFIX, images: IMAGES } = node
const workspace = useWorkspace('surroundings')
let image: TestImage
/** Visible inside too, since /tmp is shared. */
let shared: string
let launch: string

const devices = async (): Promise<{ readonly name: string; readonly file: string; readonly ro: boolean; readonly autoclear: boolean }[]> => {
  const { stdout } = await runOk(['losetup', '--list', '--json', '--output', 'NAME,BACK-FILE,RO,AUTOCLEAR'])
  const rows = stdout === '' ? [] : (JSON.parse(stdout) as { loopdevices: { name: string; 'back-file': string; ro: boolean; autoclear: boolean }[] }).loopdevices
  return rows.filter((row) => row['back-file'].includes(PREFIX)).map((row) => ({ name: row.name, file: row['back-file'], ro: row.ro, autoclear: row.autoclear }))
}
const gone = (): Promise<void> => vi.waitFor(async () => expect(await devices()).toEqual([]), { timeout: 10_000, interval: 50 })

beforeAll(async () => {
  image = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'good', config: { Env: ['PATH=/bin'] } })
  shared = mkdtempSync('/tmp/shifter-sdk-surroundings-')
  chmodSync(shared, 0o777)
  launch = join(shared, 'launch')
  await compileLaunch(launch)
})
afterAll(async () => {
  rmSync(shared, { recursive: true, force: true })
  await gone()
})

describe.each(PROFILES)('%s', (name) => {
  const attack = attackIn(name)
  const profile = profileOn(name, PREFIX)
  const { helper } = profile
  const slug = name.replaceAll(' ', '-')
  const asUser = (argv: readonly string[], options: RunAsOptions = {}): Promise<ProcessResult> => runAs(userA, argv, { ...options, env: { ...profile.environment, ...options.env } })
  const reference = () => `id:${image.record.id}`
  /** The helper with the good image, running a shell script inside. */
  const good = (script: string): readonly string[] => [helper, `--image=${reference()}`, 'sh', '-c', profile.script(script)]
  /** In front of what root starts for user A. */
  const asA = (): readonly string[] => [...becoming(userA), 'env', ...profile.words]
  const PATH = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

  beforeAll(() => profile.adopt())
  beforeEach(() => profile.prepare(reference()))
  afterEach(() => profile.clear())

  describe('attack 26: limits and signals', () => {
    /** The call with which a start leaves the host's root. */
    const entering = profile.joined ? 'setns' : 'pivot_root'

    for (const [what, limit] of [
      ['no file may grow', '-S -f 0'], ['a small stack', '-S -s 64'], ['few descriptors', '-S -n 16'], ['no processes', '-S -u 0'], ['little memory', '-S -v 20000'],
      ['little data', '-S -d 1000'], ['cores without end', '-S -c unlimited'],
    ] as const) attack(`attack 26: with ${what} a root is whole, and the limit holds inside`, async () => {
      const letter = /-([a-z]) /.exec(limit.slice(3))?.[1] ?? ''
      // Another process of the user's: with it he has more than a limit of none.
      const result = await asUser(['bash', '-c', `sleep 2 > /dev/null 2>&1 & ulimit ${limit} && exec "$@"`, 'bash', ...good(`ulimit -S -${letter}; while read line; do echo "$line"; done < /etc/passwd`)])
      expect(result.stdout).toBe(`${limit.split(' ')[2]}\n${userA.name}:x:${userA.uid}:${userA.gid}::${userA.home}:/bin/sh\n`)
      expect(result.status).toBe(0)
    })

    attack('attack 26: SIGCHLD ignored, all signals held and one pending: the program gets them so', async () => {
      const result = await asUser([launch, 'quiet', ...good('grep -E "^(SigBlk|SigIgn|ShdPnd|SigPnd)" /proc/self/status')])
      expect(result.status).toBe(0)
      const masks = Object.fromEntries(result.stdout.trimEnd().split('\n').map((line) => line.split(/:\s*/))) as Record<string, string>
      expect(BigInt(`0x${masks['SigBlk']}`) & 0x201n).toBe(0x201n)
      const pending = await asUser([launch, 'quiet', helper, `--image=${reference()}`, 'grep', 'Pnd', '/proc/self/status'])
      expect(pending.stdout).toMatch(/0{13}200\n/)
    })

    attack('attack 26: while it has rights its user can neither stop, trace nor see into it', async () => {
      // The program waits in front of a call of the privileged phase.
      const child = spawn('strace', ['-u', userA.name, '-o', '/dev/null', '-e', `trace=${entering}`, '-e', `inject=${entering}:delay_enter=1500000`, '--', ...good('echo ran')],
        { cwd: '/', env: { ...PATH, ...profile.environment }, stdio: ['ignore', 'pipe', 'inherit'] })
      let out = ''
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
      const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
      const traced = await vi.waitFor(() => {
        const [pid = ''] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')
        expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Name:\tshifter\n[^]*\nUid:\t0\t0\t0\t0\n/)
        // In its own mount namespace: half of the root is there.
        if (!profile.joined) expect(readlinkSync(`/proc/${pid}/ns/mnt`)).not.toBe(readlinkSync('/proc/self/ns/mnt'))
        return pid
      }, { timeout: 10_000, interval: 5 })
      const tried = await asUser([launch, 'reach', traced, '19'])
      const no = 'Operation not permitted'
      expect(tried.stdout).toBe(`signal: ${no}\ntrace: ${no}\nenviron: Permission denied\nmem: Permission denied\nfd: Permission denied\nroot: Permission denied\n`)
      expect(await ended).toBe(0)
      expect(out).toBe('ran\n')
    })

    attack('attack 26: a core of the privileged phase is not written', async () => {
      const place = join(shared, `cores-${slug}`)
      mkdirSync(place)
      chmodSync(place, 0o777)
      const result = await run(['bash', '-c', `ulimit -c unlimited; cd ${place}; exec strace -u ${userA.name} -o /dev/null -e trace=${entering} -e inject=${entering}:signal=SIGSEGV -- "$@"`, 'bash', ...good('echo ran')],
        { cwd: '/', env: { ...PATH, ...profile.environment } })
      // Held like every other signal, but by a fault of its own it would end: then without a core.
      expect([0, null, 139, 1]).toContain(result.status)
      expect(readdirSync(place)).toEqual([])
    })
  })

  describe('attack 33: mounts and devices', () => {
    /** In a copy of the host's mounts that are all shared, as they are on most nodes. */
    const onSharedMounts = (script: string, ...args: readonly string[]): Promise<ProcessResult> =>
      run(['unshare', '--mount', '--propagation', 'private', 'bash', '-ec', `mount --make-rshared /; ${profile.preparing(reference())}; ${script}`, 'bash', ...args], { cwd: '/', env: PATH })
    /** Starts a program in the background and goes on when it has said so; `stop` ends it. */
    const started = 'mkfifo "$W/up" "$W/go"; chmod 666 "$W/up" "$W/go"; "$@" & read line < "$W/up"; '
    const waiting = (inside: string) => good(`echo up > ${shared}/$D/up; read line < ${shared}/$D/go; ${inside}`)
    const place = (what: string): string => {
      const directory = join(shared, what)
      mkdirSync(directory)
      chmodSync(directory, 0o777)
      return directory
    }

    attack('attack 33: nothing of a root is seen on the host, while it runs and after', async () => {
      const directory = place(`propagation-${slug}`)
      const inside = waiting('true').map((word) => word.replaceAll('$D', `propagation-${slug}`))
      const result = await onSharedMounts(`W=${directory}; cat /proc/self/mountinfo > $W/before; ${started} cat /proc/self/mountinfo > $W/during; echo go > $W/go; wait; cat /proc/self/mountinfo > $W/after`, ...asA(), ...inside)
      expect(result).toMatchObject({ status: 0, stderr: '' })
      const table = (name: string) => readFileSync(join(directory, name), 'utf8').split('\n')
      const before = new Set(table('before'))
      // What goes meanwhile is another test's: whose directory is removed, his mounts are gone from every copy.
      for (const name of ['during', 'after']) expect(table(name).filter((line) => !before.has(line))).toEqual([])
    })

    for (const [style, seen] of [['private', 'absent'], ['slave', 'there']] as const) attack(`attack 33: a mount that the host makes later is ${style} to a root: ${seen}`, async () => {
      node.configure({ udiRoot: { mountPropagationStyle: style } })
      const directory = place(`later-${slug}-${style}`)
      mkdirSync(join(directory, 'mount'))
      const inside = waiting(`test -e ${directory}/mount/file && echo there || echo absent`).map((word) => word.replaceAll('$D', `later-${slug}-${style}`))
      const result = await onSharedMounts(`W=${directory}; ${started} mount -t tmpfs none $W/mount; touch $W/mount/file; echo go > $W/go; wait; umount $W/mount`, ...asA(), ...inside)
      expect(result).toMatchObject({ status: 0, stdout: `${seen}\n`, stderr: '' })
    })

    attack('attack 33: the device of an image is read-only, frees itself, and is gone when the program is killed', async () => {
      const directory = place('killed')
      const argv = waiting('true').map((word) => word.replaceAll('$D', 'killed'))
      await gone()
      await runOk(['mkfifo', '-m', '666', join(directory, 'up'), join(directory, 'go')])
      const child = spawn('setpriv', [...becoming(userA).slice(1), ...argv], { cwd: '/', env: profile.environment, stdio: 'ignore' })
      onTestFinished(() => void child.kill('SIGKILL'))
      await runOk(['cat', join(directory, 'up')])
      expect(await devices()).toEqual([{ name: expect.stringMatching(/^\/dev\/loop\d+$/) as string, file: join(IMAGES, `${image.record.id}.squashfs`), ro: true, autoclear: true }])
      const [{ name } = { name: '' }] = await devices()
      // Its user is not let to the device itself.
      expect((await asUser(['sh', '-c', `head -c 4 ${name} || echo no`])).stdout).toBe('no\n')
      child.kill('SIGKILL')
      await gone()
    })

    attack('attack 33: of 48 starts of two users and two images at once, each finds its own', { timeout: 60_000 }, async () => {
      const references = ['one', 'two'].map((what) => publishMeta(profile.images, profile.owner, `race-${what}`, busyboxRoot([{ name: 'which', type: 'file', data: `${what}\n` }])))
      // A person's own images are no other's.
      const users = profile.userns ? [userA] : [userA, userB]
      for (const of of references) for (const as of users) await profile.prepare(of, { as })
      const results = await Promise.all(Array.from({ length: 48 }, (_, i) =>
        runAs(users[i % 3 === 0 ? users.length - 1 : 0] ?? userA, [helper, `--image=${references[i % 2]}`, 'sh', '-c', profile.script('cat /which')], { env: profile.environment })))
      await profile.clear()
      expect(results.map(({ status, stdout, stderr }) => `${status} ${stdout}${stderr}`)).toEqual(results.map((_, i) => `0 ${i % 2 === 0 ? 'one' : 'two'}\n`))
      await gone()
    })
  })

  describe('attack 36: /proc and /sys', () => {
    attack('attack 36: what the host hides stays hidden: hidepid, covered files, covered directories', async () => {
      const script = 'cat /proc/version 2>/dev/null | wc -c; ls /proc/sys/net | wc -l; ls -d /proc/1 2>/dev/null; for p in /proc/[0-9]*; do stat -c uid=%u $p 2>/dev/null; done; touch /sys/x 2>/dev/null || echo ro; touch /sys/kernel/x 2>/dev/null || echo ro'
      const result = await run(['unshare', '--mount', '--propagation', 'private', 'sh', '-ec',
        `mount -t proc -o hidepid=invisible proc /proc; mount --bind /dev/null /proc/version; mount -t tmpfs tmpfs /proc/sys/net; ${profile.preparing(reference())}; exec "$@"`, 'sh',
        ...asA(), ...good(script)], { cwd: '/', env: PATH })
      expect(result).toMatchObject({ status: 0, stderr: '' })
      // No process but the user's own.
      expect([...new Set(result.stdout.trimEnd().split('\n'))]).toEqual(['0', `uid=${userA.uid}`, 'ro'])
    })

    attack('attack 36: nothing of /proc can be covered or uncovered from inside', async () => {
      const out = await asUser(good('grep " /proc" /proc/self/mountinfo; for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname; do (echo x > $f) 2>/dev/null && echo WRITTEN $f; done; true'))
      expect(out.stdout).not.toContain('WRITTEN')
      for (const line of out.stdout.trimEnd().split('\n')) expect(line).toMatch(/nosuid,nodev,noexec/)
    })
  })

  describe('attack 38: terminals', () => {
    /** Runs a program with a terminal of its own as its standard descriptors, as a login does, and says what it printed. */
    const onTerminal = (argv: readonly string[], before = ''): Promise<ProcessResult> =>
      run(['python3', '-c', `
import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    ${before || 'pass'}
    os.execvp(sys.argv[1], sys.argv[1:])
out = b''
while True:
    try:
        data = os.read(master, 4096)
    except OSError:
        break
    if not data: break
    out += data
sys.stdout.buffer.write(out.replace(b'\\r\\n', b'\\n'))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`, ...asA(), ...argv], { cwd: '/', env: PATH })

    attack('attack 38: the program inside can do to its own terminal what it could outside, and no more', async () => {
      const outside = await onTerminal([launch, 'push', '0'])
      const inside = await onTerminal([...good('exec "$0" "$@"'), launch, 'push', '0'])
      expect(outside.stdout).toMatch(/(pushed|Input\/output error|Operation not permitted)\n/)
      expect(inside.stdout.replace(/x/g, '')).toBe(outside.stdout.replace(/x/g, ''))
    })

    attack("attack 38: it can't push into a terminal that is not its own, open or not", async () => {
      // Descriptor 9 is a terminal that belongs to another session.
      const open = 'import pty as other; a, b = other.openpty(); os.dup2(b, 9, True)'
      const inside = await onTerminal([...good('exec "$0" "$@"'), launch, 'push', '9'], open)
      expect(inside.stdout).toMatch(/^(Operation not permitted|Input\/output error)\n$/)
      const named = 'import pty as other; a, b = other.openpty(); os.environ["T"] = os.ttyname(b); os.fchmod(b, 0o600); os.set_inheritable(a, True)'
      const byName = await onTerminal(['sh', '-c', `exec ${helper} --image=id:${image.record.id} ${launch} push "$T"`], named)
      expect(byName.stdout).toBe('Permission denied\n')
    })
  })

  describe('attack 39: labels and control groups', () => {
    attack("attack 39: the program inside has its caller's label and control group", async () => {
      const script = 'cat /proc/self/cgroup; cat /proc/self/attr/current 2>/dev/null || echo none; cat /proc/self/loginuid /proc/self/sessionid 2>/dev/null; true'
      const outside = await asUser(['sh', '-c', script])
      const inside = await asUser(good(script))
      expect(outside.stdout).toMatch(/:\/.*\n/)
      expect(inside.stdout).toBe(outside.stdout)
    })
  })

  describe('attack 45: what refusals tell', () => {
    attack('attack 45: a directory that the caller can\'t see is told like one that is not there', async () => {
      node.configure({ udiRoot: { allowLocalChroot: '1' } })
      const hidden = join(PREFIX, 'hidden')
      mkdirSync(join(hidden, 'there'), { recursive: true })
      writeFileSync(join(hidden, 'file'), '')
      chmodSync(hidden, 0o700)
      const told = async (what: string): Promise<string> => {
        const result = await profile.start([`--image=local:${hidden}/${what}`, 'true'])
        expect([refusal(result), result.stdout]).toEqual(['IMAGE_NOT_FOUND', ''])
        return `${result.status} ${result.stderr.replaceAll(`${hidden}/${what}`, 'NAME')}`
      }
      const absent = await told('none')
      for (const what of ['there', 'file', 'there/below', 'file/below']) expect(await told(what)).toBe(absent)
    })
  })
})
