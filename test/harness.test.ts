/** The harness itself: what the other tests lean on has to carry. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureTestAccounts, runAs } from './harness/accounts.js'
import { blobPath, hostPlatform, writeIndexLayout, writeLayout, type Compression, type Layer, type MediaTypes } from './harness/ociLayout.js'
import { run, runOk } from './harness/process.js'
import { startRegistry, type Registry } from './harness/registry.js'
import { stacks } from './harness/stacks.js'
import { tarBytes, type TarFormat } from './harness/tarWriter.js'
import { compareTrees, directoryTree, squashfsTree, umociUnpack } from './harness/umoci.js'
import { useWorkspace, withWorkspace } from './harness/workspace.js'

const layers: readonly Layer[] = [
  [
    { name: 'etc', type: 'dir' },
    { name: 'etc/os-release', type: 'file', data: 'NAME=test\n' },
    { name: 'etc/gone', type: 'file', data: 'x' },
    { name: Buffer.from('caf\xe9', 'latin1'), type: 'symlink', linkname: 'etc' },
  ],
  [
    { name: 'etc/.wh.gone', type: 'file' },
    { name: 'etc/link', type: 'hardlink', linkname: 'etc/os-release' },
  ],
]

describe('tar writer', () => {
  const name = Buffer.concat([Buffer.from(`${'directory/'.repeat(9)}`), Buffer.from('f\xff'.repeat(40), 'latin1')])
  it.each<TarFormat>(['ustar', 'gnu', 'pax'])('writes %s as GNU tar reads it', async (format) => {
    await withWorkspace(async ({ path, at }) => {
      writeFileSync(
        at('a.tar'),
        tarBytes([
          { name, type: 'file', data: 'hello', mode: 0o4711, mtime: 12345, format },
        ]),
      )
      mkdirSync(at('out'))
      await runOk(['tar', '-C', at('out'), '-xpf', at('a.tar')])
      const node = directoryTree(`${path}/out`).get(name.toString('latin1'))
      expect(node).toMatchObject({ type: 'file', mode: 0o4711, mtime: 12345 })
    })
  })

  it('writes long link targets in GNU and pax form, large numbers and extended attributes', async () => {
    await withWorkspace(async ({ at }) => {
      const target = 't/'.repeat(80)
      writeFileSync(
        at('a.tar'),
        tarBytes([
          { name: 'g', type: 'symlink', linkname: target, format: 'gnu', uid: 3_000_000 },
          { name: 'p', type: 'symlink', linkname: target, format: 'pax' },
          { name: 'x', type: 'file', data: 'x', xattrs: { 'user.note': Buffer.from([1, 0xff]) } },
          { name: 'n', type: 'char', device: { major: 1, minor: 3 } },
        ]),
      )
      const { stdout } = await runOk(['tar', '--numeric-owner', '--xattrs', '-tvvf', at('a.tar')])
      expect(stdout.split(target).length).toBe(3)
      expect(stdout).toContain('3000000/0')
      expect(stdout).toContain('x: 2 user.note')
      expect(stdout).toMatch(/^crw-r--r-- +0\/0 +1,3 /m)
    })
  })
})

describe('layouts and registry', () => {
  const workspace = useWorkspace('harness')
  let registry: Registry
  beforeAll(async () => {
    registry = await startRegistry()
  })
  afterAll(() => registry.stop())

  it.each<[Compression, MediaTypes]>([
    ['gzip', 'oci'],
    ['none', 'oci'],
  ])('umoci unpacks a %s %s layout', async (compression, mediaTypes) => {
    const dir = workspace.at(`layout-${compression}-${mediaTypes}`)
    writeLayout(dir, { tag: 'latest', layers, compression, mediaTypes })
    const tree = directoryTree(await umociUnpack(dir, 'latest', workspace.at(`out-${compression}-${mediaTypes}`)))
    expect([...tree.keys()].sort()).toEqual(['', 'caf\xe9', 'etc', 'etc/link', 'etc/os-release'])
    expect(tree.get('etc/link')?.links).toEqual(['etc/link', 'etc/os-release'])
  })

  it.each<[Compression, MediaTypes]>([
    ['gzip', 'oci'],
    ['zstd', 'oci'],
    ['none', 'oci'],
    ['gzip', 'docker'],
  ])('pushes a %s %s layout that skopeo reads', async (compression, mediaTypes) => {
    const dir = workspace.at(`push-${compression}-${mediaTypes}`)
    const image = writeLayout(dir, {
      tag: 'v1', layers, compression, mediaTypes, config: { Env: ['A=b'], Cmd: ['/bin/sh'] },
    })
    const name = `x/${compression}-${mediaTypes}:v1`
    await registry.push(dir, 'v1', name)
    const source = `docker://${registry.host}/${name}`
    const { stdout } = await runOk(['skopeo', 'inspect', '--config', '--tls-verify=false', source])
    expect(JSON.parse(stdout)).toMatchObject({ config: { Env: ['A=b'] }, rootfs: { diff_ids: image.diffIds } })
    // A copy reads every blob and checks it.
    await runOk(['skopeo', '--insecure-policy', 'copy', '--src-tls-verify=false', source, `dir:${dir}-copy`])
    const raw = await runOk(['skopeo', 'inspect', '--raw', '--tls-verify=false', source])
    expect(raw.stdout).toBe(readFileSync(blobPath(dir, image.manifestDigest), 'utf8'))
  })

  it('serves an index of several platforms', async () => {
    const dir = workspace.at('index')
    const { images } = writeIndexLayout(dir, {
      tag: 'multi',
      images: [
        { platform: hostPlatform, layers, config: { Env: ['HERE=1'] } },
        { platform: { os: 'linux', architecture: 's390x' }, layers: [], config: { Env: ['THERE=1'] } },
      ],
    })
    expect(images).toHaveLength(2)
    await registry.push(dir, 'multi', 'multi:1')
    const { stdout } = await runOk([
      'skopeo', 'inspect', '--config', '--override-arch', 's390x', '--tls-verify=false', `docker://${registry.host}/multi:1`,
    ])
    expect(stdout).toContain('THERE=1')
  })

  it('takes what skopeo pushes', async () => {
    const dir = workspace.at('skopeo')
    const image = writeLayout(dir, { tag: 'v1', layers })
    await runOk([
      'skopeo', '--insecure-policy', 'copy', '--dest-tls-verify=false', `oci:${dir}:v1`, `docker://${registry.host}/skopeo:v1`,
    ])
    const answer = await fetch(`${registry.url}/v2/skopeo/manifests/${image.manifestDigest}`, {
      headers: { Accept: 'application/vnd.oci.image.manifest.v1+json' },
    })
    await answer.arrayBuffer()
    expect(answer.status).toBe(200)
  })

  it('counts what was fetched', async () => {
    const dir = workspace.at('counted')
    const { blobDigests } = writeLayout(dir, { tag: 'v1', layers })
    await registry.push(dir, 'v1', 'counted:v1')
    const digest = blobDigests[0] ?? ''
    for (let i = 0; i < 3; i++) await (await fetch(`${registry.url}/v2/counted/blobs/${digest}`)).arrayBuffer()
    expect((await registry.blobFetches('counted')).get(digest)).toBe(3)
    expect((await registry.requests()).filter(({ method }) => method === 'PUT').length).toBeGreaterThan(0)
  })

  it('asks for a password where it is told to', async () => {
    const locked = await startRegistry({ auth: { username: 'ada', password: "p'ss w:rd" } })
    try {
      const dir = workspace.at('locked')
      writeLayout(dir, { tag: 'v1', layers })
      await locked.push(dir, 'v1', 'locked:v1')
      const url = `${locked.url}/v2/locked/manifests/v1`
      const ask = async (password: string): Promise<number> => {
        const Authorization = `Basic ${Buffer.from(`ada:${password}`).toString('base64')}`
        const answer = await fetch(url, { headers: { Authorization, Accept: 'application/vnd.oci.image.manifest.v1+json' } })
        await answer.arrayBuffer()
        return answer.status
      }
      expect(await ask('wrong')).toBe(401)
      expect(await ask("p'ss w:rd")).toBe(200)
    } finally {
      await locked.stop()
    }
  })
})

describe('trees', () => {
  it('finds every kind of difference, and none between a tree and its squashfs', async () => {
    await withWorkspace(async ({ at }) => {
      const tar = (mode: number, data: string): Buffer =>
        tarBytes([
          { name: 'f', type: 'file', data, mode },
          { name: 'h', type: 'hardlink', linkname: 'f' },
          { name: Buffer.from('\xff', 'latin1'), type: 'symlink', linkname: 'f' },
        ])
      writeFileSync(at('a.tar'), tar(0o644, '1'))
      writeFileSync(at('b.tar'), tar(0o755, '2'))
      for (const name of ['a', 'b']) {
        mkdirSync(at(name))
        await runOk(['tar', '-C', at(name), '-xf', at(`${name}.tar`)])
      }
      await runOk(['tar2sqfs', '-q', '-f', at('a.sqfs')], { input: readFileSync(at('a.tar')) })
      const a = directoryTree(at('a'))
      expect(compareTrees(a, await squashfsTree(at('a.sqfs')))).toEqual([])
      const differences = compareTrees(a, directoryTree(at('b')))
      expect(differences.some((line) => line.includes('mode "644" and "755"'))).toBe(true)
      expect(differences.some((line) => line.includes('contents'))).toBe(true)
    })
  })
})

describe('stacks', () => {
  const workspace = useWorkspace('stacks')
  it('are valid: umoci unpacks them, to what the model says', async () => {
    let count = 0
    await fc.assert(
      fc.asyncProperty(stacks(), async (stack) => {
        const dir = workspace.at(`s${count++}`)
        writeLayout(`${dir}/layout`, { tag: 't', layers: stack.layers, compression: 'none' })
        // The model leaves devices and FIFOs out, as our images do.
        const tree = [...directoryTree(await umociUnpack(`${dir}/layout`, 't', `${dir}/bundle`))].filter(([, { type }]) => ['file', 'dir', 'symlink'].includes(type))
        expect(compareTrees(stack.expected, new Map(tree))).toEqual([])
      }),
      { numRuns: Number(process.env['STACK_RUNS'] ?? 25) },
    )
  }, 600_000)
})

describe('accounts', () => {
  it('run programs as themselves, with an environment of their own', async () => {
    const { userA, userB } = await ensureTestAccounts()
    expect(userA.uid).not.toBe(userB.uid)
    const { stdout, status } = await runAs(userA, ['sh', '-c', 'id -u; echo "$HOME"; pwd; echo "$X"; env | grep -c ^npm_'], {
      env: { X: 'y z' },
    })
    expect(stdout).toBe(`${userA.uid}\n${userA.home}\n/\ny z\n0\n`)
    expect(status).toBe(1)
    expect((await run(['getent', 'passwd', userA.name])).stdout).toContain('/bin/sh')
  })
})
