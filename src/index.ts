/**
 * `shifter-sdk`: images for supercomputers. Functions with promises for programs of any kind, and the services for programs with Effect.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { httpLayer, login, logout } from "./backends/docker/index.js"
import * as ClientConfig from "./core/ClientConfig.js"
import * as Errors from "./core/Errors.js"
import type { ExportFormat } from "./core/Export.js"
import * as Gateway from "./core/Gateway.js"
import type { ImageMetadata, ImageRecord, Requester } from "./core/ImageRecord.js"
import * as ImageRef from "./core/ImageRef.js"
import type { OnProgress } from "./core/Progress.js"
import { send } from "./core/Sending.js"
import * as Site from "./core/Site.js"
import * as Udi from "./core/Udi.js"
import * as Upkeep from "./core/Upkeep.js"
import * as Uploads from "./core/Uploads.js"
import { gatewayLayer, upkeepLayer } from "./live.js"
import * as native from "./udi/index.js"

export * as Audit from "./core/Audit.js"
export * as Catalog from "./core/Catalog.js"
export * as ClientConfig from "./core/ClientConfig.js"
export * as Digest from "./core/Digest.js"
export * as Errors from "./core/Errors.js"
export * as Executor from "./core/Executor.js"
export * as Export from "./core/Export.js"
export * as Gateway from "./core/Gateway.js"
export * as Image from "./core/Image.js"
export * as ImageId from "./core/ImageId.js"
export * as ImageIndex from "./core/ImageIndex.js"
export * as Indexed from "./core/Indexed.js"
export * as ImageRecord from "./core/ImageRecord.js"
export * as ImageRef from "./core/ImageRef.js"
export * as JobExecutor from "./core/JobExecutor.js"
export * as Limits from "./core/Limits.js"
export * as Meta from "./core/Meta.js"
export * as NameFile from "./core/NameFile.js"
export * as Packer from "./core/Packer.js"
export * as Platform from "./core/Platform.js"
export * as Progress from "./core/Progress.js"
export * as PullQueue from "./core/PullQueue.js"
export * as Requested from "./core/Requested.js"
export * as RootfsStream from "./core/RootfsStream.js"
export * as Site from "./core/Site.js"
export * as Tokens from "./core/Tokens.js"
export * as Transport from "./core/Transport.js"
export * as Udi from "./core/Udi.js"
export * as Upkeep from "./core/Upkeep.js"
export * as Uploads from "./core/Uploads.js"
export * as Wlm from "./core/Wlm.js"
export type { CatalogOptions } from "./catalog/sqlite/index.js"
export type { CatalogServices } from "./catalog/sql/index.js"
export { catalogLayer, gatewayLayer, type GatewayParts, localTransport, postgresCatalog, siteTransport, sqliteCatalog, sshTransport, tar2sqfsPacker, upkeepLayer } from "./live.js"
export { layer as udiLayer } from "./udi/index.js"

export type { ErrorCode, ErrorReason, ShifterError } from "./core/Errors.js"
export type { ImageInfo, ImageList, Removal } from "./core/Gateway.js"
export type { ImageRecord as PublishedImage } from "./core/ImageRecord.js"
export type { OnProgress, ProgressEvent } from "./core/Progress.js"
export type { Collected, Kept, Scrubbed } from "./core/Upkeep.js"
export type { RunResult } from "./core/Udi.js"

/** What every function takes. */
export interface CommonOptions {
  /** A configuration file, or a configuration; `/etc/shifter/gateway.json` or a person's own directories without it. */
  readonly config?: string | Site.GatewayConfig | ClientConfig.ClientConfig | undefined
  /** URLs of a gateway service's replicas, which is then asked instead of a gateway within this process; see `docs/gateway-service.md`. */
  readonly gateway?: string | ReadonlyArray<string> | undefined
  /** A token for that service; munge without it. */
  readonly token?: string | undefined
  /** Name of a system; the site's default without it. */
  readonly system?: string | undefined
  /** Cancels the call. It is rejected with the code `CANCELLED` once everything it began is ended; the `cause` is the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

export interface ReadOptions extends CommonOptions {
  /** Who asks: he is told only of images that he may use. Without him everything is told, as to the account that owns the image path. */
  readonly requester?: Requester | undefined
}

export interface PullOptions extends CommonOptions {
  /** `os/arch[/variant]`; this machine's without it. */
  readonly platform?: string | undefined
  /** For the registry; the site's without them. */
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** Who asks; this process's user with all his groups without it. */
  readonly requester?: Requester | undefined
  /** Makes the image private to its puller and these users, at most 1,000. Empty: to its puller alone. */
  readonly allowUids?: ReadonlyArray<number> | undefined
  /** Makes the image private to its puller and these groups, at most 1,000. Empty: to its puller alone. */
  readonly allowGids?: ReadonlyArray<number> | undefined
  /** Reads an image that is published already again, and converts it anew when it is not what its record says. */
  readonly verify?: boolean | undefined
  /** Which root file system of a `vm:` disk is meant, where it has several, as they are listed: `2`, `VG/LV`, `2@SUBVOLUME`. */
  readonly partition?: string | undefined
  /** Told what happens. It must return at once; one that throws is told nothing more, and the pull goes on. */
  readonly onProgress?: OnProgress | undefined
}

/** Where the file of an import comes from: a path, an upload or a URL. */
export type ImportSource = Gateway.ImportSource

export interface ImportOptions extends CommonOptions {
  /** `os/arch[/variant]` that the image is for; this machine's without it. */
  readonly platform?: string | undefined
  /** Who asks, and whose the image will be. Without him it is this process's user, who may import what he can read. */
  readonly requester?: Requester | undefined
  /** Makes the image private to its owner and these users, at most 1,000. Empty: to its owner alone. Without both lists everyone may use it. */
  readonly allowUids?: ReadonlyArray<number> | undefined
  /** Makes the image private to its owner and these groups, at most 1,000. Empty: to its owner alone. */
  readonly allowGids?: ReadonlyArray<number> | undefined
  /** What the image says about running it: environment, entry point, command, working directory, labels. It comes over what a disk says; other files say nothing of that. */
  readonly metadata?: Partial<ImageMetadata> | undefined
  /** Which root file system of a `vm:` disk is meant, where it has several, as they are listed: `2`, `VG/LV`, `2@SUBVOLUME`. */
  readonly partition?: string | undefined
  /** Told what happens. It must return at once; one that throws is told nothing more, and the import goes on. */
  readonly onProgress?: OnProgress | undefined
}

export interface RunImageOptions extends Udi.RunOptions {
  /** Where the native programs are installed. Default: `/usr/local` where they are there, else `/usr`, else where `npx shifter-build-native` made them. */
  readonly prefix?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Pulls an image: fetched, merged, packed and published in one pass. An image that is published already is only named.
 *
 * @param reference `[TYPE:]REFERENCE`, such as `docker:debian:12` or `oci:/srv/layout:v1`
 * @returns the record of the published image
 * @throws GatewayError with a code of the error table
 * @example
 * ```ts
 * import { pullImage } from "shifter-sdk"
 *
 * const image = await pullImage("docker:debian:12", { onProgress: (event) => console.log(event) })
 * console.log(image.id)
 * ```
 */
export const pullImage = (reference: string, options: PullOptions = {}): Promise<ImageRecord> =>
  withGateway(options, (gateway) =>
    gateway.pull({
      ...options,
      reference,
      credentials:
        options.credentials === undefined ? undefined : { username: options.credentials.username, password: Redacted.make(options.credentials.password) }
    })
  )

/**
 * Makes an image of a file: a squashfs, or a root file system as tar, tar.gz or tar.zst; the disk of a virtual machine; an archive of a CHOS tree. It is read in a sandbox, filtered and packed again; nothing
 * is published as it came.
 *
 * @param reference `custom:NAME[:TAG]`, `vm:NAME[:TAG]` or `chos:NAME`
 * @param source a path of this machine, which is uploaded where a gateway service is asked; or where else it comes from
 * @returns the record of the published image
 * @throws GatewayError with the code `FILE_UNAVAILABLE`, `FILE_INVALID`, `ACCESS_DENIED`, `LIMIT_EXCEEDED` or another of the error table
 * @example
 * ```ts
 * import { importImage } from "shifter-sdk"
 *
 * const image = await importImage("custom:tools:1.0", "/home/alice/tools.squashfs", { metadata: { entrypoint: ["/opt/tools/run"] } })
 * console.log(image.id)
 * ```
 */
export const importImage = (reference: string, source: string | ImportSource, options: ImportOptions = {}): Promise<ImageRecord> =>
  promised(
    Effect.gen(function* () {
      const place = yield* placeOf(options)
      const made = (from: ImportSource) => Effect.flatMap(Gateway.Gateway, (gateway) => gateway.import({ ...options, reference, source: from }))
      if (place._tag === "Here") return yield* Effect.provide(made(typeof source === "string" ? { _tag: "Path", path: source } : source), gatewayLayer(place.site))
      if (typeof source !== "string") return yield* Effect.provide(made(source), yield* remoteLayer(place.remote))
      return yield* Effect.gen(function* () {
        const id = yield* send(yield* Uploads.Uploads, source, process.getuid?.() ?? 0, options.onProgress)
        return yield* made({ _tag: "Upload", id })
      }).pipe(Effect.provide(yield* remoteLayer(place.remote, options.system)))
    }),
    options.signal
  )

/**
 * The id of the image that a reference points to.
 *
 * @throws GatewayError with the code `IMAGE_NOT_FOUND` when there is none
 */
export const lookupImage = (reference: string, options: ReadOptions = {}): Promise<string> =>
  withGateway(options, (gateway) => gateway.lookup(reference, options))

/** All images of a system, with or without a name, and what could not be read. */
export const listImages = (options: ReadOptions = {}): Promise<Gateway.ImageList> => withGateway(options, (gateway) => gateway.list(options))

/**
 * Everything known of an image, by reference or `id:ID`.
 *
 * @throws GatewayError with the code `IMAGE_NOT_FOUND` when there is none
 */
export const inspectImage = (reference: string, options: ReadOptions = {}): Promise<Gateway.ImageInfo> =>
  withGateway(options, (gateway) => gateway.inspect(reference, options))

/**
 * Removes a name; the image stays for jobs that have it pinned. With `id:ID`, removes the image and all its names; for a requester, who may be one of
 * many that use it, the names alone.
 *
 * @throws GatewayError with the code `IMAGE_NOT_FOUND` when there is none, and `ACCESS_DENIED` when it is not the requester's
 */
export const removeImage = (reference: string, options: ReadOptions = {}): Promise<Gateway.Removal> =>
  withGateway(options, (gateway) => gateway.remove(reference, options))

export interface ExportOptions extends ReadOptions {
  /** `squashfs` as it is published, `tar`, or `oci`: a layout with one layer. */
  readonly format: ExportFormat
  /** Path of the file, or of the layout's directory; nothing may be there yet. */
  readonly target: string
}

/**
 * Writes an image to a file or an OCI layout.
 *
 * @returns the record of the image
 * @throws GatewayError with the code `IMAGE_NOT_FOUND`, `IMAGE_CORRUPT`, `EXPORT_FAILED` or `STORAGE_FULL`
 */
export const exportImage = (reference: string, options: ExportOptions): Promise<ImageRecord> =>
  withGateway(options, (gateway) => gateway.export(reference, options))

export interface CollectOptions extends CommonOptions {
  /** Tells what would be done, and does nothing. */
  readonly dryRun?: boolean | undefined
}

/** Removes what has expired and what no name points to, and whatever ended pulls have left. Pulls may go on meanwhile. */
export const collectImages = (options: CollectOptions = {}): Promise<Upkeep.Collected> => withUpkeep(options, (upkeep) => upkeep.collect({ system: options.system, dryRun: options.dryRun }))

export interface ScrubOptions extends CommonOptions {
  /** Images that were read within so many seconds are left out. Default: none is. */
  readonly olderThanSeconds?: number | undefined
  /** Reads at most so many, the longest unread first. Default: all. */
  readonly limit?: number | undefined
}

/** Reads published images again and tells which are damaged. The next pull converts those anew. */
export const scrubImages = (options: ScrubOptions = {}): Promise<Upkeep.Scrubbed> =>
  withUpkeep(options, (upkeep) => upkeep.scrub({ system: options.system, olderThanSeconds: options.olderThanSeconds, limit: options.limit }))

/**
 * Pins an image: it neither expires nor is collected.
 *
 * @throws GatewayError with the code `IMAGE_NOT_FOUND` when there is none, and `ACCESS_DENIED` when it is not the requester's
 */
export const pinImage = (reference: string, options: ReadOptions = {}): Promise<Upkeep.Kept> => withUpkeep(options, (upkeep) => upkeep.pin(reference, options))

/** Takes one's pin away. */
export const unpinImage = (reference: string, options: ReadOptions = {}): Promise<Upkeep.Kept> => withUpkeep(options, (upkeep) => upkeep.unpin(reference, options))

/** Says when an image expires; without a time: never. */
export const keepImage = (reference: string, expires: Date | undefined, options: ReadOptions = {}): Promise<Upkeep.Kept> =>
  withUpkeep(options, (upkeep) => upkeep.expire(reference, expires?.getTime(), options))

export interface LoginOptions {
  readonly config?: CommonOptions["config"]
  readonly signal?: AbortSignal | undefined
}

/**
 * Tries a login at a registry, and keeps it where `docker login` keeps it, with mode 0600 or with the helper program named there.
 *
 * @param registry `HOST[:PORT]`, such as `docker.io`
 * @returns where it is kept
 * @throws GatewayError with the code `REGISTRY_UNAUTHORIZED` when the registry refuses it
 */
export const loginRegistry = (registry: string, credentials: { readonly username: string; readonly password: string }, options: LoginOptions = {}): Promise<string> =>
  promised(
    Effect.gen(function* () {
      const { directory, host, site } = yield* loginPlace(registry, options.config)
      return yield* login({ host, directory, settingsOf: site.registry, credentials: { username: credentials.username, password: Redacted.make(credentials.password) } }).pipe(
        Effect.provide(httpLayer(site.network, site.proxy))
      )
    }).pipe(asGatewayError),
    options.signal
  )

/** Forgets a login that {@link loginRegistry} or `docker login` has kept. Whether there was one. */
export const logoutRegistry = (registry: string, options: LoginOptions = {}): Promise<boolean> =>
  promised(
    Effect.flatMap(loginPlace(registry, options.config), ({ directory, host }) => logout(directory, host)).pipe(asGatewayError),
    options.signal
  )

const loginPlace = (registry: string, config: CommonOptions["config"]) =>
  Effect.gen(function* () {
    const site = yield* siteOf(config)
    const { host } = yield* Either.flatMap(ImageRef.parse(`docker:${registry}/any`), ImageRef.dockerName)
    if (host === "docker.io" && !/(^|\.)docker\.io$/i.test(registry)) {
      return yield* new Errors.GatewayError(Errors.errorFields("USAGE", `"${registry}" is no registry`, { remedy: "Name its host, with its port where it needs one." }))
    }
    if (site.dockerLogins === undefined) {
      return yield* new Errors.GatewayError(Errors.errorFields("CONFIG_INVALID", "The configuration keeps no logins: its dockerLogins is false", { remedy: "Name a directory there." }))
    }
    return { site, host, directory: site.dockerLogins }
  })

const asGatewayError = <A>(effect: Effect.Effect<A, Errors.ShifterError>): Effect.Effect<A, Errors.GatewayError> =>
  Effect.mapError(effect, (error) => (error._tag === "GatewayError" ? error : new Errors.GatewayError(Errors.carried(error))))

/**
 * Runs a program in an image on this node, as the calling user, by the native helper. The program's own status is a result, not an error.
 *
 * @throws UdiError when the helper refuses
 * @example
 * ```ts
 * import { runImage } from "shifter-sdk"
 *
 * const { status, stdout } = await runImage("docker:debian:12", ["cat", "/etc/os-release"], { stdio: "capture" })
 * ```
 */
export const runImage = (image: string, command: ReadonlyArray<string>, options: RunImageOptions = {}): Promise<Udi.RunResult> =>
  promised(
    Effect.flatMap(Udi.Udi, (udi) => udi.run(image, command, options)).pipe(Effect.provide(native.layer(options.prefix))),
    options.signal
  )

const withGateway = <A>(
  options: CommonOptions,
  f: (gateway: typeof Gateway.Gateway.Service) => Effect.Effect<A, Errors.GatewayError>
): Promise<A> =>
  promised(
    Effect.gen(function* () {
      const place = yield* placeOf(options)
      const layer = place._tag === "Here" ? gatewayLayer(place.site) : yield* remoteLayer(place.remote)
      return yield* Effect.provide(Effect.flatMap(Gateway.Gateway, f), layer)
    }),
    options.signal
  )

const placeOf = (options: CommonOptions) => Either.mapLeft(ClientConfig.place(options), (error) => new Errors.GatewayError(Errors.carried(error)))

const withUpkeep = <A>(options: CommonOptions, f: (upkeep: typeof Upkeep.Upkeep.Service) => Effect.Effect<A, Errors.GatewayError>): Promise<A> =>
  promised(
    Effect.gen(function* () {
      const place = yield* placeOf(options)
      const layer = place._tag === "Here" ? upkeepLayer(place.site) : yield* remoteLayer(place.remote)
      return yield* Effect.provide(Effect.flatMap(Upkeep.Upkeep, f), layer)
    }),
    options.signal
  )

/** Loaded only where it is used: what an embedded gateway does not need makes no program slower. */
const remoteLayer = (remote: ClientConfig.Remote, system = remote.system) =>
  Effect.map(Effect.promise(() => import("./remote.js")), ({ remoteGatewayLayer }) => remoteGatewayLayer({ ...remote, system }))

const siteOf = (config: CommonOptions["config"]): Either.Either<Site.Site, Errors.FormatError> =>
  typeof config === "object" ? Site.decode(config) : Site.load(config)

/** Runs an effect; its failure is thrown as it is, an interruption as `CANCELLED`. */
const promised = async <A, E extends Errors.ShifterError>(effect: Effect.Effect<A, E>, signal: AbortSignal | undefined): Promise<A> => {
  // What is logged is no part of what a program prints.
  const exit = await Effect.runPromiseExit(Effect.provide(effect, toStandardError), signal === undefined ? {} : { signal })
  if (Exit.isSuccess(exit)) return exit.value
  const failure = Cause.failureOption(exit.cause)
  if (failure._tag === "Some") throw failure.value
  if (Cause.isInterruptedOnly(exit.cause)) throw new Errors.GatewayError(Errors.errorFields("CANCELLED", "The call was cancelled", { cause: signal?.reason }))
  const defect = Cause.squash(exit.cause)
  throw Errors.isShifterError(defect) ? defect : new Errors.GatewayError(Errors.errorFields("INTERNAL", `Unexpected: ${causes(defect)}`, { cause: defect }))
}

const toStandardError = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))

/** The messages of a defect and its causes. */
const causes = (defect: unknown): string => {
  const found: Array<string> = []
  for (let each = defect; each !== undefined && found.length < 5; each = typeof each === "object" && each !== null && "cause" in each ? each.cause : undefined) found.push(Errors.messageOf(each))
  return found.join(": ")
}
