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
import { NewImport, Progress } from "./v1/Schemas.js"

/** The same request joins what runs already. */
const again = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(10))
const encode = Schema.encodeSync(Schema.parseJson(NewImport))
const decodeProgress = Schema.decodeUnknownOption(Schema.parseJson(Progress))

/** Asks for an import and waits for its end. */
export const importing = ({ asked, system }: Connection, request: ImportRequest): Effect.Effect<ImageRecord, GatewayError> => {
  const { allowGids, allowUids, metadata, onProgress, platform, reference, source } = request
  const body = encode({ reference, source, platform, allowUids, allowGids, metadata })
  const told = telling(careful(onProgress))
  return asked(
    ({ http, url }) =>
      resultOf(http, HttpClientRequest.bodyText(HttpClientRequest.post(`${url}/v1/imports`, { urlParams: system(request) }), body, "application/json"), RecordFields, (data) =>
        told(Option.getOrUndefined(decodeProgress(data)))
      ),
    Duration.infinity
  ).pipe(Effect.retry({ schedule: again, while: (error) => error.code === "GATEWAY_UNREACHABLE" }))
}
