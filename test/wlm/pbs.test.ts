/**
 * A real complex of PBS: wherever qsub, qmgr and pbsnodes are on root's path and this host is one of its nodes. What needs a second node says so.
 */
import * as Effect from 'effect/Effect'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { jobCases } from 'shifter-sdk/wlm-testkit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { adapter } from '../../src/wlm/pbs/index.js'
import { type Account, runAs } from '../harness/accounts.js'
import { useNode } from '../harness/node.js'
import { own, userA, userB } from '../harness/people.js'
import { run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage, type TestImage } from '../native/fixture.js'

const shell = (command: string): string => {
  try {
    return execFileSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}
const missing = ['qsub', 'qmgr', 'pbsnodes'].filter((program) => shell(`command -v ${program}`) === '')
const listed = missing.length > 0 ? '' : shell('pbsnodes -a')
const nodes = [...listed.matchAll(/^(\S+)\n(?:\s+.*\n)*?\s+state = (?:free|job-busy)/gm)].map(([, name]) => name)
const here = hostname().split('.')[0] ?? ''
const theirs = listed === '' ? '' : shell('qmgr -c "list hook shifter" 2>/dev/null')
const reason = missing.length > 0 ? `there is no ${missing.join(', no ')} on root's path` : nodes.length === 0 ? 'no node of PBS is free'
  : !nodes.some((name) => name?.split('.')[0] === here) ? `this host, ${here}, is no node of the complex` : theirs !== '' ? 'the complex has a hook "shifter" of its own' : undefined
if (reason !== undefined) console.log(`PBS: skipped, since ${reason}`)
if (reason === undefined && nodes.length < 2) console.log('PBS: cases of several nodes are skipped, since there is one')

const conf = reason === undefined ? readFileSync('/etc/pbs.conf', 'utf8') : ''
const setting = (name: string, otherwise: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(conf)?.[1] ?? otherwise
const SPOOL = setting('PBS_HOME', '/var/spool/pbs')
const EXEC = setting('PBS_EXEC', '/opt/pbs')
const INSIDE = 'PRETTY_NAME="Test image"\n'
const PATH = process.env['PATH'] ?? ''

describe.skipIf(reason !== undefined)('a complex of PBS', () => {
  const workspace = useWorkspace('pbs-real')
  // What a job of PBS needs inside; pbsdsh is the host's, with its libraries. /run/shifter is each node's own.
  const site = ['/var/lib/shifter-sdk-test', SPOOL, EXEC, '/var/tmp', '/usr/lib', '/lib64'].map((path) => `${path}:${path}`)
  const node = useNode('pbs-real', { siteFs: site, runtime: { runDirectory: '/run/shifter' } })
  const image: { current?: TestImage } = {}
  const rendered = (name: string): string => join(node.prefix, 'pbs', name)
  const pbs = () => adapter({ prefix: node.prefix, directory: join(node.prefix, 'pbs'), every: 30 })
  const qmgr = (lines: string) => run(['qmgr'], { input: `${lines}\n` })

  /** The nodes are sent a hook by and by; this one has it when its file says so. */
  const importHook = async (content: string): Promise<void> => {
    const marked = `${content}\n# ${process.hrtime.bigint()}\n`
    writeFileSync(rendered('shifter_hook.py'), marked)
    await qmgr(`import hook shifter application/x-python default ${rendered('shifter_hook.py')}`)
    const file = join(SPOOL, 'mom_priv/hooks/shifter.PY')
    await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toBe(marked), { timeout: 60_000, interval: 200 })
    // Others follow; a job that begins on all of them tells.
    if (nodes.length > 1) await vi.waitFor(async () => expect((await qsub(userA, [...scatter, ...asks()], 'cat /etc/os-release')).out).toBe(INSIDE), { timeout: 60_000 })
  }
  const original = () => Effect.runPromise(pbs().render).then((files) => files.find(({ name }) => name === 'shifter_hook.py')?.content ?? '')
  const asks = () => [`-lshifter_image=id:${image.current?.record.id}`]
  const scatter = [`-lselect=${Math.min(nodes.length, 2)}:ncpus=1`, '-lplace=scatter']

  interface Ran { readonly id: string; readonly status: number | null; readonly out: string; readonly err: string }
  /** A job from its submission to its end, as PBS itself waits for it. */
  const qsub = async (as: Account, options: readonly string[], script?: string): Promise<Ran> => {
    const directory = workspace.at(`job-${process.hrtime.bigint()}`)
    mkdirSync(directory)
    own(directory, as, 0o755)
    const file = join(directory, 'script')
    if (script !== undefined) writeFileSync(file, `#!/bin/sh\n${script}\n`)
    const words = [...(script === undefined ? [] : [file])]
    const at = ['-o', join(directory, 'out'), '-e', join(directory, 'err')]
    const result = await runAs(as, ['qsub', '-Wblock=true', ...at, ...options, ...words], { env: { PATH, HOME: as.home, USER: as.name, LOGNAME: as.name }, cwd: as.home })
    const id = result.stdout.trim()
    if (id === '') return { id, status: result.status, out: '', err: result.stderr }
    // PBS tells the end of a job before it has copied its output.
    if (!options.includes('-J')) await vi.waitFor(() => expect(['out', 'err'].filter((name) => !existsSync(join(directory, name)))).toEqual([]), { timeout: 60_000 })
    const read = (name: string): string => {
      try {
        return readFileSync(join(directory, name), 'utf8')
      } catch {
        return ''
      }
    }
    return { id, status: result.status, out: read('out'), err: read('err') }
  }
  const roots = async () => (await runOk([node.sbin('unsetupRoot'), '--list'])).stdout

  beforeAll(async () => {
    image.current = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'pbs' })
    mkdirSync(join(node.prefix, 'pbs'), { recursive: true })
    const files = await Effect.runPromise(pbs().render)
    for (const { content, mode, name } of files) writeFileSync(rendered(name), content, { mode })
    await qmgr(readFileSync(rendered('shifter.qmgr'), 'utf8'))
    expect((await Effect.runPromise(pbs().check)).filter(({ ok }) => !ok)).toEqual([])
    await importHook(await original())
  }, 300_000)
  afterAll(async () => {
    await qmgr('delete hook shifter')
  })

  it('runs a script inside of its image, and keeps its status', async () => {
    expect(await qsub(userA, asks(), 'cat /etc/os-release; exit 3')).toMatchObject({ status: 3, out: INSIDE, err: '' })
    expect(await roots()).not.toMatch(/^\d+\./m)
  })

  it('tells the user what is wrong at submission', async () => {
    expect((await qsub(userA, ['-lshifter_image=docker:no/such:1'], 'true')).err).toContain('shifter: IMAGE_NOT_FOUND: ')
    expect((await qsub(userA, ['-lshifter_volumes=/a:/b'], 'true')).err).toContain('without shifter_image')
  })

  it('leaves a job without an image alone', async () => {
    expect((await qsub(userA, [], 'cat /etc/os-release')).out).toBe(readFileSync('/etc/os-release', 'utf8'))
  })

  it('runs a program in place of a script, its arguments as they are', async () => {
    const words = ['a,b', `q'"q`, 'new\nline', 'ü<&>%41', 'sp ace']
    expect((await qsub(userA, [...asks(), '--', '/bin/printf', '%s|', ...words])).out).toBe(words.map((word) => `${word}|`).join(''))
  })

  it('stays inside with a shell of the user', async () => {
    expect((await qsub(userA, ['-S', '/bin/sh', ...asks()], 'cat /etc/os-release')).out).toBe(INSIDE)
    expect(await qsub(userA, ['-S', '/bin/none', ...asks()], 'cat /etc/os-release')).toMatchObject({ status: 127, out: '' })
  })

  it('runs jobs of two users beside each other', async () => {
    const both = await Promise.all([userA, userB].map((user) => qsub(user, asks(), 'cat /etc/os-release; id -u')))
    expect(both.map(({ out }) => out)).toEqual([userA, userB].map(({ uid }) => `${INSIDE}${uid}\n`))
  })

  it('runs an array', async () => {
    const directory = workspace.at('array')
    mkdirSync(directory)
    own(directory, userA, 0o755)
    await qsub(userA, ['-J', '1-2', ...asks()], `cat /etc/os-release > ${directory}/$PBS_ARRAY_INDEX`)
    expect(['1', '2'].map((index) => readFileSync(join(directory, index), 'utf8'))).toEqual([INSIDE, INSIDE])
  })

  it('runs an interactive job', async () => {
    const result = await runAs(userA, ['script', '-qec', `qsub -I ${asks().join(' ')}`, '/dev/null'], {
      env: { PATH, HOME: userA.home, USER: userA.name, LOGNAME: userA.name, TERM: 'dumb' }, cwd: userA.home, input: 'cat /etc/os-release\nexit\n',
    })
    expect(result.stdout.replaceAll('\r', '')).toContain(INSIDE)
  })

  it.skipIf(nodes.length < 2)('runs tasks of pbsdsh inside, on every node', async () => {
    const { out } = await qsub(userA, [...scatter, ...asks()], `${EXEC}/bin/pbsdsh -- /bin/sh -c 'cat /etc/os-release; echo node $PBS_NODENUM'`)
    expect(out.split('\n').sort()).toEqual(['', INSIDE.trim(), INSIDE.trim(), 'node 0', 'node 1'])
  })

  it.each(['os._exit(5)', 'os.kill(os.getpid(), 9)', 'sys.exit(3)'])('stays inside though the launch hook ends by %s', async (how) => {
    const source = await original()
    await importHook(`import os, sys, pbs\nif pbs.event().type == pbs.EXECJOB_LAUNCH: ${how}\n${source}`)
    try {
      expect((await qsub(userA, asks(), 'cat /etc/os-release')).out).toBe(INSIDE)
      expect((await qsub(userA, [...asks(), '--', '/bin/cat', '/etc/os-release'])).out).toBe(INSIDE)
    } finally {
      await importHook(source)
    }
  })

  it('takes the root of a deleted job down', async () => {
    const marker = workspace.at('began')
    mkdirSync(marker)
    own(marker, userA, 0o755)
    const job = qsub(userA, asks(), `touch ${marker}/yes; while true; do :; done`)
    await vi.waitFor(() => expect(shell(`ls ${marker}`)).toBe('yes\n'), { timeout: 60_000 })
    const id = shell(`qselect -u ${userA.name} -s R`).trim()
    expect(await roots()).toContain(id)
    await runOk(['qdel', id])
    await job
    await vi.waitFor(async () => expect(await roots()).not.toContain(id), { timeout: 60_000 })
  })

  // PBS takes jobs of root where its server says so alone.
  const rootMay = reason === undefined && /^\s*acl_roots = .*\broot\b/m.test(shell('qmgr -c "list server acl_roots"'))
  if (reason === undefined && !rootMay) console.log('PBS: the gateway\'s own jobs are skipped, since acl_roots of the server does not name root')
  it.skipIf(!rootMay).each(jobCases(adapter().batch, '/').map(({ name }, i) => [name, i] as const))("as a place for the gateway's own jobs %s", async (_, i) => {
    await Effect.runPromise(jobCases(adapter().batch, workspace.path)[i]?.check ?? Effect.die('no case'))
  })
})
