/**
 * Which failures may pass by themselves, and when a pull that had one is begun again.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { ErrorCode, ShifterError } from "../core/Errors.js"
import type { PullPolicy } from "../core/ServiceConfig.js"

/**
 * What may be over in a while without anybody's doing: the network and what is behind it, room that other pulls give back, a file system, a
 * database or a workload manager that comes back, and a program that the machine had no memory for. All else would fail again, or is for somebody
 * to mend.
 */
const passing: ReadonlySet<ErrorCode> = new Set([
  "REGISTRY_UNREACHABLE",
  "REGISTRY_TIMEOUT",
  "REGISTRY_RATE_LIMITED",
  "REGISTRY_ERROR",
  "STORAGE_FULL",
  "CATALOG_FAILED",
  "LEASE_LOST",
  "IMAGE_PATH_UNUSABLE",
  "IMAGE_PATH_FAILED",
  "PUBLISH_FAILED",
  "IMAGE_VERIFY_FAILED",
  "NATIVE_FAILED",
  "TOOL_FAILED",
  "WLM_MISSING",
  "WLM_FAILED",
  "RESOURCE"
])

export const mayPass = (error: ShifterError): boolean => passing.has(error.code)

/** The longest that a pull waits for its next try, unless the registry asks for more. */
const LONGEST = 3600 * 1000
/** The longest that a registry is believed. */
const LONGEST_ASKED = 24 * 3600 * 1000

/** Milliseconds until the next try, after so many: twice as many each time, never before the other side wants it, and not all at one moment. */
export const delay = ({ retrySeconds }: PullPolicy, tries: number, error: ShifterError): Effect.Effect<number> =>
  Effect.map(Random.nextRange(0.7, 1.3), (jitter) => {
    const own = Math.min(LONGEST, retrySeconds * 1000 * 2 ** Math.max(0, tries - 1)) * jitter
    const asked = Math.min(LONGEST_ASKED, (error.retryAfter ?? 0) * 1000)
    return Math.round(asked > own ? asked + 1000 * jitter : own)
  })
