/**
 * Version 1 of the API as an application: its endpoints, its description at `/v1/openapi.json` and a page of it at `/v1/docs`, which asks
 * nothing of other hosts.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiSwagger from "@effect/platform/HttpApiSwagger"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Site } from "../../core/Site.js"
import { ofCause } from "../Answers.js"
import { Api } from "./Api.js"
import * as Authorization from "./Authorization.js"
import { images } from "./Images.js"
import { pulls } from "./PullsOfUsers.js"
import { open, service } from "./ServiceItself.js"
import { tokens } from "./TokensOfUsers.js"
import { uploads } from "./UploadsOfUsers.js"
import { upkeep } from "./UpkeepOfImages.js"

export interface Options {
  readonly site: Site
  readonly version: string
  /** Completed when the service stops: streams end then. */
  readonly stopped: Deferred.Deferred<undefined>
}

/** Errors are answered here, as all of the service are; the library's own answers would repeat what was sent. */
const answering = HttpApiBuilder.middleware((app) =>
  Effect.catchAllCause(app, (cause) => Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => ofCause(cause, request)))
)

/** The application, in the scope that its parts live in. */
export const make = ({ site, stopped, version }: Options) =>
  Effect.gen(function* () {
    const api = HttpApiBuilder.api(Api).pipe(
      Layer.provide([images(site), pulls(site, stopped), uploads(site, stopped), upkeep(stopped), tokens(site), service(site), open(site, version)]),
      Layer.provide(Authorization.layer(site))
    )
    const context = yield* Layer.build(
      Layer.mergeAll(HttpApiSwagger.layer({ path: "/v1/docs" }), HttpApiBuilder.middlewareOpenApi({ path: "/v1/openapi.json" }), answering).pipe(
        Layer.provideMerge(api),
        Layer.provideMerge(Layer.mergeAll(HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer))
      )
    )
    return yield* Effect.provide(HttpApiBuilder.httpApp, context)
  })
