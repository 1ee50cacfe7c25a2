/**
 * A client of one repository of a registry: authentication and redirects. It sends no credential to another host than the registry and its
 * token service, follows no redirect to a weaker protocol or into the network it stands in, and repeats nothing: who asks decides that.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
 * @module
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { errorFields, ImageError, printable } from "../../core/Errors.js"
import type { OnProgress } from "../../core/Progress.js"
import type { RegistrySettings } from "../../core/Registries.js"
import { type AddressKind, kindOf } from "../../core/http/Address.js"
import * as Authentication from "./Authentication.js"
import { Passing, retryAfter, transportFailure } from "../../core/http/Patience.js"
import { Reach } from "../../core/http/Reach.js"
import type { Budgets } from "./Budgets.js"

/** An answer with a status that was asked for. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The host that gave it: the registry, or where it led to. */
  readonly host: string
  readonly stream: Stream.Stream<Uint8Array, ImageError | Passing>
}

export interface Asking {
  readonly accept?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Statuses that are no errors; 200 without it. */
  readonly statuses?: ReadonlyArray<number>
}

export interface RegistryClient {
  /** The registry's own name, such as `docker.io`. */
  readonly host: string
  /** Requests `/v2/<repository>/<path>`, once. */
  readonly get: (path: string, asking?: Asking) => Effect.Effect<Answer, ImageError | Passing, Scope.Scope>
  /** Whether a login was needed so far. From now on none is used that was not. */
  readonly decided: Effect.Effect<boolean>
}

export interface Options {
  readonly host: string
  /** Empty for the registry as a whole. */
  readonly repository: string
  readonly settingsOf: (host: string) => RegistrySettings
  readonly login: Effect.Effect<Authentication.Login | undefined, ImageError>
  readonly tokens: Authentication.TokenCache
  readonly budgets: Budgets
  readonly loginOnly?: boolean
  /** Whether the host is a stranger's choice, and has to be at a public address. */
  readonly isStranger?: boolean
  readonly onProgress: OnProgress
}

const MAX_REDIRECTS = 5
/** Answers to one request, however often tokens are renewed beside it. */
const MAX_ANSWERS = 6
const TOKEN_LIMIT = 1024 * 1024
const SAID_LIMIT = 64 * 1024
/** Requests left that are worth a word. */
const FEW = 10

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
/** Statuses that may be over in a moment. */
const momentary: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

interface Response {
  readonly url: URL
  readonly isOwn: boolean
  readonly inner: HttpClientResponse.HttpClientResponse
}

export const make = (client: HttpClient.HttpClient, options: Options): Effect.Effect<RegistryClient, ImageError> =>
  Effect.gen(function* () {
    const { host, repository } = options
    const settings = options.settingsOf(host)
    // Addresses of a redirect can be secrets: no trace shows them.
    const http = client.pipe(HttpClient.withScope, HttpClient.withTracerDisabledWhen(() => true))
    // Docker Hub's registry has another name than its images.
    const base = new URL(`${settings.plainHttp ? "http" : "https"}://${host === "docker.io" ? "registry-1.docker.io" : host}`)
    const where = repository === "" ? host : `${host}/${repository}`
    const place = yield* Ref.make<AddressKind>("public")
    const told = yield* Ref.make<number | undefined>(undefined)

    /** A place the registry leads to: it may not be weaker protected, nor in a network that the registry itself is not in. */
    const isWeaker = (url: URL) => url.protocol !== "https:" && !(url.protocol === "http:" && ((settings.plainHttp && url.host === base.host) || options.settingsOf(url.host).plainHttp))
    const reachOf = (url: URL) =>
      Effect.map(Ref.get(place), (kind): Reach["Type"] => {
        if (url.origin === base.origin) return { kinds: options.isStranger === true ? [] : "any", ca: settings.ca }
        const { ca, named } = options.settingsOf(url.host)
        return { kinds: named ? "any" : [kind], ca }
      })

    const send = (url: URL, request: HttpClientRequest.HttpClientRequest): Effect.Effect<Response, ImageError | Passing, Scope.Scope> =>
      Effect.gen(function* () {
        const isOwn = url.origin === base.origin
        const asked = isOwn ? host : url.host
        yield* options.budgets.turn(asked, (isOwn ? settings : options.settingsOf(url.host)).budget, (millis) =>
          options.onProgress({ _tag: "RateLimit", registry: asked, remaining: 0, retryInSeconds: Math.ceil(millis / 1000) })
        )
        const inner = yield* http.execute(HttpClientRequest.setHeaders(request, { "user-agent": "shifter-sdk", "accept-encoding": "identity" })).pipe(
          Effect.provideService(Reach, yield* reachOf(url)),
          Effect.mapError((error) => transportFailure(url, error))
        )
        if (isOwn && Option.isSome(inner.remoteAddress)) yield* Ref.set(place, kindOf(inner.remoteAddress.value))
        return { url, isOwn, inner }
      })

    const follow = (url: URL, headers: Readonly<Record<string, string>>, authorization: Authentication.Authorization | undefined, hops = 0): Effect.Effect<Response, ImageError | Passing, Scope.Scope> =>
      Effect.gen(function* () {
        const own = url.origin === base.origin && authorization !== undefined ? { authorization: Redacted.value(authorization.header) } : {}
        const response = yield* send(url, HttpClientRequest.get(url.href, { headers: { ...headers, ...own } }))
        if (!redirects.has(response.inner.status)) return response
        const location = response.inner.headers["location"]
        if (hops >= MAX_REDIRECTS) return yield* refusedRedirect(`${where} redirects more than ${MAX_REDIRECTS} times`)
        if (location === undefined || !URL.canParse(location, url.href)) return yield* refusedRedirect(`${where} redirects to nowhere`)
        const target = new URL(location, url)
        if (isWeaker(target)) return yield* refusedRedirect(`${where} redirects to ${printable(`${target.protocol}//${target.host}`)}, which is not https`)
        target.username = ""
        target.password = ""
        yield* finished(response)
        return yield* follow(target, headers, authorization, hops + 1)
      })

    const ask = ({ authorization, form, url }: Authentication.TokenRequest) =>
      Effect.gen(function* () {
        if (isWeaker(url)) return yield* unauthorized(`${where} names the token service ${printable(url.origin)}, which is not https`)
        url.username = ""
        url.password = ""
        const headers = { accept: "application/json", ...(authorization === undefined ? {} : { authorization: Redacted.value(authorization) }) }
        const request =
          form === undefined
            ? HttpClientRequest.get(url.href, { headers })
            : HttpClientRequest.post(url.href, { headers, body: HttpBody.uint8Array(Buffer.from(Redacted.value(form)), "application/x-www-form-urlencoded") })
        const { inner } = yield* send(url, request)
        const name = `The token service ${url.host} of ${where}`
        if (inner.status === 400 || inner.status === 401 || inner.status === 403) return undefined
        if (inner.status !== 200) return yield* faulty(inner, `${name} answered with HTTP ${inner.status}`)
        return Buffer.from(yield* collected(streamOf({ url, inner, isOwn: false }, name), TOKEN_LIMIT, name)).toString()
      })

    const authentication = yield* Authentication.make({
      where,
      scope: repository === "" ? "" : `repository:${repository}:pull`,
      login: options.login,
      tokens: options.tokens,
      loginOnly: options.loginOnly ?? false,
      ask
    })

    const streamOf = ({ inner, url }: Response, name: string) =>
      inner.stream.pipe(Stream.mapError((error) => transportFailure(url, error, `${name} broke off`)))

    const notice = (headers: Answer["headers"]) =>
      Effect.gen(function* () {
        const left = /^\d{1,9}/.exec(headers["ratelimit-remaining"] ?? "")?.[0]
        if (left === undefined || Number(left) > FEW || (yield* Ref.getAndSet(told, Number(left))) === Number(left)) return
        options.onProgress({ _tag: "RateLimit", registry: host, remaining: Number(left), retryInSeconds: undefined })
      })

    const get: RegistryClient["get"] = (path, asking = {}) =>
      Effect.gen(function* () {
        const url = new URL(`${base.origin}/v2/${repository === "" ? "" : `${repository}/`}${path}`)
        const headers = { accept: asking.accept ?? "*/*", ...asking.headers }
        const tried: Authentication.Tried = new Set()
        let sent = yield* authentication.current(tried)
        let response = yield* follow(url, headers, sent)
        for (let answers = 1; response.isOwn && answers < MAX_ANSWERS; answers++) {
          const { status } = response.inner
          const challenge = response.inner.headers["www-authenticate"]
          if (status === 401) sent = yield* authentication.next(challenge, sent, tried)
          // Some registries give everyone a token, and then refuse it.
          else if (status === 403 && sent?.how === "anonymous") {
            tried.add("anonymous")
            const login = yield* authentication.next(undefined, sent, tried).pipe(
              Effect.catchTag("ImageError", (error) => (error.code === "REGISTRY_UNAUTHORIZED" ? Effect.succeed(undefined) : Effect.fail(error)))
            )
            if (login === undefined) break
            sent = login
          } else break
          yield* finished(response)
          response = yield* follow(url, headers, sent)
        }
        const { inner } = response
        if (response.isOwn) yield* notice(inner.headers)
        if (!(asking.statuses ?? [200]).includes(inner.status)) return yield* refusal(response, path)
        return { status: inner.status, headers: inner.headers, host: response.url.host, stream: streamOf(response, `The answer of ${where}`) }
      })

    /** The error of an answer with another status, with what the registry itself says about it. */
    const refusal = (response: Response, path: string): Effect.Effect<never, ImageError | Passing> =>
      Effect.gen(function* () {
        const { inner, isOwn, url } = response
        // What another host says may come from inside a network, and is not repeated.
        if (!isOwn) return yield* faulty(inner, `${url.host}, which ${where} redirects to, answered with HTTP ${inner.status}`)
        const said = saidBy(
          yield* collected(streamOf(response, where), SAID_LIMIT, where).pipe(
            Effect.map((bytes) => Buffer.from(bytes).toString()),
            Effect.timeout("5 seconds"),
            Effect.orElseSucceed(() => "")
          )
        )
        const status = `HTTP ${inner.status}${said === "" ? "" : `, ${said}`}`
        const isBlob = path.startsWith("blobs/")
        switch (inner.status) {
          case 401:
          case 403:
            return yield* unauthorized(`${where} refused ${isBlob ? "a blob" : "the manifest"} (${status})`)
          case 404:
            if (path === "") return yield* new ImageError(errorFields("REGISTRY_ERROR", `${where} is no registry (${status})`))
            return yield* isBlob
              ? new ImageError(errorFields("REGISTRY_ERROR", `${where} does not have the blob ${path.slice(6)} of its own manifest (${status})`))
              : new ImageError(errorFields("MANIFEST_NOT_FOUND", `${where} has no image "${decodeURIComponent(path.replace(/^manifests\//, ""))}" (${status})`))
          default:
            return yield* faulty(inner, inner.status === 429 ? `${where} is asked too often (${status})` : `${where} answered with ${status}`)
        }
      })

    return { host, get, decided: authentication.decided }
  })

/** The failure of a status that says nothing about the image. */
const faulty = (inner: HttpClientResponse.HttpClientResponse, what: string): Effect.Effect<never, ImageError | Passing> =>
  Effect.gen(function* () {
    const limited = inner.status === 429
    const after = retryAfter(inner.headers["retry-after"], yield* Clock.currentTimeMillis)
    const seconds = after === undefined ? undefined : Math.ceil(after / 1000)
    const remedy = seconds === undefined ? {} : { remedy: limited ? `Retry in ${seconds} s, or give credentials.` : `Retry in ${seconds} s.` }
    const [, allowed, window] = /^(\d{1,9});w=(\d{1,9})/.exec(inner.headers["ratelimit-limit"] ?? "") ?? []
    const limit = limited && allowed !== undefined ? `; it allows ${allowed} requests in ${window} s` : ""
    const error = new ImageError(errorFields(limited ? "REGISTRY_RATE_LIMITED" : "REGISTRY_ERROR", `${what}${limit}`, { ...remedy, retryAfter: seconds }))
    return yield* momentary.has(inner.status) ? new Passing({ error, afterMillis: after }) : error
  })

/** Reads the rest of an answer that is done with, if it is short, so that its connection can be used again. */
const finished = ({ inner }: Response): Effect.Effect<void> =>
  Number(inner.headers["content-length"] ?? SAID_LIMIT + 1) > SAID_LIMIT
    ? Effect.void
    : Effect.ignore(Effect.timeout(Stream.runDrain(inner.stream), "2 seconds"))

const collected = (stream: Stream.Stream<Uint8Array, ImageError | Passing>, limit: number, where: string): Effect.Effect<Uint8Array, ImageError | Passing> =>
  stream.pipe(
    Stream.runFoldEffect({ size: 0, chunks: [] as Array<Uint8Array> }, (state, chunk) => {
      state.size += chunk.length
      state.chunks.push(chunk)
      return state.size > limit
        ? Effect.fail(new ImageError(errorFields("LIMIT_EXCEEDED", `${where} sent more than ${limit} bytes`)))
        : Effect.succeed(state)
    }),
    Effect.map((state) => Buffer.concat(state.chunks))
  )

/** The body of an answer whole, at most so many bytes. */
export const body = (answer: Answer, limit: number, where: string) => collected(answer.stream, limit, where)

const refusedRedirect = (what: string) => Effect.fail(new ImageError(errorFields("REDIRECT_REFUSED", what)))
const unauthorized = (what: string) => Effect.fail(new ImageError(errorFields("REGISTRY_UNAUTHORIZED", what)))

const Said = Schema.Struct({ errors: Schema.Array(Schema.Struct({ code: Schema.optional(Schema.String), message: Schema.optional(Schema.String) })) })

const saidBy = (text: string): string => {
  const decoded = Schema.decodeUnknownOption(Schema.parseJson(Said))(text)
  const first = decoded._tag === "Some" ? decoded.value.errors[0] : undefined
  return printable([first?.code, first?.message].filter((each) => each !== undefined && each !== "").join(": "))
}
