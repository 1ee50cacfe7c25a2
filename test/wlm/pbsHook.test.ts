/** The hook of PBS: its own tests, in its own language, with the installed native programs and ordinary users. */
import * as Effect from 'effect/Effect'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { adapter } from '../../src/wlm/pbs/index.js'
import { useNode } from '../harness/node.js'
import { userA, userB } from '../harness/people.js'
import { run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage } from '../native/fixture.js'
import { DEFAULT_PREFIX } from '../harness/native.js'

const RUN = join(`${DEFAULT_PREFIX}-pbs`, 'run')
const workspace = useWorkspace('pbs')
// The script of a job lies in the spool of PBS, so a site shows that inside.
const node = useNode('pbs', { siteFs: ['/var/lib/shifter-sdk-test:/var/lib/shifter-sdk-test'], runtime: { runDirectory: RUN } })
const HOOK = fileURLToPath(new URL('../../hooks/pbs/shifter_hook.py', import.meta.url))
const TESTS = fileURLToPath(new URL('pbs', import.meta.url))

describe('the hook of PBS', () => {
  it.each(['test_failures', 'test_requests', 'test_jobs'])('%s', async (name) => {
    const image = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'pbs' })
    const secret = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'secret', allowUids: [userA.uid], config: { Env: ['SECRET=1'] } })
    const result = await run(['python3', '-B', '-W', 'error', '-m', 'unittest', '-v', name], {
      cwd: TESTS,
      timeoutMs: 540_000,
      env: {
        PATH: process.env['PATH'] ?? '',
        TEST_PREFIX: node.prefix, TEST_RUN: RUN, TEST_IMAGE: `id:${image.record.id}`, TEST_REFERENCE: image.reference, TEST_SECRET: `id:${secret.record.id}`,
        TEST_USER_A: userA.name, TEST_USER_B: userB.name,
      },
    })
    expect(result.stderr).toMatch(/^Ran [1-9]\d* tests? in .*\n\nOK\n$/m)
    expect(result.status).toBe(0)
  }, 600_000)

  it('is understood by Python 3.6', async () => {
    const parse = 'import ast, sys; ast.parse(sys.stdin.read(), feature_version=(3, 6))'
    expect((await run(['python3', '-c', parse], { input: readFileSync(HOOK) })).stderr).toBe('')
  })
})

describe('the scripts for Torque', () => {
  const roots = async () => (await runOk([node.sbin('unsetupRoot'), '--list'])).stdout
  const script = async (name: string): Promise<string> => {
    const file = workspace.at(name)
    const content = (await Effect.runPromise(adapter({ prefix: node.prefix }).render)).find((each) => each.name === name)?.content ?? ''
    writeFileSync(file, content, { mode: 0o755 })
    return file
  }

  it('prepare the root that a job asks for, and take it down', async () => {
    const image = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'torque' })
    const [prologue, epilogue] = [await script('torque.prologue'), await script('torque.epilogue')]
    const job = (id: string, list: string) => runOk([prologue, id, userA.name, userA.name, 'name', list])
    await job('7[1].srv', `neednodes=1,other=shifter_image:id:${image.record.id},walltime=01:00:00`)
    expect(await roots()).toContain('7[1].srv')
    await runOk([epilogue, '7[1].srv'])
    expect(await roots()).not.toContain('7[1].srv')
    // Another job asks for nothing, and its end is no fault.
    await job('8.srv', 'neednodes=1')
    await runOk([epilogue, '8.srv'])
    expect(await roots()).not.toContain('8.srv')
  })

  it('read nothing of a user as a command or an option', async () => {
    const prologue = await script('torque.prologue')
    const made = workspace.at('made')
    for (const [id, user, list] of [
      ['9.srv', userA.name, `other=shifter_image:docker:$(touch ${made})`], ['9.srv', userA.name, `other=shifter_image:--help:\`touch ${made}\``],
      [`9;touch ${made}`, userA.name, 'other=shifter_image:docker:debian:12'], ['../9', userA.name, 'other=shifter_image:docker:debian:12'],
      ['9.srv', '--help', `other=shifter_image:docker:debian:12,$(touch ${made})`], ['9.srv', 'nobody-here', 'other=shifter_image:docker:debian:12'],
    ] as const) await runOk([prologue, id, user, userA.name, `$(touch ${made})`, list])
    expect(existsSync(made)).toBe(false)
    expect(await roots()).not.toMatch(/^\.?\.?\/?9/m)
  })
})
