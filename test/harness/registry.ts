/**
 * A real registry (Debian's `docker-registry`) on a free port of 127.0.0.1, with its access log as data.
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { blobPath, taggedDigest } from './ociLayout.js'
import { makeWorkspace } from './workspace.js'

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** One line of the access log. */
export interface RegistryRequest {
  readonly method: string
  readonly path: string
  readonly status: number
  /** Bytes of the response's body. */
  readonly bytes: number
}

export interface Registry {
  /** `127.0.0.1:PORT`, as image references name it. */
  readonly host: string
  readonly url: string
  /** Everything asked of the registry so far, in the order it was finished. */
  readonly requests: () => Promise<readonly RegistryRequest[]>
  /** `GET`s of blobs that sent a body, by digest; of one repository where it is named. */
  readonly blobFetches: (repository?: string) => Promise<ReadonlyMap<string, number>>
  /** Copy an image of a layout to `NAME:TAG` here. */
  readonly push: (layoutDir: string, layoutTag: string, name: string) => Promise<void>
  /** Its storage, for tests that damage what is served. */
  readonly storage: string
  readonly stop: () => Promise<void>
}

/** bcrypt is the one scheme the registry takes; perl-base is part of every Debian and its crypt(3) can do it. */
const htpasswdLine = ({ username, password }: Credentials): string => {
  const alphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
  // The last character of a salt carries two bits only; '.' is always well-formed.
  const salt = `${[...randomBytes(21)].map((byte) => alphabet[byte % 64]).join('')}.`
  const { status, stdout, stderr } = spawnSync('perl', ['-e', 'print crypt($ARGV[0], $ARGV[1])', password, `$2y$05$${salt}`])
  const hash = stdout?.toString() ?? ''
  if (status !== 0 || !hash.startsWith('$2y$')) throw new Error(`crypt(3) made no bcrypt hash: ${stderr?.toString() ?? ''}`)
  return `${username}:${hash}\n`
}

interface Manifest {
  readonly mediaType: string
  readonly config?: { readonly digest: string }
  readonly layers?: readonly { readonly digest: string }[]
  readonly manifests?: readonly { readonly digest: string }[]
}

/**
 * Upload a layout by the registry's own protocol: byte for byte, with Docker's media types (which skopeo does not read from a
 * layout), and with contents that honest tools would refuse to send.
 */
const pushLayout = async (
  url: string,
  auth: Credentials | undefined,
  layoutDir: string,
  layoutTag: string,
  name: string,
): Promise<void> => {
  const authorization: Record<string, string> =
    auth === undefined ? {} : { Authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}` }
  const send = async (method: string, to: string, body?: Buffer, type?: string): Promise<Response> => {
    const answer = await fetch(new URL(to, url), {
      method,
      headers: { ...authorization, ...(type === undefined ? {} : { 'Content-Type': type }) },
      ...(body === undefined ? {} : { body }),
    })
    const text = await answer.text()
    if (!answer.ok && method !== 'HEAD') throw new Error(`${method} ${to}: ${answer.status} ${text}`)
    return answer
  }
  const colon = name.lastIndexOf(':')
  const repository = name.slice(0, colon)
  const pushBlob = async (digest: string): Promise<void> => {
    if ((await send('HEAD', `/v2/${repository}/blobs/${digest}`)).ok) return
    const upload = await send('POST', `/v2/${repository}/blobs/uploads/`)
    const to = new URL(upload.headers.get('location') ?? '', url)
    to.searchParams.set('digest', digest)
    await send('PUT', to.href, readFileSync(blobPath(layoutDir, digest)), 'application/octet-stream')
  }
  const pushManifest = async (digest: string, reference: string): Promise<void> => {
    const body = readFileSync(blobPath(layoutDir, digest))
    const manifest = JSON.parse(body.toString()) as Manifest
    for (const child of manifest.manifests ?? []) await pushManifest(child.digest, child.digest)
    if (manifest.config !== undefined) await pushBlob(manifest.config.digest)
    for (const layer of manifest.layers ?? []) await pushBlob(layer.digest)
    await send('PUT', `/v2/${repository}/manifests/${reference}`, body, manifest.mediaType)
  }
  await pushManifest(taggedDigest(layoutDir, layoutTag), name.slice(colon + 1))
}

const ACCESS_LINE = /^\S+ - \S+ \[[^\]]*\] "(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+)/

/** Start a registry. It is ready when this resolves, and gone, with its files, after `stop`. */
export const startRegistry = async (options: { readonly auth?: Credentials } = {}): Promise<Registry> => {
  const workspace = makeWorkspace('registry')
  const storage = workspace.at('storage')
  const auth = options.auth
  if (auth !== undefined) writeFileSync(workspace.at('htpasswd'), htpasswdLine(auth), { mode: 0o600 })
  writeFileSync(
    workspace.at('config.yml'),
    [
      'version: 0.1',
      'log: {level: info}',
      `storage: {filesystem: {rootdirectory: ${storage}}, delete: {enabled: true}, maintenance: {uploadpurging: {enabled: false}}}`,
      // Port 0: the kernel picks a free one and the registry says which, so two tests can't race for it.
      'http: {addr: "127.0.0.1:0"}',
      ...(auth === undefined ? [] : [`auth: {htpasswd: {realm: test, path: ${workspace.at('htpasswd')}}}`]),
      '',
    ].join('\n'),
  )
  const child = spawn('docker-registry', ['serve', workspace.at('config.yml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its settings can come from REGISTRY_* too; a developer's must not reach the tests.
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', OTEL_TRACES_EXPORTER: 'none' },
  })
  const killWithTests = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithTests)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
    process.off('exit', killWithTests)
    workspace.remove()
  }

  const requests: RegistryRequest[] = []
  let onRequest: () => void = () => undefined
  let partial = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = (partial + chunk.toString()).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines) {
      const [, method, path, status, bytes] = ACCESS_LINE.exec(line) ?? []
      if (method === undefined || path === undefined) continue
      requests.push({ method, path, status: Number(status), bytes: Number(bytes) })
    }
    onRequest()
  })

  let log = ''
  const port = await new Promise<string>((resolve, reject) => {
    child.once('error', (cause) => reject(new Error(`docker-registry can't be started (package docker-registry): ${cause.message}`)))
    child.once('close', (status) => reject(new Error(`docker-registry ended with status ${status}\n${log}`)))
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString()
      const match = /listening on 127\.0\.0\.1:(\d+)/.exec(log)
      if (match?.[1] !== undefined) resolve(match[1])
      // Kept short: it is shown only when the start fails.
      log = log.slice(-8192)
    })
  }).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  const host = `127.0.0.1:${port}`
  const url = `http://${host}`
  const answer = await fetch(`${url}/v2/`)
  await answer.arrayBuffer()
  if (answer.status !== 200 && answer.status !== 401) {
    await stop()
    throw new Error(`docker-registry answers /v2/ with ${answer.status}`)
  }

  /** Lines reach us through a pipe: a request of our own that shows up says that all before it did. */
  const settle = async (): Promise<void> => {
    const marker = `/v2/?marker=${randomBytes(8).toString('hex')}`
    const response = await fetch(url + marker)
    await response.arrayBuffer()
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (requests.some((request) => request.path === marker)) resolve()
      }
      onRequest = look
      look()
    })
  }
  const seen = async (): Promise<readonly RegistryRequest[]> => {
    await settle()
    return requests.filter((request) => !request.path.startsWith('/v2/?marker='))
  }

  return {
    host,
    url,
    storage,
    stop,
    requests: seen,
    blobFetches: async (repository) => {
      const counts = new Map<string, number>()
      for (const { method, path, status } of await seen()) {
        const [, from, digest] = /^\/v2\/(.+)\/blobs\/(sha256:[0-9a-f]{64})/.exec(path) ?? []
        if (method !== 'GET' || digest === undefined || (from !== repository && repository !== undefined)) continue
        if (status !== 200 && status !== 206) continue
        counts.set(digest, (counts.get(digest) ?? 0) + 1)
      }
      return counts
    },
    push: (layoutDir, layoutTag, name) => pushLayout(url, auth, layoutDir, layoutTag, name),
  }
}
