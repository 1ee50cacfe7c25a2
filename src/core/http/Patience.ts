/**
 * Failures that may pass, and the one place that tries again.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type ErrorCode, errorFields, ImageError, printable, systemCode } from "../Errors.js"
import { ProxyRefused } from "./Reach.js"

/** A failure that may be over in a moment. */
export class Passing extends Data.TaggedError("Passing")<{
  readonly error: ImageError
  /** When to come back, as the other side says. */
  readonly afterMillis?: number | undefined
  /** What it costs of the tries that there are. */
  readonly cost?: number | undefined
}> {}

const isPassing = (error: unknown): error is Passing => error instanceof Passing

/** Tries without progress. A time limit costs two of them. */
const TRIES = 4
const FIRST_WAIT = 300
/** The longest that a registry may make us wait; a longer time is told to the caller instead. */
export const LONGEST_WAIT = 60_000

export interface PatienceOptions {
  /** Bytes that have arrived so far: tries count anew when some did. */
  readonly progress?: () => number
  readonly waiting?: (failure: Passing, millis: number) => void
}

/** Bytes that count as progress, so that a registry that gives a byte a connection is not asked for ever. */
const PROGRESS = 1024 * 1024

/** Repeats what fails for a moment, further apart each time, with jitter, and not before the other side wants it. */
export const patiently = <A, E, R>(
  effect: Effect.Effect<A, E | Passing, R>,
  options: PatienceOptions = {}
): Effect.Effect<A, Exclude<E, Passing> | ImageError, R> => {
  const progress = options.progress ?? (() => 0)
  const attempt = (left: number, round: number, mark: number): Effect.Effect<A, Exclude<E, Passing> | ImageError, R> =>
    Effect.catchIf(effect, isPassing, (failure) =>
      Effect.gen(function* () {
        const moved = progress() - mark >= PROGRESS
        const tries = (moved ? TRIES : left) - (failure.cost ?? 1)
        const waits = moved ? 0 : round
        const after = failure.afterMillis ?? 0
        if (tries <= 0 || after > LONGEST_WAIT) return yield* failure.error
        const millis = Math.max(after, FIRST_WAIT * 2 ** waits * (yield* Random.nextRange(0.7, 1.3)))
        options.waiting?.(failure, millis)
        yield* Effect.sleep(millis)
        return yield* attempt(tries, waits + 1, moved ? progress() : mark)
      })
    )
  return Effect.suspend(() => attempt(TRIES, 0, progress()))
}

/** The time of a `Retry-After` header (RFC 9110, 10.2.3), in milliseconds from now. */
export const retryAfter = (header: string | undefined, now: number): number | undefined => {
  const text = header?.trim() ?? ""
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const date = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** What is kept of a failed request: neither its headers, nor its address, which may be a secret itself. */
export interface TransportCause {
  readonly host: string
  readonly code: string
  readonly reason: string
}

const passing: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN", "HPE_INVALID_EOF_STATE", "ABORT_ERR"])

/** Who was asked, for messages, and the codes for what came of it. */
export interface Asked {
  /** At the beginning of a sentence, before the host's name. */
  readonly who: string
  readonly refused: ErrorCode
  readonly timeout: ErrorCode
  readonly unreachable: ErrorCode
  /** What to do about an address that is refused, and about a connection that is not secure. */
  readonly remedies: (host: string) => { readonly refused: string; readonly notSecure: string; readonly unknownAuthority: string }
}

const registry: Asked = {
  who: "The registry",
  refused: "REDIRECT_REFUSED",
  timeout: "REGISTRY_TIMEOUT",
  unreachable: "REGISTRY_UNREACHABLE",
  remedies: (host) => ({
    refused: `If it should, name "${host}" under registries in the gateway configuration.`,
    notSecure: 'If it speaks plain HTTP, set "plainHttp": true for it in the gateway configuration.',
    unknownAuthority: 'If its certificate is of a private authority, name that in "ca" for it in the gateway configuration.'
  })
}

/** The failure of a request that had no answer, or whose body broke off, which `brokeOff` says. */
export const transportFailure = (url: URL, error: unknown, brokeOff?: string, asked: Asked = registry): ImageError | Passing => {
  const found = causes(error)
  const inner = found.find((each) => systemCode(each) !== undefined) ?? found[found.length - 1]
  const code = systemCode(inner) ?? ""
  const said = inner instanceof Error ? printable(inner.message) : ""
  const cause: TransportCause = { host: url.host, code, reason: inner instanceof Error ? inner.name : "" }
  const remedies = asked.remedies(url.host)
  if (code === "ADDRESS_REFUSED") {
    return new ImageError(errorFields(asked.refused, `${asked.who} leads to an address of this network: ${said}`, { cause, remedy: remedies.refused }))
  }
  if (code === "TOO_SLOW") return new Passing({ error: new ImageError(errorFields(asked.timeout, `${url.host} is too slow: ${said}`, { cause })), cost: 2 })
  if (/TIMEDOUT|TIMEOUT/.test(code)) return new Passing({ error: new ImageError(errorFields(asked.timeout, `${url.host} did not answer in time`, { cause })), cost: 2 })
  if (brokeOff !== undefined) return new Passing({ error: new ImageError(errorFields(asked.unreachable, brokeOff, { cause })) })
  const secure = /SSL|TLS|CERT|WRONG_VERSION|UNABLE_TO|SELF_SIGNED/.test(code)
  const why =
    code === "ECONNREFUSED"
      ? "nothing listens there"
      : code === "ENOTFOUND" || code === "EAI_AGAIN"
        ? "its name is not known"
        : secure
          ? `no secure connection (${code})`
          : code === "PROXY_REFUSED"
            ? said
            : code === "" || code === "ECONNRESET"
            ? "the connection broke off"
            : code
  const remedy = inner instanceof ProxyRefused
    ? { remedy: 'Check "proxy" in the gateway configuration, or HTTPS_PROXY and its like in the environment.' }
    : !secure
    ? {}
    : { remedy: /SSL|WRONG_VERSION/.test(code) ? remedies.notSecure : remedies.unknownAuthority }
  const failure = new ImageError(errorFields(asked.unreachable, `${asked.who} ${url.host} can't be reached: ${printable(why)}`, { cause, ...remedy }))
  return passing.has(inner instanceof ProxyRefused ? (inner.reason ?? "") : code) ? new Passing({ error: failure }) : failure
}

const causes = (error: unknown): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  for (let each: unknown = error; each !== undefined && each !== null && found.length < 8; each = typeof each === "object" && "cause" in each ? each.cause : undefined) found.push(each)
  return found
}
