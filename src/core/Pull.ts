/**
 * One pull: resolve, fetch, convert, transfer, publish. Of all pulls of one image for one system, in whatever process, one does the work and
 * the others wait for it.
 *
 * @module
 */
import { open, readdir, rm, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as BlobStore from "./BlobStore.js"
import { Catalog, type PullRow, renewMillis } from "./Catalog.js"
import { checked } from "./Checked.js"
import { makeDirectory } from "./Disk.js"
import { carried, type ErrorCode, errorFields, type FormatError, GatewayError, type ImageError, isErrorCode, isShifterError, messageOf, printable, type ShifterError, storageCode, TransportError } from "./Errors.js"
import { Executor } from "./Executor.js"
import { type Credentials, Image, type ResolvedImage, type ResolveOptions, type Workspace } from "./Image.js"
import * as ImageId from "./ImageId.js"
import { type Access, Acl, encode, type ImageRecord, mayUse, mergeAccess, Requester } from "./ImageRecord.js"
import { ImageIndex } from "./ImageIndex.js"
import { expiryOf } from "./Indexed.js"
import * as ImageRef from "./ImageRef.js"
import * as Meta from "./Meta.js"
import * as Native from "./Native.js"
import { Packer } from "./Packer.js"
import * as Platform from "./Platform.js"
import { careful, type OnProgress } from "./Progress.js"
import type { RestartNeeded } from "./RootfsStream.js"
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
  /** Who asks; this process's user with all his groups without it. */
  readonly requester?: Requester | undefined
  /** Makes the image private to its puller and these users, at most 1,000. Empty: to its puller alone. */
  readonly allowUids?: ReadonlyArray<number> | undefined
  /** Makes the image private to its puller and these groups, at most 1,000. Empty: to its puller alone. */
  readonly allowGids?: ReadonlyArray<number> | undefined
  /** Reads an image that is published already again, and converts it anew when it is not what its record says. */
  readonly verify?: boolean | undefined
  /** Which root file system of a disk is meant, where it has several. */
  readonly partition?: string | undefined
  /** Told what happens. One that throws is told nothing more. */
  readonly onProgress?: OnProgress | undefined
}

const Checked = Schema.Struct({
  reference: Schema.String,
  system: Schema.optional(Schema.String),
  platform: Schema.optional(Schema.String),
  credentials: Schema.optional(Schema.Struct({ username: Schema.String, password: Schema.RedactedFromSelf(Schema.String) })),
  requester: Schema.optional(Requester),
  allowUids: Schema.optional(Acl),
  allowGids: Schema.optional(Acl),
  verify: Schema.optional(Schema.Boolean),
  partition: Schema.optional(Schema.String)
})

/** Parses a reference; a path is taken from the working directory, which is looked at only then. */
export const parseReference = (text: string, defaultType: string): Either.Either<ImageRef.ImageRef, FormatError | GatewayError> =>
  Either.flatMap(ImageRef.parse(text, defaultType), (ref) =>
    ref.canonical !== null
      ? Either.right(ref)
      : Either.try({
          try: () => ImageRef.absolute(ref, process.cwd()),
          catch: (error) =>
            new GatewayError(
              errorFields("REFERENCE_INVALID", `The image reference "${text}" has no place: the working directory is gone`, { cause: error, remedy: "Write an absolute path." })
            )
        })
  )

/** What is known of an image before it is packed. */
type Described = Omit<ImageRecord, keyof Verify.ImageFile | "entries">

/** How long a system is waited for where something is to be removed that a pull has left. */
const AWAY = Duration.seconds(3)
/** How often a pull that waits for another looks at it: less and less often. */
const FIRST_LOOK = 150
const LAST_LOOK = 1000
/** Then it is claimed anew: one that takes too long may be taken over. */
const LOOKS = 12

/** What an import does in another way than a pull. */
export interface Way {
  /** Finds the image instead of the source of its type alone. */
  readonly resolve: (ref: ImageRef.ImageRef, options: ResolveOptions) => Effect.Effect<ResolvedImage, ImageError | GatewayError, Scope.Scope>
  /** Asked before anything is done, and again before the name is pointed to an image, given the one that it points to. */
  readonly mayRename: (current: ImageRecord) => Effect.Effect<void, GatewayError>
}

/** One pull, in a scope that ends with it. */
export const pull = (site: Site.Site, request: PullRequest, way?: Way) =>
  Effect.gen(function* () {
    yield* checked(Checked, request)
    const catalog = yield* Catalog
    const image = yield* Image
    const packer = yield* Packer
    const transport = yield* Transport
    const onProgress = careful(request.onProgress)
    const system = yield* Site.system(site, request.system)
    const ref = yield* parseReference(request.reference, site.defaultImageType)
    const canonical = ref.canonical ?? `${ref.type}:${ref.reference}`
    const platform = request.platform === undefined ? Platform.host() : yield* Platform.parse(request.platform)
    const requester = request.requester ?? { uid: process.getuid?.() ?? 0, gids: [process.getegid?.() ?? 0, ...(process.getgroups?.() ?? [])] }

    yield* transport.ready(system)
    const reaped = yield* reap(site)
    const row = yield* Effect.acquireRelease(catalog.begin({ system: system.name, reference: canonical, requester: requester.uid }), (pulled, exit) =>
      Effect.ignore(ended(catalog, pulled, exit))
    )
    const enter = (phase: "fetch" | "convert" | "transfer" | "publish") =>
      Effect.flatMap(catalog.enter(row, phase), (held) => {
        if (!held) return Effect.fail(leaseLost)
        onProgress({ _tag: "Phase", phase })
        return Effect.void
      })

    const work = Effect.gen(function* () {
      const profile = yield* packer.profile
      onProgress({ _tag: "Phase", phase: "resolve" })
      const workspace = yield* workspaceOf(site, row)
      // What can't be read is nobody's: it is converted and named anew. What is of a newer version is left alone.
      const readable = <A>(effect: Effect.Effect<A, TransportError>) => Effect.catchIf(effect, (error) => error.code === "RECORD_INVALID", () => Effect.succeed(undefined))
      const pointed = readable(transport.lookup(system, canonical))
      const renaming = Effect.gen(function* () {
        const current = way === undefined ? undefined : yield* pointed
        const there = current === undefined ? undefined : yield* readable(transport.record(system, current))
        if (way !== undefined && there !== undefined) yield* way.mayRename(there)
      })
      yield* renaming
      const options: ResolveOptions = { platform, credentials: request.credentials, limits: site.limits, onProgress, workspace, partition: request.partition }
      const found = yield* (way?.resolve ?? image.resolve)(ref, options).pipe(
        Effect.catchIf(
          (error) => way === undefined && (error.code === "IMPORT_NEEDED" || error.code === "TREE_NOT_FOUND"),
          (error) => imported(pointed, system, canonical, requester, request, onProgress, error)
        )
      )
      if ("record" in found) return found.record
      const resolved = found
      // A source that says no more of what is private gets an id that nothing else has: with it another's names would be told, and its own to others.
      const id = ImageId.make(resolved.sourceDigest, profile, resolved.variant ?? (resolved.isPrivate ? `private ${canonical}` : undefined))
      onProgress({ _tag: "Resolved", id, layers: resolved.blobs.map(({ bytes, digest }) => ({ digest, bytes })) })
      const access = accessOf(request, requester, resolved)
      // It is published, whatever the catalogue says now; blobs that stay are removed with those of failed pulls.
      const released = Effect.ignore(Effect.zipRight(catalog.releaseBlobs(row), evict(site)))
      const recorded = readable(transport.record(system, id))
      // What a scrub found damaged is read again, and converted anew.
      const index = yield* Effect.serviceOption(ImageIndex)
      const isDamaged = Option.isSome(index) && (yield* Effect.orElseSucceed(index.value.get(system.name, id), () => undefined))?.damage !== undefined
      const verify = request.verify === true || isDamaged
      const named = (record: ImageRecord) =>
        Effect.gen(function* () {
          const current = yield* pointed
          yield* renaming
          if (current !== id) {
            // Fenced as publishing is: who was silent for too long may have lost the image to a collection.
            if (!(yield* catalog.enter(row, "publish"))) return yield* leaseLost
            yield* transport.name(system, { reference: canonical, id }, row.token)
          }
          if (current !== id || reaped > 0 || (yield* catalog.hasLeftBlobs(row))) yield* released
          return record
        })
      // It counts as a use also where nothing is to be done.
      const lifetime = expiryOf(site).expiresIn
      const used = Option.isSome(index) ? Effect.ignore(index.value.touch(system.name, id, lifetime)) : Effect.void

      for (let told = false; ; ) {
        const record = yield* recorded
        // It is named by whoever has claimed it alone: nothing removes it then.
        if (record !== undefined && !verify && isSame(mergeAccess(record, access), record) && (yield* pointed) === id) {
          yield* used
          warnOfAccess(record, access, requester, onProgress)
          return yield* named(record)
        }
        const claim = yield* catalog.claim(row, id)
        if (claim._tag === "Mine") break
        if (!told) onProgress({ _tag: "Waiting", id })
        told = true
        yield* waitFor(claim.pull, claim.isSameRequest, site)
      }

      // Nobody else converts or changes it now.
      const published = yield* recorded
      if (published !== undefined && (!verify || (yield* transport.isSound(system, published)))) {
        warnOfAccess(published, access, requester, onProgress)
        // One that verifies mends what a process left that died while it changed the access.
        if (isSame(mergeAccess(published, access), published) && !verify) return yield* named(published)
        if (!mayUse(published, requester)) {
          yield* enter("fetch")
          yield* prove(resolved)
        }
        yield* enter("publish")
        return yield* Effect.flatMap(transport.setAccess(system, id, row.token, (current) => mergeAccess(current, access)), named)
      }

      yield* enter("fetch")
      const { metadata, platform: made } = resolved.read === undefined ? resolved : yield* resolved.read
      const omitted = Meta.encode(metadata, access).omitted
      if (omitted.length > 0) {
        onProgress({ _tag: "Warning", message: `The .meta file for the reference runtime can't say: ${printable(omitted.join("; "))}. This project's runtime reads the record, which says all.` })
      }
      const described: Described = {
        id,
        reference: canonical,
        sourceDigest: resolved.sourceDigest,
        manifestDigest: resolved.manifestDigest,
        profile: ImageId.profileText(profile),
        platform: Platform.format(made),
        ...(published === undefined ? access : mergeAccess(published, access)),
        ...metadata
      }
      yield* recordable(described)
      yield* catalog.useBlobs(row, resolved.blobs.flatMap(({ stored }) => stored ?? []))
      const staging = yield* transport.stage(system, row.token, workspace.scratch)
      const summary = yield* Effect.scoped(convert(resolved, workspace, staging.file, enter("convert"), onProgress))
      if (summary.dropped > 0) {
        onProgress({ _tag: "Warning", message: `${summary.dropped} device nodes and FIFOs of the image were left out: /dev is the node's.` })
      }
      yield* enter("transfer")
      const file = yield* Verify.check(staging.file, { program: workspace.program("shifter-verify"), sample: workspace.sample, written: summary })
      const record: ImageRecord = { ...described, ...file, entries: summary.inodes }
      yield* transport.publish(system, staging, record, Effect.mapError(Effect.zipRight(renaming, enter("publish")), (error) => new TransportError(carried(error))))
      yield* released
      return record
    })
    return yield* whileHeld(row, work)
  })

/** What a reference names that there is nowhere to pull from: it stays what it is. */
const imported = (pointed: Effect.Effect<string | undefined, TransportError>, system: Site.System, canonical: string, requester: Requester, request: PullRequest, onProgress: OnProgress, nowhere: ImageError | GatewayError) =>
  Effect.gen(function* () {
    const transport = yield* Transport
    const id = yield* pointed
    const record = id === undefined ? undefined : yield* transport.record(system, id)
    if (record === undefined || !mayUse(record, requester)) {
      if (nowhere.code !== "IMPORT_NEEDED") return yield* nowhere
      return yield* new GatewayError(errorFields("IMPORT_NEEDED", `There is no image "${printable(canonical)}" on ${system.name}, and nowhere to pull it from`))
    }
    if (request.verify === true && !(yield* transport.isSound(system, record))) {
      return yield* new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} on ${system.name} is not what its record says`, { remedy: "Import it again." }))
    }
    // An image that was imported under this name, or one of a tree that the site lists no more.
    if (nowhere.code === "TREE_NOT_FOUND") onProgress({ _tag: "Warning", message: `${nowhere.what}: the image stays what it is.` })
    if (request.allowUids !== undefined || request.allowGids !== undefined) {
      onProgress({ _tag: "Warning", message: "The image was imported: the access list of a pull has no effect." })
    }
    return { record }
  })

/** Who may use the image, as this pull would have it. */
const accessOf = (request: PullRequest, requester: Requester, resolved: ResolvedImage): Access => {
  const isPrivate = resolved.isPrivate || request.allowUids !== undefined || request.allowGids !== undefined
  return { access: isPrivate ? "private" : "public", owner: requester.uid, allowUids: [...(request.allowUids ?? [])], allowGids: [...(request.allowGids ?? [])] }
}

const isSame = (merged: Access, published: Access): boolean => JSON.stringify(merged) === JSON.stringify(mergeAccess(published, published))

/** What a pull does to the access of an image that is published already may be a surprise. Who could not use it is not told that there was one. */
const warnOfAccess = (published: Access, pulled: Access, requester: Requester, onProgress: OnProgress): void => {
  if (!mayUse(published, requester)) return
  if (published.access === "public" && pulled.access === "private") {
    onProgress({ _tag: "Warning", message: "The image is public already: the access list has no effect." })
  }
  if (published.access === "private" && pulled.access === "public") {
    const others = published.allowUids.length + published.allowGids.length > 0 ? ` and ${published.allowUids.length} users and ${published.allowGids.length} groups` : ""
    onProgress({ _tag: "Warning", message: `The image was private to uid ${published.owner}${others}; this pull makes it public.` })
  }
}

/** Refuses what no record can hold before anything is fetched. */
const recordable = (described: Described) =>
  Either.mapLeft(
    encode({ ...described, entries: Number.MAX_SAFE_INTEGER, imageSize: Number.MAX_SAFE_INTEGER, imageSha256: "0".repeat(64) }),
    (error) => new GatewayError(errorFields("IMAGE_CONFIG_INVALID", `No record can hold what ${described.reference} says of itself: ${error.what}`, { cause: error }))
  )

export const leaseLost = new GatewayError(errorFields("LEASE_LOST", "This process was silent for too long, or fetched for too long while others waited, and another one took over its pull"))

/** Does something for as long as the lease is held, which is renewed; fails when it is lost. */
export const whileHeld = <A, E, R>(row: PullRow, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lost = yield* heartbeat(row)
    return yield* Effect.acquireUseRelease(
      Effect.fork(Effect.interruptible(work)),
      (working) => Effect.raceFirst(Fiber.join(working), lost),
      // A race alone waits for nobody: what is being published would go on while the scope is closed.
      Fiber.interrupt
    )
  })

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

/** The way to a system was gone, and with it the way to clean up. */
const outOfReach: ReadonlyArray<string> = ["SSH_CUT", "SSH_UNREACHABLE"] satisfies ReadonlyArray<ErrorCode>

/** How a pull ended, for those who wait and for the next try. */
const ended = (catalog: Context.Tag.Service<Catalog>, row: PullRow, exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return catalog.end(row, { _tag: "Done" })
  const failure = Cause.failureOption(exit.cause)
  // What it sent is still there: its lease runs out, and who reaps it removes that as what a killed process left.
  if (failure._tag === "Some" && isShifterError(failure.value) && outOfReach.includes(failure.value.code)) return Effect.void
  return failure._tag === "Some" && isShifterError(failure.value) && failure.value.code !== "LEASE_LOST"
    ? catalog.end(row, { _tag: "Failed", code: failure.value.code, what: failure.value.what })
    : catalog.end(row, { _tag: "Abandoned" })
}

/**
 * Waits until another pull has ended. Its failure is ours when it was asked for the same, by the same: we would do the same. A stranger's is
 * not, since the id says nothing of where he took the layers from.
 */
const waitFor = (other: number, isSameRequest: boolean, site: Site.Site) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    for (let looks = 0, millis = FIRST_LOOK; looks < LOOKS; looks++, millis = Math.min(LAST_LOOK, millis * 1.5)) {
      const state = yield* catalog.state(other)
      if (state._tag === "Failed" && isSameRequest) {
        const code = isErrorCode(state.code) ? state.code : "INTERNAL"
        return yield* new GatewayError(errorFields(code, `Another pull of the same image failed: ${state.what}`))
      }
      if (state._tag !== "Active") return
      // Its process is gone, or stands still: nobody else may be there to say so.
      if (state.isOverdue) yield* reap(site)
      yield* Effect.sleep(Duration.millis(millis))
    }
  })

/**
 * Ends pulls of processes that are gone, and removes what they left; how many there were. What can't be removed now, such as on the image path of another system
 * that is not there, is the next one's to remove.
 */
export const reap = (site: Site.Site) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const transport = yield* Transport
    const ended = yield* catalog.reap
    // A cluster that is away holds nobody up who pulls for another.
    const away = new Set<string>()
    for (const gone of ended) {
      const system = site.systems.get(gone.system)
      if (away.has(gone.system)) continue
      yield* Effect.gen(function* () {
        if (system !== undefined) yield* transport.discard(system, gone.token).pipe(Effect.disconnect, Effect.timeout(AWAY))
        yield* Effect.tryPromise(() => removeScratch(site, scratchOf(site, gone)))
        yield* catalog.reaped(gone)
      }).pipe(Effect.catchAll(() => Effect.sync(() => away.add(gone.system))))
    }
    const removed = ended.length + (yield* sweep(site))
    if (removed > 0) yield* evict(site)
    return removed
  })

/** Scratch space of this machine that no pull works in which runs, by its token. */
export const scratchLeft = (site: Site.Site) =>
  Effect.gen(function* () {
    const found = yield* Effect.promise(() => readdir(workOf(site)).catch(() => []))
    if (found.length === 0) return []
    // A pull is in the catalogue before it has any.
    const running = new Set(yield* (yield* Catalog).running)
    return found.filter((token) => !running.has(token))
  })

/** Removes scratch space of pulls of this machine that a process of another one has ended. */
const sweep = (site: Site.Site) =>
  Effect.gen(function* () {
    const gone = yield* scratchLeft(site)
    yield* Effect.forEach(gone, (token) => Effect.promise(() => removeScratch(site, nodePath.join(workOf(site), token)).catch(() => undefined)), { discard: true })
    return gone.length
  })

const workOf = (site: Site.Site) => nodePath.join(site.stateDirectory, "work")

const scratchOf = (site: Site.Site, row: PullRow) => nodePath.join(workOf(site), row.token)

const blobsOf = (site: Site.Site) => nodePath.join(site.stateDirectory, "blobs")
const partialsOf = (site: Site.Site) => nodePath.join(blobsOf(site), "partial")

/** What was fetched of unfinished blobs is kept for another try. */
const removeScratch = async (site: Site.Site, scratch: string): Promise<void> => {
  await BlobStore.movePartials(scratch, partialsOf(site)).catch(() => undefined)
  await rm(scratch, { recursive: true, force: true })
}

/** Keeps the blobs within their limit: what was used last longest ago goes first, and nothing that a pull uses, or may use in another try. */
const evict = (site: Site.Site) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const blobs = yield* Effect.promise(() => BlobStore.list(blobsOf(site)))
    let excess = blobs.reduce((sum, blob) => sum + blob.bytes, 0) - site.cache.bytes
    if (blobs.length === 0 || excess <= 0) return
    const byName = new Map(blobs.map((blob) => [blob.name, blob]))
    yield* catalog.unused([...byName.keys()], (name) => {
      const blob = byName.get(name)
      if (blob === undefined || excess <= 0) return Effect.void
      excess -= blob.bytes
      return Effect.promise(() => BlobStore.remove(blob))
    })
  })

/** Where a pull works. */
const workspaceOf = (site: Site.Site, row: PullRow) =>
  Effect.gen(function* () {
    const scratch = scratchOf(site, row)
    const workspace: Workspace = {
      blobs: blobsOf(site),
      partials: partialsOf(site),
      scratch,
      program: (name) => Native.program(name, site.prefix),
      sample: Verify.newSample(site.readBack)
    }
    yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: async () => {
          // A catalogue that is elsewhere has neither made nor looked at it.
          await makeDirectory(site.stateDirectory, site.isPersonal)
          if (((await stat(site.stateDirectory)).mode & 0o077) !== 0) throw new Error(`it is open to others. Run: chmod 0700 ${site.stateDirectory}`)
          await makeDirectory(nodePath.dirname(scratch), false)
          await makeDirectory(workspace.blobs, false)
          await makeDirectory(scratch, false)
        },
        catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The state directory ${site.stateDirectory}: ${messageOf(error)}`, { cause: error }))
      }),
      () => Effect.promise(() => removeScratch(site, scratch).catch(() => undefined))
    )
    return workspace
  })

/** Once more where the layers ask for it, which they do once. */
const restarted = <A, E, R>(attempt: Effect.Effect<A, E | RestartNeeded, R>, between: Effect.Effect<void>) =>
  Effect.retry(attempt, { while: (error) => (isRestart(error) ? Effect.as(between, true) : Effect.succeed(false)), times: 1 }).pipe(
    Effect.catchIf(isRestart, Effect.die)
  )

const isRestart = (error: unknown): error is RestartNeeded => typeof error === "object" && error !== null && "_tag" in error && error._tag === "RestartNeeded"

/** Fetches, merges and packs, where and when the executor wants it: in one pass, or in two where the layers ask for it. */
const convert = (resolved: ResolvedImage, workspace: Workspace, file: string, converting: Effect.Effect<void, ShifterError>, onProgress: OnProgress) =>
  Effect.gen(function* () {
    const packer = yield* Packer
    const executor = yield* Executor
    const scope = yield* Effect.scope
    // Begun when it is asked for, once; it ends with this pull.
    const opened = yield* Effect.cached(Scope.extend(resolved.open, scope))
    const fetching = yield* Effect.cached(Effect.forkIn(Effect.zipRight(Effect.flatMap(opened, (rootfs) => rootfs.fetched), converting), scope))
    const fetched = Effect.flatMap(fetching, Fiber.join)
    const isAgain = yield* Ref.make(false)
    const attempt = Effect.scoped(
      Effect.gen(function* () {
        const rootfs = (yield* Ref.getAndSet(isAgain, true)) ? yield* resolved.open : yield* opened
        yield* fetching
        const summary = yield* packer.pack((output) => rootfs.write(output, (bytes) => onProgress({ _tag: "Packed", bytes })), { target: file, scratch: workspace.scratch })
        yield* fetched
        return summary
      })
    )
    // The next stream finds everything here.
    const here = restarted(attempt, Effect.zipRight(Effect.exit(fetched), Effect.promise(() => rm(file, { force: true }))))
    return yield* executor.convert({ resolved, workspace, target: file, fetched, here })
  })

/**
 * Shows that the source gives all of an image, not only what describes it: everything is fetched, merged and compared with its digests, and
 * thrown away.
 */
const prove = (resolved: ResolvedImage) =>
  restarted(
    Effect.scoped(
      Effect.gen(function* () {
        const nowhere = yield* Effect.acquireRelease(Effect.promise(() => open("/dev/null", "w")), (handle) => Effect.promise(() => handle.close()))
        const rootfs = yield* resolved.open
        yield* rootfs.write(nowhere.fd, () => undefined).pipe(Effect.catchTag("OutputEnded", Effect.die))
        yield* rootfs.fetched
      })
    ),
    Effect.void
  )
