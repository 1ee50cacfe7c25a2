/**
 * What administrators ask: expiry, the queue, and who looked what up.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Audit } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { Gateway } from "../../core/Gateway.js"
import { ImageIndex } from "../../core/ImageIndex.js"
import type { ImageRef } from "../../core/ImageRef.js"
import type * as Site from "../../core/Site.js"
import type { Identity } from "../Identity.js"
import { Pulls } from "../Pulls.js"
import type { Caller } from "./caller.js"
import { seconds, statusOf } from "./record.js"
import { short } from "./target.js"

const log = (caller: Caller, identity: Identity, reference: string | undefined, imageId: string) =>
  Effect.flatMap(Audit, (audit) =>
    audit.write({ action: "expire", uid: identity.requester.uid, by: identity.label, system: caller.system.name, reference, imageId, digest: undefined, why: "administrator" })
  )

/** Takes all names of an image away that still point to it. Its file stays for the time that jobs may need it. */
const unname = (system: string, id: string, names: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const gateway = yield* Gateway
    for (const name of names) {
      yield* gateway.lookup(name, { system }).pipe(
        Effect.flatMap((now) => (now === id ? Effect.asVoid(gateway.remove(name, { system })) : Effect.void)),
        Effect.catchIf((error) => error.code === "IMAGE_NOT_FOUND", () => Effect.void)
      )
    }
  })

/** Expires an image: `false` for who is no administrator, whatever there is; `null` when there is no such image. */
export const expire = (caller: Caller, identity: Identity, ref: ImageRef) =>
  Effect.gen(function* () {
    if (!caller.admin) return false
    const system = caller.system.name
    const gateway = yield* Gateway
    const text = ref.canonical ?? `${ref.type}:${ref.reference}`
    const found = yield* gateway.inspect(text, { system }).pipe(Effect.catchIf((error) => error.code === "IMAGE_NOT_FOUND", () => Effect.succeed(undefined)))
    if (found === undefined || found.names.length === 0) return null
    yield* log(caller, identity, text, found.record.id)
    yield* unname(system, found.record.id, found.names)
    return true
  })

/** Expires what is due: the ids of these images, or `false` for who is no administrator. */
export const autoexpire = (caller: Caller, identity: Identity) =>
  Effect.gen(function* () {
    if (!caller.admin) return false
    const system = caller.system.name
    const index = yield* ImageIndex
    const ids = yield* index.expired(system)
    for (const id of ids) {
      const image = yield* index.get(system, id)
      yield* log(caller, identity, undefined, id)
      yield* unname(system, id, image?.names ?? [])
    }
    return ids
  })

const QUEUE = 1000

/** Pulls that wait, run or failed: the caller's own; everyone's for administrators. */
export const queue = (site: Site.Site, caller: Caller, identity: Identity) =>
  Effect.gen(function* () {
    const pulls = yield* (yield* Pulls).list(identity, { system: caller.system.name, all: caller.admin, limit: QUEUE })
    const since = (yield* (yield* ImageIndex).now) - site.pulls.updateSeconds * 1000
    return pulls
      .filter(({ changed, state }) => state === "waiting" || state === "running" || (state === "failed" && changed >= since))
      .map((pull) => ({ status: statusOf(pull, false), image: short(pull.order.reference, site.dialect).tag }))
  })

const LOOKUPS = 10
const MOST = 1000

/** How many rows a request wants. */
export const limitOf = (text: string | null): number | undefined => {
  if (text === null) return LOOKUPS
  return /^[0-9]{1,9}$/.test(text) ? Math.min(Number(text), MOST) : undefined
}

/** The latest lookups, the oldest first; none for who is no administrator. */
export const metrics = (site: Site.Site, caller: Caller, wanted: string | null) =>
  Effect.gen(function* () {
    const limit = limitOf(wanted)
    if (limit === undefined) return yield* new GatewayError(errorFields("USAGE", `"limit" is a number`, { remedy: "Write ?limit=10." }))
    if (!caller.admin || limit === 0) return "[]"
    const rows = yield* (yield* Audit).page({ system: caller.system.name, action: "lookup", limit })
    const written = [...rows].reverse().map(({ imageId, reference, system, time, uid }) => {
      const { tag, type } = reference === undefined ? { tag: null, type: null } : short(reference, site.dialect)
      return `${JSON.stringify({ uid: uid ?? null, system, type, tag, id: imageId }).slice(0, -1)},"time":${seconds(time)}}`
    })
    return `[${written.join(",")}]`
  })
