/**
 * The service `Pulls`: pulls that users ask of a gateway service. It runs those of the queue that are this process's turn, and tells everyone
 * who waits how far they are.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CatalogError, GatewayError } from "../core/Errors.js"
import type { QueuedPull } from "../core/PullQueue.js"
import type { Identity } from "./Identity.js"

/** What somebody wants pulled. */
export interface Wanted {
  readonly system: string
  readonly reference: string
  readonly platform?: string | undefined
  readonly allowUids?: ReadonlyArray<number> | undefined
  readonly allowGids?: ReadonlyArray<number> | undefined
  readonly verify?: boolean | undefined
}

export class Pulls extends Context.Tag("shifter-sdk/Pulls")<
  Pulls,
  {
    /** Asks for a pull; returns when it is in the queue. The same of another user's is joined where both would be given the same. */
    readonly submit: (identity: Identity, wanted: Wanted) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** A pull that he asked for, or that he administers. Fails with `PULL_NOT_FOUND`. */
    readonly get: (identity: Identity, id: string) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** How it stands now and whenever that changes, until it has ended. Any number may watch for the cost of one. */
    readonly watch: (identity: Identity, id: string) => Stream.Stream<QueuedPull, GatewayError | CatalogError>
    /** His own; with `all`, for administrators, everyone's. */
    readonly list: (identity: Identity, filter: { readonly system: string; readonly all: boolean; readonly limit: number }) => Effect.Effect<ReadonlyArray<QueuedPull>, GatewayError | CatalogError>
    /** He wants it no more; for an administrator nobody does. */
    readonly cancel: (identity: Identity, id: string) => Effect.Effect<QueuedPull, GatewayError | CatalogError>
    /** Runs pulls until the scope ends; then puts back what runs, so that it goes on in another process or the next one. */
    readonly run: Effect.Effect<void, never, Scope.Scope>
  }
>() {}
