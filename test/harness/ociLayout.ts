/**
 * OCI image layouts on disk, built from layers in memory. The same input gives the same bytes.
 *
 * @module
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { tarBytes, type TarItem } from './tarWriter.js'

/** A layer: entries to write, or the bytes of a tar that exists already. */
export type Layer = readonly TarItem[] | Buffer
/** A blob as it is, with the tar that it claims to inflate to. */
export interface RawLayer {
  readonly blob: Buffer
  readonly tar: Buffer
  readonly compression?: Compression
}
export type Compression = 'gzip' | 'zstd' | 'none'
export type MediaTypes = 'oci' | 'docker'

/** The part of an image's configuration that programs see. */
export interface ImageConfig {
  readonly User?: string
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>>
  readonly ExposedPorts?: Readonly<Record<string, object>>
  readonly Volumes?: Readonly<Record<string, object>>
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

export interface ImageSpec {
  readonly layers: readonly (Layer | RawLayer)[]
  readonly config?: ImageConfig | undefined
  readonly platform?: Platform | undefined
  readonly compression?: Compression | undefined
  readonly mediaTypes?: MediaTypes | undefined
  /** Stated instead of the true ones: what a forger would do. */
  readonly diffIds?: readonly string[] | undefined
}

export interface WrittenImage {
  readonly manifestDigest: string
  readonly manifestSize: number
  readonly configDigest: string
  /** Of the uncompressed layers, oldest first. */
  readonly diffIds: readonly string[]
  /** Of the compressed layers, oldest first. */
  readonly blobDigests: readonly string[]
  readonly blobSizes: readonly number[]
}

export interface WrittenIndex {
  readonly indexDigest: string
  readonly images: readonly WrittenImage[]
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: Platform
  readonly annotations?: Readonly<Record<string, string>>
}

const REF_NAME = 'org.opencontainers.image.ref.name'

const TYPES = {
  oci: {
    index: 'application/vnd.oci.image.index.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: {
      none: 'application/vnd.oci.image.layer.v1.tar',
      gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
      zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
    },
  },
  docker: {
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: {
      none: 'application/vnd.docker.image.rootfs.diff.tar',
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    },
  },
} as const

/** The platform of images made here unless they say another: this machine's. */
export const hostPlatform: Platform = {
  os: 'linux',
  architecture: process.arch === 'x64' ? 'amd64' : process.arch,
}

export const sha256 = (data: Buffer | string): string => `sha256:${createHash('sha256').update(data).digest('hex')}`

/** Where a layout keeps a blob. */
export const blobPath = (dir: string, digest: string): string => join(dir, 'blobs', ...digest.split(':'))

/** Put a blob into a layout and say where. */
export const writeBlob = (dir: string, data: Buffer): { readonly digest: string; readonly size: number } => {
  const digest = sha256(data)
  mkdirSync(join(dir, 'blobs', 'sha256'), { recursive: true })
  writeFileSync(blobPath(dir, digest), data)
  return { digest, size: data.length }
}

export const compress = (data: Buffer, compression: Compression): Buffer => {
  switch (compression) {
    case 'none':
      return data
    case 'gzip':
      return gzipSync(data, { level: 6 })
    case 'zstd': {
      // Node 20's zlib has no zstd.
      const { status, stdout, stderr } = spawnSync('zstd', ['-q', '-3', '-c', '-T1'], {
        input: data,
        maxBuffer: 1 << 30,
      })
      if (status !== 0) throw new Error(`zstd: ${stderr.toString()}`)
      return stdout
    }
  }
}

const writeJson = (dir: string, value: unknown): { readonly digest: string; readonly size: number } =>
  writeBlob(dir, Buffer.from(JSON.stringify(value)))

const isRaw = (layer: Layer | RawLayer): layer is RawLayer => 'blob' in layer

const writeImage = (dir: string, spec: ImageSpec): WrittenImage => {
  const compression = spec.compression ?? 'gzip'
  const types = TYPES[spec.mediaTypes ?? 'oci']
  const tars = spec.layers.map((layer) => (isRaw(layer) ? layer.tar : Buffer.isBuffer(layer) ? layer : tarBytes(layer)))
  const diffIds = spec.diffIds ?? tars.map(sha256)
  const blobs = tars.map((tar, i) => {
    const layer = spec.layers[i]
    const raw = layer !== undefined && isRaw(layer)
    return { mediaType: types.layer[(raw ? layer.compression : undefined) ?? compression], ...writeBlob(dir, raw ? layer.blob : compress(tar, compression)) }
  })
  const config = writeJson(dir, {
    created: '1970-01-01T00:00:00Z',
    ...(spec.platform ?? hostPlatform),
    config: spec.config ?? {},
    rootfs: { type: 'layers', diff_ids: diffIds },
  })
  const manifest = writeJson(dir, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, ...config },
    layers: blobs,
  })
  return {
    manifestDigest: manifest.digest,
    manifestSize: manifest.size,
    configDigest: config.digest,
    diffIds,
    blobDigests: blobs.map((blob) => blob.digest),
    blobSizes: blobs.map((blob) => blob.size),
  }
}

/** Name a manifest or index in the layout's own index; a layout holds any number of tags. */
const nameInLayout = (dir: string, tag: string, descriptor: Descriptor): void => {
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const path = join(dir, 'index.json')
  const previous = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as { readonly manifests: readonly Descriptor[] }).manifests
    : []
  const manifests = [
    ...previous.filter((other) => other.annotations?.[REF_NAME] !== tag),
    { ...descriptor, annotations: { [REF_NAME]: tag } },
  ]
  writeFileSync(path, JSON.stringify({ schemaVersion: 2, mediaType: TYPES.oci.index, manifests }))
}

/** The digest of what a layout calls `tag`. */
export const taggedDigest = (dir: string, tag: string): string => {
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as { readonly manifests: readonly Descriptor[] }
  const found = index.manifests.find((descriptor) => descriptor.annotations?.[REF_NAME] === tag)
  if (found === undefined) throw new Error(`${dir} has no tag ${tag}`)
  return found.digest
}

/** Write one image into a layout (made if absent) under a tag. */
export const writeLayout = (dir: string, spec: ImageSpec & { readonly tag: string }): WrittenImage => {
  const image = writeImage(dir, spec)
  nameInLayout(dir, spec.tag, {
    mediaType: TYPES[spec.mediaTypes ?? 'oci'].manifest,
    digest: image.manifestDigest,
    size: image.manifestSize,
  })
  return image
}

/** Write one image a platform and an index over them into a layout under a tag. */
export const writeIndexLayout = (
  dir: string,
  spec: {
    readonly tag: string
    readonly mediaTypes?: MediaTypes
    readonly images: readonly (ImageSpec & { readonly platform: Platform })[]
  },
): WrittenIndex => {
  const mediaTypes = spec.mediaTypes ?? 'oci'
  const types = TYPES[mediaTypes]
  const images = spec.images.map((image) => writeImage(dir, { mediaTypes, ...image }))
  const index = writeJson(dir, {
    schemaVersion: 2,
    mediaType: types.index,
    manifests: images.map((image, i) => ({
      mediaType: types.manifest,
      digest: image.manifestDigest,
      size: image.manifestSize,
      platform: spec.images[i]?.platform,
    })),
  })
  nameInLayout(dir, spec.tag, { mediaType: types.index, ...index })
  return { indexDigest: index.digest, images }
}
