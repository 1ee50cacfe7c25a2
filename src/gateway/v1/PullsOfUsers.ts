/**
 * Pulls: asked for, watched and cancelled.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { type Identity, isAdmin } from "../Identity.js"
import { mayDo, type SystemAction } from "../Policy.js"
import { Pulls } from "../Pulls.js"
import { Api, Asking } from "./Api.js"
import { answered, granted } from "./Authorization.js"
import { events } from "./Events.js"
import { pullOf } from "./PullView.js"

/** Who asks, when he may; nobody unknown has pulls. */
export const known = (action: SystemAction) =>
  Effect.gen(function* () {
    const { caller, system } = yield* Asking
    yield* granted(mayDo(caller, action, system), { reference: "", system: system.name })
    if (caller === undefined) return yield* new GatewayError(errorFields("UNAUTHENTICATED", "Public images alone are told to those who do not say who they are"))
    return { caller, system, isAdmin: isAdmin(caller, system) }
  })

export const pulls = (stopped: Deferred.Deferred<undefined>) =>
  HttpApiBuilder.group(Api, "pulls", (handlers) =>
    Effect.gen(function* () {
      const service = yield* Pulls
      return handlers
        .handle("create", ({ payload: { credentials, ...wanted } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin, system } = yield* known("pull")
              const identity: Identity = credentials === undefined ? caller : { ...caller, credentials: new Map([["default", credentials]]) }
              return pullOf(yield* service.submit(identity, { ...wanted, system: system.name }), isAdmin)
            })
          )
        )
        .handle("list", ({ urlParams: { limit } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin, system } = yield* known("queue")
              const found = yield* service.list(caller, { system: system.name, all: false, limit })
              return { pulls: found.map((pull) => pullOf(pull, isAdmin)) }
            })
          )
        )
        .handle("get", ({ path: { id } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin } = yield* known("queue")
              return pullOf(yield* service.get(caller, id), isAdmin)
            })
          )
        )
        .handle("cancel", ({ path: { id } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin } = yield* known("cancel")
              return pullOf(yield* service.cancel(caller, id), isAdmin)
            })
          )
        )
        .handleRaw("events", ({ path: { id }, request }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin } = yield* known("queue")
              // Refused as an answer, before there is a stream.
              yield* service.get(caller, id)
              return events(Stream.map(service.watch(caller, id), (pull) => pullOf(pull, isAdmin)), request.headers["last-event-id"], stopped)
            })
          )
        )
    })
  )
