/**
 * The HTTP status of each error.
 *
 * @module
 */
import { type ErrorCode, type ErrorReason, errorCodes, errorTable } from "../core/Errors.js"

const ofReason: Readonly<Record<ErrorReason, number>> = {
  Usage: 400,
  Invalid: 400,
  Denied: 403,
  NotFound: 404,
  Interrupted: 409,
  Unsupported: 422,
  Unavailable: 503,
  Configuration: 500,
  Storage: 500,
  Failed: 500
}

const ofCode: Readonly<Partial<Record<ErrorCode, number>>> = {
  UNAUTHENTICATED: 401,
  LIMIT_EXCEEDED: 413,
  UPLOAD_CONFLICT: 409,
  QUEUE_FULL: 429,
  REGISTRY_RATE_LIMITED: 429,
  REGISTRY_UNREACHABLE: 502,
  REGISTRY_TIMEOUT: 502,
  REGISTRY_ERROR: 502,
  REDIRECT_REFUSED: 502,
  RESOURCE: 503,
  STORAGE_FULL: 507
}

export const statusOf = (code: ErrorCode): number => ofCode[code] ?? ofReason[errorTable[code].reason]

/** Every status that an error has, with its codes. */
export const statuses: ReadonlyMap<number, ReadonlyArray<ErrorCode>> = errorCodes.reduce(
  (map, code) => map.set(statusOf(code), [...(map.get(statusOf(code)) ?? []), code]),
  new Map<number, ReadonlyArray<ErrorCode>>()
)
