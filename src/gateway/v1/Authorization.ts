/**
 * The middleware of version 1: finds out who asks, by the header `Authorization`, and of which system he speaks, by the query.
 *
 * @module
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { errorFields, GatewayError, type ShifterError } from "../../core/Errors.js"
import type { Site, System } from "../../core/Site.js"
import { Authentication, type Identity } from "../Identity.js"
import { type Decision, noImage, refusal } from "../Policy.js"
import { Authenticated } from "./Api.js"
import { type ApiError, apiError } from "./Schemas.js"

/** Who made the request that this fiber serves, for the access log. */
export const asker = FiberRef.unsafeMake<Identity | undefined>(undefined)

/** Errors as the API declares them. */
export const answered = <A, R>(effect: Effect.Effect<A, ShifterError, R>): Effect.Effect<A, ApiError, R> => Effect.mapError(effect, apiError)

/** Goes on where a decision allows it; returns why. */
export const granted = (decision: Decision, missing: { readonly reference: string; readonly system: string }): Effect.Effect<string, GatewayError> => {
  switch (decision._tag) {
    case "Allowed":
      return Effect.succeed(decision.why)
    case "Denied":
      return refusal(decision.what)
    case "Unauthenticated":
      return unauthenticated
    case "Hidden":
      return noImage(missing.reference, missing.system)
  }
}

const unauthenticated = new GatewayError(
  errorFields("UNAUTHENTICATED", "The gateway does not know who asks", { remedy: 'Send "Authorization: Bearer TOKEN" or "Authorization: Munge CREDENTIAL".' })
)

export const layer = (site: Site): Layer.Layer<Authenticated, never, Authentication> =>
  Layer.effect(
    Authenticated,
    Effect.map(Authentication, (authentication) =>
      answered(
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const system = yield* systemOf(site, request.url)
          const caller = yield* identified(authentication, request.headers["authorization"], system)
          if (caller === undefined && !site.server.publicReads) return yield* unauthenticated
          yield* FiberRef.set(asker, caller)
          return { caller, system }
        })
      )
    )
  )

const systemOf = (site: Site, url: string): Effect.Effect<System, GatewayError> => {
  const query = url.indexOf("?")
  const name = query < 0 ? null : new URLSearchParams(url.slice(query + 1)).get("system")
  const system = site.systems.get(name ?? site.defaultSystem)
  return system === undefined ? new GatewayError(errorFields("SYSTEM_UNKNOWN", `There is no system "${name ?? ""}"`, { remedy: "GET /v1/systems lists them." })) : Effect.succeed(system)
}

const identified = (authentication: typeof Authentication.Service, header: string | undefined, system: System): Effect.Effect<Identity | undefined, GatewayError> => {
  if (header === undefined) return Effect.succeed(undefined)
  const [, scheme = "", value = ""] = /^(bearer|munge) +(\S.*)$/i.exec(header.trim()) ?? []
  if (value === "") return unauthenticated
  const secret = Redacted.make(value)
  return scheme.toLowerCase() === "bearer" ? authentication.token(secret) : authentication.munge(secret, system)
}
