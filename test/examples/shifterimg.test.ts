/** `shifterimg` as users run it: what it accepts, what it prints, and how it says what is wrong. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { createClient } from '@libsql/client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { progressDisplay } from '../../examples/shifterimg/progress.js'
import { ensureTestAccounts, runAs } from '../harness/accounts.js'
import { writeLayout } from '../harness/ociLayout.js'
import { type Registry, startRegistry } from '../harness/registry.js'
import { program, startShifterimg } from '../harness/shifterimg.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const work = useWorkspace('shifterimg')
let site: TestSite
let empty: TestSite
let first: string
let second: string
let id: string
let count = 0

const shifterimg = (...args: readonly string[]) => startShifterimg(site, work.path, args).ended
const id64 = /^[0-9a-f]{64}\n$/

beforeAll(async () => {
  await built()
  mkdirSync(work.at('empty'))
  site = testSite(work.at('site'))
  empty = testSite(work.at('empty'))
  const layers = [[{ name: 'hello', type: 'file' as const, data: 'hello\n' }]]
  for (const name of ['one', 'two']) writeLayout(work.at(name), { tag: 'v', layers })
  first = `oci:${work.at('one')}:v`
  second = `oci:${work.at('two')}:v`
  const pulled = await shifterimg('pull', first)
  expect(pulled).toMatchObject({ status: 0, stdout: expect.stringMatching(id64) as string })
  id = pulled.stdout.trim()
})

/** A pull that waits for a registry which takes calls and never answers. */
const hangingPull = async (name: string) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const called = new Promise<void>((resolve) => server.once('connection', () => resolve()))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const own = testSite(work.at(name), [host])
  const started = startShifterimg(own, work.path, ['pull', `docker:${host}/x`])
  await called
  return { ...started, site: own, ended: started.ended.finally(() => server.close()) }
}

describe('the command line', () => {
  it.each([
    [['lookup', '--platform', 'linux/s390x', 'x'], 'lookup has no option --platform'],
    [['lookup', '--user', 'root', 'x'], 'lookup has no option --user'],
    [['images', '--platform', 'linux/amd64'], 'images has no option --platform'],
    [['rm', '--quiet', 'x'], 'rm has no option --quiet'],
    [['images', '--version'], 'images has no option --version'],
    [['pull', 'a', 'b'], 'pull takes one REFERENCE; there are 2'],
    [['pull'], 'pull needs a REFERENCE'],
    [['images', 'x'], 'images takes no operand; there is 1'],
    [['help', 'nonsense'], 'there is no command "nonsense"'],
    [['--nonsense'], "Unknown option '--nonsense'"],
    [[], 'a command is missing'],
  ])('%j is refused: %s', async (args, what) => {
    const line = await shifterimg(...args)
    expect(line).toMatchObject({ status: 2, stdout: '', stderr: `shifterimg: USAGE: ${what}. See shifterimg --help.\n` })
    const json = await shifterimg('--json', ...args)
    expect(json).toMatchObject({ status: 2, stderr: '' })
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'USAGE', reason: 'Usage', what, remedy: 'See shifterimg --help.' } })
  })

  it('helps with a command in both orders', async () => {
    const help = await shifterimg('help', 'pull')
    expect(help).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/^shifterimg pull \[options\] REFERENCE\n[\s\S]*--platform/) as string })
    expect((await shifterimg('pull', '--help')).stdout).toBe(help.stdout)
  })

  it.each(['', ',', ',,5', 'root,', ' '])('--user and --group "%s" name nobody, and nothing is published', async (list) => {
    for (const option of ['--user', '--group']) {
      const result = await startShifterimg(empty, work.path, ['pull', option, list, first]).ended
      expect(result).toMatchObject({ status: 2, stdout: '' })
      expect(result.stderr).toContain(`shifterimg: USAGE: ${option} names nobody`)
    }
    expect(await startShifterimg(empty, work.path, ['images']).ended).toMatchObject({ status: 0, stdout: '' })
  })

  it.each([['--user', '4294967295'], ['--group', '99999999999'], ['--user', '1.5'], ['--group', '-1'], ['--user', 'nobody-of-that-name']])('%s=%s is no number', async (option, value) => {
    expect(await startShifterimg(empty, work.path, ['pull', `${option}=${value}`, first]).ended).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/^shifterimg: USAGE: /) as string })
  })

  it.each(['lookup', 'inspect', 'rm'])('%s says that a shortened id is none', async (command) => {
    expect((await shifterimg(command, `id:${id.slice(0, 12)}`)).stderr).toContain('an id has 64 hexadecimal digits')
  })

  it('says how to write what is written elsewhere', async () => {
    expect((await shifterimg('pull', 'docker://debian:12')).stderr).toContain('write docker:debian:12, without //')
    expect((await shifterimg('pull', 'https://host.example/x')).stderr).toContain('write docker:host.example/x, without https://')
  })
})

describe('a login', () => {
  let guarded: Registry
  beforeAll(async () => { guarded = await startRegistry({ auth: { username: 'ann', password: 'se:cret' } }) })
  afterAll(() => guarded.stop())

  /** On a terminal of its own: what is written when a text is seen, and all that was shown. */
  const onTerminal = async (args: readonly string[], answers: readonly (readonly [seen: string, typed: string])[]) => {
    const directory = work.at(`login${count++}`)
    const own = testSite(directory, [guarded.host])
    const config = join(directory, 'gateway.json')
    writeFileSync(config, JSON.stringify({ ...own.config, dockerLogins: join(directory, 'docker') }))
    const command = [process.execPath, program, '--config', config, ...args].map((each) => `'${each}'`).join(' ')
    // Its terminal shows what is typed, unless the program forbids it.
    const child = spawn('script', ['--quiet', '--return', '--echo', 'always', '--command', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
    let shown = ''
    const left = [...answers]
    child.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString()
      const [next] = left
      if (next === undefined || !shown.includes(next[0])) return
      left.shift()
      child.stdin.write(next[1])
    })
    const [status] = (await once(child, 'close')) as [number]
    const kept = join(directory, 'docker/config.json')
    return { status, shown, kept: existsSync(kept) ? (JSON.parse(readFileSync(kept, 'utf8')) as unknown) : undefined }
  }
  const logins = () => ({ auths: { [guarded.host]: { auth: Buffer.from('ann:se:cret').toString('base64') } } })

  it('asks for name and password on the terminal, and shows the one but not the other', async () => {
    const { kept, shown, status } = await onTerminal(['login', guarded.host], [['User name: ', 'ann\r'], ['Password: ', 'se:cret\r']])
    expect(status, shown).toBe(0)
    expect(kept).toEqual(logins())
    expect(shown).toContain('ann')
    expect(shown).not.toContain('cret')
  })

  it('asks for the password alone where the name is given; what is mistyped can be mended', async () => {
    const { kept, shown, status } = await onTerminal(['login', '--username', 'ann', guarded.host], [['Password: ', 'wrong\x15se:crex\x7ft\r']])
    expect(status, shown).toBe(0)
    expect(shown).not.toContain('User name')
    expect(kept).toEqual(logins())
  })

  it.each([
    ['Ctrl-C', '\x03', 130, 'CANCELLED'],
    ['the end of the input', '\x04', 2, 'USAGE: there was no answer'],
    ['nothing', '\r', 2, 'USAGE: the password is empty'],
    ['a wrong password', 'wrong\r', 3, 'REGISTRY_UNAUTHORIZED'],
  ])('is not made by %s at the password', async (_, typed, exit, said) => {
    const { kept, shown, status } = await onTerminal(['login', '--username', 'ann', guarded.host], [['Password: ', typed]])
    expect({ status, shown }).toEqual({ status: exit, shown: expect.stringContaining(said) as string })
    expect(shown).not.toContain('wrong')
    expect(kept).toBeUndefined()
  })

  it.each([['\x03', 130], ['\x04', 2]])('ends at the name too (%j)', async (typed, exit) => {
    expect((await onTerminal(['login', guarded.host], [['User name: ', typed]])).status).toBe(exit)
  })

  it('of a pull asks for its password too', async () => {
    const { shown, status } = await onTerminal(['pull', '--username', 'ann', `docker:${guarded.host}/none:v`], [['Password: ', 'se:cret\r']])
    expect(shown).toContain('MANIFEST_NOT_FOUND')
    expect(status).toBe(1)
  })

  it('without a terminal says what to give', async () => {
    expect(await shifterimg('login', '--username', 'ann', guarded.host)).toMatchObject({ status: 2, stderr: expect.stringMatching(/no terminal to ask .* --password-stdin .* < password/) as string })
    expect(await shifterimg('login', '--password-stdin', guarded.host)).toMatchObject({ status: 2, stderr: expect.stringContaining('--password-stdin needs --username') as string })
  })
})

describe('who may not read an image path', () => {
  it.each([['images', []], ['lookup', ['x']], ['inspect', ['x']], ['rm', ['x']], ['rm', [`id:${'0'.repeat(64)}`]]])('is told so by %s %j', async (command, operands) => {
    const { userA } = await ensureTestAccounts()
    const config = work.at('readable.json')
    writeFileSync(config, JSON.stringify(site.config), { mode: 0o644 })
    const { status, stderr } = await runAs(userA, [process.execPath, program, '--config', config, command, ...operands])
    expect({ status, stderr }).toEqual({ status: 3, stderr: expect.stringMatching(/^shifterimg: ACCESS_DENIED: The image path .* is not this account's to read or change: .*Ask as the account that pulls/) as string })
  })
})

describe('a pull that verifies', () => {
  it('finds a damaged image and converts it anew', async () => {
    const file = join(site.imagePath, `${id}.squashfs`)
    const sound = readFileSync(file)
    writeFileSync(file, Buffer.alloc(sound.length))
    expect(await shifterimg('pull', first)).toMatchObject({ status: 0, stderr: expect.not.stringContaining('Converting') as string })
    expect(await shifterimg('pull', '--verify', first)).toMatchObject({ status: 0, stderr: expect.stringContaining('Converting') as string })
    expect(readFileSync(file).equals(sound)).toBe(true)
  })
})

describe('what it prints', () => {
  it('the name that was asked for, also when the image has another', async () => {
    const pulled = await shifterimg('pull', second)
    expect(pulled).toMatchObject({ status: 0, stdout: `${id}\n` })
    expect(pulled.stderr).toContain(`${second} is ready: `)
    expect(pulled.stderr).not.toContain(`${first} is ready`)
  })

  it('ids that other commands accept', async () => {
    const { stdout } = await shifterimg('images')
    const shown = stdout.split('\n').find((line) => line.startsWith(first))?.split(/ +/)[1] ?? ''
    expect(shown).toBe(id)
    expect(await shifterimg('inspect', `id:${shown}`)).toMatchObject({ status: 0, stdout: expect.stringContaining(id) as string })
  })

  it('that there is nothing', async () => {
    expect(await startShifterimg(empty, work.path, ['images']).ended).toMatchObject({ status: 0, stdout: '', stderr: 'No images on test.\n' })
    expect(await startShifterimg(empty, work.path, ['images', '--json']).ended).toMatchObject({ status: 0, stdout: '[]\n' })
  })

  it('what failed when its output can\'t be written', async () => {
    const full = openSync('/dev/full', 'w')
    const { status, stderr } = await startShifterimg(site, work.path, ['images'], full).ended
    closeSync(full)
    expect({ status, stderr }).toEqual({ status: 6, stderr: expect.stringMatching(/^shifterimg: STORAGE_FULL: Standard output can't be written: [^\n]*ENOSPC[^\n]*\n$/) as string })
  })

  it('that it was interrupted', async () => {
    const pull = await hangingPull('interrupted')
    pull.child.kill('SIGINT')
    const { status, stderr, stdout } = await pull.ended
    expect({ status, stdout }).toEqual({ status: 130, stdout: '' })
    expect(stderr).toContain('shifterimg: CANCELLED: Interrupted; finished layers are kept. Run it again to go on.\n')
  })

  it('nothing more after a second signal, of whatever kind', async () => {
    const pull = await hangingPull('twice')
    // What the first one has to put in order can't be written now.
    const catalog = createClient({ url: `file:${join(pull.site.stateDirectory, 'catalog.db')}` })
    const writing = await catalog.transaction('write')
    const caught = () => BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pull.child.pid}/status`, 'utf8'))?.[1] ?? '0'}`)
    const TERM = 1n << BigInt(constants.signals.SIGTERM - 1)
    expect(caught() & TERM).toBe(TERM)
    pull.child.kill('SIGINT')
    await vi.waitFor(() => expect(caught() & TERM).toBe(0n), { timeout: 10_000, interval: 10 })
    pull.child.kill('SIGTERM')
    expect(await pull.ended).toMatchObject({ signal: 'SIGTERM', stdout: '' })
    await writing.rollback()
    catalog.close()
  })

  it('names and layers in the singular and the plural', async () => {
    const other = testSite(work.at('plural'))
    const pulled = await startShifterimg(other, work.path, ['pull', first]).ended
    expect(pulled.stderr).toMatch(/Fetching: 1 layer, /)
    expect((await startShifterimg(other, work.path, ['rm', `id:${id}`]).ended).stdout).toBe(`Removed the image ${id} and 1 name.\n`)
    await startShifterimg(other, work.path, ['pull', first]).ended
    await startShifterimg(other, work.path, ['rm', first]).ended
    expect((await startShifterimg(other, work.path, ['rm', `id:${id}`]).ended).stdout).toBe(`Removed the image ${id} and 0 names.\n`)
  })
})

describe('progress on a terminal', () => {
  /** The last picture of a layer that is being fetched. */
  const drawn = (columns: number, received = 123_456_789, cached = false): string[] => {
    const out = Object.assign(new PassThrough(), { isTTY: true, columns, rows: 24 })
    const display = progressDisplay(out as unknown as NodeJS.WriteStream, false)
    const digest = `sha256:${'0123456789ab'.padEnd(64, 'c')}`
    display.event({ _tag: 'Resolved', id: 'c'.repeat(64), layers: [{ digest, bytes: 987_654_321 }] })
    display.event({ _tag: 'Layer', digest, bytes: 987_654_321, received, cached })
    display.event({ _tag: 'Phase', phase: 'fetch' })
    const [last = ''] = (out.read() as Buffer).toString().split('\x1b[J').slice(-1)
    return last.trimEnd().split('\n')
  }

  it.each([40, 50, 60, 69, 80, 120, 0])('%i columns hold every number with its unit', (columns) => {
    const lines = drawn(columns)
    expect(lines[0]).toMatch(/118 MiB of 942 MiB$/)
    expect(lines[1]).toBe('Fetching 118 MiB of 942 MiB')
    expect(lines[0]?.includes('[')).toBe(columns !== 40)
    expect(drawn(columns, 987_654_321, true)[0]).toMatch(/942 MiB of 942 MiB, here already$/)
    for (const line of lines) expect(line.length).toBeLessThan(columns === 0 ? 80 : columns)
  })

  it('is as wide as a terminal that does not know its width may be', () => {
    expect(drawn(0)).toEqual(drawn(80))
  })
})
