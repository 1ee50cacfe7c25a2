/**
 * The directory of an OVF that somebody changes while it is read. Each change is made at one moment: when the disk was looked at and is about to be copied, or
 * when half of it is.
 */
import { createHash } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import { type Image, ImageRef, Limits } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { vmSource } from '../../../src/backends/vm/index.js'
import { descriptor } from '../../harness/disks.js'
import { DEFAULT_PREFIX } from '../../harness/native.js'
import { runOk } from '../../harness/process.js'
import { useWorkspace } from '../../harness/workspace.js'
import { MIB } from '../../native/disks/make.js'

const work = useWorkspace('vm-changing')
/** What the disk's reader would take for a disk; it is not asked to. */
const bytes = (fill: string): Buffer => Buffer.concat([Buffer.from('XFSB'), Buffer.alloc(8 * MIB, fill)])
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')
let made = 0

interface Refused {
  readonly code: string
  readonly message: string
}

/** A directory with a descriptor and a disk, with a manifest where it is wanted; beside it a file that nobody named. */
const machine = (manifest = false): string => {
  const directory = work.at(`machine${(made += 1)}`)
  mkdirSync(directory)
  writeFileSync(join(directory, 'vm.ovf'), descriptor('d.raw'))
  writeFileSync(join(directory, 'd.raw'), bytes('d'))
  writeFileSync(work.at('secret'), bytes('s'))
  if (manifest) writeFileSync(join(directory, 'vm.mf'), ['vm.ovf', 'd.raw'].map((file) => `SHA256(${file})= ${sha256(readFileSync(join(directory, file)))}\n`).join(''))
  return directory
}

/** What is taken of a directory, or why nothing is. `change` is called between the look at the disk and its copy; `program` is what copies. */
const taken = async (directory: string, change: () => void, program = join(DEFAULT_PREFIX, 'bin/shifter-open')): Promise<{ readonly digest: string; readonly content: string } | Refused> => {
  const scratch = work.at(`scratch${made}`)
  mkdirSync(scratch)
  const options: Image.ResolveOptions = {
    platform: { os: 'linux', architecture: 'amd64', variant: undefined }, credentials: undefined, limits: Limits.defaultPullLimits, onProgress: () => undefined,
    workspace: {
      blobs: work.at('blobs'), partials: work.at('partials'), scratch, sample: '',
      program: (name) => {
        if (name !== 'shifter-open') return join(DEFAULT_PREFIX, 'bin', name)
        change()
        return program
      },
    },
  }
  const resolved = vmSource().resolve(ImageRef.parse(`vm:${directory}`).pipe(Either.getOrThrow), options).pipe(
    Effect.map(({ sourceDigest }) => ({ digest: String(sourceDigest), content: sha256(readFileSync(join(scratch, 'disk/given'))) })),
    Effect.scoped, Effect.either,
  )
  const open = readdirSync('/proc/self/fd').length
  const result = await Effect.runPromise(resolved)
  expect(readdirSync('/proc/self/fd').length).toBe(open)
  return Either.match(result, { onLeft: ({ code, message }) => ({ code, message }), onRight: (right) => right })
}

const refused = async (code: string, said: string, ...args: Parameters<typeof taken>): Promise<void> => {
  const result = await taken(...args)
  expect('code' in result ? [result.code, result.message] : result).toEqual([code, expect.stringContaining(said)])
}

const DISK = { digest: `sha256:${sha256(bytes('d'))}`, content: sha256(bytes('d')) }

describe('between the look at the disk and its copy', () => {
  it.each<readonly [what: string, change: (directory: string) => void]>([
    ['nothing happens', () => undefined],
    ['the disk becomes a link', (directory) => { rmSync(join(directory, 'd.raw')); symlinkSync(work.at('secret'), join(directory, 'd.raw')) }],
    ['the disk becomes another name of a file', (directory) => { rmSync(join(directory, 'd.raw')); linkSync(work.at('secret'), join(directory, 'd.raw')) }],
    ['another disk takes its name', (directory) => { writeFileSync(join(directory, 'new'), bytes('n')); renameSync(join(directory, 'new'), join(directory, 'd.raw')) }],
    ['another directory takes the name of its own', (directory) => {
      renameSync(directory, `${directory}.old`)
      mkdirSync(directory)
      symlinkSync(work.at('secret'), join(directory, 'd.raw'))
      writeFileSync(join(directory, 'vm.mf'), 'no manifest')
    }],
    ['the descriptor becomes a link', (directory) => { rmSync(join(directory, 'vm.ovf')); symlinkSync(work.at('secret'), join(directory, 'vm.ovf')) }],
  ])('%s: it is the disk that was looked at', async (_, change) => {
    for (const manifest of [false, true]) {
      const directory = machine(manifest)
      expect(await taken(directory, () => { change(directory) })).toEqual(DISK)
    }
  })

  it('the disk becomes shorter: what is read is hashed, and is not what the manifest says', async () => {
    const directory = machine()
    const half = bytes('d').subarray(0, 4 * MIB)
    expect(await taken(directory, () => { truncateSync(join(directory, 'd.raw'), half.length) })).toEqual({ digest: `sha256:${sha256(half)}`, content: sha256(half) })
    const sure = machine(true)
    await refused('DIGEST_MISMATCH', '"d.raw" of The disk of vm:', sure, () => { truncateSync(join(sure, 'd.raw'), half.length) })
  })

  it('the manifest becomes a link, or another name of a file, of which nothing is told', async () => {
    for (const [link, said] of [[symlinkSync, 'it is a link'], [linkSync, 'it has more than one name']] as const) {
      const directory = machine(true)
      const manifest = join(directory, 'vm.mf')
      writeFileSync(work.at('secret'), 'SHA256(secret)= 00\n')
      await refused('FILE_UNAVAILABLE', `${manifest} can't be read: ${said}`, directory, () => { rmSync(manifest); link(work.at('secret'), manifest) })
    }
  })
})

describe('while the disk is copied', () => {
  /** Copies with what a site copies with; when it has written the first bytes, and waits to write more, something happens to the file. */
  const copier = (change: string): string => {
    const program = work.at(`copier${(made += 1)}`)
    writeFileSync(program, `#!/bin/bash\nset -o pipefail\n${join(DEFAULT_PREFIX, 'bin/shifter-open')} "$@" | { head -c 4096; ${change}; cat; }\n`)
    chmodSync(program, 0o755)
    return program
  }

  it.each<readonly [what: string, change: (file: string) => string]>([
    ['grows', (file) => `echo more >>${file}`],
    ['shrinks', (file) => `truncate -s 5M ${file}`],
    ['is written to', (file) => `printf X | dd of=${file} conv=notrunc status=none`],
    ['becomes a link', (file) => `ln -sf ${work.at('secret')} ${file}`],
  ])('one that %s is refused', async (_, change) => {
    const directory = machine()
    const disk = join(directory, 'd.raw')
    await refused('FILE_CHANGED', `The file ${disk}: it `, directory, () => undefined, copier(change(disk)))
  })
})

describe('what is no regular file', () => {
  it.each<readonly [what: string, change: (directory: string) => unknown, said: string]>([
    ['a FIFO as the disk', async (directory) => { rmSync(join(directory, 'd.raw')); await runOk(['mkfifo', join(directory, 'd.raw')]) }, "d.raw can't be read: it is no regular file"],
    ['a FIFO as the descriptor', async (directory) => { rmSync(join(directory, 'vm.ovf')); await runOk(['mkfifo', join(directory, 'vm.ovf')]) }, "vm.ovf can't be read: it is no regular file"],
    ['a directory as the disk', (directory) => { rmSync(join(directory, 'd.raw')); mkdirSync(join(directory, 'd.raw')) }, "d.raw can't be read: it is no regular file"],
    ['a link as the descriptor', (directory) => { rmSync(join(directory, 'vm.ovf')); symlinkSync(work.at('secret'), join(directory, 'vm.ovf')) }, "vm.ovf can't be read: it is a link"],
    ['a disk of two names', (directory) => { linkSync(join(directory, 'd.raw'), join(directory, 'also')) }, "d.raw can't be read: it has more than one name"],
    ['no disk', (directory) => { rmSync(join(directory, 'd.raw')) }, "d.raw can't be read: there is no such file"],
  ])('%s is refused, and not waited for', async (_, change, said) => {
    const directory = machine()
    await change(directory)
    await refused('FILE_UNAVAILABLE', said, directory, () => { throw new Error('it is copied') })
  })
})
