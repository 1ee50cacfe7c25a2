/**
 * The service `Upkeep` over the network.
 *
 * @module
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { ReadOptions } from "../core/Gateway.js"
import { Upkeep } from "../core/Upkeep.js"
import type { Connection } from "./Connection.js"
import { resultOf } from "./Listening.js"
import { Collected, type Image, Scrubbed } from "./v1/Schemas.js"

/** Beats of the gateway's heart tell that it is still at it. */
const FOREVER = Duration.infinity

/** The upkeep of the service that a connection leads to. */
export const make = ({ asked, system }: Connection): typeof Upkeep.Service => {
  const image = (reference: string, options: ReadOptions | undefined) => ({ urlParams: { ...system(options), reference } })
  const kept = ({ expires, pins = [], record }: Image) => ({ id: record.id, expires, pins })
  const inspected = (reference: string, options: ReadOptions | undefined) => Effect.map(asked(({ api }) => api.images.inspect(image(reference, options))), kept)
  const long = <A, I>(path: string, schema: Schema.Schema<A, I>, urlParams: Readonly<Record<string, string | undefined>>) =>
    asked(({ http, url }) => resultOf(http, HttpClientRequest.post(`${url}${path}`, { urlParams }), schema), FOREVER)
  return Upkeep.of({
    collect: (request) => long("/v1/collect", Collected, { ...system(request), dryRun: request?.dryRun === true ? "true" : undefined }),
    scrub: (request) => long("/v1/scrub", Scrubbed, { ...system(request), olderThanSeconds: request?.olderThanSeconds?.toString(), limit: request?.limit?.toString() }),
    pin: (reference, options) => Effect.zipRight(asked(({ api }) => api.images.pin(image(reference, options))), inspected(reference, options)),
    unpin: (reference, options) => Effect.zipRight(asked(({ api }) => api.images.unpin(image(reference, options))), inspected(reference, options)),
    expire: (reference, expires, options) =>
      Effect.map(
        asked(({ api }) => (expires === undefined ? api.images.clearExpiry(image(reference, options)) : api.images.setExpiry({ ...image(reference, options), payload: { expires } }))),
        kept
      )
  })
}
