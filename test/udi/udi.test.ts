/** The service `Udi` and `runImage` over the installed programs. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as Effect from 'effect/Effect'
import { runImage, Udi, udiLayer } from 'shifter-sdk'
import { build } from 'tsup'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../harness/native.js'
import { run } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage, type TestImage } from '../native/fixture.js'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
// Below node_modules, so that the bundle finds the packages it leaves out.
const BUNDLE = here(`../../node_modules/.shifter-sdk-test/udi-${process.pid}`)

/** In the environment of what is started here, so that it is found again. */
const MARK = 'SHIFTER_UDI_TESTS'

const workspace = useWorkspace('udi')
let userA: Account
let image: TestImage

beforeAll(async () => {
  ;({ userA } = await ensureTestAccounts())
  image = await pullTestImage({
    directory: workspace.path, imagePath: SHARED_IMAGE_PATH, tag: 'udi', config: { Env: ['PATH=/bin'], WorkingDir: '/work', Entrypoint: ['echo', 'howdy'], Cmd: ['guys'] },
    more: [{ name: 'variables', type: 'file', data: '# comment\nA=of a file\nB=of a file\n' }, { name: 'more-variables', type: 'file', data: 'C=of another\n' }],
  })
  mkdirSync(BUNDLE, { recursive: true })
  await build({
    config: false, silent: true, entry: [here('child.ts')], format: 'esm', target: 'node20', outDir: BUNDLE, dts: false, splitting: false,
    noExternal: ['shifter-sdk'],
    esbuildOptions: (options) => {
      options.alias = { 'shifter-sdk': here('../../src/index.ts') }
    },
    outExtension: () => ({ js: '.mjs' }),
  })
})
afterAll(() => rmSync(BUNDLE, { recursive: true, force: true }))

const use = <A, E>(f: (udi: typeof Udi.Udi.Service) => Effect.Effect<A, E>, prefix = DEFAULT_PREFIX): Promise<A> =>
  Effect.runPromise(Effect.flatMap(Udi.Udi, f).pipe(Effect.provide(udiLayer(prefix))))
/** What an effect fails with. */
const failure = <A, E>(f: (udi: typeof Udi.Udi.Service) => Effect.Effect<A, E>, prefix?: string): Promise<E> => use((udi) => Effect.flip(f(udi)), prefix)

describe('check', () => {
  it('names what a node needs', async () => {
    const checks = await use((udi) => udi.check)
    expect(checks.map(({ name }) => name)).toEqual(['kernel', 'squashfs', 'overlay', 'loop-control', 'shifter', 'squashfuse', 'fuse', 'user-namespaces', 'configuration', 'settings', 'siteFs', 'usersToImport', 'udiMount', 'imagePath'])
    expect(checks.filter(({ ok }) => !ok)).toEqual([])
    // The setuid program is there, so nobody needs the other mode.
    expect(checks.filter(({ advice }) => advice).map(({ name }) => name)).toEqual(['squashfuse', 'fuse', 'user-namespaces'])
  })

  it('says when the programs are not there', async () => {
    expect(await failure((udi) => udi.check, '/nonexistent')).toMatchObject({ _tag: 'UdiError', code: 'NATIVE_MISSING' })
    // Options may be there and say nothing, as in every other function.
    const silent = { workdir: undefined, env: undefined, envFile: undefined, clearEnv: undefined, entrypoint: undefined, stdio: undefined }
    await expect(runImage('docker:debian', ['true'], { prefix: '/nonexistent', ...silent })).rejects.toMatchObject({
      code: 'NATIVE_MISSING', message: expect.stringMatching(/no \/nonexistent\/bin\/shifter .* the option prefix\.$/) as string,
    })
  })

  it('looks where the guides install the programs, where packages do, then where this package builds them', async () => {
    const installed = ['/usr/local/bin/shifter', '/usr/bin/shifter', here('../../build-native/shifter')].find((file) => existsSync(file))
    await expect(runImage('docker:debian', ['true'])).rejects.toMatchObject(
      installed === undefined ? { code: 'NATIVE_MISSING', what: expect.stringContaining('/usr/local/bin/shifter and no /usr/bin/shifter') as string } : { code: 'CALLER_IS_ROOT' },
    )
  })
})

describe('run', () => {
  it('as root is refused, as an error with its code', async () => {
    await expect(runImage(image.reference, ['true'], { prefix: DEFAULT_PREFIX, stdio: 'capture' })).rejects.toMatchObject({ _tag: 'UdiError', code: 'CALLER_IS_ROOT', reason: 'Denied' })
    expect(await failure((udi) => udi.run(image.reference, ['true'], { stdio: 'capture' }))).toMatchObject({ code: 'CALLER_IS_ROOT' })
  })

  it('as an ordinary user runs programs, hands their status on and tells refusals from it', async () => {
    const child = await run([process.execPath, join(BUNDLE, 'child.mjs'), String(userA.uid), String(userA.gid), DEFAULT_PREFIX, image.reference], {
      env: { PATH: '/usr/bin:/bin', HOME: userA.home, OUTER: '1', [MARK]: '1' },
      timeoutMs: 60_000,
    })
    expect(child).toMatchObject({ status: 0, stderr: 'to the caller\n' })
    const told = JSON.parse(child.stdout) as Record<string, { readonly seconds: number }>
    expect(told).toMatchObject({
      release: { status: 0, stdout: 'PRETTY_NAME="Test image"\n', stderr: '' },
      options: { status: 3, stdout: '/start\nb c\n[]\n', stderr: 'err\n' },
      files: { status: 0, stdout: 'of a file, given, of another\n' },
      noFile: { _tag: 'UdiError', code: 'ENV_FILE_UNREADABLE' },
      entrypoint: { status: 0, stdout: 'howdy you\n' },
      override: { status: 0, stdout: '-x\n' },
      signal: { status: 137 },
      missing: { _tag: 'UdiError', code: 'IMAGE_NOT_FOUND', reason: 'NotFound' },
      invalid: { _tag: 'UdiError', code: 'REFERENCE_INVALID' },
      dashes: { status: 0, stdout: '--image=x -v\n' },
      imitation: { status: 1, stderr: 'shifter: IMAGE_NOT_FOUND: no.\n' },
      report: { status: 0, stdout: 'closed\n' },
      notStarted: { _tag: 'UdiError', code: 'EXEC_FAILED', message: expect.stringMatching(/^\/nowhere: No such file or directory\. Check/) as string },
      inherited: { status: 0, stdout: '', stderr: '' },
      refusedInherited: { _tag: 'UdiError', code: 'IMAGE_NOT_FOUND' },
      large: { status: 4, stdout: 16777216, stderr: 16777216 },
      tooLarge: { _tag: 'UdiError', code: 'OUTPUT_TOO_LARGE', message: expect.stringContaining('on standard error') as string },
      background: { code: 'CANCELLED' },
      stubborn: { code: 'CANCELLED' },
      cancelled: { code: 'CANCELLED' },
    })
    expect(told['background']?.seconds).toBeLessThan(4)
    expect(told['stubborn']?.seconds).toBeLessThan(15)
    const left = readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${MARK}=1`)
      } catch {
        return false // it ended meanwhile
      }
    })
    expect(left).toEqual([])
  })
})

describe('explain', () => {
  it('tells what a run would be, and runs nothing', async () => {
    const { stdout } = await run([process.execPath, join(BUNDLE, 'child.mjs'), String(userA.uid), String(userA.gid), DEFAULT_PREFIX, image.reference, 'explain'], {
      env: { PATH: '/usr/bin:/bin', HOME: userA.home, [MARK]: '1' },
      timeoutMs: 60_000,
    })
    const { refused, told } = JSON.parse(stdout) as { readonly told: string; readonly refused: unknown }
    expect(told).toContain(image.record.id)
    expect(told).toMatch(/A=b c/)
    expect(refused).toMatchObject({ _tag: 'UdiError', code: 'MODULE_REFUSED' })
  })
})

describe('prepared roots', () => {
  const job = `udi-${process.pid}`

  it('are made, listed and taken down', async () => {
    const request = { job, uid: userA.uid, gid: userA.gid, user: userA.name, image: `id:${image.record.id}`, volumes: ['/tmp:/mnt'], modules: [], nodes: [{ name: 'n1', tasks: 2 }] }
    const ours = async () => (await use((udi) => udi.list())).filter((root) => root.job === job)
    try {
      await use((udi) => udi.prepare(request))
      await use((udi) => udi.prepare(request))
      expect(await ours()).toEqual([{ job, uid: userA.uid, image: `id:${image.record.id}`, state: 'ready' }])
      await use((udi) => udi.teardown({ job, uid: 1 }))
      expect(await ours()).toHaveLength(1)
    } finally {
      await use((udi) => udi.teardown({ job }))
    }
    await use((udi) => udi.teardown({ job }))
    expect(await ours()).toEqual([])
  })

  it('are refused with what is wrong', async () => {
    const request = { job, uid: userA.uid, gid: userA.gid, image: image.reference }
    for (const [wrong, code] of [
      [{ image: 'id:none' }, 'IMAGE_NOT_FOUND'],
      [{ image: 'debian' }, 'USAGE'],
      [{ job: 'a/b' }, 'USAGE'],
      [{ uid: 0 }, 'USAGE'],
      [{ volumes: ['/tmp:/etc'] }, 'VOLUME_INVALID'],
      [{ modules: ['none-such'] }, 'MODULE_REFUSED'],
    ] as const) {
      expect(await failure((udi) => udi.prepare({ ...request, ...wrong })), JSON.stringify(wrong)).toMatchObject({ _tag: 'UdiError', code })
    }
    expect((await use((udi) => udi.list())).filter((root) => root.job === job)).toEqual([])
  })

  it('need programs that are installed', async () => {
    for (const call of [
      (udi: typeof Udi.Udi.Service) => udi.prepare({ job, uid: userA.uid, gid: userA.gid, image: image.reference }),
      (udi: typeof Udi.Udi.Service) => udi.teardown({ job }),
      (udi: typeof Udi.Udi.Service) => Effect.asVoid(udi.list()),
    ]) {
      expect(await failure(call, '/nonexistent')).toMatchObject({ _tag: 'UdiError', code: 'PREPARE_UNAVAILABLE', what: expect.stringContaining('is not installed') as string })
    }
  })
})
