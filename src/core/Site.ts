/**
 * A site: its systems (clusters), where state lives, and how registries are reached. Read from `gateway.json`; a person without one gets
 * directories of his own.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { homedir } from "node:os"
import * as nodePath from "node:path"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"
import * as ChosSettings from "./ChosSettings.js"
import { complaints } from "./Complaints.js"
import { errorFields, FormatError, messageOf, systemCode } from "./Errors.js"
import * as ImportSettings from "./ImportSettings.js"
import * as ImageManager from "./ImageManager.js"
import { defaultPullLimits, type PullLimits } from "./Limits.js"
import * as Registries from "./Registries.js"
import * as ServiceConfig from "./ServiceConfig.js"
import { SshSettings } from "./SshSettings.js"
import { Verify } from "./Verify.js"
import * as VmSettings from "./VmSettings.js"
import { Conversions, PbsSettings, SlurmSettings } from "./WlmSettings.js"

const SystemName = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, { message: () => "a name of letters, digits, '_', '.' and '-'" }))

/** A system in `gateway.json`. */
export interface SystemConfig {
  /** Directory of the published images, on the system's parallel file system: an absolute path. */
  readonly imagePath: string
  /**
   * Mode of public images: `0600` (the setuid helper alone reads them), or `0644` where the mode without setuid is to work too. Private
   * images are always `0600`. Default: `0600`.
   */
  readonly publicMode?: "0600" | "0644" | undefined
  /** Accounts, by name or number, that may do what its owner may with every image of this system. root always may. */
  readonly admins?: ReadonlyArray<string | number> | undefined
  /** Socket of the munge daemon with this system's key. Default: `/run/munge/munge.socket.2`. */
  readonly munge?: string | undefined
  /** How the image path is reached where this machine has not mounted it. */
  readonly ssh?: typeof SshSettings.Encoded | undefined
  /** How its Slurm is set up. */
  readonly slurm?: typeof SlurmSettings.Encoded | undefined
  /** How its PBS is set up. */
  readonly pbs?: typeof PbsSettings.Encoded | undefined
}
const SystemConfig = Schema.Struct({
  imagePath: AbsolutePath,
  publicMode: Schema.optionalWith(Schema.Literal("0600", "0644"), { default: () => "0600" as const }),
  ...ServiceConfig.SystemService,
  ssh: Schema.optional(SshSettings),
  slurm: Schema.optional(SlurmSettings),
  pbs: Schema.optional(PbsSettings)
})

const limit = Schema.Int.pipe(Schema.positive())

/** `gateway.json`, version 1, as it is written. */
export interface GatewayConfig {
  readonly version: 1
  /** Local directory of the catalogue, of blobs and of work in progress: an absolute path; mode 0700. */
  readonly stateDirectory: string
  /** Clusters by name; at least one. */
  readonly systems: Readonly<Record<string, SystemConfig>>
  /** The system meant when none is named. Needed when there are several. */
  readonly defaultSystem?: string | undefined
  /** By host and port, such as `127.0.0.1:5000`. */
  readonly registries?: typeof Registries.Registries.Encoded | undefined
  /** Time limits of all requests. */
  readonly network?: typeof Registries.Network.Encoded | undefined
  /** Blobs that are kept. */
  readonly cache?: typeof Registries.Cache.Encoded | undefined
  /** The way out of this network; the environment's proxies without it. */
  readonly proxy?: typeof Registries.Proxy.Encoded | undefined
  /** The directory of `docker login`, or `false` for none; `$DOCKER_CONFIG` or `~/.docker` without it. */
  readonly dockerLogins?: string | false | undefined
  /** Where the native programs are installed, as `PREFIX/bin/shifter-merge`. Without it: where this package built them, else by `PATH`. */
  readonly prefix?: string | undefined
  /** The Docker daemon of `docker-daemon:` references, and the registries whose images it is to pull, such as `docker.io`. */
  readonly dockerDaemon?: { readonly socket?: string | undefined; readonly pulls?: ReadonlyArray<string> | undefined } | undefined
  /** Type of a reference that names none. Default: `docker`. */
  readonly defaultImageType?: "docker" | "custom" | "id" | undefined
  /** Who may import files, and from where. */
  readonly import?: typeof ImportSettings.Import.Encoded | undefined
  /** Where CHOS trees are listed, and who may have them converted. */
  readonly chos?: typeof ChosSettings.Chos.Encoded | undefined
  /** How virtual machines' disks are read. */
  readonly vm?: typeof VmSettings.Vm.Encoded | undefined
  /** How much content of a packed image is read back before it is published; its structure always is. Default: `sampled`. */
  readonly readBack?: Verify | undefined
  /** How the gateway service is reached. */
  readonly server?: typeof ServiceConfig.Server.Encoded | undefined
  /** How many pulls the service runs at once, and how often. */
  readonly pulls?: typeof ServiceConfig.PullPolicy.Encoded | undefined
  /** How long images and what is known of them are kept. */
  readonly lifetime?: typeof ServiceConfig.Lifetime.Encoded | undefined
  /** How the reference's command line names registries. */
  readonly dialect?: typeof ServiceConfig.Dialect.Encoded | undefined
  /** The database that several replicas share. Without it: one file in `stateDirectory`. */
  readonly postgres?: typeof ServiceConfig.Postgres.Encoded | undefined
  /** The workload manager whose jobs convert images. Without it: this machine converts. */
  readonly conversions?: typeof Conversions.Encoded | undefined
  /** What a pull accepts; see `PullLimits`. */
  readonly limits?: { readonly [K in keyof PullLimits]?: number | undefined } | undefined
}

const VERSION = 1
const DAEMON_SOCKET = "/var/run/docker.sock"

export const GatewayConfig = Schema.Struct({
  version: Schema.Literal(VERSION),
  stateDirectory: AbsolutePath,
  systems: Schema.Record({ key: SystemName, value: SystemConfig }).pipe(Schema.filter((s) => Object.keys(s).length > 0 || "at least one system")),
  defaultSystem: Schema.optional(SystemName),
  registries: Schema.optionalWith(Registries.Registries, { default: () => ({}) }),
  network: Schema.optionalWith(Registries.Network, { default: () => Registries.defaultNetwork }),
  cache: Schema.optionalWith(Registries.Cache, { default: () => Registries.defaultCache }),
  proxy: Schema.optional(Registries.Proxy),
  dockerLogins: Schema.optional(Schema.Union(AbsolutePath, Schema.Literal(false))),
  prefix: Schema.optional(AbsolutePath),
  dockerDaemon: Schema.optionalWith(
    Schema.Struct({
      socket: Schema.optionalWith(AbsolutePath, { default: () => DAEMON_SOCKET }),
      pulls: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
    }),
    { default: () => ({ socket: DAEMON_SOCKET, pulls: [] }) }
  ),
  defaultImageType: Schema.optionalWith(Schema.Literal("docker", "custom", "id"), { default: () => "docker" as const }),
  import: Schema.optionalWith(ImportSettings.Import, { default: () => ImportSettings.defaultImport }),
  chos: Schema.optionalWith(ChosSettings.Chos, { default: () => ChosSettings.defaultChos }),
  vm: Schema.optionalWith(VmSettings.Vm, { default: () => VmSettings.defaultVm }),
  readBack: Schema.optionalWith(Verify, { default: () => "sampled" as const }),
  server: Schema.optionalWith(ServiceConfig.Server, { default: () => ServiceConfig.defaultServer }),
  pulls: Schema.optionalWith(ServiceConfig.PullPolicy, { default: () => ServiceConfig.defaultPullPolicy }),
  lifetime: Schema.optionalWith(ServiceConfig.Lifetime, { default: () => ServiceConfig.defaultLifetime }),
  dialect: Schema.optionalWith(ServiceConfig.Dialect, { default: () => ServiceConfig.defaultDialect }),
  postgres: Schema.optional(ServiceConfig.Postgres),
  conversions: Schema.optional(Conversions),
  limits: Schema.optionalWith(
    Schema.Struct({
      layers: Schema.optional(limit.pipe(Schema.lessThanOrEqualTo(4000))),
      manifestBytes: Schema.optional(limit),
      configBytes: Schema.optional(limit),
      blobBytes: Schema.optional(limit),
      inflatedBytes: Schema.optional(limit),
      ratio: Schema.optional(limit),
      entries: Schema.optional(limit),
      directoryEntries: Schema.optional(limit),
      depth: Schema.optional(limit.pipe(Schema.lessThanOrEqualTo(4096))),
      nameBytes: Schema.optional(limit.pipe(Schema.lessThanOrEqualTo(4095)))
    }),
    { default: () => ({}) }
  )
})

/** A cluster that images are published to. */
export interface System {
  readonly name: string
  /** Absolute path of the published images. */
  readonly imagePath: string
  /** Mode of public images. */
  readonly publicMode: "0600" | "0644"
  /** Accounts that may do what owners may. */
  readonly admins: ReadonlyArray<string | number>
  /** Socket of its munge daemon. */
  readonly munge: string
  /** A person's own image path: made when it is missing. No setuid helper runs images from there. */
  readonly isPersonal: boolean
  /** How the image path is reached by ssh; undefined where this machine has mounted it. */
  readonly ssh: SshSettings | undefined
  /** How its Slurm is set up; undefined where nothing is said of it. */
  readonly slurm: SlurmSettings | undefined
  /** How its PBS is set up; undefined where nothing is said of it. */
  readonly pbs: PbsSettings | undefined
}

/** A site's configuration, ready for use. */
export interface Site {
  readonly stateDirectory: string
  /** Whether the directories are a person's own. */
  readonly isPersonal: boolean
  readonly prefix: string | undefined
  readonly systems: ReadonlyMap<string, System>
  readonly defaultSystem: string
  readonly defaultImageType: string
  readonly readBack: Verify
  readonly limits: PullLimits
  readonly import: ImportSettings.Import
  readonly chos: ChosSettings.Chos
  readonly vm: VmSettings.Vm
  readonly dockerDaemon: { readonly socket: string; readonly pulls: ReadonlySet<string> }
  /** How a registry is reached. Throws a `FormatError` when a file that its settings name can't be read. */
  readonly registry: (host: string) => Registries.RegistrySettings
  /** The registries that its configuration names. */
  readonly registryHosts: ReadonlyArray<string>
  readonly network: Registries.NetworkLimits
  readonly cache: Registries.CacheLimits
  readonly proxy: Registries.ProxySettings
  /** The directory of `docker login`; undefined where no logins are taken from one. */
  readonly dockerLogins: string | undefined
  readonly server: ServiceConfig.Server
  readonly pulls: ServiceConfig.PullPolicy
  readonly lifetime: ServiceConfig.Lifetime
  readonly dialect: ServiceConfig.Dialect
  readonly postgres: ServiceConfig.Postgres | undefined
  readonly conversions: Conversions | undefined
  /** What its administrator should know: settings without effect, and what was made of them. */
  readonly warnings: ReadonlyArray<string>
  /** The file it came from; undefined for a person's own directories. */
  readonly source: string | undefined
}

/** Where a site's configuration is looked for. */
export const defaultFile = "/etc/shifter/gateway.json"

/**
 * Loads a site's configuration: the file named, else `/etc/shifter/gateway.json`, else a person's own directories
 * (`$XDG_STATE_HOME/shifter` and `$XDG_DATA_HOME/shifter`), whose images run only without setuid: by `shifter-userns`.
 */
export const load = (file?: string): Either.Either<Site, FormatError> => {
  const path = file ?? defaultFile
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    if (file === undefined && systemCode(error) === "ENOENT") return Either.right(personal())
    return Either.left(new FormatError(errorFields("CONFIG_INVALID", `The configuration ${path} can't be read: ${messageOf(error)}`, { remedy: "Name a readable file.", cause: error })))
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return Either.left(new FormatError(errorFields("CONFIG_INVALID", `The configuration ${path} is no JSON: ${messageOf(error)}`)))
  }
  return decode(json, path)
}

/**
 * Makes a site of a configuration in memory: `gateway.json`, or an `imagemanager.json` of the reference. Every mistake is named at once, by its
 * key.
 */
export const decode = (config: unknown, source?: string): Either.Either<Site, FormatError> =>
  ImageManager.isOne(config)
    ? Either.flatMap(
        Either.mapLeft(ImageManager.convert(config), (mistakes) => notValid(mistakes, source)),
        ({ config: own, warnings }) => Either.map(decodeOwn(own, source, ImageManager.inItsKeys), (site) => ({ ...site, warnings }))
      )
    : decodeOwn(config, source, (complaint) => complaint)

const notValid = (mistakes: ReadonlyArray<string>, source: string | undefined) =>
  new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? "given"} is not valid: ${mistakes.join("; ")}`))

const decodeOwn = (config: unknown, source: string | undefined, named: (complaint: string) => string): Either.Either<Site, FormatError> => {
  const version = typeof config === "object" && config !== null && "version" in config ? config.version : undefined
  if (typeof version === "number" && version > VERSION) {
    return Either.left(
      new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? "given"} has version ${version}, which is newer; up to ${VERSION} is understood`, { remedy: "Update this program." }))
    )
  }
  return Either.flatMap(
    Either.mapLeft(Schema.decodeUnknownEither(GatewayConfig, { onExcessProperty: "error", errors: "all" })(config), (error) =>
      notValid(complaints(error).map(named), source)
    ),
    (decoded) => fromConfig(decoded, source)
  )
}

const fromConfig = (config: typeof GatewayConfig.Type, source: string | undefined): Either.Either<Site, FormatError> => {
  const names = Object.keys(config.systems)
  const defaultSystem = config.defaultSystem ?? (names.length === 1 ? names[0] : undefined)
  if (defaultSystem === undefined || !Object.hasOwn(config.systems, defaultSystem)) {
    return Either.left(
      new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? ""} names no "defaultSystem" that is one of its systems (${names.join(", ")})`))
    )
  }
  const converts = config.conversions?.system
  if (converts !== undefined && !Object.hasOwn(config.systems, converts)) {
    return Either.left(new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? ""} names "${converts}" as conversions.system, which is none of its systems (${names.join(", ")})`)))
  }
  const limits: { -readonly [K in keyof PullLimits]: number } = { ...defaultPullLimits }
  for (const key of Object.keys(limits) as Array<keyof PullLimits>) limits[key] = config.limits[key] ?? limits[key]
  return Either.right({
    stateDirectory: config.stateDirectory,
    isPersonal: false,
    prefix: config.prefix,
    systems: new Map(Object.entries(config.systems).map(([name, system]) => [name, { name, isPersonal: false, ssh: undefined, slurm: undefined, pbs: undefined, ...system }])),
    defaultSystem,
    defaultImageType: config.defaultImageType,
    readBack: config.readBack,
    import: config.import,
    chos: config.chos,
    vm: config.vm,
    limits,
    dockerDaemon: { socket: config.dockerDaemon.socket, pulls: new Set(config.dockerDaemon.pulls) },
    registry: (host) => Registries.settings(config.registries, host),
    registryHosts: Object.keys(config.registries),
    network: config.network,
    cache: config.cache,
    proxy: config.proxy ?? Registries.environmentProxy(process.env),
    dockerLogins: config.dockerLogins === false ? undefined : (config.dockerLogins ?? Registries.dockerDirectory(process.env)),
    server: config.server,
    pulls: config.pulls,
    lifetime: config.lifetime,
    dialect: config.dialect,
    postgres: config.postgres,
    conversions: config.conversions,
    warnings: [],
    source
  })
}

/** The system of a name, or the default one. */
export const system = (site: Site, name: string | undefined): Either.Either<System, FormatError> => {
  const found = site.systems.get(name ?? site.defaultSystem)
  return found === undefined
    ? Either.left(new FormatError(errorFields("SYSTEM_UNKNOWN", `There is no system "${name}", only ${[...site.systems.keys()].join(", ")}`)))
    : Either.right(found)
}

/** The system whose nodes convert. */
export const conversionSystem = (site: Site, conversions: Conversions): System => Either.getOrThrow(system(site, conversions.system))

const personal = (): Site => {
  const directory = (variable: string, fallback: string) => {
    const value = process.env[variable]
    return nodePath.join(value !== undefined && value.startsWith("/") ? value : nodePath.join(homedir(), fallback), "shifter")
  }
  return {
    stateDirectory: directory("XDG_STATE_HOME", ".local/state"),
    isPersonal: true,
    prefix: undefined,
    systems: new Map([["personal", { name: "personal", imagePath: nodePath.join(directory("XDG_DATA_HOME", ".local/share"), "images"), publicMode: "0600", admins: [], munge: "", isPersonal: true, ssh: undefined, slurm: undefined, pbs: undefined }]]),
    defaultSystem: "personal",
    defaultImageType: "docker",
    readBack: "sampled",
    import: ImportSettings.defaultImport,
    chos: ChosSettings.defaultChos,
    vm: VmSettings.defaultVm,
    limits: defaultPullLimits,
    dockerDaemon: { socket: DAEMON_SOCKET, pulls: new Set() },
    registry: (host) => Registries.settings({}, host),
    registryHosts: [],
    network: Registries.defaultNetwork,
    cache: Registries.defaultCache,
    proxy: Registries.environmentProxy(process.env),
    dockerLogins: Registries.dockerDirectory(process.env),
    server: ServiceConfig.defaultServer,
    pulls: ServiceConfig.defaultPullPolicy,
    lifetime: ServiceConfig.defaultLifetime,
    dialect: ServiceConfig.defaultDialect,
    postgres: undefined,
    conversions: undefined,
    warnings: [],
    source: undefined
  }
}
