/**
 * The numbered attacks on the programs of a node, tried against the installed ones under each profile (test/harness/profiles.ts). Numbers are
 * those of the attack checklist; each test says what an attacker does and what must come of it. Here are those on the start itself; more are in
 * surroundings.test.ts, volumes.test.ts, hidden.test.ts and modules.test.ts, what only one profile has in prepared.test.ts, faults.test.ts and
 * userns.test.ts.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runAs } from '../harness/accounts.js'
import { nothingLeft } from '../harness/leftovers.js'
import { compileLaunch, useNode } from '../harness/node.js'
import { service, userA } from '../harness/people.js'
import { PROFILES } from '../harness/profiles.js'
import { run, runOk, type ProcessResult } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { ABSENT } from './absent.js'
import { accountsAttacks } from './attacks/accounts.js'
import { callingAttacks } from './attacks/calling.js'
import { configurationAttacks } from './attacks/configuration.js'
import { descriptorsAttacks } from './attacks/descriptors.js'
import { groundOf } from './attacks/ground.js'
import { imagesAttacks } from './attacks/images.js'
import { jobsAttacks } from './attacks/jobs.js'
import { linksAttacks } from './attacks/links.js'
import { rightsAttacks } from './attacks/rights.js'
import { busyboxRoot, publishMeta, pullTestImage, refusal, type TestImage } from './fixture.js'

/** In the environment of everything started here, so that what is left over can be told from other tests' programs. */
const MARK = 'SHIFTER_ATTACK_TESTS'

// A prefix of its own: these tests spoil configuration and image path.
const node = useNode('attacks', {})
const { images: IMAGES } = node
const LAUNCH = join(node.prefix, 'launch')
const workspace = useWorkspace('attacks')
let image: TestImage

beforeAll(async () => {
  await compileLaunch(LAUNCH)
  image = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'good', config: { Env: ['PATH=/bin'] } })
})
afterAll(() => nothingLeft(node.prefix, MARK))

it('what is tried under which profile', () => {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const texts = readdirSync(here, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts') || name.startsWith('attacks/'))
    .map((name) => readFileSync(join(here, name), 'utf8').replaceAll("\\'", "'")).join('\n')
  for (let number = 23; number <= 45; number++) expect([number, texts.includes(`attack ${number}: `)]).toEqual([number, true])
  for (const { attack } of ABSENT) expect([attack, texts.includes(attack)]).toEqual([attack, true])
  console.info(`All attacks 23 to 45 are tried under: ${PROFILES.join(', ')}. But not:`)
  console.table(ABSENT.map(({ attack, profiles, reason }) => ({ attack, under: profiles.join(', '), reason })))
})

describe.each(PROFILES)('%s', (name) => {
  const ground = groundOf(name, node, workspace, MARK, LAUNCH, () => image)
  const { attack, profile, asUser, good } = ground

  attack('attack 23: a start is what this profile says', async () => {
    const result = await asUser(good('readlink /proc/self/ns/mnt; cat /proc/self/uid_map; ls /var/hostsfile 2>/dev/null; true'))
    const [space = '', map = '', hosts] = result.stdout.split('\n')
    expect(result).toMatchObject({ status: 0, stderr: '' })
    expect(profile.pinned().includes(space)).toBe(profile.joined)
    expect(map.trim().split(/ +/)).toEqual(profile.userns ? [String(userA.uid), '0', '1'] : ['0', '0', '4294967295'])
    expect(hosts).toBe(profile.joined ? '/var/hostsfile' : '')
    expect(space).not.toBe(readlinkSync('/proc/self/ns/mnt'))
  })

  callingAttacks(ground)
  descriptorsAttacks(ground)
  imagesAttacks(ground)
  linksAttacks(ground)
  accountsAttacks(ground)
  rightsAttacks(ground)
  configurationAttacks(ground)
  jobsAttacks(ground)
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

  it('attack 44: what every start would miss is told of the node', async () => {
    const checks = async (udiRoot: Record<string, string>, siteFs: string[]) => {
      node.configure({ udiRoot, siteFs })
      const { status, stdout } = await asUser([node.native.bin('shifter-check'), 'node'])
      return { status, told: (JSON.parse(stdout) as { readonly checks: readonly { readonly name: string }[] }).checks.filter(({ name }) => name === 'siteFs' || name === 'usersToImport') }
    }
    const there = { name: 'siteFs', ok: true, detail: 'what is shown of the node is there' }
    const known = { name: 'usersToImport', ok: true, detail: 'the accounts are known' }
    expect(await checks({ usersToImport: 'nobody' }, ['/opt:/a', '/none:/cache:perNodeCache=size=1G'])).toEqual({ status: 0, told: [there, known] })
    const gone = { name: 'siteFs', ok: false, detail: '/opt/not-there: No such file or directory; /etc/passwd/x: Not a directory' }
    expect(await checks({ module_gone_siteFs: '/etc/passwd/x:/b', module_other_siteFs: '/not/default:/c', defaultModules: 'gone' }, ['/opt/not-there:/a'])).toEqual({ status: 1, told: [gone, known] })
    const started = await shifter([`--image=id:${ours}`, 'true'])
    expect([started.status, refusal(started)]).toEqual([1, 'SITE_FS_FAILED'])
    // A hook may bring it.
    expect(await checks({ sitePreMountHook: '/bin/true' }, ['/opt/not-there:/a'])).toEqual({ status: 0, told: [{ name: 'siteFs', ok: false, advice: true, detail: '/opt/not-there: No such file or directory' }, known] })
    const unknown = { name: 'usersToImport', ok: false, detail: 'nobody,daemon: there is no such account' }
    expect(await checks({ usersToImport: 'root nobody,daemon' }, [])).toEqual({ status: 1, told: [there, unknown] })
    const etcPath = join(node.prefix, 'etc/accounts')
    mkdirSync(etcPath, { recursive: true, mode: 0o755 })
    writeFileSync(join(etcPath, 'passwd'), 'root:x:0:0::/:/bin/sh\nnobodyelse:x:1:1::/:/bin/sh\n')
    writeFileSync(join(etcPath, 'group'), 'root:x:0:\n')
    expect((await checks({ usersToImport: 'root nobodyelse', allowLibcPwdCalls: '0', etcPath }, [])).told).toEqual([there, known])
    expect((await checks({ usersToImport: 'root nobody', allowLibcPwdCalls: '0', etcPath }, [])).told).toEqual([there, { ...unknown, detail: 'nobody: there is no such account' }])
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
