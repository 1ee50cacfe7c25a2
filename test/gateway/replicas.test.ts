/** Two replicas that share PostgreSQL, an image path and the munge daemon of their system, over real sockets. */
import { mkdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Munge, startMunge } from '../harness/munge.js'
import { type PostgresServer, startPostgres } from '../harness/postgres.js'
import { ask, type Service, startService } from '../harness/service.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('replicas')
let munge: Munge
let server: PostgresServer
let replicas: readonly Service[] = []
beforeAll(async () => {
  munge = await startMunge(work.at('munge'))
  mkdirSync(work.at('database'))
  server = await startPostgres(work.at('database'))
  const { config } = testSite(work.at('site'))
  const systems = { test: { ...config.systems.test, munge: munge.socket } }
  replicas = await Promise.all(['a', 'b'].map((name) =>
    startService({ ...config, stateDirectory: work.at(`state-${name}`), systems, postgres: server.settings(), server: { authentication: 'munge' } })))
})
afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()))
  await server.stop()
  await munge.stop()
})

const shown = (replica: Service | undefined, credential: string, method = 'GET') =>
  ask(`${replica?.url}${method === 'GET' ? '/v1/images' : '/v1/tokens'}`, {
    method, headers: { authorization: `Munge ${credential}` }, ...(method === 'GET' ? {} : { body: { label: 'x', scopes: ['read'], expiresInSeconds: 60 } }),
  })

describe('a credential', () => {
  it.each([[0, 1], [1, 0]])('that one replica has seen is refused by the other, for whatever it is shown: %i, %i', async (first, second) => {
    const credential = await munge.credential()
    expect((await shown(replicas[first], credential)).status).toBe(200)
    for (const method of ['GET', 'POST']) {
      expect(await shown(replicas[second], credential, method)).toMatchObject({ status: 401, body: { code: 'UNAUTHENTICATED', message: expect.stringContaining('was used before') as string } })
    }
    expect((await shown(replicas[second], await munge.credential())).status).toBe(200)
  })

  it('that is shown to both at once is good for one of them', async () => {
    const credential = await munge.credential()
    const statuses = (await Promise.all(replicas.map((replica) => shown(replica, credential)))).map(({ status }) => status)
    expect(statuses.sort()).toEqual([200, 401])
  })

  it('that was refused has made no token', async () => {
    expect((await ask(`${replicas[0]?.url}/v1/tokens`, { headers: { authorization: `Munge ${await munge.credential()}` } })).body).toEqual({ tokens: [] })
  })
})
