/** A gateway service inside the test's process, on a free port of this machine, with real parts; stopped with its scope. */
import { writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Exit from 'effect/Exit'
import * as Layer from 'effect/Layer'
import * as Logger from 'effect/Logger'
import * as Scope from 'effect/Scope'
import { Site } from 'shifter-sdk'
import * as Dialect from '../../src/gateway/dialect/index.js'
import { Pulls } from '../../src/gateway/Pulls.js'
import * as Server from '../../src/gateway/Server.js'
import { serviceLayer, type ServiceParts } from '../../src/live.js'

export interface Service {
  readonly url: string
  readonly addresses: readonly string[]
  readonly site: Site.Site
  readonly context: Context.Context<ServiceParts>
  /** What it logged. */
  readonly log: readonly string[]
  readonly stop: () => Promise<void>
}

/** Starts a service of a configuration. Without `server` it is on a free port and believes whoever says who he is. */
export const startService = async (config: Site.GatewayConfig, own: Parameters<typeof serviceLayer>[1] = {}): Promise<Service> => {
  const site = Either.getOrThrow(Site.decode({ ...config, server: { listen: ['127.0.0.1:0'], authentication: 'mock', stopSeconds: 5, ...config.server } }))
  const log: string[] = []
  const logger = Logger.replace(Logger.defaultLogger, Logger.map(Logger.jsonLogger, (line) => void log.push(line)))
  const scope = Effect.runSync(Scope.make())
  const started = Effect.gen(function* () {
    const context = yield* Layer.build(serviceLayer(site, own))
    yield* Context.get(context, Pulls).run
    const { addresses } = yield* Effect.provide(Server.serve({ site, version: '0.0.0-test', dialects: yield* Effect.provide(Dialect.make(site), context) }), context)
    return { addresses, context }
  })
  const stop = () => Effect.runPromise(Scope.close(scope, Exit.void).pipe(Effect.provide(logger)))
  try {
    const { addresses, context } = await Effect.runPromise(Scope.extend(started, scope).pipe(Effect.provide(logger)))
    return { url: addresses[0], addresses, site, context, log, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** The body as JSON, whose parts a test compares. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any
}

/** One request, on a connection of its own. `as` is what the mock believes, such as `good:ann:ann::500:500`. */
export const ask = (
  url: string,
  { as, body, headers = {}, method = 'GET', socketPath }: { readonly as?: string; readonly method?: string; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>>; readonly socketPath?: string } = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
    const all = {
      ...(as === undefined ? {} : { authorization: `Munge ${as}` }),
      ...(sent === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(sent)) }),
      ...headers,
    }
    const request = httpRequest(url, { method, headers: all, agent: false, ...(socketPath === undefined ? {} : { socketPath }) }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).once('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, get body(): unknown { return JSON.parse(text) as unknown } })
      })
    })
    request.once('error', reject)
    request.end(sent)
  })

/** A configuration file of a client of the service. */
export const writeClientConfig = (directory: string, service: Pick<Service, 'url'>, rest: Readonly<Record<string, unknown>> = {}): string => {
  const file = join(directory, 'client.json')
  writeFileSync(file, JSON.stringify({ version: 1, gateways: [service.url], ...rest }))
  return file
}
