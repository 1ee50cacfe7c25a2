/** A gateway service inside this process, with the reference's dialect on a free port, and a client as strict as the reference's. */
import { connect, type Socket } from 'node:net'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Exit from 'effect/Exit'
import * as Layer from 'effect/Layer'
import * as Logger from 'effect/Logger'
import * as ManagedRuntime from 'effect/ManagedRuntime'
import * as Scope from 'effect/Scope'
import { Site } from 'shifter-sdk'
import * as Dialect from '../../src/gateway/dialect/index.js'
import { Pulls } from '../../src/gateway/Pulls.js'
import { serve } from '../../src/gateway/Server.js'
import { serviceLayer, type ServiceParts } from '../../src/live.js'

export interface DialectService {
  readonly port: number
  /** Asks what the service keeps. */
  readonly ask: <A, E>(effect: Effect.Effect<A, E, ServiceParts>) => Promise<A>
  /** What it logged. */
  readonly log: () => string
  readonly stop: () => Promise<void>
}

/** Starts a service for a configuration. It answers when this resolves. */
export const startDialect = async (config: object): Promise<DialectService> => {
  const site = Either.getOrThrow(Site.decode(config))
  const lines: string[] = []
  const logger = Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => void lines.push(line)))
  const runtime = ManagedRuntime.make(Layer.merge(serviceLayer(site), logger))
  const scope = Effect.runSync(Scope.make())
  const { addresses } = await runtime.runPromise(
    Effect.gen(function* () {
      yield* (yield* Pulls).run
      return yield* serve({ site, version: 'test', dialects: yield* Dialect.make(site) })
    }).pipe(Scope.extend(scope)),
  )
  return {
    port: Number(new URL(addresses[0] ?? '').port),
    ask: (effect) => runtime.runPromise(effect),
    log: () => lines.join('\n'),
    stop: async () => {
      await runtime.runPromise(Scope.close(scope, Exit.void))
      await runtime.dispose()
    },
  }
}

/** A reply, as it came. */
export interface Reply {
  readonly status: number
  /** Names in lower case, in their order. */
  readonly headers: readonly (readonly [string, string])[]
  readonly text: string
  readonly body: unknown
}

/** Sends bytes and reads one reply by its length alone, as the reference's client does: whatever it could not read is an error. */
export const exchange = (port: number, bytes: string | Buffer, socket: Socket = connect(port, '127.0.0.1')): Promise<Reply> =>
  new Promise((resolve, reject) => {
    let got = Buffer.alloc(0)
    const look = (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      const end = got.indexOf('\r\n\r\n')
      if (end < 0) return
      const [first = '', ...lines] = got.subarray(0, end).toString('latin1').split('\r\n')
      const headers = lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const)
      const length = headers.find(([name]) => name === 'content-length')?.[1]
      if (length === undefined || headers.some(([name]) => name === 'transfer-encoding')) {
        finish(new Error(`a reply without a length: ${first}`))
        return
      }
      const body = got.subarray(end + 4)
      if (body.length < Number(length)) return
      if (body.length > Number(length)) {
        finish(new Error('more than its length says'))
        return
      }
      const type = headers.find(([name]) => name === 'content-type')?.[1]
      const text = body.toString()
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
      finish(undefined, { status, headers, text, body: type === 'application/json' ? JSON.parse(text) : undefined })
    }
    const closed = () => finish(new Error(`closed after ${got.length} bytes: ${got.toString('latin1').slice(0, 200)}`))
    const failed = (error: Error) => finish(error)
    const finish = (error: Error | undefined, reply?: Reply) => {
      socket.off('data', look).off('close', closed).off('error', failed)
      if (reply === undefined || reply.headers.some(([name, value]) => name === 'connection' && value === 'close')) socket.on('error', () => undefined).destroy()
      if (reply === undefined) reject(error ?? new Error('no reply'))
      else resolve(reply)
    }
    socket.on('data', look).once('close', closed).once('error', failed)
    socket.write(bytes)
  })

/** The bytes of a request, as the reference's client writes it. */
export const request = (method: 'GET' | 'POST' | 'HEAD' | 'PUT', path: string, authentication?: string, body?: string, connection: 'close' | 'keep-alive' = 'close'): string =>
  [
    `${method} ${path} HTTP/1.1`,
    'Host: gateway:5000',
    'Accept: */*',
    ...(authentication === undefined ? [] : [`authentication:${authentication}`]),
    ...(body === undefined ? [] : ['Content-type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]),
    `Connection: ${connection}`,
    '',
    body ?? '',
  ].join('\r\n')
