/**
 * Who may do what. Pure, and the only place that decides.
 *
 * @module
 */
import { errorFields, GatewayError, printable } from "../core/Errors.js"
import { type Access, mayUse } from "../core/ImageRecord.js"
import type { System } from "../core/Site.js"
import type { TokenScope } from "../core/Tokens.js"
import { type Identity, isAdmin } from "./Identity.js"

/** Who asks; undefined: somebody who has not said who he is, where the site's public images are told to everyone. */
export type Caller = Identity | undefined

/** What is done with an image. */
export type ImageAction = "read" | "remove" | "expire" | "access" | "pin"
/** What is done with a system as a whole. */
export type SystemAction = "read" | "pull" | "import" | "cancel" | "queue" | "queueOfAll" | "audit" | "collect" | "scrub"
/** What is done with tokens. */
export type TokenAction = "ofOwn" | "ofAll"

/** `Hidden`: he is told the same as of what does not exist. `why` is for the audit log. */
export type Decision =
  | { readonly _tag: "Allowed"; readonly why: string }
  | { readonly _tag: "Denied"; readonly what: string }
  | { readonly _tag: "Unauthenticated" }
  | { readonly _tag: "Hidden" }

const scopes: Readonly<Record<ImageAction | SystemAction, TokenScope>> = {
  read: "read",
  queue: "read",
  pull: "pull",
  import: "pull",
  cancel: "pull",
  remove: "manage",
  expire: "manage",
  access: "manage",
  pin: "manage",
  queueOfAll: "manage",
  audit: "manage",
  collect: "manage",
  scrub: "manage"
}

/** A scope holds those before it. */
const order: ReadonlyArray<TokenScope> = ["read", "pull", "manage"]
const holds = (caller: Identity, scope: TokenScope): boolean => caller.scopes.some((own) => order.indexOf(own) >= order.indexOf(scope))

const allowed = (why: string): Decision => ({ _tag: "Allowed", why })
const denied = (what: string): Decision => ({ _tag: "Denied", what })

/**
 * Whether he may try at all. Asked before the image is looked for: what is refused here is refused alike whether there is one or not. Anything
 * else than `undefined` is a refusal.
 */
export const mayTry = (caller: Caller, action: ImageAction | SystemAction, system: System): Decision | undefined => {
  if (caller === undefined) return action === "read" ? undefined : { _tag: "Unauthenticated" }
  return outside(caller, system, action)
}

const outside = (caller: Identity, system: System, action: ImageAction | SystemAction): Decision | undefined => {
  if (!caller.systems.includes(system.name)) return denied(`What you showed is not good for the system ${system.name}`)
  if (!holds(caller, scopes[action])) return denied(`Your token lacks the scope "${scopes[action]}"`)
  return undefined
}

export const mayDo = (caller: Caller, action: SystemAction, system: System): Decision => {
  const refused = mayTry(caller, action, system)
  if (refused !== undefined) return refused
  if (caller === undefined) return allowed("public")
  if (isAdmin(caller, system)) return allowed("administrator")
  return action === "read" || action === "pull" || action === "import" || action === "cancel" || action === "queue" ? allowed("user") : denied(`Only administrators of ${system.name} may do this`)
}

export const mayDoWith = (caller: Caller, action: ImageAction, system: System, image: Access): Decision => {
  const refused = mayTry(caller, action, system)
  if (refused !== undefined) return refused
  if (caller === undefined) return image.access === "public" ? allowed("public") : { _tag: "Hidden" }
  if (isAdmin(caller, system)) return allowed("administrator")
  if (!mayUse(image, caller.requester)) return { _tag: "Hidden" }
  if (action === "read") return allowed(reason(image, caller))
  return image.owner === caller.requester.uid ? allowed("owner") : denied(`The image is not uid ${caller.requester.uid}'s`)
}

/** Tokens make no tokens: who finds one could else keep his way in. */
export const mayUseTokens = (caller: Caller, action: TokenAction, system: System): Decision => {
  if (caller === undefined) return { _tag: "Unauthenticated" }
  if (caller.by === "token") return denied("Tokens are managed with munge, not with a token")
  if (action === "ofOwn") return allowed("user")
  return isAdmin(caller, system) ? allowed("administrator") : denied(`Only administrators of ${system.name} may do this`)
}

const reason = (image: Access, { requester }: Identity): string => {
  if (image.access === "public") return "public"
  if (image.owner === requester.uid) return "owner"
  if (image.allowUids.includes(requester.uid)) return "user list"
  return `group list ${(requester.gids ?? []).find((gid) => image.allowGids.includes(gid)) ?? ""}`
}

/** The refusal of an image that is not there, or not his: one message for both. */
export const noImage = (reference: string, system: string): GatewayError =>
  new GatewayError(errorFields("IMAGE_NOT_FOUND", `There is no image "${printable(reference)}" on ${system}`))

export const refusal = (what: string): GatewayError => new GatewayError(errorFields("ACCESS_DENIED", what))
