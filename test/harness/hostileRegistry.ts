/**
 * A registry of the tests' own that misbehaves as it is told: an honest one in memory, with a script that is asked first.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { compress, hostPlatform, type Layer, sha256 } from './ociLayout.js'
import { tarBytes } from './tarWriter.js'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

/** Something by digest, with the type it is sent as. */
export interface Content {
  readonly data: Buffer
  readonly type: string
}

/** What an honest registry would serve. */
export interface Contents {
  readonly blobs: Map<string, Buffer>
  /** By tag and by digest. */
  readonly manifests: Map<string, Content>
}

export interface HonestImage extends Contents {
  readonly manifestDigest: string
  readonly configDigest: string
  readonly layers: readonly { readonly digest: string; readonly size: number; readonly mediaType: string }[]
  readonly manifest: Record<string, unknown>
}

/** An image under the tag `v`; its layers as tars, or as blobs with their diff ids. */
export const honestImage = (layers: readonly Layer[], change: { readonly config?: unknown; readonly manifest?: (manifest: Record<string, unknown>) => unknown } = {}): HonestImage => {
  const tars = layers.map((layer) => (Buffer.isBuffer(layer) ? layer : tarBytes(layer)))
  const compressed = tars.map((tar) => (tar.length > 16 * 1024 * 1024 ? tar : compress(tar, 'gzip')))
  const config = Buffer.from(JSON.stringify(change.config ?? { ...hostPlatform, config: {}, rootfs: { type: 'layers', diff_ids: tars.map(sha256) } }))
  const descriptors = compressed.map((data, i) => ({
    mediaType: `application/vnd.oci.image.layer.v1.tar${data === tars[i] ? '' : '+gzip'}`,
    digest: sha256(data),
    size: data.length,
  }))
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
    layers: descriptors,
  }
  const data = Buffer.from(JSON.stringify(change.manifest?.(manifest) ?? manifest))
  const content = { data, type: MANIFEST }
  return {
    blobs: new Map([[sha256(config), config], ...compressed.map((blob): [string, Buffer] => [sha256(blob), blob])]),
    manifests: new Map([['v', content], [sha256(data), content]]),
    manifestDigest: sha256(data),
    configDigest: sha256(config),
    layers: descriptors,
    manifest,
  }
}

/** Several images as the tags `v0`, `v1` and so on. */
export const manyImages = (images: readonly HonestImage[]): Contents => ({
  blobs: new Map(images.flatMap(({ blobs }) => [...blobs])),
  manifests: new Map(images.flatMap(({ manifests }, i) => [...manifests].map(([name, content]): [string, Content] => [name === 'v' ? `v${i}` : name, content]))),
})

export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Promise<string>
}

/** Answers a request itself, or leaves it (`false`) to the honest registry. */
export type Script = (request: Seen, response: ServerResponse, raw: IncomingMessage) => boolean

export interface HostileRegistry {
  /** `HOST:PORT`. */
  readonly host: string
  readonly url: string
  readonly port: number
  readonly seen: Seen[]
  /** Sockets that are open now. */
  readonly open: () => number
  readonly connections: () => number
  /** Resolves when no socket is open any more. */
  readonly quiet: () => Promise<void>
  script: Script
  readonly stop: () => Promise<void>
}

export interface HostileOptions {
  readonly address?: string
  readonly tls?: { readonly key: string; readonly cert: string }
}

/** Start a registry that serves `contents` for every repository, unless its script does something else. */
export const hostileRegistry = async (contents: Contents, script: Script = () => false, options: HostileOptions = {}): Promise<HostileRegistry> => {
  const sockets = new Set<Socket>()
  let connections = 0
  let onClose: () => void = () => undefined
  const handle = (raw: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = []
    const body = new Promise<string>((resolve) => {
      raw.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks).toString()))
    })
    const request: Seen = { method: raw.method ?? '', path: raw.url ?? '', headers: raw.headers, body }
    registry.seen.push(request)
    response.on('error', () => undefined)
    if (registry.script(request, response, raw) === true) return
    honest(contents, request, response)
  }
  const server: Server = options.tls === undefined ? createServer(handle) : createSecureServer(options.tls, handle)
  server.on('connection', (socket: Socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      sockets.delete(socket)
      onClose()
    })
  })
  const address = options.address ?? '127.0.0.1'
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  const { port } = server.address() as AddressInfo
  const host = `${address.includes(':') ? `[${address}]` : address}:${port}`
  const registry: HostileRegistry = {
    host,
    port,
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    seen: [],
    script,
    open: () => sockets.size,
    connections: () => connections,
    quiet: () =>
      new Promise((resolve) => {
        onClose = () => { if (sockets.size === 0) resolve() }
        onClose()
      }),
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
  return registry
}

const honest = ({ blobs, manifests }: Contents, { headers, path }: Seen, response: ServerResponse): void => {
  const [, kind, reference = ''] = /^\/v2\/.+\/(manifests|blobs)\/([^/?]+)$/.exec(path) ?? []
  const manifest = kind === 'manifests' ? manifests.get(reference) : undefined
  const data = manifest?.data ?? (kind === 'blobs' ? blobs.get(reference) : undefined)
  if (path === '/v2/') return void response.end('{}')
  if (data === undefined) {
    response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}')
    return
  }
  const etag = `"${sha256(data)}"`
  const common = { 'content-type': manifest?.type ?? 'application/octet-stream', etag }
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? []
  const condition = headers['if-range']
  if (from !== undefined && kind === 'blobs' && (condition === undefined || condition === etag)) {
    const last = to === '' || to === undefined ? data.length - 1 : Math.min(Number(to), data.length - 1)
    const part = data.subarray(Number(from), last + 1)
    response.writeHead(206, { ...common, 'content-range': `bytes ${from}-${last}/${data.length}`, 'content-length': part.length }).end(part)
    return
  }
  response.writeHead(200, { ...common, 'content-length': data.length }).end(data)
}
