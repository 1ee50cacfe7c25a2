/**
 * A pull that is asked for, once or again and again: the reference's command line asks each half second until it has ended.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { errorFields, GatewayError } from "../../core/Errors.js"
import type { Access } from "../../core/ImageRecord.js"
import * as Platform from "../../core/Platform.js"
import { ImageIndex } from "../../core/ImageIndex.js"
import type { ImageRef } from "../../core/ImageRef.js"
import { PullQueue, type QueuedPull } from "../../core/PullQueue.js"
import { type Dialect, registryHost } from "../../core/ServiceConfig.js"
import type * as Site from "../../core/Site.js"
import type { Identity } from "../Identity.js"
import { Pulls, type Wanted } from "../Pulls.js"
import type { Caller } from "./caller.js"
import * as Ids from "./ids.js"
import type { Found, Images } from "./images.js"
import { isPullable } from "./pullable.js"
import { ofPull, write } from "./record.js"

/** What a pull may say of who is to use the image. A mistyped key would else make the image everybody's. */
export const Lists = Schema.Struct({ allowed_uids: Schema.optional(Schema.NullOr(Schema.String)), allowed_gids: Schema.optional(Schema.NullOr(Schema.String)) }).annotations({
  parseOptions: { onExcessProperty: "error" }
})

/** Who may use the image; undefined: nothing was said. */
export interface Allowed {
  readonly allowUids: ReadonlyArray<number> | undefined
  readonly allowGids: ReadonlyArray<number> | undefined
}

/** The lists of a request. As the reference does, a list that names anyone names the caller, or his group, too. */
export const allowed = ({ requester }: Identity, lists: typeof Lists.Type) =>
  Effect.gen(function* () {
    const ids = (key: string, text: string | null | undefined, own: number | undefined) =>
      text === undefined || text === null
        ? Effect.succeed(undefined)
        : Effect.map(Ids.parse(key, text), (listed) => (listed.length === 0 || own === undefined || listed.includes(own) ? listed : [...listed, own]))
    return {
      allowUids: yield* ids("allowed_uids", lists.allowed_uids, requester.uid),
      allowGids: yield* ids("allowed_gids", lists.allowed_gids, requester.gids?.[0])
    } satisfies Allowed
  })

/** Credentials that are named by one of the site's locations are its registry's. */
export const located = (identity: Identity, { locations }: Dialect): Identity => {
  const hostOf = (name: string) => (Object.hasOwn(locations, name) ? locations[name] : undefined) ?? registryHost(name)
  return { ...identity, credentials: new Map([...identity.credentials].map(([name, each]) => [hostOf(name), each])) }
}

const isSubset = (few: ReadonlyArray<number>, many: ReadonlyArray<number>) => few.every((id) => many.includes(id))
const isSame = (a: ReadonlyArray<number> | undefined, b: ReadonlyArray<number> | undefined) =>
  (a === undefined) === (b === undefined) && isSubset(a ?? [], b ?? []) && isSubset(b ?? [], a ?? [])

/** Whether everyone who is named may use an image already. A pull takes nothing away from anyone. */
export const covers = (image: Access, { allowGids, allowUids }: Allowed): boolean =>
  image.access === "public" || (isSubset(allowUids ?? [], [image.owner, ...image.allowUids]) && isSubset(allowGids ?? [], image.allowGids))

/** A failure that is over with another request, so that it is told while one that was asked for before is waited for, and then no more. */
const MENDED_MILLIS = 5000
const mendable: ReadonlyArray<string> = ["REGISTRY_UNAUTHORIZED", "ACCESS_DENIED", "SOURCE_UNSUPPORTED", "CANCELLED"]

/** How long a failure is told instead of another try. */
const failureMillis = (pull: QueuedPull, updateMillis: number): number => {
  const code = pull.outcome?._tag === "Failed" ? pull.outcome.code : "CANCELLED"
  // Its process is gone; whoever asks again brings what it had.
  if (code === "CREDENTIALS_GONE") return 0
  return mendable.includes(code) ? Math.min(MENDED_MILLIS, updateMillis) : updateMillis
}

const LATEST = 20
/** What was pulled just now is not pulled again, whatever a site wants: whoever waits for it must be told that it is there. */
const RECENT_MILLIS = 10_000

/** Asks for a pull, or tells how it stands: the text of a record. */
export const pull = (site: Site.Site, images: Images, caller: Caller, identity: Identity, ref: ImageRef, lists: Allowed) =>
  Effect.gen(function* () {
    const system = caller.system.name
    const canonical = ref.canonical
    // Whatever else is looked for would be told of as if it could be pulled.
    if (canonical === null || ref.type !== "docker") {
      return yield* new GatewayError(errorFields("SOURCE_UNSUPPORTED", `An image of type "${ref.type}" can't be pulled so`, { remedy: "Pull an image of a registry; files are imported." }))
    }
    const queue = yield* PullQueue
    const platform = Platform.format(Platform.host())
    const own = (yield* queue.list({ system, asker: identity.requester.uid, reference: canonical, limit: LATEST })).filter(
      ({ order }) => order.platform === platform && isSame(order.allowUids, lists.allowUids) && isSame(order.allowGids, lists.allowGids)
    )
    const now = yield* (yield* ImageIndex).now
    const updateMillis = Math.max(site.pulls.updateSeconds * 1000, RECENT_MILLIS)
    const active = own.find(({ state }) => state === "waiting" || state === "running")
    if (active !== undefined) {
      const standing = ofPull(active, site.dialect, false)
      if (!isPullable({ ...standing, heartbeat: active.state === "running" ? active.changed : undefined }, now, updateMillis)) return write(standing)
    }

    const image = yield* images.find(caller, ref).pipe(Effect.catchIf((error) => error.code === "IMAGE_NOT_FOUND", () => Effect.succeed(undefined)))
    const [last] = [...own].sort((a, b) => b.changed - a.changed)
    if (last !== undefined && (last.state === "failed" || last.state === "cancelled") && !isPullable({ status: "FAILURE", lastPull: last.changed }, now, failureMillis(last, updateMillis))) {
      return write({ ...ofPull(last, site.dialect, false), lastPull: last.changed })
    }
    if (image !== undefined) {
      const lastPull = yield* looked(system, canonical, image)
      // What this caller's own pull did is all that another one would do.
      const isSettled = (last?.state === "done" && now <= last.changed + updateMillis) || covers(image.record, lists)
      if (isSettled && !isPullable({ status: "READY", lastPull }, now, updateMillis)) {
        yield* images.used(caller, "pull", ref, image)
        return images.shown(caller, ref, image, lastPull)
      }
    }
    const wanted: Wanted = { system, reference: canonical, allowUids: lists.allowUids, allowGids: lists.allowGids }
    return write(ofPull(yield* (yield* Pulls).submit(located(identity, site.dialect), wanted), site.dialect, true))
  })

/** When the registry was asked last what a reference names, whoever wanted to know. */
const looked = (system: string, canonical: string, { indexed, record }: Found) =>
  Effect.gen(function* () {
    const [last] = yield* (yield* PullQueue).list({ system, reference: canonical, states: ["done"], limit: 1 })
    return last?.outcome?._tag === "Done" && last.outcome.imageId === record.id ? last.changed : indexed?.published
  })
