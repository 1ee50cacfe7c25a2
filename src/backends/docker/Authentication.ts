/**
 * Who one is to a registry: anonymous first, since what everyone may have is no private image, and by a login where that is refused. A token is
 * used until it expires, and then obtained again the way it was obtained.
 *
 * @see https://distribution.github.io/distribution/spec/auth/token/
 * @see https://distribution.github.io/distribution/spec/auth/oauth/
 * @module
 */
import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { errorFields, ImageError, printable } from "../../core/Errors.js"
import type { Credentials } from "../../core/Image.js"
import * as Challenge from "./Challenge.js"
import type { Passing } from "../../core/http/Patience.js"

/** What proves who one is: a password, or the token that a login gave for it. */
export type Login = Credentials | { readonly identityToken: Redacted.Redacted }

/** How a token was obtained. */
type How = "anonymous" | "login"

/** What an `Authorization` header says. */
export interface Authorization {
  readonly how: How
  readonly header: Redacted.Redacted
  readonly expires: number
}

/** Tokens of all requests of a process, by what they are for and whose they are. */
export type TokenCache = Map<string, Authorization>

/** What a token service is asked. */
export interface TokenRequest {
  readonly url: URL
  readonly authorization: Redacted.Redacted | undefined
  /** An `application/x-www-form-urlencoded` body; the request is a POST with it. */
  readonly form: Redacted.Redacted | undefined
}

export interface Options {
  /** For messages: `docker.io/library/debian`. */
  readonly where: string
  readonly scope: string
  /** Looked for only when it is needed. */
  readonly login: Effect.Effect<Login | undefined, ImageError>
  readonly tokens: TokenCache
  /** Nothing is tried anonymously: the login itself is what is to be checked. */
  readonly loginOnly: boolean
  /** Asks the token service, when it is one that a credential may go to; undefined when it refuses. */
  readonly ask: (request: TokenRequest) => Effect.Effect<string | undefined, ImageError | Passing, Scope.Scope>
}

/** The ways that were tried within one request, so that a fresh token that is refused ends it. */
export type Tried = Set<How>

export interface Authentication {
  /** What to send first. */
  readonly current: (tried: Tried) => Effect.Effect<Authorization | undefined, ImageError | Passing, Scope.Scope>
  /** What to send after the registry has refused what was sent. */
  readonly next: (challenge: string | undefined, sent: Authorization | undefined, tried: Tried) => Effect.Effect<Authorization, ImageError | Passing, Scope.Scope>
  /** Whether a login was needed. From now on one that was not is not used: what was found public stays it. */
  readonly decided: Effect.Effect<boolean>
}

const TokenAnswer = Schema.parseJson(
  Schema.Struct({
    token: Schema.optional(Schema.NullOr(Schema.String)),
    access_token: Schema.optional(Schema.NullOr(Schema.String)),
    expires_in: Schema.optional(Schema.NullOr(Schema.Number)),
    issued_at: Schema.optional(Schema.NullOr(Schema.String))
  })
)

/** A token is not used in the last part of its time. */
const MARGIN = 10_000
/** What the specification says for a token that does not say. */
const DEFAULT_SECONDS = 60
const TOKENS_KEPT = 1000

export const make = (options: Options): Effect.Effect<Authentication> =>
  Effect.gen(function* () {
    const { where } = options
    const held = yield* Ref.make<Authorization | undefined>(undefined)
    const asked = yield* Ref.make<Challenge.Challenge | undefined>(undefined)
    const isPublic = yield* Ref.make(false)
    const one = yield* Effect.makeSemaphore(1)

    const obtain = (challenge: Challenge.Challenge, how: How, sent: Authorization | undefined): Effect.Effect<Authorization | undefined, ImageError | Passing, Scope.Scope> =>
      Effect.gen(function* () {
        const login = how === "login" ? yield* options.login : undefined
        if (how === "login" && login === undefined) return undefined
        if (challenge.scheme === "basic") return login === undefined ? undefined : basic(login)
        const realm = challenge.parameters.get("realm") ?? ""
        if (!URL.canParse(realm)) return yield* unauthorized(`${where} names no token service`)
        const service = challenge.parameters.get("service")
        const key = createHash("sha256").update(JSON.stringify([realm, service, options.scope, login === undefined ? null : secretOf(login)])).digest("hex")
        const now = yield* Clock.currentTimeMillis
        const cached = options.tokens.get(key)
        if (cached !== undefined && cached.expires > now && cached !== sent) return cached
        const answer = yield* options.ask(tokenRequest(new URL(realm), service, options.scope, login))
        if (answer === undefined) return undefined
        const authorization = yield* tokenOf(answer, how, now).pipe(
          Effect.mapError(() => new ImageError(errorFields("REGISTRY_ERROR", `The token service ${new URL(realm).host} did not answer with a token`)))
        )
        if (options.tokens.size >= TOKENS_KEPT) options.tokens.clear()
        options.tokens.set(key, authorization)
        return authorization
      })

    const ways = (sent: Authorization | undefined, tried: Tried, scheme: string): ReadonlyArray<How> => {
      const possible: ReadonlyArray<How> = options.loginOnly || scheme === "basic" ? ["login"] : sent?.how === "login" ? ["login"] : ["anonymous", "login"]
      return possible.filter((how) => !tried.has(how))
    }

    const refused = (sent: Authorization | undefined, tried: Tried) =>
      Effect.gen(function* () {
        if (tried.has("login") || sent?.how === "login") return yield* unauthorized(`${where} refused the user name or password`)
        if (yield* Ref.get(isPublic)) return yield* unauthorized(`${where} was given to everyone a moment ago and is not any more`)
        return yield* unauthorized(`${where} is not given to everyone, or does not exist`)
      })

    return {
      current: (tried) =>
        one.withPermits(1)(
          Effect.gen(function* () {
            const authorization = yield* Ref.get(held)
            const challenge = yield* Ref.get(asked)
            if (authorization === undefined || challenge === undefined) return undefined
            if (authorization.expires > (yield* Clock.currentTimeMillis)) return authorization
            tried.add(authorization.how)
            const renewed = yield* obtain(challenge, authorization.how, authorization)
            yield* Ref.set(held, renewed)
            return renewed
          })
        ),
      next: (header, sent, tried) =>
        one.withPermits(1)(
          Effect.gen(function* () {
            const now = yield* Ref.get(held)
            // Another request has renewed it meanwhile.
            if (now !== undefined && now !== sent && !tried.has(now.how)) return now
            const challenge = header === undefined ? yield* Ref.get(asked) : Challenge.parse(header)
            if (challenge === undefined || challenge.scheme === "") {
              return yield* unauthorized(`${where} asks for an authentication that is not known (${printable(header ?? "it names none")})`)
            }
            yield* Ref.set(asked, challenge)
            const settled = yield* Ref.get(isPublic)
            for (const how of ways(sent, tried, challenge.scheme)) {
              if (how === "login" && settled) break
              tried.add(how)
              const authorization = yield* obtain(challenge, how, sent)
              if (authorization === undefined) {
                // What was tried and is not there was not refused.
                if (how === "login" && (yield* options.login) === undefined) tried.delete(how)
                continue
              }
              yield* Ref.set(held, authorization)
              return authorization
            }
            if (challenge.scheme === "basic" && (yield* options.login) === undefined) return yield* unauthorized(`${where} asks for a user name and a password`)
            return yield* refused(sent, tried)
          })
        ),
      decided: Effect.gen(function* () {
        const authorization = yield* Ref.get(held)
        const isPrivate = authorization?.how === "login"
        yield* Ref.set(isPublic, !isPrivate)
        return isPrivate
      })
    }
  })

const unauthorized = (what: string) => Effect.fail(new ImageError(errorFields("REGISTRY_UNAUTHORIZED", what)))

const secretOf = (login: Login): ReadonlyArray<string> =>
  "identityToken" in login ? [Redacted.value(login.identityToken)] : [login.username, Redacted.value(login.password)]

const basicHeader = ({ password, username }: Credentials) =>
  Redacted.make(`Basic ${Buffer.from(`${username}:${Redacted.value(password)}`).toString("base64")}`)

const basic = (login: Login): Authorization | undefined =>
  "identityToken" in login ? undefined : { how: "login", header: basicHeader(login), expires: Infinity }

const tokenRequest = (url: URL, service: string | undefined, scope: string, login: Login | undefined): TokenRequest => {
  const parameters = { ...(service === undefined ? {} : { service }), ...(scope === "" ? {} : { scope }) }
  if (login !== undefined && "identityToken" in login) {
    const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "shifter-sdk", ...parameters, refresh_token: Redacted.value(login.identityToken) })
    return { url, authorization: undefined, form: Redacted.make(form.toString()) }
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return { url, authorization: login === undefined ? undefined : basicHeader(login), form: undefined }
}

const tokenOf = (text: string, how: How, askedAt: number) =>
  Effect.flatMap(Schema.decode(TokenAnswer)(text), (answer) => {
    const token = answer.token ?? answer.access_token ?? ""
    if (!/^[\x21-\x7e]+$/.test(token)) return Effect.fail(new Error("no token"))
    const lifetime = Math.max(0, answer.expires_in ?? DEFAULT_SECONDS) * 1000
    // A clock that is wrong on either side must not make a token live longer, or not at all.
    const age = askedAt - Date.parse(answer.issued_at ?? "")
    const spent = age > 0 && age < lifetime ? age : 0
    return Effect.succeed<Authorization>({ how, header: Redacted.make(`Bearer ${token}`), expires: askedAt + lifetime - spent - Math.min(MARGIN, lifetime / 5) })
  })
