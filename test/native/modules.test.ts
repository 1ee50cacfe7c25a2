/** Modules, the site's own programs, per-node caches and the site's tree, of an installation of its own; and a real MPI program. */
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import environmentCases from '../cases/environment.json' with { type: 'json' }
import { runAs } from '../harness/accounts.js'
import { DEFAULT_PREFIX, type NativeConfig } from '../harness/native.js'
import { loopsOf } from '../harness/leftovers.js'
import { useNode } from '../harness/node.js'
import { service, userA, userB } from '../harness/people.js'
import { profileOn, PROFILES, type StartOptions } from '../harness/profiles.js'
import { type ProcessResult, run, runOk } from '../harness/process.js'
import type { TarItem } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { blocksOf } from '../docs/guides.js'
import { attackIn } from './absent.js'
import { busyboxRoot, publishMeta, refusal, settings } from './fixture.js'

const PREFIX = `${DEFAULT_PREFIX}-modules`
/** What the site's administrators made. */
const SITE = join(PREFIX, 'site')
const CACHE = join(PREFIX, 'cache')
const LOG = join(SITE, 'log')

const workspace = useWorkspace('modules')
let image: string

const write = (path: string, text: string, mode = 0o644): string => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}
const script = (name: string, text: string, mode = 0o755): string => write(join(SITE, name), `#!/bin/sh\n${text}\n`, mode)
const config = (udiRoot: Readonly<Record<string, string | undefined>> = {}, runtime: NativeConfig['runtime'] = {}): Partial<NativeConfig> => ({
  siteFs: [`${SITE}/data:/site`],
  udiRoot: {
    module_tool_siteEnv: 'TOOL=yes FROM=module',
    module_tool_siteEnvPrepend: 'PATH=/opt/udiImage/modules/tool/bin',
    module_tool_siteEnvAppend: 'LIST=tool',
    module_tool_siteEnvUnset: 'UNWANTED',
    module_tool_copyPath: join(SITE, 'tool'),
    module_tool_siteFs: `${SITE}/data:/tool-data:ro`,
    module_tool_userhook: '/opt/udiImage/modules/tool/init.sh',
    module_rooted_roothook: join(SITE, 'roothook'),
    module_next_siteEnv: 'FROM=next',
    module_next_siteEnvAppend: 'LIST=next',
    module_rival_conflict: 'tool',
    module_off_enabled: '0',
    module_broken_roothook: join(SITE, 'broken'),
    module_unsafe_roothook: join(SITE, 'unsafe'),
    module_absent_roothook: join(SITE, 'not-there'),
    module_sad_userhook: '/site/sad.sh',
    module_lost_copyPath: join(SITE, 'not-there'),
    siteEnvAppend: 'LIST=site',
    ...udiRoot,
  },
  runtime,
})
const node = useNode('modules', config())
const { helper, images: IMAGES } = node

const callers = (run: (words: readonly string[], options: StartOptions) => Promise<ProcessResult>) => {
  const start = (args: readonly string[], text: string, options: StartOptions = {}): Promise<ProcessResult> => run([`--image=${image}`, ...args, 'sh', '-c', text], options)
  const inside = async (args: readonly string[], text: string, options: StartOptions = {}): Promise<string> => {
    const result = await start(args, text, options)
    expect(result, `${args.join(' ')} ${text}`).toMatchObject({ status: 0, stderr: '' })
    return result.stdout
  }
  const refused = async (args: readonly string[], options: StartOptions = {}): Promise<ProcessResult & { readonly code: string }> => {
    const result = await start(args, 'echo RAN', options)
    expect(result.stdout).not.toContain('RAN')
    expect(result.status).not.toBe(0)
    return { ...result, code: refusal(result) }
  }
  return { start, inside, refused }
}
const { inside, refused } = callers((words, { as = userA, joins: _, ...rest }) => runAs(as, [helper, ...words], rest))
const flagsAt = (mountinfo: string, place: string): string | undefined =>
  mountinfo.split('\n').map((line) => line.split(' ')).findLast(([, , , , where]) => where === place)?.[5]

const IMAGE: readonly TarItem[] = [
  ...busyboxRoot(),
  { name: 'hook-out', type: 'symlink', linkname: join(LOG, 'victim') },
  { name: 'hook-dir', type: 'symlink', linkname: LOG },
  { name: 'tool-data', type: 'dir' },
  { name: 'free', type: 'dir', mode: 0o1777 },
]

beforeAll(() => {
  for (const path of [SITE, CACHE, LOG, join(SITE, 'data')]) mkdirSync(path, { recursive: true, mode: 0o755 })
  write(join(SITE, 'data/hello'), 'from the site\n')
  write(join(SITE, 'data/sad.sh'), 'exit 7\n')
  write(join(SITE, 'tool/bin/tool'), '#!/bin/sh\necho tool\n', 0o755)
  write(join(SITE, 'tool/init.sh'), 'echo "hook $(id -u) $TOOL $PWD"\n')
  write(join(SITE, 'opt/bin/site-tool'), '#!/bin/sh\necho site-tool\n', 0o755)
  image = publishMeta(IMAGES, service, 'plain', IMAGE, 'FORMAT: squashfs\nENV: PATH=/bin\nENV: LIST=image\nENV: UNWANTED=1\n')
})

describe('modules', () => {
  it('set, append, prepend and unset in their order, before the site does', async () => {
    const env = async (modules: string) => settings((await inside([`--module=${modules}`], 'env | grep -v "^hook"')).replace(/^hook.*\n/gm, ''))
    expect(await env('next,tool')).toMatchObject({ TOOL: 'yes', FROM: 'module', PATH: '/opt/udiImage/modules/tool/bin:/bin', LIST: 'image:next:tool:site' })
    expect(await env('tool,next')).toMatchObject({ FROM: 'next', LIST: 'image:tool:next:site' })
    expect(await env('tool')).not.toHaveProperty('UNWANTED')
    expect(await env('none')).toMatchObject({ LIST: 'image:site', UNWANTED: '1' })
  })

  it('show a tree, read-only, and file systems of the site', async () => {
    const out = await inside(['-m', 'tool'], 'tool; cat /tool-data/hello; touch /opt/udiImage/modules/tool/x /tool-data/x 2>/dev/null; cat /proc/self/mountinfo')
    expect(out).toContain('tool\nfrom the site\n')
    for (const place of ['/opt/udiImage/modules/tool', '/tool-data']) expect([place, flagsAt(out, place)]).toEqual([place, expect.stringMatching(/^ro,nosuid,nodev/)])
    expect(existsSync(join(SITE, 'tool/x')) || existsSync(join(SITE, 'data/x'))).toBe(false)
    expect(await inside(['-m', 'none'], 'ls /opt/udiImage 2>/dev/null; ls /tool-data')).toBe('')
  })

  it("run the user's hook inside, as the user, before the program", async () => {
    expect(await inside(['--module=tool', '--workdir=/tmp'], 'echo program')).toBe(`hook ${userA.uid} yes /tmp\nprogram\n`)
    const sad = await refused(['--module=sad'])
    expect(sad.code).toBe('MODULE_FAILED')
    expect(sad.stderr).toContain("module 'sad': its userhook /site/sad.sh ended with status 7 inside the image")
  })

  it('wait for the hook though the caller ignores SIGCHLD', async () => {
    const command = `${helper} --image=${image} --module=sad true`
    expect(refusal(await runAs(userA, ['python3', '-c', `import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp("sh", ["sh", "-c", "exec ${command}"])`]))).toBe('MODULE_FAILED')
  })

  it('are chosen by --module, then SHIFTER_MODULE, then its twin, then the site', async () => {
    node.configure(config({ defaultModules: 'next' }))
    const from = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => inside(args, 'echo ${FROM-none}', { env })
    expect(await from([])).toBe('next\n')
    expect(await from(['--module=none'])).toBe('none\n')
    expect(await from([], { SHIFTER_MODULE: 'none' })).toBe('none\n')
    expect(await from([], { SLURM_SPANK_SHIFTER_MODULE: 'none' })).toBe('none\n')
    expect(await from(['-m', 'next'], { SHIFTER_MODULE: 'none' })).toBe('next\n')
    expect(await from([], { SHIFTER_MODULE: 'next', SLURM_SPANK_SHIFTER_MODULE: 'none' })).toBe('next\n')
    node.configure(config({ defaultModules: 'tool,rival' }))
    expect((await refused([])).code).toBe('UDIROOT_CONF_INVALID')
  })

  it.each([['none,tool'], ['nothing'], ['tool,tool'], ['off'], ['rival,tool'], ['tool,rival'], [','], ['Tool'], ['tool\n'], ['../tool'], ['tool=1']])('%j is refused', async (modules) => {
    expect((await refused([`--module=${modules}`])).code).toBe('MODULE_REFUSED')
  })

  it("are named in /var/shifterConfig.json; a user's volume can't cover what they show", async () => {
    const { identifier, modules } = JSON.parse(await inside(['--module=next,rival'], 'cat /var/shifterConfig.json')) as Record<string, string>
    expect([identifier, modules]).toEqual(['plain', 'next,rival,'])
    expect((await refused(['--module=tool', '--volume=/tmp:/tool-data'])).code).toBe('VOLUME_INVALID')
    expect((await refused(['--module=tool', '--volume=/tmp:/opt/udiImage/modules/tool'])).code).toBe('VOLUME_INVALID')
    expect(await inside(['--volume=/bin:/tool-data'], 'ls /tool-data/cat')).toBe('/tool-data/cat\n')
  })

  it('of a tree that is missing refuse the start', async () => {
    expect((await refused(['--module=lost'])).stderr).toContain('copyPath')
  })

  it('are explained', async () => {
    const lines = (await inside(['--module=tool', '--explain'], 'echo RAN')).trimEnd().split('\n').map((line) => line.split('\t'))
    const origin = (kind: string, value: RegExp) => lines.filter(([is, text = '']) => is === kind && value.test(text)).map(([, , from]) => from)
    expect(origin('module', /^tool$/)).toEqual(['--module'])
    expect(origin('variable', /^LIST=/)).toEqual([expect.stringMatching(/^the image, then module_tool_siteEnvAppend \(udiRoot\.conf:\d+\), then siteEnvAppend \(udiRoot\.conf:\d+\)$/)])
    expect(origin('mount', /^\/tool-data /)).toEqual([expect.stringMatching(/^module_tool_siteFs \(udiRoot\.conf:\d+\) /)])
    expect(origin('mount', /^\/opt\/udiImage\/modules\/tool /)).toEqual([expect.stringMatching(/^module_tool_copyPath \(udiRoot\.conf:\d+\) /)])
    // Nothing of the user's was run, the module's hook neither.
    expect(lines.flat().join(' ')).not.toMatch(/RAN$|hook \d/)
  })
})

describe('the environment of the site', () => {
  interface Row {
    readonly start: Readonly<Record<string, string>>
    readonly image_env?: readonly string[]
    readonly siteEnv?: readonly string[]
    readonly siteEnvAppend?: readonly string[]
    readonly siteEnvPrepend?: readonly string[]
    readonly siteEnvUnset?: readonly string[]
    readonly append?: string
    readonly prepend?: string
    readonly unset?: string
    readonly result: Readonly<Record<string, string>>
  }
  const rows = environmentCases.cases.filter((row) => 'result' in row) as unknown as readonly Row[]

  it.each(rows)('$start $image_env $siteEnv $siteEnvAppend $siteEnvPrepend $siteEnvUnset $append $prepend $unset: $result', async (row) => {
    const list = (...words: readonly (string | undefined)[]) => words.filter((word) => word !== undefined).join(' ') || undefined
    const keys = (prefix: string) => ({
      [`${prefix}siteEnv`]: list(...(row.siteEnv ?? [])),
      [`${prefix}siteEnvAppend`]: list(...(row.siteEnvAppend ?? []), row.append),
      [`${prefix}siteEnvPrepend`]: list(...(row.siteEnvPrepend ?? []), row.prepend),
      [`${prefix}siteEnvUnset`]: list(...(row.siteEnvUnset ?? []), row.unset),
    })
    const reference = publishMeta(IMAGES, service, 'environment', IMAGE, ['FORMAT: squashfs', ...(row.image_env ?? []).map((word) => `ENV: ${word}`), ''].join('\n'))
    // The same from the site, and from a module.
    for (const [prefix, args] of [['', []], ['module_row_', ['--module=row']]] as const) {
      node.configure(config({ siteEnvAppend: undefined, ...keys(prefix) }))
      const { stdout, stderr } = await runAs(userA, ['env', '-i', ...Object.entries(row.start).map(([name, value]) => `${name}=${value}`), helper, `--image=${reference}`, ...args, '/bin/env'])
      expect(stderr).toBe('')
      const { SHIFTER_IMAGE, SHIFTER_IMAGEREQUEST, ...left } = stdout === '' ? {} : settings(stdout)
      expect([SHIFTER_IMAGE, SHIFTER_IMAGEREQUEST, left]).toEqual(['environment', 'id:environment', row.result])
    }
  })
})

describe("the site's tree", () => {
  it('is shown read-only at /opt/udiImage, with the trees of modules in it', async () => {
    node.configure(config({ optUdiImage: join(SITE, 'opt') }))
    expect(await inside([], '/opt/udiImage/bin/site-tool; touch /opt/udiImage/x 2>/dev/null || echo no')).toBe('site-tool\nno\n')
    const out = await inside(['--module=tool'], '/opt/udiImage/bin/site-tool; tool; touch /opt/udiImage/x /opt/udiImage/modules/x 2>/dev/null || echo no; cat /proc/self/mountinfo')
    expect(out).toContain('site-tool\ntool\nno\n')
    for (const place of ['/opt/udiImage', '/opt/udiImage/modules/tool']) expect(flagsAt(out, place)).toMatch(/nosuid,nodev/)
    expect(readdirSync(join(SITE, 'opt'))).toEqual(['bin'])
    // Explained as read-only, also where the file system is so and not the mount.
    const explained = (await inside(['--module=tool', '--explain'], '')).split('\n').filter((line) => line.startsWith('mount\t/opt/udiImage'))
    expect(explained.map((line) => /^mount\t(\S+) \w+ ro,/.exec(line)?.[1]).sort()).toEqual(['/opt/udiImage', '/opt/udiImage/modules/tool'])
  })

  it('that others can change is refused', async () => {
    node.configure(config({ optUdiImage: join(SITE, 'opt') }))
    chownSync(join(SITE, 'opt'), userA.uid, userA.gid)
    expect((await refused([])).code).toBe('UDIROOT_CONF_UNSAFE')
    chownSync(join(SITE, 'opt'), 0, 0)
  })
})

describe('programs of the site', () => {
  beforeEach(() => {
    rmSync(LOG, { recursive: true, force: true })
    mkdirSync(LOG)
    write(join(LOG, 'victim'), 'untouched\n')
  })
  const log = (name: string): string => readFileSync(join(LOG, name), 'utf8')

  it('run as root in the root that is built, with nothing of the user', async () => {
    script('roothook', `{ id -u; pwd; env; ls -l /proc/self/fd; grep -E 'SigBlk|NoNewPrivs' /proc/self/status; } > ${LOG}/roothook; mkdir made && echo hook > made/file`)
    const env = { LD_PRELOAD: '/tmp/evil.so', BASH_ENV: '/tmp/evil', ENV: '/tmp/evil', PATH: '/tmp', IFS: '/', SECRET: 'x' }
    expect(await inside(['--module=rooted'], 'cat /made/file; stat -c %u /made', { env })).toBe('hook\n0\n')
    const [uid, cwd, ...rest] = log('roothook').split('\n')
    expect([uid, cwd?.startsWith(join(PREFIX, 'var/udiMount'))]).toEqual(['0', true])
    expect(rest.filter((line) => /^[A-Z_]+=/.test(line)).map((line) => line.split('=')[0]).filter((name) => name !== 'PWD')).toEqual(['PATH'])
    expect(rest.join('\n')).not.toMatch(/evil|SECRET/)
    expect(rest.filter((line) => line.includes(' -> ')).map((line) => / (\d+) -> /.exec(line)?.[1]).filter((fd) => Number(fd) > 3)).toEqual([])
    expect(rest.find((line) => line.startsWith('SigBlk'))).toMatch(/^SigBlk:\t0+$/)
    expect(await inside(['--module=rooted'], 'ls -d /made')).toBe('/made\n')
  })

  it('before and after the file systems of the site are mounted', async () => {
    const [before, after] = [script('before', `ls site > ${LOG}/before 2>&1; mkdir -p early`), script('after', `ls site early > ${LOG}/after`)]
    node.configure(config({ sitePreMountHook: before, sitePostMountHook: after }))
    expect(await inside([], 'ls -d /early')).toBe('/early\n')
    expect(log('before')).not.toContain('hello')
    expect(log('after')).toContain('hello')
  })

  it('that fail refuse the start, in the words of the program', async () => {
    script('broken', 'echo "no licence server"; exit 3')
    const broken = await refused(['--module=broken'])
    expect(broken.code).toBe('HOOK_FAILED')
    expect(broken.stderr).toContain(`module_broken_roothook: ${SITE}/broken ended with status 3: no licence server`)
    script('broken', 'kill -TERM $$')
    expect((await refused(['--module=broken'])).stderr).toContain('signal 15')
    // Not one of a shell's any more, as in the reference system, where this would have run.
    write(join(SITE, 'broken'), `: > ${LOG}/ran\n`, 0o755)
    expect((await refused(['--module=broken'])).stderr).toContain(`${SITE}/broken ended with status 126: Exec format error`)
    expect(existsSync(join(LOG, 'ran'))).toBe(false)
  })
})

describe('per-node caches', () => {
  const cached = (extra: Readonly<Record<string, string | undefined>> = {}, runtime: NativeConfig['runtime'] = {}): void =>
    node.configure(config({ perNodeCachePath: CACHE, perNodeCacheSizeLimit: '1G', perNodeCacheAllowedFsType: 'xfs', mkfsXfsPath: join(SITE, 'mkfs'), ...extra }, runtime))
  const volume = (size: string, more = ''): string => `--volume=/none:/cache:perNodeCache=size=${size}${more}`
  const devices = (): Promise<string[]> => loopsOf(CACHE)
  beforeEach(() => {
    cached()
    write(join(LOG, 'mkfs'), '')
    chmodSync(join(LOG, 'mkfs'), 0o666)
    script('mkfs', `{ id -u; id -g; id -G; pwd; echo "$@"; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; } > ${LOG}/mkfs 2>&1; exec /usr/sbin/mkfs.xfs "$@"`)
  })
  afterEach(() => vi.waitFor(async () => expect(await devices()).toEqual([]), { timeout: 10_000, interval: 50 }))

  it("are the user's own, of the size asked for, and leave nothing", async () => {
    const out = await inside([volume('320M')], 'stat -c "%u %g %a" /cache; echo x > /cache/file; cat /cache/file; stat -f -c "%T %b %S" /cache; cat /proc/self/mountinfo')
    const [owner, content, size = ''] = out.split('\n')
    expect([owner, content]).toEqual([`${userA.uid} ${userA.gid} 700`, 'x'])
    const [type, blocks, block] = size.split(' ')
    expect(type).toBe('xfs')
    expect(Number(blocks) * Number(block)).toBeGreaterThan(200 * 2 ** 20)
    expect(Number(blocks) * Number(block)).toBeLessThanOrEqual(320 * 2 ** 20)
    expect(flagsAt(out, '/cache')).toMatch(/^rw,nosuid,nodev/)
    expect(readdirSync(CACHE)).toEqual([])
    expect(await inside([volume('320M')], 'ls /cache')).toBe('')
  })

  it("are made by an account that is neither root nor the user", async () => {
    await inside([volume('320M')], 'true')
    const [uid, gid, groups, cwd, args, ...caps] = readFileSync(join(LOG, 'mkfs'), 'utf8').trimEnd().split('\n')
    expect([uid, gid, groups, cwd, args]).toEqual(['65534', '65534', '65534', '/', '-q -f /proc/self/fd/3'])
    expect(caps).toEqual(['CapEff:\t0000000000000000', 'CapBnd:\t0000000000000000', 'NoNewPrivs:\t1'])
    for (const mkfsUser of ['0', String(userA.uid)]) {
      cached({}, { mkfsUser })
      expect((await refused([volume('320M')])).code).toBe('UDIROOT_CONF_INVALID')
    }
  })

  it('end with the last process, also when it is killed', async () => {
    const child = spawn('setpriv', [`--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--init-groups', helper, `--image=${image}`, volume('320M'), 'sh', '-c', 'echo ready; cat'], {
      stdio: ['pipe', 'pipe', 'inherit'], cwd: '/', env: {},
    })
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const [device = '', ...more] = await devices()
    expect(more).toEqual([])
    // Its file has no name, and the user can't reach the device.
    expect(device).toMatch(/\(deleted\)$/)
    expect(statSync(device.split(' ')[0] ?? '').mode & 0o007).toBe(0)
    expect(readdirSync(CACHE)).toEqual([])
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await ended
  })

  it('are refused above the limit, of a size that is none, and where the site offers none', async () => {
    const beyond = await refused([volume('1025M')])
    expect(beyond.code).toBe('CACHE_REFUSED')
    expect(beyond.stderr).toContain('per-node caches of 1074790400 bytes are more than the 1073741824 that this site allows')
    // Workload managers hear it when a job is submitted.
    const asked = async (size: string): Promise<string | undefined> =>
      (JSON.parse((await run([join(node.prefix, 'bin/shifter-check'), 'request', volume(size)])).stdout) as { readonly error?: { readonly code: string } }).error?.code
    expect(await Promise.all(['1G', '1025M'].map(asked))).toEqual([undefined, 'CACHE_REFUSED'])
    expect(await inside([volume('1G')], 'ls -d /cache')).toBe('/cache\n')
    const second = '--volume=/none:/second:perNodeCache=size='
    expect(await inside([volume('320M'), `${second}320M`], 'ls -d /cache /second')).toBe('/cache\n/second\n')
    expect((await refused([volume('512M'), `${second}513M`])).code).toBe('CACHE_REFUSED')
    const small = await refused([volume('64K')])
    expect([small.code, small.stderr]).toEqual(['CACHE_REFUSED', expect.stringContaining('mkfsXfsPath')])
    cached({ perNodeCacheAllowedFsType: 'ext4' })
    expect((await refused([volume('320M')])).code).toBe('CACHE_REFUSED')
    for (const key of ['perNodeCachePath', 'mkfsXfsPath']) {
      cached({ [key]: undefined })
      expect((await refused([volume('320M')])).code).toBe('CACHE_REFUSED')
    }
  })

  it('of several users at once are apart, and may be read-only or the site\'s', async () => {
    const outs = await Promise.all([userA, userB, userA, userB].map((as) => inside([volume('320M')], 'ls /cache; echo mine > /cache/x; stat -c %u /cache/x', { as })))
    expect(outs).toEqual([userA, userB, userA, userB].map(({ uid }) => `${uid}\n`))
    expect(await inside([volume('320M', ':ro')], 'touch /cache/x 2>/dev/null || echo no')).toBe('no\n')
    node.configure({ ...config({ perNodeCachePath: CACHE, mkfsXfsPath: join(SITE, 'mkfs') }), siteFs: ['/none:/node-cache:perNodeCache=size=320M'] })
    expect(await inside([], 'echo x > /node-cache/x; stat -c %u /node-cache')).toBe(`${userA.uid}\n`)
  })
})

describe.each(PROFILES)('attacks on what root runs and makes: %s', (name) => {
  const attack = attackIn(name)
  const { start, inside, refused } = callers(profileOn(name, PREFIX).start)
  /** A preparation looks at all that is configured, a start at what it uses. */
  const sound = { module_absent_roothook: undefined, module_lost_copyPath: undefined, module_unsafe_roothook: undefined, module_broken_roothook: undefined }
  const cached = (): void => node.configure(config({ ...sound, perNodeCachePath: CACHE, perNodeCacheSizeLimit: '1G', perNodeCacheAllowedFsType: 'xfs', mkfsXfsPath: join(SITE, 'mkfs') }))
  const volume = (size: string): string => `--volume=/none:/cache:perNodeCache=size=${size}`
  beforeEach(() => {
    rmSync(LOG, { recursive: true, force: true })
    mkdirSync(LOG)
    write(join(LOG, 'victim'), 'untouched\n')
    write(join(LOG, 'mkfs'), '')
    chmodSync(join(LOG, 'mkfs'), 0o666)
    rmSync(join(SITE, 'unsafe'), { force: true })
    script('roothook', 'true')
    node.configure(config(sound))
  })
  const log = (what: string): string => readFileSync(join(LOG, what), 'utf8')

  attack("attack 34: a link of the image leads no hook to the host's files", async () => {
    script('roothook', `echo bad > hook-out; echo bad > hook-dir/new; ln -s /etc fine; [ -L fine ] && : > ${LOG}/went-on`)
    await inside(['--module=rooted'], 'true')
    expect([log('victim'), existsSync(join(LOG, 'new')), existsSync(join(LOG, 'went-on'))]).toEqual(['untouched\n', false, true])
  })

  attack('attack 32: what a hook mounts is nosuid and nodev, and ends with the root', async () => {
    script('roothook', 'mkdir extra && mount -t tmpfs -o suid,dev,mode=755 none extra && echo there > extra/file')
    const out = await inside(['--module=rooted'], 'cat /extra/file; cat /proc/self/mountinfo')
    expect(out).toMatch(/^there\n/)
    expect(flagsAt(out, '/extra')).toMatch(/nosuid,nodev/)
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(PREFIX)
  })

  attack('attack 44: hooks that others can change, or that are not there, are not run', async () => {
    node.configure(config({ ...sound, module_unsafe_roothook: join(SITE, 'unsafe') }))
    script('unsafe', `: > ${LOG}/ran`, 0o777)
    expect((await refused(['--module=unsafe'])).code).toBe('UDIROOT_CONF_UNSAFE')
    script('unsafe', `: > ${LOG}/ran`)
    chownSync(join(SITE, 'unsafe'), userA.uid, userA.gid)
    expect((await refused(['--module=unsafe'])).code).toBe('UDIROOT_CONF_UNSAFE')
    chownSync(join(SITE, 'unsafe'), 0, 0)
    // Through a link of root's it is as good; through a directory of a user's it is not.
    mkdirSync(join(LOG, 'open'))
    chmodSync(join(LOG, 'open'), 0o777)
    rmSync(join(SITE, 'unsafe'))
    symlinkSync(join(LOG, 'open/hook'), join(SITE, 'unsafe'))
    write(join(LOG, 'open/hook'), `#!/bin/sh\n: > ${LOG}/ran\n`, 0o755)
    expect((await refused(['--module=unsafe'])).code).toBe('UDIROOT_CONF_UNSAFE')
    chmodSync(join(LOG, 'open'), 0o755)
    expect(existsSync(join(LOG, 'ran'))).toBe(false)
    await inside(['--module=unsafe'], 'true')
    expect(existsSync(join(LOG, 'ran'))).toBe(true)
    node.configure(config({ ...sound, module_absent_roothook: join(SITE, 'not-there') }))
    expect((await refused(['--module=absent'])).code).toBe('UDIROOT_CONF_INVALID')
  })

  attack('attack 29: caches are not mounted while a process of the making account has the file open', async () => {
    cached()
    script('mkfs', `sleep 60 >/dev/null 2>&1 & echo $! >> ${LOG}/mkfs; exec /usr/sbin/mkfs.xfs "$@"`)
    const kept = await start([volume('320M')], 'echo RAN')
    // One of the preparation, one of the start.
    const holders = log('mkfs').trimEnd().split('\n').map(Number)
    const [uid] = holders.map((holder) => statSync(`/proc/${holder}`).uid)
    for (const holder of holders) process.kill(holder)
    expect([uid, kept.stdout]).toEqual([65534, ''])
    expect([refusal(kept), kept.stderr]).toEqual(['CACHE_REFUSED', expect.stringContaining('a process of uid 65534 has the cache\'s file open') as string])
  })

  attack('attack 44: caches are not made where others can write', async () => {
    cached()
    chmodSync(CACHE, 0o1777)
    expect((await refused([volume('320M')])).code).toBe('UDIROOT_CONF_UNSAFE')
    chmodSync(CACHE, 0o755)
  })
})

describe('a writable root', () => {
  it('holds at most writableSize, and keeps its flags', async () => {
    node.configure(config({}, { writableSize: '32M' }))
    const out = await inside(['--writable'], 'dd if=/dev/zero of=/free/big bs=1M count=64 2>/dev/null; echo $?; stat -c %s /free/big; cat /proc/self/mountinfo')
    const [code, size] = out.split('\n')
    expect(code).toBe('1')
    expect(Number(size)).toBeGreaterThan(24 * 2 ** 20)
    expect(Number(size)).toBeLessThanOrEqual(32 * 2 ** 20)
    expect(flagsAt(out, '/')).toMatch(/^rw,nosuid,nodev/)
  })
})

/** A module of the guide, its paths those of this installation. */
const ofGuide = (name: string, paths: ReadonlyArray<readonly [string, string]>): Record<string, string> => {
  const [block] = blocksOf('docs/modules.md').filter(({ language, text }) => language === 'ini' && text.startsWith(`module_${name}_`))
  const lines = paths.reduce((given, [from, to]) => given.replaceAll(from, to), block?.text ?? '')
  return Object.fromEntries(lines.trimEnd().split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

describe('the module for GPUs', () => {
  it("shows the driver's files where programs find them, whatever version they are", async () => {
    const driver = join(SITE, 'driver')
    for (const name of ['libcuda.so.1', 'libnvidia-ml.so.1', 'libnvidia-ptxjitcompiler.so.1']) {
      write(join(driver, `${name}.550.54`), `${name} of 550.54\n`)
      rmSync(join(driver, name), { force: true })
      symlinkSync(`${name}.550.54`, join(driver, name))
    }
    write(join(driver, 'nvidia-smi'), '#!/bin/sh\ncat /opt/gpu/lib/libcuda.so.1; echo "$LD_LIBRARY_PATH $CUDA_VISIBLE_DEVICES"\n', 0o755)
    const module = ofGuide('gpu', [['/usr/lib64/', `${driver}/`], ['/usr/bin/', `${driver}/`]])
    node.configure(config(module))
    expect(await inside(['--module=gpu'], 'nvidia-smi; ls /opt/gpu/lib; rm /opt/gpu/bin/nvidia-smi 2>/dev/null || echo kept', { env: { CUDA_VISIBLE_DEVICES: '0,3' } }))
      .toBe('libcuda.so.1 of 550.54\n/opt/gpu/lib 0,3\nlibcuda.so.1\nlibnvidia-ml.so.1\nlibnvidia-ptxjitcompiler.so.1\nkept\n')
    rmSync(join(driver, 'libcuda.so.1'))
    expect((await refused(['--module=gpu'])).code).toBe('MODULE_FAILED')
  })
})

describe('a local directory', () => {
  it('has volumes and modules where it has places for them, and nothing is made in it', async () => {
    node.configure(config({ allowLocalChroot: '1' }))
    const root = workspace.at('local')
    for (const part of ['bin', 'etc', 'dev', 'proc', 'sys', 'tmp', 'var/tmp', 'here', 'site', 'opt/udiImage/modules/tool', 'tool-data']) mkdirSync(join(root, part), { recursive: true })
    copyFileSync('/usr/bin/busybox', join(root, 'bin/sh'))
    const local = (args: readonly string[], text: string) => runAs(userA, [helper, `--image=local:${root}`, ...args, '/bin/sh', '-c', text], { cwd: '/tmp' })
    expect(await local(['--volume=/site:/here', '--module=tool'], 'while read line; do echo $line; done < /here/hello; tool')).toMatchObject({ status: 0, stdout: `hook ${userA.uid} yes /tmp\nfrom the site\ntool\n` })
    expect(refusal(await local(['--volume=/site:/absent'], 'echo RAN'))).toBe('VOLUME_FAILED')
    expect(refusal(await local(['--writable'], 'echo RAN'))).toBe('OPTION_UNAVAILABLE')
    rmSync(join(root, 'opt/udiImage/modules'), { recursive: true })
    expect(refusal(await local(['--module=tool'], 'echo RAN'))).toBe('MODULE_FAILED')
    expect([existsSync(join(root, 'absent')), readdirSync(join(root, 'opt/udiImage'))]).toEqual([false, []])
  })
})

describe('an MPI program', () => {
  const OWN = 'usr/lib/x86_64-linux-gnu'
  /** Libraries that a program needs, as the loader finds them here. */
  const libraries = async (program: string): Promise<string[]> =>
    [...(await runOk(['ldd', program])).stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(/gm)].map(([, path = '']) => path)
  const isOfTheC = (path: string): boolean => /^(ld-linux|libc\.|libm\.|libpthread\.|libdl\.|librt\.)/.test(basename(path))
  let program: string
  const ranks = (args: readonly string[]): Promise<ProcessResult> =>
    runAs(userA, ['mpiexec.mpich', '-n', '2', helper, '--image=id:mpi', ...args, '/app/mpi'], { cwd: '/tmp', timeoutMs: 60_000 })

  beforeAll(async () => {
    program = workspace.at('mpi')
    await runOk(['mpicc.mpich', '-O1', '-Wall', '-Wextra', '-Werror', '-o', program, fileURLToPath(new URL('mpi.c', import.meta.url))])
    const needed = await libraries(program)
    const asFile = (path: string, name: string): TarItem => ({ name, type: 'file', mode: 0o755, data: readFileSync(realpathSync(path)) })
    publishMeta(IMAGES, service, 'mpi', [
      ...busyboxRoot(),
      asFile(program, 'app/mpi'),
      ...needed.map((path) => asFile(path, basename(path).startsWith('ld-linux') ? path.slice(1) : `${OWN}/${basename(path)}`)),
    ])
    // What the site's administrators do once: the host's MPI and what it needs, but nothing of the C library.
    const lib = join(SITE, 'mpich/lib')
    mkdirSync(lib, { recursive: true })
    for (const path of needed.filter((needs) => !isOfTheC(needs))) copyFileSync(realpathSync(path), join(lib, basename(path)))
  })
  beforeEach(() => node.configure(config(ofGuide('mpich', [['/opt/site/shifter/mpich', join(SITE, 'mpich')]]))))

  it("of two ranks runs on the host's MPI through a module, and on the image's own without it", async () => {
    for (const [args, library] of [[['--module=mpich'], '/opt/udiImage/modules/mpich/lib/libmpich.so.12'], [[], `/${OWN}/libmpich.so.12`]] as const) {
      const { status, stdout, stderr } = await ranks(args)
      expect({ status, stderr, lines: stdout.trimEnd().split('\n').sort() }).toEqual({
        status: 0, stderr: '', lines: [`rank 0 of 2 sum 3 token -1 on ${library}`, `rank 1 of 2 sum 3 token 3 on ${library}`],
      })
    }
  })
})
