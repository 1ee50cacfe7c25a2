/**
 * The service `Gateway` over the network: what an embedded one does, asked of a gateway service. Any of its replicas will do; where one does
 * not answer, another one is asked.
 *
 * @module
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Redacted from "effect/Redacted"
import type { Remote } from "../core/ClientConfig.js"
import { errorFields, GatewayError, messageOf } from "../core/Errors.js"
import { Gateway, type ImageInfo, type ReadOptions } from "../core/Gateway.js"
import { Reach } from "../core/http/Reach.js"
import * as Process from "../core/Process.js"
import * as Munge from "./Munge.js"
import { following } from "./Following.js"
import { apiOf, type Replica } from "./Replica.js"
import { type ApiError, isApiError } from "./v1/Schemas.js"

const SECONDS = 60
const PAGE = 1000
/** What a replica answers that can't serve now, or a proxy before it. */
const UNABLE: ReadonlySet<number> = new Set([502, 503, 504])

export type RemoteOptions = Pick<Remote, "gateways"> & Partial<Remote>

/** The gateway service at some addresses. */
export const layer = (remote: RemoteOptions): Layer.Layer<Gateway, never, HttpClient.HttpClient> =>
  Layer.effect(
    Gateway,
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
      const asked = <A, E>(use: (client: Replica) => Effect.Effect<A, E>): Effect.Effect<A, GatewayError> =>
        Effect.gen(function* () {
          const begin = yield* Ref.get(first)
          const reasons: Array<string> = []
          for (let i = 0; i < clients.length; i++) {
            const at = (begin + i) % clients.length
            const client = [...clients][at]
            if (client === undefined) continue
            const answer = yield* Effect.either(Effect.timeoutFail(use(client), { duration: `${SECONDS} seconds`, onTimeout: () => new Error(`no answer within ${SECONDS} s`) }))
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
      const image = (reference: string, options?: ReadOptions) => ({ urlParams: { ...system(options), reference } })
      const inspect = (reference: string, options?: ReadOptions) => asked(({ api }) => api.images.inspect(image(reference, options)))

      const pages = (options: ReadOptions, unnamed: boolean) =>
        Effect.gen(function* () {
          const found: Array<ImageInfo> = []
          for (let after: string | undefined; ; ) {
            const page = yield* asked(({ api }) => api.images.list({ urlParams: { ...system(options), unnamed, limit: PAGE, ...(after === undefined ? {} : { after }) } }))
            found.push(...page.images.map(({ image: { names, record, system: name } }) => ({ names, record, system: name })))
            if (page.next === undefined) return found
            after = page.next
          }
        })

      return Gateway.of({
        pull: (request) => following({ asked, system: system(request) }, request),
        lookup: (reference, options) => Effect.map(asked(({ api }) => api.images.lookup(image(reference, options))), ({ id }) => id),
        record: (reference, options) => Effect.map(inspect(reference, options), ({ record }) => record),
        inspect: (reference, options) => Effect.map(inspect(reference, options), ({ names, record, system: name }) => ({ record, names, system: name })),
        list: (options = {}) =>
          Effect.map(Effect.all([pages(options, false), pages(options, true)]), (found) => ({
            images: [...new Map(found.flat().map((each) => [each.record.id, each])).values()],
            problems: []
          })),
        remove: (reference, options) => asked(({ api }) => api.images.remove(image(reference, options))),
        setAccess: (reference, change, options) => Effect.map(asked(({ api }) => api.images.access({ ...image(reference, options), payload: change })), ({ record }) => record),
        import: () => Effect.fail(elsewhere("imported")),
        export: () => Effect.fail(elsewhere("exported"))
      })
    })
  )

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
const elsewhere = (what: string) =>
  new GatewayError(errorFields("OPTION_UNAVAILABLE", `Images can't be ${what} through a gateway service`, { remedy: "Do it on the gateway's machine, with --config instead of --gateway." }))

export const told = ({ code, message, reason, remedy, what }: ApiError): GatewayError => new GatewayError({ code, message, reason, remedy, what })

/** Of an answer that is none of the API's. */
const statusOf = (error: unknown): number | undefined =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "ResponseError" && "response" in error && typeof error.response === "object" && error.response !== null && "status" in error.response && typeof error.response.status === "number"
    ? error.response.status
    : undefined

const reasonOf = (error: unknown): string => (typeof error === "object" && error !== null && "cause" in error && error.cause instanceof Error ? error.cause.message : messageOf(error))
