/** Volumes, writable roots and --explain, of the installed helper and as two ordinary users. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import siteMaps from '../cases/volumemap_site.json' with { type: 'json' }
import userMaps from '../cases/volumemap_user.json' with { type: 'json' }
import { type Account, runAs, type RunAsOptions } from '../harness/accounts.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH, SHARED_SITE_VOLUME } from '../harness/native.js'
import { becoming, own, userA, userB } from '../harness/people.js'
import { type Profile, PROFILES, profileOn } from '../harness/profiles.js'
import { type ProcessResult, run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { attackIn } from './absent.js'
import { pullTestImage, refusal, squashfs, type TestImage } from './fixture.js'

const HELPER = join(DEFAULT_PREFIX, 'bin/shifter')
const CHECK = join(DEFAULT_PREFIX, 'bin/shifter-check')
const workspace = useWorkspace('volumes')
let image: TestImage
/** A directory of user A's that is visible inside at its own path. */
let mine: string

type Options = RunAsOptions & { readonly as?: Account; readonly args?: readonly string[] }
const start = (volumes: readonly string[], script: string, options: Options = {}): Promise<ProcessResult> => {
  const { as = userA, args = [], ...rest } = options
  return runAs(as, [HELPER, `--image=${image.reference}`, ...volumes.map((volume) => `--volume=${volume}`), ...args, 'sh', '-c', script], rest)
}
const inside = async (volumes: readonly string[], script: string, options: Options = {}): Promise<string> => {
  const result = await start(volumes, script, options)
  expect(result, `${volumes.join(';')} ${script}`).toMatchObject({ status: 0, stderr: '' })
  return result.stdout
}
const refused = async (volumes: readonly string[], options: Options = {}): Promise<string> => {
  const result = await start(volumes, 'echo RAN', options)
  expect(result.stdout).toBe('')
  expect(result.status).not.toBe(0)
  return refusal(result)
}
/** Place and options of every mount inside. */
const mounts = (text: string): { readonly where: string; readonly options: string }[] =>
  text.trimEnd().split('\n').map((line) => line.split(' ')).map(([, , , , where = '', options = '']) => ({ where, options }))

beforeAll(async () => {
  image = await pullTestImage({
    directory: workspace.path,
    imagePath: SHARED_IMAGE_PATH,
    tag: 'volumes',
    config: { Env: ['PATH=/bin'] },
    more: [
      { name: 'data', type: 'dir' },
      { name: 'data/of-the-image', type: 'file', data: 'image\n' },
      { name: 'deep/down', type: 'dir' },
      { name: 'settings', type: 'file', data: 'image\n' },
      { name: 'link-to-settings', type: 'symlink', linkname: 'settings' },
      { name: 'free', type: 'dir', mode: 0o1777 },
      { name: 'usr/lib', type: 'dir' },
      { name: 'mnt', type: 'dir' },
      ...[['to-etc', '/etc'], ['to-proc', 'proc'], ['to-dev', '/dev'], ['to-sys', '../../sys'], ['to-var', 'var'], ['to-site', '/site'], ['to-root', '/'], ['to-hosts', '/etc/hosts'],
        ['to-null', '/dev/null'], ['to-nothing', '/not/there'], ['to-hidden', '/site/hidden/in/it'], ['to-absent', '/site/hidden/absent']].map(([name = '', linkname = '']) => ({ name, type: 'symlink' as const, linkname })),
    ],
  })
  mine = join(userA.home, `volumes-${process.pid}`)
  for (const part of ['', 'sub', 'sub/deeper', 'other']) mkdirSync(join(mine, part), { recursive: true })
  writeFileSync(join(mine, 'file'), 'of the user\n')
  writeFileSync(join(mine, 'sub/file'), 'deeper\n')
  for (const part of ['', 'sub', 'sub/deeper', 'other', 'file', 'sub/file']) own(join(mine, part), userA, 0o755)
  // A directory that user A can't enter, in a tree that is shown to all.
  const hidden = join(SHARED_SITE_VOLUME, 'hidden')
  mkdirSync(join(hidden, 'in/it'), { recursive: true })
  own(hidden, userB, 0o700)
})
afterAll(() => {
  rmSync(mine, { recursive: true, force: true })
  rmSync(join(SHARED_SITE_VOLUME, 'hidden'), { recursive: true, force: true })
})

describe('the grammar', () => {
  interface Row {
    readonly input: string
    readonly accept: boolean
    readonly signature: string | null
    readonly want?: { readonly accept?: boolean; readonly signature?: string }
  }
  const rowsOf = (cases: readonly Row[]) => cases.map((row) => ({ ...row, ...row.want }))
  it.each([['volume', userMaps.cases, 'VOLUME_INVALID'], ['siteFs', siteMaps.cases, 'UDIROOT_CONF_INVALID']] as const)('of shifter-check %s', async (kind, cases, code) => {
    const rows = rowsOf(cases)
    const { stdout } = await run([CHECK, '--batch', kind], { input: rows.map(({ input }) => `${Buffer.from(input).toString('hex')}\n`).join('') })
    const told = stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as { readonly signature?: string; readonly error?: { readonly code: string } })
    expect(told.map(({ signature, error }) => error?.code ?? signature)).toEqual(rows.map(({ accept, signature }) => (accept ? (signature ?? '') : code)))
    expect(JSON.parse((await run([CHECK, kind, '/a:/b:ro'])).stdout)).toEqual({
      signature: '/a:/b:ro', volumes: [{ from: '/a', to: '/b', readOnly: true, recursive: false, slave: false, private: false }],
    })
    expect((await run([CHECK, kind, '/a:/x\n'])).status).not.toBe(0)
  })

  it('of shifter-check request: as a start at this site would take or refuse them', async () => {
    const request = async (...options: readonly string[]): Promise<unknown> => {
      const { status, stdout } = await run([CHECK, 'request', ...options])
      const told = JSON.parse(stdout) as { readonly error?: { readonly code: string } }
      return told.error === undefined ? told : { status, code: told.error.code }
    }
    expect(await request()).toEqual({ modules: [], volumes: [] })
    expect(await request('--volume=/b:/y:ro', '--volume', '/a:/x;/a:/x', '--module=none')).toEqual({ modules: [], volumes: ['/a:/x', '/b:/y:ro'] })
    // This site offers none; sizes and limits are in modules.test.ts.
    expect(await request('--volume=/x:/cache:perNodeCache=size=1M')).toEqual({ status: 1, code: 'CACHE_REFUSED' })
    for (const volume of ['/a:/site/below', '/a:/etc', 'a:/b', '/a:/b;/c:/b', '/a:/x\n']) expect([volume, await request(`--volume=${volume}`)]).toEqual([volume, { status: 1, code: 'VOLUME_INVALID' }])
    expect(await request('--module=no-such-module')).toEqual({ status: 1, code: 'MODULE_REFUSED' })
    expect(await request('operand')).toEqual({ status: 2, code: 'USAGE' })
  })

  it('is the same for --volume', async () => {
    for (const { input, accept } of rowsOf(userMaps.cases)) {
      const result = await start([input], 'true')
      expect([input, refusal(result) === 'VOLUME_INVALID']).toEqual([input, !accept])
    }
  })
})

describe('a volume', () => {
  it.each(['/data', '/deep/down', '/new', '/new/and/deeper', '/deep/new', '/usr/lib', '/etcetera', '/opt/x', '/variable', '/mnt', '/tmp', '/var/tmp'])('of a directory is shown at %s', async (to) => {
    const name = `written-${to.replaceAll('/', '-')}`
    expect(await inside([`${mine}:${to}`], `cat ${to}/file; ls ${to}/of-the-image 2>/dev/null; echo new > ${to}/${name}`)).toBe('of the user\n')
    expect(readFileSync(join(mine, name), 'utf8')).toBe('new\n')
    expect(statSync(join(mine, name)).uid).toBe(userA.uid)
  })

  it('of a file is shown over a file, over what a link means, and where there is none', async () => {
    expect(await inside([`${mine}/file:/settings`], 'cat /settings')).toBe('of the user\n')
    expect(await inside([`${mine}/file:/link-to-settings`], 'cat /settings; readlink /link-to-settings')).toBe('of the user\nsettings\n')
    expect(await inside([`${mine}/file:/new/file`], 'cat /new/file; echo more >> /new/file')).toBe('of the user\n')
    expect(readFileSync(join(mine, 'file'), 'utf8')).toBe('of the user\nmore\n')
    writeFileSync(join(mine, 'file'), 'of the user\n')
    expect(await refused([`${mine}/file:/data`])).toBe('VOLUME_FAILED')
    expect(await refused([`${mine}:/settings`])).toBe('VOLUME_FAILED')
    expect(await refused([`${mine}:/settings/below`])).toBe('VOLUME_FAILED')
  })

  it('can be read-only, with all that is mounted below it', async () => {
    expect(await inside([`${mine}:/data:ro`], 'touch /data/x 2>/dev/null || echo no')).toBe('no\n')
    expect(await inside(['/:/again:ro'], `touch /again/tmp/x 2>/dev/null || echo no; touch /again${mine}/x 2>/dev/null || echo no; cat /again${mine}/file`)).toBe('no\nno\nof the user\n')
    expect(existsSync(join(mine, 'x'))).toBe(false)
  })

  it("named /etc means the container's, which can't be written through it", async () => {
    const [outer, ours] = (await inside(['/etc:/mnt'], 'cat /mnt/passwd; echo ---; cat /etc/passwd; touch /mnt/x /mnt/hosts 2>/dev/null && echo written; true')).split('---\n')
    expect(ours).toBe(outer)
    expect(ours).not.toBe(readFileSync('/etc/passwd', 'utf8'))
    expect(await inside(['/free:/mnt'], 'touch /mnt/x 2>/dev/null || echo no')).toBe('no\n')
  })

  it('may be of /proc, and of the root itself, which keeps its flags', async () => {
    expect(await inside(['/proc:/mnt'], 'readlink /mnt/self >/dev/null && echo there')).toBe('there\n')
    for (const { where, options } of mounts(await inside(['/:/again', '/dev:/mnt'], 'cat /proc/self/mountinfo'))) {
      expect(`${where} ${options}`).toMatch(/nosuid/)
      if (!/^\/dev(\/|$)/.test(where)) expect(`${where} ${options}`).toMatch(/nodev/)
      if (where === '/again') expect(options).toMatch(/^ro,/)
    }
  })

  it('means the root without volumes, in whatever order they are named', async () => {
    const [one, other] = [`${mine}/sub:/data`, `${mine}/other:/data/deeper`]
    for (const volumes of [[one, other], [other, one], [`${other};${one}`]]) {
      expect(await inside(volumes, 'ls /data; touch /data/deeper/here')).toBe('deeper\nfile\n')
      rmSync(join(mine, 'other/here'))
    }
    // A source never means another volume's target, and a copy of everything is no copy of copies.
    expect(await inside([`${mine}:/data`, '/data:/mnt'], 'ls /mnt')).toBe('of-the-image\n')
    const count = async (volumes: readonly string[]) => mounts(await inside(volumes, 'cat /proc/self/mountinfo')).length
    const [none, once, four] = [await count([]), await count(['/:/c1']), await count(['/:/c1', '/:/c2', '/:/c3', '/:/c4'])]
    expect(four - none).toBe(4 * (once - none))
  })

  it('is mounted once when it is named twice; two on one target are refused', async () => {
    expect(mounts(await inside([`${mine}:/data`, `${mine}/:/data//`], 'cat /proc/self/mountinfo')).filter(({ where }) => where === '/data').length).toBe(1)
    expect(await refused([`${mine}:/data`, `${mine}:/data:ro`])).toBe('VOLUME_INVALID')
    expect(await refused([`${mine}:/data;${mine}/sub:/data`])).toBe('VOLUME_INVALID')
  })

  it("is read with the user's own rights", async () => {
    const path = '/site/hidden/in'
    expect(await inside([`${path}:/data`], 'ls /data', { as: userB })).toBe('it\n')
    expect(await refused([`${path}:/data`])).toBe('VOLUME_FAILED')
    expect(await inside([`${path}:/data`], 'ls /data', { groups: [userA.gid], as: userB })).toBe('it\n')
  })

  it('comes from the environment where no option names one', async () => {
    const [one, other] = [`${mine}:/new`, `${mine}/sub:/new`]
    const list = 'ls -d /new/sub /new/deeper 2>/dev/null; true'
    expect(await inside([], list, { env: { SHIFTER_VOLUME: one } })).toBe('/new/sub\n')
    expect(await inside([], list, { env: { SLURM_SPANK_SHIFTER_VOLUME: one } })).toBe('/new/sub\n')
    expect(await inside([], list, { env: { SHIFTER_VOLUME: other, SLURM_SPANK_SHIFTER_VOLUME: one } })).toBe('/new/deeper\n')
    expect(await inside([other], list, { env: { SHIFTER_VOLUME: one } })).toBe('/new/deeper\n')
    expect(await inside([`${mine}:/one`, `${mine}:/two`], 'ls -d /one/sub /two/sub /new 2>/dev/null; true', { env: { SHIFTER_VOLUME: one } })).toBe('/one/sub\n/two/sub\n')
    expect(refusal(await start([], 'true', { env: { SHIFTER_VOLUME: '/a:/etc' } }))).toBe('VOLUME_INVALID')
  })

  it('is named in /var/shifterConfig.json, as in the reference system', async () => {
    const text = await inside([`${mine}/sub:/z:ro`, `${mine}:/a"b\\`], 'cat /var/shifterConfig.json')
    expect(text).toBe(`{"identifier":"${image.record.id}","user":"${userA.name}","volMap":"${mine}/sub:/z:ro;${mine}:/a\\"b\\\\","modules":""}`)
    expect(JSON.parse(text)).toMatchObject({ volMap: `${mine}/sub:/z:ro;${mine}:/a"b\\` })
  })
})

describe.each(PROFILES)('attacks on targets: %s', (name) => {
  const attack = attackIn(name)
  let data: string
  const profile = (): Profile => profileOn(name, DEFAULT_PREFIX, {}, data)
  const start = (volumes: readonly string[], script: string): Promise<ProcessResult> =>
    profile().start([`--image=id:${image.record.id}`, ...volumes.map((volume) => `--volume=${volume}`), 'sh', '-c', script])
  const inside = async (volumes: readonly string[], script: string): Promise<string> => {
    const result = await start(volumes, script)
    expect(result, `${volumes.join(';')} ${script}`).toMatchObject({ status: 0, stderr: '' })
    return result.stdout
  }
  const refused = async (volumes: readonly string[]): Promise<string> => {
    const result = await start(volumes, 'echo RAN')
    expect(result.stdout).toBe('')
    expect(result.status).not.toBe(0)
    return refusal(result)
  }
  beforeAll(async () => {
    data = workspace.at(`data-${name.replaceAll(' ', '-')}`)
    await profile().adopt(image.record.id)
  })

  for (const odd of [',', '\\', ' ', 'a,upperdir=x', "'", '"', '*', '$(id)', '=', '%', '\u00e9', '#', '-o', '\\040']) attack(`attack 30: ${JSON.stringify(odd)} in a path is only a character`, async () => {
    const from = join(mine, `odd${odd}`)
    mkdirSync(from)
    own(from, userA, 0o755)
    expect(await inside([`${from}:/new/odd${odd}`], 'cd /new/* && pwd && touch here')).toBe(`/new/odd${odd}\n`)
    expect(existsSync(join(from, 'here'))).toBe(true)
    rmSync(from, { recursive: true })
  })

  for (const odd of ['\n', '\t', '\x1b', '\x7f']) attack(`attack 30: ${JSON.stringify(odd)} in a path is refused`, async () => {
    expect(await refused([`${mine}:/new${odd}`])).toBe('VOLUME_INVALID')
    expect(await refused([`${mine}${odd}:/new`])).toBe('VOLUME_INVALID')
  })

  attack('attack 31: places are compared by whole components, after cleaning', async () => {
    for (const to of ['/site', '/site/', '//site', '/./site/.', '/site/x', '/site/hidden/in', '/etc', '/etc/', '//etc//x', '/proc/1', '/sys/.', '/dev/shm', '/var/lib', '/opt', '/opt/.', '/opt/udiImage/x', '/', '//', '/.'])
      expect([to, await refused([`${mine}:${to}`])]).toEqual([to, 'VOLUME_INVALID'])
    for (const to of ['/site2', '/sit', '/SITE', '/etcetera', '/Etc', '/process', '/sys2', '/devel', '/variable', '/opt/udiImage2', '/optional'])
      expect([to, await inside([`${mine}:${to}`], `cat ${to}/file`)]).toEqual([to, 'of the user\n'])
    for (const to of ['/x/../etc', '/../etc', '/x/..']) expect([to, await refused([`${mine}:${to}`])]).toEqual([to, 'VOLUME_INVALID'])
  })

  attack('attack 32: every mount is nosuid, and nodev but below /dev; neither the root nor /sys can be written', async () => {
    const table = mounts(await inside([`${mine}:/data:ro`, '/:/again', '/dev:/mnt'], 'cat /proc/self/mountinfo'))
    for (const { where, options } of table) {
      const flags = options.split(',')
      expect(flags, where).toContain('nosuid')
      if (!/^(\/again|\/mnt)?\/dev(\/|$)|^\/mnt(\/|$)/.test(where)) expect(flags, where).toContain('nodev')
      if (/^\/($|sys|again$|data$)/.test(where)) expect(flags, where).toContain('ro')
    }
    expect(await inside([], 'for f in /x /etc/x /bin/x /start/x /sys/x /var/x; do touch $f 2>/dev/null && echo $f; done; true')).toBe('')
  })

  attack('attack 32: a read-only volume is so with all that is mounted below it, and flags and times of access of a source stay', async () => {
    const at = join(mine, 'mounted')
    mkdirSync(at)
    onTestFinished(() => rmSync(at, { recursive: true }))
    const asked = { volumes: [`${at}:/data:ro`, `${at}:/deep`], job: `mounted-${process.pid}` }
    const script = `mount -t tmpfs -o noexec,noatime none "$0"; mkdir "$0/below"; mount -t tmpfs -o noexec,nodiratime,mode=777 none "$0/below"; touch "$0/below/file"; ${profile().preparing(`id:${image.record.id}`, asked)}; exec "$@"`
    const look = 'for f in /data/x /data/below/x /data/below/file; do touch $f 2>/dev/null && echo $f; done; touch /deep/below/x && cat /proc/self/mountinfo'
    const { helper, words, joined } = profile()
    const result = await run(['unshare', '--mount', 'sh', '-ec', script, at, ...becoming(userA), 'env', ...words, `SHIFTER_JOB_ID=${asked.job}`, helper, `--image=id:${image.record.id}`, ...asked.volumes.map((volume) => `--volume=${volume}`),
      'sh', '-c', `${joined ? profile().script('') : ''}${look}`], { cwd: '/', env: { PATH: '/usr/sbin:/usr/bin:/bin' } })
    if (joined) await runOk([join(DEFAULT_PREFIX, 'sbin/unsetupRoot'), `--job=${asked.job}`])
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect(result.stdout).toMatch(/^\d+ /)
    const flags = (place: string): string[] => mounts(result.stdout).findLast(({ where }) => where === place)?.options.split(',') ?? []
    for (const place of ['/data', '/deep']) expect([place, flags(place)]).toEqual([place, expect.arrayContaining(['noexec', 'noatime', 'nosuid', 'nodev', place === '/data' ? 'ro' : 'rw'])])
    for (const place of ['/data/below', '/deep/below']) expect([place, flags(place)]).toEqual([place, expect.arrayContaining(['noexec', 'nodiratime', 'nosuid', 'nodev', place === '/data/below' ? 'ro' : 'rw'])])
  })

  attack('attack 32: the program inside can neither mount nor change a mount', async () => {
    const tries = ['/bin/busybox mount -t tmpfs x /tmp', '/bin/busybox mount -o remount,rw /', '/bin/busybox mount -o remount,bind,suid /', '/bin/busybox umount /proc', '/bin/busybox unshare -m true']
    for (const command of tries) expect([command, await inside([], `${command} 2>/dev/null && echo DONE; true`)]).toEqual([command, ''])
    // A namespace of its own gives it rights over its own copies alone: what is locked stays locked.
    const script = '/bin/busybox unshare -rm sh -c "/bin/busybox mount -o remount,bind,rw /; touch /x; /bin/busybox umount /proc; /bin/busybox umount /sys" 2>/dev/null; ls /x 2>/dev/null; ls -d /proc/self'
    expect(await inside([], script)).toBe('/proc/self\n')
  })

  attack('attack 34: a link of the image leads to no place that is kept', async () => {
    for (const to of ['/to-etc', '/to-proc', '/to-dev', '/to-sys', '/to-var', '/to-site', '/to-root', '/to-etc/x', '/to-var/tmp/../x', '/to-var/lib', '/to-proc/self', '/to-dev/shm', '/to-root/etc'])
      expect([to, await refused([`${mine}:${to}`])]).toEqual([to, expect.stringMatching(/^VOLUME_(INVALID|FAILED)$/) as string])
    for (const to of ['/to-hosts', '/to-null', '/to-nothing', '/to-etc/passwd', '/to-etc/shadow'])
      expect([to, await refused([`${mine}/file:${to}`])]).toEqual([to, expect.stringMatching(/^VOLUME_(INVALID|FAILED)$/) as string])
  })

  attack("attack 34: a link in the user's own directory leads nowhere but inside", async () => {
    symlinkSync('/root', join(mine, 'to-root-home'))
    symlinkSync('/proc/self/root', join(mine, 'magic'))
    symlinkSync('/etc/shadow', join(mine, 'to-shadow'))
    expect(await refused([`${mine}/to-root-home:/data`])).toBe('VOLUME_FAILED')
    expect(await refused([`${mine}/magic:/data`])).toBe('VOLUME_FAILED')
    // The container's shadow, which is empty and root's.
    expect(await inside([`${mine}/to-shadow:/settings`], 'stat -c %s /settings')).toBe('0\n')
    for (const name of ['to-root-home', 'magic', 'to-shadow']) rmSync(join(mine, name))
  })

  attack('attack 35: what the runtime fills stays as it is', async () => {
    for (const to of ['/etc', '/etc/passwd', '/proc', '/sys', '/dev', '/dev/null', '/var', '/var/hostsfile', '/var/shifterConfig.json', '/opt/udiImage', '/etc/ld.so.preload', '/'])
      expect([to, await refused([`${mine}:${to}`]), await refused([`${mine}/file:${to}`])]).toEqual([to, 'VOLUME_INVALID', 'VOLUME_INVALID'])
  })

  attack('attack 35: nothing is made in a directory of the host, and covering one is seen by nobody else', async () => {
    const shared = mkdtempSync('/tmp/shifter-volumes-')
    own(shared, userA, 0o700)
    expect(await refused([`${mine}/sub:${shared}/absent`])).toBe('VOLUME_FAILED')
    expect(readdirSync(shared)).toEqual([])
    expect(await inside([`${mine}/sub:${shared}`], `ls ${shared}; cat /proc/self/mountinfo | grep -c ' ${shared} '`)).toBe('deeper\nfile\n1\n')
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(shared)
    expect(readdirSync(shared)).toEqual([])
    // Another's directory is no target, though it can be seen.
    own(shared, userB, 0o700)
    expect(await refused([`${mine}/sub:${shared}/absent`])).toBe('VOLUME_FAILED')
    rmSync(shared, { recursive: true })
  })

  attack('attack 35: a volume over the configuration, the programs or a setuid program is seen inside alone, and lends nothing there', async () => {
    const copied = join(mine, 'other/busybox')
    copyFileSync('/usr/bin/busybox', copied)
    own(copied, userA, 0o4755)
    const before = readFileSync(join(DEFAULT_PREFIX, 'etc/shifter/udiRoot.conf'), 'utf8')
    const volumes = [`${mine}/sub:${DEFAULT_PREFIX}/etc/shifter`, `${mine}/other:${DEFAULT_PREFIX}/bin`, `${mine}/other:/usr/bin`]
    const out = await inside(volumes, `ls ${DEFAULT_PREFIX}/etc/shifter; /usr/bin/busybox grep -E "^(Uid|CapEff|NoNewPrivs)" /proc/self/status; echo kept > ${DEFAULT_PREFIX}/etc/shifter/udiRoot.conf`)
    expect(out).toBe(`deeper\nfile\nUid:\t${Array(4).fill(userA.uid).join('\t')}\nCapEff:\t${'0'.repeat(16)}\nNoNewPrivs:\t1\n`)
    expect(readFileSync(join(DEFAULT_PREFIX, 'etc/shifter/udiRoot.conf'), 'utf8')).toBe(before)
    for (const file of [copied, join(mine, 'sub/udiRoot.conf')]) rmSync(file)
  })

  attack('attack 45: a refused place is told in the same words whether it exists or not', async () => {
    const say = async (volume: string): Promise<string> => (await start([volume], 'true')).stderr
    expect(await say('/site/hidden/in:/data')).toBe((await say('/site/hidden/no:/data')).replaceAll('/no', '/in'))
    expect(await say(`${mine}:/to-hidden`)).toBe((await say(`${mine}:/to-absent`)).replaceAll('absent', 'hidden'))
    expect(await say('/site/hidden/in:/data')).toContain('VOLUME_FAILED')
  })
})

describe('file systems that do not let root in', () => {
  // An id-mapped mount that knows the user's uid and not the group of the files: root has no rights over such files, as on a root-squashed
  // file system, while the user is their owner.
  const SQUASH = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
source, target, uid, gid = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), sys.argv[3], sys.argv[4]
def must(result, what):
    if result < 0: sys.exit(f'{what}: {os.strerror(ctypes.get_errno())}')
    return result
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    must(libc.unshare(0x10000000), 'unshare')
    os.write(ready[1], b'x'); os.read(go[0], 1); os._exit(0)
os.read(ready[0], 1)
for name, one in (('uid_map', uid), ('gid_map', gid)):
    with open(f'/proc/{child}/{name}', 'w') as file: file.write(f'{one} {one} 1')
space = os.open(f'/proc/{child}/ns/user', os.O_RDONLY)
os.write(go[1], b'x'); os.waitpid(child, 0)
tree = must(libc.syscall(428, -100, source, 1 | 0x80000), 'open_tree')
attributes = (ctypes.c_uint64 * 4)(0x100000, 0, 0, space)
must(libc.syscall(442, tree, b'', 0x1000, attributes, 32), 'mount_setattr')
must(libc.syscall(429, tree, b'', -100, target, 4), 'move_mount')
os.execvp(sys.argv[5], sys.argv[5:])
`
  /** Where it is shown, on the node and inside: no volume may lie below the /var of the tests' homes. */
  let home: string
  beforeAll(() => {
    home = mkdtempSync('/tmp/shifter-home-')
  })
  afterAll(() => rmSync(home, { recursive: true }))
  /** A start where such a file system is mounted, of what `make` put there; mode 0700. */
  const atHome = async (make: (home: string) => void, argv: readonly string[], as = userA): Promise<ProcessResult> => {
    const source = mkdtempSync(workspace.at('home-'))
    make(source)
    own(source, userA, 0o700)
    await runOk(['chown', '-R', '-h', `${userA.uid}:0`, source])
    // Were root let in, the test would show nothing.
    const script = 'if ls "$0" >/dev/null 2>&1; then echo root is let in >&2; exit 9; fi; exec "$@"'
    return run(['unshare', '--mount', 'python3', '-c', SQUASH, source, home, String(userA.uid), String(userA.gid), 'sh', '-c', script, home,
      'setpriv', `--reuid=${as.uid}`, `--regid=${as.gid}`, '--clear-groups', '--reset-env', ...argv], { cwd: '/' })
  }
  const withVolume = (volume: string, ...command: readonly string[]): string[] => [HELPER, `--image=${image.reference}`, `--volume=${volume}`, ...command]
  const make = (home: string): void => {
    mkdirSync(join(home, 'open/deep'), { recursive: true })
    mkdirSync(join(home, 'closed/deep'), { recursive: true })
    for (const name of ['open/deep/file', 'closed/file']) writeFileSync(join(home, name), 'below\n')
    chmodSync(join(home, 'closed'), 0o700)
    for (const [name, to] of [['to-etc', '/etc'], ['to-site', '/site'], ['to-root', '/'], ['to-dev', '/dev'], ['to-image', '/data'], ['to-deep', 'open/deep']] as const) symlinkSync(to, join(home, name))
  }

  it('are a place for volumes, as sources and as targets, for him whose they are', async () => {
    const shown = mkdtempSync('/tmp/shifter-squashed-')
    writeFileSync(join(shown, 'file'), 'shown\n')
    for (const path of ['', 'file']) own(join(shown, path), userA, path === '' ? 0o755 : 0o644)
    try {
      for (const to of ['open', 'open/deep', 'closed', 'closed/deep', 'to-deep', ''])
        expect([to, await atHome(make, withVolume(`${shown}:${join(home, to)}`, 'cat', join(home, to, 'file')))]).toEqual([to, { status: 0, signal: null, stdout: 'shown\n', stderr: '' }])
      for (const to of ['open/deep/file', 'closed/file'])
        expect([to, await atHome(make, withVolume(`${shown}/file:${home}/${to}`, 'cat', `${home}/${to}`))]).toEqual([to, { status: 0, signal: null, stdout: 'shown\n', stderr: '' }])
      for (const from of ['closed', 'open/deep'])
        expect(await atHome(make, withVolume(`${home}/${from}:/mnt`, 'cat', '/mnt/file'))).toMatchObject({ status: 0, stdout: 'below\n', stderr: '' })
      // A link there means what it means inside, and leads to no place that is kept.
      expect(await atHome(make, withVolume(`${shown}:${home}/to-image`, 'cat', '/data/file'))).toMatchObject({ status: 0, stdout: 'shown\n', stderr: '' })
      for (const to of ['to-etc', 'to-site', 'to-root', 'to-dev', 'to-etc/passwd', 'to-site/hidden'])
        expect([to, refusal(await atHome(make, withVolume(`${shown}${to.endsWith('passwd') ? '/file' : ''}:${home}/${to}`, 'echo', 'RAN')))]).toEqual([to, expect.stringMatching(/^VOLUME_(INVALID|FAILED)$/) as string])
      expect(refusal(await atHome(make, withVolume(`${shown}:${home}/to-etc`, 'echo', 'RAN')))).toBe('VOLUME_INVALID')
      // Nothing is made in a directory of the host, and nobody else comes in.
      expect(refusal(await atHome(make, withVolume(`${shown}:${home}/open/absent`, 'echo', 'RAN')))).toBe('VOLUME_FAILED')
      expect(refusal(await atHome(make, withVolume(`${shown}:${home}/closed/deep`, 'echo', 'RAN'), userB))).toBe('VOLUME_FAILED')
    } finally {
      rmSync(shown, { recursive: true })
    }
  })

  it('of FUSE, without allow_other, are no place for volumes, and the refusal says why', async () => {
    const file = workspace.at('shown.squashfs')
    squashfs(file, [{ name: 'below', type: 'dir' }, { name: 'below/file', type: 'file', data: 'of FUSE\n' }])
    chmodSync(file, 0o644)
    const place = mkdtempSync('/tmp/shifter-fuse-')
    own(place, userA, 0o755)
    const asA = `setpriv --reuid=${userA.uid} --regid=${userA.gid} --clear-groups`
    // The server ends with the mount, and that with its namespace.
    const shows = (options: string, argv: readonly string[]) => run(['unshare', '--mount', 'sh', '-ec', `
      exec 3<>/dev/fuse
      mount -i -t fuse -o "fd=3,rootmode=40000,user_id=${userA.uid},group_id=${userA.gid}${options}" fuse "${place}"
      ${asA} squashfuse -f "${file}" /dev/fd/3 >/dev/null 2>&1 &
      server=$!
      exec 3>&-
      ${asA} cat "${place}/below/file" >&2
      ${asA} --reset-env "$@" && status=0 || status=$?
      kill $server; wait $server || true; exit $status`, 'sh', ...argv], { cwd: '/', timeoutMs: 20_000 })
    const hint = 'what FUSE shows, only where it is mounted with allow_other'
    try {
      for (const volume of [`${place}:/mnt`, `${place}/below:/mnt`, `${mine}:${place}`, `${mine}:${place}/below`]) {
        const result = await shows('', withVolume(volume, 'echo', 'RAN'))
        expect([volume, result.status, result.stdout]).toEqual([volume, 1, ''])
        expect(result.stderr).toMatch(new RegExp(`^of FUSE\nshifter: VOLUME_FAILED: [^\n]*\\(${hint}\\)[^\n]*\n$`))
      }
      expect(await shows(',allow_other', withVolume(`${place}/below:/mnt`, 'cat', '/mnt/file'))).toMatchObject({ status: 0, stdout: 'of FUSE\n' })
      expect(await shows(',allow_other', withVolume(`${mine}/sub:${place}/below`, 'cat', `${place}/below/file`))).toMatchObject({ status: 0, stdout: 'deeper\n' })
    } finally {
      rmSync(place, { recursive: true })
    }
  })
})

describe('volumes inside one another', () => {
  it('need the directory, or file, of the inner one in what the outer one shows, and say so where it is missing', async () => {
    expect(await inside([`${mine}:/x`, `${mine}/other:/x/sub`], 'ls -A /x/sub; cat /x/file')).toBe('of the user\n')
    for (const [volumes, target, outer] of [
      [['/tmp:/x;/tmp:/x/absent'], '/x/absent', '/x'],
      [[`${mine}:/x`, `${mine}:/x/sub/absent/deeper`], '/x/sub/absent/deeper', '/x'],
      [[`${mine}:/x`, `${mine}/other:/x/sub`, `${mine}/file:/x/sub/absent`], '/x/sub/absent', '/x/sub'],
    ] as const) {
      const result = await start(volumes, 'echo RAN')
      expect(result.stdout).toBe('')
      expect(result.stderr).toMatch(new RegExp(`^shifter: VOLUME_FAILED: ${target} is not in what the volume at ${outer} shows, where nothing is made; make it there first\. `))
    }
    expect(readdirSync(mine)).not.toContain('absent')
    // A kind that does not fit is another matter.
    expect((await start([`${mine}:/x`, `${mine}:/x/file`], 'echo RAN')).stderr).toContain('/x/file is no place for a directory')
    // One beside it that only begins alike.
    expect(await inside([`${mine}:/x`, `${mine}:/x-ray/absent`], 'cat /x-ray/absent/file')).toBe('of the user\n')
  })
})

describe('a writable root', () => {
  const writable = { args: ['--writable'] }
  it('can be written where the image lets the user, and is gone at the end', async () => {
    expect(await inside([], 'echo kept > /free/x; cat /free/x; mkdir /free/d', writable)).toBe('kept\n')
    expect(await inside([], 'ls /free', writable)).toBe('')
    expect(await inside([], 'touch /free/x 2>/dev/null || echo no')).toBe('no\n')
  })

  it("can't be written where the image's owner is root", async () => {
    expect(await inside([], 'for d in / /data /etc /bin /usr; do touch $d/x 2>/dev/null && echo $d; done; echo x 2>/dev/null >> /etc/passwd || echo no', writable)).toBe('no\n')
  })
})

describe('--explain', () => {
  const explain = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const result = await runAs(userA, [HELPER, `--image=${image.reference}`, '--explain', ...args], { env })
    expect(result).toMatchObject({ status: 0, stderr: expect.not.stringContaining('refused') as string })
    return result.stdout.trimEnd().split('\n').map((line) => line.split('\t'))
  }
  const origin = (lines: readonly (readonly string[])[], kind: string, value: RegExp) => lines.filter(([is, text = '']) => is === kind && value.test(text)).map(([, , from]) => from)

  it('tells where variables, mounts and identity come from, and runs nothing', async () => {
    const mark = join(mine, 'ran')
    const lines = await explain([`--volume=${mine}:/data`, '--env=X=1', '--workdir=/bin', 'touch', mark], { OUTER: 'a\tb' })
    expect(existsSync(mark)).toBe(false)
    expect(origin(lines, 'image', new RegExp(image.record.id))).toEqual([`${image.reference} by --image`])
    expect(origin(lines, 'identity', new RegExp(`^uid ${userA.uid} \\(${userA.name}\\) gid ${userA.gid}$`))).toEqual(['the caller'])
    expect(origin(lines, 'variable', /^X=1$/)).toEqual(['--env'])
    expect(origin(lines, 'variable', /^PATH=/)).toEqual(['the image'])
    expect(origin(lines, 'variable', /^OUTER=a\\x09b$/)).toEqual(['the caller'])
    expect(origin(lines, 'variable', /^SHIFTER_IMAGE=/)).toEqual(['shifter'])
    expect(origin(lines, 'mount', /^\/ overlay ro,nosuid/)).toEqual([`the image id:${image.record.id}`])
    expect(origin(lines, 'mount', /^\/site /)).toEqual([expect.stringMatching(/^siteFs \(udiRoot\.conf:\d+\) .*:\/site$/) as string])
    expect(origin(lines, 'mount', /^\/data /)).toEqual([`--volume ${mine}:/data`])
    expect(origin(lines, 'mount', /^\/proc /)).toEqual(["the host's /proc"])
    expect(origin(lines, 'mount', new RegExp(`^${userA.home} `))).toEqual(['the home directory (mountHome of runtime.conf)'])
    expect(origin(lines, 'root', /^read-only$/)).toEqual(['the default'])
    expect(origin(lines, 'directory', /^\/bin$/)).toEqual(['--workdir'])
    expect(origin(lines, 'argument', /./)).toEqual(['the command line', 'the command line'])
    for (const [kind, value, from] of lines) if (kind !== 'groups') expect([kind, value, from]).toEqual([expect.stringMatching(/./), expect.stringMatching(/./), expect.stringMatching(/./)])
  })

  it('names the environment as origin, and a writable root', async () => {
    const lines = await explain(['--writable', '--clearenv'], { SHIFTER_VOLUME: `${mine}:/data`, OUTER: '1' })
    expect(origin(lines, 'mount', /^\/data /)).toEqual([`SHIFTER_VOLUME ${mine}:/data`])
    expect(origin(lines, 'mount', /^\/ overlay rw/)).toHaveLength(1)
    expect(origin(lines, 'root', /^writable$/)).toHaveLength(1)
    expect(origin(lines, 'variable', /^OUTER/)).toEqual([])
    expect(origin(lines, 'argument', /^\/bin\/sh$/)).toEqual(['shifter (no command was given)'])
  })

  it('refuses what a start would refuse', async () => {
    expect(refusal(await runAs(userA, [HELPER, `--image=${image.reference}`, '--explain', '--volume=/a:/etc']))).toBe('VOLUME_INVALID')
    expect(refusal(await runAs(userB, [HELPER, `--image=${image.reference}`, '--explain', `--volume=${mine}/absent:/data`]))).toBe('VOLUME_FAILED')
  })
})
