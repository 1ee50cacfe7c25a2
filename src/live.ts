/**
 * The composition root: a site's configuration becomes the services, with every backend that is there.
 *
 * @module
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { daemonSource, dockerArchiveSource, layoutSource, ociArchiveSource, registrySource } from "./backends/docker/index.js"
import * as Catalog from "./catalog/sqlite/index.js"
import * as Gateway from "./core/Gateway.js"
import * as Image from "./core/Image.js"
import { layerTar2sqfs } from "./core/Packer.js"
import type { Site } from "./core/Site.js"
import * as Local from "./transports/local/index.js"

/** An HTTP client that follows no redirect. */
const http = NodeHttpClient.layerWithoutAgent.pipe(Layer.provide(NodeHttpClient.makeAgentLayer({ keepAlive: true })))

/** The gateway of a site, working inside this process. */
export const gatewayLayer = (site: Site) =>
  Gateway.layer(site).pipe(
    Layer.provide(
      Layer.mergeAll(
        Layer.unwrapEffect(Effect.map(registrySource(site.registry, (host) => (site.dockerDaemon.pulls.has(host) ? site.dockerDaemon : undefined)), (registry) => Image.layer([registry, layoutSource, dockerArchiveSource, ociArchiveSource, daemonSource(site.dockerDaemon)]))).pipe(Layer.provide(http)),
        Catalog.layer(site.stateDirectory),
        layerTar2sqfs,
        Local.layer
      )
    )
  )
