/**
 * The HTTP client that registries and files are fetched with: `node:http` behind `@effect/platform`'s interface. It follows no redirect, connects to no
 * address out of a request's {@link Reach}, and waits for nothing without a limit.
 *
 * @module
 */
import { lookup as resolve, type LookupAddress, type LookupOptions } from "node:dns"
import * as Http from "node:http"
import * as Https from "node:https"
import { isIP } from "node:net"
import { rootCertificates } from "node:tls"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Cookies from "@effect/platform/Cookies"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { systemCode } from "../Errors.js"
import type { NetworkLimits, ProxySettings } from "../Registries.js"
import { kindOf } from "./Address.js"
import * as Batches from "./Batches.js"
import * as Proxy from "./Proxy.js"
import * as ProxyAgents from "./ProxyAgents.js"
import { AddressRefused, ProxyRefused, Reach, type ReachOptions, TooSlow } from "./Reach.js"

/** The client for a site's limits. Its connections are closed with its scope. */
export const layer = (limits: NetworkLimits, proxies: ProxySettings = { noProxy: [] }): Layer.Layer<HttpClient.HttpClient> =>
  Layer.scoped(
    HttpClient.HttpClient,
    Effect.map(agents, (agentFor) =>
      HttpClient.make((request, url, signal, fiber) => {
        const reach = Context.get(fiber.currentContext, Reach)
        const proxy = Proxy.proxyFor(proxies, url)
        return Effect.flatMap(agentFor(url.protocol, reach, proxy), (agent) => send({ request, url, signal, reach, agent, proxy: proxy === undefined ? undefined : new URL(proxy).host, limits }))
      })
    )
  )

interface Sending {
  readonly request: HttpClientRequest.HttpClientRequest
  readonly url: URL
  readonly signal: AbortSignal
  readonly reach: ReachOptions
  readonly agent: Http.Agent
  /** The proxy's host: the address that is connected to says nothing about the registry. */
  readonly proxy: string | undefined
  readonly limits: NetworkLimits
}

const send = ({ agent, limits, proxy, reach, request, signal, url }: Sending): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.RequestError> =>
  Effect.async((resume) => {
    const fail = (cause: unknown) => resume(Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause })))
    const host = url.hostname.replace(/^\[|\]$/g, "")
    // A name is checked when it is resolved; an address is never resolved.
    const refused = isIP(host) === 0 ? undefined : refusal(host, host, reach)
    if (refused !== undefined) return fail(refused)
    const body = request.body._tag === "Uint8Array" ? request.body.body : undefined
    const sent = (url.protocol === "https:" ? Https : Http).request(url, {
      agent,
      ...(reach.ca === undefined ? {} : { ca: [...rootCertificates, reach.ca] }),
      method: request.method,
      headers: { ...request.headers, ...(body === undefined ? {} : { "content-length": body.length, "content-type": request.body.contentType }) }
    })
    let isConnected = proxy === undefined
    // Stays for as long as the request: a connection that breaks after the response says so here too.
    sent.on("error", (error) => {
      if (isConnected || error instanceof ProxyRefused) return fail(error)
      fail(new ProxyRefused(`the proxy ${proxy ?? ""} gives no connection: ${systemCode(error) ?? error.message}`, systemCode(error)))
    })
    // A request that waits for a proxy's answer has no connection that could end it.
    const late = (what: string) => {
      const slow = new TooSlow(isConnected ? what : `${what} by the proxy ${proxy ?? ""}`)
      fail(slow)
      sent.destroy(slow)
    }
    const abort = () => void sent.destroy()
    signal.addEventListener("abort", abort, { once: true })
    const connecting = setTimeout(() => late(`no connection within ${limits.connectSeconds} s`), limits.connectSeconds * 1000)
    const answering = setTimeout(() => late(`no answer within ${limits.headersSeconds} s`), limits.headersSeconds * 1000)
    const answered = () => {
      clearTimeout(connecting)
      clearTimeout(answering)
    }
    sent.once("socket", (socket) => {
      isConnected = true
      if (socket.connecting) socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => clearTimeout(connecting))
      else clearTimeout(connecting)
    })
    // The proxy's own refusal would otherwise come as the registry's answer, and could ask for its password.
    const refusedWith = (status: number) => void sent.destroy(new ProxyRefused(`the proxy ${proxy ?? ""} refused it with HTTP ${status}`))
    sent.once("proxyConnect", ({ statusCode }: { readonly statusCode: number }) => {
      if (statusCode !== 200) refusedWith(statusCode)
    })
    sent.once("response", (response) => {
      answered()
      if (proxy !== undefined && response.statusCode === 407) return refusedWith(407)
      watch(response, limits)
      resume(Effect.succeed(new NodeResponse(request, response, proxy !== undefined)))
    })
    sent.once("close", () => {
      answered()
      signal.removeEventListener("abort", abort)
    })
    sent.end(body)
    return Effect.sync(abort)
  })

/** Looks this often a window whether a body moves. */
const LOOKS = 4

/** Ends a body that stands still, or trickles, for a whole window. That we do not read is not its fault. */
const watch = (response: Http.IncomingMessage, { bytesPerSecond, stallSeconds }: NetworkLimits): void => {
  response.on("error", () => undefined)
  const socket = response.socket
  const marks: Array<number> = [socket.bytesRead]
  const timer = setInterval(() => {
    if (response.complete || response.readableLength >= response.readableHighWaterMark) marks.length = 0
    marks.push(socket.bytesRead)
    if (marks.length <= LOOKS) return
    const received = socket.bytesRead - (marks.shift() ?? 0)
    if (received < Math.max(1, bytesPerSecond * stallSeconds)) {
      response.destroy(new TooSlow(`only ${received} bytes came within ${stallSeconds} s`))
    }
  }, (stallSeconds * 1000) / LOOKS)
  response.once("close", () => clearInterval(timer))
}

type AgentFor = (protocol: string, reach: ReachOptions, proxy: string | undefined) => Effect.Effect<Http.Agent>

/** Connections are shared by requests of one reach, and only by them. */
const agents: Effect.Effect<AgentFor, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => ({ made: new Map<string, Promise<Http.Agent>>(), end: new AbortController() })),
    ({ end, made }) =>
      Effect.promise(async () => {
        end.abort()
        for (const agent of await Promise.all(made.values())) agent.destroy()
      })
  ),
  ({ end, made }) => (protocol, reach, proxy) =>
    Effect.promise(() => {
      const key = JSON.stringify([protocol, reach.kinds, reach.ca, proxy])
      const found = made.get(key)
      if (found !== undefined) return found
      const options = { keepAlive: true, lookup: checkedLookup(reach) }
      const isSecure = protocol === "https:"
      const agent = proxy !== undefined ? ProxyAgents.agent(proxy, isSecure, end.signal) : Promise.resolve(isSecure ? new Https.Agent(options) : new Http.Agent(options))
      made.set(key, agent)
      return agent
    })
)

const refusal = (host: string, address: string, { kinds }: ReachOptions): AddressRefused | undefined => {
  const kind = kindOf(address)
  return kinds === "any" || kind === "public" || kinds.includes(kind) ? undefined : new AddressRefused(host, address, kind)
}

/** Resolves a name to the addresses within reach. What is connected to is what was checked. */
const checkedLookup =
  (reach: ReachOptions) =>
  (hostname: string, options: LookupOptions, done: (error: NodeJS.ErrnoException | null, address: string | Array<LookupAddress>, family?: number) => void): void =>
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, [])
      const refused = found.map(({ address }) => refusal(hostname, address, reach))
      const within = found.filter((_, i) => refused[i] === undefined)
      const [first] = within
      if (first === undefined) return done(refused.find((each) => each !== undefined) ?? new Error(`${hostname} has no address`), [])
      if (options.all === true) done(null, within)
      else done(null, first.address, first.family)
    })

/** The part of Node's response that `@effect/platform` asks for. */
class NodeResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly headers: Headers.Headers
  readonly remoteAddress: Option.Option<string>

  constructor(
    readonly request: HttpClientRequest.HttpClientRequest,
    private readonly source: Http.IncomingMessage,
    isProxied: boolean
  ) {
    super()
    this.headers = Headers.fromInput(source.headers)
    this.remoteAddress = isProxied ? Option.none() : Option.fromNullable(source.socket.remoteAddress)
  }

  get status() {
    return this.source.statusCode ?? 0
  }
  get cookies() {
    return Cookies.empty
  }
  get stream() {
    return Batches.stream(this.source, this.broken)
  }
  get text(): Effect.Effect<string, HttpClientError.ResponseError> {
    return NodeStream.toString(() => this.source, { onFailure: this.broken })
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpClientError.ResponseError> {
    return NodeStream.toUint8Array(() => this.source, { onFailure: this.broken }).pipe(Effect.map((bytes) => Uint8Array.from(bytes).buffer))
  }
  get json(): Effect.Effect<unknown, HttpClientError.ResponseError> {
    return Effect.tryMap(this.text, { try: (text): unknown => JSON.parse(text), catch: this.broken })
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpClientError.ResponseError> {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }
  get formData(): Effect.Effect<never, HttpClientError.ResponseError> {
    return Effect.fail(this.broken(new Error("forms are not read here")))
  }
  toJSON() {
    return { _id: "shifter-sdk/NodeResponse", status: this.status }
  }
  private readonly broken = (cause: unknown): HttpClientError.ResponseError => new HttpClientError.ResponseError({ request: this.request, response: this, reason: "Decode", cause })
}
