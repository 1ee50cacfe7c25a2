/**
 * One truth for two languages: what `shifter-check` (C) and the codecs (TypeScript) make of the same bytes, for every vector of `formats/` and
 * for generated ones.
 */
import { join } from 'node:path'
import * as Either from 'effect/Either'
import fc from 'fast-check'
import { type Errors, ImageRecord, ImageRef, Meta, NameFile } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import referenceVectors from '../../formats/vectors/image-reference.json' with { type: 'json' }
import metaVectors from '../../formats/vectors/meta.json' with { type: 'json' }
import nameVectors from '../../formats/vectors/name.json' with { type: 'json' }
import recordVectors from '../../formats/vectors/record.json' with { type: 'json' }
import * as FieldFile from '../../src/core/FieldFile.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { run } from '../harness/process.js'

type Kind = 'ref' | 'record' | 'name' | 'meta'
const CHECK = join(DEFAULT_PREFIX, 'bin/shifter-check')
const RUNS = Number(process.env['SHIFTER_TEST_VECTORS'] ?? 300)
const seed = Number(process.env['SHIFTER_TEST_SEED'] ?? Date.now() % 2 ** 31)

/** What C makes of each input. */
const inC = async (kind: Kind, inputs: readonly Buffer[]): Promise<unknown[]> => {
  const { status, stdout, stderr } = await run([CHECK, '--batch', kind], { input: inputs.map((input) => `${input.toString('hex')}\n`).join('') })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout.trimEnd().split('\n').map((line) => simplified(JSON.parse(line) as object))
}

/** A refusal is its code: the words are each language's own. */
const simplified = (value: object): unknown => ('error' in value ? { refused: (value.error as { readonly code: string }).code } : value)

/** What TypeScript makes of an input. */
const inTypeScript = (kind: Kind, input: Buffer): unknown => {
  const outcome: Either.Either<object, Errors.FormatError> =
    kind === 'ref'
      ? Either.map(ImageRef.parse(FieldFile.textOf(input)), ({ type, reference, canonical }) => ({ type, reference, canonical, nameHash: canonical === null ? null : ImageRef.nameHash(canonical) }))
      : { record: ImageRecord.decode, name: NameFile.decode, meta: Meta.decode }[kind](input)
  return Either.match(outcome, { onLeft: ({ code }) => ({ refused: code }), onRight: (value) => JSON.parse(JSON.stringify(value)) as unknown })
}

/** Fails on any difference; gives the share that was accepted, since inputs that are all refused show little. */
const agree = async (kind: Kind, inputs: readonly Buffer[]): Promise<number> => {
  const theirs = await inC(kind, inputs)
  expect(theirs.length).toBe(inputs.length)
  const differences = inputs.flatMap((input, i) => {
    const [c, typescript] = [theirs[i], inTypeScript(kind, input)]
    return sorted(c) === sorted(typescript) ? [] : [`${JSON.stringify(input.toString('latin1')).slice(0, 1500)}\n  C          ${sorted(c)}\n  TypeScript ${sorted(typescript)}`]
  })
  expect(differences.join('\n\n')).toBe('')
  return theirs.filter((outcome) => typeof outcome === 'object' && outcome !== null && !('refused' in outcome)).length / inputs.length
}

const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  )

interface Vector {
  readonly name: string
  readonly input?: string
  readonly inputHex?: string
  readonly accept: boolean
  readonly code?: string
  readonly value?: object
}
const bytesOf = ({ input, inputHex }: Vector): Buffer => (inputHex === undefined ? Buffer.from(input ?? '') : Buffer.from(inputHex, 'hex'))
const files: readonly (readonly [Exclude<Kind, 'ref'>, readonly Vector[]])[] = [
  ['record', recordVectors.cases],
  ['name', nameVectors.cases],
  ['meta', metaVectors.cases],
]

describe('vectors', () => {
  it.each(files)('%s: both languages say what is written', async (kind, cases) => {
    await agree(kind, cases.map(bytesOf))
    for (const vector of cases) {
      const outcome = inTypeScript(kind, bytesOf(vector))
      if (vector.accept) expect(sorted(outcome), vector.name).toBe(sorted(vector.value))
      else expect(outcome, vector.name).toEqual({ refused: vector.code })
    }
  })

  it.each(referenceVectors.cases as readonly (typeof referenceVectors.cases)[number][])('reference $input of default type $defaultType', async (vector) => {
    const { stdout } = await run([CHECK, 'ref', '--default-type', vector.defaultType, vector.input])
    const c = simplified(JSON.parse(stdout) as object)
    const typescript = Either.match(ImageRef.parse(vector.input, vector.defaultType), {
      onLeft: ({ code }): unknown => ({ refused: code }),
      onRight: ({ type, reference, canonical }) => ({ type, reference, canonical, nameHash: canonical === null ? null : ImageRef.nameHash(canonical) }),
    })
    expect(sorted(typescript)).toBe(sorted(c))
    if (!vector.accept) expect(typescript).toMatchObject({ refused: 'REFERENCE_INVALID' })
    else expect(typescript).toMatchObject({ type: vector.type, reference: vector.reference, canonical: vector.canonical })
  })
})

describe(`generated, ${RUNS} each, seed ${seed}`, () => {
  const sample = (arbitrary: fc.Arbitrary<Buffer>): Buffer[] => fc.sample(arbitrary, { seed, numRuns: RUNS })
  const mixed = (accepted: number): void => {
    expect(accepted).toBeGreaterThan(0)
    expect(accepted).toBeLessThan(1)
  }
  const bytes = fc.uint8Array({ maxLength: 12 }).map((array) => Buffer.from(array))
  const text = fc.oneof(
    fc.constantFrom('', 'a', 'a=b', 'A=', '=x', '/', '/a/../b', '0', '01', '4294967294', '4294967295', '9007199254740991', '9007199254740992', 'docker:docker.io/library/debian:12',
      'public', 'private', 'linux/amd64', 'linux/arm64/v8', `sha256:${'ab'.repeat(32)}`, 'cd'.repeat(32), 'name\0value', '\0', '\u00e9', '\u2028', '\ufeff', '\ud83d\ude00', '\r', ' ', '\t', '\u00a0').map((s) => Buffer.from(s)),
    fc.string({ maxLength: 12 }).map((s) => Buffer.from(s)),
    fc.string({ unit: 'binary', maxLength: 6 }).map((s) => Buffer.from(s)),
    bytes,
  )
  /** Change a byte, drop one or add one: most of what goes wrong is near what is right. */
  const damaged = (arbitrary: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
    fc.tuple(arbitrary, fc.nat(), fc.constantFrom('none', 'none', 'change', 'drop', 'add', 'cut'), fc.oneof(fc.nat(255), fc.constantFrom(10, 32, 58, 47, 0, 64, 46))).map(([whole, where, how, byte]) => {
      const at = whole.length === 0 ? 0 : where % whole.length
      switch (how) {
        case 'change':
          return Buffer.concat([whole.subarray(0, at), Buffer.from([byte]), whole.subarray(at + 1)])
        case 'drop':
          return Buffer.concat([whole.subarray(0, at), whole.subarray(at + 1)])
        case 'add':
          return Buffer.concat([whole.subarray(0, at), Buffer.from([byte]), whole.subarray(at)])
        case 'cut':
          return whole.subarray(0, at)
        default:
          return whole
      }
    })
  const field = (key: string, value: Buffer): Buffer => Buffer.concat([Buffer.from(`${key} ${value.length}:`), value, Buffer.from('\n')])
  const file = (magic: string, fields: readonly Buffer[]): Buffer => Buffer.concat([Buffer.from(`${magic} 1\n`), ...fields, Buffer.from('end\n')])

  it('references', async () => {
    const word = fc.string({ unit: fc.constantFrom(...Array.from('abcXYZ019._-+/:@ ')), maxLength: 10 })
    const type = fc.constantFrom('', 'docker:', 'id:', 'local:', 'custom:', 'oci:', 'oci-archive:', 'docker-archive:', 'docker-daemon:', 'vm:', 'chos:', 'Docker:', 'x:')
    const part = fc.oneof(word, fc.constantFrom('docker.io/', 'index.docker.io/', 'LOCALHOST/', 'localhost/', 'a.b:5000/', '[::1]/', '/srv/', './', '../', ':v1', '@sha256:' + 'ab'.repeat(32), 'library/', 'a__b', 'a___b', 'a--b', ':0/', ':65536/', ':65535/'))
    const whole = fc.tuple(type, fc.array(part, { maxLength: 4 }), bytes, fc.nat(6)).map(([t, parts, raw, odd]) =>
      Buffer.concat([Buffer.from(t + parts.join('')), odd === 0 ? raw : Buffer.alloc(0)]))
    // A reference is an argument or a field: NUL ends it before either language sees it.
    mixed(await agree('ref', sample(damaged(whole)).filter((input) => !input.includes(0))))
    for (const length of [1023, 1024, 1025]) await agree('ref', [Buffer.from(`vm:/${'a'.repeat(length - 4)}`), Buffer.from(`vm:/${'\xff'.repeat(length - 4)}`, 'latin1')])
  })

  it('records', async () => {
    const good: Readonly<Record<string, fc.Arbitrary<Buffer>>> = {
      'id': fc.constantFrom('12'.repeat(32), 'a.b+c').map((s) => Buffer.from(s)),
      'reference': fc.constantFrom('docker:docker.io/library/debian:12', 'oci:/srv/x:v1', 'vm:/\u00e9').map((s) => Buffer.from(s)),
      'source-digest': fc.constant(Buffer.from(`sha256:${'ab'.repeat(32)}`)),
      'profile': fc.constantFrom('zstd-1', '\u00e9').map((s) => Buffer.from(s)),
      'platform': fc.constantFrom('linux/amd64', 'linux/arm64/v8').map((s) => Buffer.from(s)),
      'image-size': fc.nat().map((n) => Buffer.from(String(n))),
      'image-sha256': fc.constant(Buffer.from('cd'.repeat(32))),
      'entries': fc.nat().map((n) => Buffer.from(String(n))),
      'owner': fc.nat().map((n) => Buffer.from(String(n))),
      'access': fc.constantFrom('public', 'private').map((s) => Buffer.from(s)),
    }
    const optional = fc.tuple(fc.constantFrom('manifest-digest', 'allow-uid', 'allow-gid', 'entrypoint', 'command', 'env', 'workdir', 'label', 'unknown', 'owner'),
      text).map(([key, value]) => field(key, value))
    const required = fc.tuple(...Object.entries(good).map(([key, value]) =>
      fc.oneof({ weight: 40, arbitrary: value }, { weight: 1, arbitrary: text }).map((v) => field(key, v))))
    const whole = fc.tuple(required, fc.array(fc.oneof(optional,
      fc.constantFrom(field('env', Buffer.from('A=\xff', 'latin1')), field('command', Buffer.from('\u00e9')), field('label', Buffer.from('a\0b')), field('allow-uid', Buffer.from('7')))), { maxLength: 4 }))
      .map(([all, more]) => file('shifter-record', [...all, ...more]))
    mixed(await agree('record', sample(damaged(whole))))
  })

  it('names', async () => {
    const whole = fc.tuple(fc.oneof(fc.constantFrom('docker:docker.io/library/debian:12', 'id:a', 'vm:/a', 'debian', 'oci:a').map((s) => Buffer.from(s)), text), fc.oneof(fc.constant(Buffer.from('ab12')), text))
      .map(([reference, id]) => file('shifter-name', [field('reference', reference), field('id', id)]))
    mixed(await agree('name', sample(damaged(whole))))
  })

  it('.meta files', async () => {
    const quoted = fc.tuple(fc.constantFrom("'", '"', "u'"), fc.array(fc.oneof(fc.constantFrom('a', ' ', '\\n', '\\x41', '\\xff', '\\xc3\\xa9', '\\u00e9', '\\ud800', '\\x00', '\\q', '\\\\', "\\'", '\u00e9', '\ud83d\ude00', ',', ']')), { maxLength: 4 }))
      .map(([quote, parts]) => `${quote}${parts.join('')}${quote.slice(-1)}`)
    const list = fc.tuple(fc.array(quoted, { maxLength: 3 }), fc.constantFrom(', ', ',', ' ,\t', '  ')).map(([words, by]) => `[${words.join(by)}]`)
    const value = fc.oneof(list, fc.constantFrom('', 'squashfs', '/x', 'x', '1,2', ' 1 , 2 ,', ',', '1,x', '007', '4294967295', '4294967294', 'A=b', 'A=', '=b', 'A', ' ', '[x', "['a'", '[]', '[] ', "['a'] "))
    const line = fc.tuple(fc.constantFrom('ENTRY', 'CMD', 'WORKDIR', 'USERACL', 'GROUPACL', 'ENV', 'VOLUME', 'USER', 'FORMAT', 'OTHER', 'env'), fc.constantFrom(': ', ':', ' : '), fc.oneof(value.map((s) => Buffer.from(s)), text))
      .map(([key, colon, v]) => Buffer.concat([Buffer.from(key + colon), v, Buffer.from('\n')]))
    const blank = fc.constantFrom('\n', ' \n', '\t\n', '\r\n', '\u00a0\n', '\u000b\n').map((s) => Buffer.from(s))
    const whole = fc.tuple(fc.array(fc.oneof({ weight: 8, arbitrary: line }, { weight: 1, arbitrary: blank }), { maxLength: 3 })).map(([more]) => Buffer.concat([Buffer.from('FORMAT: squashfs\n'), ...more]))
    mixed(await agree('meta', sample(damaged(whole))))
  })
})

describe('what TypeScript writes', () => {
  it('C reads as it was meant, bytes that are not UTF-8 included', async () => {
    const record: ImageRecord.ImageRecord = {
      id: 'a'.repeat(64), reference: 'docker:docker.io/library/debian:12', sourceDigest: `sha256:${'ab'.repeat(32)}` as ImageRecord.ImageRecord['sourceDigest'], profile: 'p', platform: 'linux/amd64', imageSize: 4096,
      imageSha256: 'cd'.repeat(32), entries: 1, access: 'private', owner: 5, allowUids: [1], allowGids: [2], env: ['A=\udcff', 'B=\u00e9\n', 'C='], entrypoint: ['', 'x y'], command: ['end\n'],
      workdir: '/\udc80', labels: [['n', '']],
    }
    expect((await inC('record', [Either.getOrThrow(ImageRecord.encode(record))])).map(sorted)).toEqual([sorted(record)])
    const name: NameFile.NameFile = { reference: 'vm:/\udcff', id: 'a' }
    expect((await inC('name', [Either.getOrThrow(NameFile.encode(name))])).map(sorted)).toEqual([sorted(name)])
    const meta = Meta.encode({ ...record, env: ['A=\udcff', 'B=\u00e9'] }, record)
    expect((await inC('meta', [Buffer.from(meta.text)])).map(sorted)).toEqual([sorted({
      format: 'squashfs', entrypoint: ['', 'x y'], command: null, workdir: null, userAcl: [5, 1], groupAcl: [2], env: ['B=\u00e9'] })])
    // What .meta can't say is told, not bent.
    expect(meta.omitted.length).toBe(3)
  })
})
