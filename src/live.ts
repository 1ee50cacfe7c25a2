/**
 * The composition root: a site's configuration becomes the services, with every backend that is there.
 *
 * @module
 */
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { chosSource } from "./backends/chos/index.js"
import { customSource } from "./backends/custom/index.js"
import { daemonSource, dockerArchiveSource, hasLogin, layoutSource, ociArchiveSource, registrySource } from "./backends/docker/index.js"
import { vmSource } from "./backends/vm/index.js"
import { layer as postgresCatalog } from "./catalog/postgres/index.js"
import type { CatalogServices } from "./catalog/sql/index.js"
import { layer as sqliteCatalog } from "./catalog/sqlite/index.js"
import { adapters } from "./adapters.js"
import type { Audit } from "./core/Audit.js"
import type { Catalog } from "./core/Catalog.js"
import { type Executor, layerAtOnce, layerHere } from "./core/Executor.js"
import * as Gateway from "./core/Gateway.js"
import { layer as httpLayer } from "./core/http/NodeHttp.js"
import * as Image from "./core/Image.js"
import { ImageIndex } from "./core/ImageIndex.js"
import { expiryOf, indexed } from "./core/Indexed.js"
import * as JobExecutor from "./core/JobExecutor.js"
import { layerTar2sqfs as tar2sqfsPacker, type Packer } from "./core/Packer.js"
import type { PullQueue } from "./core/PullQueue.js"
import { conversionSystem, type Site, type System } from "./core/Site.js"
import { Transport } from "./core/Transport.js"
import * as Upkeep from "./core/Upkeep.js"
import * as Uploads from "./core/Uploads.js"
import * as Accounts from "./gateway/Accounts.js"
import * as Authenticate from "./gateway/Authenticate.js"
import type { Authentication } from "./gateway/Identity.js"
import * as Pulls from "./gateway/Pulls.js"
import { layer as localTransport } from "./transports/local/index.js"
import { layer as sshTransport } from "./transports/ssh/index.js"

export { localTransport, postgresCatalog, sqliteCatalog, sshTransport, tar2sqfsPacker }

/** To each system by the way that its settings name. */
export const siteTransport: Layer.Layer<Transport> = Layer.scoped(
  Transport,
  Effect.gen(function* () {
    const local = Context.get(yield* Layer.build(localTransport), Transport)
    const ssh = Context.get(yield* Layer.build(sshTransport), Transport)
    const to = (system: System) => (system.ssh === undefined ? local : ssh)
    return Transport.of({
      ready: (system) => to(system).ready(system),
      stage: (system, ...args) => to(system).stage(system, ...args),
      discard: (system, ...args) => to(system).discard(system, ...args),
      staged: (system) => to(system).staged(system),
      publish: (system, ...args) => to(system).publish(system, ...args),
      record: (system, ...args) => to(system).record(system, ...args),
      image: (system, ...args) => to(system).image(system, ...args),
      open: (system, ...args) => to(system).open(system, ...args),
      isSound: (system, ...args) => to(system).isSound(system, ...args),
      name: (system, ...args) => to(system).name(system, ...args),
      lookup: (system, ...args) => to(system).lookup(system, ...args),
      setAccess: (system, ...args) => to(system).setAccess(system, ...args),
      list: (system) => to(system).list(system),
      unname: (system, ...args) => to(system).unname(system, ...args),
      remove: (system, ...args) => to(system).remove(system, ...args)
    })
  })
)
/** The site's catalogue, with all that is kept in it: the database that its replicas share, or a file in its state directory. */
export const catalogLayer = (site: Site): Layer.Layer<CatalogServices> => (site.postgres === undefined ? sqliteCatalog(site) : postgresCatalog(site.postgres))

/** Parts of a gateway that are one's own. */
export interface GatewayParts {
  /** Further sources. One for a type that this package has a source for takes its place. */
  readonly sources?: ReadonlyArray<Image.ImageSource> | undefined
  /** The way to the systems; by default {@link siteTransport}. */
  readonly transport?: Layer.Layer<Transport> | undefined
  /** Where pulls are known; by default the {@link catalogLayer} of the site. */
  readonly catalog?: Layer.Layer<Catalog> | undefined
  /** The index that is told what is published; by default that of the site's catalogue, or none where a `catalog` is given. */
  readonly index?: Layer.Layer<ImageIndex> | undefined
  /** By default {@link tar2sqfsPacker}. */
  readonly packer?: Layer.Layer<Packer> | undefined
  /** Where conversions run; by default as jobs where the site's configuration says so, else in this process. */
  readonly executor?: Layer.Layer<Executor> | undefined
  /** How many conversions of this process run beside each other; without it, each at once. */
  readonly places?: number | undefined
  /** Whether strangers say what is pulled, as those of a gateway service do: registries of this network are then asked only if the site names them. */
  readonly forStrangers?: boolean | undefined
}

/** The gateway of a site, working inside this process. */
export const gatewayLayer = (site: Site, parts: GatewayParts = {}): Layer.Layer<Gateway.Gateway> => {
  const daemon = { socket: site.dockerDaemon.socket, headersSeconds: site.network.headersSeconds }
  const images = Layer.unwrapEffect(
    Effect.map(registrySource(site.registry, (host) => (site.dockerDaemon.pulls.has(host) ? daemon : undefined), site.dockerLogins, parts.forStrangers), (registry) =>
      Image.layer([...(parts.sources ?? []), registry, layoutSource, dockerArchiveSource, ociArchiveSource, daemonSource(daemon), customSource, chosSource(site.chos), vmSource(site.vm)])
    )
  )
  const own = catalogLayer(site)
  const transport = parts.transport ?? siteTransport
  const catalog = parts.catalog ?? own
  const packer = parts.packer ?? tar2sqfsPacker
  const executor = parts.executor ?? executorLayer(site, parts.places).pipe(Layer.provide(catalog), Layer.provide(packer))
  const index = parts.index ?? (parts.catalog === undefined ? own : undefined)
  return Gateway.layer(site).pipe(
    Layer.provide(images),
    Layer.provide(httpLayer(site.network, site.proxy)),
    Layer.provide(Uploads.layer(site)),
    Layer.provide(index === undefined ? transport : Layer.merge(indexedTransport(site).pipe(Layer.provide(transport), Layer.provide(index)), index)),
    Layer.provide(catalog),
    Layer.provide(packer),
    Layer.provide(executor)
  )
}

/** Where the conversions of a site run. */
const executorLayer = (site: Site, places: number | undefined): Layer.Layer<Executor, never, Catalog | Packer> => {
  const here = places === undefined ? layerAtOnce : layerHere(places)
  const { conversions } = site
  if (conversions === undefined) return here
  const { batch } = adapters[conversions.wlm](site, conversionSystem(site, conversions), conversions.options)
  const prefix = conversions.prefix ?? site.prefix ?? "/usr/local"
  return Layer.provide(JobExecutor.layer({ batch, prefix, directory: conversions.directory, fromBytes: conversions.fromBytes, limits: site.limits }), here)
}

/** A transport that tells an index what it publishes. */
const indexedTransport = (site: Site): Layer.Layer<Transport, never, Transport | ImageIndex> =>
  Layer.effect(
    Transport,
    Effect.map(Effect.all([Transport, ImageIndex]), ([transport, index]) => indexed(transport, index, expiryOf(site)))
  )

/** The upkeep of a site's images, embedded as a gateway is. */
export const upkeepLayer = (site: Site, catalog = catalogLayer(site), transport: Layer.Layer<Transport> = siteTransport): Layer.Layer<Upkeep.Upkeep> =>
  Layer.provide(upkeepOver(site, catalog, transport), gatewayLayer(site, { catalog, index: catalog, transport }))

const upkeepOver = (site: Site, catalog: Layer.Layer<CatalogServices>, transport: Layer.Layer<Transport>): Layer.Layer<Upkeep.Upkeep, never, Gateway.Gateway> =>
  Upkeep.layer(site).pipe(Layer.provide(indexedTransport(site).pipe(Layer.provide(transport))), Layer.provide(catalog))

/** What the gateway of a service has that is not every gateway's: its users are strangers, and share the places where conversions run. */
export const serviceParts = (site: Site): GatewayParts => ({ places: site.pulls.conversions, forStrangers: true })

/** What a gateway service is made of. */
export type ServiceParts = Gateway.Gateway | Pulls.Pulls | Upkeep.Upkeep | Authentication | Accounts.Accounts | Transport | Uploads.Uploads | CatalogServices

/** The parts of a gateway service of a site. They share one database and one way to the systems. */
export const serviceLayer = (site: Site, own: Omit<GatewayParts, "catalog"> & { readonly catalog?: Layer.Layer<CatalogServices> | undefined } = {}): Layer.Layer<ServiceParts> => {
  const parts = { ...serviceParts(site), ...own }
  const transport = parts.transport ?? siteTransport
  const catalog = own.catalog ?? catalogLayer(site)
  return Layer.mergeAll(pullsLayer(site), Authenticate.layer(site)).pipe(
    Layer.provideMerge(upkeepOver(site, catalog, transport)),
    Layer.provideMerge(Layer.mergeAll(gatewayLayer(site, { ...parts, catalog, index: catalog, transport }), Accounts.layer, Uploads.layer(site), transport)),
    Layer.provideMerge(catalog)
  )
}

/** Pulls that users ask of a service, over the gateway of a site with {@link serviceParts}. */
export const pullsLayer = (site: Site): Layer.Layer<Pulls.Pulls, never, PullQueue | Gateway.Gateway | ImageIndex | Audit | Uploads.Uploads> =>
  Layer.unwrapEffect(
    // A helper program may have to be asked.
    Effect.map(Cache.make({ capacity: 1000, timeToLive: "1 minute", lookup: hasLogin(site.registry, site.dockerLogins) }), (logins) =>
      Pulls.layer(site, (host) => logins.get(host))
    )
  )
