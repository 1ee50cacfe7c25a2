/**
 * Images as the dialect tells of them: one of a reference, or all of a system.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Audit, type AuditAction } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { Gateway } from "../../core/Gateway.js"
import { ImageIndex, type IndexedImage } from "../../core/ImageIndex.js"
import type { ImageRecord } from "../../core/ImageRecord.js"
import type { ImageRef } from "../../core/ImageRef.js"
import type * as Site from "../../core/Site.js"
import { type Caller, mayRead, reader } from "./caller.js"
import { ofImage, write } from "./record.js"

/** A published image that the caller may read. */
export interface Found {
  readonly record: ImageRecord
  /** What the index knows beyond the record; undefined where it has not seen the image yet. */
  readonly indexed: IndexedImage | undefined
  readonly names: ReadonlyArray<string>
  readonly why: string
}

const text = (ref: ImageRef): string => ref.canonical ?? `${ref.type}:${ref.reference}`
const missing = new GatewayError(errorFields("IMAGE_NOT_FOUND", "There is no such image"))

/** The image of a reference: the image path says which, the index what else is known. Fails with `IMAGE_NOT_FOUND`, also for one that is not his. */
export const find = (caller: Caller, ref: ImageRef) =>
  Effect.gen(function* () {
    const gateway = yield* Gateway
    const where = { system: caller.system.name, requester: reader(caller) }
    const id = yield* gateway.lookup(text(ref), where)
    // Jobs find their images while a database is away.
    const indexed = yield* (yield* ImageIndex).get(where.system, id).pipe(Effect.catchAll((error) => Effect.as(Effect.logWarning(error.message), undefined)))
    const { names, record } = indexed ?? (yield* gateway.inspect(`id:${id}`, where))
    const why = mayRead(caller, record)
    if (why === undefined) return yield* missing
    // The index may be a moment behind the name that was just looked up.
    const all = ref.type === "id" || ref.canonical === null || names.includes(ref.canonical) ? names : [...names, ref.canonical]
    return { record, indexed, names: all, why } satisfies Found
  })

/** The record of an image by the names of the type that was asked for. */
export const shown = (site: Site.Site, { system }: Caller, ref: ImageRef, { indexed, names, record }: Found, lastPull = indexed?.published): string => {
  const own = names.filter((name) => name.startsWith(`${ref.type}:`))
  const chosen = ref.type === "id" ? [...own, text(ref)] : own
  return write(ofImage(system.name, record, chosen, lastPull, site.dialect))
}

/** It was used: it lives on, and the audit log says who. An index or a log that fails takes no image from a job that waits for it. */
export const used = (site: Site.Site, caller: Caller, action: AuditAction, ref: ImageRef, { record, why }: Found) =>
  Effect.gen(function* () {
    const system = caller.system.name
    const { imageSeconds } = site.lifetime
    yield* (yield* ImageIndex).touch(system, record.id, imageSeconds === 0 ? undefined : imageSeconds * 1000)
    yield* (yield* Audit).write({
      action,
      uid: caller.identity?.requester.uid,
      by: caller.identity?.label ?? "nobody",
      system,
      reference: text(ref),
      imageId: record.id,
      digest: record.manifestDigest ?? record.sourceDigest,
      why
    })
  }).pipe(Effect.catchAll((error) => Effect.logWarning(error.message)))

/** The record of an image that is there. */
export const lookup = (site: Site.Site, caller: Caller, ref: ImageRef) =>
  Effect.gen(function* () {
    const found = yield* find(caller, ref)
    yield* used(site, caller, "lookup", ref, found)
    return shown(site, caller, ref, found)
  })

const PAGE = 500

/** All images that the caller may read and that have a name, each once for each type of its names. */
export const list = (site: Site.Site, caller: Caller) =>
  Effect.gen(function* () {
    const index = yield* ImageIndex
    const system = caller.system.name
    const seen = new Set<string>()
    const records: Array<string> = []
    let after: string | undefined
    do {
      const page = yield* index.page({ system, requester: reader(caller), after, limit: PAGE })
      for (const { image, name } of page.rows) {
        const type = name.slice(0, name.indexOf(":") + 1)
        const once = `${type}${image.record.id}`
        if (seen.has(once) || mayRead(caller, image.record) === undefined) continue
        seen.add(once)
        const names = image.names.filter((each) => each.startsWith(type))
        records.push(write(ofImage(system, image.record, names, image.published, site.dialect)))
      }
      after = page.next
    } while (after !== undefined)
    return `{"list":[${records.join(",")}]}`
  })
