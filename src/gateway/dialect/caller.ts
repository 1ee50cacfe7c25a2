/**
 * Who calls, and why he may read an image.
 *
 * @module
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { errorFields, GatewayError } from "../../core/Errors.js"
import type { Access, Requester } from "../../core/ImageRecord.js"
import type * as Site from "../../core/Site.js"
import { Authentication, type Identity, isAdmin } from "../Identity.js"

/** Who calls; without an identity: somebody who did not say who he is, where the site tells everyone of public images. */
export interface Caller {
  readonly system: Site.System
  readonly identity: Identity | undefined
  readonly admin: boolean
}

const HEADER = "authentication"

/** Shows who calls by his munge credential alone: a token is good for no call of this dialect, whose GETs change things. */
export const authenticate = (site: Site.Site, system: Site.System, request: HttpServerRequest.HttpServerRequest, canBeAnyone: boolean) =>
  Effect.gen(function* () {
    const credential = request.headers[HEADER]
    if (credential === undefined || credential === "") {
      if (canBeAnyone && site.server.publicReads) return { system, identity: undefined, admin: false } satisfies Caller
      return yield* new GatewayError(
        errorFields("UNAUTHENTICATED", `The header "${HEADER}" is missing`, { remedy: "Send a munge credential in it, as shifterimg does." })
      )
    }
    const identity = yield* (yield* Authentication).munge(Redacted.make(credential.trim()), system)
    return { system, identity, admin: isAdmin(identity, system) } satisfies Caller
  })

/** For whom images are read; undefined, for administrators, stands for everyone. */
export const reader = ({ admin, identity }: Caller): Requester | undefined => (identity === undefined ? nobody : admin ? undefined : identity.requester)

/** No account has this number; whoever reads with it is shown public images alone, which {@link mayRead} holds him to. */
const nobody: Requester = { uid: 4294967294, gids: [] }

/** Why a caller may read an image, for the audit log; undefined: he may not. */
export const mayRead = ({ admin, identity }: Caller, image: Access): string | undefined => {
  if (image.access === "public") return "public"
  if (identity === undefined) return undefined
  const { gids, uid } = identity.requester
  if (image.owner === uid) return "owner"
  if (image.allowUids.includes(uid)) return "user list"
  const group = (gids ?? []).find((gid) => image.allowGids.includes(gid))
  return group !== undefined ? `group list ${group}` : admin ? "administrator" : undefined
}
