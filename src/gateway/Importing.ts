/**
 * An import that a gateway service runs, as its client sees it. A path is one of the gateway's machine.
 *
 * @module
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { GatewayError } from "../core/Errors.js"
import type { ImportRequest } from "../core/Gateway.js"
import { type ImageRecord, RecordFields } from "../core/ImageRecord.js"
import { careful } from "../core/Progress.js"
import type { Connection } from "./Connection.js"
import { telling } from "./Following.js"
import { resultOf } from "./Listening.js"
import { NewImport, Pull } from "./v1/Schemas.js"

/** The same request joins what runs already, on whatever replica: long enough for a service to start again. */
const again = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(30))
const encode = Schema.encodeSync(Schema.parseJson(NewImport))
const decodePull = Schema.decodeUnknownOption(Schema.parseJson(Pull))

/** Asks for an import and waits for its end. */
export const importing = ({ asked, system }: Connection, request: ImportRequest): Effect.Effect<ImageRecord, GatewayError> => {
  const { allowGids, allowUids, metadata, onProgress, partition, platform, reference, source } = request
  const body = encode({ reference, source, platform, allowUids, allowGids, partition, metadata })
  const progress = telling(careful(onProgress))
  let id: string | undefined
  const told = (data: string) =>
    Option.map(decodePull(data), (pull) => {
      id = pull.id
      progress(pull.progress)
    })
  const cancel = Effect.suspend(() =>
    id === undefined ? Effect.void : Effect.ignore(Effect.timeout(asked(({ api }) => api.pulls.cancel({ path: { id: id ?? "" }, urlParams: system(request) })), "5 seconds"))
  )
  return asked(
    ({ http, url }) =>
      resultOf(http, HttpClientRequest.bodyText(HttpClientRequest.post(`${url}/v1/imports`, { urlParams: system(request) }), body, "application/json"), RecordFields, told),
    Duration.infinity
  ).pipe(
    Effect.retry({ schedule: again, while: (error) => error.code === "GATEWAY_UNREACHABLE" }),
    Effect.onInterrupt(() => cancel)
  )
}
