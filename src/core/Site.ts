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
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { errorFields, FormatError, messageOf, printable, systemCode } from "./Errors.js"
import { defaultPullLimits, type PullLimits } from "./Limits.js"

const AbsolutePath = Schema.String.pipe(
  // eslint-disable-next-line no-control-regex
  Schema.filter((text) => (/^\/[^\u0000-\u001f]*$/.test(text) && !text.split("/").includes("..")) || "an absolute path without '..'")
)
const SystemName = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, { message: () => "a name of letters, digits, '_', '.' and '-'" }))

const System = Schema.Struct({
  /** Directory of the published images, on the system's parallel file system. */
  imagePath: AbsolutePath,
  /**
   * Mode of public images: `0600` (the setuid helper alone reads them), or `0644` where the mode without setuid is to work too. Private
   * images are always `0600`.
   */
  publicMode: Schema.optionalWith(Schema.Literal("0600", "0644"), { default: () => "0600" as const })
})

const RegistryConfig = Schema.Struct({
  /** Speak `http://`. For registries on this machine or a trusted network. */
  plainHttp: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** User name; the password is the first line of `passwordFile`. */
  username: Schema.optional(Schema.NonEmptyString),
  passwordFile: Schema.optional(AbsolutePath)
}).pipe(Schema.filter((r) => (r.username === undefined) === (r.passwordFile === undefined) || "username and passwordFile belong together"))

const limit = Schema.Int.pipe(Schema.positive())

/** `gateway.json`, version 1. */
export const GatewayConfig = Schema.Struct({
  version: Schema.Literal(1),
  /** Local directory of the catalogue, of blobs and of work in progress; mode 0700. */
  stateDirectory: AbsolutePath,
  systems: Schema.Record({ key: SystemName, value: System }).pipe(Schema.filter((s) => Object.keys(s).length > 0 || "at least one system")),
  /** The system meant when none is named. Needed when there are several. */
  defaultSystem: Schema.optional(SystemName),
  /** By host and port, such as `127.0.0.1:5000`. */
  registries: Schema.optionalWith(Schema.Record({ key: Schema.String, value: RegistryConfig }), { default: () => ({}) }),
  /** Where the native programs are installed, as `PREFIX/bin/shifter-merge`. Without it: where this package built them, else by `PATH`. */
  prefix: Schema.optional(AbsolutePath),
  /** Type of a reference that names none. */
  defaultImageType: Schema.optionalWith(Schema.Literal("docker", "custom", "id"), { default: () => "docker" as const }),
  /** What a pull accepts; see `PullLimits`. */
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
export type GatewayConfig = typeof GatewayConfig.Type

/** A cluster that images are published to. */
export interface System {
  readonly name: string
  readonly imagePath: string
  readonly publicMode: "0600" | "0644"
}

/** A site's configuration, ready for use. */
export interface Site {
  readonly stateDirectory: string
  readonly prefix: string | undefined
  readonly systems: ReadonlyMap<string, System>
  readonly defaultSystem: string
  readonly defaultImageType: string
  readonly limits: PullLimits
  readonly registry: (host: string) => {
    readonly plainHttp: boolean
    readonly credentials: { readonly username: string; readonly password: Redacted.Redacted } | undefined
  }
  /** The file it came from; undefined for a person's own directories. */
  readonly source: string | undefined
}

/** Where a site's configuration is looked for. */
export const defaultFile = "/etc/shifter/gateway.json"

/**
 * Loads a site's configuration: the file named, else `/etc/shifter/gateway.json`, else a person's own directories
 * (`$XDG_STATE_HOME/shifter` and `$XDG_DATA_HOME/shifter`), whose images run only without setuid.
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

/** Makes a site of a configuration in memory. Every mistake is named at once. */
export const decode = (config: unknown, source?: string): Either.Either<Site, FormatError> =>
  Either.flatMap(
    Either.mapLeft(
      Schema.decodeUnknownEither(GatewayConfig, { onExcessProperty: "error", errors: "all" })(config),
      (error) => new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? "given"} is not valid: ${printable(complaints(error.message))}`))
    ),
    (decoded) => fromConfig(decoded, source)
  )

const fromConfig = (config: GatewayConfig, source: string | undefined): Either.Either<Site, FormatError> => {
  const names = Object.keys(config.systems)
  const defaultSystem = config.defaultSystem ?? (names.length === 1 ? names[0] : undefined)
  if (defaultSystem === undefined || !Object.hasOwn(config.systems, defaultSystem)) {
    return Either.left(
      new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? ""} names no "defaultSystem" that is one of its systems (${names.join(", ")})`))
    )
  }
  const limits: { -readonly [K in keyof PullLimits]: number } = { ...defaultPullLimits }
  for (const key of Object.keys(limits) as Array<keyof PullLimits>) limits[key] = config.limits[key] ?? limits[key]
  return Either.right({
    stateDirectory: config.stateDirectory,
    prefix: config.prefix,
    systems: new Map(Object.entries(config.systems).map(([name, system]) => [name, { name, ...system }])),
    defaultSystem,
    defaultImageType: config.defaultImageType,
    limits,
    registry: (host) => {
      const registry = Object.hasOwn(config.registries, host) ? config.registries[host] : undefined
      return {
        plainHttp: registry?.plainHttp ?? false,
        credentials:
          registry?.username === undefined || registry.passwordFile === undefined
            ? undefined
            : { username: registry.username, password: Redacted.make(firstLine(registry.passwordFile)) }
      }
    },
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

const personal = (): Site => {
  const directory = (variable: string, fallback: string) => {
    const value = process.env[variable]
    return nodePath.join(value !== undefined && value.startsWith("/") ? value : nodePath.join(homedir(), fallback), "shifter")
  }
  return {
    stateDirectory: directory("XDG_STATE_HOME", ".local/state"),
    prefix: undefined,
    systems: new Map([["personal", { name: "personal", imagePath: nodePath.join(directory("XDG_DATA_HOME", ".local/share"), "images"), publicMode: "0600" }]]),
    defaultSystem: "personal",
    defaultImageType: "docker",
    limits: defaultPullLimits,
    registry: () => ({ plainHttp: false, credentials: undefined }),
    source: undefined
  }
}

const firstLine = (file: string): string => {
  try {
    return readFileSync(file, "utf8").split("\n")[0] ?? ""
  } catch (error) {
    throw new FormatError(errorFields("CONFIG_INVALID", `The password file ${file} can't be read: ${messageOf(error)}`, { cause: error }))
  }
}

/** A schema's tree of complaints as one line. */
const complaints = (message: string): string =>
  message
    .split("\n")
    .map((line) => line.replace(/^[\s│├└─]+/, "").trim())
    .filter((line, i) => i > 0 && line !== "")
    .join("; ")
