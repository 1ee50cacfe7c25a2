/**
 * The collection: what has expired loses its names, what no name points to for the retention time goes, and so does whatever ended pulls have
 * left. Marked from the index and swept from the image path, one image after the other, so that a pull may run beside it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { Audit, type AuditAction } from "./Audit.js"
import { Catalog } from "./Catalog.js"
import { ImageIndex } from "./ImageIndex.js"
import { type IndexedOptions, reconcile } from "./Indexed.js"
import { reap, scratchLeft } from "./Pull.js"
import type * as Site from "./Site.js"
import { Transport } from "./Transport.js"

export interface CollectOptions {
  /** Tells what would be done, and does nothing. */
  readonly dryRun?: boolean | undefined
}

/** What a collection did, or would do, on one system. */
export interface Collected {
  readonly system: string
  /** Images that have expired, with the names that they lost. */
  readonly expired: ReadonlyArray<{ readonly id: string; readonly names: ReadonlyArray<string> }>
  /** Images that are gone: no name pointed to them for the retention time. */
  readonly removed: ReadonlyArray<{ readonly id: string; readonly bytes: number }>
  /** Files on the image path that no pull that runs has left. */
  readonly staged: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
  /** Directories of the state directory in which pulls worked that are gone. */
  readonly scratch: number
  /** What could not be done, and why; the next collection tries again. */
  readonly problems: ReadonlyArray<string>
}

/** How long something is left alone that no pull of this catalogue owns: it may be another catalogue's. */
const FOREIGN_MILLIS = 24 * 3600 * 1000

/** Collects on one system. A person who pins, names or pulls an image meanwhile keeps it. */
export const collect = (site: Site.Site, system: Site.System, { dryRun = false }: CollectOptions, options: IndexedOptions) =>
  Effect.gen(function* () {
    const index = yield* ImageIndex
    const transport = yield* Transport
    const audit = yield* Audit
    const catalog = yield* Catalog
    const problems: Array<string> = []
    const told = (action: AuditAction, id: string, reference: string | undefined, why: string) =>
      audit.write({ action, uid: undefined, by: "service", system: system.name, reference, imageId: id, digest: undefined, why })
    /** One image's trouble is not another's. */
    const each = <A>(ids: ReadonlyArray<string>, f: (id: string) => Effect.Effect<A | undefined, { readonly message: string }>) =>
      Effect.forEach(ids, (id) =>
        f(id).pipe(
          Effect.catchAll((error) => {
            problems.push(`${id}: ${error.message}`)
            return Effect.succeed(undefined)
          })
        )
      ).pipe(Effect.map((found) => found.filter((one) => one !== undefined)))

    const scratch = yield* scratchLeft(site)
    if (!dryRun) yield* reap(site)
    yield* reconcile(system, options)

    const expired = yield* each(yield* index.expired(system.name), (id) =>
      Effect.gen(function* () {
        // Asked again, since somebody may just have used or pinned it.
        const now = yield* index.get(system.name, id)
        if (now?.expires === undefined || now.expires > (yield* index.now) || now.pins.length > 0) return undefined
        if (dryRun) return { id, names: now.names }
        const lost: Array<string> = []
        for (const name of now.names) {
          // One that has moved to a newer image is that one's.
          if ((yield* transport.lookup(system, name)) !== id) continue
          yield* transport.unname(system, name)
          yield* told("expire", id, name, "not used for its lifetime")
          lost.push(name)
        }
        return { id, names: lost }
      })
    )

    const forgotten = yield* index.forgotten(system.name, site.lifetime.retentionSeconds * 1000)
    // What would have lost its names just now is forgotten at once where nothing is retained.
    const alsoForgotten = dryRun && site.lifetime.retentionSeconds === 0 ? expired.map(({ id }) => id) : []
    const removed = yield* each([...forgotten, ...alsoForgotten], (id) =>
      Effect.scoped(
        Effect.gen(function* () {
          const bytes = (yield* index.get(system.name, id))?.record.imageSize ?? 0
          if (dryRun) return { id, bytes }
          // Claimed, so that no pull converts, changes or names it.
          const row = yield* Effect.acquireRelease(catalog.begin({ system: system.name, reference: `id:${id}`, requester: 0 }), (begun) =>
            Effect.ignore(catalog.end(begun, { _tag: "Done" }))
          )
          if ((yield* catalog.claim(row, id))._tag === "Theirs") return undefined
          if (!(yield* catalog.enter(row, "publish"))) return undefined
          // From the index first, where nobody has named or pinned it meanwhile, so that nobody pins it from now on. A process that dies here
          // leaves an image that the next comparison finds.
          if (!(yield* index.forget(system.name, id))) return undefined
          yield* transport.remove(system, id)
          yield* told("collect", id, undefined, "no name pointed to it for the retention time")
          return { id, bytes }
        })
      )
    )

    const running = new Set(yield* catalog.running)
    const left = (yield* transport.staged(system)).filter((file) => !running.has(file.token) && Date.now() - file.modified > FOREIGN_MILLIS)
    if (!dryRun) yield* Effect.forEach([...new Set(left.map(({ token }) => token))], (token) => transport.discard(system, token), { discard: true })
    return { system: system.name, expired, removed, staged: left.map(({ bytes, name }) => ({ name, bytes })), scratch: scratch.length, problems } satisfies Collected
  })
