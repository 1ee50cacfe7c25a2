/**
 * A transport that keeps the index of images as it changes the image path. The path is the truth: an index that fails is logged and mended by
 * the next {@link reconcile}, and nobody's publishing fails or waits for it.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { carried, type CatalogError, messageOf, TransportError } from "./Errors.js"
import { ImageIndex, type Reconciled } from "./ImageIndex.js"
import type { Access, ImageRecord } from "./ImageRecord.js"
import type { Site, System } from "./Site.js"
import { Transport } from "./Transport.js"

/** The longest that somebody waits for the index. */
const PATIENCE = Duration.seconds(5)

export interface IndexedOptions {
  /** Milliseconds after which an image expires that is published now, unless it is used meanwhile; never without it. */
  readonly expiresIn?: number | undefined
}

/** When an image of a site expires that is published or used now. */
export const expiryOf = ({ lifetime: { imageSeconds } }: Pick<Site, "lifetime">): IndexedOptions => ({ expiresIn: imageSeconds === 0 ? undefined : imageSeconds * 1000 })

/** Does what a transport does, and tells the index of what succeeded. */
export const indexed = (transport: typeof Transport.Service, index: typeof ImageIndex.Service, options: IndexedOptions = {}): typeof Transport.Service => {
  const kept = (what: string, work: Effect.Effect<void, CatalogError>) =>
    work.pipe(
      // A statement of a local file takes no interruption; whoever waits goes on all the same.
      Effect.disconnect,
      Effect.timeout(PATIENCE),
      Effect.catchAllCause((cause) => Effect.logWarning(`The index of images does not know that ${what}; the next reconciliation mends it: ${messageOf(Cause.squash(cause))}`)),
      // What is published is published: the index is told of it also where the pull is cancelled now.
      Effect.uninterruptible
    )
  return Transport.of({
    ...transport,
    publish: (system, staging, record, fence) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(
          restore(transport.publish(system, staging, record, fence)),
          kept(
            `${record.id} was published for ${system.name}`,
            index.put(system.name, record).pipe(
              Effect.zipRight(index.name(system.name, { reference: record.reference, id: record.id })),
              Effect.zipRight(index.touch(system.name, record.id, options.expiresIn)),
              // What is published was read back.
              Effect.zipRight(index.scrubbed(system.name, record.id, undefined))
            )
          )
        )
      ),
    name: (system, name, token) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(
          restore(transport.name(system, name, token)),
          kept(
            `${name.reference} points to ${name.id} on ${system.name}`,
            Effect.zipRight(index.name(system.name, name), index.touch(system.name, name.id, options.expiresIn))
          )
        )
      ),
    setAccess: (system, id, token, change) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          // Whoever calls has claimed it: what it says now is what will be changed.
          const published = yield* restore(transport.record(system, id))
          const isNarrowed = published !== undefined && !isWithin(published, change(published))
          // Told of while the index is there: nothing that is taken away from somebody is shown to him, whatever becomes of the index then.
          if (isNarrowed) yield* restore(Effect.mapError(index.conceal(system.name, id), (error) => new TransportError(carried(error))))
          const told = (record: ImageRecord) => kept(`the access to ${id} on ${system.name} changed`, index.put(system.name, record))
          return yield* restore(transport.setAccess(system, id, token, change)).pipe(
            Effect.tap(told),
            Effect.onError(() => (isNarrowed ? Effect.ignore(Effect.flatMap(transport.record(system, id), (record) => (record === undefined ? Effect.void : told(record)))) : Effect.void))
          )
        })
      ),
    unname: (system, canonical) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.tap(restore(transport.unname(system, canonical)), () => kept(`${canonical} was removed from ${system.name}`, index.unname(system.name, canonical)))
      ),
    remove: (system, id) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.tap(restore(transport.remove(system, id)), () => kept(`${id} was removed from ${system.name}`, index.remove(system.name, id)))
      )
  })
}

/** Whether everyone who may use an image still may. */
const isWithin = (before: Access, after: Access): boolean =>
  after.access === "public" ||
  (before.access === "private" &&
    [before.owner, ...before.allowUids].every((uid) => uid === after.owner || after.allowUids.includes(uid)) &&
    before.allowGids.every((gid) => after.allowGids.includes(gid)))

/** Makes the index of a system what its image path is. */
export const reconcile = (system: System, options: IndexedOptions = {}): Effect.Effect<Reconciled, CatalogError | TransportError, ImageIndex | Transport> =>
  Effect.gen(function* () {
    const index = yield* ImageIndex
    const transport = yield* Transport
    const began = yield* index.now
    const { names, records } = yield* transport.list(system)
    return yield* index.reconcile(system.name, { records, names, began }, options.expiresIn)
  })
