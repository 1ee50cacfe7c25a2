/**
 * The transport to an image path that this machine has mounted.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { link, lstat, mkdir, readdir, rename, rm, stat, unlink } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { makeDirectory } from "../../core/Disk.js"
import { carried, type ErrorCode, errorFields, type FormatError, messageOf, storageCode, systemCode, TransportError } from "../../core/Errors.js"
import * as ImageRecord from "../../core/ImageRecord.js"
import { isImageId } from "../../core/ImageRef.js"
import { formatLimits } from "../../core/Limits.js"
import * as Meta from "../../core/Meta.js"
import * as NameFile from "../../core/NameFile.js"
import type { System } from "../../core/Site.js"
import { type Inventory, type Problem, Transport } from "../../core/Transport.js"
import { type FileFault, give, hashed, ifThere, io, isFault, opened, type Owner, readSmall, replace, syncDirectory } from "./files.js"

/** Prefix of what is not in its place yet; the token of the pull follows. All of it is in the image path itself, never below. */
const STAGING = ".staging."

/** Files read at once. */
const PARALLEL_READS = 16

export const layer = Layer.succeed(
  Transport,
  Transport.of({
    ready: (system) => Effect.asVoid(worded("IMAGE_PATH_UNUSABLE", system, usable(system))),
    stage: (system, token) =>
      Effect.acquireRelease(
        worded("IMAGE_PATH_UNUSABLE", system, Effect.gen(function* () {
          yield* usable(system)
          const file = nodePath.join(system.imagePath, `${STAGING}${token}.squashfs`)
          yield* io(() => rm(file, { force: true }))
          return { file, token }
        })),
        ({ file }) => Effect.promise(() => rm(file, { force: true }).catch(() => undefined))
      ),
    discard: (system, token) =>
      worded("PUBLISH_FAILED", system, Effect.gen(function* () {
        const left = (yield* entries(system.imagePath)).filter((name) => name.startsWith(`${STAGING}${token}.`))
        yield* Effect.forEach(left, (name) => io(() => rm(nodePath.join(system.imagePath, name), { force: true })), { discard: true })
      })),
    publish: (system, staging, record, fence) =>
      Effect.gen(function* () {
        const owner = yield* worded("IMAGE_PATH_UNUSABLE", system, usable(system))
        const mode = modeOf(system, record.access)
        const target = path(system, record.id, "squashfs")
        yield* worded("PUBLISH_FAILED", system, setMode(staging.file, mode, owner))
        const published = yield* worded("PUBLISH_FAILED", system, holds(target, record))
        yield* Effect.uninterruptibleMask((restore) =>
          Effect.zipRight(
            restore(fence),
            worded("PUBLISH_FAILED", system, Effect.gen(function* () {
              if (published) yield* setMode(target, mode, owner)
              else {
                // A link fails where there is something: it was damaged, or is another's who is just as far.
                yield* io(() => link(staging.file, target)).pipe(Effect.catchIf(isFault("EEXIST"), () => io(() => rename(staging.file, target))))
              }
              yield* io(() => rm(staging.file, { force: true }))
              yield* syncDirectory(system.imagePath)
              yield* writeRecord(system, record, owner, staging.token)
              yield* writeMeta(system, record, owner, staging.token)
              yield* writeName(system, { reference: record.reference, id: record.id }, owner, staging.token)
            }))
          )
        )
      }),
    record: (system, id) =>
      worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
        yield* present(system)
        const record = yield* readRecord(system, id)
        return record !== undefined && (yield* sizeOf(system, id)) === record.imageSize ? record : undefined
      })),
    image: (system, id) => Effect.succeed(path(system, id, "squashfs")),
    isSound: (system, record) => worded("IMAGE_PATH_FAILED", system, holds(path(system, record.id, "squashfs"), record)),
    name: (system, name, token) =>
      worded("PUBLISH_FAILED", system, Effect.gen(function* () {
        const owner = yield* usable(system)
        // A process may have died between the record and this.
        const record = (yield* ifThere(io(() => lstat(path(system, name.id, "meta"))))) === undefined ? yield* readRecord(system, name.id) : undefined
        if (record !== undefined) yield* writeMeta(system, record, owner, token)
        yield* writeName(system, name, owner, token)
      })),
    lookup: (system, canonical) =>
      worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
        yield* present(system)
        const name = yield* readName(system, NameFile.pathOf(canonical))
        return name?.reference === canonical ? name.id : undefined
      })),
    setAccess: (system, id, token, change) =>
      worded("PUBLISH_FAILED", system, Effect.gen(function* () {
        const owner = yield* usable(system)
        const record = yield* readRecord(system, id)
        if (record === undefined) return yield* new TransportError(errorFields("IMAGE_NOT_FOUND", `The image ${id} is not published on ${system.name}`))
        const changed = { ...record, ...change(record) }
        yield* ImageRecord.encode(changed)
        const file = path(system, id, "squashfs")
        // Closing before the record says so, opening after: the mode never gives more than the record. The record is the last of both files: while
        // it says something else, the next pull does this again.
        yield* Effect.uninterruptible(
          Effect.gen(function* () {
            if (changed.access === "private") yield* setMode(file, modeOf(system, "private"), owner)
            yield* writeMeta(system, changed, owner, token)
            yield* writeRecord(system, changed, owner, token)
            if (changed.access === "public") yield* setMode(file, modeOf(system, "public"), owner)
          })
        )
        return changed
      })),
    list: (system) => worded("IMAGE_PATH_FAILED", system, Effect.zipRight(present(system), inventory(system))),
    unname: (system, canonical) =>
      worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
        yield* present(system)
        const file = nodePath.join(system.imagePath, NameFile.pathOf(canonical))
        const removed = yield* ifThere(Effect.as(io(() => unlink(file)), true))
        if (removed === true) yield* syncDirectory(nodePath.dirname(file))
        return removed ?? false
      })),
    remove: (system, id) =>
      worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
        yield* present(system)
        const removed = yield* Effect.forEach(["meta", "record", "squashfs"], (suffix) => ifThere(Effect.as(io(() => unlink(path(system, id, suffix))), true)))
        yield* syncDirectory(system.imagePath)
        return removed.includes(true)
      }))
  })
)

const path = (system: System, id: string, suffix: string) => nodePath.join(system.imagePath, `${id}.${suffix}`)

const modeOf = (system: System, access: "public" | "private") => (access === "public" ? parseInt(system.publicMode, 8) : 0o600)

/** A fault becomes the error of this service. */
const worded = <A, R>(code: ErrorCode, system: System, effect: Effect.Effect<A, FileFault | FormatError | TransportError, R>): Effect.Effect<A, TransportError, R> =>
  Effect.mapError(effect, (error) => {
    switch (error._tag) {
      case "TransportError":
        return error
      case "FormatError":
        return new TransportError(carried(error))
      case "FileFault":
        if (code === "IMAGE_PATH_FAILED" && ["EACCES", "EPERM"].includes(systemCode(error.cause) ?? "")) return denied(system, error.cause)
        return new TransportError(
          errorFields(storageCode(error.cause, code), `The image path ${system.imagePath} of ${system.name}: ${messageOf(error.cause)}`, { cause: error.cause })
        )
    }
  })

/** What an account that is not the image owner meets. */
const denied = (system: System, cause: unknown) =>
  new TransportError(
    errorFields("ACCESS_DENIED", `The image path ${system.imagePath} of ${system.name} is not this account's to read or change: ${messageOf(cause)}`, {
      remedy: "Ask as the account that pulls. Running an image needs no right to read there.",
      cause
    })
  )

const unusable = (system: System, why: string, remedy?: string) =>
  new TransportError(errorFields("IMAGE_PATH_UNUSABLE", `The image path ${system.imagePath} of ${system.name} ${why}`, remedy === undefined ? {} : { remedy }))

/** The image path is there. One that is missing is a file system that is not mounted; only a person's own is made. */
const present = (system: System): Effect.Effect<void, FileFault | TransportError> =>
  Effect.gen(function* () {
    if (system.isPersonal) yield* io(() => makeDirectory(system.imagePath, true))
    const found = yield* ifThere(io(() => stat(system.imagePath)))
    if (found === undefined) return yield* unusable(system, "does not exist", "Mount its file system, or make it: docs/administrator.md says with which owner and mode.")
    if (!found.isDirectory()) return yield* unusable(system, "is no directory")
  })

/**
 * The image owner: who owns the image path. Checks what the helper on the nodes checks (`walk_protected`), so that a pull fails rather than
 * every job. A person's own images are not for the helper.
 */
const usable = (system: System): Effect.Effect<Owner, FileFault | TransportError> =>
  Effect.gen(function* () {
    yield* present(system)
    const { gid, uid } = yield* io(() => stat(system.imagePath))
    const me = process.geteuid?.() ?? 0
    const components = system.imagePath.split("/").filter((name) => name !== "" && name !== ".")
    for (let depth = system.isPersonal ? components.length : 0; depth <= components.length; depth++) {
      const directory = `/${components.slice(0, depth).join("/")}`
      const found = yield* io(() => lstat(directory))
      const where = depth === components.length ? "" : `lies below ${directory}, which `
      if (found.isSymbolicLink()) return yield* unusable(system, `${where}is a symbolic link, which nodes do not follow`, `Name the path without links in the configuration.`)
      if (found.uid !== 0 && found.uid !== uid) return yield* unusable(system, `${where}belongs to uid ${found.uid}, not to root or the image owner`, `Run: chown root ${directory}`)
      if ((found.mode & 0o022) !== 0) return yield* unusable(system, `${where}may be written by others`, `Run: chmod go-w ${directory}`)
    }
    if (me !== 0 && uid !== me) return yield* unusable(system, `belongs to uid ${uid}, not to uid ${me} that pulls`, "Pull as the account that owns it.")
    return { uid, gid }
  })

/** Whether a file is there and holds these bytes. */
const holds = (file: string, { imageSha256, imageSize }: { readonly imageSize: number; readonly imageSha256: string }) =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* opened(file, constants.O_RDONLY | constants.O_NONBLOCK)
      const found = yield* io(() => handle.stat())
      return found.isFile() && found.size === imageSize && (yield* hashed(handle)).sha256 === imageSha256
    })
  ).pipe(Effect.catchIf(isFault("ENOENT", "ELOOP", "ENXIO"), () => Effect.succeed(false)))

/** Owner and mode of an image, by descriptor, made durable with what it holds. */
const setMode = (file: string, mode: number, owner: Owner) =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* opened(file, constants.O_RDONLY)
      yield* give(handle, owner)
      yield* io(() => handle.chmod(mode))
      yield* io(() => handle.sync())
    })
  )

const temporary = (system: System, token: string) => nodePath.join(system.imagePath, `${STAGING}${token}.${randomBytes(6).toString("hex")}`)

const writeRecord = (system: System, record: ImageRecord.ImageRecord, owner: Owner, token: string) =>
  Effect.flatMap(ImageRecord.encode(record), (bytes) => replace(path(system, record.id, "record"), bytes, modeOf(system, record.access), owner, temporary(system, token)))

const writeMeta = (system: System, record: ImageRecord.ImageRecord, owner: Owner, token: string) =>
  replace(path(system, record.id, "meta"), Buffer.from(Meta.encode(record, record).text), modeOf(system, record.access), owner, temporary(system, token))

const readRecord = (system: System, id: string) => {
  const file = path(system, id, "record")
  return Effect.flatMap(readSmall(file, formatLimits.recordBytes), (bytes) => (bytes === undefined ? Effect.succeed(undefined) : sound(ImageRecord.decode(bytes), file)))
}

/** Bytes of an image file; -1 when it is not there. */
const sizeOf = (system: System, id: string) => Effect.map(ifThere(io(() => stat(path(system, id, "squashfs")))), (found) => found?.size ?? -1)

const writeName = (system: System, name: NameFile.NameFile, owner: Owner, token: string) =>
  Effect.gen(function* () {
    const bytes = yield* NameFile.encode(name)
    const file = nodePath.join(system.imagePath, NameFile.pathOf(name.reference))
    yield* ownDirectory(nodePath.join(system.imagePath, "names"), owner)
    yield* ownDirectory(nodePath.dirname(file), owner)
    yield* replace(file, bytes, 0o600, owner, temporary(system, token))
  })

/** A directory of the image owner's alone: made and made durable, or mended when a killed process was between the two. */
const ownDirectory = (directory: string, owner: Owner) =>
  Effect.gen(function* () {
    const found = yield* ifThere(io(() => lstat(directory)))
    if (found?.isDirectory() === true && found.uid === owner.uid) return
    yield* io(() => mkdir(directory, { mode: 0o700 })).pipe(Effect.catchIf(isFault("EEXIST"), () => Effect.void))
    yield* Effect.scoped(
      Effect.gen(function* () {
        const handle = yield* opened(directory, constants.O_RDONLY | constants.O_DIRECTORY)
        yield* give(handle, owner)
        yield* io(() => handle.chmod(0o700))
      })
    )
    yield* syncDirectory(nodePath.dirname(directory))
  })

const readName = (system: System, file: string) =>
  Effect.flatMap(readSmall(nodePath.join(system.imagePath, file), formatLimits.nameBytes), (bytes) =>
    bytes === undefined ? Effect.succeed(undefined) : sound(NameFile.decode(bytes), file))

/** What a file holds; the error names the file. */
const sound = <A>(decoded: Either.Either<A, FormatError>, file: string) =>
  Either.mapLeft(decoded, (error) => new TransportError(errorFields(error.code, `${file}: ${error.what}`, { cause: error })))

/** What is in a directory; nothing when it is not there. */
const entries = (directory: string) => Effect.map(ifThere(io(() => readdir(directory))), (found) => found ?? [])

/** Everything that can be read, and what can't and where. */
const inventory = (system: System): Effect.Effect<Inventory, FileFault | TransportError> =>
  Effect.gen(function* () {
    const problems: Array<Problem> = []
    const readable = <A>(where: string, read: Effect.Effect<A, FileFault | TransportError>) =>
      Effect.catchAll(read, (error) => {
        problems.push({ where, what: error._tag === "FileFault" ? messageOf(error.cause) : error.message })
        return Effect.succeed(undefined)
      })
    const here = new Set(yield* entries(system.imagePath))
    const ids = (suffix: string) => [...here].filter((file) => file.endsWith(suffix) && isImageId(file)).map((file) => file.slice(0, -suffix.length))
    const records = yield* Effect.forEach(
      ids(".record"),
      (id) =>
        readable(path(system, id, "record"), Effect.gen(function* () {
          const record = yield* readRecord(system, id)
          if (record === undefined || (yield* sizeOf(system, id)) === record.imageSize) return record
          problems.push({ where: path(system, id, "squashfs"), what: "the image is missing or has another size than its record says" })
          return undefined
        })),
      { concurrency: PARALLEL_READS }
    )
    // The reference system's own images have a .meta alone.
    for (const id of ids(".squashfs")) {
      if (!here.has(`${id}.record`) && !here.has(`${id}.meta`)) problems.push({ where: path(system, id, "squashfs"), what: "an image file without a record" })
    }
    const directories = yield* entries(nodePath.join(system.imagePath, "names"))
    const files = yield* Effect.forEach(directories, (directory) =>
      readable(`names/${directory}`, Effect.map(io(() => readdir(nodePath.join(system.imagePath, "names", directory))), (found) => found.map((file) => `names/${directory}/${file}`))))
    const names = yield* Effect.forEach(
      files.flatMap((found) => found ?? []),
      (file) =>
        readable(file, Effect.gen(function* () {
          const name = yield* readName(system, file)
          if (name === undefined || NameFile.pathOf(name.reference) === file) return name
          return yield* new TransportError(errorFields("RECORD_INVALID", `${file} holds the name ${name.reference}, whose place is ${NameFile.pathOf(name.reference)}`))
        })),
      { concurrency: PARALLEL_READS }
    )
    return {
      records: records.filter((record) => record !== undefined),
      names: names.filter((name) => name !== undefined).sort((a, b) => (a.reference < b.reference ? -1 : 1)),
      problems
    }
  })
