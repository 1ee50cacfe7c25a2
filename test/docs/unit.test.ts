/** The unit of the guide, as a real systemd runs it: sandboxed, serving and stopped. */
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ensureTestAccounts } from '../harness/accounts.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { writeLayout } from '../harness/ociLayout.js'
import { freePort } from '../harness/ports.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { ask } from '../harness/service.js'
import { type Machine, startMachine, whyNoMachine } from '../harness/systemd.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { makeFileSystem, makeSystem } from '../native/disks/make.js'
import { built, repository } from '../package/dist.js'

const work = useWorkspace('unit')
const UNIT = 'shifter-gateway.service'
const text = readFileSync(`${repository}docs/${UNIT}`, 'utf8')
const root = 'good:root:root::0:0'
let reason: string | undefined
let registry: Registry
beforeAll(async () => {
  await built()
  registry = await startRegistry()
  reason = await whyNoMachine(work.at('probe'))
  if (reason !== undefined) console.warn(`The unit is not run: ${reason}`)
})
afterAll(() => registry.stop())

const statusOf = (pid: number) => new Map(readFileSync(`/proc/${pid}/status`, 'utf8').split('\n').map((line) => line.split(/:\s+/, 2) as [string, string]))

interface Serving {
  readonly url: string
  readonly machine: Machine
  readonly account: { readonly uid: number; readonly gid: number }
  readonly answers: () => Promise<void>
}

/** The unit on a machine of its own, with what a site adds to both; `use` ends it. */
const serving = async (name: string, settings: object, additions: Readonly<Record<string, string>>, use: (serving: Serving) => Promise<void>): Promise<void> => {
  const { service } = await ensureTestAccounts()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const images = work.at(`images-${name}`)
  mkdirSync(images, { mode: 0o755 })
  chownSync(images, service.uid, service.gid)
  writeFileSync(work.at('gateway.json'), JSON.stringify({
    version: 1, stateDirectory: '/var/lib/shifter', prefix: DEFAULT_PREFIX, systems: { test: { imagePath: images } },
    server: { listen: [`127.0.0.1:${port}`], authentication: 'mock' }, ...settings,
  }), { mode: 0o644 })
  writeFileSync(work.at('shifter-gateway'), `#!/bin/sh\nexec ${process.execPath} /mnt/sdk/dist/bin/shifter-gateway.js "$@"\n`, { mode: 0o755 })
  const machine = startMachine({
    directory: work.at(name),
    unit: UNIT,
    files: {
      [UNIT]: text,
      // What a site adds: its account and its image path. Nothing else of a machine is there.
      [`${UNIT}.d/site.conf`]: `[Service]\nUser=${service.name}\nGroup=${service.name}\nReadWritePaths=${images}\nStandardError=file:/run/gateway.log\n`,
      ...additions,
      'network-online.target': '[Unit]\nDefaultDependencies=no\n',
    },
    before: [
      `mkdir -p /run/etc /run/bin /run/state`,
      `cp ${work.at('gateway.json')} /run/etc/gateway.json; cp ${work.at('shifter-gateway')} /run/bin/; chmod 755 /run/etc /run/bin`,
      'mount -t tmpfs tmpfs /mnt && mkdir /mnt/sdk && mount --rbind ' + repository + ' /mnt/sdk',
      'mount --bind /run/bin /usr/local/bin',
      // Changes of these directories are this mount namespace's alone.
      'mkdir /mnt/upper /mnt/work && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc',
      'rm -rf /etc/shifter && mkdir /etc/shifter && cp /run/etc/gateway.json /etc/shifter/ && chmod 755 /etc/shifter',
      'mkdir /mnt/upper-lib /mnt/work-lib && mount -t overlay -o lowerdir=/var/lib,upperdir=/mnt/upper-lib,workdir=/mnt/work-lib overlay /var/lib && rm -rf /var/lib/shifter',
      `systemd-analyze verify --man=no /run/systemd/system/${UNIT}`,
    ].join('\n'),
  })
  const answers = () => vi.waitFor(async () => expect((await ask(`${url}/healthz`)).status).toBe(200), { timeout: 40_000, interval: 100 })
  try {
    await Promise.race([answers(), machine.ended.then(({ log }) => { throw new Error(`it ended: ${log}`) })])
    await use({ url, machine, account: service, answers })
  } finally {
    machine.child.kill('SIGKILL')
    await machine.ended
  }
}

const images = async (url: string) => (await ask(`${url}/v1/images`, { as: root })).body as { readonly images: ReadonlyArray<object> }

describe('the unit', () => {
  it('is valid, serves and pulls in its sandbox, comes back when it is killed, and stops', { timeout: 120_000 }, async ({ skip }) => {
    if (reason !== undefined) return skip(reason)
    writeLayout(work.at('layout'), { tag: 'v', layers: [[{ name: 'file', type: 'file', data: 'x' }]] })
    await registry.push(work.at('layout'), 'v', 'app:v')
    await serving('machine', { registries: { [registry.host]: { plainHttp: true } } }, {}, async ({ account, answers, machine, url }) => {
      const [pid = 0] = machine.processes()
      const status = statusOf(pid)
      expect(status.get('Uid')?.split('\t')[0]).toBe(String(account.uid))
      expect([status.get('CapEff'), status.get('CapBnd'), status.get('NoNewPrivs'), status.get('Seccomp')]).toEqual(['0'.repeat(16), '0'.repeat(16), '1', '2'])
      const { body } = await ask(`${url}/v1/pulls`, { as: root, method: 'POST', body: { reference: `docker:${registry.host}/app:v` } }) as { body: { id: string } }
      await vi.waitFor(async () => expect((await ask(`${url}/v1/pulls/${body.id}`, { as: root })).body).toMatchObject({ state: 'done' }), { timeout: 40_000, interval: 200 })
      expect(await images(url)).toMatchObject({ images: [{ name: `docker:${registry.host}/app:v` }] })
      // A service that is killed comes back by itself, with what it had.
      process.kill(pid, 'SIGKILL')
      await vi.waitFor(() => expect(machine.processes()).not.toContain(pid), { interval: 20 })
      await answers()
      const [again = 0] = machine.processes()
      expect(await images(url)).toMatchObject({ images: [{ name: `docker:${registry.host}/app:v` }] })
      process.kill(again, 'SIGTERM')
      expect((await machine.ended).status).toBe(0)
    })
  })

  it('reads virtual machines’ disks with the addition that makes namespaces possible, and refuses them without it', { timeout: 120_000 }, async ({ skip }) => {
    if (reason !== undefined) return skip(reason)
    mkdirSync(work.at('disks'), { mode: 0o755 })
    const disk = await makeFileSystem('ext4', makeSystem(work.at('system')), work.at('disks/disk.raw'))
    writeFileSync(work.at('disks/tree.tar'), tarBytes([{ name: 'file', type: 'file', data: 'x' }]))
    const settings = { import: { users: 'all', roots: [work.at('disks')] } }
    const imported = async (url: string, reference: string, path: string) =>
      (await ask(`${url}/v1/imports`, { as: root, method: 'POST', body: { reference, source: { _tag: 'Path', path } } })).text.split('\n').filter((line) => line !== '').slice(-2)
    await serving('without', settings, {}, async ({ url }) => {
      expect(await imported(url, 'custom:tree', work.at('disks/tree.tar'))).toEqual(['event: done', expect.anything()])
      expect(await imported(url, 'vm:first', disk)).toEqual(['event: error', expect.stringMatching(/"code":"USERNS_UNAVAILABLE"/)])
    })
    const addition = readFileSync(`${repository}docs/shifter-gateway-disks.conf`, 'utf8')
    await serving('with', settings, { [`${UNIT}.d/disks.conf`]: addition }, async ({ url }) => {
      expect(await imported(url, 'vm:first', disk)).toEqual(['event: done', expect.anything()])
      expect(await images(url)).toMatchObject({ images: [{ name: 'vm:first:latest' }] })
    })
  })
})
