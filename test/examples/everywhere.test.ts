/** `shifterimg` does the same with a gateway inside its own process and with a service that it asks. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import * as Redacted from 'effect/Redacted'
import { Tokens } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeLayout } from '../harness/ociLayout.js'
import { run } from '../harness/process.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { type Service, startService, writeClientConfig } from '../harness/service.js'
import { program } from '../harness/shifterimg.js'
import { type TestSite, testSite } from '../harness/site.js'
import { tarBytes } from '../harness/tarWriter.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const work = useWorkspace('everywhere')
let registry: Registry
beforeAll(async () => {
  await built()
  registry = await startRegistry()
  writeLayout(work.at('app'), { tag: 'v', layers: [[{ name: 'hello', type: 'file', data: 'hello' }]], config: { Env: ['A=b'] } })
  await registry.push(work.at('app'), 'v', 'app:v')
  writeFileSync(work.at('tools.tar'), tarBytes([{ name: 'tool', type: 'file', data: 'tool' }]))
})
afterAll(() => registry.stop())

describe.each(['embedded', 'asked over the network'])('with a gateway %s', (where) => {
  let site: TestSite
  let service: Service | undefined
  let config: string
  beforeAll(async () => {
    const directory = work.at(where.replaceAll(' ', '-'))
    site = testSite(directory, [registry.host])
    const settings = { ...site.config, import: { users: 'all' as const } }
    config = join(directory, 'gateway.json')
    writeFileSync(config, JSON.stringify(settings))
    if (where === 'embedded') return
    service = await startService(settings)
    const tokens = Context.get(service.context, Tokens.Tokens)
    const token = join(directory, 'token')
    const { secret } = await Effect.runPromise(tokens.create({ label: 't', uid: process.getuid?.() ?? 0, scopes: ['manage'], systems: ['test'], expiresIn: 600_000 }))
    writeFileSync(token, Redacted.value(secret), { mode: 0o600 })
    config = writeClientConfig(directory, service, { token, system: 'test' })
  })
  afterAll(() => service?.stop())

  const shifterimg = (...args: readonly string[]) => run([process.execPath, program, '--config', config, ...args])
  const json = async (...args: readonly string[]): Promise<unknown> => JSON.parse((await shifterimg('--json', ...args)).stdout)
  const name = () => `docker:${registry.host}/app:v`

  it('images are pulled, found, kept, exported and removed', { timeout: 60_000 }, async () => {
    const pulled = await shifterimg('pull', name())
    expect(pulled).toMatchObject({ status: 0, stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/) as string, stderr: expect.stringContaining(`${name()} is ready: `) as string })
    const id = pulled.stdout.trim()
    expect(await shifterimg('images', '--quiet')).toMatchObject({ status: 0, stdout: `${name()}\n`, stderr: '' })
    expect(await shifterimg('lookup', name())).toMatchObject({ status: 0, stdout: `${id}\n`, stderr: '' })
    expect((await shifterimg('inspect', name())).stdout).toContain('env         A=b\n')
    expect(await shifterimg('pin', name())).toMatchObject({ status: 0, stdout: `${id} does not expire; pinned by uid ${process.getuid?.() ?? 0}\n` })
    expect(await json('unpin', name())).toMatchObject({ id, pins: [] })
    expect(await shifterimg('unpin', name())).toMatchObject({ status: 2, stderr: expect.stringContaining('You have not pinned') as string })
    expect((await shifterimg('keep', name(), '--for', '30d')).stdout).toMatch(new RegExp(`^${id} expires 20..-`))
    expect(await shifterimg('keep', name(), '--for', 'ever')).toMatchObject({ stdout: `${id} does not expire\n` })
    expect(await shifterimg('keep', name(), '--for', 'long')).toMatchObject({ status: 2, stderr: expect.stringContaining('"long" is no time') as string })
    expect(await shifterimg('keep', name())).toMatchObject({ status: 2, stderr: expect.stringContaining('keep needs --for TIME') as string })
    const file = work.at(`${where.length}.squashfs`)
    expect(await shifterimg('export', '--format', 'squashfs', '--output', file, name())).toMatchObject({ status: 0 })
    expect(readFileSync(file).equals(readFileSync(join(site.imagePath, `${id}.squashfs`)))).toBe(true)
    expect(await shifterimg('rm', name())).toMatchObject({ status: 0, stdout: expect.stringContaining(`Removed the name ${name()}.`) as string })
    expect(await shifterimg('rm', `id:${id}`)).toMatchObject({ status: 0, stdout: `Removed the image ${id} and 0 names.\n` })
    expect(await shifterimg('lookup', name())).toMatchObject({ status: 1, stderr: expect.stringContaining('IMAGE_NOT_FOUND') as string })
  })

  it('files of one’s own are imported', { timeout: 60_000 }, async () => {
    const imported = await shifterimg('import', 'custom:tools:1', work.at('tools.tar'), '--env', 'T=1')
    expect(imported).toMatchObject({ status: 0, stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/) as string })
    expect(await json('inspect', 'custom:tools:1')).toMatchObject({ names: ['custom:tools:1'], record: { env: ['T=1'], owner: process.getuid?.() ?? 0 } })
    expect(await shifterimg('import', 'custom:tools:2', work.at('none'))).toMatchObject({ status: expect.any(Number) as number, stderr: expect.stringContaining('FILE_UNAVAILABLE') as string })
  })

  it('images are collected and scrubbed', { timeout: 60_000 }, async () => {
    expect(await shifterimg('gc', '--dry-run')).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('Would remove on test: 0 images (0 B)') as string })
    expect(await json('gc')).toEqual({ system: 'test', expired: [], removed: [], staged: [], scratch: 0, problems: [] })
    const { record } = (await json('inspect', 'custom:tools:1')) as { record: { id: string } }
    expect(await shifterimg('scrub')).toMatchObject({ status: 0, stdout: 'Read 1 image on test; 0 damaged ones.\n' })
    const path = join(site.imagePath, `${record.id}.squashfs`)
    const bytes = readFileSync(path)
    bytes[300] = (bytes[300] ?? 0) ^ 1
    writeFileSync(path, bytes)
    const found = await shifterimg('scrub')
    expect(found).toMatchObject({ status: 1, stdout: expect.stringContaining(`damaged  ${record.id}  custom:tools:1: its bytes are not those of its record\n`) as string })
    expect(await json('scrub')).toMatchObject({ damaged: [{ id: record.id }] })
  })
})
