/** The transport by ssh, against a real sshd: what every transport does, and what happens to connections, hosts, keys and bytes on their way. */
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { watch } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createClient } from '@libsql/client/sqlite3'
import * as Duration from 'effect/Duration'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as TestClock from 'effect/TestClock'
import * as TestContext from 'effect/TestContext'
import * as fc from 'fast-check'
import { Digest, exportImage, type ImageRecord, listImages, lookupImage, NameFile, pullImage, removeImage } from 'shifter-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as Throttle from '../../src/transports/ssh/Throttle.js'
import { ensureTestAccounts, runAs } from '../harness/accounts.js'
import { failure } from '../harness/gateway.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../harness/native.js'
import { writeLayout } from '../harness/ociLayout.js'
import { run, runOk } from '../harness/process.js'
import { startShifterimg } from '../harness/shifterimg.js'
import { type TestSite, testSite } from '../harness/site.js'
import { type Line, lineTo, type Sshd, type SshdOptions, startSshd } from '../harness/sshd.js'
import { useWorkspace } from '../harness/workspace.js'
import { busyboxRoot } from '../native/fixture.js'
import { imagePathTests, staged, withTransport } from './imagePath.js'

type Ssh = NonNullable<TestSite['config']['systems']['test']['ssh']>

let sshd: Sshd
beforeAll(async () => { sshd = await startSshd() })
afterAll(() => sshd.stop())

/** How an sshd is reached; `more` comes on top. */
const by = (host: Sshd, more: Partial<Ssh> = {}): Ssh => ({ hosts: [`127.0.0.1:${host.port}`], username: 'root', keyFile: host.keyFile, knownHosts: host.knownHosts, ...more })
const reachedBy = (site: TestSite, ssh: Ssh, imagePath = site.imagePath): TestSite => ({ ...site, imagePath, config: { ...site.config, systems: { test: { imagePath, ssh } } } })

imagePathTests('ssh', (site) => reachedBy(site, by(sshd)))

const work = useWorkspace('ssh')
let count = 0
const siteBy = (ssh: Ssh): TestSite => reachedBy(testSite(work.at(`own${count++}`)), ssh)
const reference = () => `oci:${work.at('layout')}:v`
beforeAll(() => { writeLayout(work.at('layout'), { tag: 'v', layers: [busyboxRoot()] }) })

const withSshd = async (options: SshdOptions, use: (host: Sshd) => Promise<void>): Promise<void> => {
  const host = await startSshd(options)
  try {
    await use(host)
  } finally {
    await host.stop()
  }
}
const withLine = async (use: (line: Line) => Promise<void>): Promise<void> => {
  const line = await lineTo(sshd)
  try {
    await use(line)
  } finally {
    await line.stop()
  }
}

/** Bytes that do not compress, the same every time. */
const noise = (size: number): Buffer => createHash('shake256', { outputLength: size }).update('noise').digest()

const recordOf = (bytes: Buffer): ImageRecord.ImageRecord => ({
  id: createHash('sha256').update('id').update(bytes).digest('hex'),
  reference: 'docker:docker.io/library/noise:1',
  sourceDigest: Digest.ofBytes(bytes),
  profile: 'test',
  platform: 'linux/amd64',
  imageSize: bytes.length,
  imageSha256: createHash('sha256').update(bytes).digest('hex'),
  entries: 1,
  access: 'public', owner: 0, allowUids: [], allowGids: [],
  env: [], entrypoint: [], command: [], labels: [],
})

/** Publishes bytes as if they had been packed. */
const publish = (site: TestSite, bytes: Buffer, record = recordOf(bytes)): Promise<ImageRecord.ImageRecord> =>
  withTransport(site, (transport, system) =>
    Effect.scoped(Effect.gen(function* () {
      const scratch = join(dirname(site.imagePath), 'scratch')
      mkdirSync(scratch, { recursive: true })
      const staging = yield* transport.stage(system, 'cafe01', scratch)
      writeFileSync(staging.file, bytes)
      yield* transport.publish(system, staging, record, Effect.void)
      return record
    })))

/** As if all leases had run out. */
const expireLeases = async (site: TestSite) => {
  const client = createClient({ url: `file:${join(site.stateDirectory, 'catalog.db')}` })
  await client.execute("UPDATE pulls SET lease_until = 0 WHERE state IN ('active', 'reaping')")
  client.close()
}

const published = (site: TestSite, { id }: { readonly id: string }) => readFileSync(join(site.imagePath, `${id}.squashfs`))
const rejected = (site: TestSite) => failure(lookupImage('docker:nothing', { config: site.config }))

describe('a pull to a system that is reached by ssh', () => {
  it('as an ordinary account gives what one to a mounted image path gives, and what nodes run', async () => {
    const { service, userA } = await ensureTestAccounts()
    // Without PAM an account without a password is locked.
    await withSshd({ lines: ['UsePAM yes'] }, async (host) => {
      const target = reachedBy(testSite(work.at('whole')), by(host, { username: service.name }), SHARED_IMAGE_PATH)
      const events: string[] = []
      const record = await pullImage(reference(), { config: target.config, onProgress: (event) => { if (event._tag === 'Phase') events.push(event.phase) } })
      expect(events).toEqual(['resolve', 'fetch', 'convert', 'transfer', 'publish'])
      const mounted = testSite(work.at('mounted'))
      expect(await pullImage(reference(), { config: mounted.config })).toEqual(record)
      for (const file of [`${record.id}.squashfs`, `${record.id}.record`, `${record.id}.meta`, NameFile.pathOf(reference())]) {
        expect(readFileSync(join(SHARED_IMAGE_PATH, file)).equals(readFileSync(join(mounted.imagePath, file))), file).toBe(true)
        expect(statSync(join(SHARED_IMAGE_PATH, file)), file).toMatchObject({ uid: service.uid, mode: statSync(join(mounted.imagePath, file)).mode })
      }
      expect(await runAs(userA, [join(DEFAULT_PREFIX, 'bin/shifter'), `--image=${reference()}`, 'cat', '/etc/os-release'])).toMatchObject({ status: 0, stdout: 'PRETTY_NAME="Test image"\n' })
      const exported = work.at('exported')
      await exportImage(reference(), { config: target.config, format: 'squashfs', target: exported })
      expect(readFileSync(exported).equals(published(target, record))).toBe(true)
      expect(readdirSync(work.path).filter((name) => name.includes('.part'))).toEqual([])
      await removeImage(`id:${record.id}`, { config: target.config })
    })
  })

  it('takes an image path with blanks, quotes and all that means something to a shell for a name', async () => {
    const target = siteBy(by(sshd))
    const imagePath = join(dirname(target.imagePath), `it's "an" $(touch ${work.at('hacked')}) \`touch ${work.at('hacked')}\` ; path * é`)
    mkdirSync(imagePath, { mode: 0o755, recursive: true })
    for (let directory = imagePath; directory !== work.path; directory = dirname(directory)) chmodSync(directory, 0o755)
    const odd = reachedBy(target, by(sshd), imagePath)
    const record = await publish(odd, noise(1000))
    expect(published(odd, record).equals(noise(1000))).toBe(true)
    expect(await withTransport(odd, (transport, system) => transport.isSound(system, record))).toBe(true)
    expect(existsSync(work.at('hacked'))).toBe(false)
  })

  it('shares one connection among all that is done at once, and closes it at the end', async () => {
    await withLine(async (line) => {
      const target = siteBy(by(sshd, { hosts: [`127.0.0.1:${line.port}`] }))
      const record = await publish(target, noise(1000))
      expect(line.connections()).toBe(1)
      await withTransport(target, (transport, system) =>
        Effect.all(Array.from({ length: 12 }, () => Effect.all([transport.record(system, record.id), transport.isSound(system, record), transport.list(system)])), { concurrency: 'unbounded' }))
      expect(line.connections()).toBe(2)
      await line.quiet()
    })
  })

  it('does not load its client before it connects', async () => {
    const target = siteBy(by(sshd))
    const loaded = work.at('loaded.cjs')
    writeFileSync(loaded, "process.on('exit', () => process.stderr.write(Object.keys(require.cache).some((file) => file.includes('/ssh2/')) ? 'LOADED' : 'WITHOUT'))")
    const said = async (site: TestSite, args: readonly string[]) =>
      (await startShifterimg(site, dirname(target.stateDirectory), args, 'pipe', { NODE_OPTIONS: `--require=${loaded}` }).ended).stderr
    expect(await said(target, ['images'])).toMatch(/LOADED$/)
    expect(await said(testSite(work.at('mounted2')), ['images'])).toMatch(/WITHOUT$/)
    expect(await said(target, ['--version'])).toMatch(/WITHOUT$/)
  })
})

describe('a transfer', () => {
  const image = noise(24 * 1024 * 1024)
  /** On their way, or not known to have arrived, when a connection is cut. */
  const WINDOW = 16 * 240 * 1024
  const HANDSHAKE = 8 * 1024

  it('that is cut anywhere goes on where it was, on a new connection', { timeout: 300_000 }, async () => {
    await withLine(async (line) => {
      const whole = siteBy(by(sshd, { hosts: [`127.0.0.1:${line.port}`] }))
      await publish(whole, image)
      const once = line.sent()
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1_000_000, max: 12_000_000 }), { minLength: 1, maxLength: 3 }), async (cuts) => {
          const target = siteBy(by(sshd, { hosts: [`127.0.0.1:${line.port}`] }))
          const before = { sent: line.sent(), connections: line.connections() }
          line.cutNext(...cuts)
          const record = await publish(target, image)
          expect(published(target, record).equals(image)).toBe(true)
          expect(staged(target.imagePath)).toEqual([])
          // The last ones may come too late to cut anything.
          const happened = line.connections() - before.connections - 1
          expect(happened).toBeGreaterThan(0)
          expect(line.sent() - before.sent).toBeLessThan(once + happened * (WINDOW + 200_000))
        }),
        { numRuns: 3, seed: 20 },
      )
    })
  })

  it('that is cut while it is published is finished, or leaves nothing', { timeout: 300_000 }, async () => {
    const small = noise(3000)
    await withLine(async (line) => {
      const hosts = [`127.0.0.1:${line.port}`]
      await publish(siteBy(by(sshd, { hosts })), small)
      const once = line.sent()
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: HANDSHAKE / 2, max: once - 1 }), async (at) => {
          const target = siteBy(by(sshd, { hosts }))
          line.cutNext(at)
          const record = await publish(target, small)
          expect(published(target, record).equals(small)).toBe(true)
          expect(readdirSync(target.imagePath).map((name) => name.replace(record.id, '')).sort()).toEqual(['.meta', '.record', '.squashfs', 'names'])
          const { images, problems } = await listImages({ config: target.config })
          expect({ names: images.map(({ names }) => names), problems }).toEqual({ names: [[record.reference]], problems: [] })
        }),
        { numRuns: 8, seed: 21 },
      )
    })
  })

  it('that is cut again and again without getting further fails', { timeout: 120_000 }, async () => {
    await withLine(async (line) => {
      const target = siteBy(by(sshd, { hosts: [`127.0.0.1:${line.port}`] }))
      // Each gets through the handshake, and no piece arrives whole.
      line.cutNext(...Array.from({ length: 20 }, () => HANDSHAKE + 40_000))
      const refused = await failure(publish(target, image))
      expect(refused).toMatchObject({ code: 'SSH_CUT', reason: 'Unavailable' })
      expect(refused.message).toContain(`127.0.0.1:${line.port}`)
      expect(readdirSync(target.imagePath).filter((name) => !name.startsWith('.staging'))).toEqual([])
      await withTransport(target, (transport, system) => Effect.zipRight(Effect.sync(() => { line.cutNext() }), transport.discard(system, 'cafe01')))
      expect(readdirSync(target.imagePath)).toEqual([])
    })
  })

  it('goes on by another host when the first one is gone', async () => {
    const first = await lineTo(sshd)
    await withLine(async (second) => {
      const target = siteBy(by(sshd, { hosts: [`127.0.0.1:${first.port}`, `127.0.0.1:${second.port}`] }))
      const publishing = publish(target, image)
      // Told of every piece that arrives.
      for await (const _ of watch(target.imagePath)) if (first.sent() > 2_000_000) break
      await first.stop()
      const record = await publishing
      expect(published(target, record).equals(image)).toBe(true)
      expect(second.connections()).toBe(1)
    })
  })

  it('that a file system over there has changed is refused, and nothing is published', async () => {
    const programs = work.at('lying')
    mkdirSync(programs)
    for (const name of ['id']) await runOk(['ln', '-s', `/usr/bin/${name}`, join(programs, name)])
    // What is read first is not what was sent.
    writeFileSync(join(programs, 'sha256sum'), '#!/bin/sh\nfile=$(/usr/bin/readlink /proc/self/fd/0)\ncase $file in *.squashfs) printf x | /usr/bin/dd of="$file" bs=1 seek=100 conv=notrunc status=none;; esac\nexec /usr/bin/sha256sum\n', { mode: 0o755 })
    await withSshd({ lines: [`SetEnv PATH=${programs}`] }, async (host) => {
      const target = siteBy(by(host))
      expect(await failure(publish(target, noise(5000)))).toMatchObject({ code: 'IMAGE_VERIFY_FAILED' })
      expect(readdirSync(target.imagePath)).toEqual([])
      expect((await failure(pullImage(reference(), { config: target.config }))).code).toBe('IMAGE_VERIFY_FAILED')
      expect(readdirSync(target.imagePath)).toEqual([])
    })
  })

  it('that is cancelled leaves nothing', async () => {
    const target = siteBy(by(sshd, { bytesPerSecond: 1_000_000 }))
    const cancel = new AbortController()
    writeLayout(work.at('noise'), { tag: 'v', layers: [[{ name: 'noise', type: 'file', data: image }]] })
    const pulling = failure(pullImage(`oci:${work.at('noise')}:v`, { config: target.config, signal: cancel.signal }))
    for await (const { filename } of watch(target.imagePath)) if (filename?.startsWith('.staging') === true) break
    cancel.abort()
    expect((await pulling).code).toBe('CANCELLED')
    expect(readdirSync(target.imagePath)).toEqual([])
    expect(readdirSync(join(target.stateDirectory, 'work'))).toEqual([])
  })

  it('whose host is gone for good leaves what the next pull removes', async () => {
    const line = await lineTo(sshd)
    const target = siteBy(by(sshd, { hosts: [`127.0.0.1:${line.port}`], bytesPerSecond: 1_000_000 }))
    writeLayout(work.at('noise'), { tag: 'v', layers: [[{ name: 'noise', type: 'file', data: image }]] })
    const pulling = failure(pullImage(`oci:${work.at('noise')}:v`, { config: target.config }))
    for await (const { filename } of watch(target.imagePath)) if (filename?.startsWith('.staging') === true) break
    await line.stop()
    expect((await pulling).code).toBe('SSH_UNREACHABLE')
    expect(staged(target.imagePath).length).toBe(1)
    await expireLeases(target)
    await pullImage(reference(), { config: reachedBy(target, by(sshd)).config })
    expect(staged(target.imagePath)).toEqual([])
  })

  it('that is killed leaves what the next pull removes', async () => {
    const slow = siteBy(by(sshd, { bytesPerSecond: 1_000_000 }))
    writeLayout(work.at('noise'), { tag: 'v', layers: [[{ name: 'noise', type: 'file', data: image }]] })
    const started = startShifterimg(slow, dirname(slow.stateDirectory), ['pull', `oci:${work.at('noise')}:v`])
    for await (const { filename } of watch(slow.imagePath)) if (filename?.startsWith('.staging') === true) break
    started.child.kill('SIGKILL')
    await started.ended
    expect(staged(slow.imagePath).length).toBe(1)
    expect(statSync(join(slow.imagePath, staged(slow.imagePath)[0] ?? '')).mode & 0o777).toBe(0o600)
    await expireLeases(slow)
    const target = reachedBy(slow, by(sshd))
    const record = await pullImage(`oci:${work.at('noise')}:v`, { config: target.config })
    expect(createHash('sha256').update(published(target, record)).digest('hex')).toBe(record.imageSha256)
    expect(staged(target.imagePath)).toEqual([])
  })

  it('is never ahead of its cap', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1024, max: 10_000_000 }), fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 40 }), async (cap, pieces) => {
        const { after, most } = await Effect.runPromise(
          Effect.gen(function* () {
            const throttle = Throttle.make(cap)
            let passed = 0
            const all = yield* Effect.fork(Effect.forEach(pieces, (bytes) => Effect.tap(throttle.take(bytes), () => Effect.sync(() => { passed += bytes })), { concurrency: 4 }))
            let excess = 0
            for (let second = 0; second < 4; second++) {
              excess = Math.max(excess, passed - second * cap)
              yield* TestClock.adjust(Duration.seconds(1))
            }
            yield* TestClock.adjust(Duration.hours(10))
            yield* Fiber.join(all)
            return { most: excess, after: passed }
          }).pipe(Effect.provide(TestContext.TestContext)),
        )
        expect(most).toBeLessThanOrEqual(Math.max(...pieces))
        expect(after).toBe(pieces.reduce((sum, bytes) => sum + bytes, 0))
      }),
      { numRuns: 50 },
    ))
})

describe('the hosts of a system', () => {
  it('are asked one after the other: one that refuses, one that is silent, one that answers', async () => {
    const silent = await lineTo(sshd)
    silent.freeze()
    try {
      await withLine(async (gone) => {
        await gone.stop()
        const target = siteBy(by(sshd, { hosts: [`127.0.0.1:${gone.port}`, `127.0.0.1:${silent.port}`, `127.0.0.1:${sshd.port}`] }))
        const record = await publish(target, noise(1000))
        expect(published(target, record).equals(noise(1000))).toBe(true)
        expect(silent.connections()).toBe(1)
      })
    } finally {
      await silent.stop()
    }
  })

  it('that all do not answer are named', async () => {
    await withLine(async (gone) => {
      await gone.stop()
      const refused = await rejected(siteBy(by(sshd, { hosts: [`127.0.0.1:${gone.port}`, `[::1]:${gone.port}`], knownHosts: known(`*:${gone.port} ${sshd.hostKey}`) })))
      expect(refused).toMatchObject({ code: 'SSH_UNREACHABLE', reason: 'Unavailable' })
      expect(refused.message).toMatch(new RegExp(`127\\.0\\.0\\.1:${gone.port}: .*; \\[::1\\]:${gone.port}: `))
    })
  })
})

/** A file of known hosts. */
const known = (...lines: readonly string[]): string => {
  const file = work.at(`known${count++}`)
  writeFileSync(file, `# a comment\n\n${lines.join('\n')}\n`)
  return file
}

describe('a host', () => {
  const name = () => `[127.0.0.1]:${sshd.port}`
  const another = async (type = 'ed25519') => {
    const file = work.at(`key${count++}`)
    await runOk(['ssh-keygen', '-q', '-t', type, '-N', '', '-f', file])
    return { file, line: readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2).join(' ') }
  }

  it('whose key is not known, another one, of another type or revoked is refused, and nothing is learnt', async () => {
    const other = await another()
    const ofOtherType = await another('ecdsa')
    for (const [lines, said] of [
      [[], /No key of 127\.0\.0\.1:\d+ is in/],
      [[`127.0.0.1 ${sshd.hostKey}`], /No key of/],
      [[`${name()} ${other.line}`], /The key \(ssh-ed25519\) that 127\.0\.0\.1:\d+ shows is not the one in/],
      [[`${name()} ${ofOtherType.line}`], /has no key of a type that .* knows/],
      [[`${name()} ${sshd.hostKey}`, `@revoked * ${sshd.hostKey}`], /is revoked/],
      [[`@cert-authority ${name()} ${sshd.hostKey}`], /No key of/],
      [[`[127.0.0.*]:*,!${name()} ${sshd.hostKey}`], /No key of/],
    ] as const) {
      const file = known(...lines)
      const before = readFileSync(file, 'utf8')
      const refused = await rejected(siteBy(by(sshd, { knownHosts: file })))
      expect(refused, lines.join()).toMatchObject({ code: 'SSH_HOST_KEY_REFUSED', reason: 'Denied' })
      expect(refused.message).toMatch(said)
      expect(refused.message).toContain(file)
      expect(readFileSync(file, 'utf8')).toBe(before)
    }
  })

  it('is known by name, by pattern, and by hash, among others', async () => {
    const other = await another()
    const hashed = known(`${name()} ${sshd.hostKey}`)
    await runOk(['ssh-keygen', '-q', '-H', '-f', hashed])
    expect(readFileSync(hashed, 'utf8')).not.toContain('127.0.0.1')
    for (const file of [hashed, known(`other,[127.0.0.?]:* ${sshd.hostKey} with a comment`), known(`${name()} ${other.line}`, `${name()} ${sshd.hostKey}`)]) {
      expect((await rejected(siteBy(by(sshd, { knownHosts: file })))).code).toBe('IMAGE_NOT_FOUND')
    }
  })

  it('that does not let one in says so, without the key', async () => {
    const stranger = await another()
    const refused = await rejected(siteBy(by(sshd, { keyFile: stranger.file })))
    expect(refused).toMatchObject({ code: 'SSH_UNAUTHORIZED', reason: 'Denied' })
    expect(refused.message).toContain(stranger.file)
    expect(refused.message).not.toContain(readFileSync(stranger.file, 'utf8').split('\n')[1])
    expect((await rejected(siteBy(by(sshd, { username: 'nobody-of-that-name' })))).code).toBe('SSH_UNAUTHORIZED')
  })

  it('lets one in by a key with a passphrase, and by an agent', async () => {
    const file = work.at('locked')
    copyFileSync(sshd.keyFile, file)
    chmodSync(file, 0o600)
    await runOk(['ssh-keygen', '-q', '-p', '-N', 'secret words', '-f', file])
    const passphraseFile = work.at('passphrase')
    writeFileSync(passphraseFile, 'secret words\n', { mode: 0o600 })
    expect((await rejected(siteBy(by(sshd, { keyFile: file, passphraseFile })))).code).toBe('IMAGE_NOT_FOUND')
    for (const wrong of [by(sshd, { keyFile: file }), by(sshd, { keyFile: file, passphraseFile: sshd.keyFile })]) {
      const refused = await rejected(siteBy(wrong))
      expect(refused).toMatchObject({ code: 'CONFIG_INVALID' })
      expect(refused.message).not.toContain('secret words')
    }
    const agent = work.at('agent')
    const { stdout } = await runOk(['ssh-agent', '-a', agent])
    const pid = Number(/SSH_AGENT_PID=(\d+)/.exec(stdout)?.[1])
    try {
      const { keyFile: _, ...rest } = by(sshd)
      expect((await rejected(siteBy({ ...rest, agent }))).code).toBe('SSH_UNAUTHORIZED')
      await runOk(['ssh-add', '-q', sshd.keyFile], { env: { ...process.env, SSH_AUTH_SOCK: agent } })
      expect((await rejected(siteBy({ ...rest, agent }))).code).toBe('IMAGE_NOT_FOUND')
      expect((await rejected(siteBy({ ...rest, agent: work.at('no-agent') }))).code).toBe('SSH_UNAUTHORIZED')
    } finally {
      process.kill(pid)
    }
  })

  it('is not connected to with a key that others may read, or that is not there', async () => {
    const open = await another()
    chmodSync(open.file, 0o640)
    expect(await rejected(siteBy(by(sshd, { keyFile: open.file })))).toMatchObject({ code: 'CONFIG_INVALID', remedy: `Run: chmod 600 ${open.file}` })
    expect(await rejected(siteBy(by(sshd, { keyFile: work.at('none') })))).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(await rejected(siteBy(by(sshd, { knownHosts: work.at('none') })))).toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it.each([
    ['gives no shell', ['ForceCommand internal-sftp'], /runs no commands for root/],
    ['gives no SFTP', ['Subsystem other /bin/false'], /gives root no SFTP/],
    ['has no rename that replaces', ['Subsystem sftp internal-sftp -P posix-rename'], /without posix-rename@openssh\.com/],
    ['has no sha256sum', ['SetEnv PATH=/nowhere-but-here'], /runs no commands|has no sha256sum/],
  ])('that %s is refused before anything is fetched', async (_, lines, said) => {
    await withSshd({ lines }, async (host) => {
      const target = siteBy(by(host))
      const phases: string[] = []
      const refused = await failure(pullImage(reference(), { config: target.config, onProgress: ({ _tag }) => { phases.push(_tag) } }))
      expect(refused.code).toBe('IMAGE_PATH_UNUSABLE')
      expect(refused.message).toMatch(said)
      expect(phases).toEqual([])
    })
  })

  it('is the image owner’s account, or root', async () => {
    const { service, userA } = await ensureTestAccounts()
    await withSshd({ lines: ['UsePAM yes'] }, async (host) => {
      const target = siteBy(by(host, { username: userA.name }))
      chownSync(target.imagePath, service.uid, service.gid)
      const refused = await failure(pullImage(reference(), { config: target.config }))
      expect(refused).toMatchObject({ code: 'IMAGE_PATH_UNUSABLE' })
      expect(refused.message).toContain(`belongs to uid ${service.uid}, not to uid ${userA.uid}`)
      chmodSync(target.imagePath, 0o700)
      expect((await failure(listImages({ config: target.config }))).code).toBe('ACCESS_DENIED')
    })
  })
})

describe('stripes', () => {
  const stripe = { count: -1, size: 4 * 1024 * 1024 }

  it('are set on an empty file that is its owner’s alone, before the first byte', async () => {
    const programs = work.at('lustre')
    mkdirSync(programs)
    const log = work.at('lfs.log')
    for (const name of ['id', 'sha256sum']) await runOk(['ln', '-s', `/usr/bin/${name}`, join(programs, name)])
    // Makes the file, as the real one does, and writes down how it was called.
    writeFileSync(join(programs, 'lfs'), `#!/bin/sh\nfor last; do :; done\necho "$*" >> ${log}\n[ "$1" = getstripe ] && exit 0\nset -C; : > "$last" && /usr/bin/stat -c '%s %a' "$last" >> ${log}\n`, { mode: 0o755 })
    await withSshd({ lines: [`SetEnv PATH=${programs}`] }, async (host) => {
      const target = siteBy(by(host, { stripe }))
      const record = await publish(target, noise(500_000))
      const file = join(target.imagePath, '.staging.cafe01.squashfs')
      expect(readFileSync(log, 'utf8')).toBe(`setstripe -c -1 -S 4194304 ${file}\n0 600\n`)
      expect(published(target, record).equals(noise(500_000))).toBe(true)
      await withTransport(target, (transport, system) => transport.ready(system))
      expect(readFileSync(log, 'utf8').split('\n').at(-2)).toBe(`getstripe -d ${target.imagePath}`)
    })
  })

  it('that can not be set are refused before anything is fetched', async () => {
    const target = siteBy(by(sshd, { stripe }))
    expect((await run(['which', 'lfs'])).status).not.toBe(0)
    const refused = await failure(pullImage(reference(), { config: target.config }))
    expect(refused).toMatchObject({ code: 'IMAGE_PATH_UNUSABLE' })
    expect(refused.message).toMatch(/can't make striped files .*lfs.*Leave "stripe" out/s)
    expect(readdirSync(target.imagePath)).toEqual([])
  })
})
