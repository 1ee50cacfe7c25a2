/**
 * Upkeep that administrators ask for, beside what the service does by itself.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { Audit } from "../../core/Audit.js"
import { Upkeep } from "../../core/Upkeep.js"
import { Api } from "./Api.js"
import { answered } from "./Authorization.js"
import { outcome } from "./Events.js"
import { known } from "./PullsOfUsers.js"
import { Collected, Scrubbed } from "./Schemas.js"

export const upkeep = (stopped: Deferred.Deferred<undefined>) =>
  HttpApiBuilder.group(Api, "upkeep", (handlers) =>
    Effect.gen(function* () {
      const service = yield* Upkeep
      const audit = yield* Audit
      /** An administrator; what he asks for is noted. */
      const admin = (action: "collect" | "scrub") =>
        Effect.gen(function* () {
          const { caller, system } = yield* known(action)
          yield* audit.write({ action, uid: caller.requester.uid, by: caller.label, system: system.name, reference: undefined, imageId: undefined, digest: undefined, why: "asked for" })
          return system.name
        })
      return handlers
        .handleRaw("collect", ({ urlParams: { dryRun } }) =>
          answered(Effect.map(admin("collect"), (system) => outcome(Collected, service.collect({ system, dryRun }), stopped)))
        )
        .handleRaw("scrub", ({ urlParams: { limit, olderThanSeconds } }) =>
          answered(Effect.map(admin("scrub"), (system) => outcome(Scrubbed, service.scrub({ system, limit, olderThanSeconds }), stopped)))
        )
    })
  )
