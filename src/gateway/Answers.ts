/**
 * What the service answers when something went wrong: always the same shape, never a stack, and nothing of what was sent.
 *
 * @module
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiError from "@effect/platform/HttpApiError"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { type ErrorFields, errorFields, isErrorCode, type ErrorCode, messageOf, printable } from "../core/Errors.js"
import { statusOf } from "./Status.js"
import { Api } from "./v1/Api.js"

const RETRY_SECONDS = 10

/** An error as a response. */
export const errorResponse = ({ code, message, reason, remedy, what }: ErrorFields, status: number = statusOf(code)) =>
  HttpServerResponse.unsafeJson(
    { code, reason, what, remedy, message },
    {
      status,
      headers: {
        ...(status === 401 ? { "www-authenticate": "Munge, Bearer" } : {}),
        ...(status === 429 || status === 503 ? { "retry-after": String(RETRY_SECONDS) } : {}),
        // What was not read of a body would be taken for the next request.
        ...(status === 413 ? { connection: "close" } : {})
      }
    }
  )

export const tooLarge = errorResponse(errorFields("LIMIT_EXCEEDED", "The request's body is larger than this gateway takes", { remedy: "Send less, or ask the administrator about bodyBytes of server." }))

/** The answer to a request that failed, whatever with. */
export const ofCause = (cause: Cause.Cause<unknown>, request: { readonly method: string; readonly url: string }): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
  const error = Cause.squash(cause)
  if (isDeclared(error)) return Effect.succeed(errorResponse(error))
  if (error instanceof HttpApiError.HttpApiDecodeError) return Effect.succeed(errorResponse(errorFields("USAGE", mistakes(error), { remedy: "See /v1/docs." })))
  // Whoever describes a mistake goes down as deep as what was sent.
  if (error instanceof RangeError && error.message.includes("call stack")) {
    return Effect.succeed(errorResponse(errorFields("USAGE", "The request is nested too deeply", { remedy: "See /v1/docs." })))
  }
  if (error instanceof HttpServerError.RouteNotFound) return Effect.succeed(noRoute(request))
  if (error instanceof HttpServerError.RequestError) {
    return Effect.succeed(
      messageOf(error.cause) === "maxBytes exceeded" ? tooLarge : errorResponse(errorFields("USAGE", "The request's body can't be read", { remedy: "Send JSON, whole." }))
    )
  }
  return Effect.as(
    Effect.logError("A request failed unexpectedly", cause),
    errorResponse(errorFields("INTERNAL", "The gateway failed unexpectedly", { remedy: "Ask its administrator, who finds more in its log." }))
  )
}

/** Fields of an error, as the API's handlers fail with. */
const isDeclared = (error: unknown): error is ErrorFields & { readonly code: ErrorCode } =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" && isErrorCode(error.code) && "remedy" in error && "what" in error && "message" in error && "reason" in error

/** Where a request is not as described; without what it holds there, since that may be a password. */
const mistakes = ({ issues }: HttpApiError.HttpApiDecodeError): string => {
  // That what may be left out is not left out is no news of what is wrong inside it.
  const told = issues.filter(({ message }) => !message.startsWith("Expected undefined"))
  const telling = (told.length === 0 ? issues : told).map(({ _tag, path }) => {
    const key = path.length === 0 ? "The request" : path.map(String).join(".")
    return `${key} is ${_tag === "Missing" ? "missing" : _tag === "Unexpected" ? "unknown" : "not valid"}`
  })
  return printable([...new Set(telling)].slice(0, 10).join("; "))
}

interface Known {
  readonly method: string
  readonly pattern: RegExp
}

const known: ReadonlyArray<Known> = (() => {
  const found: Array<Known> = [
    { method: "GET", pattern: /^\/v1\/docs$/ },
    { method: "GET", pattern: /^\/v1\/openapi\.json$/ }
  ]
  HttpApi.reflect(Api, {
    onGroup: () => undefined,
    onEndpoint: ({ endpoint }) => void found.push({ method: endpoint.method, pattern: new RegExp(`^${endpoint.path.replace(/:[a-z]+/g, "[^/]+")}$`) })
  })
  return found
})()

/**
 * The route of a path, for logs and metrics: without what users write into it, since whoever could make up routes could make this process keep
 * them for ever. `more` are routes beside those of version 1, each with all below.
 */
export const routeOf = (url: string, more: ReadonlyArray<string>): string => {
  const path = url.split("?")[0] ?? ""
  const found = known.find(({ pattern }) => pattern.test(path))
  if (found === undefined) return more.find((route) => path === route || path.startsWith(`${route}/`)) ?? "unknown"
  return found.pattern.source.slice(1, -1).replace(/\\/g, "").replace(/\[\^\/\]\+/g, ":id")
}

const noRoute = ({ method, url }: { readonly method: string; readonly url: string }) => {
  const path = url.split("?")[0] ?? ""
  const methods = known.filter(({ pattern }) => pattern.test(path)).map((each) => each.method)
  if (methods.length === 0) return errorResponse(errorFields("USAGE", "There is no such page", { remedy: "See /v1/docs." }), 404)
  const allow = [...new Set([...methods, ...(methods.includes("GET") ? ["HEAD"] : [])])].sort()
  return HttpServerResponse.setHeader(errorResponse(errorFields("USAGE", `${printable(method.slice(0, 20))} is not for this page`, { remedy: `Use ${allow.join(" or ")}.` }), 405), "allow", allow.join(", "))
}
