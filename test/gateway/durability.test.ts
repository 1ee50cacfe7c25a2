/** A pull survives what happens to processes: many at once, and kill -9 in every phase. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Layer, writeLayout } from '../harness/ociLayout.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { startShifterimg } from '../harness/shifterimg.js'
import { type TestSite, testSite as siteAt } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('durability')

/** A site that keeps no blob longer than it is needed. */
const testSite = (directory: string, registries: readonly string[]): TestSite => {
  const site = siteAt(directory, registries)
  return { ...site, config: { ...site.config, cache: { bytes: 0 } } }
}

/** Text that compresses a little, so that every phase takes a moment. */
const body = (seed: number, size: number) => {
  const out = Buffer.alloc(size)
  let state = seed
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    out[i] = 32 + ((state >> 16) & 63)
  }
  return out
}
const layers: readonly Layer[] = [1, 2, 3].map((n) => [{ name: `opt/data${n}`, type: 'file' as const, data: body(n, 6_000_000) }])

const leftovers = (site: TestSite) => [
  ...readdirSync(site.imagePath).filter((name) => name.startsWith('.')),
  ...(existsSync(join(site.stateDirectory, 'work')) ? readdirSync(join(site.stateDirectory, 'work')) : []),
  ...(existsSync(join(site.stateDirectory, 'blobs')) ? readdirSync(join(site.stateDirectory, 'blobs')) : []),
]
const published = (site: TestSite) => readdirSync(site.imagePath).filter((name) => /^[0-9a-f]{64}\./.test(name)).sort()

describe('pulls', () => {
  let registry: Registry
  beforeAll(async () => {
    registry = await startRegistry()
    writeLayout(work.at('layout'), { tag: 'v', layers })
  })
  afterAll(() => registry.stop())

  it('of one reference by ten processes convert once', async () => {
    await registry.push(work.at('layout'), 'v', 'ten:v')
    const site = testSite(work.at('ten'), [registry.host])
    const ended = await Promise.all(
      Array.from({ length: 10 }, () => startShifterimg(site, work.path, ['pull', `docker:${registry.host}/ten:v`]).ended),
    )
    expect(ended.map((end) => `${end.status} ${end.status === 0 ? '' : end.stderr}`)).toEqual(Array.from({ length: 10 }, () => '0 '))
    expect(new Set(ended.map((end) => end.stdout)).size).toBe(1)
    expect(ended.filter((end) => end.stderr.includes('Converting')).length).toBe(1)
    const fetches = await registry.blobFetches('ten')
    // Each process reads the configuration; each layer is fetched by one.
    expect([...fetches.values()].sort((a, b) => a - b)).toEqual([1, 1, 1, 10])
    expect(leftovers(site)).toEqual([])
    expect(published(site).map((name) => name.slice(64))).toEqual(['.meta', '.record', '.squashfs'])
  })

  it.each([
    ['resolve', 'Finding the image'],
    ['fetch', 'Fetching'],
    ['convert', 'Converting'],
    ['transfer', 'Verifying'],
    ['publish', 'Publishing'],
  ])('killed in the phase %s are finished by the next', async (phase, line) => {
    const name = `kill-${phase}`
    await registry.push(work.at('layout'), 'v', `${name}:v`)
    const site = testSite(work.at(name), [registry.host])
    const first = startShifterimg(site, work.path, ['pull', `docker:${registry.host}/${name}:v`])
    await first.said(line)
    first.child.kill('SIGKILL')
    expect((await first.ended).signal).toBe('SIGKILL')
    const blobs = join(site.stateDirectory, 'blobs')
    const here = existsSync(blobs) ? readdirSync(blobs, { recursive: true }).map((path) => basename(String(path))).filter((file) => /^[0-9a-f]{64}$/.test(file)) : []
    const before = await registry.blobFetches(name)

    const second = await startShifterimg(site, work.path, ['pull', `docker:${registry.host}/${name}:v`]).ended
    expect(second.stderr).toContain('is ready')
    expect(second.status).toBe(0)
    const after = await registry.blobFetches(name)
    for (const blob of here) expect(after.get(`sha256:${blob}`), `the blob ${blob} was finished`).toBe(before.get(`sha256:${blob}`))

    // A dead process is known by its lease; the next pull after that sweeps what it left.
    const third = await startShifterimg(site, work.path, ['pull', `docker:${registry.host}/${name}:v`]).ended
    expect(third.stdout).toBe(second.stdout)
    if (phase !== 'resolve') expect(leftovers(site)).toEqual([])
    expect(published(site).map((file) => file.slice(64))).toEqual(['.meta', '.record', '.squashfs'])
  })

  it('are cancelled by an interrupt, leaving nothing but what another try can use', async () => {
    await registry.push(work.at('layout'), 'v', 'interrupt:v')
    const site = testSite(work.at('interrupt'), [registry.host])
    const pulling = startShifterimg(site, work.path, ['pull', `docker:${registry.host}/interrupt:v`])
    await pulling.said('Converting')
    pulling.child.kill('SIGINT')
    const end = await pulling.ended
    expect(end.status).toBe(130)
    expect(end.stderr).toMatch(/^shifterimg: CANCELLED: /m)
    expect(published(site)).toEqual([])
    expect(readdirSync(site.imagePath)).toEqual([])
    expect(readdirSync(join(site.stateDirectory, 'work'))).toEqual([])
    // The interrupted pull gave its lease back: nobody waits for it to run out.
    const again = await startShifterimg(site, work.path, ['pull', `docker:${registry.host}/interrupt:v`]).ended
    expect(again.status).toBe(0)
    expect(again.stderr).not.toContain('Waiting')
    expect(leftovers(site)).toEqual([])
  })

  it('are told when the state directory is open to others', async () => {
    const site = testSite(work.at('open'), [registry.host])
    mkdirSync(site.stateDirectory, { recursive: true, mode: 0o755 })
    const end = await startShifterimg(site, work.path, ['pull', `docker:${registry.host}/ten:v`]).ended
    expect(end.status).toBe(6)
    expect(end.stderr).toMatch(/^shifterimg: STATE_UNUSABLE: .*chmod 0700/m)
  })
})
