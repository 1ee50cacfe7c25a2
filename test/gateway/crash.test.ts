/**
 * A pull that dies or finds no room, at every step that it takes: no name points to anything wrong, nothing is ready that is not whole, the next
 * pull finishes, and nothing is left.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { importImage, lookupImage, pullImage } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasQuota, quotaFileSystem, type SmallFileSystem, smallFileSystem } from '../harness/fileSystems.js'
import { failure } from '../harness/gateway.js'
import { honestImage, type HostileRegistry, hostileRegistry } from '../harness/hostileRegistry.js'
import { writeLayout } from '../harness/ociLayout.js'
import { runOk } from '../harness/process.js'
import { startShifterimg } from '../harness/shifterimg.js'
import { type TestSite, testSite } from '../harness/site.js'
import { expectSound as expectSoundSite, expireLeases, leftovers } from '../harness/soundness.js'
import { useWorkspace } from '../harness/workspace.js'
import { squashfs } from '../native/fixture.js'

const work = useWorkspace('crash')
const isLong = process.env['SHIFTER_TEST_LONG'] === '1'
const ENOSPC = 28
const EDQUOT = 122

/** Bytes that do not compress, the same every time. */
const noise = (size: number): Buffer => {
  const out = Buffer.alloc(size)
  for (let i = 0, state = 1; i < size; i++) out[i] = (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16
  return out
}
const layers = [[{ name: 'opt/noise', type: 'file' as const, data: noise(1_500_000) }], [{ name: 'etc/small', type: 'file' as const, data: 'small' }]]

let registry: HostileRegistry
let sites = 0
beforeAll(async () => {
  registry = await hostileRegistry(honestImage(layers))
  await runOk(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', work.at('failing.so'), fileURLToPath(new URL('../harness/failing.c', import.meta.url)), '-ldl'])
})
afterAll(() => registry.stop())

const siteAt = (directory: string): TestSite => {
  const site = testSite(directory, [registry.host])
  return { ...site, config: { ...site.config, cache: { bytes: 0 } } }
}
const reference = () => `docker:${registry.host}/app:v`

const expectSound = (site: TestSite, context: string, from = reference()) => expectSoundSite(site, from, context)

/** The next pull finishes, and nothing is left. */
const expectFinished = async (site: TestSite, context: string, from = reference()) => {
  await expireLeases(site)
  const record = await pullImage(from, { config: site.config })
  expect(await lookupImage(from, { config: site.config }), context).toBe(record.id)
  await expectSound(site, context)
  expect(leftovers(site), context).toEqual([])
  expect(readdirSync(site.imagePath).filter((name) => name !== 'names' && !name.startsWith('.filler')).map((name) => name.slice(64)).sort(), context).toEqual(['.meta', '.record', '.squashfs'])
}

describe.sequential('attack 21: a pull', () => {
  /** Runs it with a fault at one of its steps: what it does to files below the site's directories, in their order. */
  const pulled = async (how: { readonly at: number; readonly fault: 'kill' | number; readonly once?: boolean }) => {
    const directory = work.at(`site${sites++}`)
    const site = siteAt(directory)
    const log = join(directory, 'steps')
    const end = await startShifterimg(site, directory, ['pull', reference()], 'pipe', {
      LD_PRELOAD: work.at('failing.so'),
      FAILING_BELOW: `${site.imagePath}:${site.stateDirectory}`,
      FAILING_AT: String(how.at),
      FAILING_WITH: String(how.fault),
      FAILING_LOG: log,
      ...(how.once === true ? { FAILING_ONCE: '1' } : {}),
    }).ended
    const steps = readFileSync(log, 'utf8').trim().split('\n')
    return { site, end, steps, context: `${steps.find((step) => step.endsWith('!')) ?? `step ${how.at}`} (${how.fault}): ${end.stderr}` }
  }

  it('makes everything durable before its name appears, and the name after it', async () => {
    const { end, site, steps } = await pulled({ at: 0, fault: ENOSPC })
    expect(end.status, end.stderr).toBe(0)
    const done = steps.map((step) => { const [, call = '', path = '', from = ''] = step.split(' '); return { call, path, from } }).filter(({ path }) => path.startsWith(site.imagePath))
    const named = done.flatMap((step, i) => (['link', 'rename'].includes(step.call) ? [{ ...step, i }] : []))
    expect(named.map(({ path }) => path.replace(/^.*\.|^.*(names)\/.*/, '$1'))).toEqual(['squashfs', 'record', 'meta', 'names'])
    named.forEach(({ from, i, path }, n) => {
      const before = done.slice(0, i).findLastIndex((step) => step.path === from && step.call === 'fsync')
      expect(before, `${from} is durable before it is ${path}`).toBeGreaterThanOrEqual(0)
      expect(done.slice(before, i).filter((step) => step.path === from && /write/.test(step.call)), `${from} is not written any more`).toEqual([])
      const after = done.slice(i, named[n + 1]?.i).filter(({ call }) => call === 'fsync').map((step) => step.path)
      expect(after, `the directory of ${path} is durable before the next name appears`).toContain(dirname(path))
    })
  })

  /** All steps, or some from everywhere; other ones each time. */
  const someSteps = async (): Promise<readonly number[]> => {
    const { end, steps } = await pulled({ at: 0, fault: ENOSPC })
    expect(end.status, end.stderr).toBe(0)
    const count = isLong ? steps.length : 14
    const start = isLong ? 0 : Math.random()
    return Array.from({ length: count }, (_, i) => 1 + Math.floor(((i + start) * steps.length) / count))
  }

  const each = async (numbers: readonly number[], f: (n: number) => Promise<void>) => {
    const left = [...numbers]
    const worker = async () => { for (let n = left.shift(); n !== undefined; n = left.shift()) await f(n) }
    await Promise.all(Array.from({ length: cpus().length }, worker))
  }

  it('that finds no room from one of its steps on', { timeout: 900_000 }, async () => {
    let failed = 0
    const attempts = (await someSteps()).flatMap((n) => (isLong ? [[n, ENOSPC, false], [n, EDQUOT, false], [n, ENOSPC, true]] as const : [[n, n % 2 === 0 ? ENOSPC : EDQUOT, n % 3 === 0] as const]))
    await each(attempts.map((_, i) => i), async (i) => {
      const [at, fault, once] = attempts[i] ?? [0, 0, false]
      const { context, end, site } = await pulled({ at, fault, once })
      await expectSound(site, context)
      if (end.status === 0) expect(await lookupImage(reference(), { config: site.config }), context).toBe(end.stdout.trim())
      else {
        failed++
        expect(end.status, context).toBe(6)
        // What was full for a moment alone can't be known for full where a driver says no more than "I/O error".
        expect(end.stderr, context).toMatch(once ? /^shifterimg: (STORAGE_FULL|CATALOG_FAILED): /m : /^shifterimg: STORAGE_FULL: .*Make room at the place named/m)
        expect(end.stderr.includes(site.imagePath) || end.stderr.includes(site.stateDirectory), context).toBe(true)
      }
      await expectFinished(site, context)
    })
    expect(failed).toBeGreaterThan(attempts.length / 4)
  })

  it('that is killed at one of its steps', { timeout: 900_000 }, async () => {
    await each(await someSteps(), async (at) => {
      const { context, end, site } = await pulled({ at, fault: 'kill' })
      // The number of steps differs a little from run to run.
      expect(end.signal ?? end.status, context).toBeOneOf(['SIGKILL', 0])
      await expectSound(site, context)
      await expectFinished(site, context)
    })
  })
})

describe.sequential('attack 21: an import', () => {
  const squashed = () => {
    const file = work.at('imported.squashfs')
    squashfs(file, [{ name: 'opt/noise', type: 'file', data: noise(1_500_000) }])
    return file
  }
  const expectImported = async (site: TestSite, file: string, context: string) => {
    await expireLeases(site)
    const record = await importImage('custom:imported', file, { config: site.config })
    expect(await lookupImage('custom:imported', { config: site.config }), context).toBe(record.id)
    await expectSound(site, context)
    expect(leftovers(site), context).toEqual([])
  }

  it('that is killed at one of its steps leaves nothing that the next one does not remove', { timeout: 900_000 }, async () => {
    const file = squashed()
    const stepsOf = async (at: number) => {
      const directory = work.at(`site${sites++}`)
      const site = siteAt(directory)
      const log = join(directory, 'steps')
      const { signal } = await startShifterimg(site, directory, ['import', 'custom:imported', file], 'pipe', {
        LD_PRELOAD: work.at('failing.so'), FAILING_BELOW: `${site.imagePath}:${site.stateDirectory}`, FAILING_AT: String(at), FAILING_WITH: 'kill', FAILING_LOG: log,
      }).ended
      return { site, signal, steps: readFileSync(log, 'utf8').trim().split('\n') }
    }
    const whole = (await stepsOf(0)).steps
    expect(whole.length).toBeGreaterThan(20)
    const chosen = isLong ? whole.map((_, i) => i + 1) : [1, 2, 3, 4].map((part) => Math.floor((whole.length * part) / 5))
    for (const at of chosen) {
      const { signal, site, steps } = await stepsOf(at)
      const context = `${at} of ${whole.length}: ${steps.at(-1) ?? ''}`
      expect(signal, context).toBe('SIGKILL')
      await expectSound(site, context, 'custom:imported')
      await expectImported(site, file, context)
    }
  })

  it('that finds no room for its file, or for what is in it, says so and is done when there is', async () => {
    const file = squashed()
    for (const free of [1_200_000, 2_500_000]) {
      const directory = work.at(`site${sites++}`)
      const site = siteAt(directory)
      const room = await smallFileSystem(site.stateDirectory, 8 * 1024 * 1024, { mode: 0o700 })
      try {
        // The catalogue is made before.
        await failure(importImage('custom:other', work.at('missing'), { config: site.config }))
        await room.leave(free)
        const refused = await failure(importImage('custom:imported', file, { config: site.config }))
        expect(refused.code, refused.message).toBe('STORAGE_FULL')
        expect(refused.message).toContain(site.stateDirectory)
        await room.empty()
        await expectImported(site, file, String(free))
      } finally {
        await room.stop()
      }
    }
  })
})

describe.sequential('attack 21: a full file system', () => {
  const failing = async (site: TestSite, where: string, from: string, room: SmallFileSystem, bytes: number): Promise<boolean> => {
    const context = `${bytes} bytes free in ${where}`
    await room.leave(bytes)
    const outcome = await pullImage(from, { config: site.config }).then(() => undefined, (error: unknown) => error as Awaited<ReturnType<typeof failure>>)
    if (outcome !== undefined) {
      expect(outcome.code, `${context}: ${outcome.message}`).toBe('STORAGE_FULL')
      expect(outcome.message, context).toContain(where)
    }
    await expectSound(site, context)
    await room.empty()
    await expectFinished(site, context, from)
    return outcome !== undefined
  }

  /** Free bytes, from none to more than enough: each fills up at another step. */
  const amounts = (most: number): readonly number[] => {
    const length = isLong ? 64 : 6
    return Array.from({ length }, (_, i) => Math.round((most * i) / (length - 1) / 4096) * 4096)
  }

  it.each([
    ['an image path', 'images', 1_620_000],
    ['a state directory', 'state', 2_400_000],
  ])('as %s', async (_, which, most) => {
    let failed = 0
    for (const bytes of amounts(most)) {
      const directory = work.at(`site${sites++}`)
      const site = siteAt(directory)
      const room = await smallFileSystem(join(directory, which), 8 * 1024 * 1024, { mode: which === 'state' ? 0o700 : 0o755 })
      try {
        if (await failing(site, join(directory, which), reference(), room, bytes)) failed++
      } finally {
        await room.stop()
      }
    }
    expect(failed).toBeGreaterThan(1)
    expect(failed).toBeLessThan(amounts(most).length)
  })

  it('as the place where an archive is inflated', async () => {
    const directory = work.at(`site${sites++}`)
    const site = siteAt(directory)
    writeLayout(work.at('layout'), { tag: 'v', layers })
    const archive = work.at('archive.tar.gz')
    await runOk(['tar', '-C', work.at('layout'), '-czf', archive, '.'])
    const room = await smallFileSystem(site.stateDirectory, 8 * 1024 * 1024, { mode: 0o700 })
    try {
      expect(await failing(site, site.stateDirectory, `oci-archive:${archive}`, room, 1_000_000)).toBe(true)
    } finally {
      await room.stop()
    }
  })

  it.each([['images', 0o755, 4], ['state', 0o700, 6]])('without inodes (%s)', async (which, mode, inodes) => {
    const directory = work.at(`site${sites++}`)
    const site = siteAt(directory)
    const room = await smallFileSystem(join(directory, which), 8 * 1024 * 1024, { mode, inodes })
    try {
      const refused = await failure(pullImage(reference(), { config: site.config }))
      expect(refused.code, refused.message).toBe('STORAGE_FULL')
      expect(refused.message).toContain(join(directory, which))
      await expectSound(site, which)
      await runOk(['mount', '-o', 'remount,nr_inodes=1000', join(directory, which)])
      await expectFinished(site, which)
    } finally {
      await room.stop()
    }
  })

  it.runIf(hasQuota())('of which a quota is used up', async () => {
    for (const which of ['images', 'state'] as const) {
      const directory = work.at(`site${sites++}`)
      mkdirSync(directory, { recursive: true })
      const room = await quotaFileSystem(join(directory, 'disk'), join(directory, 'mounted'))
      try {
        const site = siteAt(directory)
        const place = join(room.directory, which)
        mkdirSync(place, { mode: which === 'state' ? 0o700 : 0o755 })
        const limited: TestSite =
          which === 'images'
            ? { ...site, imagePath: place, config: { ...site.config, systems: { test: { imagePath: place } } } }
            : { ...site, stateDirectory: place, config: { ...site.config, stateDirectory: place } }
        let failed = 0
        // With none at all, the quota itself can't be changed any more.
        for (const bytes of isLong ? amounts(4_000_000).slice(1) : [64 * 1024, 700_000]) if (await failing(limited, place, reference(), room, bytes)) failed++
        expect(failed).toBeGreaterThan(0)
      } finally {
        await room.stop()
      }
    }
  })
})
