/** The merger against umoci: what a published image holds equals what umoci unpacks of the same layers. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { pullImage } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { writeLayout } from '../../harness/ociLayout.js'
import { runOk } from '../../harness/process.js'
import { testSite } from '../../harness/site.js'
import { describeLayers, stacks } from '../../harness/stacks.js'
import { attributesOf, compareTrees, directoryTree, type Tree, umociUnpack } from '../../harness/umoci.js'
import { withWorkspace } from '../../harness/workspace.js'

/** What our policy makes of a tree: no setuid and setgid bits, no device nodes and FIFOs. */
const withPolicy = (tree: Tree): Tree =>
  new Map([...tree].flatMap(([name, node]) => (['file', 'dir', 'symlink'].includes(node.type) ? [[name, { ...node, mode: node.mode & 0o1777 }]] : [])))

const runs = Number(process.env['SHIFTER_TEST_STACKS'] ?? 200)

describe('umoci', () => {
  it(`unpacks the same tree, for ${runs} generated layer stacks`, { timeout: 600_000 }, async () => {
    const seed = Number(process.env['SHIFTER_TEST_SEED'] ?? Date.now() % 2 ** 31)
    console.log(`layer stacks: seed ${seed}`)
    let cleared = 0
    let dropped = 0
    let attributed = 0
    await fc.assert(
      fc.asyncProperty(stacks(), (stack) =>
        withWorkspace(async ({ path }) => {
          const layout = join(path, 'layout')
          writeLayout(layout, { tag: 'v', layers: stack.layers, config: {}, compression: 'gzip', mediaTypes: 'oci' })
          const site = testSite(path)
          const record = await pullImage(`oci:${layout}:v`, { config: { ...site.config, readBack: 'full' } })
          const theirs = directoryTree(await umociUnpack(layout, 'v', join(path, 'umoci')))
          await runOk(['unsquashfs', '-no-progress', '-quiet', '-dest', join(path, 'ours'), join(site.imagePath, `${record.id}.squashfs`)])
          const ours = directoryTree(join(path, 'ours'))
          const differences = compareTrees(withPolicy(theirs), ours)
          expect(differences.join("\n"), `${differences.join("\n")}\n${describeLayers(stack.layers)}`).toBe("")
          if (stack.layers.flat().some((entry) => entry.xattrs !== undefined)) {
            attributed++
            const [mine, reference] = await attributesOf(join(path, 'ours'), join(path, 'umoci', 'rootfs'))
            expect(mine).toEqual(reference)
          }
          // The policy's own difference is asserted, not ignored.
          for (const [name, node] of theirs) {
            if (!['file', 'dir', 'symlink'].includes(node.type)) {
              dropped++
              expect(ours.has(name)).toBe(false)
              continue
            }
            if ((node.mode & 0o6000) === 0) continue
            cleared++
            expect((ours.get(name)?.mode ?? 0o7777) & 0o6000).toBe(0)
          }
          expect(readdirSync(site.imagePath).filter((name) => name.startsWith('.'))).toEqual([])
        }),
      ),
      { seed, numRuns: runs, endOnFailure: process.env["SHIFTER_TEST_SHRINK"] !== "1" },
    )
    expect(cleared).toBeGreaterThan(0)
    expect(dropped).toBeGreaterThan(0)
    expect(attributed).toBeGreaterThan(0)
  })
})
