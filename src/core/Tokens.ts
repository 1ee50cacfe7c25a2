/**
 * The service `Tokens`: what portals and scripts authenticate with where they have no munge. A token is 256 random bits that are shown once;
 * what is kept is their hash.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { CatalogError } from "./Errors.js"

/** What a token may be used for. `read`: look up and list; `pull`: pull and import too; `manage`: whatever its user may, but tokens. */
export const TokenScope = Schema.Literal("read", "pull", "manage")
export type TokenScope = typeof TokenScope.Type

export interface Token {
  /** Names it; not secret. */
  readonly id: string
  /** What its user calls it. */
  readonly label: string
  readonly uid: number
  readonly scopes: ReadonlyArray<TokenScope>
  /** Systems it is good for; empty: all. */
  readonly systems: ReadonlyArray<string>
  /** Milliseconds since 1970. */
  readonly created: number
  readonly expires: number
  readonly used: number | undefined
}

export class Tokens extends Context.Tag("shifter-sdk/Tokens")<
  Tokens,
  {
    /** Makes a token; its secret is told now and never again. A user has at most 100: fails with `LIMIT_EXCEEDED`. */
    readonly create: (
      token: Pick<Token, "label" | "uid" | "scopes" | "systems"> & { readonly expiresIn: number }
    ) => Effect.Effect<{ readonly token: Token; readonly secret: Redacted.Redacted }, CatalogError>
    /** The token of a secret; undefined: there is none, or it has expired. */
    readonly verify: (secret: Redacted.Redacted) => Effect.Effect<Token | undefined, CatalogError>
    /** Of one user, or of all. */
    readonly list: (uid: number | undefined) => Effect.Effect<ReadonlyArray<Token>, CatalogError>
    /** Ends a token, of this user if one is given; false: there is none. */
    readonly revoke: (id: string, uid: number | undefined) => Effect.Effect<boolean, CatalogError>
  }
>() {}
