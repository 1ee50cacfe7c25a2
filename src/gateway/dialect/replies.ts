/**
 * Replies as a strict client reads them: `Content-Type: application/json` and not a letter more, and a length, so that no reply is chunked.
 *
 * @module
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { printable, type ShifterError } from "../../core/Errors.js"

/** A reply whose body is JSON already. */
export const json = (text: string, status = 200, headers: Readonly<Record<string, string>> = {}): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.uint8Array(Buffer.from(text), { status, contentType: "application/json", headers: { "cache-control": "no-store", ...headers } })

const phrases: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable"
}

/** A refusal: `{"status", "error", "message"}`. */
export const refusal = (url: string, status: number, error: string, headers: Readonly<Record<string, string>> = {}): HttpServerResponse.HttpServerResponse =>
  json(JSON.stringify({ status, error, message: `${phrases[status] ?? "Refused"}: ${printable(url)}` }), status, headers)

/** What is not there and what is not his. One text for both. */
export const notFound = (url: string): HttpServerResponse.HttpServerResponse => refusal(url, 404, "image not found")

/** The status that an error deserves. */
export const statusOf = (error: ShifterError): number => {
  switch (error.code) {
    case "UNAUTHENTICATED":
      return 401
    case "SYSTEM_UNKNOWN":
      return 404
    case "QUEUE_FULL":
    case "REGISTRY_RATE_LIMITED":
      return 429
    default:
  }
  switch (error.reason) {
    case "Usage":
    case "Invalid":
      return 400
    case "Denied":
      return 403
    case "NotFound":
      return 404
    case "Unsupported":
      return 422
    case "Unavailable":
    case "Storage":
    case "Interrupted":
      return 503
    case "Configuration":
    case "Failed":
      return 500
  }
}

/** The reply to a call that failed. What went wrong inside the service is for its log, not for strangers. */
export const ofError = (url: string, error: ShifterError): HttpServerResponse.HttpServerResponse => {
  const status = statusOf(error)
  if (error.code === "IMAGE_NOT_FOUND") return notFound(url)
  const headers = status === 401 ? { "www-authenticate": "Munge" } : status === 429 ? { "retry-after": "10" } : {}
  return refusal(url, status, status >= 500 ? `${error.code}. The gateway's log says more.` : error.message, headers)
}
