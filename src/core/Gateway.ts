/**
 * The service `Gateway`: pulls images to systems, and tells what is there. A pull resolves, fetches, converts, transfers and publishes; of
 * all pulls of one image for one system, in whatever process, one does the work and the others wait for it.
 *
 * @module
 */
import { mkdir, rm } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Catalog, type PullRow, renewMillis } from "./Catalog.js"
import { hex } from "./Digest.js"
import { carried, errorFields, GatewayError, isErrorCode, isShifterError, messageOf, printable, type ShifterError, storageCode, TransportError } from "./Errors.js"
import { type Credentials, Image, type ResolvedImage, type Workspace } from "./Image.js"
import * as ImageId from "./ImageId.js"
import { type Access, type ImageRecord, mergeAccess } from "./ImageRecord.js"
import * as ImageRef from "./ImageRef.js"
import * as Meta from "./Meta.js"
import * as Native from "./Native.js"
import { Packer } from "./Packer.js"
import * as Platform from "./Platform.js"
import type { OnProgress } from "./Progress.js"
import * as Site from "./Site.js"
import { Transport } from "./Transport.js"
import * as Verify from "./Verify.js"

/** What is pulled, and for whom. */
export interface PullRequest {
  /** `[TYPE:]REFERENCE`. Paths are taken from the working directory. */
  readonly reference: string
  /** Name of a system; the site's default without it. */
  readonly system?: string | undefined
  /** `os/arch[/variant]`; this machine's without it. */
  readonly platform?: string | undefined
  /** For the registry; the site's without them. */
  readonly credentials?: Credentials | undefined
  /** uid of who asks; this process's without it. */
  readonly requester?: number | undefined
  /** Makes the image private to its puller and these. At most 1,000. */
  readonly allowUids?: ReadonlyArray<number> | undefined
  readonly allowGids?: ReadonlyArray<number> | undefined
  readonly onProgress?: OnProgress | undefined
}

/** A published image with the references that point to it. */
export interface ImageInfo {
  readonly record: ImageRecord
  /** Canonical references, sorted. */
  readonly names: ReadonlyArray<string>
  readonly system: string
}

/** What a removal did. */
export interface Removal {
  readonly id: string
  /** Names removed. */
  readonly names: ReadonlyArray<string>
  /** Whether the image itself is gone. A name's removal keeps the image for jobs that have it pinned. */
  readonly image: boolean
}

export class Gateway extends Context.Tag("shifter-sdk/Gateway")<
  Gateway,
  {
    /** Pulls an image; its record when it is published. Interrupting leaves nothing half done. */
    readonly pull: (request: PullRequest) => Effect.Effect<ImageRecord, GatewayError>
    /** The id that a reference points to. Fails with `IMAGE_NOT_FOUND`. */
    readonly lookup: (reference: string, system?: string) => Effect.Effect<string, GatewayError>
    /** All images of a system that have a name. */
    readonly list: (system?: string) => Effect.Effect<ReadonlyArray<ImageInfo>, GatewayError>
    /** Everything known of an image, by reference or `id:ID`. Fails with `IMAGE_NOT_FOUND`. */
    readonly inspect: (reference: string, system?: string) => Effect.Effect<ImageInfo, GatewayError>
    /** Removes a name; with `id:ID` the image and all its names. Fails with `IMAGE_NOT_FOUND`. */
    readonly remove: (reference: string, system?: string) => Effect.Effect<Removal, GatewayError>
  }
>() {}

/** How often a pull that waits for another looks at it. */
const WATCH = Duration.millis(150)

/** The service for a site. */
export const layer = (site: Site.Site): Layer.Layer<Gateway, never, Image | Catalog | Packer | Transport> =>
  Layer.effect(
    Gateway,
    Effect.gen(function* () {
      const services = yield* Effect.context<Image | Catalog | Packer | Transport>()
      const transport = yield* Transport
      const provided = <A, E extends ShifterError>(effect: Effect.Effect<A, E, Image | Catalog | Packer | Transport>) =>
        effect.pipe(
          Effect.provide(services),
          Effect.mapError((error: ShifterError): GatewayError => (error._tag === "GatewayError" ? error : new GatewayError(carried(error))))
        )

      const reference = (text: string) => Effect.map(ImageRef.parse(text, site.defaultImageType), (ref) => ImageRef.absolute(ref, process.cwd()))
      const notFound = (text: string, system: Site.System) =>
        new GatewayError(errorFields("IMAGE_NOT_FOUND", `There is no image "${printable(text)}" on ${system.name}`))

      const idOf = (text: string, system: Site.System) =>
        Effect.gen(function* () {
          const ref = yield* reference(text)
          if (ref.type === "id") return ref.reference
          const id = ref.canonical === null ? undefined : yield* transport.lookup(system, ref.canonical)
          return id ?? (yield* notFound(text, system))
        })

      const info = (text: string, system: Site.System) =>
        Effect.gen(function* () {
          const id = yield* idOf(text, system)
          const record = yield* transport.record(system, id)
          if (record === undefined) return yield* notFound(text, system)
          const names = (yield* transport.names(system)).filter((name) => name.id === id).map((name) => name.reference)
          return { record, names, system: system.name }
        })

      return Gateway.of({
        pull: (request) => provided(Effect.scoped(pull(site, request))),
        lookup: (text, name) => provided(Effect.flatMap(Site.system(site, name), (system) => Effect.map(info(text, system), ({ record }) => record.id))),
        inspect: (text, name) => provided(Effect.flatMap(Site.system(site, name), (system) => info(text, system))),
        list: (name) =>
          provided(
            Effect.gen(function* () {
              const system = yield* Site.system(site, name)
              const byId = new Map<string, Array<string>>()
              for (const { id, reference } of yield* transport.names(system)) byId.set(id, [...(byId.get(id) ?? []), reference])
              const found = yield* Effect.forEach(byId, ([id, names]) =>
                Effect.map(transport.record(system, id), (record) => (record === undefined ? [] : [{ record, names, system: system.name }])), { concurrency: 16 })
              return found.flat()
            })
          ),
        remove: (text, name) =>
          provided(
            Effect.gen(function* () {
              const system = yield* Site.system(site, name)
              const ref = yield* reference(text)
              if (ref.type !== "id") {
                const id = yield* idOf(text, system)
                if (ref.canonical !== null) yield* transport.unname(system, ref.canonical)
                return { id, names: [ref.canonical ?? text], image: false }
              }
              const { names, record } = yield* info(text, system)
              for (const each of names) yield* transport.unname(system, each)
              yield* transport.remove(system, record.id)
              return { id: record.id, names, image: true }
            })
          )
      })
    })
  )

/** One pull, in a scope that ends with it. */
const pull = (site: Site.Site, request: PullRequest) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const image = yield* Image
    const packer = yield* Packer
    const transport = yield* Transport
    const onProgress = request.onProgress ?? (() => undefined)
    const system = yield* Site.system(site, request.system)
    const ref = ImageRef.absolute(yield* ImageRef.parse(request.reference, site.defaultImageType), process.cwd())
    const { canonical } = ref
    if (canonical === null || !image.types.includes(ref.type)) {
      return yield* new GatewayError(errorFields("SOURCE_UNSUPPORTED", `Images of type "${ref.type}" can't be pulled here, only ${image.types.join(", ")}`))
    }
    const platform = request.platform === undefined ? Platform.host() : yield* Platform.parse(request.platform)
    const requester = request.requester ?? process.getuid?.() ?? 0

    yield* reap(site)
    const row = yield* Effect.acquireRelease(catalog.begin({ system: system.name, reference: canonical, requester }), (pulled, exit) => Effect.ignore(ended(catalog, pulled, exit)))
    const lost = yield* heartbeat(row)

    const work = Effect.gen(function* () {
      const profile = yield* packer.profile
      onProgress({ _tag: "Phase", phase: "resolve" })
      const workspace = yield* workspaceOf(site, row)
      const resolved = yield* image.resolve(ref, { platform, credentials: request.credentials, limits: site.limits, onProgress, workspace })
      const id = ImageId.make(resolved.sourceDigest, profile)
      onProgress({ _tag: "Resolved", id, layers: resolved.blobs })
      const lists = { allowUids: [...(request.allowUids ?? [])], allowGids: [...(request.allowGids ?? [])] }
      const isPrivate = resolved.isPrivate || lists.allowUids.length + lists.allowGids.length > 0
      const access: Access = { access: isPrivate ? "private" : "public", owner: requester, ...lists }

      const published = Effect.gen(function* () {
        const record = yield* transport.record(system, id)
        if (record === undefined) return undefined
        const merged = mergeAccess(record, access)
        const same = JSON.stringify(merged) === JSON.stringify(mergeAccess(record, record))
        const current = same ? record : yield* transport.setAccess(system, id, merged)
        if ((yield* transport.lookup(system, canonical)) !== id) yield* transport.name(system, canonical, id)
        return current
      })

      for (let told = false; ; ) {
        const present = yield* published
        if (present !== undefined) return present
        const claim = yield* catalog.claim(row, id)
        if (claim._tag === "Mine") break
        if (!told) onProgress({ _tag: "Waiting", id })
        told = true
        yield* waitFor(claim.pull, site)
      }
      // Between the look and the claim another may have published.
      const present = yield* published
      if (present !== undefined) return present

      yield* catalog.useBlobs(row, resolved.blobs.map((blob) => hex(blob.digest)))
      const omitted = Meta.encode(resolved.metadata, access).omitted
      if (omitted.length > 0) {
        onProgress({ _tag: "Warning", message: `The .meta file for the reference runtime can't say: ${printable(omitted.join("; "))}. This project's runtime reads the record, which says all.` })
      }
      const enter = (phase: "fetch" | "convert" | "transfer" | "publish") =>
        Effect.flatMap(catalog.enter(row, phase), (held) => {
          if (!held) return Effect.fail(leaseLost)
          onProgress({ _tag: "Phase", phase })
          return Effect.void
        })
      yield* enter("fetch")
      const staging = yield* transport.stage(system, tokenOf(row))
      const summary = yield* convert(resolved, workspace, staging.file, enter("convert"), onProgress)
      if (summary.dropped > 0) {
        onProgress({ _tag: "Warning", message: `${summary.dropped} device nodes and FIFOs of the image were left out: /dev is the node's.` })
      }
      yield* enter("transfer")
      yield* Verify.check(staging.file, { program: workspace.program("shifter-verify"), sample: workspace.sample, written: summary })
      const record = yield* transport.publish(
        system,
        staging,
        {
          id,
          reference: canonical,
          sourceDigest: resolved.sourceDigest,
          manifestDigest: resolved.manifestDigest,
          profile: ImageId.profileText(profile),
          platform: Platform.format(resolved.platform),
          entries: summary.inodes,
          ...access,
          ...resolved.metadata
        },
        { inodes: summary.inodes, fence: Effect.mapError(enter("publish"), (error) => new TransportError(carried(error))) }
      )
      yield* catalog.releaseBlobs(row, (blob) => removeBlob(site, blob))
      return record
    })
    return yield* Effect.raceFirst(work, lost)
  })

const leaseLost = new GatewayError(errorFields("LEASE_LOST", "This process was silent for too long, and another one took over its pull"))

/** Renews the lease; the effect returned fails when it is lost. */
const heartbeat = (row: PullRow) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const lost = yield* Deferred.make<never, GatewayError>()
    yield* catalog.renew(row).pipe(
      // A catalogue that is busy for a moment costs nothing: the lease lasts for several beats.
      Effect.orElseSucceed(() => true),
      Effect.flatMap((held) => (held ? Effect.void : Deferred.fail(lost, leaseLost))),
      Effect.repeat(Schedule.spaced(renewMillis)),
      Effect.forkScoped
    )
    return Deferred.await(lost)
  })

/** How a pull ended, for those who wait and for the next try. */
const ended = (catalog: Context.Tag.Service<Catalog>, row: PullRow, exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return catalog.end(row, { _tag: "Done" })
  const failure = Cause.failureOption(exit.cause)
  return failure._tag === "Some" && isShifterError(failure.value) && failure.value.code !== "LEASE_LOST"
    ? catalog.end(row, { _tag: "Failed", code: failure.value.code, what: failure.value.what })
    : catalog.end(row, { _tag: "Abandoned" })
}

/** Waits until another pull has ended. Its failure is ours: we would do the same with the same image. */
const waitFor = (other: number, site: Site.Site) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    for (;;) {
      const state = yield* catalog.state(other)
      if (state._tag === "Failed") {
        const code = isErrorCode(state.code) ? state.code : "INTERNAL"
        return yield* new GatewayError(errorFields(code, `Another pull of the same image failed: ${state.what}`))
      }
      if (state._tag !== "Active") return
      yield* Effect.sleep(WATCH)
      yield* reap(site)
    }
  })

/** Ends pulls of processes that are gone, and removes what they left. */
const reap = (site: Site.Site) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const transport = yield* Transport
    for (const gone of yield* catalog.reap((blob) => removeBlob(site, blob))) {
      const system = site.systems.get(gone.system)
      if (system !== undefined) yield* transport.discard(system, tokenOf(gone))
      yield* Effect.promise(() => rm(scratchOf(site, gone), { recursive: true, force: true }).catch(() => undefined))
    }
  })

const tokenOf = (row: PullRow) => `pull-${row.id}`
const scratchOf = (site: Site.Site, row: PullRow) => nodePath.join(site.stateDirectory, "work", tokenOf(row))

const blobsOf = (site: Site.Site) => nodePath.join(site.stateDirectory, "blobs")
const removeBlob = (site: Site.Site, blob: string) => Effect.promise(() => rm(nodePath.join(blobsOf(site), blob), { force: true }).catch(() => undefined))

const workspaceOf = (site: Site.Site, row: PullRow) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async (): Promise<Workspace> => {
        const workspace: Workspace = {
          blobs: blobsOf(site),
          scratch: scratchOf(site, row),
          program: (name) => Native.program(name, site.prefix),
          sample: Verify.newSample(site.verify)
        }
        await mkdir(workspace.blobs, { recursive: true, mode: 0o700 })
        await mkdir(workspace.scratch, { recursive: true, mode: 0o700 })
        return workspace
      },
      catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The state directory ${site.stateDirectory}: ${messageOf(error)}`, { cause: error }))
    }),
    (workspace) => Effect.promise(() => rm(workspace.scratch, { recursive: true, force: true }).catch(() => undefined))
  )

/** Fetches, merges and packs in one pass; in two where the layers ask for it. */
const convert = (resolved: ResolvedImage, workspace: Workspace, file: string, converting: Effect.Effect<void, ShifterError>, onProgress: OnProgress) =>
  Effect.gen(function* () {
    const packer = yield* Packer
    const attempt = Effect.scoped(
      Effect.gen(function* () {
        const rootfs = yield* resolved.open
        const fetched = yield* Effect.forkScoped(Effect.zipRight(rootfs.fetched, converting))
        const summary = yield* packer.pack((output) => rootfs.write(output, (bytes) => onProgress({ _tag: "Packed", bytes })), { target: file, scratch: workspace.scratch })
        yield* fetched
        return summary
      })
    )
    const again = Effect.zipRight(Effect.promise(() => rm(file, { force: true })), attempt)
    return yield* attempt.pipe(
      Effect.catchTag("RestartNeeded", () => again),
      Effect.catchTag("RestartNeeded", Effect.die)
    )
  })

