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
import type { QueuedPull } from "../../core/PullQueue.js"
import type { Site } from "../../core/Site.js"
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

export const pulls = (site: Site, stopped: Deferred.Deferred<undefined>) =>
  HttpApiBuilder.group(Api, "pulls", (handlers) =>
    Effect.gen(function* () {
      const service = yield* Pulls
      /** A pull is looked at by its id, whatever system the request speaks of: what counts is who he is on the pull's own. */
      const told = (caller: Identity, pull: QueuedPull) => {
        const system = site.systems.get(pull.order.system)
        return pullOf(pull, system !== undefined && isAdmin(caller, system))
      }
      return handlers
        .handle("create", ({ payload: { credentials, ...wanted } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, system } = yield* known("pull")
              const identity: Identity = credentials === undefined ? caller : { ...caller, credentials: new Map([["default", credentials]]) }
              return told(caller, yield* service.submit(identity, { ...wanted, system: system.name }))
            })
          )
        )
        .handle("list", ({ urlParams: { limit } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, system } = yield* known("queue")
              const found = yield* service.list(caller, { system: system.name, all: false, limit })
              return { pulls: found.map((pull) => told(caller, pull)) }
            })
          )
        )
        .handle("get", ({ path: { id } }) =>
          answered(
            Effect.gen(function* () {
              const { caller } = yield* known("queue")
              return told(caller, yield* service.get(caller, id))
            })
          )
        )
        .handle("cancel", ({ path: { id } }) =>
          answered(
            Effect.gen(function* () {
              const { caller } = yield* known("cancel")
              return told(caller, yield* service.cancel(caller, id))
            })
          )
        )
        .handleRaw("events", ({ path: { id }, request }) =>
          answered(
            Effect.gen(function* () {
              const { caller } = yield* known("queue")
              // Refused as an answer, before there is a stream.
              yield* service.get(caller, id)
              return events(Stream.map(service.watch(caller, id), (pull) => told(caller, pull)), request.headers["last-event-id"], stopped)
            })
          )
        )
    })
  )
