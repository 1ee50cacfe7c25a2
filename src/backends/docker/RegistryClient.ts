/**
 * A client of one repository of a registry: authentication, redirects, retries. It sends no credential to another host than the registry and
 * its token service, and follows no redirect to a weaker protocol.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
 * @see https://distribution.github.io/distribution/spec/auth/token/
 * @module
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { errorFields, ImageError, printable } from "../../core/Errors.js"
import type { Credentials } from "../../core/Image.js"

/** How one registry is reached. */
export interface RegistrySettings {
  /** `http://` instead of `https://`; for registries on the machine itself or a trusted network. */
  readonly plainHttp: boolean
  readonly credentials: Credentials | undefined
}

export interface RegistryClient {
  /** Requests `/v2/<repository>/<path>`. Answers other than 2xx are errors. */
  readonly get: (path: string, accept: string) => Effect.Effect<HttpClientResponse.HttpClientResponse, ImageError, Scope.Scope>
  /** Whether credentials were needed. */
  readonly usedCredentials: Effect.Effect<boolean>
}

const MAX_REDIRECTS = 5
const HEADERS_TIMEOUT = "60 seconds"
const TOKEN_LIMIT = 1024 * 1024
const TokenAnswer = Schema.Struct({ token: Schema.optional(Schema.String), access_token: Schema.optional(Schema.String) })

export const make = (
  http: HttpClient.HttpClient,
  options: { readonly host: string; readonly repository: string; readonly settings: RegistrySettings }
): Effect.Effect<RegistryClient> =>
  Effect.gen(function* () {
    const { host, repository, settings } = options
    // Docker Hub's registry has another name than its images.
    const base = `${settings.plainHttp ? "http" : "https"}://${host === "docker.io" ? "registry-1.docker.io" : host}`
    const where = `${host}/${repository}`
    const authorization = yield* Ref.make<Redacted.Redacted | undefined>(undefined)
    const used = yield* Ref.make(false)

    const send = (url: string, headers: Record<string, string>): Effect.Effect<HttpClientResponse.HttpClientResponse, ImageError, Scope.Scope> =>
      http.execute(HttpClientRequest.get(url, { headers: { "user-agent": "shifter-sdk", "accept-encoding": "identity", ...headers } })).pipe(
        Effect.timeoutFail({
          duration: HEADERS_TIMEOUT,
          onTimeout: () => new ImageError(errorFields("REGISTRY_TIMEOUT", `${new URL(url).host} did not answer within ${HEADERS_TIMEOUT}`))
        }),
        Effect.mapError((error) => (error instanceof ImageError ? error : unreachable(url, error)))
      )

    const follow = (url: string, accept: string, token: Redacted.Redacted | undefined, hops = 0): Effect.Effect<HttpClientResponse.HttpClientResponse, ImageError, Scope.Scope> =>
      Effect.gen(function* () {
        const sameHost = new URL(url).origin === new URL(base).origin
        const response = yield* send(url, {
          accept,
          ...(sameHost && token !== undefined ? { authorization: Redacted.value(token) } : {})
        })
        if (![301, 302, 303, 307, 308].includes(response.status)) return response
        const target = redirectTarget(url, response.headers["location"])
        if (hops >= MAX_REDIRECTS) return yield* refusedRedirect(`${where} redirects more than ${MAX_REDIRECTS} times`)
        if (target === undefined) return yield* refusedRedirect(`${where} redirects to nowhere`)
        if (target.protocol !== "https:" && !(settings.plainHttp && target.protocol === "http:")) {
          return yield* refusedRedirect(`${where} redirects to ${target.protocol}//${target.host}, which is not https`)
        }
        target.username = ""
        target.password = ""
        return yield* follow(target.href, accept, token, hops + 1)
      })

    const authenticate = (challenge: string | undefined): Effect.Effect<Redacted.Redacted, ImageError, Scope.Scope> =>
      Effect.gen(function* () {
        const { scheme, parameters } = parseChallenge(challenge ?? "")
        const basic = settings.credentials === undefined ? undefined : basicHeader(settings.credentials)
        if (scheme === "basic") {
          if (basic === undefined) return yield* unauthorized(`${where} asks for a user name and a password`)
          yield* Ref.set(used, true)
          return basic
        }
        const realm = scheme === "bearer" ? parameters.get("realm") : undefined
        if (realm === undefined || !URL.canParse(realm)) return yield* unauthorized(`${where} asks for an authentication that is not known (${printable(challenge ?? "none named")})`)
        const url = new URL(realm)
        const isSame = url.host === new URL(base).host
        if (url.protocol !== "https:" && !(settings.plainHttp && url.protocol === "http:")) {
          return yield* unauthorized(`${where} names the token service ${url.origin}, which is not https`)
        }
        const service = parameters.get("service")
        if (service !== undefined) url.searchParams.set("service", service)
        url.searchParams.set("scope", `repository:${repository}:pull`)
        const ask = (header: Redacted.Redacted | undefined) =>
          Effect.gen(function* () {
            const response = yield* send(url.href, { accept: "application/json", ...(header === undefined ? {} : { authorization: Redacted.value(header) }) })
            if (response.status !== 200) return undefined
            const bytes = yield* body(response, TOKEN_LIMIT, `the token service ${url.host}`)
            const answer = yield* Schema.decodeUnknown(Schema.parseJson(TokenAnswer))(Buffer.from(bytes).toString()).pipe(
              Effect.mapError(() => new ImageError(errorFields("REGISTRY_ERROR", `The token service ${url.host} did not answer with a token`)))
            )
            const token = answer.token ?? answer.access_token
            return token === undefined || !/^[\x21-\x7e]+$/.test(token) ? undefined : Redacted.make(`Bearer ${token}`)
          })
        // Anonymously first: what everyone may have is no private image. A second refusal of the same token comes here again.
        const before = yield* Ref.get(authorization)
        const anonymous = before === undefined ? yield* ask(undefined) : undefined
        if (anonymous !== undefined) return anonymous
        if (basic === undefined) return yield* unauthorized(`${where} is not given to everyone, or does not exist`)
        if (!isSame && url.protocol !== "https:") return yield* unauthorized(`${where} names a token service on another host without https`)
        const token = yield* ask(basic)
        if (token === undefined) return yield* unauthorized(`The token service ${url.host} of ${where} refused the user name or password`)
        yield* Ref.set(used, true)
        return token
      })

    const attempt = (path: string, accept: string) =>
      Effect.gen(function* () {
        const url = `${base}/v2/${repository}/${path}`
        let response = yield* follow(url, accept, yield* Ref.get(authorization))
        // Once anonymously, once with credentials.
        for (let tries = 0; response.status === 401 && tries < 2; tries++) {
          const token = yield* authenticate(response.headers["www-authenticate"])
          yield* Ref.set(authorization, token)
          response = yield* follow(url, accept, token)
        }
        if (response.status >= 200 && response.status < 300) return response
        return yield* refusal(response, path, where)
      })

    return {
      get: (path, accept) =>
        attempt(path, accept).pipe(
          Effect.retry({
            while: (error) => error.code === "REGISTRY_UNREACHABLE" || error.code === "REGISTRY_TIMEOUT" || error.code === "REGISTRY_ERROR",
            schedule: retries
          })
        ),
      usedCredentials: Ref.get(used)
    }
  })

/** Three more tries, about 0.3, 0.6 and 1.2 seconds apart. */
export const retries = Schedule.exponential("300 millis").pipe(Schedule.jittered, Schedule.intersect(Schedule.recurs(3)))

/** A body whole, at most so many bytes. */
export const body = (response: HttpClientResponse.HttpClientResponse, limit: number, where: string): Effect.Effect<Uint8Array, ImageError> =>
  response.stream.pipe(
    Stream.mapError((error) => new ImageError(errorFields("REGISTRY_UNREACHABLE", `The answer of ${where} broke off`, { cause: error }))),
    Stream.runFoldEffect({ size: 0, chunks: [] as Array<Uint8Array> }, (state, chunk) => {
      state.size += chunk.length
      state.chunks.push(chunk)
      return state.size > limit
        ? Effect.fail(new ImageError(errorFields("LIMIT_EXCEEDED", `${where} sent more than ${limit} bytes`)))
        : Effect.succeed(state)
    }),
    Effect.map((state) => Buffer.concat(state.chunks))
  )

/** The scheme and parameters of a `WWW-Authenticate` header (RFC 9110, 11.6.1); the first challenge of a scheme that is known. */
export const parseChallenge = (header: string): { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> } => {
  const found = /(?:^|,\s*)(bearer|basic)(?:\s+|$)/i.exec(header)
  const parameters = new Map<string, string>()
  if (found === null) return { scheme: "", parameters }
  const rest = header.slice(found.index + found[0].length)
  const parameter = /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)/y
  for (let match = parameter.exec(rest); match !== null; match = parameter.exec(rest)) {
    parameters.set((match[1] ?? "").toLowerCase(), match[2]?.replace(/\\(.)/g, "$1") ?? match[3] ?? "")
  }
  return { scheme: (found[1] ?? "").toLowerCase(), parameters }
}

const basicHeader = (credentials: Credentials) =>
  Redacted.make(`Basic ${Buffer.from(`${credentials.username}:${Redacted.value(credentials.password)}`).toString("base64")}`)

const redirectTarget = (from: string, location: string | undefined): URL | undefined =>
  location !== undefined && URL.canParse(location, from) ? new URL(location, from) : undefined

const refusedRedirect = (what: string) => Effect.fail(new ImageError(errorFields("REDIRECT_REFUSED", what)))
const unauthorized = (what: string) => Effect.fail(new ImageError(errorFields("REGISTRY_UNAUTHORIZED", what)))

const unreachable = (url: string, error: unknown): ImageError => {
  const { host, protocol } = new URL(url)
  const cause = causes(error)
  const code = cause.map((each) => (typeof each === "object" && each !== null && "code" in each ? String(each.code) : "")).find((text) => text !== "" && text !== "Transport") ?? ""
  if (/TIMEOUT/.test(code)) return new ImageError(errorFields("REGISTRY_TIMEOUT", `${host} did not answer in time`, { cause: error }))
  const why =
    code === "ECONNREFUSED"
      ? "nothing listens there"
      : code === "ENOTFOUND" || code === "EAI_AGAIN"
        ? "its name is not known"
        : /SSL|TLS|CERT|WRONG_VERSION/.test(code)
          ? `no secure connection (${code})`
          : code === ""
            ? "the connection failed"
            : code
  const remedy = protocol === "https:" && /SSL|WRONG_VERSION/.test(code) ? { remedy: 'If it speaks plain HTTP, set "plainHttp": true for it in the gateway configuration.' } : {}
  return new ImageError(errorFields("REGISTRY_UNREACHABLE", `The registry ${host} can't be reached: ${printable(why)}`, { cause: error, ...remedy }))
}

const causes = (error: unknown): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  for (let each: unknown = error; each !== undefined && each !== null && found.length < 8; each = typeof each === "object" && "cause" in each ? each.cause : undefined) found.push(each)
  return found
}

/** The error of an answer that is not 2xx, with what the registry says about it. */
const refusal = (response: HttpClientResponse.HttpClientResponse, path: string, where: string): Effect.Effect<never, ImageError> =>
  Effect.gen(function* () {
    const text = yield* body(response, 64 * 1024, where).pipe(
      Effect.map((bytes) => Buffer.from(bytes).toString()),
      Effect.orElseSucceed(() => "")
    )
    const said = saidBy(text)
    const status = `HTTP ${response.status}${said === "" ? "" : `, ${said}`}`
    const isBlob = path.startsWith("blobs/")
    switch (response.status) {
      case 401:
      case 403:
        return yield* unauthorized(`${where} refused ${isBlob ? "a blob" : "the manifest"} (${status})`)
      case 404:
        return yield* isBlob
          ? new ImageError(errorFields("REGISTRY_ERROR", `${where} does not have the blob ${path.slice(6)} of its own manifest (${status})`))
          : new ImageError(errorFields("MANIFEST_NOT_FOUND", `${where} has no image "${decodeURIComponent(path.replace(/^manifests\//, ""))}" (${status})`))
      case 429: {
        const after = response.headers["retry-after"]
        return yield* new ImageError(
          errorFields("REGISTRY_RATE_LIMITED", `${where} is asked too often (${status})`, /^\d{1,6}$/.test(after ?? "") ? { remedy: `Retry in ${after} s, or give credentials.` } : {})
        )
      }
      default:
        return yield* new ImageError(errorFields("REGISTRY_ERROR", `${where} answered with ${status}`))
    }
  })

const Said = Schema.Struct({ errors: Schema.Array(Schema.Struct({ code: Schema.optional(Schema.String), message: Schema.optional(Schema.String) })) })

const saidBy = (text: string): string => {
  const decoded = Schema.decodeUnknownOption(Schema.parseJson(Said))(text)
  const first = decoded._tag === "Some" ? decoded.value.errors[0] : undefined
  return printable([first?.code, first?.message].filter((each) => each !== undefined && each !== "").join(": "))
}
