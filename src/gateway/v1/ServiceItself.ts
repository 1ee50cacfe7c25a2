/**
 * The service itself: its systems, queue, audit log and health.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as Effect from "effect/Effect"
import { Audit } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { ImageIndex } from "../../core/ImageIndex.js"
import { PullQueue } from "../../core/PullQueue.js"
import type { Site } from "../../core/Site.js"
import { TokenScope } from "../../core/Tokens.js"
import { Transport } from "../../core/Transport.js"
import { isAdmin } from "../Identity.js"
import * as Metrics from "../Metrics.js"
import { type Caller, mayDo } from "../Policy.js"
import { Pulls } from "../Pulls.js"
import { Api, Asking } from "./Api.js"
import { answered, granted } from "./Authorization.js"
import { known } from "./PullsOfUsers.js"
import { pullOf } from "./PullView.js"

export const service = (site: Site) =>
  HttpApiBuilder.group(Api, "service", (handlers) =>
    Effect.gen(function* () {
      const pulls = yield* Pulls
      const queue = yield* PullQueue
      const audit = yield* Audit
      return handlers
        .handle("systems", () =>
          answered(
            Effect.gen(function* () {
              const { caller } = yield* Asking
              return {
                systems: [...site.systems.values()]
                  .filter((system) => mayDo(caller, "read", system)._tag === "Allowed")
                  .map((system) => ({ name: system.name, isDefault: system.name === site.defaultSystem, may: scopesOf(caller), isAdmin: caller !== undefined && isAdmin(caller, system) }))
              }
            })
          )
        )
        .handle("queue", ({ urlParams: { limit } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin, system } = yield* known("queue")
              const all = isAdmin && mayDo(caller, "queueOfAll", system)._tag === "Allowed"
              const found = yield* pulls.list(caller, { system: system.name, all, limit })
              const counts = (yield* queue.counts).filter((each) => each.system === system.name)
              return { pulls: found.filter(({ state }) => state === "waiting" || state === "running").map((pull) => pullOf(pull, all)), counts }
            })
          )
        )
        .handle("audit", ({ urlParams: { system: _, ...filter } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, system } = yield* Asking
              yield* granted(mayDo(caller, "audit", system), { reference: "", system: system.name })
              return { rows: yield* audit.page({ ...filter, system: system.name }) }
            })
          )
        )
    })
  )

const scopesOf = (caller: Caller): ReadonlyArray<TokenScope> => (caller === undefined ? ["read"] : TokenScope.literals.filter((scope) => caller.scopes.includes(scope)))

/** What everyone is told. */
export const open = (site: Site, version: string) =>
  HttpApiBuilder.group(Api, "open", (handlers) =>
    Effect.gen(function* () {
      const index = yield* ImageIndex
      const transport = yield* Transport
      const queue = yield* PullQueue
      const works = (what: string) => Effect.mapError(() => new GatewayError(errorFields("RESOURCE", `${what} can't be used`, { remedy: "The gateway's log says why." })))
      const checks = Effect.gen(function* () {
        yield* index.now.pipe(Effect.tapError((error) => Effect.logError(error.message)), works("The catalogue"))
        yield* Effect.forEach(
          site.systems.values(),
          (system) => transport.ready(system).pipe(Effect.tapError((error) => Effect.logError(error.message)), works(`The image path of ${system.name}`)),
          { concurrency: 4, discard: true }
        )
        return { status: "ok" as const }
      })
      // Strangers ask too: what they cost is bounded.
      const ready = yield* Effect.cachedWithTTL(checks, "2 seconds")
      const metrics = yield* Effect.cachedWithTTL(Metrics.text(Effect.orElseSucceed(queue.counts, () => [])), "1 second")
      return handlers
        .handle("version", () => Effect.succeed({ version, api: 1 as const }))
        .handle("live", () => Effect.succeed({ status: "ok" as const }))
        .handle("ready", () => answered(ready))
        .handle("metrics", () => metrics)
    })
  )
