/** What a disk of 10 GB takes of memory: the gateway under 300 MB, and each program that reads it under 768 MB. With SHIFTER_TEST_VM=1, as `npm run test:vm` does. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { inFormat } from '../../harness/disks.js'
import { runOk } from '../../harness/process.js'
import { program } from '../../harness/shifterimg.js'
import { testSite } from '../../harness/site.js'
import { useWorkspace } from '../../harness/workspace.js'
import { makeSystem, MIB } from '../../native/disks/make.js'
import { built } from '../../package/dist.js'

const work = useWorkspace('vm-memory')
const isWanted = process.env['SHIFTER_TEST_VM'] === '1'
if (!isWanted) console.log('memory for a disk of 10 GB is not measured; all: npm run test:vm')

/** The highest that each program of a tree of processes had resident, in MiB, by its name. */
const peaks = (root: number, seen: Map<string, number>): void => {
  const parents = new Map<number, number>()
  const resident = new Map<number, readonly [name: string, mib: number]>()
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '0'
      parents.set(pid, Number(field('PPid')))
      resident.set(pid, [pid === root ? 'gateway' : field('Name'), Number(field('VmHWM')) / 1024])
    } catch {
      // It has ended meanwhile.
    }
  }
  const isOfTree = (pid: number): boolean => pid === root || (pid > 1 && isOfTree(parents.get(pid) ?? 0))
  for (const [pid, [name, mib]] of resident) if (isOfTree(pid)) seen.set(name, Math.max(seen.get(name) ?? 0, mib))
}

describe.skipIf(!isWanted)('a sparse disk of 10 GB', () => {
  beforeAll(async () => {
    await built()
    const tree = makeSystem(work.at('tree'))
    for (let i = 0; i < 8; i += 1) writeFileSync(join(tree, `opt/noise${i}`), randomBytes(32 * MIB))
    await runOk(['truncate', '-s', '10G', work.at('disk.raw')])
    await runOk(['mkfs.ext4', '-q', '-d', tree, work.at('disk.raw')])
    await inFormat('qcow2', work.at('disk.raw'), work.at('disk.qcow2'))
  })

  it.each(['raw', 'qcow2'])('%s', async (format) => {
    const config = work.at(`${format}.json`)
    writeFileSync(config, JSON.stringify(testSite(work.at(format)).config))
    const child = spawn(process.execPath, [program, '--config', config, 'pull', `vm:${work.at(`disk.${format}`)}`], { stdio: ['ignore', 'ignore', 'inherit'] })
    const seen = new Map<string, number>()
    const sampling = setInterval(() => peaks(child.pid ?? 0, seen), 50)
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
    clearInterval(sampling)
    console.info(`${format}: ${[...seen].map(([name, mib]) => `${name} ${Math.round(mib)} MiB`).join(', ')}`)
    expect(status).toBe(0)
    const { gateway = 0, ...programs } = Object.fromEntries(seen)
    expect(gateway).toBeGreaterThan(0)
    expect(gateway).toBeLessThan(300)
    // The User-Mode Linux, as its launcher names it.
    expect(Object.keys(programs)).toContain('kernel')
    expect(Math.max(...Object.values(programs))).toBeLessThan(768)
  }, 600_000)
})
