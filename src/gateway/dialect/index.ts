/**
 * The REST dialect of the reference's gateway, so that its compiled command line works with this one. Every call says who calls by a munge
 * credential of its own, which is good once; the GETs that change things are accepted with nothing else.
 *
 * @module
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Audit } from "../../core/Audit.js"
import { checked } from "../../core/Checked.js"
import { errorFields, GatewayError, type ShifterError } from "../../core/Errors.js"
import type { Gateway } from "../../core/Gateway.js"
import type { ImageIndex } from "../../core/ImageIndex.js"
import type { PullQueue } from "../../core/PullQueue.js"
import type * as Site from "../../core/Site.js"
import type { Authentication } from "../Identity.js"
import type { Pulls } from "../Pulls.js"
import type { Dialect } from "../Server.js"
import * as Administration from "./administration.js"
import { authenticate, type Caller, somebody } from "./caller.js"
import * as Images from "./images.js"
import * as Imports from "./imports.js"
import * as Pull from "./pull.js"
import * as Replies from "./replies.js"
import * as Target from "./target.js"

/** What each verb is asked with, and how much of a path it needs. */
const verbs = {
  list: { method: "GET", names: "system" },
  lookup: { method: "GET", names: "image" },
  pull: { method: "POST", names: "image" },
  doimport: { method: "POST", names: "image" },
  expire: { method: "GET", names: "image" },
  autoexpire: { method: "GET", names: "system" },
  queue: { method: "GET", names: "system" },
  metrics: { method: "GET", names: "system" }
} as const
type Verb = keyof typeof verbs
const isVerb = (text: string): text is Verb => Object.hasOwn(verbs, text)

/** Two lists of a thousand ids are not half of this. */
const BODY_BYTES = 65536
/** A list is made whole, so that its length is known; few are made at once. */
const LISTS = 2
/** Lists of one user, made or on their way: each is in memory until he has taken it. All who do not say who they are count as one. */
const LISTS_OF_ONE = 8

/** What the dialect is served by. */
export type Needed = Gateway | Pulls | PullQueue | ImageIndex | Authentication | Audit

/** The dialect of a site, for the server: its paths below `/api/`, and `/`, which says what there is. */
export const make = (site: Site.Site): Effect.Effect<ReadonlyArray<Dialect>, never, Needed> =>
  Effect.gen(function* () {
    // A request has a scope of its own.
    const services = Context.omit(Scope.Scope)(yield* Effect.context<Needed>())
    const images = yield* Images.make(site)
    const lists = yield* Effect.makeSemaphore(LISTS)
    const listing = new Map<number | undefined, number>()
    /** Until the request ends, whose answer is taken then. */
    const asOneOfFew = (uid: number | undefined) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          const others = listing.get(uid) ?? 0
          return others < LISTS_OF_ONE ? Effect.sync(() => void listing.set(uid, others + 1)) : Effect.fail(manyLists)
        }),
        () =>
          Effect.sync(() => {
            const others = (listing.get(uid) ?? 1) - 1
            if (others === 0) listing.delete(uid)
            else listing.set(uid, others)
          })
      )
    const bodyBytes = Math.min(BODY_BYTES, site.server.bodyBytes)

    const answer = (verb: Verb, caller: Caller, target: Target.Target) =>
      Effect.gen(function* () {
        const ref = Effect.suspend(() => Target.reference(target.type ?? "", target.tag ?? "", site.dialect))
        switch (verb) {
          case "list":
            yield* asOneOfFew(caller.identity?.requester.uid)
            return yield* lists.withPermits(1)(images.list(caller))
          case "lookup":
            return yield* images.lookup(caller, yield* ref)
          case "pull": {
            const identity = yield* somebody(caller)
            const allowed = yield* Pull.allowed(identity, yield* bodyOf(Pull.Lists, bodyBytes))
            return yield* Pull.pull(site, images, caller, identity, yield* ref, allowed)
          }
          case "doimport": {
            const identity = yield* somebody(caller)
            const body = yield* bodyOf(Imports.Import, bodyBytes)
            const wanted = yield* ref
            yield* Imports.imported(caller.system, identity, wanted, body, yield* Pull.allowed(identity, body))
            return images.shown(caller, wanted, yield* images.find(caller, wanted))
          }
          case "expire":
            return JSON.stringify({ status: yield* Administration.expire(caller, yield* somebody(caller), yield* ref) })
          case "autoexpire":
            return JSON.stringify({ status: yield* Administration.autoexpire(caller, yield* somebody(caller)) })
          case "queue":
            return JSON.stringify({ list: yield* Administration.queue(site, caller, yield* somebody(caller)) })
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

    const app: HttpApp.Default<never, Scope.Scope> = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      // A server runs its application uninterruptible; time limits and callers who go away need it otherwise.
      Effect.interruptible(handled(request)).pipe(
        Effect.tapError((error: ShifterError) => (isInside(error) ? Effect.logError(error.message) : Effect.void)),
        Effect.catchAll((error) => Effect.succeed(Replies.ofError(request.url, error))),
        Effect.catchAllCause((cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.interrupt
            : Effect.as(Effect.logError("A request failed unexpectedly", cause), Replies.refusal(request.url, 500, "INTERNAL. The gateway's log says more."))
        )
      )
    ).pipe(Effect.provide(services))

    return [
      { prefix: Target.MOUNT, routes: Object.keys(verbs).map((verb) => `${Target.MOUNT}${verb}`), app },
      { prefix: "/", routes: ["/"], app: Effect.succeed(HttpServerResponse.text("{lookup,pull,expire,list}")) }
    ]
  })

const manyLists = new GatewayError(errorFields("QUEUE_FULL", `${LISTS_OF_ONE} lists of yours are made or on their way already`, { remedy: "Ask again when you have taken one." }))

/** Whether something is wrong with the service, not with the call. */
const isInside = ({ reason }: ShifterError): boolean => reason === "Configuration" || reason === "Storage" || reason === "Failed"

/** A body, which may be empty. */
const bodyOf = <A, I>(schema: Schema.Schema<A, I>, limit: number) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const tooLarge = new GatewayError(errorFields("LIMIT_EXCEEDED", `The body of the request is longer than ${limit} bytes`, { remedy: "Send less." }))
    if (Number(request.headers["content-length"] ?? "0") > limit) return yield* tooLarge
    const text = yield* request.text.pipe(HttpServerRequest.withMaxBodySize(Option.some(limit)), Effect.mapError(() => tooLarge))
    const value = yield* Effect.try({
      try: (): unknown => (text.trim() === "" ? {} : JSON.parse(text)),
      catch: () => new GatewayError(errorFields("USAGE", "The body of the request is no JSON", { remedy: 'Send an object such as {"allowed_uids":"1000,1001"}, or nothing.' }))
    })
    return yield* checked(schema, value)
  })
