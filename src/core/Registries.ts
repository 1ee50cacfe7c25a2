/**
 * The parts of `gateway.json` that say how registries are reached: the registries themselves, limits of the network, and the blobs that are kept.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { homedir } from "node:os"
import * as nodePath from "node:path"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"
import { errorFields, FormatError, messageOf } from "./Errors.js"
import type { Credentials } from "./Image.js"

/** A host as registries and URLs name it. */
export const Host = Schema.String.pipe(
  Schema.pattern(/^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?$/, { message: () => "a host in lower case, with a port where it needs one" })
)

/** So many requests in so many seconds. */
const Budget = Schema.Struct({ requests: Schema.Int.pipe(Schema.between(2, 1e9)), seconds: Schema.Number.pipe(Schema.between(1, 30 * 24 * 3600)) })
export type RegistryBudget = typeof Budget.Type

const Registry = Schema.Struct({
  /** Speak `http://`. For registries on this machine or a trusted network. */
  plainHttp: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** User name; the password is the first line of `passwordFile`. */
  username: Schema.optional(Schema.NonEmptyString),
  passwordFile: Schema.optional(AbsolutePath),
  /** A file with the certificates (PEM) of a private authority, trusted for this registry alone, beside the well-known ones. */
  ca: Schema.optional(AbsolutePath),
  /** Hosts that are asked first, in this order; each may have settings of its own under `registries`. */
  mirrors: Schema.optionalWith(Schema.Array(Host).pipe(Schema.maxItems(16)), { default: () => [] }),
  /** How often this process asks it at most. */
  budget: Schema.optional(Budget)
}).pipe(Schema.filter((r) => (r.username === undefined) === (r.passwordFile === undefined) || "username and passwordFile belong together"))

/** `registries`: by host and port, such as `127.0.0.1:5000`. */
export const Registries = Schema.Record({ key: Host, value: Registry })
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

const ProxyUrl = Schema.String.pipe(
  Schema.filter((text) => (URL.canParse(text) && /^(?:https?|socks(?:4a?|5h?)?):$/.test(new URL(text).protocol)) || "a URL of http, https, socks4, socks4a, socks5 or socks5h")
)

/** `proxy`: the way out of this network. Without it, the environment's `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` count. */
export const Proxy = Schema.Struct({
  /** For `https://` and for `http://` registries. May hold a user name and a password. */
  https: Schema.optional(ProxyUrl),
  http: Schema.optional(ProxyUrl),
  /** What is reached without it: hosts, domains (with all below), address ranges; `*` for all. */
  noProxy: Schema.optionalWith(Schema.Array(Schema.String.pipe(Schema.pattern(/^\S+$/, { message: () => "a host, domain or range without blanks" }))), { default: () => [] })
})
export interface ProxySettings {
  readonly https?: string | undefined
  readonly http?: string | undefined
  readonly noProxy: ReadonlyArray<string>
}

/** The proxies of an environment, as other programs read them: `HOST:PORT` is one of HTTP. */
export const environmentProxy = (environment: Readonly<Record<string, string | undefined>>): ProxySettings => {
  const value = (name: string) => [environment[name.toLowerCase()], environment[name]].find((each) => each !== undefined && each !== "")
  const url = (name: string) =>
    [value(name), value("ALL_PROXY")].map((text) => (text === undefined || text.includes("://") ? text : `http://${text}`)).find(Schema.is(ProxyUrl))
  return { https: url("HTTPS_PROXY"), http: url("HTTP_PROXY"), noProxy: (value("NO_PROXY") ?? "").split(",").filter((each) => each !== "") }
}

/** How one registry is reached. */
export interface RegistrySettings {
  /** Whether the configuration names it: then it may be at an address that only this network knows. */
  readonly named: boolean
  /** `http://` instead of `https://`; for registries on the machine itself or a trusted network. */
  readonly plainHttp: boolean
  readonly credentials: Credentials | undefined
  /** Certificates of its private authority, PEM. */
  readonly ca: string | undefined
  readonly mirrors: ReadonlyArray<string>
  readonly budget: RegistryBudget | undefined
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
    ca: registry?.ca === undefined ? undefined : read("certificate file", registry.ca),
    mirrors: registry?.mirrors ?? [],
    budget: registry?.budget
  }
}

const read = (what: string, file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    throw new FormatError(errorFields("CONFIG_INVALID", `The ${what} ${file} can't be read: ${messageOf(error)}`, { cause: error }))
  }
}

/** Where `docker login` keeps its logins. */
export const dockerDirectory = (environment: Readonly<Record<string, string | undefined>>): string => {
  const named = environment["DOCKER_CONFIG"]
  return named !== undefined && named.startsWith("/") ? named : nodePath.join(homedir(), ".docker")
}
