/**
 * The configuration of the reference's gateway, `imagemanager.json`, read as it is: what it says in the keys of `gateway.json`, and what of it
 * has no effect here.
 *
 * @module
 */
import { homedir } from "node:os"
import * as nodePath from "node:path"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { complaints } from "./Complaints.js"
import * as Expiration from "./Expiration.js"
import { registryHost } from "./ServiceConfig.js"

const Text = Schema.NonEmptyString
const Texts = Schema.Union(Schema.Array(Text), Text)
const Directory = Schema.String.pipe(
  Schema.filter((text) => (text.startsWith("/") && !/[\0\n]/.test(text) && !text.split("/").includes("..")) || "an absolute path without '..'")
)
const Count = Schema.Union(Schema.Int, Schema.NumberFromString.pipe(Schema.int())).pipe(Schema.positive())

const Location = Schema.Struct({
  remotetype: Schema.optionalWith(Schema.Literal("dockerv2"), { default: () => "dockerv2" as const }),
  url: Schema.optional(Text),
  sslcacert: Schema.optional(Directory)
})

const Platform = Schema.Struct({
  mungeSocketPath: Schema.optional(Directory),
  accesstype: Schema.Literal("local", "remote"),
  admins: Schema.optional(Texts),
  use_external: Schema.optional(Schema.Boolean),
  policy_file: Schema.optional(Schema.String),
  host: Schema.optional(Texts),
  ssh: Schema.optional(
    Schema.Struct({ username: Schema.optional(Text), key: Schema.optional(Directory), imageDir: Schema.optional(Directory) })
  ),
  local: Schema.optional(Schema.Struct({ imageDir: Directory }))
})

const File = Schema.Struct({
  WorkerThreads: Schema.optional(Count),
  DefaultImageLocation: Text,
  DefaultImageFormat: Schema.optionalWith(Schema.Literal("squashfs"), { default: () => "squashfs" as const }),
  PullUpdateTimeout: Schema.optional(Count),
  ImageExpirationTimeout: Schema.optional(Schema.String),
  CacheDirectory: Directory,
  Authentication: Schema.optionalWith(Schema.Literal("munge", "mock"), { default: () => "munge" as const }),
  ImportUsers: Schema.optional(Schema.NullOr(Texts)),
  Locations: Schema.Record({ key: Schema.String, value: Location }),
  Platforms: Schema.Record({ key: Schema.String, value: Platform }).pipe(Schema.filter((platforms) => Object.keys(platforms).length > 0 || "at least one platform"))
})

/** Keys without effect here, and why. */
const idle: Readonly<Record<string, string>> = {
  LogLevel: "the service's own settings say what it logs",
  ExpandDirectory: "nothing is unpacked: layers are merged as a stream",
  MongoDBURI: "there is no MongoDB any more. What it holds of pulls and images is not read",
  MongoDB: "there is no MongoDB any more",
  Metrics: "lookups are always in the audit log",
  ConverterOptions: "images are packed in one way, so that the same image has the same id",
  DefaultLustreReplication: "the reference never used it",
  DefaultOstCount: "the reference never used it; \"ssh.stripe\" of gateway.json sets stripes",
  DefaultImageRemote: "the reference never used it",
  PullUpdateTime: "PullUpdateTimeout says it"
}
const idleOfLocation: Readonly<Record<string, string>> = {
  authMethod: "what the registry asks for is done",
  authentication: "the reference never used it"
}
const idleOfPlatform: Readonly<Record<string, string>> = {
  use_external: "no other programs are needed to pull",
  usergroupService: "the reference never used it",
  mountCommand: "the reference never used it"
}
const idleOfSsh: Readonly<Record<string, string>> = {
  sshCmdOptions: "no ssh command is run; ports and hosts are settings of gateway.json",
  scpCmdOptions: "no scp command is run"
}

/** A configuration in the keys of `gateway.json`, and what its administrator should know. */
export interface Converted {
  readonly config: Readonly<Record<string, unknown>>
  readonly warnings: ReadonlyArray<string>
}

/** Whether a configuration is one of the reference, by its keys. */
export const isOne = (config: unknown): boolean =>
  typeof config === "object" && config !== null && !("version" in config) && ("Platforms" in config || "CacheDirectory" in config)

/** A complaint of what was made of such a configuration, by the key that its administrator wrote. */
export const inItsKeys = (complaint: string): string => {
  for (const [own, theirs] of keys) if (complaint.startsWith(own)) return theirs + complaint.slice(own.length)
  return complaint
}
const keys: ReadonlyArray<readonly [string, string]> = [
  ["systems.", "Platforms."],
  ["dialect.locations.", "Locations."],
  ["registries.", "Locations: "],
  ["pulls.updateSeconds", "PullUpdateTimeout"],
  ["lifetime.imageSeconds", "ImageExpirationTimeout"],
  ["import.users", "ImportUsers"]
]

const object = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {})
const list = (value: ReadonlyArray<string> | string): ReadonlyArray<string> => (typeof value === "string" ? [value] : value)

/** What keys of an object have no effect, each as a sentence. */
const without = (path: string, given: unknown, known: ReadonlyArray<string>, reasons: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Object.keys(object(given))
    .filter((key) => !known.includes(key))
    .map((key) => `${path}${key} has no effect: ${Object.hasOwn(reasons, key) ? reasons[key] : "there is no such key"}.`)

/** Reads a configuration of the reference. All its mistakes, each by its key, or what it says. */
export const convert = (given: unknown): Either.Either<Converted, ReadonlyArray<string>> => {
  const refused = refusals(given)
  return Either.match(Schema.decodeUnknownEither(File, { errors: "all" })(given), {
    onLeft: (error) => Either.left([...complaints(error), ...refused, ...besides(given)]),
    onRight: (file) => {
      const mistakes = [...refused]
      const warnings = [...unused(given)]
      const config = converted(file, { mistakes, warnings })
      return mistakes.length > 0 ? Either.left(mistakes) : Either.right({ config, warnings })
    }
  })
}

/** The mistakes in what can be understood of a file that holds others. */
const besides = (given: unknown): ReadonlyArray<string> => {
  const notes: Notes = { mistakes: [], warnings: [] }
  const file = object(given)
  const understood = <A, I>(schema: Schema.Schema<A, I>, key: string) =>
    Object.fromEntries(Object.entries(object(file[key])).flatMap(([name, each]) => [...Either.match(Schema.decodeUnknownEither(schema)(each), { onLeft: () => [], onRight: (one) => [[name, one] as const] })]))
  locationsOf(understood(Location, "Locations"), notes)
  const authentication = file["Authentication"] === "mock" ? "mock" : "munge"
  for (const [name, platform] of Object.entries(understood(Platform, "Platforms"))) systemOf(name, platform, authentication, notes)
  const { DefaultImageLocation: registry, ImageExpirationTimeout: timeout, Locations: locations } = file
  if (typeof registry === "string" && registry !== "" && !Object.hasOwn(object(locations), registry)) notes.mistakes.push(noLocation(registry, object(locations)))
  if (typeof timeout === "string") lifetimeOf(timeout, notes)
  return notes.mistakes
}

const noLocation = (name: string, locations: object): string => `DefaultImageLocation: "${name}" is none of the Locations (${Object.keys(locations).join(", ")})`

/** What a site must not lose without being told. */
const refusals = (given: unknown): ReadonlyArray<string> => {
  const file = object(given)
  const policies = Object.entries(object(file["Platforms"])).filter(([, platform]) => object(platform)["use_external"] === true && object(platform)["policy_file"] !== undefined)
  return [
    ...(file["examiner"] === undefined ? [] : ["examiner: images are not examined by another program here; a site that goes without takes the key out"]),
    ...policies.map(([name]) => `Platforms.${name}.policy_file: signatures are not checked here; a site that goes without takes the key out`)
  ]
}

const unused = (given: unknown): ReadonlyArray<string> => {
  const file = object(given)
  return [
    ...without("", file, Object.keys(File.fields), idle),
    ...Object.entries(object(file["Locations"])).flatMap(([name, location]) => without(`Locations.${name}.`, location, Object.keys(Location.fields), idleOfLocation)),
    ...Object.entries(object(file["Platforms"])).flatMap(([name, platform]) => [
      ...without(`Platforms.${name}.`, platform, Object.keys(Platform.fields), idleOfPlatform),
      ...without(`Platforms.${name}.ssh.`, object(platform)["ssh"], ["username", "key", "imageDir"], idleOfSsh)
    ])
  ]
}

/** Mistakes and warnings that are found on the way. */
interface Notes {
  readonly mistakes: Array<string>
  readonly warnings: Array<string>
}

const REFERENCE_UPDATE = 300
const MOST_THREADS = 256
const PORT = 5000

const converted = (file: typeof File.Type, notes: Notes): Readonly<Record<string, unknown>> => {
  const { locations, registries } = locationsOf(file.Locations, notes)
  const systems = Object.fromEntries(Object.entries(file.Platforms).map(([name, platform]) => [name, systemOf(name, platform, file.Authentication, notes)]))
  const registry = Object.hasOwn(locations, file.DefaultImageLocation) ? locations[file.DefaultImageLocation] : undefined
  if (!Object.hasOwn(file.Locations, file.DefaultImageLocation)) notes.mistakes.push(noLocation(file.DefaultImageLocation, file.Locations))
  if (file.WorkerThreads !== undefined && file.WorkerThreads > MOST_THREADS) notes.warnings.push(`WorkerThreads is ${MOST_THREADS}, the most there is here, instead of ${file.WorkerThreads}.`)
  if (file.PullUpdateTimeout !== undefined && file.PullUpdateTimeout !== REFERENCE_UPDATE) {
    notes.warnings.push(`PullUpdateTimeout is ${file.PullUpdateTimeout} seconds now; the reference takes ${REFERENCE_UPDATE} whatever it says, unless PullUpdateTime is there too.`)
  }
  const stateDirectory = nodePath.join(file.CacheDirectory, "shifter-sdk")
  notes.warnings.push(`State and blobs are kept in ${stateDirectory}; it must be on a disk of this machine. What else is in CacheDirectory is left alone.`)
  // The reference listens on all addresses, and so must what takes its place.
  const listen = file.Authentication === "mock" ? `127.0.0.1:${PORT}` : `0.0.0.0:${PORT}`
  notes.warnings.push(`The service listens on ${listen}.`)
  return {
    version: 1,
    stateDirectory,
    systems,
    defaultSystem: Object.keys(systems)[0],
    registries,
    server: { listen: [listen], authentication: file.Authentication },
    pulls: {
      ...(file.WorkerThreads === undefined ? {} : { atOnce: Math.min(file.WorkerThreads, MOST_THREADS) }),
      ...(file.PullUpdateTimeout === undefined ? {} : { updateSeconds: file.PullUpdateTimeout })
    },
    lifetime: lifetimeOf(file.ImageExpirationTimeout, notes),
    import: { users: importersOf(file, notes) },
    // `docker login` of whoever starts the service is no setting of the reference.
    dockerLogins: false,
    dialect: { locations: Object.fromEntries(Object.entries(locations).filter(([name, host]) => name !== host)), ...(registry === undefined ? {} : { registry }) }
  }
}

const lifetimeOf = (ImageExpirationTimeout: string | undefined, { mistakes, warnings }: Notes): Readonly<Record<string, unknown>> => {
  if (ImageExpirationTimeout === undefined) {
    warnings.push("ImageExpirationTimeout is missing: images never expire.")
    return {}
  }
  const seconds = Expiration.parse(ImageExpirationTimeout)
  if (seconds === undefined || seconds === 0) mistakes.push('ImageExpirationTimeout: "DAYS:HOURS:MINUTES:SECONDS", such as "90:00:00:00"')
  return { imageSeconds: seconds }
}

const importersOf = ({ ImportUsers }: typeof File.Type, { warnings }: Notes): "all" | "none" | ReadonlyArray<string> => {
  if (ImportUsers === undefined || ImportUsers === null || ImportUsers === "None" || ImportUsers === "none") return "none"
  if (ImportUsers === "all" || ImportUsers.length > 0) {
    warnings.push('ImportUsers: files may be imported from directories that "import.roots" of gateway.json names, and here there is none; uploads are possible.')
  }
  if (ImportUsers === "all") return "all"
  if (typeof ImportUsers === "string") {
    warnings.push(`ImportUsers is the one name "${ImportUsers}"; the reference takes every part of it for a name.`)
    return [ImportUsers]
  }
  if (ImportUsers.length === 0) {
    warnings.push("ImportUsers is an empty list: nobody may import. The reference takes it for everybody.")
    return "none"
  }
  return ImportUsers
}

type RegistrySettings = { readonly plainHttp?: boolean; readonly ca?: string }

const locationsOf = (given: (typeof File.Type)["Locations"], { mistakes }: Notes): { readonly locations: Readonly<Record<string, string>>; readonly registries: Readonly<Record<string, RegistrySettings>> } => {
  const locations: Record<string, string> = {}
  const registries: Record<string, RegistrySettings> = {}
  for (const [name, { sslcacert, url }] of Object.entries(given)) {
    const text = url ?? `https://${name}`
    const parsed = URL.canParse(text) ? new URL(text) : undefined
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || parsed.username !== "" || !/^\/?$/.test(parsed.pathname) || parsed.search !== "") {
      mistakes.push(`Locations.${name}${url === undefined ? "" : ".url"}: a registry is reached at https://HOST[:PORT], without a user or a path`)
      continue
    }
    const host = registryHost(parsed.host)
    const settings = { ...(parsed.protocol === "http:" ? { plainHttp: true } : {}), ...(sslcacert === undefined ? {} : { ca: sslcacert }) }
    const before = registries[host]
    if (before !== undefined && (before.plainHttp !== settings.plainHttp || before.ca !== settings.ca)) {
      mistakes.push(`Locations.${name}: another location reaches ${host} in another way`)
    }
    locations[name] = host
    registries[host] = settings
  }
  return { locations, registries }
}

const systemOf = (name: string, platform: typeof Platform.Type, authentication: "munge" | "mock", { mistakes, warnings }: Notes): Readonly<Record<string, unknown>> => {
  const path = `Platforms.${name}`
  if (platform.mungeSocketPath === undefined && authentication === "munge") mistakes.push(`${path}.mungeSocketPath: is missing`)
  if (typeof platform.admins === "string") warnings.push(`${path}.admins is the one name "${platform.admins}"; the reference takes every part of it for a name.`)
  const common = {
    admins: list(platform.admins ?? []),
    ...(platform.mungeSocketPath === undefined ? {} : { munge: nodePath.normalize(platform.mungeSocketPath) })
  }
  if (platform.accesstype === "local") {
    if (platform.local === undefined) mistakes.push(`${path}.local.imageDir: is missing`)
    return { ...common, imagePath: directory(platform.local?.imageDir) }
  }
  const { imageDir, key, username } = platform.ssh ?? {}
  const hosts = list(platform.host ?? [])
  if (imageDir === undefined) mistakes.push(`${path}.ssh.imageDir: is missing`)
  if (username === undefined) mistakes.push(`${path}.ssh.username: is missing`)
  if (key === undefined) mistakes.push(`${path}.ssh.key: is missing; name the private key that ssh found by itself`)
  if (hosts.length === 0) mistakes.push(`${path}.host: is missing`)
  if (hosts.length > 1) warnings.push(`${path}.host: all hosts are tried in their order; the reference uses the first alone.`)
  const knownHosts = nodePath.join(homedir(), ".ssh", "known_hosts")
  warnings.push(`${path}.ssh: the hosts' keys must be in ${knownHosts}.`)
  return { ...common, imagePath: directory(imageDir), ssh: { hosts, username, keyFile: directory(key), knownHosts } }
}

const directory = (path: string | undefined): string | undefined => (path === undefined ? undefined : nodePath.join(path, ".").replace(/(?!^)\/$/, ""))
