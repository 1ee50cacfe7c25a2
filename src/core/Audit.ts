/**
 * The service `Audit`: who did what with which image, and why he was allowed to.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CatalogError } from "./Errors.js"

export type AuditAction = "pull" | "lookup" | "remove" | "expire" | "import" | "access" | "pin" | "unpin" | "upload" | "token" | "collect" | "scrub" | "refused"

export interface AuditEntry {
  readonly action: AuditAction
  /** Who; undefined: the service itself. */
  readonly uid: number | undefined
  /** How he showed who he is, such as `munge`, `token 3f…` or `service`. */
  readonly by: string
  readonly system: string | undefined
  readonly reference: string | undefined
  readonly imageId: string | undefined
  /** Digest of the source's manifest, or of the source. */
  readonly digest: string | undefined
  /** Why it was allowed, or refused: `public`, `owner`, `user list`, `group list 1002`, `administrator`, `registry gave it`, a code of an error. */
  readonly why: string
}

export interface AuditRow extends AuditEntry {
  readonly id: number
  /** Milliseconds since 1970. */
  readonly time: number
}

export class Audit extends Context.Tag("shifter-sdk/Audit")<
  Audit,
  {
    readonly write: (entry: AuditEntry) => Effect.Effect<void, CatalogError>
    /** The newest first; `before` is the id that the page before it ended with. */
    readonly page: (filter: {
      readonly system?: string | undefined
      readonly uid?: number | undefined
      readonly action?: AuditAction | undefined
      readonly before?: number | undefined
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<AuditRow>, CatalogError>
    /** Forgets entries older than so many milliseconds. */
    readonly prune: (olderThan: number) => Effect.Effect<number, CatalogError>
  }
>() {}
