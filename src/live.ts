/**
 * The composition root: a site's configuration becomes the services, with every backend that is there.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { httpLayer, layoutSource, registrySource } from "./backends/docker/index.js"
import * as Catalog from "./catalog/sqlite/index.js"
import * as Gateway from "./core/Gateway.js"
import * as Image from "./core/Image.js"
import { layerTar2sqfs } from "./core/Packer.js"
import type { Site } from "./core/Site.js"
import * as Local from "./transports/local/index.js"

/** The gateway of a site, working inside this process. */
export const gatewayLayer = (site: Site) =>
  Gateway.layer(site).pipe(
    Layer.provide(
      Layer.mergeAll(
        Layer.unwrapEffect(Effect.map(registrySource(site.registry), (registry) => Image.layer([registry, layoutSource]))).pipe(Layer.provide(httpLayer(site.network))),
        Catalog.layer(site.stateDirectory),
        layerTar2sqfs,
        Local.layer
      )
    )
  )
