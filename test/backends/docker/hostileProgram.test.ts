/** `shifter-merge` as a process: what it can do once it reads what strangers wrote, and how it ends when its surroundings fail. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { sha256 } from '../../harness/ociLayout.js'
import { DEFAULT_PREFIX } from '../../harness/native.js'
import { run, runOk } from '../../harness/process.js'
import { tarBytes } from '../../harness/tarWriter.js'
import { withWorkspace } from '../../harness/workspace.js'

const program = join(DEFAULT_PREFIX, 'bin', 'shifter-merge')
const policy = (JSON.parse(readFileSync(new URL('../../../formats/limits.json', import.meta.url), 'utf8')) as { readonly filterPolicy: number }).filterPolicy
const options = (layers = 1) =>
  Object.entries({ policy, layers, inflated: 1 << 30, ratio: 1100, entries: 1000, 'directory-entries': 1000, depth: 100, 'name-bytes': 4095 }).flatMap(([name, value]) => [`--${name}`, String(value)])

/** Runs it with orders as its whole input; `tail` is shell for its other descriptors. */
const merge = (orders: string, args: readonly string[] = options(), tail = '3>/dev/null') =>
  run(['sh', '-c', `exec "$@" ${tail}`, 'sh', program, ...args], { input: orders, timeoutMs: 20_000 })

const tar = tarBytes([{ name: 'f', type: 'file', data: 'content' }])
const order = (file: string, { layer = 0, offset = 0, length = tar.length, diffId = sha256(tar).slice(7) } = {}) => `${layer} ${offset} ${length} ${diffId} ${file}\0`

describe('what surrounds it', () => {
  it('merges what it is told, from the middle of a file too', () =>
    withWorkspace(async ({ at }) => {
      const file = at('name with spaces\nand a line')
      writeFileSync(file, Buffer.concat([Buffer.from('before'), tar, Buffer.from('after')]))
      const { stdout, status } = await merge(order(file, { offset: 6 }))
      expect({ stdout, status }).toEqual({ stdout: 'done 2048 2 0\n', status: 0 })
    }))
  it.each<readonly [string, string, RegExp]>([
    ['nothing', '', /^fault 0 INTERNAL the orders ended before the last layer\n$/],
    ['an order that is cut', '0 0 5', /^fault 0 INTERNAL the orders ended before the last layer\n$/],
    ['no order', 'what\0', /^fault 0 INTERNAL an order is not LAYER OFFSET LENGTH DIFF-ID PATH\n$/],
    ['a negative offset', `0 -1 5 ${'0'.repeat(64)} /x\0`, /^fault 0 INTERNAL an order is not/],
    ['a layer that is not there', `7 0 5 ${'0'.repeat(64)} /x\0`, /^fault 0 INTERNAL an order is not/],
    ['a file that is not there', order('/nowhere/blob'), /^fault 0 STATE_UNUSABLE its blob \/nowhere\/blob can't be opened: No such file/],
    ['a directory', order('/'), /^fault 0 LAYER_INVALID its blob \/ is no regular file\n$/],
    ['a device', order('/dev/zero'), /^fault 0 LAYER_INVALID its blob \/dev\/zero is no regular file\n$/],
    ['a name without an end', `0 0 5 ${'0'.repeat(64)} /${'x'.repeat(100_000)}`, /^fault 0 INTERNAL the orders ended/],
  ])('ordered %s, it says so and ends', async (_, orders, said) => {
    const { stdout, status } = await merge(orders)
    expect(stdout).toMatch(said)
    expect(status).toBeGreaterThan(0)
  })
  it('a file that is shorter than its range is refused, and one that is cut meanwhile', () =>
    withWorkspace(async ({ at }) => {
      writeFileSync(at('blob'), tar)
      expect((await merge(order(at('blob'), { length: tar.length + 1 }))).stdout).toMatch(/^fault 0 LAYER_INVALID its blob .* is shorter than it should be\n$/)
      // More than a pipe holds: it waits in the middle of the blob until it is read.
      const large = tarBytes([{ name: 'f', type: 'file', data: Buffer.alloc(16 << 20, 'x') }])
      writeFileSync(at('large'), large)
      const child = spawn(program, options(), { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] })
      child.stdin?.end(order(at('large'), { length: large.length, diffId: sha256(large).slice(7) }))
      const stream = child.stdio[3]
      if (stream === null || stream === undefined || !('read' in stream)) throw new Error('no stream')
      await once(stream, 'readable')
      truncateSync(at('large'), 4096)
      let said = ''
      child.stdout?.on('data', (chunk: Buffer) => { said += chunk.toString() })
      stream.resume()
      await once(child, 'close')
      expect(said).toContain('fault 0 LAYER_INVALID the blob became shorter while it was read\n')
    }))
  it('layers out of their order are refused', () =>
    withWorkspace(async ({ at }) => {
      writeFileSync(at('blob'), tar)
      expect((await merge(order(at('blob'), { layer: 0 }), options(2))).stdout).toBe('fault 1 INTERNAL layer 0 was ordered where 1 comes next\n')
    }))
  it('an output that ends is told, a full disk among them', () =>
    withWorkspace(async ({ at }) => {
      writeFileSync(at('blob'), tar)
      const ended = await merge(order(at('blob')), options(), '3>/dev/full')
      expect({ stdout: ended.stdout, status: ended.status }).toEqual({ stdout: 'output-ended\n', status: 0 })
    }))
  it('without its descriptors it does nothing', () =>
    withWorkspace(async ({ at }) => {
      writeFileSync(at('blob'), tar)
      for (const tail of ['3>&-', '3>/dev/null 2>&-', '3>/dev/null 1>&-']) expect((await merge(order(at('blob')), options(), tail)).status).toBeGreaterThan(0)
    }))
  it('other options, another policy', async () => {
    expect((await merge('', [])).stdout).toContain('fault -1 USAGE')
    expect((await merge('', ['--policy', '999', ...options().slice(2)])).stdout).toMatch(/^fault -1 TOOL_MISSING .*filter policy/)
    expect((await merge('', [...options(), '--depth', '0'])).stdout).toContain('fault -1 USAGE')
    expect((await runOk([program, '--help'])).stdout).toContain('LAYER OFFSET LENGTH DIFF-ID PATH')
  })
})

describe('the sandbox', () => {
  const status = (pid: number, field: string) => new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/\[.*/, '')).sort()

  it('holds before the first byte is read: filtered calls, no new privileges, only the descriptors it needs', () =>
    withWorkspace(async ({ at }) => {
      mkdirSync(at('kept'))
      const secret = openSync(at('kept'), 'r')
      const child = spawn(program, options(), { stdio: ['pipe', 'pipe', 'inherit', 'pipe', secret, secret] })
      closeSync(secret)
      const ended = once(child, 'close')
      try {
        const pid = child.pid ?? 0
        // The opener is there before the filter is; the filter is what is waited for.
        await expect.poll(() => status(pid, 'Seccomp'), { timeout: 20_000, interval: 5 }).toBe('2')
        expect(status(pid, 'NoNewPrivs')).toBe('1')
        const own = descriptors(pid)
        expect(own).toHaveLength(4)
        expect(own.join()).not.toContain(at('kept'))
        const opener = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
        expect(opener).toBeGreaterThan(1)
        // Its orders and its socket; it is no part of the sandbox and gets there in its own time.
        await expect.poll(() => descriptors(opener).length, { timeout: 20_000, interval: 5 }).toBe(2)
        child.kill('SIGKILL')
        await ended
        // The opener goes with it.
        await expect.poll(() => { try { return status(opener, 'State')?.[0] ?? 'gone' } catch { return 'gone' } }, { timeout: 20_000, interval: 5 }).toMatch(/gone|Z|X/)
      } finally {
        child.kill('SIGKILL')
      }
    }))

  it('works for gzip, zstd and plain layers, with plans, and where much memory is needed', () =>
    withWorkspace(async ({ at }) => {
      const many = tarBytes(Array.from({ length: 30_000 }, (_, i) => ({ name: `d${i % 100}/${'n'.repeat(80)}${i}`, type: 'file' as const })))
      const large = ['--entries', '100000']
      writeFileSync(at('plain'), many)
      await runOk(['sh', '-c', 'gzip -1 -c plain > gzip && zstd -q --long=27 -c plain > zstd'], { cwd: at() })
      for (const form of ['plain', 'gzip', 'zstd']) {
        for (const plan of [[], ['--plan']]) {
          const length = readFileSync(at(form)).length
          const { stdout, status } = await merge(order(at(form), { length, diffId: sha256(many).slice(7) }), [...plan, ...options(), ...large])
          expect({ stdout: stdout.split('\n').at(-2)?.replace(/done \d+/, 'done'), status }).toEqual({ stdout: 'done 30101 0', status: 0 })
        }
      }
    }))
})
