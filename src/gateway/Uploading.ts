/**
 * The service `Uploads` over the network. Whose an upload is, the gateway knows by itself.
 *
 * @module
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError } from "../core/Errors.js"
import { Uploads, type UploadStatus } from "../core/Uploads.js"
import type { Connection } from "./Connection.js"
import { ApiErrors, Upload } from "./v1/Schemas.js"

/** A piece may be slow. */
const PATIENCE = Duration.minutes(10)

const theGateways = new GatewayError(errorFields("OPTION_UNAVAILABLE", "The files of uploads are the gateway's"))

/** The uploads of the service that a connection leads to. */
export const make = ({ asked, system }: Connection): typeof Uploads.Service => {
  const urlParams = system(undefined)
  const status = ({ digest, ...rest }: typeof Upload.Type): UploadStatus => ({ ...rest, digest })
  return Uploads.of({
    create: ({ bytes, name, sha256 }) => Effect.map(asked(({ api }) => api.uploads.create({ urlParams, payload: { bytes, name, sha256 } })), status),
    append: (id, _, offset, stream) =>
      Effect.gen(function* () {
        // In one piece: whoever sends has cut it.
        const body = Buffer.concat(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)))
        return yield* asked(
          ({ http, url }) =>
            Effect.scoped(
              Effect.gen(function* () {
                const request = HttpClientRequest.patch(`${url}/v1/uploads/${id}`, { urlParams, headers: { "upload-offset": String(offset) } })
                const response = yield* http.execute(HttpClientRequest.bodyUint8Array(request, body, "application/octet-stream"))
                if (response.status === 200) return status(yield* HttpClientResponse.schemaBodyJson(Upload)(response))
                return yield* Effect.flatMap(Effect.flatMap(response.json, Schema.decodeUnknown(ApiErrors)), Effect.fail)
              })
            ),
          PATIENCE
        )
      }),
    status: (id) => Effect.map(asked(({ api }) => api.uploads.get({ path: { id }, urlParams })), status),
    cancel: (id) => asked(({ api }) => api.uploads.cancel({ path: { id }, urlParams })),
    file: () => Effect.fail(theGateways),
    place: Effect.fail(theGateways),
    sweep: Effect.succeed(0)
  })
}
