/** Exports: what is written holds what was pulled, and appears whole or not at all. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { exportImage, inspectImage, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeLayout } from '../harness/ociLayout.js'
import { runOk } from '../harness/process.js'
import { type TestSite, testSite } from '../harness/site.js'
import { compareTrees, squashfsTree } from '../harness/umoci.js'
import { useWorkspace, withWorkspace } from '../harness/workspace.js'

const work = useWorkspace('export')
let site: TestSite
let reference = ''
let id = ''
const image = () => join(site.imagePath, `${id}.squashfs`)
const config = { Env: ['PATH=/bin', 'A=1'], Entrypoint: ['/bin/sh', '-c'], Cmd: ['true'], WorkingDir: '/d', Labels: { one: 'two' } }

beforeAll(async () => {
  site = testSite(work.path)
  const layers = [[
    { name: '.', type: 'dir', mode: 0o711 } as const,
    { name: 'd', type: 'dir', mode: 0o750 } as const,
    { name: 'd/f', type: 'file', data: 'x'.repeat(200_000), mode: 0o640 } as const,
    { name: 'h', type: 'hardlink', linkname: 'd/f' } as const,
    { name: `long-${'n'.repeat(200)}`, type: 'symlink', linkname: 'd/f' } as const,
  ]]
  writeLayout(work.at('layout'), { tag: 'v1', layers, config })
  reference = `oci:${work.at('layout')}:v1`
  id = (await pullImage(reference, { config: site.config })).id
})

describe('an image is written as', () => {
  it('squashfs, byte for byte', async () => {
    const record = await exportImage(reference, { config: site.config, format: 'squashfs', target: work.at('out.squashfs') })
    expect(createHash('sha256').update(readFileSync(work.at('out.squashfs'))).digest('hex')).toBe(record.imageSha256)
  })

  it('an OCI layout that gives the same tree and settings when it is pulled', async () => {
    await exportImage(`id:${id}`, { config: site.config, format: 'oci', target: work.at('out') })
    await withWorkspace(async ({ path }) => {
      const other = testSite(path)
      const again = await pullImage(`oci:${work.at('out')}:latest`, { config: other.config })
      expect(again).toMatchObject({ env: config.Env, entrypoint: config.Entrypoint, command: config.Cmd, workdir: config.WorkingDir, labels: [['one', 'two']] })
      expect(compareTrees(await squashfsTree(image()), await squashfsTree(join(other.imagePath, `${again.id}.squashfs`)))).toEqual([])
    })
    // Others read it as well.
    await runOk(['skopeo', '--insecure-policy', 'copy', '--quiet', `oci:${work.at('out')}:latest`, `docker-archive:${work.at('again.tar')}:x:v1`])
  })

  it('tar, with everything in it', async () => {
    await exportImage(reference, { config: site.config, format: 'tar', target: work.at('out.tar') })
    const { stdout } = await runOk(['tar', '-tvf', work.at('out.tar')])
    expect(stdout).toMatch(/^drwx--x--x .* \.\/$/m)
    expect(stdout).toMatch(/^-rw-r----- .* 200000 .* \.\/d\/f$/m)
    expect(stdout).toContain(' link to ./d/f')
  })

  it('something of its owner alone, when it is private', async () => {
    await withWorkspace(async ({ path }) => {
      const own = testSite(path)
      await pullImage(reference, { config: own.config, allowUids: [] })
      await exportImage(reference, { config: own.config, format: 'tar', target: join(path, 'private.tar') })
      expect(statSync(join(path, 'private.tar')).mode & 0o777).toBe(0o600)
      await expect(exportImage(reference, { config: own.config, requester: { uid: 4711 }, format: 'tar', target: join(path, 'no.tar') })).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' })
    })
  })
})

describe('nothing is left', () => {
  const entries = () => readdirSync(work.path).sort()
  it.each([
    ['where something is already', () => work.at('layout'), 'EXPORT_FAILED'],
    ['where the directory is missing', () => work.at('missing', 'x.tar'), 'EXPORT_FAILED'],
  ])('%s', async (_, target, code) => {
    const before = entries()
    for (const format of ['tar', 'oci', 'squashfs'] as const) await expect(exportImage(reference, { config: site.config, format, target: target() })).rejects.toMatchObject({ code })
    expect(entries()).toEqual(before)
  })

  it('of a damaged image', async () => {
    await withWorkspace(async ({ path }) => {
      const own = testSite(path)
      const record = await pullImage(reference, { config: own.config })
      const file = join(own.imagePath, `${record.id}.squashfs`)
      const bytes = readFileSync(file)
      bytes[200] = (bytes[200] ?? 0) ^ 1
      truncateSync(file)
      writeFileSync(file, bytes)
      await expect(exportImage(reference, { config: own.config, format: 'tar', target: join(path, 'x.tar') })).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' })
      expect(readdirSync(path)).not.toContain('x.tar')
    })
    expect((await inspectImage(reference, { config: site.config })).record.id).toBe(id)
  })
})
