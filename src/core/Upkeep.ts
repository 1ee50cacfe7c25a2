/**
 * The service `Upkeep`: what keeps a site's images in order. A collection removes what has expired and what nothing points to any more; a scrub
 * reads published images again. A gateway service does both by itself.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Audit } from "./Audit.js"
import type { Catalog } from "./Catalog.js"
import { checked } from "./Checked.js"
import { collect, type Collected } from "./Collect.js"
import { type CatalogError, carried, errorFields, GatewayError, printable, type ShifterError } from "./Errors.js"
import { Gateway, type ReadOptions } from "./Gateway.js"
import { ImageIndex } from "./ImageIndex.js"
import { expiryOf, reconcile } from "./Indexed.js"
import { scrub, type Scrubbed } from "./Scrub.js"
import * as Site from "./Site.js"
import type { Transport } from "./Transport.js"
import { Uploads } from "./Uploads.js"

export type { Collected } from "./Collect.js"
export type { Scrubbed } from "./Scrub.js"

export interface CollectRequest {
  /** Name of a system; the site's default without it. */
  readonly system?: string | undefined
  /** Tells what would be done, and does nothing. */
  readonly dryRun?: boolean | undefined
}

export interface ScrubRequest {
  /** Name of a system; the site's default without it. */
  readonly system?: string | undefined
  /** Images that were read within so many seconds are left out; 0: none is. Default: 0. */
  readonly olderThanSeconds?: number | undefined
  /** Reads at most so many, the longest unread first: 1 to 1,000,000. Default: all. */
  readonly limit?: number | undefined
}

/** How an image is kept. */
export interface Kept {
  readonly id: string
  /** When it expires, in milliseconds since 1970; undefined: never. */
  readonly expires: number | undefined
  /** uids that have pinned it: it neither expires nor is collected. */
  readonly pins: ReadonlyArray<number>
}

export class Upkeep extends Context.Tag("shifter-sdk/Upkeep")<
  Upkeep,
  {
    /** Collects on one system. Pulls may run meanwhile; what they name or pin is kept. */
    readonly collect: (request?: CollectRequest) => Effect.Effect<Collected, GatewayError>
    /** Reads images of one system again, one after the other. A damaged one stays, and is converted anew by the next pull of it. */
    readonly scrub: (request?: ScrubRequest) => Effect.Effect<Scrubbed, GatewayError>
    /**
     * Pins an image for the requester, or for this process's user: it neither expires nor is collected. A requester pins what he owns: fails with
     * `ACCESS_DENIED` for what is another's, and with `IMAGE_NOT_FOUND` as a lookup does. So do the others.
     */
    readonly pin: (reference: string, options?: ReadOptions) => Effect.Effect<Kept, GatewayError>
    /** Takes that pin away. */
    readonly unpin: (reference: string, options?: ReadOptions) => Effect.Effect<Kept, GatewayError>
    /** Says when an image expires, in milliseconds since 1970; undefined: never, whatever the site's lifetime is. */
    readonly expire: (reference: string, expires: number | undefined, options?: ReadOptions) => Effect.Effect<Kept, GatewayError>
  }
>() {}

const Collecting = Schema.Struct({ system: Schema.optional(Schema.String), dryRun: Schema.optional(Schema.Boolean) })
const Expiring = Schema.Struct({ expires: Schema.UndefinedOr(Schema.Int.pipe(Schema.positive())) })
const Scrubbing = Schema.Struct({
  system: Schema.optional(Schema.String),
  olderThanSeconds: Schema.optional(Schema.NonNegativeInt),
  limit: Schema.optional(Schema.Int.pipe(Schema.between(1, 1_000_000)))
})

/** What it needs. */
export type Services = Catalog | ImageIndex | Audit | Transport | Gateway

/** The service for a site. */
export const layer = (site: Site.Site): Layer.Layer<Upkeep, never, Services> =>
  Layer.effect(
    Upkeep,
    Effect.gen(function* () {
      const services = yield* Effect.context<Services>()
      const provided = <A, E extends ShifterError>(effect: Effect.Effect<A, E, Services>) =>
        effect.pipe(
          Effect.provide(services),
          Effect.mapError((error: ShifterError): GatewayError => (error._tag === "GatewayError" ? error : new GatewayError(carried(error))))
        )
      const changed = (reference: string, options: ReadOptions, change: (system: string, id: string, uid: number) => Effect.Effect<unknown, CatalogError | GatewayError, ImageIndex>) =>
        provided(
          Effect.gen(function* () {
            const system = yield* Site.system(site, options.system)
            const { id, owner } = yield* (yield* Gateway).record(reference, options)
            const { requester } = options
            if (requester !== undefined && requester.uid !== owner) {
              return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(reference)}" on ${system.name} is not uid ${requester.uid}'s to keep`))
            }
            const index = yield* ImageIndex
            // What the index does not know yet, such as what another program published.
            if ((yield* index.get(system.name, id)) === undefined) yield* reconcile(system, expiryOf(site))
            yield* change(system.name, id, requester?.uid ?? process.getuid?.() ?? 0)
            const now = yield* index.get(system.name, id)
            if (now === undefined) return yield* new GatewayError(errorFields("IMAGE_NOT_FOUND", `There is no image "${printable(reference)}" on ${system.name}`))
            return { id, expires: now.expires, pins: now.pins }
          })
        )
      return Upkeep.of({
        pin: (reference, options = {}) => changed(reference, options, (system, id, uid) => Effect.flatMap(ImageIndex, (index) => index.pin(system, id, uid))),
        unpin: (reference, options = {}) =>
          changed(reference, options, (system, id, uid) =>
            Effect.flatMap(ImageIndex, (index) => index.unpin(system, id, uid)).pipe(
              Effect.filterOrFail(
                (was) => was,
                () => new GatewayError(errorFields("USAGE", `You have not pinned the image ${id}`, { remedy: "Nothing is to be done." }))
              )
            )
          ),
        expire: (reference, expires, options = {}) =>
          changed(reference, options, (system, id) =>
            Effect.gen(function* () {
              yield* checked(Expiring, { expires })
              yield* (yield* ImageIndex).setExpiry(system, id, expires)
            })
          ),
        collect: (request = {}) =>
          provided(
            Effect.gen(function* () {
              yield* checked(Collecting, request)
              return yield* collect(site, yield* Site.system(site, request.system), request, expiryOf(site))
            })
          ),
        scrub: (request = {}) =>
          provided(
            Effect.gen(function* () {
              const { limit = 1_000_000, olderThanSeconds = 0, system } = yield* checked(Scrubbing, request)
              return yield* scrub(yield* Site.system(site, system), { olderThan: olderThanSeconds * 1000, limit }, expiryOf(site))
            })
          )
      })
    })
  )

/** Images of one scheduled scrub: it comes again before long. */
const SCRUB_AT_ONCE = 100

/** Collects and scrubs as often as the site wants it, for as long as the scope lasts. What fails is logged, and done the next time. */
export const scheduled = (site: Site.Site): Effect.Effect<void, never, Scope.Scope | Upkeep | Audit | Uploads> =>
  Effect.gen(function* () {
    const upkeep = yield* Upkeep
    const audit = yield* Audit
    const uploads = yield* Uploads
    const { auditSeconds, collectSeconds, scrubSeconds } = site.lifetime
    const careful = <E extends ShifterError>(what: string, effect: Effect.Effect<unknown, E>) =>
      Effect.catchAll(effect, (error) => Effect.logWarning(`${what}: ${error.message}`))
    const each = (what: string, f: (system: string) => Effect.Effect<unknown, GatewayError>) =>
      Effect.forEach(site.systems.keys(), (system) => careful(`${what} on ${system}`, f(system)), { discard: true })

    const collecting = Effect.gen(function* () {
      yield* each("Collecting", (system) =>
        Effect.flatMap(upkeep.collect({ system }), ({ expired, problems, removed }) =>
          Effect.zipRight(
            Effect.forEach(problems, (problem) => Effect.logWarning(`Collecting on ${system}: ${problem}`), { discard: true }),
            Effect.logInfo("collected").pipe(Effect.annotateLogs({ system, expired: expired.length, removed: removed.length }))
          )
        )
      )
      yield* careful("Forgetting old uploads", uploads.sweep)
      yield* careful("Forgetting the old audit log", audit.prune(auditSeconds * 1000))
    })
    if (collectSeconds > 0) yield* Effect.forkScoped(Effect.repeat(collecting, Schedule.spaced(collectSeconds * 1000)))
    // Ten times in the time in which all are to be read, so that what is read at once is little.
    const scrubbing = each("Scrubbing", (system) => upkeep.scrub({ system, olderThanSeconds: scrubSeconds, limit: SCRUB_AT_ONCE }))
    if (scrubSeconds > 0) yield* Effect.forkScoped(Effect.schedule(scrubbing, Schedule.spaced(Math.max(1, Math.min(3600, Math.floor(scrubSeconds / 10))) * 1000)))
  })
