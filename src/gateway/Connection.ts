/**
 * The way to a gateway service. Any of its replicas will do; where one does not answer, another one is asked.
 *
 * @module
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import type { Remote } from "../core/ClientConfig.js"
import { errorFields, GatewayError, messageOf } from "../core/Errors.js"
import { Reach } from "../core/http/Reach.js"
import * as Process from "../core/Process.js"
import * as Munge from "./Munge.js"
import { apiOf, type Replica } from "./Replica.js"
import { type ApiError, isApiError } from "./v1/Schemas.js"

const PATIENCE = Duration.seconds(60)
/** What a replica answers that can't serve now, or a proxy before it. */
const UNABLE: ReadonlySet<number> = new Set([502, 503, 504])

export type RemoteOptions = Pick<Remote, "gateways"> & Partial<Remote>

export interface Connection {
  /** Asks one replica after the other, the one that answered last first. `patience` is how long one is waited for; a minute without it. */
  readonly asked: <A, E>(use: (replica: Replica) => Effect.Effect<A, E>, patience?: Duration.Duration) => Effect.Effect<A, GatewayError>
  /** The system that is meant, as a parameter of the query. */
  readonly system: (options: { readonly system?: string | undefined } | undefined) => { readonly system?: string }
}

/** The way to the gateway service at some addresses. */
export const connect = (remote: RemoteOptions): Effect.Effect<Connection, never, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const http = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequestEffect((request) => Effect.map(authorization(remote), (header) => (header === undefined ? request : HttpClientRequest.setHeader(request, "authorization", header)))),
      HttpClient.transformResponse(Effect.provideService(Reach, { kinds: "any", ca: remote.ca }))
    )
    const clients = yield* Effect.forEach(yield* Random.shuffle(remote.gateways), (url) =>
      Effect.map(apiOf(http, url.replace(/\/+$/, "")), (api) => ({ url: url.replace(/\/+$/, ""), api, http }))
    )
    const first = yield* Ref.make(0)

    /** Asks one gateway after the other, the one that answered last first. */
    const asked: Connection["asked"] = (use, patience = PATIENCE) =>
      Effect.gen(function* () {
        const begin = yield* Ref.get(first)
        const reasons: Array<string> = []
        for (let i = 0; i < clients.length; i++) {
          const at = (begin + i) % clients.length
          const client = [...clients][at]
          if (client === undefined) continue
          const answer = yield* Effect.either(Effect.timeoutFail(use(client), { duration: patience, onTimeout: () => new Error(`no answer within ${Duration.toSeconds(patience)} s`) }))
          if (answer._tag === "Right") {
            yield* Ref.set(first, at)
            return answer.right
          }
          const error: unknown = answer.left
          if (error instanceof GatewayError) return yield* error
          if (isApiError(error) && error.code !== "RESOURCE") return yield* told(error)
          const unexpected = statusOf(error)
          if (unexpected !== undefined && !UNABLE.has(unexpected)) {
            return yield* new GatewayError(errorFields("INTERNAL", `The gateway ${client.url} answered with HTTP ${unexpected}, which is no answer of its API`, { remedy: "See whether the address is that of a shifter-gateway." }))
          }
          reasons.push(`${client.url}: ${isApiError(error) ? error.what : reasonOf(error)}`)
        }
        return yield* new GatewayError(errorFields("GATEWAY_UNREACHABLE", `No gateway answers: ${reasons.join("; ")}`))
      })

    const system = (options: { readonly system?: string | undefined } | undefined) => {
      const name = options?.system ?? remote.system
      return name === undefined ? {} : { system: name }
    }
    return { asked, system }
  })

/** A munge credential is good once: each request has its own. */
const authorization = ({ munge, token }: RemoteOptions): Effect.Effect<string | undefined, GatewayError> => {
  if (token !== undefined) return Effect.succeed(`Bearer ${Redacted.value(token)}`)
  const program = Munge.program("munge")
  if (program === undefined) return Effect.succeed(undefined)
  return Process.output(program, ["--no-input", ...(munge === undefined ? [] : ["--socket", munge])]).pipe(
    Effect.mapError((error) => noCredential(error.message)),
    Effect.flatMap(({ status, stderr, stdout }) => (status === 0 ? Effect.succeed(`Munge ${stdout.trim()}`) : noCredential(stderr)))
  )
}

const noCredential = (what: string) => new GatewayError(errorFields("UNAUTHENTICATED", `Munge gives no credential: ${what}`))
export const told = ({ code, message, reason, remedy, what }: ApiError): GatewayError => new GatewayError({ code, message, reason, remedy, what })

/** Of an answer that is none of the API's. */
const statusOf = (error: unknown): number | undefined =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "ResponseError" && "response" in error && typeof error.response === "object" && error.response !== null && "status" in error.response && typeof error.response.status === "number"
    ? error.response.status
    : undefined

const reasonOf = (error: unknown): string => (typeof error === "object" && error !== null && "cause" in error && error.cause instanceof Error ? error.cause.message : messageOf(error))
