/**
 * Tokens: made, listed and revoked.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Audit } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { type Token, Tokens } from "../../core/Tokens.js"
import type { Site, System } from "../../core/Site.js"
import type { Identity } from "../Identity.js"
import { mayUseTokens, noImage, type TokenAction } from "../Policy.js"
import { Api, Asking } from "./Api.js"
import { answered, granted } from "./Authorization.js"

export const tokens = (site: Site) => HttpApiBuilder.group(Api, "tokens", (handlers) =>
  Effect.gen(function* () {
    const service = yield* Tokens
    const audit = yield* Audit
    const known = (action: TokenAction) =>
      Effect.gen(function* () {
        const { caller, system } = yield* Asking
        yield* granted(mayUseTokens(caller, action, system), { reference: "", system: system.name })
        if (caller === undefined) return yield* noImage("", system.name)
        return { caller, system }
      })
    /**
     * Who has the key of one system can be anyone there, root too, and nobody elsewhere: he has to do with tokens that are good there, and for all
     * of a system's users with those that are good nowhere else.
     */
    const concerns = ({ systems }: Token, system: System, all: boolean): boolean => {
      const good = systems.length === 0 ? [...site.systems.keys()] : systems
      return all ? good.every((each) => each === system.name) : good.includes(system.name)
    }
    const told = (caller: Identity, system: System, all: boolean) =>
      Effect.map(service.list(all ? undefined : caller.requester.uid), (found) => found.filter((token) => concerns(token, system, all)))
    const noted = (uid: number, by: string, system: string, why: string) =>
      audit.write({ action: "token", uid, by, system, reference: undefined, imageId: undefined, digest: undefined, why })
    return handlers
      .handle("create", ({ payload: { expiresInSeconds, label, scopes, systems } }) =>
        answered(
          Effect.gen(function* () {
            const { caller, system } = yield* known("ofOwn")
            // The key that he has shown is one system's: what he is on another one he is to show there.
            const foreign = systems.find((each) => !caller.systems.includes(each))
            if (foreign !== undefined) {
              return yield* new GatewayError(errorFields("ACCESS_DENIED", `A token for ${foreign} is made with munge of ${foreign}`, { remedy: `Ask with system=${foreign}.` }))
            }
            const { secret, token } = yield* service.create({
              label,
              uid: caller.requester.uid,
              scopes,
              systems: systems.length === 0 ? caller.systems : systems,
              expiresIn: expiresInSeconds * 1000
            })
            yield* noted(caller.requester.uid, caller.label, system.name, `made token ${token.id}`)
            return { token: tokenOf(token), secret: Redacted.value(secret) }
          })
        )
      )
      .handle("list", ({ urlParams: { all } }) =>
        answered(
          Effect.gen(function* () {
            const { caller, system } = yield* known(all ? "ofAll" : "ofOwn")
            return { tokens: (yield* told(caller, system, all)).map(tokenOf) }
          })
        )
      )
      .handle("revoke", ({ path: { id }, urlParams: { all } }) =>
        answered(
          Effect.gen(function* () {
            const { caller, system } = yield* known(all ? "ofAll" : "ofOwn")
            const isThere = (yield* told(caller, system, all)).some((token) => token.id === id)
            if (!isThere || !(yield* service.revoke(id, all ? undefined : caller.requester.uid))) {
              return yield* new GatewayError(errorFields("USAGE", "There is no such token of yours", { remedy: "List them with GET /v1/tokens." }))
            }
            yield* noted(caller.requester.uid, caller.label, system.name, `revoked token ${id}`)
          })
        )
      )
  })
)

const tokenOf = ({ created, expires, id, label, scopes, systems, uid, used }: Token) => ({ created, expires, id, label, scopes, systems, uid, used })
