/** What a site's list and its trees must be, and what of a tree is not entered, followed or taken. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, chownSync, existsSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { chosSite, contents, oldLibrary, pulled, writeBusybox, writeTree } from '../../harness/chosSite.js'
import { failure } from '../../harness/gateway.js'
import { DEFAULT_PREFIX } from '../../harness/native.js'
import { userA } from '../../harness/people.js'
import { runOk } from '../../harness/process.js'
import { useWorkspace } from '../../harness/workspace.js'

const work = useWorkspace('chos-directories')
let links: string

beforeAll(() => {
  links = work.at('os/links')
  writeBusybox(links)
})

describe('a list', () => {
  const listed = (list: string, change: (file: string) => void = () => undefined) => {
    const made = chosSite(work.at(`list${listed.count++}`), list)
    change(made.shells)
    return failure(pullImage('chos:a', { config: made.config }))
  }
  listed.count = 0

  it.each<readonly [what: string, list: () => string, change: ((file: string) => void) | undefined, code: string, said: RegExp]>([
    ['another user’s', () => `%SHELLS\na:${links}\n`, (file) => chownSync(file, userA.uid, userA.gid), 'TREE_UNSAFE', /belongs to uid \d+, not to root/],
    ['for others to write', () => `%SHELLS\na:${links}\n`, (file) => chmodSync(file, 0o664), 'TREE_UNSAFE', /can be changed by others \(mode 0664\)/],
    ['a link', () => `%SHELLS\na:${links}\n`, (file) => { renameSync(file, `${file}.real`); symlinkSync(`${file}.real`, file) }, 'TREE_UNSAFE', /is a symbolic link/],
    ['below a directory of others', () => `%SHELLS\na:${links}\n`, (file) => chmodSync(join(file, '..'), 0o777), 'TREE_UNSAFE', /can be changed by others \(mode 0777\)/],
    ['a directory', () => '', (file) => { rmSync(file); mkdirSync(file) }, 'TREE_UNSAFE', /no regular file/],
    ['a FIFO', () => '', (file) => { rmSync(file); execFileSync('mkfifo', [file]) }, 'TREE_UNSAFE', /no regular file/],
    ['too long', () => '', (file) => truncateSync(file, 10_000_000), 'TREE_UNSAFE', /has 10000000 bytes/],
    ['gone', () => '', (file) => rmSync(file), 'TREE_NOT_FOUND', /which is not there/],
    ['without a colon', () => '%SHELLS\nfoo\n', undefined, 'CONFIG_INVALID', /Line 2 of .* is no name:path/],
    ['without a path', () => '%SHELLS\na:\n', undefined, 'CONFIG_INVALID', /Line 2 of .* is no name:path/],
    ['with carriage returns', () => `%SHELLS\na:${links}\r\n`, undefined, 'CONFIG_INVALID', /control character/],
    ['with a header that is not one', () => ` %SHELLS\na:${links}\n`, undefined, 'TREE_NOT_FOUND', /no tree "a" in .*, which has no line that is exactly "%SHELLS"/],
    ['of lines that all end with a carriage return', () => `%SHELLS\r\na:${links}\r\n`, undefined, 'TREE_NOT_FOUND', /which has no line that is exactly "%SHELLS"/],
    ['of a relative path', () => '%SHELLS\na:os/links\n', undefined, 'TREE_UNSAFE', /"os\/links" is not absolute/],
    ['of a path with ..', () => `%SHELLS\na:${links}/../links\n`, undefined, 'TREE_UNSAFE', /has a '\.\.'/],
    ['of the root by another word', () => '%SHELLS\na://./\n', undefined, 'TREE_UNSAFE', /the machine itself/],
    ['of nothing', () => `%SHELLS\na:${work.at('no-such')}\n`, undefined, 'TREE_UNREADABLE', /no-such" can't be opened: it is not there\. See that it is there/],
    ['of a path with a blank behind it', () => `%SHELLS\na:${links} \n`, undefined, 'TREE_UNREADABLE', /links " can't be opened: it is not there/],
  ])('that is %s is refused', async (_, list, change, code, said) => {
    const error = await listed(list(), change)
    expect({ code: error.code, message: error.message }).toMatchObject({ code, message: expect.stringMatching(said) as string })
  })

  it('that says nothing of a shell of bash gives no command, and without chos.conf nothing of variables', async () => {
    const made = chosSite(work.at('plain'), `%SHELLS\na:${links}\n`)
    const { image } = await pulled('chos:a', made.config)
    expect(image.command).toEqual([])
    expect(image.labels.map(([name]) => name)).not.toContain('chos.env')
    writeFileSync(made.conf, '%ENV\nA B\n', { mode: 0o644 })
    expect((await failure(pullImage('chos:a', { config: made.config }))).message).toMatch(/Line 2 of .*chos\.conf is no name of a variable/)
    chmodSync(made.conf, 0o666)
    expect((await failure(pullImage('chos:a', { config: made.config }))).code).toBe('TREE_UNSAFE')
  })
})

describe('a directory', () => {
  /** A tree of its own, made unfit, and what its pull says. */
  const treeOf = async (change: (root: string) => void | Promise<void>, settings: object = {}) => {
    const count = treeOf.count++
    const root = work.at(`trees/${count}/os/tree`)
    writeBusybox(root)
    writeTree(root, { 'usr/': null })
    await change(root)
    return { root, config: chosSite(work.at(`trees/${count}/site`), `%SHELLS\na:${root}\n`, settings).config }
  }
  treeOf.count = 0

  it.each<readonly [what: string, change: (root: string) => void, code: string, said: RegExp]>([
    ['is a link', (root) => { renameSync(root, `${root}.real`); symlinkSync(`${root}.real`, root) }, 'TREE_UNSAFE', /is a symbolic link or no directory/],
    ['is reached by a link', (root) => { renameSync(join(root, '..'), join(root, '../..', 'moved')); symlinkSync('moved', join(root, '..')) }, 'TREE_UNSAFE', /is a symbolic link or no directory/],
    ['is another user’s', (root) => chownSync(root, userA.uid, userA.gid), 'TREE_UNSAFE', /belongs to uid \d+, not to root/],
    ['others can write', (root) => chmodSync(root, 0o777), 'TREE_UNSAFE', /can be changed by others \(mode 0777\)/],
    ['is closed', (root) => chmodSync(root, 0o700), 'TREE_UNSAFE', /is not open to everyone \(mode 0700\)/],
    ['is below a closed one', (root) => chmodSync(join(root, '..'), 0o750), 'TREE_UNSAFE', /is not open to everyone \(mode 0750\)/],
    ['is a file', (root) => { rmSync(root, { recursive: true }); writeFileSync(root, 'x') }, 'TREE_UNSAFE', /no directory/],
    ['holds no system', (root) => rmSync(join(root, 'bin'), { recursive: true }), 'TREE_INVALID', /has no \/bin\/sh that is a program/],
    ['has a script as its shell', (root) => { rmSync(join(root, 'bin/sh')); writeFileSync(join(root, 'bin/sh'), '#!/bin/ksh\n'.repeat(10)) }, 'TREE_INVALID', /has no \/bin\/sh that is a program/],
    ['has a shell that leads around', (root) => { rmSync(join(root, 'bin/sh')); symlinkSync('/bin/sh', join(root, 'bin/sh')) }, 'TREE_INVALID', /has no \/bin\/sh that is a program/],
  ])('that %s is refused', async (_, change, code, said) => {
    const { config } = await treeOf(change)
    const error = await failure(pullImage('chos:a', { config }))
    expect({ code: error.code, message: error.message }).toMatchObject({ code, message: expect.stringMatching(said) as string })
  })

  it('of another machine’s programs is refused, and of 32 bits taken with a word', async () => {
    const elf = (machine: number, wide: boolean) => {
      const bytes = Buffer.alloc(64)
      bytes.write('\x7fELF', 'latin1')
      bytes.set([wide ? 2 : 1, 1, 1], 4)
      bytes.writeUInt16LE(2, 16)
      bytes.writeUInt16LE(machine, 18)
      return bytes
    }
    const shell = (bytes: Buffer) => (root: string) => { rmSync(join(root, 'bin/sh')); writeFileSync(join(root, 'bin/sh'), bytes, { mode: 0o755 }) }
    const arm = await failure(pullImage('chos:a', { config: (await treeOf(shell(elf(183, true)))).config, platform: 'linux/amd64' }))
    expect({ code: arm.code, message: arm.message }).toMatchObject({ code: 'PLATFORM_NOT_FOUND', message: expect.stringContaining('is for linux/arm64, not for linux/amd64') as string })
    const { image, warnings } = await (async () => {
      const { config } = await treeOf(shell(elf(3, false)))
      const events: string[] = []
      const made = await pullImage('chos:a', { config, platform: 'linux/amd64', onProgress: (event) => { if (event._tag === 'Warning') events.push(event.message) } })
      return { image: made, warnings: events }
    })()
    expect(image.platform).toBe('linux/386')
    expect(warnings).toContainEqual(expect.stringContaining('32 bits (linux/386)'))
  })

  it('with an old C library of a new kernel is taken, with a word for the nodes', async () => {
    const { config } = await treeOf((root) => { writeTree(root, { 'lib64/libc-2.5.so': oldLibrary(), 'lib64/libc.so.6': ['libc-2.5.so'] }) })
    const { image, warnings } = await pulled('chos:a', config)
    expect(Object.fromEntries(image.labels)).toMatchObject({ 'chos.glibc': '2.5' })
    expect(warnings).toContainEqual(expect.stringContaining('(2.5) calls the kernel at a fixed address'))
  })

  it('holds other file systems, which are not entered', async () => {
    const { config, root } = await treeOf((at) => { writeTree(at, { 'data/': null, 'usr/file': 'below' }) })
    await runOk(['mount', '-t', 'tmpfs', 'chos-test', join(root, 'data')])
    try {
      writeFileSync(join(root, 'data/inside'), 'x')
      await runOk(['mount', '--bind', '/etc/hostname', join(root, 'usr/file')])
      await runOk(['mount', '--bind', '/etc', join(root, 'usr')])
      const { image, warnings } = await pulled('chos:a', config)
      const found = await contents(image, join(config.systems.test.imagePath))
      expect(found.get('data')).toBe('drwxr-xr-x')
      expect([...found.keys()].filter((name) => /^(data|usr)\//.test(name))).toEqual([])
      expect(warnings).toContainEqual('Left out of the tree, as they lie on other file systems (2): data, usr')
      await runOk(['umount', join(root, 'usr')])
      const second = await pulled('chos:a', config)
      expect(second.warnings).toContainEqual('Left out of the tree, as they lie on other file systems (2): data, usr/file')
    } finally {
      await runOk(['sh', '-c', 'umount -l "$1/usr" 2>/dev/null; umount -l "$1/usr/file" 2>/dev/null; umount "$1/data"', 'sh', root])
    }
  })

  it('holds links out of it, which nothing follows', async () => {
    const { config } = await treeOf((root) => { symlinkSync('/etc', join(root, 'usr/out')); symlinkSync('../../../../../../etc/passwd', join(root, 'usr/passwd')); symlinkSync('usr/out', join(root, 'opt')) })
    const found = await contents((await pulled('chos:a', config)).image, config.systems.test.imagePath)
    expect(found.get('usr/out')).toMatch(/^l.* -> \/etc$/)
    expect(found.get('usr/passwd')).toMatch(/^l/)
    expect([...found.keys()].filter((name) => name.startsWith('usr/out/') || name.startsWith('opt/'))).toEqual([])
  })

  it('with a sparse file takes no more room than what is in it, but behind what is in a file already', async () => {
    const tree = async (size: number) => (await treeOf((at) => { writeFileSync(join(at, 'usr/sparse'), 'begin'); truncateSync(join(at, 'usr/sparse'), size); appendFileSync(join(at, 'usr/sparse'), 'end') })).root
    const bounds = '--bytes 9000000000 --entries 1000 --directory-entries 1000 --depth 16 --name-bytes 4095'
    const converted = async (root: string, file: string) => {
      const { stdout } = await runOk(['sh', '-c', `"$1" --tree "$2" ${bounds} 3>>"$3"`.replace('>>', existsSync(file) ? '>>' : '>'), 'sh', join(DEFAULT_PREFIX, 'bin/shifter-tree'), root, file], { timeoutMs: 120_000 })
      const [, length, digest] = /^done (\d+) \d+ ([0-9a-f]{64})$/m.exec(stdout) ?? []
      return { length: Number(length), digest }
    }
    const hashed = async (file: string, from: number) => (await runOk(['sh', '-c', 'tail -c "+$2" "$1" | sha256sum', 'sh', file, String(from)], { timeoutMs: 120_000 })).stdout.slice(0, 64)
    const file = work.at('sparse.tar')
    const made = await converted(await tree(2 ** 31), file)
    const { blocks, size } = statSync(file)
    expect(size).toBe(made.length)
    expect(blocks * 512).toBeLessThan(2 ** 25)
    expect(await hashed(file, 1)).toBe(made.digest)
    const behind = work.at('behind.tar')
    writeFileSync(behind, 'x')
    const appended = await converted(await tree(2 ** 23), behind)
    expect(statSync(behind).size).toBe(appended.length + 1)
    expect(await hashed(behind, 2)).toBe(appended.digest)
  }, 200_000)

  it.each([
    ['a bound of bytes', { inflatedBytes: 1000 }, /more than 1000 bytes/],
    ['a bound of names', { entries: 3 }, /more than 3 names/],
    ['a bound of a directory', { directoryEntries: 3 }, /"bin" holds more than 3 names/],
    ['a bound of depth', { depth: 1 }, /more than 1 components/],
  ])('over %s is refused', async (_, limits, said) => {
    const { config } = await treeOf(() => undefined)
    const error = await failure(pullImage('chos:a', { config: { ...config, limits } }))
    expect({ code: error.code, message: error.message }).toMatchObject({ code: 'LIMIT_EXCEEDED', message: expect.stringMatching(said) as string })
  })
})
