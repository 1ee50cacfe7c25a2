/**
 * A Docker daemon of the tests' own, for what the real one of this machine is too old for: it keeps images as containerd does.
 *
 * @module
 */
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'

export interface MadeDaemon {
  /** Of requests to pull: what they would have pulled, and by which login. */
  readonly pulls: { readonly query: URLSearchParams; readonly login: unknown }[]
  readonly stop: () => Promise<void>
}

export interface MadeDaemonOptions {
  readonly socket: string
  /** What is said of every image. */
  readonly inspected: unknown
  readonly info?: unknown
  /** What is saved, whatever image is asked for. */
  readonly archive: string
  /** What a pull ends with; nothing unless told. */
  readonly refusal?: (login: unknown) => string | undefined
}

export const madeDaemon = async ({ archive, info, inspected, refusal, socket }: MadeDaemonOptions): Promise<MadeDaemon> => {
  const pulls: MadeDaemon['pulls'] = []
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://daemon')
    const answer = (value: unknown) => response.setHeader('content-type', 'application/json').end(`${JSON.stringify(value)}\r\n`)
    if (request.method === 'POST' && pathname === '/images/create') {
      const header = request.headers['x-registry-auth']
      const login: unknown = header === undefined ? undefined : JSON.parse(Buffer.from(String(header), 'base64').toString())
      pulls.push({ query: searchParams, login })
      const error = refusal?.(login)
      answer(error === undefined ? { status: 'done' } : { error })
    } else if (pathname === '/info') answer(info ?? {})
    else if (pathname.endsWith('/json')) answer(inspected)
    else if (pathname.endsWith('/get')) createReadStream(archive).pipe(response)
    else response.writeHead(404).end('{"message":"no such path"}')
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return { pulls, stop: () => new Promise((resolve) => { server.close(() => { resolve() }); server.closeAllConnections() }) }
}
