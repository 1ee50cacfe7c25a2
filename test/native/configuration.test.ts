/** `udiRoot.conf` and `runtime.conf` as files: who may have changed them and what they name, told by `shifter-check`, which reads them as `shifter` does. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import runtimeKeys from '../../formats/runtime-conf.json' with { type: 'json' }
import udiRootKeys from '../../formats/udiroot-conf.json' with { type: 'json' }
import table from '../../native/tests/cases/udiroot_conf.json' with { type: 'json' }
import { ensureTestAccounts } from '../harness/accounts.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { run } from '../harness/process.js'

const CHECK = join(DEFAULT_PREFIX, 'bin/shifter-check')

interface Answer {
  readonly error?: { readonly code: string; readonly message: string }
  readonly wrong?: readonly string[]
  readonly warnings?: readonly string[]
  readonly origins?: { readonly udiRoot: Readonly<Record<string, string>>; readonly runtime: Readonly<Record<string, string>> }
}

describe('the configuration', () => {
  /** Root's own, below directories that nobody else can change. */
  let home = ''
  let user = 0
  const at = (name: string) => join(home, name)

  beforeAll(async () => {
    user = (await ensureTestAccounts()).userA.uid
    home = mkdtempSync('/opt/shifter-sdk-configuration-')
  })
  beforeEach(() => {
    for (const name of ['etc', 'site']) {
      rmSync(at(name), { recursive: true, force: true })
      mkdirSync(at(name), { mode: 0o755 })
    }
    mkdirSync(at('site/hooks'), { mode: 0o755 })
    chmodSync(home, 0o755)
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  const write = (text: string, mode = 0o644, name = 'udiRoot.conf') => {
    writeFileSync(at(`etc/${name}`), text)
    chmodSync(at(`etc/${name}`), mode)
  }
  const asked = async (): Promise<{ readonly status: number | null; readonly answer: Answer }> => {
    const { status, stdout } = await run([CHECK, 'config', '--json', at('etc')])
    return { status, answer: JSON.parse(stdout) as Answer }
  }
  /** Accounts come from the name service, as most sites have it: the table's etcPath is nowhere. */
  const base = `${table.base}allowLibcPwdCalls=1\npopulateEtcDynamically=1\n`
  const program = (name: string, mode = 0o755) => {
    writeFileSync(at(name), '#!/bin/sh\n')
    chmodSync(at(name), mode)
    return at(name)
  }

  it.each(table.cases)('as the reference reads it: $name', async ({ name, added, mode, validate, accept }) => {
    const missing = /^missing (\w+)/.exec(name)?.[1]
    const text = missing === undefined ? table.base + added : table.base.replace(new RegExp(`^${missing}=.*\n`, 'm'), '')
    write(`allowLibcPwdCalls=1\npopulateEtcDynamically=1\n${text}`, Number(mode))
    const { status, answer } = await asked()
    // 255 looks at what the file names, 0 at the text alone.
    const fine = answer.error === undefined && (validate === 0 || status === 0)
    expect(fine, JSON.stringify(answer)).toBe(accept)
    if (answer.error !== undefined) expect(answer.error.code).toMatch(/^UDIROOT_CONF_(UNSAFE|INVALID)$/)
    else expect(status).toBe(answer.wrong?.length === 0 ? 0 : 1)
  })

  it('attack 44: what root runs or shows is root’s, below directories that nobody else can change', async () => {
    const tree = at('site/hooks/tree')
    mkdirSync(tree, { mode: 0o755 })
    const keys = { sitePreMountHook: '', sitePostMountHook: '', mkfsXfsPath: '', module_gpu_roothook: '', optUdiImage: tree, module_gpu_copyPath: tree, perNodeCachePath: tree }
    for (const [key, directory] of Object.entries(keys)) {
      const named = directory === '' ? program('site/hooks/hook') : directory
      const said = async (): Promise<string> => {
        const { status, answer } = await asked()
        expect(status).toBe(answer.wrong?.length === 0 ? 0 : 1)
        return answer.wrong?.join('\n') ?? JSON.stringify(answer)
      }
      write(`${base}${key}=${named}\n`)
      const line = base.split('\n').length
      const about = (what: string) => expect.stringMatching(new RegExp(`^udiRoot\\.conf:${line}: ${key}: ${what}$`)) as string
      expect(await said(), key).toBe('')
      for (const place of [named, at('site/hooks'), at('site')]) {
        chmodSync(place, 0o775)
        expect(await said(), `${key} ${place}`).toEqual(about(`${place} can be changed by others \\(mode 0775\\)`))
        chmodSync(place, 0o757)
        expect(await said()).toEqual(about(`${place} can be changed by others \\(mode 0757\\)`))
        chmodSync(place, 0o755)
        chownSync(place, user, 0)
        expect(await said()).toEqual(about(`${place} belongs to uid ${user}, not to root`))
        chownSync(place, 0, 0)
      }
      // A link of root's is followed, and what it leads through is looked at too.
      symlinkSync('../site/hooks', at('etc/link'))
      write(`${base}${key}=${named.replace(at('site/hooks'), at('etc/link'))}\n`)
      expect(await said()).toBe('')
      chmodSync(at('site/hooks'), 0o777)
      expect(await said()).toEqual(about(`${at('etc/\\.\\./site/hooks')} can be changed by others \\(mode 0777\\)`))
      chmodSync(at('site/hooks'), 0o755)
      rmSync(at('etc/link'))
      symlinkSync('loop', at('site/hooks/loop'))
      write(`${base}${key}=${at('site/hooks/loop')}\n`)
      expect(await said()).toEqual(about(`${at('site/hooks/loop')}: Too many levels of symbolic links`))
      rmSync(at('site/hooks/loop'))
      write(`${base}${key}=${at('site/hooks/nothing')}\n`)
      expect(await said()).toEqual(about(`${at('site/hooks/nothing')}: No such file or directory`))
      write(`${base}${key}=${directory === '' ? tree : program('site/hooks/hook')}\n`)
      expect(await said()).toEqual(about(`\\S+ is no ${directory === '' ? 'executable file' : 'directory'}`))
      if (directory !== '') continue
      program('site/hooks/hook', 0o644)
      write(`${base}${key}=${named}\n`)
      expect(await said()).toEqual(about(`${named} is no executable file`))
    }
  })

  it('finds accounts that are missing where starts read them from etcPath', async () => {
    const etc = at('site/accounts')
    const files = { passwd: 'root:x:0:0::/:/bin/sh\n', group: 'root:x:0:\n' }
    const wrong = async (settings: string): Promise<readonly string[] | undefined> => {
      write(`${base.replace(/^etcPath=.*$/m, `etcPath=${etc}`)}${settings}`)
      return (await asked()).answer.wrong
    }
    const line = base.split('\n').findIndex((text) => text.startsWith('etcPath=')) + 1
    const about = (what: string): string => `udiRoot.conf:${line}: etcPath: ${what}`
    for (const settings of ['allowLibcPwdCalls=0\n', 'populateEtcDynamically=0\n']) {
      expect(await wrong(settings)).toEqual([about(`${etc}: No such file or directory`)])
      mkdirSync(etc, { mode: 0o755 })
      expect(await wrong(settings)).toEqual([about(`${etc}/passwd can't be used`), about(`${etc}/group can't be used`)])
      writeFileSync(join(etc, 'passwd'), files.passwd, { mode: 0o644 })
      expect(await wrong(settings)).toEqual([about(`${etc}/group can't be used`)])
      writeFileSync(join(etc, 'group'), files.group, { mode: 0o644 })
      expect(await wrong(settings)).toEqual([])
      chmodSync(join(etc, 'group'), 0o666)
      expect(await wrong(settings)).toEqual([about(`${etc}/group can't be used`)])
      rmSync(etc, { recursive: true })
      expect(await wrong('')).toEqual([])
    }
  })

  it('attack 44: the files, as shifter-check tells it', async () => {
    const code = async () => (await asked()).answer.error?.code
    expect(await code()).toBe('UDIROOT_CONF_MISSING')
    write(base)
    expect(await code()).toBeUndefined()
    write('imageOwner=0\n', 0o666, 'runtime.conf')
    expect(await code()).toBe('UDIROOT_CONF_UNSAFE')
    expect((await asked()).answer.error?.message).toBe(`${at('etc/runtime.conf')} is no file of root's that root alone can change`)
    write('imageOwner=0\r\n', 0o644, 'runtime.conf')
    expect(await code()).toBe('UDIROOT_CONF_INVALID')
    rmSync(at('etc/runtime.conf'))
    chmodSync(home, 0o775)
    expect(await code()).toBe('UDIROOT_CONF_UNSAFE')
  })

  it('is explained: every key, its value, where that comes from and what it means', async () => {
    write(`${base}siteFs=/home\nsiteFs=/data:/data:ro\nmodule_mpich_siteEnv=A=1\nkmodBasePath=/x\nmodule_mpich_wrong=1\n`)
    write('# nothing\nimageOwner=990\n', 0o644, 'runtime.conf')
    const { status, stdout } = await run([CHECK, 'config', at('etc')])
    expect(status).toBe(0)
    const keys = Object.entries({ ...udiRootKeys, ...runtimeKeys }) as Array<[string, { readonly text: string; readonly status?: string; readonly default?: string }]>
    const flat = stdout.replaceAll(/\s+/g, ' ')
    for (const [key, { text, status: kind }] of keys) {
      if (kind === 'deprecated' || kind === 'ignored') continue
      expect(stdout).toMatch(new RegExp(`^  ${key.replace('NAME', 'mpich')} (= |is not set)`, 'm'))
      expect(flat).toContain(text)
    }
    expect(stdout).toContain(`  imageOwner = 990    (runtime.conf:2)\n`)
    expect(stdout).toContain(`  siteFs = /home;/data:/data:ro    (udiRoot.conf:${base.split('\n').length + 1})\n`)
    expect(stdout).toContain('  mountHome = 1    (default)\n')
    expect(stdout.split('\n').filter((line) => line.startsWith('warning: '))).toEqual([
      expect.stringContaining('kmodBasePath is deprecated and has no effect') as string, expect.stringContaining('module_mpich_wrong is no known setting') as string,
    ])
    const { answer } = await asked()
    expect(answer.origins?.runtime['imageOwner']).toBe('runtime.conf:2')
    expect(answer.origins?.udiRoot['defaultImageType']).toBe('default')
    expect(answer.origins?.udiRoot['sitePreMountHook']).toBeUndefined()
    expect(answer.warnings?.length).toBe(2)
  })

  it('is refused in one line on standard error, or as JSON', async () => {
    write('nonsense=1\n')
    const told = await run([CHECK, 'config', at('etc')])
    expect(told).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(/^shifter-check: UDIROOT_CONF_INVALID: .*udiRoot\.conf:1: nonsense is an unknown key\. [^\n]*\n$/) as string })
    expect((await asked()).answer.error?.code).toBe('UDIROOT_CONF_INVALID')
    expect((await run([CHECK, 'config', at('nowhere')])).stderr).toMatch(/^shifter-check: UDIROOT_CONF_MISSING: /)
  })
})

describe('shifter-check node', () => {
  interface Check {
    readonly name: string
    readonly ok: boolean
    readonly detail: string
    readonly advice?: boolean
  }
  const UNPRIVILEGED = ['squashfuse', 'fuse', 'user-namespaces']
  /** In a mount namespace where the script has changed something, as root or as an ordinary user. */
  const node = async (script: string, as: readonly string[] = []): Promise<{ readonly status: number | null; readonly ok: boolean; readonly told: ReadonlyMap<string, Check> }> => {
    const { status, stdout } = await run(['unshare', '--mount', 'sh', '-ec', `${script}\nexec "$@"`, 'sh', ...as, CHECK, 'node'])
    const { ok, checks } = JSON.parse(stdout) as { readonly ok: boolean; readonly checks: readonly Check[] }
    return { status, ok, told: new Map(checks.filter(({ name }) => UNPRIVILEGED.includes(name)).map((check) => [check.name, check])) }
  }
  const without = `mount --bind /usr/bin/true ${join(DEFAULT_PREFIX, 'bin/shifter')}`
  // Another device file in the place of /dev/fuse, since a change of its mode would be everybody's.
  const lacking = `${['squashfuse', 'squashfuse_ll'].map((name) => `mount --bind /dev/null /usr/bin/${name}`).join('\n')}
    mount -t tmpfs hidden /mnt; mknod -m 600 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse`

  it('tells what the mode without setuid has, to root and to users', async () => {
    const { uid, gid } = (await ensureTestAccounts()).userA
    for (const as of [[], ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']]) {
      const { status, ok, told } = await node(':', as)
      expect([status, ok, [...told.values()].map((check) => [check.name, check.ok, check.advice])]).toEqual([0, true, UNPRIVILEGED.map((name) => [name, true, true])])
      expect(told.get('squashfuse')?.detail).toMatch(/^\/.*\/squashfuse(_ll)?$/)
    }
  })

  it('tells what it lacks: as advice where the setuid program is there, as a fault where it is not', async () => {
    for (const [script, advice] of [[lacking, true], [`${lacking}\n${without}`, undefined]] as const) {
      const { status, ok, told } = await node(script)
      expect([status, ok]).toEqual(advice ? [0, true] : [1, false])
      expect(told.get('squashfuse')).toEqual({ name: 'squashfuse', ok: false, detail: 'there is no squashfuse_ll or squashfuse in PATH; install squashfuse', ...(advice && { advice }) })
      expect(told.get('fuse')).toEqual({ name: 'fuse', ok: false, detail: '/dev/fuse has mode 0600; with 0666 everybody can open it', ...(advice && { advice }) })
    }
    const { told } = await node('mount -t tmpfs hidden /mnt; : > /mnt/file; mount --bind /mnt/file /dev/fuse')
    expect(told.get('fuse')).toMatchObject({ ok: false, detail: '/dev/fuse is missing; load the fuse module' })
  })

  it('tells that ordinary users can make no namespace, though root could', async () => {
    const root = mkdtempSync('/opt/shifter-sdk-chroot-')
    try {
      const { told, ok } = await node(`mount --rbind / ${root}; set -- chroot ${root} "$@"`)
      expect(ok).toBe(true)
      expect(told.get('user-namespaces')).toEqual({
        name: 'user-namespaces', ok: false, advice: true, detail: expect.stringMatching(/^an ordinary user can't make them: Operation not permitted; user\.max_user_namespaces, /) as string,
      })
    } finally {
      rmSync(root, { recursive: true })
    }
  })
})
