/**
 * The parts of `gateway.json` that are the gateway service's: where it listens and whom it believes, how many pulls run at once, how long
 * images live, and the database that replicas share.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"

const whole = (from: number, to: number, fallback: number) => Schema.optionalWith(Schema.Int.pipe(Schema.between(from, to)), { default: () => fallback })
const DAY = 24 * 3600

/** An account, by name or number. */
export const Account = Schema.Union(
  Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,255}\$?$/, { message: () => "the name or number of an account" })),
  Schema.Int.pipe(Schema.between(0, 4294967294))
)

/** `HOST:PORT`, `[ADDRESS]:PORT`, or the path of a Unix socket. */
const Listen = Schema.String.pipe(
  Schema.pattern(/^(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}|\/\S+)$/, { message: () => "HOST:PORT, [ADDRESS]:PORT or the path of a socket" })
)

/** `server`: how the service is reached. */
export const Server = Schema.Struct({
  /** Where it listens; a port of 0 is any free one. */
  listen: Schema.optionalWith(Schema.NonEmptyArray(Listen), { default: () => ["127.0.0.1:5000"] as const }),
  /** Certificate chain and key (PEM). Without them it speaks plain HTTP, for a trusted network or a proxy of this machine. */
  tls: Schema.optional(Schema.Struct({ certificate: AbsolutePath, key: AbsolutePath })),
  /** `mock` believes whatever a caller says of himself: for tests, on addresses of this machine alone. */
  authentication: Schema.optionalWith(Schema.Literal("munge", "mock"), { default: () => "munge" as const }),
  /** Whether public images are told to those who do not say who they are. */
  publicReads: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Bytes of a request's body, uploads excepted. */
  bodyBytes: whole(1024, 1 << 28, 1024 * 1024),
  /** Seconds until a request must be there. */
  requestSeconds: whole(1, 3600, 30),
  /** Connections at once. */
  connections: whole(1, 1_000_000, 4096),
  /** Seconds that pulls are given to come to a place where they can be resumed, when the service is stopped. */
  stopSeconds: whole(0, 3600, 20)
})
export type Server = typeof Server.Type

/** `pulls`: how many at once, and how often. */
export const PullPolicy = Schema.Struct({
  /** Pulls of this process. */
  atOnce: whole(1, 256, 4),
  /** Conversions of this process; the others are fetched meanwhile. */
  conversions: whole(1, 64, 1),
  /** Pulls of one user, over all replicas, while others wait. */
  perUser: whole(1, 256, 2),
  /** Pulls from one registry, over all replicas. */
  perRegistry: whole(1, 256, 4),
  /** Pulls of one user that may wait. */
  waitingPerUser: whole(1, 100_000, 200),
  /** Seconds that one pull may take, so that a source that trickles holds no place for ever. */
  longestSeconds: whole(1, 7 * DAY, 6 * 3600),
  /** How often a pull is begun that fails for reasons that may pass. */
  attempts: whole(1, 100, 5),
  /** Seconds until it is begun again; twice as long each time. */
  retrySeconds: whole(1, 3600, 10),
  /** Seconds in which the reference's command line is told of the image that is there, instead of another look at the registry. */
  updateSeconds: whole(0, 7 * DAY, 300)
})
export type PullPolicy = typeof PullPolicy.Type

/** `lifetime`: how long what is kept. */
export const Lifetime = Schema.Struct({
  /** Seconds after its last use that an image expires; `0`: never. */
  imageSeconds: whole(0, 100 * 365 * DAY, 0),
  /** Seconds that an image stays which no name points to: longer than jobs wait and run. */
  retentionSeconds: whole(0, 100 * 365 * DAY, 30 * DAY),
  /** Seconds that ended pulls are shown. */
  pullSeconds: whole(60, 365 * DAY, 7 * DAY),
  /** Seconds that the audit log is kept. */
  auditSeconds: whole(DAY, 100 * 365 * DAY, 365 * DAY),
  /** Seconds between two collections by the service; `0`: none by itself. */
  collectSeconds: whole(0, 365 * DAY, 3600),
  /** Seconds in which every image is read again; `0`: none by itself. */
  scrubSeconds: whole(0, 100 * 365 * DAY, 30 * DAY)
})
export type Lifetime = typeof Lifetime.Type

const HUB_HOSTS = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]

/** A registry's host, as canonical references name it: Docker Hub has several names. */
export const registryHost = (host: string): string => (HUB_HOSTS.includes(host.toLowerCase()) ? "docker.io" : host.toLowerCase())

const RegistryHost = Schema.String.pipe(
  Schema.transform(Schema.String, { strict: true, decode: registryHost, encode: (host) => host }),
  Schema.pattern(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?$/, { message: () => "a host, with a port where it needs one" })
)

/** `dialect`: how the reference's command line names registries. */
export const Dialect = Schema.Struct({
  /** Hosts by names of the site's own: with `{ "lab": "registry.example.org:5000" }`, `docker:lab/app:1` is an image of that registry. */
  locations: Schema.optionalWith(
    Schema.Record({ key: Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/, { message: () => "a name of letters, digits, '.', '_', ':' and '-'" })), value: RegistryHost }),
    { default: () => ({}) }
  ),
  /** The registry of a reference that names none. */
  registry: Schema.optionalWith(RegistryHost, { default: () => "docker.io" })
})
export type Dialect = typeof Dialect.Type

/** `postgres`: the database that several replicas share. Without it: one local file. */
export const Postgres = Schema.Struct({
  host: Schema.NonEmptyString,
  port: whole(1, 65535, 5432),
  database: Schema.optionalWith(Schema.NonEmptyString, { default: () => "shifter" }),
  username: Schema.optionalWith(Schema.NonEmptyString, { default: () => "shifter" }),
  /** The password is its first line. Without it: none, as with a socket's peer authentication (`host` is then its directory). */
  passwordFile: Schema.optional(AbsolutePath),
  /** A file with the authority's certificates (PEM): the connection is encrypted, and the server's name is checked. */
  ca: Schema.optional(AbsolutePath),
  connections: whole(1, 100, 8)
})
export type Postgres = typeof Postgres.Type

/** What a system's own entry says of the service. */
export const SystemService = {
  /** Who may do what its owner may with every image of this system. root always may. */
  admins: Schema.optionalWith(Schema.Array(Account), { default: () => [] }),
  /** Socket of the munge daemon with this system's key. */
  munge: Schema.optionalWith(AbsolutePath, { default: () => "/run/munge/munge.socket.2" })
}

export const defaultServer: Server = Schema.decodeSync(Server)({})
export const defaultPullPolicy: PullPolicy = Schema.decodeSync(PullPolicy)({})
export const defaultDialect: Dialect = Schema.decodeSync(Dialect)({})
export const defaultLifetime: Lifetime = Schema.decodeSync(Lifetime)({})
