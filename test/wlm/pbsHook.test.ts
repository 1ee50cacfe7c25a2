/** The hook of PBS: its own tests, in its own language, with the installed native programs and ordinary users. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { useNode } from '../harness/node.js'
import { userA, userB } from '../harness/people.js'
import { run } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage } from '../native/fixture.js'
import { DEFAULT_PREFIX } from '../harness/native.js'

const RUN = join(`${DEFAULT_PREFIX}-pbs`, 'run')
const workspace = useWorkspace('pbs')
// The script of a job lies in the spool of PBS, so a site shows that inside.
const node = useNode('pbs', { siteFs: ['/var/lib/shifter-sdk-test:/var/lib/shifter-sdk-test'], runtime: { runDirectory: RUN } })
const TESTS = fileURLToPath(new URL('pbs', import.meta.url))

describe('the hook of PBS', () => {
  it.each(['test_failures', 'test_requests', 'test_jobs'])('%s', async (name) => {
    const image = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'pbs' })
    const secret = await pullTestImage({ directory: workspace.path, imagePath: node.images, tag: 'secret', allowUids: [userA.uid], config: { Env: ['SECRET=1'] } })
    const result = await run(['python3', '-B', '-W', 'error', '-m', 'unittest', '-v', name], {
      cwd: TESTS,
      timeoutMs: 240_000,
      env: {
        PATH: process.env['PATH'] ?? '',
        TEST_PREFIX: node.prefix, TEST_RUN: RUN, TEST_IMAGE: `id:${image.record.id}`, TEST_REFERENCE: image.reference, TEST_SECRET: `id:${secret.record.id}`,
        TEST_USER_A: userA.name, TEST_USER_B: userB.name,
      },
    })
    expect(result.stderr).toMatch(/^Ran [1-9]\d* tests? in .*\n\nOK\n$/m)
    expect(result.status).toBe(0)
  }, 300_000)
})
