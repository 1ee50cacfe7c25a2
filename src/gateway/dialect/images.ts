/**
 * Images as the dialect tells of them: one of a reference, or all of a system.
 *
 * @module
 */
import * as Cache from "effect/Cache"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { Audit, type AuditAction, type AuditEntry } from "../../core/Audit.js"
import { Gateway } from "../../core/Gateway.js"
import { ImageIndex, type IndexedImage } from "../../core/ImageIndex.js"
import { expiryOf } from "../../core/Indexed.js"
import type { ImageRecord, Requester } from "../../core/ImageRecord.js"
import type { ImageRef } from "../../core/ImageRef.js"
import type * as Site from "../../core/Site.js"
import { mayDoWith, noImage } from "../Policy.js"
import type { Caller } from "./caller.js"
import { LISTED, ofImage, write } from "./record.js"

/** A published image that the caller may read. */
export interface Found {
  readonly record: ImageRecord
  /** What the index knows beyond the record; undefined where it has not seen the image yet, or can't be asked. */
  readonly indexed: IndexedImage | undefined
  readonly names: ReadonlyArray<string>
  readonly why: string
}

/** A reference in the form that names its image. */
export const text = (ref: ImageRef): string => ref.canonical ?? `${ref.type}:${ref.reference}`

/** Nobody has this uid: public images alone are found for it. */
const STRANGER: Requester = { uid: -1, gids: [] }
const PAGE = 500
/** A job's ranks look up the same image, all of them: what was noted within a minute is not noted again. */
const NOTED = 10_000

export const make = (site: Site.Site) =>
  Effect.gen(function* () {
    const gateway = yield* Gateway
    const index = yield* ImageIndex
    const audit = yield* Audit
    const lifetime = expiryOf(site).expiresIn

    const noted = yield* Cache.make({
      capacity: NOTED,
      timeToLive: "1 minute",
      // An index or a log that fails takes no image from a job that waits for it.
      lookup: (entry: AuditEntry) =>
        Effect.zipRight(
          entry.system === undefined || entry.imageId === undefined ? Effect.void : index.touch(entry.system, entry.imageId, lifetime),
          audit.write(entry)
        ).pipe(Effect.catchAll((error) => Effect.logWarning(error.message)))
    })

    /** The image of a reference: the image path says which, the index what else is known. Fails with `IMAGE_NOT_FOUND`, also for one that is not his. */
    const find = ({ admin, identity, system }: Caller, ref: ImageRef) =>
      Effect.gen(function* () {
        const reference = text(ref)
        const record = yield* gateway.record(reference, { system: system.name, requester: admin ? undefined : identity?.requester })
        const decision = mayDoWith(identity, "read", system, record)
        if (decision._tag !== "Allowed") return yield* noImage(reference, system.name)
        const indexed = yield* Effect.orElseSucceed(index.get(system.name, record.id), () => undefined)
        const { names } = indexed ?? (yield* gateway.inspect(`id:${record.id}`, { system: system.name }))
        // The index may be a moment behind the name that was just looked up.
        const all = ref.type === "id" || names.includes(reference) ? names : [...names, reference].sort()
        return { record, indexed, names: all, why: decision.why } satisfies Found
      })

    /** The record of an image by its names of the type that was asked for. */
    const shown = ({ system }: Caller, ref: ImageRef, { indexed, names, record }: Found, lastPull = indexed?.published): string => {
      const own = ref.type === "id" ? [text(ref)] : names.filter((name) => name.startsWith(`${ref.type}:`))
      return write(ofImage(system.name, record, own, lastPull, site.dialect))
    }

    /** It was used: it lives on, and the audit log says by whom. */
    const used = ({ identity, system }: Caller, action: AuditAction, ref: ImageRef, { record, why }: Found) =>
      noted.get(
        Data.struct({
          action,
          uid: identity?.requester.uid,
          by: identity?.label ?? "nobody",
          system: system.name,
          reference: text(ref),
          imageId: record.id,
          digest: record.manifestDigest ?? record.sourceDigest,
          why
        })
      )

    return {
      find,
      shown,
      used,
      /** The record of an image that is there. */
      lookup: (caller: Caller, ref: ImageRef) =>
        Effect.gen(function* () {
          const found = yield* find(caller, ref)
          yield* used(caller, "lookup", ref, found)
          return shown(caller, ref, found)
        }),
      /** All images that the caller may read and that have a name, each once for each type of its names. */
      list: ({ admin, identity, system }: Caller) =>
        Effect.gen(function* () {
          const requester = identity === undefined ? STRANGER : admin ? undefined : identity.requester
          const seen = new Set<string>()
          const records: Array<string> = []
          let after: string | undefined
          do {
            const page = yield* index.page({ system: system.name, requester, after, limit: PAGE })
            for (const { image, name } of page.rows) {
              const type = name.slice(0, name.indexOf(":") + 1)
              const once = `${type}${image.record.id}`
              if (seen.has(once) || mayDoWith(identity, "read", system, image.record)._tag !== "Allowed") continue
              seen.add(once)
              const names = image.names.filter((each) => each.startsWith(type))
              records.push(write(ofImage(system.name, image.record, names, image.published, site.dialect), LISTED))
            }
            after = page.next
          } while (after !== undefined)
          return `{"list":[${records.join(",")}]}`
        })
    }
  })
export type Images = Effect.Effect.Success<ReturnType<typeof make>>
