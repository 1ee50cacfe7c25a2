/**
 * A real complex of PBS: wherever qsub, qmgr and pbsnodes are on root's path and this host is one of its nodes. What needs a second node says so.
 */
import * as Effect from 'effect/Effect'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jobCases } from 'shifter-sdk/wlm-testkit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { adapter } from '../../src/wlm/pbs/index.js'
import type { Account } from '../harness/accounts.js'
import { useNode } from '../harness/node.js'
import { asUser, clearMarks, deleteJobs, findComplex, on, ownDirectory, prepareServer, PREFIX_NAME, qmgr, type Ran, submit } from '../harness/pbsComplex.js'
import { userA, userB } from '../harness/people.js'
import { run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage, type TestImage } from '../native/fixture.js'

const complex = findComplex()
const found = typeof complex === 'string' ? undefined : complex
if (typeof complex === 'string') console.log(`PBS: skipped, since ${complex}`)
const { exec, here, hooks, others, spool } = found ?? { exec: '', here: '', hooks: '', others: [], spool: '' }
if (found !== undefined && others.length === 0) console.log('PBS: cases of several nodes are skipped, since there is one')

const INSIDE = 'PRETTY_NAME="Test image"\n'
const LOOK = 'cat /etc/os-release'
const IS_INSIDE = 'grep -q "Test image" /etc/os-release'
const SLOW = { timeout: 120_000, interval: 500 }

describe.skipIf(found === undefined)('a complex of PBS', () => {
  const workspace = useWorkspace(PREFIX_NAME)
  // What a job of PBS needs inside; pbsdsh is the host's, with its libraries. /run/shifter is each node's own.
  const site = ['/var/lib/shifter-sdk-test', spool, exec, '/var/tmp', '/lib', '/lib64', '/usr/lib', '/usr/lib64'].filter((path) => path !== '' && existsSync(path)).map((path) => `${path}:${path}`)
  const node = useNode(PREFIX_NAME, { siteFs: site, runtime: { runDirectory: '/run/shifter' } })
  const image: { current?: TestImage } = {}
  /** The other nodes that see what is installed here, know the users, and take jobs; and why another one is not among them. */
  const sharing: string[] = []
  const why: string[] = []
  const server: { back?: () => Promise<void> } = {}
  const rendered = (name: string): string => join(node.prefix, 'pbs', name)
  const pbs = () => adapter({ prefix: node.prefix, directory: join(node.prefix, 'pbs'), every: 10, excludeHosts: others.filter((name) => !sharing.includes(name)), jobOptions: on(here) })
  const asks = () => [`-lshifter_image=id:${image.current?.record.id}`]
  const directory = (as: Account) => ownDirectory(workspace.at(as.name), as)
  /** A job of this node; with `-l select`, of those. */
  const qsub = (as: Account, options: readonly string[], script?: string, timeoutMs?: number): Promise<Ran> =>
    submit(as, directory(as), options.some((option) => option.startsWith('-lselect')) ? options : [...on(here), ...options], script, timeoutMs)
  const statusAt = async (host: string, options: readonly string[], script: string): Promise<number | null> => (await qsub(userA, [...on(host), ...options], script, 60_000)).status
  const roots = async () => (await runOk([node.sbin('unsetupRoot'), '--list'])).stdout
  const attribute = async (id: string, name: string): Promise<string> =>
    new RegExp(`^    ${name} = (.*)$`, 'm').exec((await run(['qstat', '-xf', id])).stdout.replaceAll('\n\t', ''))?.[1] ?? ''

  /** The nodes are sent a hook by and by; this one has it when its file says so, another one when a job of it runs inside. */
  const importHook = async (content: string): Promise<void> => {
    const marked = `${content}\n# ${process.hrtime.bigint()}\n`
    writeFileSync(rendered('shifter_hook.py'), marked)
    await qmgr(`import hook shifter application/x-python default ${rendered('shifter_hook.py')}`)
    await vi.waitFor(() => expect(readFileSync(join(hooks, 'shifter.PY'), 'utf8')).toBe(marked), SLOW)
  }
  const original = () => Effect.runPromise(pbs().render).then((files) => files.find(({ name }) => name === 'shifter_hook.py')?.content ?? '')
  /** A job that names no image that there is: a node with the hook refuses it, and one without knows no such word. */
  const hasNoHook = async (host: string): Promise<void> => expect([host, await statusAt(host, ['-lshifter_image=none'], 'true')]).toEqual([host, 0])

  beforeAll(async () => {
    server.back = await prepareServer()
    image.current = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'pbs' })
    for (const host of others) {
      const sees = `test -x ${node.prefix}/libexec/shifter/shifter-pbs && test -d ${node.images} && cd ${userA.home}`
      if ((await statusAt(host, [], sees)) === 0) sharing.push(host)
      else why.push(`${host} runs no job of ${userA.name}, or does not see ${node.prefix}`)
    }
    mkdirSync(join(node.prefix, 'pbs'), { recursive: true })
    const files = await Effect.runPromise(pbs().render)
    for (const { content, mode, name } of files) writeFileSync(rendered(name), content, { mode })
    await qmgr(readFileSync(rendered('shifter.qmgr'), 'utf8'))
    expect((await Effect.runPromise(pbs().check)).filter(({ ok }) => !ok)).toEqual([])
    await importHook(await original())
    for (const host of [here, ...sharing]) await vi.waitFor(async () => expect([host, await statusAt(host, asks(), IS_INSIDE)]).toEqual([host, 0]), SLOW)
  }, 600_000)

  // A node that has the hook, and no longer its programs, sets itself offline; so each has lost the hook before the programs go.
  afterAll(async () => {
    deleteJobs([userA, userB])
    await server.back?.()
    await qmgr('delete hook shifter')
    await vi.waitFor(async () => {
      // A pbs_mom that is told so while a job's end is dealt with answers that it did, and keeps the hook until it is told again.
      for (const host of [here, ...sharing]) await vi.waitFor(() => hasNoHook(host), { timeout: 10_000 }).catch(async (error: unknown) => {
        await qmgr('create hook shifter\nset hook shifter event = execjob_end\ndelete hook shifter')
        throw error
      })
    }, { timeout: 240_000, interval: 1_000 })
    clearMarks()
  }, 600_000)

  it('runs a script inside of its image, and keeps its status', async () => {
    expect(await qsub(userA, asks(), `${LOOK}; exit 3`)).toMatchObject({ status: 3, out: INSIDE, err: '' })
    await vi.waitFor(async () => expect(await roots()).not.toMatch(/^\d+\./m), SLOW)
  })

  it('tells the user what is wrong at submission', async () => {
    for (const [asked, told] of [
      [['-lshifter_image=docker:no/such:1'], 'shifter: IMAGE_NOT_FOUND: '],
      [['-lshifter_volumes=/a:/b'], 'without shifter_image'],
      [[...asks(), '-lshifter_volumes=/a:/etc'], 'shifter: VOLUME_INVALID: '],
      [[...asks(), '-lshifter_writable=/a:1T'], 'shifter: CACHE_REFUSED: '],
    ] as const) expect((await qsub(userA, asked, 'true')).err).toContain(told)
  })

  it('leaves a job without an image alone', async () => {
    expect((await qsub(userA, [], LOOK)).out).toBe(readFileSync('/etc/os-release', 'utf8'))
  })

  it('takes the request of #PBS lines', async () => {
    expect(await qsub(userA, [], `#PBS -l shifter_image=id:${image.current?.record.id}\n${LOOK}`)).toMatchObject({ status: 0, out: INSIDE })
  })

  it('runs a program in place of a script, its arguments as they are', async () => {
    const words = ['a,b', `q'"q`, 'new\nline', 'ü<&>%41', 'sp ace']
    expect((await qsub(userA, [...asks(), '--', '/bin/printf', '%s|', ...words])).out).toBe(words.map((word) => `${word}|`).join(''))
  })

  it('hands variables on as they are', async () => {
    expect((await qsub(userA, [...asks(), '-vA="x,y",B=ü'], 'echo "$A|$B"')).out).toBe('x,y|ü\n')
  })

  it('stays inside with a shell of the user', async () => {
    expect((await qsub(userA, ['-S', '/bin/sh', ...asks()], LOOK)).out).toBe(INSIDE)
    expect(await qsub(userA, ['-S', '/bin/none', ...asks()], LOOK)).toMatchObject({ status: 127, out: '' })
  })

  it('runs jobs of two users beside each other', async () => {
    const both = await Promise.all([userA, userB].map((user) => qsub(user, asks(), `${LOOK}; id -u`)))
    expect(both.map(({ out }) => out)).toEqual([userA, userB].map(({ uid }) => `${INSIDE}${uid}\n`))
  })

  it('runs an array', async () => {
    const results = ownDirectory(workspace.at('array'), userA)
    await qsub(userA, ['-J', '1-2', ...asks()], `${LOOK} > ${results}/$PBS_ARRAY_INDEX`)
    expect(['1', '2'].map((index) => readFileSync(join(results, index), 'utf8'))).toEqual([INSIDE, INSIDE])
  })

  it('runs an interactive job', async () => {
    const result = await asUser(userA, ['script', '-qec', `qsub -I ${[...on(here), ...asks()].join(' ')}`, '/dev/null'], { input: `${LOOK}\nexit\n` })
    expect(result.stdout.replaceAll('\r', '')).toContain(INSIDE)
  })

  it.skipIf(others.length === 0)('runs tasks of pbsdsh inside, on every node', async (context) => {
    const [other] = sharing
    if (other === undefined) return context.skip(why.join('; '))
    const { err, out } = await qsub(userA, [...on(here, other), ...asks()], `${exec}/bin/pbsdsh -- /bin/sh -c '${LOOK}; echo node $PBS_NODENUM'`)
    expect(err).toBe('')
    expect(out.split('\n').sort()).toEqual(['', INSIDE.trim(), INSIDE.trim(), 'node 0', 'node 1'])
    await vi.waitFor(async () => expect(await roots()).not.toMatch(/^\d+\./m), SLOW)
  })

  it.each(['os._exit(5)', 'os.kill(os.getpid(), 9)', 'sys.exit(3)'])('stays inside though the launch hook ends by %s', async (how) => {
    const source = await original()
    await importHook(`import os, sys, pbs\nif pbs.event().type == pbs.EXECJOB_LAUNCH: ${how}\n${source}`)
    try {
      expect((await qsub(userA, asks(), LOOK)).out).toBe(INSIDE)
      expect((await qsub(userA, [...asks(), '--', '/bin/cat', '/etc/os-release'])).out).toBe(INSIDE)
    } finally {
      await importHook(source)
    }
  })

  /** A job that goes on until it is told to end, once it has begun. */
  const running = async (options: readonly string[], script: string): Promise<{ readonly id: string; readonly end: Promise<Ran>; readonly at: string }> => {
    const at = ownDirectory(workspace.at(`running-${process.hrtime.bigint()}`), userA)
    const end = qsub(userA, options, `: > ${at}/$PBS_JOBID\n${script.replaceAll('AT', at)}`)
    const id = await vi.waitFor(() => readdirSync(at)[0] ?? expect.fail('it has not begun'), SLOW)
    return { id, end, at }
  }

  it('takes the root of a deleted job down', async () => {
    const { end, id } = await running(asks(), 'while true; do :; done')
    expect(await roots()).toContain(id)
    await runOk(['qdel', id])
    await end
    await vi.waitFor(async () => expect(await roots()).not.toContain(id), SLOW)
  })

  it('sets a node offline that has lost its programs, until they are back', async () => {
    const wrapper = join(node.prefix, 'libexec/shifter/shifter-pbs')
    const told = async () => (await run(['pbsnodes', '-v', here])).stdout
    renameSync(wrapper, `${wrapper}.gone`)
    try {
      await vi.waitFor(async () => expect(await told()).toMatch(/state = .*offline[^]*comment = shifter: this node can't run images/), SLOW)
    } finally {
      renameSync(`${wrapper}.gone`, wrapper)
    }
    for (const host of [here, ...sharing]) await vi.waitFor(async () => expect((await run(['pbsnodes', '-v', host])).stdout).not.toMatch(/offline|comment = shifter:/), SLOW)
  })

  it('runs a job again inside that was put back into the queue', async () => {
    const { at, end, id } = await running([...asks(), '-ry'], `if ! [ -e AT/second ]; then : > AT/second; while true; do :; done; fi; ${LOOK} > AT/seen`)
    await vi.waitFor(() => expect(existsSync(join(at, 'second'))).toBe(true), SLOW)
    await runOk(['qrerun', id])
    await end
    expect(readFileSync(join(at, 'seen'), 'utf8')).toBe(INSIDE)
    await vi.waitFor(async () => expect(await roots()).not.toContain(id), SLOW)
  })

  it('checks what is altered, and stays inside with an altered shell', async () => {
    const held = async (options: readonly string[]) => (await asUser(userA, ['qsub', '-h', '-koe', '-Nshifter', ...on(here), ...options, '--', '/bin/cat', '/etc/os-release'])).stdout.trim()
    const alter = (id: string, ...words: readonly string[]) => asUser(userA, ['qalter', ...words, id])
    const id = await held(asks())
    expect((await alter(id, '-lshifter_image=docker:no/such:1')).stderr).toContain('shifter: IMAGE_NOT_FOUND: ')
    expect((await alter(id, '-lshifter_image=')).status).not.toBe(0)
    expect((await alter(id, '-S', '/bin/sh')).status).toBe(0)
    const later = await held([])
    expect((await alter(later, ...asks())).status).toBe(0)
    for (const each of [id, later]) {
      await runOk(['qrls', each])
      await vi.waitFor(async () => expect(await attribute(each, 'job_state')).toBe('F'), SLOW)
      expect([each, await attribute(each, 'Exit_status'), readFileSync(join(userA.home, `shifter.o${each.split('.')[0]}`), 'utf8')]).toEqual([each, '0', INSIDE])
    }
  })

  it('lets a running job be altered in what is not the image', async () => {
    const { at, end, id } = await running(asks(), 'while ! [ -e AT/over ]; do :; done; cat /etc/os-release')
    expect((await asUser(userA, ['qalter', '-lwalltime=00:10:00', id])).stderr).toBe('')
    expect((await asUser(userA, ['qalter', '-lshifter_modules=none', id])).status).not.toBe(0)
    writeFileSync(join(at, 'over'), '')
    expect((await end).out).toBe(INSIDE)
  })

  it.each(found === undefined ? [] : jobCases(adapter().batch, '/').map(({ name }, i) => [name, i] as const))("as a place for the gateway's own jobs %s", async (_, i) => {
    await Effect.runPromise(jobCases(pbs().batch, workspace.path)[i]?.check ?? Effect.die('no case'))
  })
})
