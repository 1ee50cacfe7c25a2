/**
 * The gateway of a service over the network, with the HTTP client that it is asked by.
 *
 * @module
 */
import * as Layer from "effect/Layer"
import type { Gateway } from "./core/Gateway.js"
import { layer as httpLayer } from "./core/http/NodeHttp.js"
import * as Client from "./gateway/Client.js"

/** Until a gateway that is there answers; its events come at least every 15 seconds. */
const limits = { connectSeconds: 5, headersSeconds: 60, stallSeconds: 60, bytesPerSecond: 0 }

/** A `Gateway` that asks a gateway service. */
export const remoteGatewayLayer = (remote: Client.RemoteOptions): Layer.Layer<Gateway> => Layer.provide(Client.layer(remote), httpLayer(limits))
