/**
 * The scrub: published images are read again and compared with their records. A damaged one stays, since jobs may be using it, is told, and is
 * converted anew by the next pull of it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Audit } from "./Audit.js"
import { ImageIndex } from "./ImageIndex.js"
import { type IndexedOptions, reconcile } from "./Indexed.js"
import type * as Site from "./Site.js"
import { Transport } from "./Transport.js"

/** What a scrub found on one system. */
export interface Scrubbed {
  readonly system: string
  /** Images that were read. */
  readonly read: number
  readonly damaged: ReadonlyArray<{ readonly id: string; readonly names: ReadonlyArray<string>; readonly what: string }>
}

/** Reads at most `limit` images that were not read for so many milliseconds, one after the other, the longest ago first. */
export const scrub = (system: Site.System, { limit, olderThan }: { readonly olderThan: number; readonly limit: number }, options: IndexedOptions) =>
  Effect.gen(function* () {
    const index = yield* ImageIndex
    const audit = yield* Audit
    const damaged: Array<Scrubbed["damaged"][number]> = []
    let read = 0
    for (const id of yield* index.unread(system.name, olderThan, limit)) {
      const what = yield* wrongWith(system, id, options)
      if (what === "gone") continue
      read++
      const before = yield* index.get(system.name, id)
      yield* index.scrubbed(system.name, id, what)
      if (what === undefined) continue
      damaged.push({ id, names: before?.names ?? [], what })
      if (before?.damage === what) continue
      yield* audit.write({ action: "scrub", uid: undefined, by: "service", system: system.name, reference: before?.names[0], imageId: id, digest: undefined, why: what })
      yield* Effect.logWarning(`The image ${id} on ${system.name} is damaged: ${what}`)
    }
    return { system: system.name, read, damaged } satisfies Scrubbed
  })

/** What is wrong with an image; undefined: nothing. One that was removed meanwhile is no fault. */
const wrongWith = (system: Site.System, id: string, options: IndexedOptions) =>
  Effect.gen(function* () {
    const transport = yield* Transport
    const record = yield* transport.record(system, id).pipe(Effect.catchIf((error) => error.code === "RECORD_INVALID", (error) => Effect.succeed(error)))
    if (record === undefined) {
      yield* reconcile(system, options)
      return (yield* (yield* ImageIndex).get(system.name, id)) === undefined ? "gone" : "its file is missing or has another size"
    }
    if ("_tag" in record) return record.message
    return (yield* transport.isSound(system, record)) ? undefined : "its bytes are not those of its record"
  })
