/**
 * The REST dialect of the reference's gateway, so that its compiled command line works with this one. Every call says who calls by a munge
 * credential of its own, which is good once; the GETs that change things are accepted with nothing else.
 *
 * @module
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { checked } from "../../core/Checked.js"
import { errorFields, GatewayError, isShifterError, type ShifterError } from "../../core/Errors.js"
import type * as Site from "../../core/Site.js"
import type { Identity } from "../Identity.js"
import * as Administration from "./administration.js"
import { authenticate, type Caller } from "./caller.js"
import * as Images from "./images.js"
import * as Pull from "./pull.js"
import * as Replies from "./replies.js"
import * as Target from "./target.js"

/** What each verb is asked with, and how much of a path it needs. */
const verbs = {
  list: { method: "GET", names: "system" },
  lookup: { method: "GET", names: "image" },
  pull: { method: "POST", names: "image" },
  expire: { method: "GET", names: "image" },
  autoexpire: { method: "GET", names: "system" },
  queue: { method: "GET", names: "system" },
  metrics: { method: "GET", names: "system" }
} as const
type Verb = keyof typeof verbs
const isVerb = (text: string): text is Verb => Object.hasOwn(verbs, text)

/** Two lists of a thousand ids are not a quarter of this. */
const BODY_BYTES = 65536
/** A list is made whole, so that its length is known; few are made at once. */
const LISTS = 2

/** A body, which may be empty. */
const bodyOf = <A, I>(schema: Schema.Schema<A, I>, limit: number) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const tooLarge = new GatewayError(errorFields("LIMIT_EXCEEDED", `The body of the request is longer than ${limit} bytes`))
    if (Number(request.headers["content-length"] ?? "0") > limit) return yield* tooLarge
    const text = yield* request.text.pipe(HttpServerRequest.withMaxBodySize(Option.some(limit)), Effect.mapError(() => tooLarge))
    const value: unknown = yield* Effect.try({
      try: (): unknown => (text.trim() === "" ? {} : JSON.parse(text)),
      catch: () => new GatewayError(errorFields("USAGE", "The body of the request is no JSON", { remedy: 'Send an object such as {"allowed_uids":"1000,1001"}, or nothing.' }))
    })
    return yield* checked(schema, value)
  })

/** The routes of a site. */
export const routes = (site: Site.Site) => {
  const lists = Effect.unsafeMakeSemaphore(LISTS)
  const bodyBytes = Math.min(BODY_BYTES, site.server.bodyBytes)

  const answer = (verb: Verb, caller: Caller, target: Target.Target) =>
    Effect.gen(function* () {
      const ref = Effect.suspend(() => Target.reference(target.type ?? "", target.tag ?? "", site.dialect))
      const somebody: Effect.Effect<Identity, GatewayError> =
        caller.identity === undefined ? Effect.fail(new GatewayError(errorFields("UNAUTHENTICATED", "The call does not say who calls"))) : Effect.succeed(caller.identity)
      switch (verb) {
        case "list":
          return yield* lists.withPermits(1)(Images.list(site, caller))
        case "lookup":
          return yield* Images.lookup(site, caller, yield* ref)
        case "pull": {
          const identity = yield* somebody
          const allowed = yield* Pull.allowed(identity, yield* bodyOf(Pull.Lists, bodyBytes))
          return yield* Pull.pull(site, caller, identity, yield* ref, allowed)
        }
        case "expire":
          return JSON.stringify({ status: yield* Administration.expire(caller, yield* somebody, yield* ref) })
        case "autoexpire":
          return JSON.stringify({ status: yield* Administration.autoexpire(caller, yield* somebody) })
        case "queue":
          return JSON.stringify({ list: yield* Administration.queue(site, caller, yield* somebody) })
        case "metrics":
          return yield* Administration.metrics(site, caller, target.query.get("limit"))
      }
    })

  const handled = (request: HttpServerRequest.HttpServerRequest) =>
    Effect.gen(function* () {
      const target = yield* Target.parse(request.url)
      const { verb } = target
      if (!isVerb(verb) || target.system === undefined) return Replies.refusal(request.url, 404, "no such route")
      const { method, names } = verbs[verb]
      const isWhole = names === "system" ? target.type === undefined : target.type !== undefined && target.tag !== undefined
      if (!isWhole) return Replies.refusal(request.url, 404, "no such route")
      if (request.method !== method) return Replies.refusal(request.url, 405, `${verb} is asked by ${method}`, { allow: method })
      const system = site.systems.get(target.system)
      if (system === undefined) return Replies.refusal(request.url, 404, "Bad session or system")
      const caller = yield* authenticate(site, system, request, verb === "list" || verb === "lookup")
      return Replies.json(yield* answer(verb, caller, target))
    })

  const api = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    handled(request).pipe(
      Effect.catchAll((error: ShifterError) =>
        Effect.as(Replies.statusOf(error) >= 500 ? Effect.logError(error.message) : Effect.void, Replies.ofError(request.url, error))
      ),
      Effect.catchAllDefect((defect) =>
        Effect.as(Effect.logError(isShifterError(defect) ? defect.message : defect), Replies.refusal(request.url, 500, "INTERNAL. The gateway's log says more."))
      )
    )
  )

  return HttpRouter.empty.pipe(
    HttpRouter.all("/", HttpServerResponse.text("{lookup,pull,expire,list}")),
    HttpRouter.mountApp("/api", api, { includePrefix: true })
  )
}
