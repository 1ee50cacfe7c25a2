/** Disks that come to a gateway service: uploaded, named by a path of its machine, and fetched from a URL; which system is meant goes with each. */
import { createReadStream, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import * as Redacted from 'effect/Redacted'
import { type ImportSource, importImage, lookupImage, pullImage, Tokens } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inFormat } from '../../harness/disks.js'
import { failure } from '../../harness/gateway.js'
import { runOk } from '../../harness/process.js'
import { type Service, startService } from '../../harness/service.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { makeDisk, makeFileSystem, makeSystem } from '../../native/disks/make.js'

const work = useWorkspace('vm-service')
let server: Server
let service: Service
let disk: string
let url: string
const client = () => ({ version: 1 as const, gateways: [service.url] as const, token: work.at('token') })

beforeAll(async () => {
  const system = (name: string) => makeSystem(work.at(name), { 'usr/lib/os-release': `ID=${name}\nVERSION_ID=1\nPRETTY_NAME="The ${name}"\n` })
  const raw = await makeDisk(work.at('two.raw'), 'gpt', [
    { at: 1, file: await makeFileSystem('ext4', system('first'), work.at('ext4')) },
    { at: 331, file: await makeFileSystem('btrfs', system('second'), work.at('btrfs')) },
  ])
  disk = await inFormat('qcow2', raw, work.at('two.qcow2'))
  await runOk(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', work.at('key'), '-out', work.at('pem'), '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'])
  server = createServer({ key: readFileSync(work.at('key')), cert: readFileSync(work.at('pem')) }, (_, response) => void createReadStream(disk).pipe(response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  url = `https://${host}/two.qcow2`
  service = await startService({ ...testSite(work.at('site')).config, import: { users: [0], roots: [work.path], urls: true, urlHosts: [host], urlCa: work.at('pem') } })
  const tokens = Context.get(service.context, Tokens.Tokens)
  const { secret } = await Effect.runPromise(tokens.create({ label: 't', uid: 0, scopes: ['manage'], systems: ['test'], expiresIn: 600_000 }))
  writeFileSync(work.at('token'), Redacted.value(secret), { mode: 0o600 })
})
afterAll(async () => {
  await service.stop()
  server.close()
})

describe('a disk of two systems', () => {
  it.each<readonly [how: string, source: () => ImportSource | string]>([
    ['uploaded', () => disk],
    ['at a path of the gateway’s machine', () => ({ _tag: 'Path', path: disk })],
    ['at a URL', () => ({ _tag: 'Url', url })],
  ])('%s: the one that is named is the image, and without a name both are listed', async (how, source) => {
    const name = `vm:${how.split(' ').at(-1)?.toLowerCase() ?? ''}`
    const record = await importImage(name, source(), { config: client(), partition: '2', metadata: { env: ['A=1'] } })
    expect(Object.fromEntries(record.labels)).toMatchObject({ source: 'vm', 'vm.format': 'qcow2', 'vm.partition': '2', 'vm.file-system': 'btrfs', 'vm.distribution': 'second 1' })
    expect(record.env).toEqual(['PATH=/usr/bin:/bin', 'A=1'])
    expect(await lookupImage(name, { config: client() })).toBe(record.id)
    const error = await failure(importImage(name, source(), { config: client() }))
    expect([error.code, error.message]).toEqual(['DISK_AMBIGUOUS', expect.stringMatching(/1 \(ext4, The first\); 2 \(btrfs, The second\).*--partition 1/)])
  })

  it('is not pulled by a path, which would be one of the gateway’s machine', async () => {
    const error = await failure(pullImage(`vm:${disk}`, { config: client(), partition: '2' }))
    expect([error.code, error.message]).toEqual(['SOURCE_UNSUPPORTED', expect.stringContaining('Import it.')])
  })
})
