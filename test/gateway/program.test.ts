/** `shifter-gateway` as administrators run it: what it checks, its tokens, and a service that starts and stops. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run, runOk } from '../harness/process.js'
import { type Munge, startMunge } from '../harness/munge.js'
import { ask } from '../harness/service.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'
import { built } from '../package/dist.js'

const program = fileURLToPath(new URL('../../dist/bin/shifter-gateway.js', import.meta.url))
const work = useWorkspace('program')
let munge: Munge
let site: TestSite

beforeAll(async () => {
  await built()
  munge = await startMunge(work.at('munge'))
  site = testSite(work.at('site'))
})
afterAll(() => munge.stop())

const configured = (server: Readonly<Record<string, unknown>> = {}, system: Readonly<Record<string, unknown>> = {}, more: object = {}): string => {
  const file = work.at('gateway.json')
  writeFileSync(file, JSON.stringify({ ...site.config, systems: { test: { ...site.config.systems.test, munge: munge.socket, ...system } }, server: { listen: ['127.0.0.1:0'], ...server }, ...more }))
  return file
}
const gateway = (...args: readonly string[]) => run([process.execPath, program, ...args])

describe('the command line', () => {
  it.each([
    [['nonsense'], 'there is no command "nonsense"'],
    [['serve', '--user', 'x'], 'serve has no option --user'],
    [['check', 'x'], 'check takes no operand'],
    [['token', 'create', '--user', 'root'], 'token create needs --label TEXT'],
    [['serve', '--log-level', 'loud'], 'there is no log level "loud"'],
    [['--nonsense'], "Unknown option '--nonsense'"],
  ])('%j is refused', async (args, what) => {
    expect(await gateway(...args, ...(args[0] === 'token' ? ['--config', configured()] : []))).toMatchObject({ status: 2, stderr: expect.stringContaining(what) as string })
  })

  it('helps, and says its version', async () => {
    expect(await gateway('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('token create') as string })
    expect(await gateway('--version')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^shifter-gateway \d/) as string })
  })
})

describe('check', () => {
  it('says what is in effect', async () => {
    const checked = await gateway('check', '--config', configured({}, { admins: ['root'] }))
    expect(checked).toMatchObject({ status: 0, stderr: '' })
    expect(checked.stdout).toContain(munge.socket)
    expect(JSON.parse((await gateway('check', '--json', '--config', configured())).stdout)).toMatchObject({ mistakes: [], warnings: [], inEffect: { authentication: 'munge, or tokens' } })
  })

  it('names all mistakes and what is doubtful at once', async () => {
    const tls = { certificate: work.at('none.pem'), key: work.at('none.key') }
    const { status, stderr } = await gateway('check', '--config', configured({ listen: ['0.0.0.0:0'], publicReads: true, tls }, { munge: work.at('no-socket'), imagePath: work.at('no-images'), admins: ['nobody-of-that-name'] }, { vm: { reader: 'kernel' } }))
    expect(status).toBe(2)
    for (const part of ['mistake: server.tls', 'mistake: systems.test.munge', 'mistake: systems.test: ', 'warning: server.publicReads', 'warning: systems.test.admins', 'warning: vm.reader']) expect(stderr).toContain(part)
    const files = { registries: { 'lab.example.org': { ca: work.at('none.pem') }, 'other.example.org': { ca: '/etc/passwd' } }, import: { roots: [work.at('no-root'), '/opt'], urlCa: '/etc/passwd' }, stateDirectory: work.at('no/state') }
    const named = work.at('files.json')
    writeFileSync(named, JSON.stringify({ ...site.config, ...files }))
    const { status: second, stderr: said } = await gateway('check', '--config', named)
    expect(second).toBe(2)
    for (const part of [
      `mistake: stateDirectory: ${files.stateDirectory} is not there, and this account can't make it in ${work.at('no')}.`, `mistake: registries.lab.example.org: The certificate file ${work.at('none.pem')} can't be read`,
      'mistake: registries.other.example.org: no certificate (PEM) can be read', 'mistake: import.urlCa: no certificate', `mistake: import.roots: there is no directory ${work.at('no-root')}`,
    ]) expect(said).toContain(part)
    expect(said).not.toContain('directory /opt')
    expect(await gateway('check', '--config', configured({ authentication: 'mock', listen: ['0.0.0.0:0'] }))).toMatchObject({ status: 2, stderr: expect.stringContaining('believes everyone') as string })
  })
})

describe('serve', () => {
  /** A process that listens, and its address. */
  const started = async (file: string) => {
    const child = spawn(process.execPath, [program, '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    const log: string[] = []
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    const url = await new Promise<string>((resolve, reject) => {
      createInterface(child.stderr).on('line', (line) => {
        log.push(line)
        const { annotations, message } = JSON.parse(line) as { message: string; annotations: { addresses?: string } }
        if (message === 'listening') resolve(annotations.addresses ?? '')
      })
      void ended.then((status) => reject(new Error(`it ended with ${status}: ${log.join('\n')}`)))
    })
    return { url, child, ended, log }
  }

  it('listens with munge, tokens and over TLS, and stops at a signal', async () => {
    await runOk(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=localhost', '-days', '1', '-keyout', work.at('key.pem'), '-out', work.at('cert.pem')])
    const secure = await started(configured({ tls: { certificate: work.at('cert.pem'), key: work.at('key.pem') } }))
    expect(secure.url).toMatch(/^https:/)
    expect(await run(['curl', '--silent', '--insecure', `${secure.url}/healthz`])).toMatchObject({ stdout: '{"status":"ok"}' })
    secure.child.kill('SIGTERM')
    expect(await secure.ended).toBe(0)

    const socket = work.at('gateway.socket')
    const service = await started(configured({ listen: ['127.0.0.1:0', socket] }))
    const [url = ''] = service.url.split(' ')
    const credential = await munge.credential()
    expect(await ask(`${url}/v1/images`, { headers: { authorization: `Munge ${credential}` } })).toMatchObject({ status: 200 })
    expect(await ask(`${url}/v1/images`, { headers: { authorization: `Munge ${credential}` } })).toMatchObject({ status: 401 })
    expect(await ask('http://localhost/healthz', { socketPath: socket })).toMatchObject({ status: 200 })

    const file = work.at('gateway.json')
    const made = await gateway('token', 'create', '--config', file, '--user', 'root', '--label', 'portal', '--scope', 'read', '--days', '1')
    expect(made).toMatchObject({ status: 0, stderr: '' })
    const headers = { authorization: `Bearer ${made.stdout.trim()}` }
    expect(await ask(`${url}/v1/images`, { headers })).toMatchObject({ status: 200 })
    const listed = JSON.parse((await gateway('token', 'list', '--json', '--config', file)).stdout) as { id: string; label: string }[]
    expect(listed).toMatchObject([{ label: 'portal', uid: 0, scopes: ['read'] }])
    expect(await gateway('token', 'revoke', '--config', file, listed[0]!.id)).toMatchObject({ status: 0 })
    expect(await ask(`${url}/v1/images`, { headers })).toMatchObject({ status: 401 })
    // Whatever a user calls his token, it is one line to an administrator's terminal, and moves no cursor there.
    await gateway('token', 'create', '--config', file, '--user', 'root', '--label', 'a\u001b[2J\nb', '--days', '1')
    const [line, ...more] = (await gateway('token', 'list', '--config', file)).stdout.split('\n')
    expect([line?.endsWith('  a\\x1b[2J\\x0ab'), more]).toEqual([true, ['']])
    service.child.kill('SIGTERM')
    expect(await service.ended).toBe(0)
    expect(service.log.join('')).not.toContain(credential)
    expect(service.log.join('')).not.toContain(made.stdout.trim())
  })

  it('does not believe everyone where others reach it', async () => {
    expect(await gateway('--config', configured({ authentication: 'mock', listen: ['0.0.0.0:0'] }))).toMatchObject({ status: 2, stderr: expect.stringContaining('believes everyone') as string })
  })
})
