/**
 * Uploads, and the imports of what was uploaded or lies elsewhere.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Audit } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { Gateway } from "../../core/Gateway.js"
import { RecordFields } from "../../core/ImageRecord.js"
import type { Site } from "../../core/Site.js"
import { Uploads } from "../../core/Uploads.js"
import { errorResponse } from "../Answers.js"
import { body } from "../Body.js"
import * as Imports from "../Imports.js"
import { Pulls } from "../Pulls.js"
import { Api } from "./Api.js"
import { answered } from "./Authorization.js"
import { outcome } from "./Events.js"
import { known } from "./PullsOfUsers.js"
import { pullOf } from "./PullView.js"
import { Pull, Upload } from "./Schemas.js"

const encodeUpload = Schema.encodeSync(Upload)
const encodePull = Schema.encodeSync(Schema.parseJson(Pull))

export const uploads = (site: Site, stopped: Deferred.Deferred<undefined>) =>
  HttpApiBuilder.group(Api, "uploads", (handlers) =>
    Effect.gen(function* () {
      const service = yield* Uploads
      const audit = yield* Audit
      const pulls = yield* Pulls
      const gateway = yield* Gateway
      const ownerOf = Effect.map(known("import"), ({ caller }) => caller.requester.uid)
      const stalled = new GatewayError(errorFields("USAGE", `Nothing of the upload came for ${site.server.requestSeconds} s`, { remedy: "Ask for its offset, and go on from there." }))
      return handlers
        .handle("create", ({ payload }) =>
          answered(
            Effect.gen(function* () {
              const { caller, system } = yield* known("import")
              const upload = yield* service.create({ ...payload, owner: caller.requester.uid })
              yield* audit.write({ action: "upload", uid: caller.requester.uid, by: caller.label, system: system.name, reference: undefined, imageId: undefined, digest: undefined, why: `${payload.bytes} bytes` })
              return upload
            })
          )
        )
        .handle("get", ({ path: { id } }) => answered(Effect.flatMap(ownerOf, (owner) => service.status(id, owner))))
        .handle("cancel", ({ path: { id } }) => answered(Effect.flatMap(ownerOf, (owner) => service.cancel(id, owner))))
        .handleRaw("append", ({ headers: { "upload-offset": offset }, path: { id }, request }) =>
          Effect.gen(function* () {
            const owner = yield* ownerOf
            const bytes = Stream.timeoutFail(body(NodeHttpServerRequest.toIncomingMessage(request)), () => stalled, Duration.seconds(site.server.requestSeconds))
            return HttpServerResponse.unsafeJson(encodeUpload(yield* service.append(id, owner, offset, bytes)))
          }).pipe(
            // What was not read of a body would be taken for the next request.
            Effect.catchAll((error) => Effect.succeed(HttpServerResponse.setHeader(errorResponse(error), "connection", "close")))
          )
        )
        .handle("import", ({ payload }) =>
          answered(
            Effect.gen(function* () {
              const { caller, isAdmin, system } = yield* known("import")
              const { record, states } = yield* Imports.ask(pulls, gateway, caller, { ...payload, system: system.name })
              const told = Stream.map(states, (pull) => ["pull", encodePull(pullOf(pull, isAdmin))] as const)
              return outcome(RecordFields, record, stopped, Stream.catchAll(told, () => Stream.empty))
            })
          )
        )
    })
  )
