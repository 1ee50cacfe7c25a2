/**
 * The service `Catalog`: the pulls that run, and which process runs them. A pull is a row with a phase and a lease. Of all pulls of one image
 * for one system only one converts at a time; the others wait for it, and the next one takes over when its lease runs out.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CatalogError } from "./Errors.js"
import type { Phase } from "./Progress.js"

/** A pull of this process. */
export interface PullRow {
  readonly id: number
  /** Random, so that nothing it leaves anywhere is taken for another pull's, of this catalogue or any. */
  readonly token: string
}

/** A pull whose process is gone, and whose leavings are to be removed. */
export interface GonePull extends PullRow {
  readonly system: string
}

/** Of an image that one wants to convert or change: it is mine, or another pull's. */
export type Claim =
  | { readonly _tag: "Mine" }
  /** `isSameRequest`: it is of the same reference for the same requester, so that its failure would be mine. */
  | { readonly _tag: "Theirs"; readonly pull: number; readonly isSameRequest: boolean }

/** How a pull stands. */
export type PullState =
  /** `isOverdue`: its lease has run out, and it is for whoever asks to `reap` it. */
  | { readonly _tag: "Active"; readonly phase: Phase; readonly isOverdue: boolean }
  | { readonly _tag: "Done" }
  | { readonly _tag: "Failed"; readonly code: string; readonly what: string }
  /** Its process is gone, or gave it up: somebody else may take over. */
  | { readonly _tag: "Abandoned" }

export class Catalog extends Context.Tag("shifter-sdk/Catalog")<
  Catalog,
  {
    /** Begins a pull in the phase `resolve`. */
    readonly begin: (request: { readonly system: string; readonly reference: string; readonly requester: number }) => Effect.Effect<PullRow, CatalogError>
    /**
     * Claims an image: to convert it, or to change who may use it. One that is fetched for another request since {@link fetchMillis} ago is taken
     * over.
     */
    readonly claim: (pull: PullRow, imageId: string) => Effect.Effect<Claim, CatalogError>
    /** Extends the lease. False: the lease is lost. */
    readonly renew: (pull: PullRow) => Effect.Effect<boolean, CatalogError>
    /** Enters a phase; renews the lease. False: the lease is lost. */
    readonly enter: (pull: PullRow, phase: Phase) => Effect.Effect<boolean, CatalogError>
    /** Ends a pull. */
    readonly end: (
      pull: PullRow,
      state: { readonly _tag: "Done" } | { readonly _tag: "Abandoned" } | { readonly _tag: "Failed"; readonly code: string; readonly what: string }
    ) => Effect.Effect<void, CatalogError>
    readonly state: (pull: number) => Effect.Effect<PullState, CatalogError>
    /**
     * Ends the pulls whose lease has run out; returns them, so that what they left can be removed. Those that are not `reaped` soon are
     * returned again.
     */
    readonly reap: Effect.Effect<ReadonlyArray<GonePull>, CatalogError>
    /** Tokens of the pulls that run, and of those whose leavings are being removed, on whatever machine. */
    readonly running: Effect.Effect<ReadonlyArray<string>, CatalogError>
    /** Nothing is left of a pull that `reap` returned. */
    readonly reaped: (pull: PullRow) => Effect.Effect<void, CatalogError>
    /** Says that a pull uses blobs, by their names in the store, so that they stay. */
    readonly useBlobs: (pull: PullRow, blobs: ReadonlyArray<string>) => Effect.Effect<void, CatalogError>
    /** Whether earlier pulls of the same reference hold on to blobs: one that was killed after it had published does. */
    readonly hasLeftBlobs: (pull: PullRow) => Effect.Effect<boolean, CatalogError>
    /** The pull has published, and uses its blobs no more. */
    readonly releaseBlobs: (pull: PullRow) => Effect.Effect<void, CatalogError>
    /** Does something with those of the blobs that no pull uses which runs or may be tried again, before anyone else can use them. */
    readonly unused: (blobs: ReadonlyArray<string>, f: (blob: string) => Effect.Effect<void>) => Effect.Effect<void, CatalogError>
  }
>() {}

/** How long a process may be silent before its pull is another's. */
export const leaseMillis = 6000
/** How often a process renews. */
export const renewMillis = 1500
/** How long an image may be fetched while somebody waits who asks another source for it: the one of the two may be slow, or mean. */
export const fetchMillis = 10 * 60 * 1000
/** How long blobs of a failed pull are kept for another try. */
export const retryMillis = 24 * 3600 * 1000
