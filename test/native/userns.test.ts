/**
 * The program without setuid, as ordinary users call it: what it runs, what it refuses, and that nothing of it is left. Most of the
 * numbered attacks are tried by the files that try them under each profile; here are those that only this one has.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import {
  chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync,
  writeFileSync,
} from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'tsup'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { runAs, type RunAsOptions } from '../harness/accounts.js'
import { isMarked, markedProcesses, mountsOf } from '../harness/leftovers.js'
import { compileLaunch, useNode } from '../harness/node.js'
import { writeLayout } from '../harness/ociLayout.js'
import { own, service, userA, userB } from '../harness/people.js'
import { run, runOk, type ProcessResult } from '../harness/process.js'
import type { TarItem } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { busyboxRoot, publishMeta, pullTestImage, refusal, settings, type TestImage } from './fixture.js'

const node = useNode('userns', undefined)
const { prefix: PREFIX, images: IMAGES, helper: SHIFTER } = node
/** The directory of user A's own images. */
const OWN = join(PREFIX, 'data-a/shifter/images')
const HELPER = join(PREFIX, 'libexec/shifter/shifter-userns')
const BUNDLE = fileURLToPath(new URL(`../../node_modules/.shifter-sdk-test/person-${process.pid}`, import.meta.url))
/** In the environment of everything started here, so that what is left over can be told from other tests' programs. */
const MARK = 'SHIFTER_USERNS_TESTS'

const workspace = useWorkspace('userns')
let launch: string
let ours: string

const environment = (env: Readonly<Record<string, string>> = {}) => ({ [MARK]: '1', XDG_DATA_HOME: join(PREFIX, 'data-a'), ...env })
const asUser = (argv: readonly string[], options: RunAsOptions = {}): Promise<ProcessResult> => runAs(userA, argv, { ...options, env: environment(options.env) })
const shifter = (args: readonly string[], options: RunAsOptions = {}): Promise<ProcessResult> => asUser([HELPER, ...args], options)
const good = (script: string): readonly string[] => [HELPER, `--image=${ours}`, 'sh', '-c', script]
/** A shell script inside the image; it must succeed. */
const inside = async (script: string, options: RunAsOptions = {}): Promise<string> => {
  const result = await asUser(good(script), options)
  expect(result, script).toMatchObject({ status: 0, stderr: '' })
  return result.stdout
}
const refused = async (args: readonly string[], options: RunAsOptions = {}): Promise<string> => {
  const result = await shifter([...args, 'echo', 'RAN'], options)
  expect(result.status).not.toBe(0)
  expect(result.stdout).toBe('')
  return refusal(result)
}
/** As root, where the test prepares something that only root can; the script ends by `exec "$@"`, which is user A. */
const prepared = (script: string, argv: readonly string[], unshared: readonly string[] = ['-m']): Promise<ProcessResult> =>
  run(['unshare', ...unshared, 'sh', '-e', '-c', `${script}\nexec "$@"`, 'sh', ...asA(argv)], { cwd: '/', env: { PATH: process.env['PATH'] } })
const asA = (argv: readonly string[]): readonly string[] => [
  'setpriv', `--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--clear-groups', '--inh-caps=-all', 'env', '-i', 'PATH=/usr/bin:/bin', `HOME=${userA.home}`,
  ...Object.entries(environment()).map(([key, value]) => `${key}=${value}`), ...argv,
]
const publish = (id: string, more: readonly TarItem[] = []): string => publishMeta(OWN, userA, id, busyboxRoot(more))

beforeAll(async () => {
  chmodSync(SHIFTER, 0o755)
  mkdirSync(OWN, { recursive: true })
  for (const path of ['data-a', 'data-a/shifter', 'data-a/shifter/images']) own(join(PREFIX, path), userA, 0o755)
  launch = workspace.at('launch')
  await compileLaunch(launch)
  ours = publish('ours', [{ name: 'suid/cat', type: 'file', mode: 0o6755, data: readFileSync('/usr/bin/busybox') }])
})

/** Programs of these tests that are still there; squashfuse has their environment too. */
const leftovers = (): string[] => [...markedProcesses(MARK), ...mountsOf(' shifter ').filter((line) => / - (fuse|overlay)\S* shifter /.test(line))]
/** The server ends when the kernel tells it that the mount is gone. */
const nothingLeft = () => vi.waitFor(() => expect(leftovers()).toEqual([]), { timeout: 10_000, interval: 20 })
afterEach(nothingLeft)
afterAll(() => rmSync(BUNDLE, { recursive: true, force: true }))

/** A start that goes on until it is ended. */
const started = async (script: string): Promise<{ readonly child: ChildProcess; readonly ended: Promise<{ readonly status: number | null; readonly signal: string | null; readonly out: string }> }> => {
  const [program = '', ...args] = asA(good(`echo up; ${script}`))
  const child = spawn(program, args, { cwd: '/', stdio: ['pipe', 'pipe', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  // One that ended does not read.
  child.stdin?.on('error', () => undefined)
  let out = ''
  const ended = new Promise<{ readonly status: number | null; readonly signal: string | null; readonly out: string }>((resolve) =>
    child.on('close', (status, signal) => resolve({ status, signal, out })),
  )
  await new Promise<void>((resolve) =>
    child.stdout?.on('data', (data: Buffer) => {
      out += data.toString()
      resolve()
    }),
  )
  return { child, ended }
}

describe('a person alone', () => {
  it('pulls and runs an image without any right or configuration', { timeout: 120_000 }, async () => {
    await build({
      config: false, silent: true, entry: [fileURLToPath(new URL('person.ts', import.meta.url))], format: 'esm', target: 'node20', outDir: BUNDLE, dts: false,
      splitting: false, noExternal: ['shifter-sdk'],
      esbuildOptions: (options) => {
        options.alias = { 'shifter-sdk': fileURLToPath(new URL('../../src/index.ts', import.meta.url)) }
      },
      outExtension: () => ({ js: '.mjs' }),
    })
    const layout = workspace.at('layout')
    writeLayout(layout, { tag: 'v1', layers: [busyboxRoot()], config: { Env: ['PATH=/bin'] } })
    mkdirSync(workspace.at('person-state'))
    own(workspace.at('person-state'), userA, 0o700)
    // As the guide says, from the package itself: npx shifter-build-native.
    const built = fileURLToPath(new URL('../../build-native', import.meta.url))
    if (!existsSync(join(built, 'shifter-merge'))) await runOk(['bash', join(built, '../scripts/build-native.sh')], { timeoutMs: 200_000 })
    const { status, stdout, stderr } = await run([process.execPath, join(BUNDLE, 'person.mjs'), String(userA.uid), String(userA.gid), PREFIX, `oci:${layout}:v1`], {
      env: { ...environment(), PATH: `${PREFIX}/bin:/usr/bin:/bin`, HOME: userA.home, XDG_STATE_HOME: workspace.at('person-state') },
      timeoutMs: 60_000,
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const ran = { status: 5, stdout: 'PRETTY_NAME="Test image"\n', stderr: expect.stringMatching(/^shifter: note: without root's rights [^\n]*\n$/) as string }
    expect(JSON.parse(stdout)).toMatchObject({ access: 'public', byName: ran, byId: ran, missing: { code: 'IMAGE_NOT_FOUND' } })
  })

  it('finds images below $HOME where XDG_DATA_HOME says nothing of use', async () => {
    const home = join(PREFIX, 'home-a')
    mkdirSync(join(home, '.local/share'), { recursive: true })
    symlinkSync(join(PREFIX, 'data-a/shifter'), join(home, '.local/share/shifter'))
    for (const data of ['', 'relative']) expect(await shifter([`--image=${ours}`, 'true'], { env: { HOME: home, XDG_DATA_HOME: data } })).toMatchObject({ status: 0 })
    expect(await refused([`--image=${ours}`], { env: { XDG_DATA_HOME: '/nowhere' } })).toBe('IMAGE_NOT_FOUND')
  })

  it('may run a directory', async () => {
    const root = join(PREFIX, 'tree')
    for (const name of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp', 'var/tmp']) mkdirSync(join(root, name), { recursive: true })
    copyFileSync('/usr/bin/busybox', join(root, 'bin/busybox'))
    chmodSync(join(root, 'bin/busybox'), 0o755)
    expect(await shifter([`--image=local:${root}`, '/bin/busybox', 'sh', '-c', 'cd /bin && echo *'])).toMatchObject({ status: 0, stdout: 'busybox\n' })
  })

  it('resolves a name to its id', async () => {
    expect(await shifter([`--resolve=${ours}`])).toMatchObject({ status: 0, stdout: 'ours\n', stderr: '' })
    expect(refusal(await shifter(['--resolve=docker:none']))).toBe('IMAGE_NOT_FOUND')
  })
})

describe('shifter without the setuid bit', () => {
  const told = /^shifter: note: without root's rights \(not setuid, or no_new_privs is set\), so in a user namespace\n/

  it('says in one line that it runs in a user namespace, and hands everything on', async () => {
    const result = await asUser([SHIFTER, `--image=${ours}`, '--env=A=b c', 'sh', '-c', 'cat; echo "$A"; echo err >&2; exit 3'], { input: 'in\n' })
    expect(result).toMatchObject({ status: 3, stdout: 'in\nb c\n', stderr: expect.stringMatching(new RegExp(`${told.source}err\n$`)) as string })
    const none = await asUser(['env', `SHIFTER_IMAGEREQUEST=${ours}`, launch, 'argc0', SHIFTER], { input: 'echo $0\n' })
    expect(none).toMatchObject({ status: 0, stdout: '/bin/sh\n' })
  })

  it('tells a refusal where --report-fd says', async () => {
    const result = await asUser(['bash', '-c', `{ ${SHIFTER} --report-fd=9 --image=id:none true 9>&1 2>/dev/null; } | sed 's/^/told: /'; exit \${PIPESTATUS[0]}`])
    expect(result).toMatchObject({ status: 1, stdout: expect.stringMatching(/^told: IMAGE_NOT_FOUND there is no image 'id:none'/) as string })
  })

  it('answers --help and --version itself', async () => {
    expect(await asUser([SHIFTER, '--version'])).toMatchObject({ status: 0, stderr: '' })
  })

  it('set by no_new_privs too', async () => {
    chmodSync(SHIFTER, 0o4755)
    try {
      const result = await asUser(['setpriv', '--no-new-privs', SHIFTER, `--image=${ours}`, 'echo', 'ran'])
      expect(result).toMatchObject({ status: 0, stdout: 'ran\n', stderr: expect.stringMatching(told) as string })
    } finally {
      chmodSync(SHIFTER, 0o755)
    }
  })

  it('says what is missing where the other program is', async () => {
    renameSync(HELPER, `${HELPER}.kept`)
    try {
      const result = await asUser([SHIFTER, `--image=${ours}`, 'true'])
      expect([result.status, refusal(result)]).toEqual([1, 'NOT_SETUID'])
      expect(result.stderr).toContain(`${HELPER}: No such file`)
    } finally {
      renameSync(`${HELPER}.kept`, HELPER)
    }
  })

  it('is not lent to another account by a mistaken owner', async () => {
    for (const [program, code] of [[SHIFTER, 'NOT_SETUID'], [HELPER, 'DROP_FAILED']] as const) {
      own(program, userB, 0o4755)
      try {
        expect(refusal(await asUser([program, `--image=${ours}`, 'true']))).toBe(code)
      } finally {
        chownSync(program, 0, 0)
        chmodSync(program, 0o755)
      }
    }
    // Root's own mistake gives nobody root either.
    chmodSync(HELPER, 0o4755)
    try {
      expect(await refused([`--image=${ours}`])).toBe('DROP_FAILED')
    } finally {
      chmodSync(HELPER, 0o755)
    }
  })
})

describe('a site', () => {
  let image: TestImage
  let secret: TestImage
  const config = (more: Readonly<Record<string, string>> = {}) => node.configure({ siteFs: [`${join(PREFIX, 'site')}:/site`], udiRoot: more })
  beforeAll(async () => {
    const common = { directory: workspace.path, imagePath: IMAGES }
    image = await pullTestImage({ ...common, tag: 'public', config: { Env: ['PATH=/bin', 'FROM_IMAGE=yes'] } })
    secret = await pullTestImage({ ...common, tag: 'secret', config: { Env: ['PATH=/bin', 'SECRET=1'] }, requester: service.uid, allowUids: [userA.uid] })
    mkdirSync(join(PREFIX, 'site'))
    writeFileSync(join(PREFIX, 'site/hello'), 'from the site\n')
  })

  beforeEach(() => {
    config()
    for (const suffix of ['squashfs', 'record', 'meta']) chmodSync(join(IMAGES, `${image.record.id}.${suffix}`), 0o644)
  })

  it('has public images that everyone can read, by their id, with its own settings', async () => {
    const result = await shifter([`--image=id:${image.record.id}`, 'sh', '-c', 'cat /site/hello; echo $FROM_IMAGE'])
    expect(result).toMatchObject({ status: 0, stdout: 'from the site\nyes\n', stderr: '' })
  })

  it('has images that the caller can not read, and is told why', async () => {
    for (const reference of [`id:${secret.record.id}`, secret.reference, image.reference]) {
      const result = await shifter([`--image=${reference}`, 'true'])
      expect([refusal(result), result.stdout], reference).toEqual(['IMAGE_UNREADABLE', ''])
      expect(result.stderr).toContain(`of '${reference}' can't be read by you`)
    }
    chmodSync(join(IMAGES, `${image.record.id}.squashfs`), 0o600)
    expect(await refused([`--image=id:${image.record.id}`])).toBe('IMAGE_UNREADABLE')
  })

  it('leaves the caller his own images', async () => {
    expect(await shifter([`--image=${ours}`, 'cat', '/site/hello'])).toMatchObject({ status: 0, stdout: 'from the site\n' })
  })

  it.each(['sitePreMountHook', 'sitePostMountHook'])('that has a %s gets no start without it', async (key) => {
    config({ [key]: '/bin/true' })
    const result = await shifter([`--image=${ours}`, 'true'])
    expect(refusal(result)).toBe('SETUID_NEEDED')
    expect(result.stderr).toContain(`${key}: it runs as root`)
  })

  it('that allows no local: images is obeyed', async () => {
    expect(await refused(['--image=local:/'])).toBe('LOCAL_NOT_ALLOWED')
  })

  it('shows what is mounted below a siteFs: a namespace of fewer rights gets it in one piece', async () => {
    const result = await prepared(`mkdir -p ${PREFIX}/site/below; mount -t tmpfs below ${PREFIX}/site/below; touch ${PREFIX}/site/below/x`, [HELPER, `--image=${ours}`, 'ls', '/site/below'])
    expect(result).toMatchObject({ status: 0, stdout: 'x\n' })
  })

  describe('attack 44: configuration (user namespace)', () => {
    it('attack 44: a mistake is no reason to go on without a configuration (user namespace)', async () => {
      writeFileSync(node.native.udiRootConf, 'nonsense\n')
      expect(await refused([`--image=${ours}`])).toBe('UDIROOT_CONF_INVALID')
      rmSync(node.native.udiRootConf)
      mkdirSync(node.native.udiRootConf)
      expect(await refused([`--image=${ours}`])).toBe('UDIROOT_CONF_UNSAFE')
      rmSync(node.native.udiRootConf, { recursive: true })
      symlinkSync('/nowhere', node.native.udiRootConf)
      // A link to nowhere is no configuration: there is none to keep to.
      expect(await shifter([`--image=${ours}`, 'true'])).toMatchObject({ status: 0 })
    })
  })

  it('attack 45: a name that is there and one that is not are told alike (user namespace)', async () => {
    const told = async (reference: string) => (await shifter([`--image=${reference}`, 'true'])).stderr.replaceAll(reference, 'X')
    expect(await told(secret.reference)).toBe(await told(secret.reference.replace(/:secret$/, ':sekret')))
  })
})

describe('volumes, modules and writable roots', () => {
  let data: string
  beforeAll(() => {
    data = join(PREFIX, 'volume')
    mkdirSync(join(data, 'below'), { recursive: true })
    writeFileSync(join(data, 'below/file'), 'of the volume\n')
    own(data, userA, 0o755)
    own(join(data, 'below'), userA, 0o755)
    mkdirSync(join(PREFIX, 'module/copied'), { recursive: true })
    writeFileSync(join(PREFIX, 'module/copied/tool'), 'of the module\n')
    mkdirSync(join(PREFIX, 'opt/bin'), { recursive: true })
    writeFileSync(join(PREFIX, 'opt/bin/x'), 'of the site\n')
  })

  const site = (udiRoot: Readonly<Record<string, string>> = {}, runtime: Readonly<Record<string, string>> = {}) => {
    node.configure({ siteFs: [`${data}:/volume`], udiRoot, runtime })
  }

  it('shows directories and files where the image has none, with the caller\'s rights', async () => {
    site()
    const result = await shifter([`--image=${ours}`, '--volume=/volume/below:/data/deep', '--volume=/volume/below/file:/bin/file:ro', 'sh', '-c', 'cat /data/deep/file /bin/file; echo new > /data/deep/new; (echo no > /bin/file) 2>/dev/null || echo read-only'])
    expect(result).toMatchObject({ status: 0, stdout: 'of the volume\nof the volume\nread-only\n' })
    expect(statSync(join(data, 'below/new')).uid).toBe(userA.uid)
    rmSync(join(data, 'below/new'))
    mkdirSync(join(data, 'closed/in'), { recursive: true })
    chmodSync(join(data, 'closed'), 0o700)
    expect(await refused([`--image=${ours}`, '--volume=/volume/closed/in:/data'])).toBe('VOLUME_FAILED')
  })

  it('perNodeCache is refused, with the reason', async () => {
    const result = await shifter([`--image=${ours}`, '--volume=/none:/cache:perNodeCache=size=10M', 'true'])
    expect([refusal(result), result.stdout]).toEqual(['SETUID_NEEDED', ''])
    expect(result.stderr).toContain('perNodeCache at /cache: root makes and mounts its file system')
  })

  it('a module has its environment, file systems, copied tree and user hook, and a roothook is refused', async () => {
    const hook = join(PREFIX, 'module/hook')
    writeFileSync(hook, '#!/bin/sh\n', { mode: 0o755 })
    writeFileSync(join(PREFIX, 'module/copied/greet'), 'echo hooked\n', { mode: 0o755 })
    const module = {
      optUdiImage: join(PREFIX, 'opt'), module_tool_siteEnv: 'OF_MODULE=1', module_tool_siteFs: `${join(PREFIX, 'module')}:/module`, module_tool_copyPath: join(PREFIX, 'module/copied'),
      module_tool_userhook: '/opt/udiImage/modules/tool/greet',
    }
    site(module)
    expect(await shifter([`--image=${ours}`, '--module=tool', 'sh', '-c', 'echo $OF_MODULE; ls /module; cat /opt/udiImage/modules/tool/tool /opt/udiImage/bin/x'])).toMatchObject({
      status: 0, stdout: 'hooked\n1\ncopied\nhook\nof the module\nof the site\n',
    })
    site({ ...module, module_tool_roothook: hook })
    const result = await shifter([`--image=${ours}`, '--module=tool', 'echo', 'RAN'])
    expect([refusal(result), result.stdout]).toEqual(['SETUID_NEEDED', ''])
    expect(result.stderr).toContain('module_tool_roothook: it runs as root')
    expect(await shifter([`--image=${ours}`, '--module=none', 'true'])).toMatchObject({ status: 0 })
  })

  it('a writable root can be written everywhere, up to its size, and nothing of it is left', async () => {
    site({}, { writableSize: '4M' })
    const script = 'echo new > /etc/os-release; cat /etc/os-release; rm -r /start && mkdir /start && ls /start | wc -l; dd if=/dev/zero of=/start/big bs=1M count=16 2>/dev/null || echo full'
    const writable = publish('writable', [{ name: 'bin/rm', type: 'hardlink', linkname: 'bin/busybox' }, { name: 'start/file', type: 'file', data: '' }])
    expect(await shifter([`--image=${writable}`, '--writable', 'sh', '-c', script])).toMatchObject({ status: 0, stdout: 'new\n0\nfull\n' })
    expect((await shifter([`--image=${writable}`, 'sh', '-c', 'cat /etc/os-release; ls /start'])).stdout).toBe('PRETTY_NAME="Test image"\nfile\n')
  })

  it('--explain says where things come from and runs nothing', async () => {
    const result = await shifter([`--image=${ours}`, '--explain', 'echo', 'RAN'])
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect(result.stdout).toContain(`image\tours\t${ours} by --image\n`)
    expect(result.stdout).not.toMatch(/^RAN$/m)
  })
})

describe('what a machine lacks', () => {
  it('squashfuse', async () => {
    const hide = ['squashfuse', 'squashfuse_ll'].map((name) => `mount --bind /dev/null /usr/bin/${name}`).join('\n')
    const result = await prepared(hide, [HELPER, `--image=${ours}`, 'echo', 'RAN'])
    expect([refusal(result), result.stdout]).toEqual(['FUSE_UNAVAILABLE', ''])
    expect(result.stderr).toContain('no squashfuse_ll or squashfuse')
    // Either does.
    const one = await prepared('mount --bind /dev/null /usr/bin/squashfuse_ll', [HELPER, `--image=${ours}`, 'echo', 'RAN'])
    expect(one).toMatchObject({ status: 0, stdout: 'RAN\n' })
  })

  it('/dev/fuse', async () => {
    const closed = workspace.at('closed')
    writeFileSync(closed, '', { mode: 0o600 })
    const result = await prepared(`mount --bind ${closed} /dev/fuse`, [HELPER, `--image=${ours}`, 'echo', 'RAN'])
    expect([refusal(result), result.stdout]).toEqual(['FUSE_UNAVAILABLE', ''])
    expect(result.stderr).toContain('/dev/fuse: Permission denied')
    expect(result.stderr).toContain('0666')
  })

  it('user namespaces, and which setting forbids them', async () => {
    // A namespace that holds every id may have a limit of its own.
    const script = `mkfifo up; unshare -U sh -c 'echo > up; exec sleep 60' & read line < up
      for map in uid_map gid_map; do echo '0 0 4294967295' > /proc/$!/$map; done
      nsenter --preserve-credentials -U -t $! sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"' sh "$@"; s=$?; kill $!; exit $s`
    const result = await run(['sh', '-c', script, 'sh', ...asA([HELPER, `--image=${ours}`, 'echo', 'RAN'])], { cwd: mkdtempSync(workspace.at('limited-')) })
    expect([refusal(result), result.stdout]).toEqual(['USERNS_UNAVAILABLE', ''])
    expect(result.stderr).toContain('the sysctl user.max_user_namespaces is 0')
  })

  it('user namespaces in a chroot', async () => {
    const root = workspace.at('chroot')
    mkdirSync(root)
    const result = await prepared(`mount --rbind / ${root}; mount --bind ${root} ${root} || true; cd ${root}; set -- chroot ${root} "$@"`, [HELPER, `--image=${ours}`, 'echo', 'RAN'])
    expect([refusal(result), result.stdout]).toEqual(['USERNS_UNAVAILABLE', ''])
    expect(result.stderr).toContain('a chroot')
  })

  it('an image that squashfuse can show', async () => {
    const file = join(OWN, 'broken.squashfs')
    publish('broken')
    const bytes = readFileSync(file)
    bytes.fill(0xff, bytes.length - 600, bytes.length - 100)
    bytes.fill(0xff, 96, 200)
    writeFileSync(file, bytes)
    expect(['MOUNT_FAILED', 'IMAGE_LAYOUT', 'EXEC_FAILED']).toContain(await refused(['--image=id:broken']))
  })
})

describe('a run', () => {
  it('has the identity of the caller, one to one, and no capability', async () => {
    const status = settings((await inside('cat /proc/self/status')).replaceAll(':\t', '='))
    const none = '0'.repeat(16)
    expect(status).toMatchObject({
      Uid: Array(4).fill(userA.uid).join('\t'), Gid: Array(4).fill(userA.gid).join('\t'),
      CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none, NoNewPrivs: '1',
    })
    const map = (await inside('cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups')).replaceAll(/ +/g, ' ')
    expect(map).toBe(` ${userA.uid} 0 1\n ${userA.gid} 0 1\ndeny\n`)
    const file = `/tmp/${MARK}-${process.pid}`
    await inside(`touch ${file}`)
    expect(statSync(file).uid).toBe(userA.uid)
    rmSync(file)
  })

  it('keeps umask, limits, directory and terminal', async () => {
    const result = await asUser(['sh', '-c', `umask 027; ulimit -n 333; ulimit -c 0; ulimit -S -f 0; exec "$@"`, 'sh', ...good('umask; ulimit -n; ulimit -c; ulimit -f; pwd')], { cwd: '/tmp' })
    expect(result).toMatchObject({ status: 0, stdout: '0027\n333\n0\n0\n/tmp\n' })
    const terminal = await asUser(['script', '-qec', `${HELPER} --image=${ours} sh -c 'test -t 0 && test -t 1 && echo terminal; test -w /dev/tty && echo own > /dev/tty; exit 6'`, '/dev/null'])
    expect(terminal).toMatchObject({ status: 6, stdout: 'terminal\r\nown\r\n' })
  })

  it("ends with the program's own status or signal", async () => {
    expect(await asUser(good('exit 7'))).toMatchObject({ status: 7, stderr: '' })
    expect((await asUser(good('kill -TERM $$'))).signal).toBe('SIGTERM')
    expect(await shifter([`--image=${ours}`, '/nowhere'])).toMatchObject({ status: 127 })
    const { child, ended } = await started('read x')
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({ signal: 'SIGTERM' })
  })

  it('is the process that was started, and has no child that it did not start', async () => {
    const { child, ended } = await started('read x; cat /proc/$$/task/$$/children; wait; echo $$')
    child.stdin?.end('go\n')
    // cat itself is one.
    const { out } = await ended
    expect(out).toMatch(new RegExp(`^up\n\\d+ ${child.pid}\n$`))
  })

  it('killed at once leaves no process and no mount', async () => {
    const { child, ended } = await started('read x')
    expect(leftovers().length).toBeGreaterThan(1)
    child.kill('SIGKILL')
    expect(await ended).toMatchObject({ signal: 'SIGKILL' })
    await nothingLeft()
  })

  it('lasts as long as the last process inside', async () => {
    const directory = mkdtempSync('/tmp/shifter-sdk-last-')
    onTestFinished(() => rmSync(directory, { recursive: true }))
    chmodSync(directory, 0o755)
    await runOk(['mkfifo', '-m', '666', join(directory, 'go')])
    const { child, ended } = await started(`(read x < ${directory}/go; ls /bin/sh) & exit 0`)
    if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve))
    expect(leftovers().length).toBeGreaterThan(1)
    await writeFile(join(directory, 'go'), 'go\n')
    expect((await ended).out).toBe('up\n/bin/sh\n')
  })

  it('whose server was killed gets errors and does not wait', async () => {
    const { child, ended } = await started('read x; ls /start && echo STILL THERE; exec /bin/busybox true')
    const server = leftovers().find((pid) => readlinkSync(`/proc/${pid}/exe`).includes('squashfuse'))
    process.kill(Number(server), 'SIGKILL')
    await vi.waitFor(() => expect(isMarked(String(server), MARK)).toBe(false))
    child.stdin?.end('go\n')
    // What of the shell itself was not in memory yet may be missing too, so that it ends by a signal.
    const { status, out } = await ended
    expect(out).toBe('up\n')
    expect(status).not.toBe(0)
  })
})

describe('attack 24: descriptors and directories (user namespace)', () => {
  it('attack 24: nothing that leads to the host comes along, neither the caller\'s nor ours (user namespace)', async () => {
    const result = await asUser([launch, 'escape', ...good('for f in /proc/$$/fd/*; do n=${f##*/}; test $n -gt 2 && echo $n; done; for n in 100 101 104; do ls /proc/$$/fd/$n/ 2>/dev/null && echo ESCAPED; done; true')])
    expect(result.status).toBe(0)
    expect(result.stdout.trimEnd().split('\n').filter((line) => /^(1\d\d|ESCAPED)$/.test(line))).toEqual(['110', '111', '112', '113'])
    // Those of the server are its own two and its log, whatever the caller had.
    const { child, ended } = await started('read x')
    const server = leftovers().find((pid) => readlinkSync(`/proc/${pid}/exe`).includes('squashfuse')) ?? ''
    const held = readdirSync(`/proc/${server}/fd`).map((fd) => readlinkSync(`/proc/${server}/fd/${fd}`))
    expect(held.filter((target) => !/^(\/dev\/null|\/dev\/fuse|\/memfd:squashfuse \(deleted\)|.*\/ours\.squashfs|anon_inode:.*|pipe:.*)$/.test(target))).toEqual([])
    const pipes = new Set([child.stdin, child.stdout].map((_, i) => readlinkSync(`/proc/${child.pid}/fd/${i}`)))
    expect(held.filter((target) => pipes.has(target))).toEqual([])
    child.stdin?.end('\n')
    await ended
  })
})

describe('attack 26: limits (user namespace)', () => {
  it.each(['--nproc=1', '--fsize=0', '--nofile=12', '--stack=262144', '--cpu=1:1'])('attack 26: with %s it runs or says why not, and nothing is left (user namespace)', async (limit) => {
    const result = await asUser(['prlimit', limit, ...good('echo RAN')])
    if (result.status === 0) expect(result.stdout).toBe('RAN\n')
    else expect([refusal(result), result.stdout]).toEqual([expect.stringMatching(/^(RESOURCE|MOUNT_FAILED|CALLER_UNKNOWN|EXEC_FAILED)$/), ''])
  })
})

describe('attack 27: umask, groups and ids (user namespace)', () => {
  it('attack 27: other groups count as before, without a number (user namespace)', async () => {
    const directory = mkdtempSync('/tmp/shifter-sdk-group-')
    onTestFinished(() => rmSync(directory, { recursive: true }))
    writeFileSync(join(directory, 'file'), 'for the group\n')
    chownSync(directory, 0, userB.gid)
    chmodSync(directory, 0o750)
    const script = `grep ^Groups /proc/$$/status; cat ${directory}/file`
    expect(await asUser(good(script), { groups: [userB.gid] })).toMatchObject({ status: 0, stdout: 'Groups:\t65534 \nfor the group\n' })
    expect((await asUser(good(script), { groups: [] })).stdout).toBe('Groups:\t \n')
  })
})

describe('attack 28: what stands among the images (user namespace)', () => {
  let id: string
  let count = 0
  beforeEach(() => {
    id = `victim-${++count}`
    writeFileSync(join(OWN, `${id}.meta`), 'FORMAT: squashfs\nENV: PATH=/bin\n')
    own(join(OWN, `${id}.meta`), userA, 0o600)
  })

  const file = () => join(OWN, `${id}.squashfs`)

  it('attack 28: files of others, or that others can write (user namespace)', async () => {
    copyFileSync(join(OWN, 'ours.squashfs'), file())
    for (const [account, mode] of [[userB, 0o644], [service, 0o644], [userA, 0o664], [userA, 0o602]] as const) {
      own(file(), account, mode)
      expect(await refused([`--image=id:${id}`]), `${account.name} ${mode.toString(8)}`).toBe('IMAGE_UNSAFE')
    }
    own(file(), userA, 0o600)
    expect(await shifter([`--image=id:${id}`, 'true'])).toMatchObject({ status: 0 })
    for (const [account, mode] of [[userB, 0o755], [userA, 0o777], [userA, 0o1777]] as const) {
      own(OWN, account, mode)
      expect(await refused([`--image=id:${id}`]), `${account.name} ${mode.toString(8)}`).toBe('IMAGE_UNSAFE')
    }
    own(OWN, userA, 0o755)
  })
})

it('attack 29: other file systems under the name of a squashfs are refused before anything reads them (user namespace)', async () => {
  const trace = workspace.at('trace-29')
  writeFileSync(join(OWN, 'other.meta'), 'FORMAT: squashfs\nENV: PATH=/bin\n')
  const bytes = Buffer.alloc(1 << 20)
  bytes.write('\xe2\xe1\xf5\xe0', 1024, 'latin1')
  writeFileSync(join(OWN, 'other.squashfs'), bytes)
  for (const name of ['other.meta', 'other.squashfs']) own(join(OWN, name), userA, 0o600)
  const result = await run(['strace', '-f', '-u', userA.name, '-e', 'trace=execve,fsopen', '-o', trace, 'env', ...Object.entries(environment()).map(([k, v]) => `${k}=${v}`), HELPER, '--image=id:other', 'true'], { cwd: '/' })
  expect(refusal(result)).toBe('IMAGE_CORRUPT')
  expect(readFileSync(trace, 'utf8')).not.toMatch(/squashfuse|fsopen/)
})

it('attack 30: a path with commas, colons, backslashes and line breaks means nothing to a mount (user namespace)', async () => {
  const data = join(PREFIX, 'data,ro:upperdir=\\x\nb -o allow_other')
  mkdirSync(join(data, 'shifter'), { recursive: true })
  symlinkSync(OWN, join(data, 'shifter/images'))
  expect(await shifter([`--image=${ours}`, 'echo', 'ok'], { env: { XDG_DATA_HOME: data } })).toMatchObject({ status: 0, stdout: 'ok\n', stderr: '' })
})

describe('attacks 40 and 41: failures (user namespace)', () => {
  const traced = (options: readonly string[], script: string): Promise<ProcessResult> =>
    run(['strace', '-f', '-u', userA.name, ...options, 'env', '-i', 'PATH=/usr/bin:/bin', ...Object.entries(environment()).map(([k, v]) => `${k}=${v}`), ...good(script)], { cwd: '/' })
  /** How often the program itself calls it, before it runs the one that was asked for. */
  const counted = async (call: string): Promise<number> => {
    const trace = workspace.at(`trace-${call}`)
    await traced(['-e', `trace=${call}`, '-o', trace], 'true')
    return readFileSync(trace, 'utf8').split('\n').filter((line) => line.includes(`${call}(`)).length
  }
  const status = `Uid:\t$U\nCapEff:\t${'0'.repeat(16)}\nCapBnd:\t${'0'.repeat(16)}\nNoNewPrivs:\t1\nRAN\n`

  it.each(['unshare', 'fsopen', 'fsconfig', 'fsmount', 'move_mount', 'open_tree', 'mount_setattr', 'mount', 'pivot_root', 'umount2', 'memfd_create', 'pipe2', 'capset', 'capget', 'getresuid', 'setsid'])(
    'attack 41: whichever %s fails, nothing runs with more rights and nothing is left (user namespace)', { timeout: 60_000 }, async (call) => {
      const calls = await counted(call)
      expect(calls).toBeGreaterThan(0)
      const codes = new Set<string>()
      for (let nth = 1; nth <= Math.min(calls, 12); nth++) {
        const result = await traced(['-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:error=EPERM:when=${nth}`], 'grep -E "^(Uid|CapEff|CapBnd|NoNewPrivs)" /proc/$$/status; echo RAN')
        if (result.stdout === '') codes.add(refusal(result))
        else expect(result.stdout, `${call} ${nth}`).toBe(status.replace('$U', Array(4).fill(userA.uid).join('\t')))
        await nothingLeft()
      }
      expect([...codes].filter((code) => !/^[A-Z_]+$/.test(code))).toEqual([])
      expect(codes.size).toBeGreaterThan(0)
    },
  )

  it('attack 40: a capset or prctl that only claims to have worked is found out (user namespace)', async () => {
    const result = await traced(['-o', '/dev/null', '-e', 'trace=capset', '-e', 'inject=capset:retval=0'], 'echo RAN')
    expect(result.stdout).toBe('')
    expect(result.status).not.toBe(0)
    const dropped = await traced(['-o', '/dev/null', '-e', 'trace=prctl', '-e', 'inject=prctl:retval=0'], 'echo RAN')
    expect(dropped.stdout).toBe('')
  })
})
