/** A site's budget for a registry: whatever is pulled, it is asked no more often than that. */
import { pullImage, type ProgressEvent } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../harness/gateway.js'
import { honestImage, type HostileRegistry, hostileRegistry } from '../harness/hostileRegistry.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('budget')
let registry: HostileRegistry
let times: number[] = []
beforeAll(async () => {
  registry = await hostileRegistry(
    honestImage([1, 2, 3].map((n) => [{ name: `file${n}`, type: 'file', data: `content ${n}` }])),
    () => {
      times.push(performance.now())
      return false
    },
  )
})
afterAll(() => registry.stop())

const siteWith = (name: string, budget: { readonly requests: number; readonly seconds: number }) => {
  const { config } = testSite(work.at(name), [registry.host])
  return { ...config, registries: { [registry.host]: { plainHttp: true, budget } } }
}

describe('a budget for a registry', () => {
  it('is kept by pulls beside each other, which wait and say so', async () => {
    times = []
    const budget = { requests: 4, seconds: 2 }
    const config = siteWith('kept', budget)
    const events: ProgressEvent[] = []
    await pullImage(`docker:${registry.host}/app:v`, { config, onProgress: (event) => events.push(event) })
    // A manifest, a configuration and three layers.
    expect(times.length).toBe(5)
    const windows = times.slice(budget.requests).map((time, i) => time - (times[i] ?? 0))
    // They are counted where they arrive, a little after they were sent.
    for (const window of windows) expect(window).toBeGreaterThan(budget.seconds * 1000 * 0.9)
    expect(events).toContainEqual(expect.objectContaining({ _tag: 'RateLimit', registry: registry.host, remaining: 0 }))
  })

  it('refuses, with its time, what would have to wait for long', async () => {
    times = []
    const error = await failure(pullImage(`docker:${registry.host}/app:v`, { config: siteWith('long', { requests: 2, seconds: 3600 }) }))
    expect(error.code).toBe('REGISTRY_RATE_LIMITED')
    expect(error.message).toMatch(/2 requests in 3600 s, is used up\. Retry in \d+ s\.$/)
    expect(error.retryAfter).toBeGreaterThan(3500)
    expect(times.length).toBe(1)
  })

  it('must allow for two requests', async () => {
    const error = await failure(pullImage(`docker:${registry.host}/app:v`, { config: siteWith('none', { requests: 1, seconds: 1 }) }))
    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.message).toContain('budget.requests')
  })
})
