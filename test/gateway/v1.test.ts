/** Version 1 of the API over a real socket: what it answers, and to whom. */
import { connect } from 'node:net'
import * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import { Gateway } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { madeSource } from '../harness/gateway.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { ask, type Service, startService } from '../harness/service.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('v1')
let service: Service
let registry: Registry
const ann = 'good:ann:ann::5001:5001'
const bob = 'good:bob:bob::5002:5002'
const root = 'good:root:root::0:0'

const v1 = (path: string, options: Parameters<typeof ask>[1] = {}) => ask(`${service.url}${path}`, options)
const image = (reference: string, rest = '') => `/v1/image${rest}?reference=${encodeURIComponent(reference)}`

beforeAll(async () => {
  registry = await startRegistry()
  const site = testSite(work.at('site'), [registry.host])
  service = await startService({ ...site.config, server: { bodyBytes: 4096, requestSeconds: 2 } })
})
afterAll(async () => {
  await service.stop()
  await registry.stop()
})

it('starts', async () => {
  expect(await v1('/healthz')).toMatchObject({ status: 200, text: '{"status":"ok"}' })
  expect(await v1('/v1/version')).toMatchObject({ status: 200 })
  const ready = await v1('/readyz')
  expect(ready.text).toBe('{"status":"ok"}')
  for (const path of ['/v1/systems', '/v1/images', '/v1/queue', '/v1/tokens', '/v1/pulls']) {
    const answer = await v1(path, { as: ann })
    expect({ path, status: answer.status, text: answer.text }).toMatchObject({ status: 200 })
    console.log(path, answer.text, answer.headers)
  }
  for (const path of ['/metrics', '/v1/openapi.json', '/nonsense', image('docker:x')]) {
    const answer = await v1(path, { as: ann })
    console.log(path, answer.status, answer.headers, answer.text.slice(0, 1500))
  }
  const a = await v1('/v1/images', { method: 'PUT' }); console.log(a.status, a.text, a.headers)
  const b = await v1('/v1/images'); console.log(b.status, b.text, b.headers)
  const c = await v1('/v1/pulls', { as: ann, method: 'POST', body: { reference: 3, credentials: { username: 'x', password: 7 } } }); console.log(c.status, c.text)
  const d = await v1('/v1/pulls', { as: ann, method: 'POST', body: 'no json' }); console.log(d.status, d.text)
  const e = await v1('/v1/pulls', { as: ann, method: 'POST', body: 'x'.repeat(5000) }); console.log(e.status, e.text, e.headers)
  console.log(service.log)
})
void [bob, root, connect, Context, Effect, Gateway, madeSource]
