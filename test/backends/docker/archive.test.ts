/** Archives, made by skopeo: every form of one image has one id and the same bytes. */
import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeLayout } from '../../harness/ociLayout.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { padded, paxRecord, tarBytes, type TarItem, tarHeader } from '../../harness/tarWriter.js'
import { useWorkspace, withWorkspace } from '../../harness/workspace.js'

const file = (name: string, data: string): TarItem => ({ name, type: 'file', data })
const layers = [
  [file('a', 'one'), file('b', 'x'.repeat(100_000)), { name: 'l', type: 'symlink', linkname: 'a' } as const],
  // The same layer twice, as empty layers are: old archives hold it once and link to it.
  [file('.wh.a', '')],
  [file('.wh.a', '')],
  [file('c', 'three')],
]

const workspace = useWorkspace('archive')
const pulled = (reference: string): Promise<string> =>
  withWorkspace(async ({ path }) => {
    const record = await pullImage(reference, { config: testSite(path).config })
    return `${record.id} ${record.imageSha256}`
  })
const refused = (reference: string, limits: Readonly<Record<string, number>> = {}) =>
  withWorkspace(({ path }) =>
    pullImage(reference, { config: { ...testSite(path).config, limits } }).then(
      () => { throw new Error('it was accepted') },
      (error: unknown) => error as { readonly code: string; readonly message: string },
    ),
  )

describe('an image in every form of archive', () => {
  let expected = ''
  beforeAll(async () => {
    writeLayout(workspace.at('layout'), { tag: 'v1', layers, config: { Env: ['A=1'] } })
    expected = await pulled(`oci:${workspace.at('layout')}:v1`)
    for (const form of ['docker-archive', 'oci-archive']) {
      const target = workspace.at(`${form}.tar`)
      await runOk(['skopeo', '--insecure-policy', 'copy', '--quiet', `oci:${workspace.at('layout')}:v1`, `${form}:${target}:${form === 'docker-archive' ? 'localhost/tool:' : ''}v1`])
      await runOk(['gzip', '-k', target])
      await runOk(['zstd', '-q', target])
    }
  })

  it.each(['docker-archive', 'oci-archive'].flatMap((form) => ['', '.gz', '.zst'].flatMap((suffix) => [[form, suffix, ':v1'], [form, suffix, '']])))(
    '%s:FILE.tar%s%s',
    async (form, suffix, tag) => {
      expect(await pulled(`${form}:${workspace.at(`${form}.tar${suffix}`)}${tag}`)).toBe(expected)
    },
  )

  it('says what tags there are', async () => {
    const error = await refused(`docker-archive:${workspace.at('docker-archive.tar')}:v2`)
    expect(error).toMatchObject({ code: 'MANIFEST_NOT_FOUND' })
    expect(error.message).toContain('localhost/tool:v1')
  })

  it('that is not there, or is none, is refused with what it is', async () => {
    expect(await refused(`docker-archive:${workspace.at('missing.tar')}`)).toMatchObject({ code: 'MANIFEST_NOT_FOUND' })
    expect(await refused(`oci-archive:${workspace.path}/layout`)).toMatchObject({ code: 'MANIFEST_NOT_FOUND' })
    writeFileSync(workspace.at('text'), 'x'.repeat(2000))
    const error = await refused(`docker-archive:${workspace.at('text')}`)
    expect(error.code).toBe('LAYOUT_INVALID')
    expect(error.message).toContain('no tar archive')
  })

  it('that is cut, compressed, is called that', async () => {
    writeFileSync(workspace.at('cut.tar.gz'), readFileSync(workspace.at('docker-archive.tar.gz')).subarray(0, 500))
    expect(await refused(`docker-archive:${workspace.at('cut.tar.gz')}`)).toMatchObject({ code: 'LAYOUT_INVALID', message: expect.stringContaining('cut') as unknown })
  })

  it('that inflates past the limits is refused', async () => {
    expect(await refused(`docker-archive:${workspace.at('docker-archive.tar.gz')}`, { inflatedBytes: 50_000 })).toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })
})

describe('an archive that attacks', () => {
  const archive = (items: readonly TarItem[] | Buffer): string => {
    const path = join(workspace.path, `attack-${Math.random().toString(36).slice(2)}.tar`)
    writeFileSync(path, Buffer.isBuffer(items) ? items : tarBytes(items))
    return `docker-archive:${path}`
  }
  const saved = (Config: string, Layers: readonly string[]) => file('manifest.json', JSON.stringify([{ Config, RepoTags: ['x:v1'], Layers }]))
  const config = JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] } })

  it.each<readonly [string, readonly TarItem[] | Buffer, string, string]>([
    ['names a configuration outside', [saved('../../../etc/passwd', [])], 'LAYOUT_INVALID', 'no file "../../../etc/passwd"'],
    ['names a layer outside', [saved('c', ['/etc/shadow']), file('c', config)], 'LAYOUT_INVALID', '/etc/shadow'],
    ['links to a file outside', [saved('c', ['l']), file('c', config), { name: 'l', type: 'symlink', linkname: '../../etc/shadow' }], 'LAYOUT_INVALID', 'leads out of it'],
    ['links in a circle', [saved('c', ['l']), file('c', config), { name: 'l', type: 'symlink', linkname: 'm' }, { name: 'm', type: 'symlink', linkname: 'l' }], 'LAYOUT_INVALID', 'no file "l"'],
    ['says something twice', [file('manifest.json', '[{"Config":"d","Config":"c","Layers":["l"]}]'), file('c', config)], 'LAYOUT_INVALID', '"Config" twice'],
    ['names a member twice', [saved('c', ['l']), { raw: padded(Buffer.concat([tarHeader({ name: Buffer.from('h'), typeflag: 'x', size: 2 * paxRecord('path', 'c').length }), paxRecord('path', 'c'), paxRecord('path', 'd')])) }, file('e', config)], 'LAYOUT_INVALID', 'path twice'],
    ['has a member twice', [saved('c', ['l']), file('c', config), file('c', 'x')], 'LAYOUT_INVALID', 'two members "c"'],
    ['has another layer than its configuration says', [saved('c', ['l']), file('c', config), file('l', 'x'.repeat(1024))], 'LAYER_INVALID', 'Layer 1 of 1'],
    ['lies about a size', Buffer.concat([tarHeader({ name: Buffer.from('manifest.json'), typeflag: '0', mode: 0o644, size: 1e9 }), padded(Buffer.from('[]'))]), 'LAYOUT_INVALID', 'longer than the archive'],
    ['is cut', tarBytes([saved('c', ['l']), file('c', config)]).subarray(0, 700), 'LAYOUT_INVALID', ''],
    ['has a device', [saved('c', ['l']), { name: 'l', type: 'char', device: { major: 1, minor: 5 } }], 'LAYOUT_INVALID', 'no file, link or directory'],
  ])('%s', async (_, items, code, said) => {
    const error = await refused(archive(items))
    expect(error).toMatchObject({ code })
    expect(error.message).toContain(said)
  })

  it('is read in place, not copied', async () => {
    await withWorkspace(async ({ path }) => {
      const site = testSite(path)
      const scratch: number[] = []
      const sizes = (directory: string): number =>
        readdirSync(directory, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => sum + lstatSync(join(directory, name)).size * (lstatSync(join(directory, name)).isFile() ? 1 : 0), 0)
      await pullImage(`docker-archive:${workspace.at('docker-archive.tar')}`, {
        config: site.config,
        onProgress: (event) => {
          if (event._tag === 'Packed') scratch.push(sizes(join(site.stateDirectory, 'work')) + sizes(join(site.stateDirectory, 'blobs')))
        },
      })
      expect(scratch.length).toBeGreaterThan(0)
      expect(Math.max(...scratch)).toBe(0)
    })
  })
})
