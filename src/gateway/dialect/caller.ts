/**
 * Who calls.
 *
 * @module
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Redacted from "effect/Redacted"
import { errorFields, GatewayError } from "../../core/Errors.js"
import type * as Site from "../../core/Site.js"
import { Authentication, type Identity, isAdmin } from "../Identity.js"
import { asker } from "../v1/Authorization.js"

/** Who calls; without an identity: somebody who did not say who he is, where the site tells everyone of public images. */
export interface Caller {
  readonly system: Site.System
  readonly identity: Identity | undefined
  readonly admin: boolean
}

const HEADER = "authentication"

const unauthenticated = new GatewayError(
  errorFields("UNAUTHENTICATED", `The header "${HEADER}" is missing`, { remedy: "Send a munge credential in it, as shifterimg does." })
)

/** Shows who calls by his munge credential alone: a token is good for no call of this dialect, whose GETs change things. */
export const authenticate = (site: Site.Site, system: Site.System, request: HttpServerRequest.HttpServerRequest, canBeAnyone: boolean) =>
  Effect.gen(function* () {
    const credential = request.headers[HEADER]?.trim() ?? ""
    if (credential === "") {
      if (canBeAnyone && site.server.publicReads) return { system, identity: undefined, admin: false } satisfies Caller
      return yield* unauthenticated
    }
    const identity = yield* (yield* Authentication).munge(Redacted.make(credential), system)
    yield* FiberRef.set(asker, identity)
    return { system, identity, admin: isAdmin(identity, system) } satisfies Caller
  })

/** Who calls, where it must be somebody. */
export const somebody = ({ identity }: Caller): Effect.Effect<Identity, GatewayError> => (identity === undefined ? unauthenticated : Effect.succeed(identity))
