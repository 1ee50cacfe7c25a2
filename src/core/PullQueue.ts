/**
 * The service `PullQueue`: pulls that were asked of a gateway service, which outlive the process that was asked. Any replica takes one, holds
 * it by a lease, and another one takes it over when the lease runs out. Whoever asks for what is waiting or running already joins it.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { CatalogError } from "./Errors.js"
import type { ImageMetadata, Requester } from "./ImageRecord.js"
import type { ImportSource } from "./Import.js"
import type { Phase } from "./Progress.js"

/** What an import is ordered with beside what every pull is. */
export interface ImportOrder {
  readonly source: ImportSource
  readonly partition: string | undefined
  readonly metadata: Partial<ImageMetadata> | undefined
}

/** What is to be pulled, for whom. Credentials are never among it: they stay in the memory of the process that was given them. */
export interface PullOrder {
  readonly system: string
  /** Canonical. */
  readonly reference: string
  readonly platform: string | undefined
  readonly requester: Required<Requester>
  readonly allowUids: ReadonlyArray<number> | undefined
  readonly allowGids: ReadonlyArray<number> | undefined
  readonly verify: boolean
  /** Host of the registry; empty for other sources. */
  readonly registry: string
  /** Orders of one key are the same pull. It holds the uid, unless everyone would be given the same. */
  readonly key: string
  /** Whether the process that was asked has credentials for it, so that no other one can run it. */
  readonly hasCredentials: boolean
  /** A file is imported instead of an image pulled. */
  readonly import?: ImportOrder | undefined
}

/** Warnings of a pull that are kept: a tree has one for each kind of name that is not as it was. */
export const WARNINGS_MOST = 24

/** What is shown of a running pull; replaced as a whole, about once a second. */
export interface PullProgress {
  readonly phase: Phase
  readonly imageId: string | undefined
  /** Bytes of layers that are here, and of all; both 0 while unknown. */
  readonly received: number
  readonly bytes: number
  /** Layers that are here whole, and all. */
  readonly layersDone: number
  readonly layers: number
  /** Bytes of the root file system that went into the packer. */
  readonly packed: number
  /** It waits for another pull of the same image. */
  readonly isWaiting: boolean
  /** What a person should know, at most the last {@link WARNINGS_MOST}. */
  readonly warnings: ReadonlyArray<string>
}

export type PullOutcome =
  | { readonly _tag: "Done"; readonly imageId: string }
  | { readonly _tag: "Failed"; readonly code: string; readonly what: string; readonly remedy: string }
  | { readonly _tag: "Cancelled" }

/** A pull of the queue. */
export interface QueuedPull {
  /** Random, 32 hexadecimal digits. */
  readonly id: string
  readonly order: PullOrder
  /** Who asked for it: the first one, and those who joined. Who wants it no more is not among them. */
  readonly askers: ReadonlyArray<number>
  /** Who asked for it and wants it no more. */
  readonly leavers: ReadonlyArray<number>
  readonly state: "waiting" | "running" | "done" | "failed" | "cancelled"
  readonly outcome: PullOutcome | undefined
  readonly progress: PullProgress | undefined
  /** How often it was begun. */
  readonly attempts: number
  /** Times in milliseconds since 1970, of the database's clock. */
  readonly created: number
  readonly changed: number
  /** Before this it is not begun again. */
  readonly notBefore: number
}

/** How many pulls run beside each other, over all replicas. */
export interface QueueLimits {
  readonly perUser: number
  readonly perRegistry: number
  /** The place is the last one: it is kept for who has fewer than one may have, lest he who comes next wait for somebody's slow registries. */
  readonly isLast?: boolean | undefined
}

export interface QueueFilter {
  readonly system?: string | undefined
  /** Pulls that this user asked for. */
  readonly asker?: number | undefined
  readonly states?: ReadonlyArray<QueuedPull["state"]> | undefined
  readonly reference?: string | undefined
  readonly limit: number
}

/** A pull that a process runs. */
export interface Taken {
  readonly pull: QueuedPull
  /** Of this attempt alone: who holds an older one of the same pull can change nothing any more. */
  readonly lease: string
}

export class PullQueue extends Context.Tag("shifter-sdk/PullQueue")<
  PullQueue,
  {
    /**
     * Adds a pull, or joins the one of the same key that waits or runs. At most `waitingPerUser` may wait for one user: fails with `QUEUE_FULL`.
     * `holder` is who alone has what it needs: the process with the credentials, if the order says that there are any, or the place where an upload lies.
     */
    readonly submit: (order: PullOrder, waitingPerUser: number, holder?: string) => Effect.Effect<{ readonly pull: QueuedPull; readonly isNew: boolean }, CatalogError>
    /**
     * Takes a pull to run: of the user with the fewest running ones, the oldest that its registry has room for. A pull that has credentials
     * is taken by the process that has them, unless that is gone, and one of an upload by a process of its place. A user who runs as many as one may
     * gets no further one while others wait.
     */
    readonly take: (runner: string, limits: QueueLimits, place?: string) => Effect.Effect<Taken | undefined, CatalogError>
    /** Extends the lease and says how far it is. `Lost`: it is another's. `Cancelled`: nobody wants it any more. */
    readonly renew: (taken: Taken, progress: PullProgress | undefined) => Effect.Effect<"Held" | "Cancelled" | "Lost", CatalogError>
    /** Ends it; false: it was another's. One that was cancelled meanwhile stays so. `progress` is the last, with what was said since the lease was renewed. */
    readonly finish: (taken: Taken, outcome: PullOutcome, progress?: PullProgress) => Effect.Effect<boolean, CatalogError>
    /** Puts it back, to be begun in so many milliseconds; one that is put back by a process that ends loses no attempt. `progress` is shown while it waits. */
    readonly putBack: (taken: Taken, delay: number, countsAsAttempt: boolean, progress?: PullProgress) => Effect.Effect<void, CatalogError>
    /** This runner lives, and so does the place where it keeps uploads. */
    readonly alive: (runner: string, place?: string) => Effect.Effect<void, CatalogError>
    /**
     * Puts back pulls whose lease has run out; ends those with too many attempts, and those whose credentials are gone with their process
     * (`CREDENTIALS_GONE`: ask again), or whose upload lies where nobody has answered for a while (`UPLOAD_NOT_FOUND`).
     */
    readonly recover: (attempts: number) => Effect.Effect<ReadonlyArray<string>, CatalogError>
    /** He wants it no more. It is cancelled when nobody is left who does; `byForce` at once, whoever wanted it. */
    readonly cancel: (id: string, uid: number, byForce: boolean) => Effect.Effect<QueuedPull | undefined, CatalogError>
    readonly get: (id: string) => Effect.Effect<QueuedPull | undefined, CatalogError>
    /** The newest first. */
    readonly list: (filter: QueueFilter) => Effect.Effect<ReadonlyArray<QueuedPull>, CatalogError>
    /** How many wait and run, for metrics. */
    readonly counts: Effect.Effect<ReadonlyArray<{ readonly system: string; readonly state: QueuedPull["state"]; readonly count: number }>, CatalogError>
    /** Forgets pulls that ended so many milliseconds ago. */
    readonly prune: (olderThan: number) => Effect.Effect<number, CatalogError>
    /** Ids of pulls that changed, in this process or another; one may be missed, so who waits also looks now and then. */
    readonly changes: Stream.Stream<string>
  }
>() {}

/** How long a process may be silent before its pulls are another's. */
export const queueLeaseMillis = 6000
/** How long the processes of a place may be silent before its uploads are out of reach: longer than a service takes to start again. */
export const placeLeaseMillis = 60_000
/** How often a process renews, and says how far it is. */
export const queueRenewMillis = 1500
