/**
 * The parts of `gateway.json` that say how registries are reached: the registries themselves, limits of the network, and the blobs that are kept.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"
import { errorFields, FormatError, messageOf } from "./Errors.js"
import type { Credentials } from "./Image.js"

const Registry = Schema.Struct({
  /** Speak `http://`. For registries on this machine or a trusted network. */
  plainHttp: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** User name; the password is the first line of `passwordFile`. */
  username: Schema.optional(Schema.NonEmptyString),
  passwordFile: Schema.optional(AbsolutePath)
}).pipe(Schema.filter((r) => (r.username === undefined) === (r.passwordFile === undefined) || "username and passwordFile belong together"))

/** `registries`: by host and port, such as `127.0.0.1:5000`. */
export const Registries = Schema.Record({ key: Schema.String, value: Registry })
export type Registries = typeof Registries.Type

const seconds = (fallback: number) => Schema.optionalWith(Schema.Number.pipe(Schema.between(0.1, 3600)), { default: () => fallback })

/** `network`: how long is waited for what. */
export const Network = Schema.Struct({
  /** Seconds until a connection stands. */
  connectSeconds: seconds(10),
  /** Seconds until an answer begins. */
  headersSeconds: seconds(60),
  /** Seconds that a body may stand still, or trickle with less than `bytesPerSecond`. */
  stallSeconds: seconds(60),
  bytesPerSecond: Schema.optionalWith(Schema.Int.pipe(Schema.between(0, 1e9)), { default: () => 1024 })
})
export type NetworkLimits = typeof Network.Type
export const defaultNetwork: NetworkLimits = Schema.decodeSync(Network)({})

/** `cache`: fetched blobs that are kept for other images. */
export const Cache = Schema.Struct({
  /** Bytes of blobs that are kept; the least recently used ones go first. `0` keeps none once their image is published. */
  bytes: Schema.optionalWith(Schema.Int.pipe(Schema.nonNegative()), { default: () => 10 * 1024 ** 3 })
})
export type CacheLimits = typeof Cache.Type
export const defaultCache: CacheLimits = Schema.decodeSync(Cache)({})

/** How one registry is reached. */
export interface RegistrySettings {
  /** Whether the configuration names it: then it may be at an address that only this network knows. */
  readonly named: boolean
  /** `http://` instead of `https://`; for registries on the machine itself or a trusted network. */
  readonly plainHttp: boolean
  readonly credentials: Credentials | undefined
  /** Certificates of its private authority, PEM. */
  readonly ca: string | undefined
}

/** The settings of a host. Throws a `FormatError` when a file that they name can't be read. */
export const settings = (registries: Registries, host: string): RegistrySettings => {
  const registry = Object.hasOwn(registries, host) ? registries[host] : undefined
  return {
    named: registry !== undefined,
    plainHttp: registry?.plainHttp ?? false,
    credentials:
      registry?.username === undefined || registry.passwordFile === undefined
        ? undefined
        : { username: registry.username, password: Redacted.make(read("password file", registry.passwordFile).split("\n")[0] ?? "") },
    ca: undefined
  }
}

const read = (what: string, file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    throw new FormatError(errorFields("CONFIG_INVALID", `The ${what} ${file} can't be read: ${messageOf(error)}`, { cause: error }))
  }
}
