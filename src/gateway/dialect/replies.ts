/**
 * Replies as a strict client reads them: `Content-Type: application/json` and not a letter more, and a length, so that no reply is chunked.
 *
 * @module
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { printable, type ShifterError } from "../../core/Errors.js"
import { statusOf } from "../Status.js"

/** A reply whose body is JSON already. */
export const json = (text: string, status = 200, headers: Readonly<Record<string, string>> = {}): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.uint8Array(Buffer.from(text), { status, contentType: "application/json", headers })

const phrases: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable"
}

/** A refusal: `{"status", "error", "message"}`. */
export const refusal = (url: string, status: number, error: string, headers: Readonly<Record<string, string>> = {}): HttpServerResponse.HttpServerResponse =>
  json(JSON.stringify({ status, error, message: `${phrases[status] ?? "Refused"}: ${printable(url)}` }), status, headers)

/** What is not there and what is not his. One text for both. */
export const notFound = (url: string): HttpServerResponse.HttpServerResponse => refusal(url, 404, "image not found")

/** The reply to a call that failed. What went wrong inside the service is for its log, not for strangers. */
export const ofError = (url: string, error: ShifterError): HttpServerResponse.HttpServerResponse => {
  if (error.code === "IMAGE_NOT_FOUND") return notFound(url)
  const status = statusOf(error.code)
  const headers = {
    ...(status === 401 ? { "www-authenticate": "Munge" } : {}),
    ...(status === 429 || status === 503 ? { "retry-after": "10" } : {}),
    // What was not read of a body would be taken for the next request.
    ...(status === 413 ? { connection: "close" } : {})
  }
  return refusal(url, status, status >= 500 ? `${error.code}. The gateway's log says more.` : error.message, headers)
}
