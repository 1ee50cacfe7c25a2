/**
 * What a job costs the file system of the images on one node: it is shared by thousands of nodes, so that is a few look-ups when the root is
 * prepared, and nothing when a rank starts.
 */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Account } from '../harness/accounts.js'
import { useNode } from '../harness/node.js'
import { userA } from '../harness/people.js'
import { runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullTestImage } from './fixture.js'

const node = useNode('operations', {})
const { images: IMAGES } = node
/** All that a job may cost, however many ranks it has and whatever they read of the image. */
const MOST = 10
const RANKS = 8
const workspace = useWorkspace('operations')
let id: string
let traces = 0

/** The system calls of a program and its children that use something on the image path; the kernel's reads of an open file are none. */
const operations = async (argv: readonly string[], as?: Account): Promise<string[]> => {
  const trace = workspace.at(`trace-${traces++}`)
  const user = as === undefined ? [] : ['-u', as.name]
  await runOk(['strace', '-f', '-qq', '-y', '-s', '4096', ...user, '-o', trace, ...argv], { cwd: '/', env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', SHIFTER_JOB_ID: 'ops' } })
  const lines = readFileSync(trace, 'utf8').split('\n')
  // A descriptor of something there is used, or comes of it; handing it to a loop device, or closing it, asks the file system for nothing.
  return lines.filter((line) => line.includes(`<${IMAGES}>`) || line.includes(`<${IMAGES}/`)).filter((line) => !/^\d+ +(close|ioctl)\(/.test(line))
}

beforeAll(async () => {
  const image = await pullTestImage({ directory: workspace.path, imagePath: IMAGES, tag: 'image', config: { Env: ['PATH=/bin'] } })
  id = image.record.id
})

describe('the image file system of a job', () => {
  it(`sees at most ${MOST} operations on a node, however many ranks there are and whatever they read`, async () => {
    const prepared = await operations([node.sbin('setupRoot'), '--job=ops', `--uid=${userA.uid}`, `--gid=${userA.gid}`, 'id', id])
    try {
      const ranks = await Promise.all(
        Array.from({ length: RANKS }, () => operations([node.helper, `--image=id:${id}`, 'sh', '-c', 'cat /bin/busybox >/dev/null; ls -R /bin /etc >/dev/null'], userA)),
      )
      expect(ranks.flat()).toEqual([])
      expect(prepared.length, prepared.join('\n')).toBeGreaterThan(0)
      expect(prepared.length, prepared.join('\n')).toBeLessThanOrEqual(MOST)
    } finally {
      await runOk([node.sbin('unsetupRoot'), '--job=ops'])
    }
  })

  it('sees a start without preparation, so that this test would see one of a rank', async () => {
    expect((await operations([node.helper, `--image=id:${id}`, 'true'], userA)).length).toBeGreaterThan(0)
  })
})
