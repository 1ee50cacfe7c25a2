/**
 * Shows who asks: by munge, by token, or, for tests on this machine alone, by what the caller says.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { carried, errorFields, GatewayError } from "../core/Errors.js"
import type { Site, System } from "../core/Site.js"
import { Tokens, type TokenScope } from "../core/Tokens.js"
import { type Account, Accounts } from "./Accounts.js"
import { Authentication, type Identity } from "./Identity.js"
import * as Munge from "./Munge.js"

/** Credentials that are decoded at once. */
const AT_ONCE = 16
const everything: ReadonlyArray<TokenScope> = ["read", "pull", "manage"]

export const layer = (site: Site): Layer.Layer<Authentication, never, Tokens | Accounts> =>
  Layer.effect(
    Authentication,
    Effect.gen(function* () {
      const tokens = yield* Tokens
      const accounts = yield* Accounts
      const slots = yield* Effect.makeSemaphore(AT_ONCE)

      const byMunge = (credential: Redacted.Redacted, system: System) =>
        Effect.gen(function* () {
          const { credentials, gid, uid, user } = yield* slots.withPermits(1)(Munge.decode(credential, system.munge))
          return identity(yield* accounts.ofUid(uid), { by: "munge", label: "munge", user, gid, system, credentials })
        })
      const byMock = (credential: Redacted.Redacted, system: System) =>
        Effect.gen(function* () {
          const { gid, uid, user } = yield* mocked(Redacted.value(credential))
          const found = uid ?? (yield* accounts.uidOf(user))
          if (found === undefined) return yield* unauthenticated(`There is no account "${user}"`)
          return identity(yield* accounts.ofUid(found), { by: "mock", label: "mock", user, gid, system, credentials: new Map() })
        })

      return Authentication.of({
        munge: site.server.authentication === "mock" ? byMock : byMunge,
        token: (secret) =>
          Effect.gen(function* () {
            const token = yield* Effect.mapError(tokens.verify(secret), (error) => new GatewayError(carried(error)))
            if (token === undefined) return yield* unauthenticated("The token is not valid, or has expired")
            const account = yield* accounts.ofUid(token.uid)
            return {
              requester: { uid: token.uid, gids: account.gids },
              user: account.name,
              by: "token" as const,
              label: `token ${token.id}`,
              scopes: token.scopes,
              systems: token.systems.length === 0 ? [...site.systems.keys()] : token.systems,
              credentials: new Map()
            }
          })
      })
    })
  )

interface Shown extends Pick<Identity, "by" | "label" | "user" | "credentials"> {
  readonly gid: number | undefined
  readonly system: System
}

/** The group that he showed, which his kernel let him have, and those that this machine knows of him. */
const identity = (account: Account, { by, credentials, gid, label, system, user }: Shown): Identity => ({
  requester: { uid: account.uid, gids: gid === undefined ? account.gids : [...new Set([gid, ...account.gids])] },
  user: account.name ?? user,
  by,
  label,
  scopes: everything,
  systems: [system.name],
  credentials
})

/** `good:user:group[:token[:uid:gid]]`. */
const mocked = (text: string): Effect.Effect<{ readonly user: string; readonly uid: number | undefined; readonly gid: number | undefined }, GatewayError> => {
  const parts = text.split(":")
  const [status, user = "", group = "", , uid, gid] = parts
  if (![3, 4, 6].includes(parts.length) || user === "" || group === "") return unauthenticated("The authentication is not good:user:group[:token[:uid:gid]]")
  if (status !== "good") return unauthenticated(`The authentication says "${status ?? ""}"`)
  if (uid === undefined || gid === undefined) return Effect.succeed({ user, uid: undefined, gid: undefined })
  return /^\d{1,9}$/.test(uid) && /^\d{1,9}$/.test(gid) ? Effect.succeed({ user, uid: Number(uid), gid: Number(gid) }) : unauthenticated("The authentication's uid and gid are no numbers")
}

const unauthenticated = (what: string) => Effect.fail(new GatewayError(errorFields("UNAUTHENTICATED", what)))
