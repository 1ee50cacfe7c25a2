/**
 * An import that was asked of the service and its end, for those who wait for it. It is a pull of the queue: it goes on whoever listens and whatever
 * process ends, and who asks for the same again joins it.
 *
 * @module
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type CatalogError, errorFields, GatewayError, isErrorCode } from "../core/Errors.js"
import type { Gateway } from "../core/Gateway.js"
import type { ImageRecord } from "../core/ImageRecord.js"
import type { QueuedPull } from "../core/PullQueue.js"
import type { Identity } from "./Identity.js"
import type { Pulls, WantedImport } from "./Pulls.js"

export interface Asked {
  /** How it stands now and whenever that changes, until it has ended. */
  readonly states: Stream.Stream<QueuedPull, GatewayError | CatalogError>
  /** Its record, when it has ended with one. */
  readonly record: Effect.Effect<ImageRecord, GatewayError | CatalogError>
}

/** Asks for an import; returns when it is in the queue. */
export const ask = (
  pulls: Context.Tag.Service<Pulls>,
  gateway: Context.Tag.Service<Gateway>,
  identity: Identity,
  wanted: WantedImport
): Effect.Effect<Asked, GatewayError | CatalogError> =>
  Effect.map(pulls.submitImport(identity, wanted), ({ id, order }) => {
    const states = pulls.watch(identity, id)
    return {
      states,
      record: Effect.flatMap(Stream.runLast(states), (last) => {
        const outcome = Option.getOrUndefined(last)?.outcome
        switch (outcome?._tag) {
          case "Done":
            return gateway.record(`id:${outcome.imageId}`, { system: order.system, requester: identity.requester })
          case "Failed":
            return Effect.fail(new GatewayError(errorFields(isErrorCode(outcome.code) ? outcome.code : "INTERNAL", outcome.what, { remedy: outcome.remedy })))
          default:
            return Effect.fail(new GatewayError(errorFields("CANCELLED", `The import of ${order.reference} was cancelled`, { remedy: "Import it again." })))
        }
      })
    }
  })
