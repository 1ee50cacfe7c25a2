/** A Debian system with Python, from Debian's packages: what is published equals what umoci unpacks. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { pullImage } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { type Layer, writeLayout } from '../../harness/ociLayout.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { compareTrees, directoryTree, squashfsTree, umociUnpack } from '../../harness/umoci.js'
import { withWorkspace } from '../../harness/workspace.js'

/** Packages that a package needs, itself first; virtual ones left out. */
const closure = async (name: string): Promise<readonly string[]> => {
  const { stdout } = await runOk(['apt-cache', 'depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks', '--no-replaces', '--no-enhances', name])
  return [...new Set(stdout.split('\n').filter((line) => /^[a-z0-9]/.test(line)))]
}

describe('a Debian image with Python', () => {
  it('equals what umoci unpacks, but for the policy', async () => {
    await withWorkspace(async ({ path, at }) => {
      mkdirSync(at('debs'))
      // _apt, which downloads, has no way into a private directory: root does it himself.
      const download = async () => {
        const packages = [...(await closure('python3-minimal')), 'base-files', 'passwd', 'login']
        await runOk(['apt-get', '-o', 'APT::Sandbox::User=root', 'download', '-qq', ...packages], { cwd: at('debs') })
      }
      // The machine's lists may be missing, or older than the archive.
      await download().catch(async () => {
        await runOk(['apt-get', '-qq', 'update'])
        await download()
      })
      const debs = readdirSync(at('debs')).filter((file) => file.endsWith('.deb')).sort()
      expect(debs.length).toBeGreaterThan(10)
      const layers: Layer[] = []
      for (const deb of debs) {
        await runOk(['sh', '-c', 'dpkg-deb --fsys-tarfile "$1" | gzip -1 > "$2"', 'sh', join(at('debs'), deb), at('layer.gz')])
        layers.push(gunzipSync(readFileSync(at('layer.gz'))))
      }
      // What a builder does after installing: a removal, a replaced directory, a changed file, a link to a lower one.
      layers.push([
        { name: 'usr/share/.wh.doc', type: 'file' },
        { name: 'usr/share/man/.wh..wh..opq', type: 'file' },
        { name: 'etc/debian_version', type: 'file', data: 'changed\n' },
        { name: 'usr/local/bin/python', type: 'hardlink', linkname: 'usr/bin/python3.11' },
      ])
      writeLayout(at('layout'), { tag: 'v', layers, compression: 'gzip' })
      const site = testSite(path)
      const record = await pullImage(`oci:${at('layout')}:v`, { config: site.config })
      const theirs = directoryTree(await umociUnpack(at('layout'), 'v', at('umoci')))
      const ours = await squashfsTree(join(site.imagePath, `${record.id}.squashfs`))
      expect(compareTrees(theirs, ours, { modeMask: 0o1777 })).toEqual([])
      expect(ours.size).toBeGreaterThan(1000)
      expect(ours.get('usr/local/bin/python')?.links).toEqual(['usr/bin/python3.11', 'usr/local/bin/python'])
      const setuid = [...theirs].filter(([, node]) => (node.mode & 0o6000) !== 0).map(([name]) => name)
      expect(setuid).toContain('usr/bin/passwd')
      for (const name of setuid) expect((ours.get(name)?.mode ?? 0o7777) & 0o6000).toBe(0)
    })
  })
})
