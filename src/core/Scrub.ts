/**
 * The scrub: published images are read again and compared with their records. A damaged one stays, since jobs may be using it, is told, and is
 * converted anew by the next pull of it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Audit } from "./Audit.js"
import { ImageIndex } from "./ImageIndex.js"
import type { IndexedOptions } from "./Indexed.js"
import type * as Site from "./Site.js"
import { Transport } from "./Transport.js"

/** What a scrub found on one system. */
export interface Scrubbed {
  readonly system: string
  /** Images that were read. */
  readonly read: number
  /** Images that are not what their records say, and those that names point to and that are not there. */
  readonly damaged: ReadonlyArray<{ readonly id: string; readonly names: ReadonlyArray<string>; readonly what: string }>
}

type Damage = Scrubbed["damaged"][number]

/** Reads at most `limit` images that were not read for so many milliseconds, one after the other, the longest ago first. */
export const scrub = (system: Site.System, { limit, olderThan }: { readonly olderThan: number; readonly limit: number }, options: IndexedOptions) =>
  Effect.gen(function* () {
    const index = yield* ImageIndex
    const damaged: Array<Damage> = [...(yield* missing(system, options))]
    let read = 0
    for (const id of yield* index.unread(system.name, olderThan, limit)) {
      const what = yield* wrongWith(system, id)
      const before = yield* index.get(system.name, id)
      // Removed meanwhile.
      if (what === "gone" || before === undefined) continue
      read++
      yield* index.scrubbed(system.name, id, what)
      if (what === undefined) continue
      const damage: Damage = { id, names: before.names, what }
      damaged.push(damage)
      if (before.damage !== what) yield* told(system, damage)
    }
    return { system: system.name, read, damaged } satisfies Scrubbed
  })

/** Compares the index with the image path; returns what names point to that is not there. */
const missing = (system: Site.System, { expiresIn }: IndexedOptions) =>
  Effect.gen(function* () {
    const index = yield* ImageIndex
    const transport = yield* Transport
    const began = yield* index.now
    const { names, records } = yield* transport.list(system)
    const there = new Set(records.map(({ id }) => id))
    const lost: Array<Damage> = []
    for (const id of new Set(names.filter((name) => !there.has(name.id)).map((name) => name.id))) {
      const record = yield* recordOf(system, id)
      // Published while the path was listed.
      if (record !== undefined && !("_tag" in record)) continue
      const what = record === undefined ? "its file or record is missing, or the file has another size" : record.message
      const damage: Damage = { id, names: names.filter((name) => name.id === id).map(({ reference }) => reference), what }
      lost.push(damage)
      // Once: from now on the index does not know it.
      if ((yield* index.get(system.name, id)) !== undefined) yield* told(system, damage)
    }
    yield* index.reconcile(system.name, { records, names, began }, expiresIn)
    return lost
  })

/** A record; or what is wrong with it. */
const recordOf = (system: Site.System, id: string) =>
  Effect.flatMap(Transport, (transport) => transport.record(system, id)).pipe(
    Effect.catchIf((error) => error.code === "RECORD_INVALID", (error) => Effect.succeed(error))
  )

/** What is wrong with an image; undefined: nothing. */
const wrongWith = (system: Site.System, id: string) =>
  Effect.gen(function* () {
    const record = yield* recordOf(system, id)
    if (record === undefined) return "gone"
    if ("_tag" in record) return record.message
    return (yield* (yield* Transport).isSound(system, record)) ? undefined : "its bytes are not those of its record"
  })

const told = (system: Site.System, { id, names, what }: Damage) =>
  Effect.gen(function* () {
    yield* (yield* Audit).write({ action: "scrub", uid: undefined, by: "service", system: system.name, reference: names[0], imageId: id, digest: undefined, why: what })
    yield* Effect.logWarning(`The image ${id} on ${system.name} is damaged: ${what}`)
  })
