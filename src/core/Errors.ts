/**
 * The public errors: one tagged error per service. Each carries a code of `formats/errors.json`, from which its reason, exit status and
 * remedy come, and a message that says what went wrong, where, and what to do.
 *
 * @module
 */
import * as Data from "effect/Data"
import table from "../../formats/errors.json" with { type: "json" }

/**
 * A code of the error table, such as `IMAGE_NOT_FOUND`. Codes are stable; messages are not. Written out, since published types can hold no
 * JSON; {@link errorTable} and {@link errorCodes} do not compile when the two differ.
 */
export type ErrorCode =
  | "USAGE"
  | "REFERENCE_INVALID"
  | "INTERNAL"
  | "CANCELLED"
  | "NOT_SETUID"
  | "SETUID_NEEDED"
  | "USERNS_UNAVAILABLE"
  | "FUSE_UNAVAILABLE"
  | "CALLER_IS_ROOT"
  | "CALLER_UNKNOWN"
  | "UDIROOT_CONF_MISSING"
  | "UDIROOT_CONF_UNSAFE"
  | "UDIROOT_CONF_INVALID"
  | "IMAGE_NOT_FOUND"
  | "IMAGE_EXPIRED"
  | "IMAGE_UNREADABLE"
  | "IMAGE_UNSAFE"
  | "IMAGE_CORRUPT"
  | "IMAGE_LAYOUT"
  | "RECORD_INVALID"
  | "RECORD_NEWER"
  | "LOCAL_NOT_ALLOWED"
  | "IMAGE_TYPE_NOT_RUNNABLE"
  | "NO_ENTRYPOINT"
  | "NO_WORKDIR"
  | "WORKDIR_UNUSABLE"
  | "ENVIRONMENT_INVALID"
  | "ENV_FILE_UNREADABLE"
  | "OPTION_UNAVAILABLE"
  | "KERNEL_UNSUPPORTED"
  | "MOUNT_FAILED"
  | "SITE_FS_FAILED"
  | "VOLUME_INVALID"
  | "VOLUME_FAILED"
  | "CACHE_REFUSED"
  | "MODULE_REFUSED"
  | "MODULE_FAILED"
  | "HOOK_FAILED"
  | "NOT_ROOT"
  | "PREPARE_FAILED"
  | "DROP_FAILED"
  | "RESOURCE"
  | "EXEC_FAILED"
  | "PREPARE_UNAVAILABLE"
  | "NATIVE_MISSING"
  | "NATIVE_FAILED"
  | "OUTPUT_TOO_LARGE"
  | "CONFIG_INVALID"
  | "SYSTEM_UNKNOWN"
  | "SOURCE_UNSUPPORTED"
  | "ACCESS_DENIED"
  | "UNAUTHENTICATED"
  | "GATEWAY_UNREACHABLE"
  | "PULL_NOT_FOUND"
  | "QUEUE_FULL"
  | "CREDENTIALS_GONE"
  | "REGISTRY_UNAUTHORIZED"
  | "REGISTRY_UNREACHABLE"
  | "REGISTRY_TIMEOUT"
  | "REGISTRY_RATE_LIMITED"
  | "REGISTRY_ERROR"
  | "REDIRECT_REFUSED"
  | "MANIFEST_NOT_FOUND"
  | "PLATFORM_NOT_FOUND"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNSUPPORTED"
  | "IMAGE_CONFIG_INVALID"
  | "DIGEST_MISMATCH"
  | "LAYER_INVALID"
  | "LIMIT_EXCEEDED"
  | "LAYOUT_INVALID"
  | "IMPORT_NEEDED"
  | "FILE_UNAVAILABLE"
  | "FILE_CHANGED"
  | "FILE_INVALID"
  | "TREE_NOT_FOUND"
  | "TREE_UNSAFE"
  | "TREE_UNREADABLE"
  | "TREE_INVALID"
  | "UPLOAD_NOT_FOUND"
  | "UPLOAD_CONFLICT"
  | "URL_REFUSED"
  | "URL_FAILED"
  | "TOOL_MISSING"
  | "TOOL_UNSUITABLE"
  | "TOOL_FAILED"
  | "IMAGE_VERIFY_FAILED"
  | "IMAGE_PATH_UNUSABLE"
  | "SSH_UNREACHABLE"
  | "SSH_HOST_KEY_REFUSED"
  | "SSH_UNAUTHORIZED"
  | "SSH_CUT"
  | "EXPORT_FAILED"
  | "PUBLISH_FAILED"
  | "IMAGE_PATH_FAILED"
  | "STORAGE_FULL"
  | "STATE_UNUSABLE"
  | "CATALOG_FAILED"
  | "LEASE_LOST"
  | "DISK_INVALID"
  | "DISK_UNSUPPORTED"
  | "DISK_NO_SYSTEM"
  | "DISK_AMBIGUOUS"
  | "READER_FAILED"
  | "JOB_INVALID"
  | "WLM_MISSING"
  | "WLM_REFUSED"
  | "WLM_FAILED"
  | "JOB_UNKNOWN"

/** The coarse class of an error, for programs that decide what to do next. */
export type ErrorReason =
  | "Usage"
  | "Configuration"
  | "Denied"
  | "NotFound"
  | "Invalid"
  | "Unsupported"
  | "Unavailable"
  | "Storage"
  | "Interrupted"
  | "Failed"

/** One row of the error table. */
export interface ErrorEntry {
  readonly reason: ErrorReason
  /** Exit status of a command that ends with this error. */
  readonly exit: number
  readonly means: string
  readonly remedy: string
}

/** The whole error table, by code. */
export const errorTable = (table satisfies Record<ErrorCode, unknown>) as Readonly<Record<ErrorCode, ErrorEntry>>

/** All codes, in the order of the table. */
export const errorCodes: ReadonlyArray<ErrorCode> = Object.keys(table) as Array<keyof typeof table>

/** Whether a text is a code of the table. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(table, text)

/** What every error of a service holds. */
export interface ErrorFields {
  readonly code: ErrorCode
  readonly reason: ErrorReason
  /** What and where, without the remedy. */
  readonly what: string
  /** What to do next. */
  readonly remedy: string
  /** One line: what, where and what to do. */
  readonly message: string
  /** Seconds until it is worth another try, where the other side says so. */
  readonly retryAfter?: number
  readonly cause?: unknown
}

/** A registry, layout, manifest, layer, disk or tree is not usable. */
export class ImageError extends Data.TaggedError("ImageError")<ErrorFields> {}
/** The packer could not write the image. */
export class PackerError extends Data.TaggedError("PackerError")<ErrorFields> {}
/** The catalogue could not be read or written. */
export class CatalogError extends Data.TaggedError("CatalogError")<ErrorFields> {}
/** A system's image path could not be read or written. */
export class TransportError extends Data.TaggedError("TransportError")<ErrorFields> {}
/** A pull, look-up, listing or removal failed; the cause is the error of the service that failed. */
export class GatewayError extends Data.TaggedError("GatewayError")<ErrorFields> {}
/** A native program refused or failed. */
export class UdiError extends Data.TaggedError("UdiError")<ErrorFields> {}
/** A workload manager could not be asked or refused. */
export class WlmError extends Data.TaggedError("WlmError")<ErrorFields> {}
/** A reference, configuration or file of the formats is not valid. */
export class FormatError extends Data.TaggedError("FormatError")<ErrorFields> {}

/** Any error of this library. */
export type ShifterError =
  | ImageError
  | PackerError
  | CatalogError
  | TransportError
  | GatewayError
  | UdiError
  | WlmError
  | FormatError

/** Builds the fields of an error from its code and a sentence without a full stop. A remedy may replace the table's. */
export const errorFields = (code: ErrorCode, what: string, options?: { readonly cause?: unknown; readonly remedy?: string; readonly retryAfter?: number | undefined }): ErrorFields => {
  const entry = errorTable[code]
  const remedy = options?.remedy ?? entry.remedy
  const said = printable(what)
  return {
    code,
    reason: entry.reason,
    what: said,
    remedy,
    message: `${said}. ${remedy}`,
    ...(options?.retryAfter === undefined ? {} : { retryAfter: options.retryAfter }),
    ...(options?.cause === undefined ? {} : { cause: options.cause })
  }
}

const tags: ReadonlyArray<unknown> = [
  "ImageError",
  "PackerError",
  "CatalogError",
  "TransportError",
  "GatewayError",
  "UdiError",
  "WlmError",
  "FormatError"
] satisfies ReadonlyArray<ShifterError["_tag"]>

/** Whether a value is an error of this library. */
export const isShifterError = (value: unknown): value is ShifterError =>
  typeof value === "object" && value !== null && "_tag" in value && tags.includes(value._tag) && "code" in value && typeof value.code === "string" && isErrorCode(value.code)

/** Carries the fields of another service's error over, keeping it as the cause. */
export const carried = (error: ShifterError): ErrorFields => ({
  code: error.code,
  reason: error.reason,
  what: error.what,
  remedy: error.remedy,
  message: error.message,
  ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
  cause: error
})

/**
 * A text from a stranger, safe to show on a terminal and in one line of a log: control characters are written as `\xHH`, and a text over
 * 2,000 characters is cut in the middle, visibly.
 */
export const printable = (text: string): string => {
  // eslint-disable-next-line no-control-regex
  const safe = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (c) => {
    const n = c.charCodeAt(0)
    return n < 256 ? `\\x${n.toString(16).padStart(2, "0")}` : `\\u${n.toString(16)}`
  })
  return safe.length > 2000 ? `${safe.slice(0, 1200)} … ${safe.slice(-700)}` : safe
}

/** The code that a system error of a file operation deserves, given the code for everything else. */
export const storageCode = (error: unknown, otherwise: ErrorCode): ErrorCode => {
  const code = systemCode(error)
  return code === "ENOSPC" || code === "EDQUOT" ? "STORAGE_FULL" : otherwise
}

/** What Linux says and Node has no name for: of quotas, and of file systems of a network. */
const unnamed: Readonly<Record<string, readonly [code: string, says: string]>> = {
  "Unknown system error -116": ["ESTALE", "stale file handle"],
  "Unknown system error -122": ["EDQUOT", "disk quota exceeded"]
}

/** The errno name of a Node error, such as `ENOENT`. */
export const systemCode = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? (unnamed[error.code]?.[0] ?? error.code) : undefined

/** The message of whatever was thrown. */
export const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/(Unknown system error -\d+): \1/, (all, name: string) => unnamed[name]?.join(": ") ?? all)
