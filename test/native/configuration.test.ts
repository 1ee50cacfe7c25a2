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
  const program = (name: string, mode = 0o755) => {
    writeFileSync(at(name), '#!/bin/sh\n')
    chmodSync(at(name), mode)
    return at(name)
  }

  it.each(table.cases)('as the reference reads it: $name', async ({ name, added, mode, validate, accept }) => {
    const missing = /^missing (\w+)/.exec(name)?.[1]
    const base = missing === undefined ? table.base + added : table.base.replace(new RegExp(`^${missing}=.*\n`, 'm'), '')
    write(base, Number(mode))
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
      write(`${table.base}${key}=${named}\n`)
      const line = table.base.split('\n').length
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
      write(`${table.base}${key}=${named.replace(at('site/hooks'), at('etc/link'))}\n`)
      expect(await said()).toBe('')
      chmodSync(at('site/hooks'), 0o777)
      expect(await said()).toEqual(about(`${at('etc/\\.\\./site/hooks')} can be changed by others \\(mode 0777\\)`))
      chmodSync(at('site/hooks'), 0o755)
      rmSync(at('etc/link'))
      symlinkSync('loop', at('site/hooks/loop'))
      write(`${table.base}${key}=${at('site/hooks/loop')}\n`)
      expect(await said()).toEqual(about(`${at('site/hooks/loop')}: Too many levels of symbolic links`))
      rmSync(at('site/hooks/loop'))
      write(`${table.base}${key}=${at('site/hooks/nothing')}\n`)
      expect(await said()).toEqual(about(`${at('site/hooks/nothing')}: No such file or directory`))
      write(`${table.base}${key}=${directory === '' ? tree : program('site/hooks/hook')}\n`)
      expect(await said()).toEqual(about(`\\S+ is no ${directory === '' ? 'executable file' : 'directory'}`))
      if (directory !== '') continue
      program('site/hooks/hook', 0o644)
      write(`${table.base}${key}=${named}\n`)
      expect(await said()).toEqual(about(`${named} is no executable file`))
    }
  })

  it('attack 44: the files, as shifter-check tells it', async () => {
    const code = async () => (await asked()).answer.error?.code
    expect(await code()).toBe('UDIROOT_CONF_MISSING')
    write(table.base)
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
    write(`${table.base}siteFs=/home\nsiteFs=/data:/data:ro\nmodule_mpich_siteEnv=A=1\nkmodBasePath=/x\nmodule_mpich_wrong=1\n`)
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
    expect(stdout).toContain(`  siteFs = /home;/data:/data:ro    (udiRoot.conf:${table.base.split('\n').length + 1})\n`)
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
