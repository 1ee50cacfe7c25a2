/** Attacks on a start: what stands on the image path. */
import { appendFileSync, chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished } from 'vitest'
import { becoming, own, service, userA, userB } from '../../harness/people.js'
import { run, runOk } from '../../harness/process.js'
import { busyboxRoot, refusal, squashfs } from '../fixture.js'
import type { Ground } from './ground.js'

export const imagesAttacks = ({ node, workspace, profile, helper, slug, attack, launch, image, ours, fileOf, asUser, shifter, good, refused }: Ground): void => {
  describe('attack 28: what stands at the image path', () => {
    let count = 0
    let id: string
    /** A name on the image path with a `.meta` that lets everybody in; the test puts something there. */
    beforeEach(() => {
      id = `victim-${slug}-${++count}`
      writeFileSync(join(profile.images, `${id}.meta`), 'FORMAT: squashfs\nENV: PATH=/bin\n')
      own(join(profile.images, `${id}.meta`), profile.owner, 0o600)
    })
    const outcome = () => refused([`--image=id:${id}`])

    attack('attack 28: a symbolic link, to a good image, a descriptor or nowhere', async () => {
      for (const target of [fileOf(ours), `${ours}.squashfs`, '/proc/self/fd/0', '/proc/self/fd/9', '/nowhere']) {
        rmSync(fileOf(id), { force: true })
        symlinkSync(target, fileOf(id))
        expect(await outcome(), target).toBe('IMAGE_UNSAFE')
      }
    })

    attack('attack 28: a FIFO, a socket, devices and a directory; nothing waits', async () => {
      for (const make of [['mkfifo', fileOf(id)], ['mknod', fileOf(id), 'c', '1', '5'], ['mknod', fileOf(id), 'b', '7', '0'], ['mkdir', fileOf(id)],
        ['python3', '-c', `import socket; socket.socket(socket.AF_UNIX).bind("${fileOf(id)}")`]]) {
        await runOk(make)
        chownSync(fileOf(id), profile.owner.uid, profile.owner.gid)
        expect(await refused([`--image=id:${id}`], { timeoutMs: 5000 }), make[0]).toBe('IMAGE_UNSAFE')
        rmSync(fileOf(id), { recursive: true })
      }
    })

    attack('attack 28: a file of another owner, or one that others can write', async () => {
      copyFileSync(fileOf(ours), fileOf(id))
      own(fileOf(id), profile.owner, 0o600)
      expect(await shifter([`--image=id:${id}`, 'true'])).toMatchObject({ status: 0 })
      for (const [account, mode] of [[profile.others[0], 0o644], [userB, 0o644], [profile.owner, 0o660], [profile.owner, 0o602], [profile.owner, 0o666]] as const) {
        own(fileOf(id), account, mode)
        expect(await outcome(), `${account.name} ${mode.toString(8)}`).toBe('IMAGE_UNSAFE')
      }
      // Root's own files are not the image owner's.
      chownSync(fileOf(id), 0, 0)
      chmodSync(fileOf(id), 0o600)
      expect(await outcome()).toMatch(/^IMAGE_(UNSAFE|NOT_FOUND|CORRUPT|UNREADABLE)$/)
    })

    attack('attack 28: descriptions and names that others could have written', async () => {
      copyFileSync(fileOf(ours), fileOf(id))
      own(fileOf(id), profile.owner, 0o600)
      own(join(profile.images, `${id}.meta`), profile.others[0], 0o644)
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      own(join(profile.images, `${id}.meta`), profile.owner, 0o620)
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      rmSync(join(profile.images, `${id}.meta`))
      symlinkSync(join(profile.images, `${ours}.meta`), join(profile.images, `${id}.meta`))
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      // A record that can't be used is not passed over for the .meta beside it.
      symlinkSync('/nowhere', join(profile.images, `${id}.record`))
      expect(await outcome()).toBe('IMAGE_UNSAFE')
      const names = join(profile.images, 'names')
      renameSync(names, `${names}-moved`)
      symlinkSync(`${names}-moved`, names)
      try {
        expect(await refused([`--image=${image().reference}`])).toBe('IMAGE_UNSAFE')
      } finally {
        rmSync(names)
        renameSync(`${names}-moved`, names)
      }
    })

    attack('attack 28: an image path, or a directory above it, that others can write', async () => {
      const above = join(node.prefix, 'above')
      onTestFinished(() => rmSync(above, { recursive: true }))
      const deep = join(above, 'images')
      mkdirSync(deep, { recursive: true })
      own(deep, profile.owner, 0o755)
      copyFileSync(fileOf(ours), join(deep, 'x.squashfs'))
      writeFileSync(join(deep, 'x.meta'), 'FORMAT: squashfs\nENV: PATH=/bin\n')
      for (const name of ['x.squashfs', 'x.meta']) own(join(deep, name), profile.owner, 0o600)
      node.configure({ imagePath: deep })
      expect(await shifter(['--image=id:x', 'true'])).toMatchObject({ status: 0 })
      for (const directory of [above, deep]) {
        for (const [account, mode] of [[userA, 0o755], [service, 0o775], [service, 0o757], [service, 0o1777]] as const) {
          own(directory, account, mode)
          expect(await refused(['--image=id:x']), `${directory} ${account.name} ${mode.toString(8)}`).toBe('IMAGE_UNSAFE')
          own(directory, profile.owner, 0o755)
        }
      }
      symlinkSync(deep, join(above, 'link'))
      node.configure({ imagePath: join(above, 'link') })
      expect(await refused(['--image=id:x'])).toBe('IMAGE_UNSAFE')
      node.configure({ imagePath: '/tmp' })
      expect(await refused(['--image=id:x'])).toBe('IMAGE_UNSAFE')
    })

    attack('attack 28: an image path that the caller owns', async () => {
      node.configure({ imageOwner: userA.uid })
      expect(await refused([`--image=id:${ours}`])).toBe('IMAGE_UNSAFE')
    })

    attack('attack 28: exchanged for another file while programs start', { timeout: 60_000 }, async () => {
      squashfs(fileOf(id), busyboxRoot())
      own(fileOf(id), profile.owner, 0o600)
      const evil = join(profile.images, `${id}.evil`)
      squashfs(evil, busyboxRoot([{ name: 'EVIL', type: 'file', data: '' }]))
      own(evil, userB, 0o666)
      const attacker = spawn(launch, ['swap', fileOf(id), evil], { stdio: 'ignore', env: profile.environment })
      const look = [helper, `--image=id:${id}`, 'sh', '-c', 'test -e /EVIL && echo EVIL || echo good']
      /** What a preparation took, its ranks see; what it refused, they find out for themselves. */
      const once = async (job: string): Promise<readonly string[]> => {
        const prepared = profile.joined ? await run(profile.preparation(`id:${id}`, { job })) : undefined
        const result = await asUser(look, { env: { SHIFTER_JOB_ID: job } })
        if (profile.joined) await runOk([node.sbin('unsetupRoot'), `--job=${job}`])
        if (prepared?.status === 0) expect(result).toMatchObject({ status: 0, stdout: 'good\n' })
        return [prepared?.status === 1 ? refusal(prepared) : 'good', result.status === 0 ? result.stdout.trim() : refusal(result)]
      }
      try {
        const seen = new Set<string>()
        for (let round = 0; round < (profile.name === 'setuid fresh' ? 60 : 15); round++) {
          for (const what of (await Promise.all([0, 1, 2, 3].map((each) => once(`swap-${round}-${each}`)))).flat()) seen.add(what)
        }
        // Both were met, or the race was none.
        expect([...seen].sort()).toEqual(['IMAGE_UNSAFE', 'good'])
      } finally {
        attacker.kill('SIGKILL')
        rmSync(evil, { force: true })
      }
    })

    attack('attack 28: shorter, longer, sparse and empty files', async () => {
      const size = statSync(fileOf(ours)).size
      for (const length of [0, 1, 95, 96, 4096, size - 4096]) {
        copyFileSync(fileOf(ours), fileOf(id))
        own(fileOf(id), profile.owner, 0o600)
        truncateSync(fileOf(id), length)
        expect(await outcome(), String(length)).toBe('IMAGE_CORRUPT')
      }
      // A hole behind the end is harmless, but not what a record says.
      copyFileSync(fileOf(ours), fileOf(id))
      own(fileOf(id), profile.owner, 0o600)
      truncateSync(fileOf(id), size + (1 << 30))
      expect(await shifter([`--image=id:${id}`, 'true'])).toMatchObject({ status: 0 })
      const recorded = fileOf(image().record.id)
      const had = statSync(recorded).size
      for (const length of [had - 4096, had + 4096]) {
        copyFileSync(recorded, `${recorded}.kept`)
        truncateSync(recorded, length)
        try {
          expect(await refused([`--image=id:${image().record.id}`])).toBe('IMAGE_CORRUPT')
        } finally {
          renameSync(`${recorded}.kept`, recorded)
          own(recorded, profile.owner, 0o600)
        }
      }
    })

    attack('attack 28: truncated under a running program', async () => {
      squashfs(fileOf(id), busyboxRoot([{ name: 'big', type: 'file', data: Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 2654435761) >>> 24)) }]))
      own(fileOf(id), profile.owner, 0o600)
      await profile.prepare(`id:${id}`)
      const [program, ...rest] = [...becoming(userA), helper, `--image=id:${id}`, 'sh', '-c', profile.script('echo up; read x; cat /big > /dev/null; echo $?')]
      const child = spawn(program, rest, { cwd: '/', env: { ...profile.environment, PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'ignore'] })
      const ended = new Promise((resolve) => child.on('close', resolve))
      expect(String(await new Promise((resolve) => child.stdout.once('data', resolve)))).toBe('up\n')
      truncateSync(fileOf(id), 4096)
      child.stdin.end('go\n')
      await ended // with whatever status: the host stands
      expect(await outcome()).toBe('IMAGE_CORRUPT')
      expect(await asUser(good('echo ok'))).toMatchObject({ status: 0, stdout: 'ok\n' })
    })

    attack('attack 28: grown, replaced and removed under a prepared or running root, which stays what it was', async () => {
      squashfs(fileOf(id), busyboxRoot([{ name: 'which', type: 'file', data: 'first\n' }]))
      own(fileOf(id), profile.owner, 0o600)
      await profile.prepare(`id:${id}`)
      const [program, ...rest] = [...becoming(userA), helper, `--image=id:${id}`, 'sh', '-c', profile.script('echo up; read x; cat /which /bin/busybox | head -c 6')]
      const child = spawn(program, rest, { cwd: '/', env: { ...profile.environment, PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'ignore'] })
      let out = ''
      const ended = new Promise((resolve) => child.on('close', resolve))
      await new Promise<void>((resolve) => child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString()
        resolve()
      }))
      appendFileSync(fileOf(id), Buffer.alloc(1 << 20, 'x'))
      squashfs(`${fileOf(id)}.next`, busyboxRoot([{ name: 'which', type: 'file', data: 'second\n' }]))
      own(`${fileOf(id)}.next`, profile.owner, 0o600)
      renameSync(`${fileOf(id)}.next`, fileOf(id))
      child.stdin.end('go\n')
      await ended
      expect(out).toBe('up\nfirst\n')
      const now = async () => (await asUser([helper, `--image=id:${id}`, 'cat', '/which'])).stdout
      expect(await now()).toBe(profile.joined ? 'first\n' : 'second\n')
      rmSync(fileOf(id))
      expect(await now()).toBe(profile.joined ? 'first\n' : '')
      await profile.clear()
      expect(await outcome()).toBe('IMAGE_NOT_FOUND')
    })

    attack('attack 28: that root can not read, as on a root-squashed file system, is opened as its owner', async () => {
      squashfs(fileOf(id), busyboxRoot())
      own(fileOf(id), profile.owner, 0o600)
      const closed = join(profile.images, '..')
      const squashed = ['setpriv', '--bounding-set=-dac_override,-dac_read_search']
      own(profile.images, profile.owner, 0o700)
      try {
        expect((await run([...squashed, 'cat', fileOf(id)], { cwd: closed })).status).not.toBe(0)
        // What is mounted afterwards is what was opened here; without these rights an overlay can't be.
        const asked = profile.joined ? [node.sbin('setupRoot'), '-U', String(userA.uid), '-G', String(userA.gid)] : [...becoming(userA), 'env', ...profile.words, helper]
        expect(await run([...squashed, ...asked, `--resolve=id:${id}`], { cwd: '/', env: { PATH: '/usr/bin:/bin' } })).toMatchObject({ status: 0, stdout: `${id}\n`, stderr: '' })
      } finally {
        own(profile.images, profile.owner, 0o755)
      }
    })

    attack('attack 28: ids are names, never ways', async () => {
      for (const bad of ['../good-meta', 'a/b', '.', '..', '.hidden', '', 'x\n', '%2e', '/etc/passwd', 'a'.repeat(129)]) {
        expect(await refused([`--image=id:${bad}`]), JSON.stringify(bad)).toBe('REFERENCE_INVALID')
      }
    })
  })

  describe('attack 29: what an image file is', () => {
    const put = (id: string, bytes: Buffer): string => {
      writeFileSync(fileOf(id), bytes)
      writeFileSync(join(profile.images, `${id}.meta`), 'FORMAT: squashfs\nENV: PATH=/bin\n')
      own(fileOf(id), profile.owner, 0o600)
      own(join(profile.images, `${id}.meta`), profile.owner, 0o600)
      return `--image=id:${id}`
    }
    const ext4 = async (): Promise<Buffer> => {
      const file = workspace.at('ext4')
      writeFileSync(file, '')
      truncateSync(file, 4 << 20)
      await runOk(['mkfs.ext4', '-q', '-F', file])
      return readFileSync(file)
    }
    const withMagic = (magic: string, at: number): Buffer => {
      const bytes = Buffer.alloc(1 << 20)
      bytes.write(magic, at, 'latin1')
      return bytes
    }

    attack('attack 29: other file systems under the name of a squashfs', async () => {
      const others: Record<string, Buffer> = {
        ext4: await ext4(), xfs: withMagic('XFSB', 0), iso: withMagic('\x01CD001\x01', 32768), btrfs: withMagic('_BHRfS_M', 65600), zeros: Buffer.alloc(1 << 20),
        swapped: withMagic('sqsh', 0), erofs: withMagic('\xe2\xe1\xf5\xe0', 1024), script: Buffer.from('#!/bin/sh\necho EVIL\n'.repeat(20)),
      }
      for (const [kind, bytes] of Object.entries(others)) expect(await refused([put(`fs-${kind}`, bytes)]), kind).toBe('IMAGE_CORRUPT')
    })

    attack('attack 29: the kernel is never left to guess: an ext4 behind a squashfs superblock is no ext4', async () => {
      const bytes = await ext4()
      // ext4 keeps its own at 1,024; the first 96 bytes are free for a superblock that passes every check of ours.
      readFileSync(fileOf(ours)).copy(bytes, 0, 0, 96)
      bytes.writeBigUInt64LE(BigInt(bytes.length), 40)
      expect(['MOUNT_FAILED', 'IMAGE_CORRUPT']).toContain(await refused([put('fs-both', bytes)]))
      const trace = workspace.at('trace-fs')
      // Joined: it is setupRoot that mounts.
      const mounting = profile.joined ? profile.preparation('id:fs-both') : ['-u', userA.name, helper, '--image=id:fs-both', 'true']
      await run(['strace', '-f', '-e', 'trace=fsopen,mount', '-o', trace, ...mounting], { cwd: '/', env: { ...process.env, ...profile.environment } })
      const kinds = [...readFileSync(trace, 'utf8').matchAll(/fsopen\("([^"]*)"/g)].map(([, kind]) => kind)
      expect(kinds).toContain('squashfs')
      expect(kinds.filter((kind) => !['squashfs', 'tmpfs', 'overlay'].includes(kind ?? ''))).toEqual([])
    })

    attack('attack 29: a superblock changed byte by byte is refused or harmless', { timeout: 60_000 }, async () => {
      const whole = readFileSync(fileOf(ours))
      const ends = new Set<string>()
      // The superblock is read by the same lines for each; the first profile takes every byte.
      for (let at = 0; at < 96; at += profile.name === 'setuid fresh' ? 1 : 5) {
        const bytes = Buffer.from(whole)
        bytes.writeUInt8((bytes[at] ?? 0) ^ 0xff, at)
        const result = await shifter([put('fs-flipped', bytes), 'true'])
        expect(result.signal, `byte ${at}`).toBe(null)
        ends.add(result.status === 0 ? 'ran' : result.status === 127 ? 'EXEC_FAILED' : refusal(result))
      }
      expect([...ends].filter((end) => !['ran', 'IMAGE_CORRUPT', 'MOUNT_FAILED', 'EXEC_FAILED', 'IMAGE_LAYOUT'].includes(end))).toEqual([])
      expect(ends).toContain('IMAGE_CORRUPT')
    })
  })
}
