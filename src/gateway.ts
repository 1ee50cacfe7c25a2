/**
 * `shifter-sdk/gateway`: the gateway service inside a program of one's own, and its client. The service is made of the layers of
 * {@link serviceLayer} and served by {@link serve}; {@link Api} describes version 1 of its API.
 *
 * @module
 */
export { type ServiceParts, serviceLayer } from "./live.js"
export { remoteGatewayLayer } from "./remote.js"
export type { RemoteOptions } from "./gateway/Connection.js"
export { type Dialect, type Options as ServeOptions, type Running, serve } from "./gateway/Server.js"
export { type Account, Accounts } from "./gateway/Accounts.js"
export { make as referenceDialect, type Needed } from "./gateway/dialect/index.js"
export { Pulls } from "./gateway/Pulls.js"
export { Authentication, type Identity } from "./gateway/Identity.js"
export type { Caller } from "./gateway/Policy.js"
export type { Wanted, WantedImport } from "./gateway/Orders.js"
export { Api, Asking, Authenticated } from "./gateway/v1/Api.js"
