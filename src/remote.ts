/**
 * The gateway of a service over the network, with the HTTP client that it is asked by.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Gateway } from "./core/Gateway.js"
import { layer as httpLayer } from "./core/http/NodeHttp.js"
import { Upkeep } from "./core/Upkeep.js"
import { Uploads } from "./core/Uploads.js"
import * as Client from "./gateway/Client.js"
import { connect, type RemoteOptions } from "./gateway/Connection.js"
import * as Uploading from "./gateway/Uploading.js"
import * as Upkeeping from "./gateway/Upkeeping.js"

/** Until a gateway that is there answers; its events come at least every 15 seconds. */
const limits = { connectSeconds: 5, headersSeconds: 60, stallSeconds: 60, bytesPerSecond: 0 }

/** A `Gateway`, its `Upkeep` and its `Uploads` that ask a gateway service. */
export const remoteGatewayLayer = (remote: RemoteOptions): Layer.Layer<Gateway | Upkeep | Uploads> =>
  Layer.effectContext(Effect.map(connect(remote), (connection) => Context.make(Gateway, Client.make(connection)).pipe(Context.add(Upkeep, Upkeeping.make(connection)), Context.add(Uploads, Uploading.make(connection))))).pipe(
    Layer.provide(httpLayer(limits))
  )
