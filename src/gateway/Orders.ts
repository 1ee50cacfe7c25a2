/**
 * From what somebody wants to an order of the queue: what may be pulled over the network, with which credentials, and with whom an order is shared.
 *
 * @module
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { carried, errorFields, type FormatError, GatewayError, isShifterError, messageOf, printable, type ShifterError } from "../core/Errors.js"
import type { Credentials } from "../core/Image.js"
import { Acl, MetadataFields } from "../core/ImageRecord.js"
import * as ImageRef from "../core/ImageRef.js"
import { ImportSource } from "../core/Import.js"
import * as ImportSettings from "../core/ImportSettings.js"
import * as Platform from "../core/Platform.js"
import { checked } from "../core/Checked.js"
import type { PullOrder } from "../core/PullQueue.js"
import * as Site from "../core/Site.js"
import type { Identity } from "./Identity.js"

/** What every order says. */
const Named = Schema.Struct({
  system: Schema.String,
  reference: Schema.String,
  platform: Schema.optional(Schema.String),
  allowUids: Schema.optional(Acl),
  allowGids: Schema.optional(Acl)
})

/** What somebody wants pulled. */
export const Wanted = Schema.Struct({ ...Named.fields, verify: Schema.optional(Schema.Boolean) })
export type Wanted = typeof Wanted.Type

/** What somebody wants imported. */
export const WantedImport = Schema.Struct({
  ...Named.fields,
  source: ImportSource,
  partition: Schema.optional(Schema.String.pipe(Schema.maxLength(200))),
  metadata: Schema.optional(Schema.partialWith(MetadataFields, { exact: true }))
})
export type WantedImport = typeof WantedImport.Type

/** Of what an import says about its image: a user's waiting ones are all kept. */
const METADATA_BYTES = 128 * 1024

export interface Ordered {
  readonly order: PullOrder
  /** Of the user, for the registry. */
  readonly credentials: Credentials | undefined
}

/** Whether a site has a login of its own for a registry: of its configuration, or of `docker login`. */
export type HasLogin = (host: string) => Effect.Effect<boolean>

/** The order of what somebody wants. Fails when he may not ask for it, or when it is nothing that can be pulled over the network. */
export const make = (site: Site.Site, hasLogin: HasLogin, identity: Identity, wanted: Wanted): Effect.Effect<Ordered, GatewayError> =>
  Effect.gen(function* () {
    yield* checked(Wanted, wanted)
    const system = yield* Site.system(site, wanted.system)
    yield* mayPull(identity, system)
    const ref = yield* ImageRef.parse(wanted.reference, site.defaultImageType)
    const { canonical, host, login } = yield* placeOf(ref, site)
    const platform = Platform.format(wanted.platform === undefined ? Platform.host() : yield* Platform.parse(wanted.platform))
    const credentials = login === undefined ? undefined : (identity.credentials.get(login) ?? identity.credentials.get("default"))
    const lists = wanted.allowUids === undefined && wanted.allowGids === undefined ? null : [sorted(wanted.allowUids), sorted(wanted.allowGids)]
    // Whatever a login may decide is given to one user, and says nothing of what another one would be given.
    // So is an image of a tree that was imported: who may use it is seen when it is pulled.
    const isForOne = credentials !== undefined || lists !== null || login === undefined || site.dockerDaemon.pulls.has(login) || (yield* siteHasLogin(site, hasLogin, login))
    const verify = wanted.verify ?? false
    return {
      credentials,
      order: {
        system: system.name,
        reference: canonical,
        platform,
        requester: identity.requester,
        allowUids: wanted.allowUids,
        allowGids: wanted.allowGids,
        verify,
        registry: host,
        key: keyOf([system.name, canonical, platform, verify, isForOne ? [identity.requester.uid, credentials !== undefined, lists] : null]),
        hasCredentials: credentials !== undefined
      }
    }
  }).pipe(Effect.mapError(asGatewayError))

/** The order of an import: its user's alone. Fails when he may not import. */
export const ofImport = (site: Site.Site, identity: Identity, wanted: WantedImport): Effect.Effect<PullOrder, GatewayError> =>
  Effect.gen(function* () {
    const { metadata, partition, source } = yield* checked(WantedImport, wanted)
    const system = yield* Site.system(site, wanted.system)
    yield* mayPull(identity, system)
    const { requester } = identity
    yield* ImportSettings.permitted(site.import, requester.uid)
    // Which types can be imported is for their sources to say.
    const ref = yield* ImageRef.parse(wanted.reference, site.defaultImageType)
    if (ref.type === "id" || ref.canonical === null) {
      return yield* new GatewayError(errorFields("REFERENCE_INVALID", `An import can't be named ${printable(`${ref.type}:${ref.reference}`)}`, { remedy: "Name it custom:NAME[:TAG]." }))
    }
    const bytes = Buffer.byteLength(JSON.stringify(metadata ?? {}))
    if (bytes > METADATA_BYTES) {
      return yield* new GatewayError(errorFields("LIMIT_EXCEEDED", `What the import says about running the image has ${bytes} bytes, more than ${METADATA_BYTES}`, { remedy: "Say less, or import it on the gateway's machine." }))
    }
    const platform = Platform.format(wanted.platform === undefined ? Platform.host() : yield* Platform.parse(wanted.platform))
    const lists = [wanted.allowUids, wanted.allowGids].map(sorted)
    return {
      system: system.name,
      reference: ref.canonical,
      platform,
      requester,
      allowUids: wanted.allowUids,
      allowGids: wanted.allowGids,
      verify: false,
      registry: "",
      key: keyOf(["import", system.name, ref.canonical, platform, requester.uid, source, partition ?? null, metadata ?? null, lists]),
      hasCredentials: false,
      import: { source, partition, metadata }
    }
  }).pipe(Effect.mapError(asGatewayError))

const asGatewayError = (error: ShifterError): GatewayError => (error._tag === "GatewayError" ? error : new GatewayError(carried(error)))

const mayPull = ({ label, scopes, systems }: Identity, system: Site.System): Either.Either<void, GatewayError> => {
  const denied = (why: string) => Either.left(new GatewayError(errorFields("ACCESS_DENIED", why)))
  if (!systems.includes(system.name)) return denied(`What you authenticated with (${printable(label)}) is not good for ${system.name}`)
  if (!scopes.includes("pull") && !scopes.includes("manage")) return denied(`What you authenticated with (${printable(label)}) is not good for pulling`)
  return Either.right(undefined)
}

/** A registry, with what its login is known by; or the site's own trees, which all of its users may have converted or none. */
interface Place {
  readonly canonical: string
  /** Pulls of one user wait for one another here. */
  readonly host: string
  readonly login: string | undefined
}

const placeOf = (ref: ImageRef.ImageRef, site: Site.Site): Effect.Effect<Place, GatewayError | FormatError> => {
  const { canonical } = ref
  if (canonical === null) return refused(ref)
  if (ref.type === "chos" && site.chos.users === "all") return Effect.succeed({ canonical, host: TREES, login: undefined })
  return ref.type === "docker" ? Effect.map(ImageRef.dockerName(ref), ({ host }) => ({ canonical, host, login: host })) : refused(ref)
}

/** No name of a registry. */
const TREES = "chos:"

/** Files and the daemon of the gateway's machine are nobody's to read from afar, an administrator's neither. */
const refused = (ref: ImageRef.ImageRef) => {
  const remedy =
    ref.type === "custom" || ref.type === "vm"
      ? "Import it."
      : ref.type === "id"
        ? "Look it up: it is there, or it is not."
        : "Push it to a registry, import it, or let the gateway's administrator pull it on its machine."
  return new GatewayError(errorFields("SOURCE_UNSUPPORTED", `An image of type "${ref.type}" can't be pulled through a gateway service`, { remedy }))
}

/** A mirror is told the site's logins too. */
const siteHasLogin = (site: Site.Site, hasLogin: HasLogin, host: string): Effect.Effect<boolean, GatewayError> =>
  Effect.flatMap(
    Effect.try({
      try: () => site.registry(host).mirrors,
      catch: (error) => new GatewayError(isShifterError(error) ? carried(error) : errorFields("CONFIG_INVALID", `The settings of ${host} can't be used: ${messageOf(error)}`))
    }),
    (mirrors) => Effect.exists([host, ...mirrors], hasLogin)
  )

const sorted = (ids: ReadonlyArray<number> | undefined): ReadonlyArray<number> | null => (ids === undefined ? null : [...new Set(ids)].sort((a, b) => a - b))

/** Of one length, whatever it is of. */
const keyOf = (parts: ReadonlyArray<unknown>): string => createHash("sha256").update(JSON.stringify(parts)).digest("hex")
