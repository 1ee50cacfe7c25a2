/** Documents of strangers: what can't be right is refused before anything is fetched for it. */
import * as Either from 'effect/Either'
import { describe, expect, it } from 'vitest'
import { decodeConfig, decodeDocument, mediaTypes } from '../../../src/backends/docker/Manifest.js'

const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern)
const digest = `sha256:${'a'.repeat(64)}`
const config = { digest, size: 2, mediaType: 'application/vnd.oci.image.config.v1+json' }
const layer = { digest, size: 3, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' }
const manifest = (change: Record<string, unknown> = {}): string => JSON.stringify({ schemaVersion: 2, config, layers: [layer], ...change })
const refused = (text: string, type?: string) =>
  Either.match(decodeDocument(Buffer.from(text), type, 'here'), { onLeft: (error) => `${error.code}: ${error.message}`, onRight: (document) => `a ${document.kind}` })

describe('a manifest', () => {
  it('is read when it is right', () => expect(refused(manifest())).toBe('a manifest'))

  it.each([
    ['upper case', `sha256:${'A'.repeat(64)}`],
    ['short', 'sha256:abc'],
    ['a path', 'sha256:../../../etc/passwd'],
    ['sha512', `sha512:${'a'.repeat(128)}`],
    ['an unknown algorithm', `md5:${'a'.repeat(32)}`],
    ['none', 'a'.repeat(64)],
  ])('attack 15: with a digest that is %s is refused', (_, wrong) => {
    expect(refused(manifest({ config: { ...config, digest: wrong } }))).toMatch(/^MANIFEST_INVALID: .*digest must be sha256/)
    expect(refused(manifest({ layers: [{ ...layer, digest: wrong }] }))).toMatch(/^MANIFEST_INVALID: .*digest must be sha256/)
  })

  it.each(['tar', 'tar+gzip', 'tar+zstd'])('of a layer that is %s is read, in the words of both standards', (form) => {
    expect(refused(manifest({ layers: [{ ...layer, mediaType: `application/vnd.oci.image.layer.v1.${form}` }] }))).toBe('a manifest')
    expect(refused(manifest({ layers: [{ ...layer, mediaType: `application/vnd.docker.image.rootfs.diff.${form.replace('+', '.')}` }] }))).toBe('a manifest')
  })

  it('attack 16: with two sizes of one layer is refused', () => {
    expect(refused(manifest({ layers: [layer, layer] }))).toBe('a manifest')
    expect(refused(manifest({ layers: [layer, { ...layer, size: 4 }] }))).toMatch(/^MANIFEST_INVALID: .*two sizes/)
  })

  it('that is long and wrong is refused in a short line that names the place', () => {
    expect(refused(JSON.stringify({ schemaVersion: 2, manifests: null }))).toMatch(/^MANIFEST_INVALID: .{0,300}"manifests": .{0,300}$/)
    expect(refused(manifest({ layers: 'x'.repeat(100_000) })).length).toBeLessThan(500)
  })

  it.each(['-1', '1.5', '9223372036854775808', '1e300', '"3"', 'null'])('attack 16: with a layer of %s bytes is refused', (size) => {
    expect(refused(manifest().replace('"size":3', `"size":${size}`))).toMatch(/^MANIFEST_INVALID: .*size/)
  })

  it.each([
    ['both a manifest and an index', manifest({ manifests: [] }), undefined, 'MANIFEST_INVALID: .*as a manifest and as an index'],
    ['schema 1', JSON.stringify({ schemaVersion: 1, fsLayers: [] }), undefined, 'MANIFEST_UNSUPPORTED: .*schema version 1'],
    ['schema 1 in disguise', manifest({ signatures: [] }), undefined, 'MANIFEST_UNSUPPORTED: .*schema version 1'],
    ['an index by its type', manifest(), mediaTypes.ociIndex, 'MANIFEST_INVALID: .*does not fit'],
    ['one thing, sent as another', manifest({ mediaType: mediaTypes.ociManifest }), mediaTypes.dockerManifest, 'MANIFEST_INVALID: .*was sent as'],
    ['of a foreign layer', manifest({ layers: [{ ...layer, urls: ['http://169.254.169.254/'] }] }), undefined, 'MANIFEST_UNSUPPORTED: .*lies elsewhere'],
    ['of a layer that is foreign by its type (Docker)', manifest({ layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }] }), undefined, 'MANIFEST_UNSUPPORTED: .*lies elsewhere'],
    ['of a layer that is foreign by its type (OCI)', manifest({ layers: [{ ...layer, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' }] }), undefined, 'MANIFEST_UNSUPPORTED: .*lies elsewhere'],
    ['of an encrypted layer', manifest({ layers: [{ ...layer, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }] }), undefined, 'MANIFEST_UNSUPPORTED: .*which is encrypted'],
    ['of a layer that only sounds like one', manifest({ layers: [{ ...layer, mediaType: 'application/vnd.oci.image.config.v1.tar' }] }), undefined, 'MANIFEST_UNSUPPORTED: .*no file system layer'],
    ['a page of a proxy', '<html>', 'text/html', 'MANIFEST_INVALID: .*no JSON.*"text/html"'],
    ['behind a mark of byte order', `\ufeff${manifest()}`, undefined, 'MANIFEST_INVALID: .*no JSON'],
    ['of a layer that is none', manifest({ layers: [{ ...layer, mediaType: 'application/x-sh' }] }), undefined, 'MANIFEST_UNSUPPORTED: .*no file system layer'],
  ])('attack 17: that is %s is refused', (_, text, type, said) => expect(refused(text, type)).toMatch(new RegExp(`^${said}`)))

  it('attack 18: with a key twice is refused, however it is written', () => {
    expect(refused(manifest().replace('"layers"', '"layers":[],"layers"'))).toMatch(/^MANIFEST_INVALID: .*"layers" twice/)
    expect(refused(manifest().replace('"layers"', '"\\u006cayers":[],"layers"'))).toMatch(/^MANIFEST_INVALID: .*"layers" twice/)
    expect(refused(manifest({ annotations: { a: 'layers', b: '"layers":' } }))).toBe('a manifest')
  })

  it('attack 18: nested without end is refused', () => {
    const bomb = '['.repeat(5_000_000) + ']'.repeat(5_000_000)
    expect(refused(manifest().replace('"size":3', `"size":${bomb}`))).toMatch(/^MANIFEST_INVALID: .*nested/)
    expect(refused(bomb)).toMatch(/^MANIFEST_INVALID: .*nested/)
    expect(refused(`"${'\\"'.repeat(4_000_000)}`)).toMatch(/^MANIFEST_INVALID: .*no JSON/)
  })
})

describe('a configuration', () => {
  const image = (inner: unknown): string => JSON.stringify({ architecture: 'amd64', os: 'linux', config: inner, rootfs: { type: 'layers', diff_ids: [digest] } })
  const read = (text: string) => Either.mapLeft(decodeConfig(Buffer.from(text), 'here'), (error) => `${error.code}: ${error.message}`)

  it('attack 18: keeps every label, whatever its name', () => {
    const text = image({ Labels: { a: 'b' } }).replace('"a":"b"', '"__proto__":"p","constructor":"c","a":"b"')
    expect(Either.getOrThrow(read(text)).config?.Labels).toEqual([['__proto__', 'p'], ['constructor', 'c'], ['a', 'b']])
  })

  it.each([
    ['an entry point that is no list', { Entrypoint: '/bin/sh' }],
    ['labels that are a list', { Labels: ['a'] }],
    ['a label that is no text', { Labels: { a: 1 } }],
    ['an environment of numbers', { Env: [1] }],
  ])('attack 18: with %s is refused', (_, inner) => expect(Either.getLeft(read(image(inner)))).toMatchObject({ value: matching(/^IMAGE_CONFIG_INVALID/) }))

  it('that is wrong deep inside says where', () => {
    expect(Either.getLeft(read(image({ Entrypoint: [null] })))).toMatchObject({ value: matching(/"config\.Entrypoint\.0": Expected string, actual null/) })
  })

  it('attack 18: with an environment nested without end is refused', () => {
    const bomb = image({ Env: 0 }).replace('"Env":0', `"Env":${'['.repeat(5_000_000)}${']'.repeat(5_000_000)}`)
    expect(Either.getLeft(read(bomb))).toMatchObject({ value: matching(/^IMAGE_CONFIG_INVALID: .*nested/) })
  })
})
