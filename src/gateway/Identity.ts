/**
 * Who asks a gateway service, and what he may do.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { GatewayError } from "../core/Errors.js"
import type { Credentials } from "../core/Image.js"
import type { Requester } from "../core/ImageRecord.js"
import type { System } from "../core/Site.js"
import type { TokenScope } from "../core/Tokens.js"

/** Somebody who has shown who he is. */
export interface Identity {
  readonly requester: Required<Requester>
  /** Name of his account, where this machine knows it. */
  readonly user: string | undefined
  readonly by: "munge" | "token" | "mock"
  /** For the audit log, such as `munge` or `token 3f…`. */
  readonly label: string
  readonly scopes: ReadonlyArray<TokenScope>
  /** Systems that what he showed is good for. */
  readonly systems: ReadonlyArray<string>
  /** For registries, by name of the location; `default` for all others. */
  readonly credentials: ReadonlyMap<string, Credentials>
}

/** Whether he administers a system. */
export const isAdmin = ({ requester, user }: Identity, system: System): boolean =>
  requester.uid === 0 || system.admins.some((admin) => (typeof admin === "number" ? admin === requester.uid : admin === user))

export class Authentication extends Context.Tag("shifter-sdk/Authentication")<
  Authentication,
  {
    /** Who made a munge credential with the key of a system. Each is good once. Fails with `UNAUTHENTICATED`. */
    readonly munge: (credential: Redacted.Redacted, system: System) => Effect.Effect<Identity, GatewayError>
    /** Whose token it is. Fails with `UNAUTHENTICATED`. */
    readonly token: (secret: Redacted.Redacted) => Effect.Effect<Identity, GatewayError>
  }
>() {}
