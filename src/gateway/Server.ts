/**
 * The HTTP server: version 1 of the API, further dialects beside it, on any number of addresses. What strangers can make it hold is limited.
 *
 * @module
 */
import { chmod, lstat, readFile, unlink } from "node:fs/promises"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import type { Socket } from "node:net"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { errorFields, GatewayError, messageOf, systemCode } from "../core/Errors.js"
import type { Site } from "../core/Site.js"
import { ofCause, routeOf, tooLarge } from "./Answers.js"
import * as Metrics from "./Metrics.js"
import { asker } from "./v1/Authorization.js"
import * as V1 from "./v1/index.js"

/** An application for the paths that begin so, or for `/` alone. It answers its own errors. */
export interface Dialect {
  readonly prefix: string
  /** Its routes, as logs and metrics name them; each holds all below it. */
  readonly routes: ReadonlyArray<string>
  readonly app: HttpApp.Default<unknown, HttpRouter.HttpRouter.DefaultServices | Scope.Scope>
}

export interface Options {
  readonly site: Site
  readonly version: string
  readonly dialects?: ReadonlyArray<Dialect> | undefined
  /** Seconds in which a caller has to take an answer that is whole; it is kept for him until then. */
  readonly answerSeconds?: number | undefined
}

export interface Running {
  /** Where it listens: URLs, and paths of sockets. */
  readonly addresses: ReadonlyArray<string>
}

/** Munge credentials carry registry logins. */
const HEADER_BYTES = 64 * 1024
const HEADERS_SECONDS = 10
const IDLE_SECONDS = 15
const ANSWER_SECONDS = 120

/** Serves until the scope ends: then nothing new is taken, streams end, and what is being answered is finished. */
export const serve = ({ answerSeconds = ANSWER_SECONDS, dialects = [], site, version }: Options) =>
  Effect.gen(function* () {
    const { server } = site
    const stopped = yield* Deferred.make<undefined>()
    const v1 = yield* V1.make({ site, stopped, version })
    const app = HttpServerRequest.HttpServerRequest.pipe(
      Effect.flatMap((request): HttpApp.Default<unknown, HttpRouter.HttpRouter.DefaultServices | Scope.Scope> => {
        const length = Number(request.headers["content-length"] ?? 0)
        // What is read of an upload is limited by what it said it would have.
        if (length > server.bodyBytes && !isUpload(request)) return Effect.succeed(tooLarge)
        return dialects.find(({ prefix }) => (prefix === "/" ? /^\/(?:\?|$)/.test(request.url) : request.url.startsWith(prefix)))?.app ?? v1
      }),
      HttpServerRequest.withMaxBodySize(Option.some(server.bodyBytes))
    )
    const handled = yield* Effect.provide(NodeHttpServer.makeHandler(observed(app, dialects.flatMap(({ routes }) => routes))), NodeHttpServer.layerContext)
    const handler: Handler = (request, response) => {
      response.once("prefinish", () => leaveBehind(response, answerSeconds))
      handled(request, response)
    }
    const tls = yield* certificate(site)
    const addresses = yield* Effect.forEach(server.listen, (address) => listen(address, site, tls, handler, stopped))
    return { addresses } satisfies Running
  })

/** Adds to an upload: its body is a stream that may last, as long as it does not stall. */
const isUpload = ({ method, url }: { readonly method?: string | undefined; readonly url?: string | undefined }): boolean => method === "PATCH" && /^\/v1\/uploads\/[0-9a-f]{32}(?:\?|$)/.test(url ?? "")

/** Every request is counted and logged, and every failure answered. */
const observed = <R>(app: HttpApp.Default<unknown, R>, routes: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const id = randomBytes(8).toString("hex")
    const route = routeOf(request.url, routes)
    yield* Metric.increment(Metrics.openRequests)
    const [elapsed, response] = yield* app.pipe(
      Effect.catchAllCause((cause) => ofCause(cause, request)),
      Effect.annotateLogs("request", id),
      Effect.timed,
      Effect.ensuring(Metric.incrementBy(Metrics.openRequests, -1))
    )
    const identity = yield* FiberRef.get(asker)
    const tagged = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>) => Metric.tagged(metric, "route", route)
    yield* Metric.increment(Metric.tagged(Metric.tagged(tagged(Metrics.requests), "method", request.method), "status", String(response.status)))
    yield* Metric.update(tagged(Metrics.requestSeconds), Duration.toSeconds(elapsed))
    if (response.status === 401) yield* Metric.increment(Metrics.refusedRequests)
    yield* Effect.logInfo("answered").pipe(
      Effect.annotateLogs({
        request: id,
        method: request.method,
        route,
        status: response.status,
        milliseconds: Math.round(Duration.toMillis(elapsed)),
        from: Option.getOrElse(request.remoteAddress, () => "socket"),
        ...(identity === undefined ? {} : { uid: identity.requester.uid, by: identity.label })
      })
    )
    return HttpServerResponse.setHeaders(response, {
      "x-request-id": id,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      ...(route === "/v1/docs" ? { "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'" } : {})
    })
  }).pipe(Effect.locally(asker, undefined))

interface Certificate {
  readonly cert: Buffer
  readonly key: Buffer
}

const certificate = ({ server: { tls } }: Site): Effect.Effect<Certificate | undefined, GatewayError> =>
  tls === undefined
    ? Effect.succeed(undefined)
    : Effect.tryPromise({
        try: async () => ({ cert: await readFile(tls.certificate), key: await readFile(tls.key) }),
        catch: (error) => new GatewayError(errorFields("CONFIG_INVALID", `The certificate or key of server.tls can't be read: ${messageOf(error)}`))
      })

type Handler = (request: Http.IncomingMessage, response: Http.ServerResponse) => void

const listen = (address: string, site: Site, tls: Certificate | undefined, handler: Handler, stopped: Deferred.Deferred<undefined>): Effect.Effect<string, GatewayError, Scope.Scope> =>
  Effect.gen(function* () {
    const { server } = site
    const isSocket = address.startsWith("/")
    if (isSocket) yield* vacated(address)
    const options = {
      maxHeaderSize: HEADER_BYTES,
      headersTimeout: Math.min(HEADERS_SECONDS, server.requestSeconds) * 1000,
      // For each request by itself: see `timed`.
      requestTimeout: 0,
      keepAliveTimeout: IDLE_SECONDS * 1000,
      connectionsCheckingInterval: 1000
    }
    const http = yield* Effect.acquireRelease(
      Effect.try({
        try: () => (tls === undefined || isSocket ? Http.createServer(options) : Https.createServer({ ...options, ...tls, minVersion: "TLSv1.2" })),
        catch: (error) => new GatewayError(errorFields("CONFIG_INVALID", `The certificate or key of server.tls is not valid: ${messageOf(error)}`))
      }),
      (made) => ended(made, stopped, server.stopSeconds)
    )
    http.maxConnections = server.connections
    http.on("request", timed(server.requestSeconds)).on("request", handler).on("clientError", refuse)
    yield* Effect.async<undefined, GatewayError>((resume) => {
      const failed = (error: Error) => resume(new GatewayError(errorFields("CONFIG_INVALID", `The service can't listen on ${address}: ${error.message}`, { remedy: "Mend listen in server." })))
      const listening = () => {
        http.off("error", failed)
        resume(Effect.succeed(undefined))
      }
      http.once("error", failed).once("listening", listening)
      if (isSocket) http.listen({ path: address })
      else http.listen(hostAndPort(address))
    })
    // Whoever may reach it is let in by what he shows, not by the file's mode.
    if (isSocket) yield* Effect.promise(() => chmod(address, 0o666))
    const bound = http.address()
    if (typeof bound === "string" || bound === null) return address
    return `${tls === undefined ? "http" : "https"}://${bound.family === "IPv6" ? `[${bound.address}]` : bound.address}:${bound.port}`
  })

export const hostAndPort = (address: string): { readonly host: string; readonly port: number } => {
  const colon = address.lastIndexOf(":")
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) }
}

/** Ends a server: no new connections, those that wait are closed, and those that are served after their answer. */
const ended = (server: Http.Server, stopped: Deferred.Deferred<undefined>, seconds: number) =>
  Effect.gen(function* () {
    yield* Deferred.succeed(stopped, undefined)
    if (!server.listening) return
    yield* Effect.async<undefined>((resume) => {
      server.close(() => resume(Effect.succeed(undefined)))
      server.closeIdleConnections()
      // One that is kept alive for a next request gets none.
      const closing = setInterval(() => server.closeIdleConnections(), 50)
      server.once("close", () => clearInterval(closing))
    }).pipe(
      Effect.timeoutTo({ duration: Duration.seconds(seconds), onSuccess: () => undefined, onTimeout: () => server.closeAllConnections() })
    )
    server.closeAllConnections()
  })

/** Ends requests that are not there in time. */
const timed =
  (seconds: number): Handler =>
  (request, response) => {
    if (request.complete || isUpload(request)) return
    const timer = setTimeout(() => {
      if (request.complete) return
      if (response.headersSent) request.socket.destroy()
      else refuse(Object.assign(new Error("the request took too long"), { code: "ERR_HTTP_REQUEST_TIMEOUT" }), request.socket)
    }, seconds * 1000)
    const over = () => clearTimeout(timer)
    request.once("end", over).once("close", over)
    response.once("close", over)
  }

/** Ends a connection whose other side does not take what it asked for: whoever asked often enough would fill the memory with it. */
const leaveBehind = (response: Http.ServerResponse, seconds: number): void => {
  const late = setTimeout(() => response.destroy(), seconds * 1000).unref()
  response.once("close", () => clearTimeout(late))
}

const statusOfParser: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

/** What is no HTTP, too long or too slow. */
const refuse = (error: NodeJS.ErrnoException, socket: Socket | NodeJS.WritableStream) => {
  if (!("writable" in socket) || !socket.writable || error.code === "ECONNRESET") {
    if ("destroy" in socket) socket.destroy()
    return
  }
  const status = statusOfParser[error.code ?? ""] ?? 400
  const { code, message, reason, remedy, what } = errorFields("USAGE", "The request can't be understood", { remedy: "Send HTTP/1.1, whole and in time." })
  const body = JSON.stringify({ code, reason, what, remedy, message })
  socket.end(`HTTP/1.1 ${status} ${Http.STATUS_CODES[status] ?? ""}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
}

/** Removes a socket that nobody listens on any more; anything else stays. */
const vacated = (path: string): Effect.Effect<void, GatewayError> =>
  Effect.gen(function* () {
    const there = yield* Effect.promise(() => lstat(path).catch(() => undefined))
    if (there === undefined) return
    const answer = yield* Effect.async<string>((resume) => {
      const socket = Net.connect(path)
      const end = (what: string) => {
        socket.destroy()
        resume(Effect.succeed(what))
      }
      socket.once("connect", () => end("CONNECTED")).once("error", (error) => end(systemCode(error) ?? ""))
    })
    if (!there.isSocket() || answer !== "ECONNREFUSED") {
      return yield* new GatewayError(errorFields("CONFIG_INVALID", `The service can't listen on ${path}: ${there.isSocket() ? "another process does" : "something else is there"}`, { remedy: "Name another path in server.listen." }))
    }
    yield* Effect.promise(() => unlink(path))
  })

const loopback = /^(?:127\.\d+\.\d+\.\d+|localhost|::1)$/

/** Fails where anyone on the network could say who he is. */
export const mockIsSafe = ({ server }: Site): boolean => server.authentication !== "mock" || server.listen.every((address) => address.startsWith("/") || loopback.test(hostAndPort(address).host))

export const mockRefused = new GatewayError(
  errorFields("CONFIG_INVALID", 'The authentication "mock" believes everyone, and the service would listen on an address that others reach', { remedy: "Listen on 127.0.0.1 alone, or set authentication to munge." })
)

