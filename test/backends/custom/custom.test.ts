/** Files that become images: every form that is read, what is kept of it, and what is refused. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Errors, importImage, inspectImage, lookupImage, type ProgressEvent, type PublishedImage, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Account, ensureTestAccounts } from '../../harness/accounts.js'
import { failure } from '../../harness/gateway.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../../harness/native.js'
import { run, runOk } from '../../harness/process.js'
import { startShifterimg } from '../../harness/shifterimg.js'
import { type TestSite, testSite } from '../../harness/site.js'
import { tarBytes, type TarItem } from '../../harness/tarWriter.js'
import { useWorkspace } from '../../harness/workspace.js'
import { busyboxRoot, squashfs } from '../../native/fixture.js'

const work = useWorkspace('custom')
let sites = 0
const site = (): TestSite => testSite(work.at(`site${sites++}`))
let userA: Account
beforeAll(async () => { ({ userA } = await ensureTestAccounts()) })

/** What is published: type, mode, owner and name of each entry, and links. */
const contents = async ({ imagePath }: TestSite, { id }: PublishedImage): Promise<readonly string[]> => {
  const { stdout } = await runOk(['sh', '-c', 'sqfs2tar "$1" | tar --numeric-owner --xattrs-include="*" -tvf - --quoting-style=escape', 'sh', join(imagePath, `${id}.squashfs`)])
  return stdout.trimEnd().split('\n').map((line) => {
    const [mode = '', owner = '', , , , ...name] = line.trim().split(/\s+/)
    return `${mode} ${owner} ${name.join(' ')}`
  }).sort()
}

const tree: readonly TarItem[] = [
  { name: 'bin', type: 'dir', mode: 0o755 },
  { name: 'bin/tool', type: 'file', mode: 0o4755, uid: 1000, gid: 1000, data: 'tool' },
  { name: 'bin/again', type: 'hardlink', linkname: 'bin/tool' },
  { name: 'link', type: 'symlink', linkname: '/etc/shadow' },
  { name: 'new\nline', type: 'file', mode: 0o600, data: 'x' },
  { name: `deep/${'n'.repeat(200)}/file`, type: 'file', mode: 0o644, data: 'deep', format: 'pax' },
]
const kept = [
  '-rw------- 0/0 new\\nline',
  `-rw-r--r-- 0/0 deep/${'n'.repeat(200)}/file`,
  '-rwxr-xr-x 0/0 bin/again',
  'drwxr-xr-x 0/0 bin/',
  'drwxr-xr-x 0/0 deep/',
  `drwxr-xr-x 0/0 deep/${'n'.repeat(200)}/`,
  'hrwxr-xr-x 0/0 bin/tool link to bin/again',
  'lrwxrwxrwx 0/0 link -> /etc/shadow',
].sort()

describe('a file', () => {
  it.each([
    ['tar', (file: string) => writeFileSync(file, tarBytes(tree))],
    ['tar.gz', (file: string) => writeFileSync(file, gzipSync(tarBytes(tree)))],
    ['tar.zst', (file: string) => writeFileSync(file, spawnSync('zstd', ['-q', '-c'], { input: tarBytes(tree) }).stdout)],
    ['squashfs', (file: string) => squashfs(file, tree)],
  ])('of %s is filtered and packed again', async (form, write) => {
    const file = work.at(`kinds.${form}`)
    write(file)
    const s = site()
    const events: ProgressEvent[] = []
    const record = await importImage('custom:app:1', file, { config: s.config, onProgress: (event) => events.push(event) })
    const found = await contents(s, record)
    // Which of two names of a file comes first is the packer's.
    const sorted = found.map((line) => (line.includes('link to') ? 'hrwxr-xr-x 0/0 bin/tool link to bin/again' : /^-rwxr-xr-x 0\/0 bin\/(again|tool)$/.test(line) ? '-rwxr-xr-x 0/0 bin/again' : line)).filter((line) => !line.endsWith(' ./'))
    expect(sorted.sort()).toEqual(kept)
    expect(record).toMatchObject({ reference: 'custom:app:1', access: 'public', owner: 0, env: [], entrypoint: [], command: [], labels: [] })
    expect(record.sourceDigest).toBe(`sha256:${(await runOk(['sha256sum', file])).stdout.slice(0, 64)}`)
    expect(readFileSync(join(s.imagePath, `${record.id}.squashfs`)).equals(readFileSync(file))).toBe(false)
    expect(events.map((event) => event._tag)).toContain('Packed')
    expect(await lookupImage('custom:app:1', { config: s.config })).toBe(record.id)
  })

  it.each(['gzip', 'lzma', 'xz', 'lz4', 'zstd'])('of a squashfs that mksquashfs packs with %s is read', async (compressor) => {
    const from = work.at(`tree-${compressor}`)
    mkdirSync(join(from, 'usr/bin'), { recursive: true })
    writeFileSync(join(from, 'usr/bin/setuid'), 'x'.repeat(300_000))
    chmodSync(join(from, 'usr/bin/setuid'), 0o6755)
    writeFileSync(join(from, 'empty'), '')
    writeFileSync(join(from, 'hole'), '')
    truncateSync(join(from, 'hole'), 5_000_000)
    symlinkSync('usr/bin', join(from, 'bin'))
    const file = work.at(`${compressor}.squashfs`)
    await runOk(['mksquashfs', from, file, '-quiet', '-no-progress', '-comp', compressor, '-p', 'null c 666 0 0 1 3', '-p', 'disk b 660 0 6 8 0', '-p', 'pipe i 644 5 5 f', '-p', 'sock i 644 5 5 s'])
    const s = site()
    const events: ProgressEvent[] = []
    const record = await importImage('custom:app', file, { config: s.config, onProgress: (event) => events.push(event) })
    expect((await contents(s, record)).filter((line) => !line.endsWith(' ./'))).toEqual([
      '-rw-r--r-- 0/0 empty', '-rw-r--r-- 0/0 hole', '-rwxr-xr-x 0/0 usr/bin/setuid', 'drwxr-xr-x 0/0 usr/', 'drwxr-xr-x 0/0 usr/bin/', 'lrwxrwxrwx 0/0 bin -> usr/bin',
    ])
    expect(events.flatMap((event) => (event._tag === 'Warning' ? [event.message] : []))).toEqual(['4 device nodes and FIFOs of the image were left out: /dev is the node\'s.'])
    const { stdout } = await runOk(['sh', '-c', 'rdsquashfs -c usr/bin/setuid "$1" | tr -d x | wc -c; rdsquashfs -c hole "$1" | wc -c', 'sh', join(s.imagePath, `${record.id}.squashfs`)])
    expect(stdout.trim().split(/\s+/)).toEqual(['0', '5000000'])
  })

  it('of a squashfs keeps no extended attribute but those of users', async () => {
    const file = work.at('attributes.squashfs')
    squashfs(file, [{ name: 'f', type: 'file', data: 'x', format: 'pax', xattrs: { 'user.kept': 'yes', 'trusted.overlay.opaque': 'y', 'security.capability': 'c', 'user.overlay.whiteout': 'y' } }])
    expect((await runOk(['rdsquashfs', '-x', 'f', file])).stdout).toContain('trusted.overlay.opaque')
    const s = site()
    const { id } = await importImage('custom:app', file, { config: s.config })
    expect((await runOk(['rdsquashfs', '-x', 'f', join(s.imagePath, `${id}.squashfs`)])).stdout.trim()).toMatch(/^user\.kept=\S+$/)
  })

  it('makes the same image of the same bytes, and another of what is said otherwise', async () => {
    const file = work.at('same.tar')
    writeFileSync(file, tarBytes(tree))
    const { config } = site()
    const first = await importImage('custom:a', file, { config })
    expect((await importImage('custom:b', file, { config })).id).toBe(first.id)
    const stated = await importImage('custom:c', file, {
      config,
      metadata: { env: ['A=1'], entrypoint: ['/bin/tool'], command: ['x'], workdir: '/bin', labels: [['name', 'value']] },
    })
    expect(stated.id).not.toBe(first.id)
    expect((await inspectImage('custom:c', { config })).record).toMatchObject({ env: ['A=1'], entrypoint: ['/bin/tool'], command: ['x'], workdir: '/bin', labels: [['name', 'value']] })
    expect((await inspectImage('custom:a', { config })).record.env).toEqual([])
    // What one user says of a file is not another's image.
    const others = await importImage('custom:d', { _tag: 'Path', path: file }, { config, metadata: { env: ['A=1'] } })
    expect([first.id, stated.id]).not.toContain(others.id)
  })

  it.each<readonly [what: string, file: Buffer | (() => Buffer), code: string, said: RegExp]>([
    ['nothing', Buffer.alloc(0), 'FILE_INVALID', /neither a squashfs nor a tar archive/],
    ['a text', Buffer.from('#!/bin/sh\n'.repeat(200)), 'FILE_INVALID', /neither a squashfs nor a tar archive/],
    ['a large text', Buffer.from('#!/bin/sh\n'.repeat(500_000)), 'FILE_INVALID', /neither a squashfs nor a tar archive/],
    ['gzip of a text', gzipSync('x'.repeat(5000)), 'FILE_INVALID', /neither a squashfs nor a tar archive/],
    ['gzip that is cut', () => gzipSync(tarBytes(tree)).subarray(0, 40), 'FILE_INVALID', /The file of custom:app/],
    ['xz', Buffer.from('fd377a585a000000', 'hex'), 'FILE_INVALID', /xz/],
    ['the beginning of a squashfs', () => squashed().subarray(0, 200), 'FILE_INVALID', /The squashfs of custom:app/],
    ['a squashfs with a damaged table', () => { const b = squashed(); b.fill(0xee, 48, 56); return b }, 'FILE_INVALID', /a table lies outside the file/],
    ['a squashfs with damaged inodes', () => { const b = squashed(); b.fill(0xee, Number(b.readBigUInt64LE(64)), Number(b.readBigUInt64LE(64)) + 10); return b }, 'FILE_INVALID', /The squashfs of custom:app/],
    ['a squashfs with names of removed files', () => squashed([{ name: 'd/.wh.x', type: 'file', data: '' }]), 'FILE_INVALID', /"d\/\.wh\.x" has a name that stands for a removed file/],
    ['a tar with a way out', () => tarBytes([{ name: '../x', type: 'file', data: '' }]), 'LAYER_INVALID', /'\.\.'/],
    ['an archive of docker save', () => tarBytes([{ name: `${'0'.repeat(64)}.json`, type: 'file', data: '{}' }, { name: 'manifest.json', type: 'file', data: '[]' }]), 'FILE_INVALID', /shifterimg pull docker-archive:FILE/],
    ['an OCI layout', () => gzipSync(tarBytes([{ name: './oci-layout', type: 'file', data: '{}' }, { name: './index.json', type: 'file', data: '{}' }, { name: './blobs/sha256/x', type: 'file', data: '' }])), 'FILE_INVALID', /shifterimg pull oci-archive:FILE/],
  ])('that is %s is refused', async (_, given, code, said) => {
    const file = work.at('refused')
    writeFileSync(file, typeof given === 'function' ? given() : given)
    const s = site()
    const error = await failure(importImage('custom:app', file, { config: s.config }))
    expect(error.code, error.message).toBe(code)
    expect(error.message).toMatch(said)
    expect((await failure(lookupImage('custom:app', { config: s.config }))).code).toBe('IMAGE_NOT_FOUND')
  })

  it('of a squashfs that inflates to more than the site takes is refused', async () => {
    const file = work.at('bomb.squashfs')
    const from = work.at('bomb')
    mkdirSync(from)
    writeFileSync(join(from, 'zeros'), '')
    truncateSync(join(from, 'zeros'), 300_000_000)
    await runOk(['mksquashfs', from, file, '-quiet', '-no-progress'])
    const { config } = site()
    for (const limits of [{ inflatedBytes: 1_000_000 }, { ratio: 2 }]) {
      const error = await failure(importImage('custom:app', file, { config: { ...config, limits } }))
      expect(error.code, error.message).toBe('LIMIT_EXCEEDED')
    }
    expect((await failure(importImage('custom:app', file, { config: { ...config, limits: { blobBytes: 100 } } }))).code).toBe('LIMIT_EXCEEDED')
  })
})

let made = 0
const squashed = (entries: readonly TarItem[] = tree): Buffer => {
  const file = work.at(`made${made++}.squashfs`)
  squashfs(file, entries)
  return readFileSync(file)
}

describe('the reader of a foreign squashfs', () => {
  const program = join(DEFAULT_PREFIX, 'bin/shifter-unsquash')
  it('can open nothing and start nothing once it reads', async () => {
    const file = work.at('traced.squashfs')
    writeFileSync(file, squashed())
    const trace = work.at('trace')
    await runOk(['sh', '-c', 'strace -f -o "$1" "$2" --bytes 1000000 --ratio 100 --entries 100 --depth 100 --name-bytes 4095 <"$3" >/dev/null', 'sh', trace, program, file])
    const calls = readFileSync(trace, 'utf8').split('\n')
    const sandboxed = calls.findIndex((line) => line.includes('PR_SET_SECCOMP'))
    expect(sandboxed).toBeGreaterThan(0)
    const after = new Set(calls.slice(sandboxed + 1).flatMap((line) => /^\d+ +(\w+)\(/.exec(line)?.[1] ?? []))
    expect([...after].filter((call) => !['pread64', 'write', 'brk', 'mmap', 'munmap', 'mprotect', 'mremap', 'exit_group', 'futex', 'getrandom', 'madvise'].includes(call))).toEqual([])
    expect(after).toContain('pread64')
  })

  it.each([
    [['--bytes', '0'], /USAGE/],
    [['--bytes', '10'], /USAGE/],
    [[], /USAGE/],
  ])('refuses wrong options: %j', async (args, said) => {
    expect((await run([program, ...args])).stderr).toMatch(said)
  })

  it('tells that its output is full', async () => {
    const file = work.at('full.squashfs')
    writeFileSync(file, squashed())
    const { status, stderr } = await run(['sh', '-c', '"$1" --bytes 10000000 --ratio 100 --entries 100 --depth 100 --name-bytes 4095 <"$2" >/dev/full', 'sh', program, file])
    expect(stderr).toMatch(/^STORAGE_FULL /)
    expect(status).not.toBe(0)
  })
})

describe('a custom reference', () => {
  it('that was imported is pulled as it is, and another one is not there', async () => {
    const file = work.at('pulled.tar')
    writeFileSync(file, tarBytes(tree))
    const { config } = site()
    const missing = await failure(pullImage('custom:app', { config }))
    expect(missing.code).toBe('IMPORT_NEEDED')
    expect(missing.message).toContain('There is no image "custom:app:latest" on test')
    const record = await importImage('custom:app', file, { config, allowUids: [] })
    expect((await pullImage('custom:app:latest', { config, verify: true })).id).toBe(record.id)
    // Whom it is not for learns nothing of it.
    const refused = await failure(pullImage('custom:app', { config, requester: { uid: 4711 } }))
    expect(refused.message).toBe(missing.message)
    const events: ProgressEvent[] = []
    await pullImage('custom:app', { config, allowUids: [5], onProgress: (event) => events.push(event) })
    expect(events.flatMap((event) => (event._tag === 'Warning' ? [event.message] : []))).toEqual(['The image was imported: the access list of a pull has no effect.'])
    expect((await inspectImage('custom:app', { config })).record.allowUids).toEqual([])
  })

  it('is the only one that is imported', async () => {
    const file = work.at('named.tar')
    writeFileSync(file, tarBytes(tree))
    const { config } = site()
    for (const name of ['docker:app', 'app', 'oci:/x', 'id:abc']) expect((await failure(importImage(name, file, { config }))).code, name).toBe('REFERENCE_INVALID')
    const wrong = await failure(importImage('custom:app', file, { config, metadata: { env: ['novalue'] } }))
    expect(wrong).toMatchObject({ code: 'USAGE' })
    expect(wrong.message).toContain('metadata.env.0')
    expect(Errors.isShifterError(wrong)).toBe(true)
  })

  it('runs', async () => {
    const file = work.at('busybox.squashfs')
    squashfs(file, busyboxRoot())
    const config = { version: 1 as const, stateDirectory: work.at('shared'), prefix: DEFAULT_PREFIX, systems: { test: { imagePath: SHARED_IMAGE_PATH } } }
    const { id } = await importImage('custom:busybox:test', file, { config, metadata: { env: ['PATH=/bin', 'IMPORTED=yes'], entrypoint: ['/bin/sh', '-c'] } })
    const shifter = ['setpriv', `--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--init-groups', '--inh-caps=-all', join(DEFAULT_PREFIX, 'bin/shifter')]
    const { stdout } = await runOk([...shifter, '--image=custom:busybox:test', 'sh', '-c', 'echo $IMPORTED $(id -u); cat /etc/os-release'])
    expect(stdout).toBe(`yes ${userA.uid}\nPRETTY_NAME="Test image"\n`)
    expect(id).toHaveLength(64)
  })
})

describe('shifterimg import', () => {
  it('makes an image of a file, with what is said of it', async () => {
    const s = site()
    writeFileSync(work.at('own.tar.gz'), gzipSync(tarBytes(tree)))
    const options = ['--env', 'A=1', '--env', 'B=2', '--entrypoint', '["/bin/tool"]', '--command', '["x","y z"]', '-w', '/bin', '--label', 'l=v=w', '--user', '5']
    const { status, stderr, stdout } = await startShifterimg(s, work.path, ['import', 'custom:own', work.at('own.tar.gz'), '--json', ...options]).ended
    expect(status, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      reference: 'custom:own:latest', env: ['A=1', 'B=2'], entrypoint: ['/bin/tool'], command: ['x', 'y z'], workdir: '/bin', labels: [['l', 'v=w']], access: 'private', allowUids: [5],
    })
  })

  it.each([
    [['import', 'custom:own'], 'import needs REFERENCE and FILE; there is 1'],
    [['import', 'custom:own', 'x', '--entrypoint', '/bin/sh'], 'is no list of texts in JSON'],
    [['import', 'custom:own', 'x', '--label', 'x'], 'is not NAME=VALUE'],
  ])('refuses a wrong call: %j', async (args, said) => {
    const { status, stderr } = await startShifterimg(site(), work.path, args).ended
    expect(status).toBe(2)
    expect(stderr).toContain(said)
  })
})
