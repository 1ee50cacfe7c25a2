/** How layers come: from where they were cut off, in parts, and not again while they are kept. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage, type ProgressEvent } from 'shifter-sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { honestImage, type HonestImage, type HostileRegistry, hostileRegistry, type Script } from '../harness/hostileRegistry.js'
import { startShifterimg } from '../harness/shifterimg.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('transfer')

/** Bytes that do not compress, the same every time. */
const noise = (size: number, seed: number): Buffer => {
  const out = Buffer.alloc(size)
  let state = seed
  for (let i = 0; i + 4 <= size; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    out.writeInt32LE(state ^ (state >>> 15), i)
  }
  return out
}
const imageOf = (size: number, seed = 1): HonestImage => honestImage([[{ name: 'noise', type: 'file', data: noise(size, seed) }]])
const small = imageOf(3_000_000)
const digestOf = (image: HonestImage): string => image.layers[0]?.digest ?? ''
const sizeOf = (image: HonestImage): number => image.layers[0]?.size ?? 0

const running: HostileRegistry[] = []
const registry = async (image: HonestImage, script?: Script): Promise<HostileRegistry> => {
  const started = await hostileRegistry(image, script)
  running.push(started)
  return started
}
afterEach(async () => { await Promise.all(running.splice(0).map((each) => each.stop())) })

let sites = 0
const siteFor = (from: HostileRegistry, cache?: number): TestSite => {
  const site = testSite(work.at(`site${sites++}`), [from.host])
  return cache === undefined ? site : { ...site, config: { ...site.config, cache: { bytes: cache } } }
}
const ranges = (from: HostileRegistry, image: HonestImage) =>
  from.seen.filter(({ path }) => path.endsWith(digestOf(image))).map(({ headers }) => ({ range: headers.range, ifRange: headers['if-range'] }))
const filesOf = (site: TestSite): readonly string[] =>
  readdirSync(join(site.stateDirectory, 'blobs'), { recursive: true }).map(String).filter((file) => statSync(join(site.stateDirectory, 'blobs', file)).isFile())
/** Sends a layer's first bytes, then cuts the connection, for as long as it is told. */
const cutting = (image: HonestImage, at: number, times: () => boolean): Script => ({ headers, path }, response) => {
  if (!path.endsWith(digestOf(image)) || !times()) return false
  const data = image.blobs.get(digestOf(image)) ?? Buffer.alloc(0)
  const [, from] = /^bytes=(\d+)-/.exec(headers.range ?? '') ?? []
  if (from !== undefined) {
    response.socket?.destroy()
    return true
  }
  response.writeHead(200, { 'content-length': data.length, etag: `"${digestOf(image)}"` })
  response.write(data.subarray(0, at), () => response.socket?.destroy())
  return true
}

describe('a layer that is cut off', () => {
  it('goes on where it ended, for the same entity', async () => {
    let cuts = 0
    const from = await registry(small, cutting(small, 2_000_000, () => cuts++ < 1))
    await pullImage(`docker:${from.host}/x:v`, { config: siteFor(from).config })
    const [first, second] = ranges(from, small)
    expect(first).toEqual({ range: undefined, ifRange: undefined })
    expect(second?.ifRange).toBe(`"${digestOf(small)}"`)
    expect(Number(/^bytes=(\d+)-/.exec(second?.range ?? '')?.[1])).toBeGreaterThan(0)
    expect(ranges(from, small).length).toBe(2)
  })

  it('goes on in another pull', async () => {
    let broken = true
    const from = await registry(small, cutting(small, 2_000_000, () => broken))
    const site = siteFor(from)
    await expect(pullImage(`docker:${from.host}/x:v`, { config: site.config })).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    const [partial] = filesOf(site).filter((file) => file.endsWith('.partial'))
    const kept = statSync(join(site.stateDirectory, 'blobs', partial ?? '')).size
    expect(kept).toBeGreaterThan(0)
    broken = false
    from.seen.length = 0
    await pullImage(`docker:${from.host}/x:v`, { config: site.config })
    expect(ranges(from, small)).toEqual([{ range: `bytes=${kept}-${sizeOf(small) - 1}`, ifRange: `"${digestOf(small)}"` }])
    expect(filesOf(site).filter((file) => file.includes('partial'))).toEqual([])
  })

  it('goes on after kill -9', async () => {
    let onHalf: () => void = () => undefined
    const half = new Promise<void>((resolve) => { onHalf = resolve })
    let holds = true
    const data = small.blobs.get(digestOf(small)) ?? Buffer.alloc(0)
    const from = await registry(small, ({ path }, response) => {
      if (!path.endsWith(digestOf(small)) || !holds) return false
      response.writeHead(200, { 'content-length': data.length, etag: `"${digestOf(small)}"` })
      response.write(data.subarray(0, 2_500_000), onHalf)
      return true
    })
    const site = siteFor(from)
    const first = startShifterimg(site, work.path, ['pull', `docker:${from.host}/x:v`])
    await half
    const scratch = (): number => {
      const directory = join(site.stateDirectory, 'work')
      const found = existsSync(directory) ? readdirSync(directory, { recursive: true }).map(String).filter((file) => file.endsWith('.partial')) : []
      return Math.max(0, ...found.map((file) => statSync(join(directory, file)).size))
    }
    await expect.poll(scratch, { timeout: 10_000 }).toBeGreaterThan(2_000_000)
    const kept = scratch()
    first.child.kill('SIGKILL')
    await first.ended
    holds = false
    from.seen.length = 0
    const second = await startShifterimg(site, work.path, ['pull', `docker:${from.host}/x:v`]).ended
    expect(second.status).toBe(0)
    expect(ranges(from, small)).toEqual([{ range: `bytes=${kept}-${sizeOf(small) - 1}`, ifRange: `"${digestOf(small)}"` }])
  })

  it.each([
    ['another ETag', (size: number, start: number) => ({ status: 206, headers: { 'content-range': `bytes ${start}-${size - 1}/${size}`, etag: '"other"' } })],
    ['another range', (size: number) => ({ status: 206, headers: { 'content-range': `bytes 0-${size - 1}/${size}` } })],
    ['another length', (size: number, start: number) => ({ status: 206, headers: { 'content-range': `bytes ${start}-${size - 1}/${size + 1}` } })],
    ['no range at all', () => ({ status: 206, headers: {} })],
    ['416', () => ({ status: 416, headers: {} })],
  ])('attack 19: is fetched anew when the rest comes with %s', async (_, lie) => {
    let cuts = 0
    let lies = 0
    const cut = cutting(small, 2_000_000, () => cuts++ < 1)
    const from = await registry(small, (request, response, raw) => {
      if (cut(request, response, raw) === true) return true
      const [, start] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? []
      if (start === undefined) return false
      lies += 1
      const { headers, status } = lie(sizeOf(small), Number(start))
      response.writeHead(status, headers).end((small.blobs.get(digestOf(small)) ?? Buffer.alloc(0)).subarray(Number(start)))
      return true
    })
    await pullImage(`docker:${from.host}/x:v`, { config: siteFor(from).config })
    expect(lies).toBe(1)
    expect(ranges(from, small).map(({ range }) => range === undefined)).toEqual([true, false, true])
  })

  it('is fetched anew when what was kept of it is not it', async () => {
    let broken = true
    const from = await registry(small, ({ path }, response) => {
      if (!path.endsWith(digestOf(small)) || !broken) return false
      response.writeHead(200, { 'content-length': sizeOf(small) })
      response.write(Buffer.alloc(1_500_000), () => response.socket?.destroy())
      return true
    })
    const site = siteFor(from)
    await expect(pullImage(`docker:${from.host}/x:v`, { config: site.config })).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    broken = false
    from.seen.length = 0
    await pullImage(`docker:${from.host}/x:v`, { config: site.config })
    expect(ranges(from, small).map(({ range }) => range === undefined)).toEqual([false, true])
  })
})

describe('a large layer', () => {
  const large = imageOf(300 * 1024 * 1024)
  const PART = 128 * 1024 * 1024

  it('comes in parts, some beside one another, each mended by itself', async () => {
    let cuts = 0
    let most = 0
    let now = 0
    const from = await registry(large, ({ headers, path }, response) => {
      if (!path.endsWith(digestOf(large))) return false
      most = Math.max(most, ++now)
      response.once('close', () => { now -= 1 })
      const [, start] = /^bytes=(\d+)-/.exec(headers.range ?? '') ?? []
      if (Number(start) !== PART || cuts++ > 0) return false
      const data = large.blobs.get(digestOf(large)) ?? Buffer.alloc(0)
      response.writeHead(206, { 'content-range': `bytes ${PART}-${2 * PART - 1}/${data.length}`, 'content-length': PART, etag: `"${digestOf(large)}"` })
      response.write(data.subarray(PART, PART + 5_000_000), () => response.socket?.destroy())
      return true
    })
    const events: ProgressEvent[] = []
    const site = siteFor(from)
    const image = await pullImage(`docker:${from.host}/x:v`, { config: site.config, onProgress: (event) => events.push(event) })
    expect(image.sourceDigest).toBe(large.configDigest)
    const asked = ranges(from, large).map(({ range }) => range ?? 'all')
    expect(asked.filter((range) => !range.startsWith(`bytes=${PART + 1}`)).slice(0, 1)).toEqual([`bytes=0-${PART - 1}`])
    expect(asked).toContain(`bytes=${2 * PART}-${sizeOf(large) - 1}`)
    expect(asked.length).toBe(4)
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(4)
    expect(events.findLast((event) => event._tag === 'Layer')).toMatchObject({ received: sizeOf(large), bytes: sizeOf(large) })
  })

  it('comes in one piece from a registry that gives no ranges, asked once', async () => {
    const from = await registry(large, ({ path }, response) => {
      if (!path.endsWith(digestOf(large))) return false
      response.writeHead(200, { 'content-length': sizeOf(large) }).end(large.blobs.get(digestOf(large)))
      return true
    })
    await pullImage(`docker:${from.host}/x:v`, { config: siteFor(from).config })
    expect(ranges(from, large).length).toBe(1)
  })

  it('comes in one piece when a registry gives ranges only sometimes', async () => {
    const from = await registry(large, ({ headers, path }, response) => {
      if (!path.endsWith(digestOf(large)) || headers.range?.startsWith('bytes=0-') === true) return false
      response.writeHead(200, { 'content-length': sizeOf(large) }).end(large.blobs.get(digestOf(large)))
      return true
    })
    await pullImage(`docker:${from.host}/x:v`, { config: siteFor(from).config })
    expect(ranges(from, large).at(-1)).toMatchObject({ range: undefined })
  })

  it('goes on in another pull with the parts that are here', async () => {
    let broken = true
    const from = await registry(large, ({ headers, path }, response) => {
      if (!path.endsWith(digestOf(large)) || !broken || headers.range?.startsWith('bytes=0-') === true) return false
      response.writeHead(404).end()
      return true
    })
    const site = siteFor(from)
    await expect(pullImage(`docker:${from.host}/x:v`, { config: site.config })).rejects.toMatchObject({ code: 'REGISTRY_ERROR' })
    broken = false
    from.seen.length = 0
    await pullImage(`docker:${from.host}/x:v`, { config: site.config })
    expect(ranges(from, large).map(({ range }) => range).sort()).toEqual([`bytes=${PART}-${2 * PART - 1}`, `bytes=${2 * PART}-${sizeOf(large) - 1}`])
  })
})

describe('a blob that was fetched', () => {
  const repull = (site: TestSite): TestSite => {
    const imagePath = work.at(`again${sites++}`)
    mkdirSync(imagePath)
    return { ...site, imagePath, config: { ...site.config, systems: { test: { imagePath } } } }
  }

  it('is kept for other images, and mended when the disk has changed it', async () => {
    const from = await registry(small)
    const site = siteFor(from)
    await pullImage(`docker:${from.host}/x:v`, { config: site.config })
    await pullImage(`docker:${from.host}/x:v`, { config: repull(site).config })
    expect(ranges(from, small).length).toBe(1)
    const [file = ''] = filesOf(site)
    const path = join(site.stateDirectory, 'blobs', file)
    writeFileSync(path, Buffer.alloc(readFileSync(path).length))
    await pullImage(`docker:${from.host}/x:v`, { config: repull(site).config })
    expect(ranges(from, small).length).toBe(2)
  })

  it('goes when others were used since and the limit is reached, and none that a pull uses', async () => {
    const images = [1, 2, 3].map((seed) => imageOf(1_000_000, seed))
    const all = { blobs: new Map(images.flatMap((image) => [...image.blobs])), manifests: new Map(images.map((image, i): [string, { data: Buffer; type: string }] => [`v${i}`, image.manifests.get('v') ?? { data: Buffer.alloc(0), type: '' }])) }
    const from = await hostileRegistry(all)
    running.push(from)
    const site = siteFor(from, 2_500_000)
    const here = (): readonly boolean[] => images.map((image) => filesOf(site).some((file) => file.endsWith(digestOf(image).slice(7))))
    for (const i of [0, 1]) await pullImage(`docker:${from.host}/x:v${i}`, { config: site.config })
    expect(here()).toEqual([true, true, false])
    // The first is used again, long after the second.
    const [, second] = images
    for (const file of filesOf(site)) {
      const used = new Date(file.endsWith(digestOf(second ?? small).slice(7)) ? 1_000_000_000_000 : 1_100_000_000_000)
      utimesSync(join(site.stateDirectory, 'blobs', file), used, used)
    }
    await pullImage(`docker:${from.host}/x:v2`, { config: site.config })
    expect(here()).toEqual([true, false, true])
    const none = { ...site, config: { ...site.config, cache: { bytes: 0 } } }
    await pullImage(`docker:${from.host}/x:v1`, { config: repull(none).config })
    expect(readdirSync(join(site.stateDirectory, 'blobs'))).toEqual([])
  })
})
