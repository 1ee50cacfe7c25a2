/**
 * What is done on an image path, whatever way leads there: how images, records, `.meta` and names are published, read, changed and removed, and
 * what is refused. The ways themselves (a mounted file system, SFTP) are the transports.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import * as nodePath from "node:path"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import { carried, type ErrorCode, errorFields, type FormatError, messageOf, storageCode, systemCode, TransportError } from "./Errors.js"
import * as ImageRecord from "./ImageRecord.js"
import { isImageId } from "./ImageRef.js"
import { formatLimits } from "./Limits.js"
import * as Meta from "./Meta.js"
import * as NameFile from "./NameFile.js"
import type { System } from "./Site.js"
import type { Inventory, Problem, Staging, Transport } from "./Transport.js"
import type { ImageFile } from "./Verify.js"

/** What an operation of a file system failed with: a Node error, or one with the same `code`. */
export class FileFault extends Data.TaggedError("FileFault")<{ readonly cause: unknown }> {}

/** What an operation on an image path may fail with. */
export type Fault = FileFault | TransportError

/** Whether an operation failed with one of these codes. */
export const isFault = (...codes: ReadonlyArray<string>) => (error: unknown): boolean => error instanceof FileFault && codes.includes(systemCode(error.cause) ?? "")

/** What is not there is `undefined`. */
export const ifThere = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | undefined, E, R> =>
  Effect.catchIf(effect, isFault("ENOENT", "ENOTDIR"), () => Effect.succeed(undefined))

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** What is known of a file without opening it. */
export interface Attributes extends Owner {
  readonly mode: number
  readonly size: number
  readonly isFile: () => boolean
  readonly isDirectory: () => boolean
  readonly isSymbolicLink: () => boolean
}

/**
 * The file system of an image path. Each operation is done or not done when it returns, and nothing goes on behind it. A last symbolic link is
 * never followed but by `root`.
 */
export interface Files {
  /** The uid that works there. */
  readonly me: Effect.Effect<number, Fault>
  /** The image path itself; undefined when it is not there. */
  readonly root: Effect.Effect<Attributes | undefined, Fault>
  readonly attributes: (path: string) => Effect.Effect<Attributes | undefined, Fault>
  /** When a file was written last, in milliseconds since 1970; undefined when it is not there. */
  readonly modified: (path: string) => Effect.Effect<number | undefined, Fault>
  /** What is in a directory; undefined when there is none. */
  readonly entries: (directory: string) => Effect.Effect<ReadonlyArray<string> | undefined, Fault>
  /** A regular file of at most so many bytes; undefined when it is not there. */
  readonly read: (file: string, limit: number) => Effect.Effect<Uint8Array | undefined, Fault>
  /** Writes a new file and makes it durable. */
  readonly write: (file: string, bytes: Uint8Array, mode: number, owner: Owner) => Effect.Effect<void, Fault>
  readonly rename: (from: string, to: string) => Effect.Effect<void, Fault>
  /** Fails with `EEXIST` where there is something. */
  readonly link: (from: string, to: string) => Effect.Effect<void, Fault>
  /** True when it was there. */
  readonly unlink: (file: string) => Effect.Effect<boolean, Fault>
  /** Makes a directory of mode 0700, or gives one that is there its owner and mode. */
  readonly ownDirectory: (directory: string, owner: Owner) => Effect.Effect<void, Fault>
  /** Owner and mode of a file, by descriptor, made durable with what it holds. */
  readonly own: (file: string, mode: number, owner: Owner) => Effect.Effect<void, Fault>
  /** Makes a directory's entries durable. */
  readonly sync: (directory: string) => Effect.Effect<void, Fault>
  /** Whether a regular file is there and holds these bytes. */
  readonly holds: (file: string, image: ImageFile) => Effect.Effect<boolean, Fault>
}

/** A way to image paths. */
export interface Way {
  readonly files: (system: System) => Files
  /** Checks that it can do what the system's settings ask of it. */
  readonly ready: (system: System) => Effect.Effect<void, Fault>
  /** Where the packer writes; vanishes with the scope. `staged` is a file on the image path, `scratch` a directory of this machine. */
  readonly stage: (system: System, staged: string, scratch: string) => Effect.Effect<string, Fault, Scope.Scope>
  /** Brings what was packed to `staged`, unless that is where it was packed. */
  readonly carry: (system: System, file: string, staged: string, image: ImageFile) => Effect.Effect<void, Fault>
  /** A file of the image path, to be read on this machine for as long as the scope lasts. */
  readonly fetch: (system: System, file: string, scratch: string) => Effect.Effect<string, Fault, Scope.Scope>
  /** A regular file of the image path, to be read in pieces for as long as the scope lasts; fewer bytes than asked for are its last. */
  readonly open: (system: System, file: string) => Effect.Effect<(at: number, length: number) => Effect.Effect<Uint8Array, Fault>, Fault, Scope.Scope>
}

/** Prefix of what is not in its place yet; the token of the pull follows. All of it is in the image path itself, never below. */
const STAGING = ".staging."
const stagedName = /^\.staging\.([^.]+)\../

/** Files read at once. */
const PARALLEL_READS = 16

/** The service over a way. */
export const transport = (way: Way): Context.Tag.Service<Transport> => ({
  ready: (system) => worded("IMAGE_PATH_UNUSABLE", system, Effect.zipRight(usable(way.files(system), system), way.ready(system))),
  stage: (system, token, scratch) =>
    worded("IMAGE_PATH_UNUSABLE", system, Effect.gen(function* () {
      yield* usable(way.files(system), system)
      return { file: yield* way.stage(system, stagedAt(system, token), scratch), token }
    })),
  discard: (system, token) =>
    worded("PUBLISH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      const left = ((yield* files.entries(system.imagePath)) ?? []).filter((name) => name.startsWith(`${STAGING}${token}.`))
      yield* Effect.forEach(left, (name) => files.unlink(nodePath.join(system.imagePath, name)), { discard: true })
    })),
  staged: (system) =>
    worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      yield* present(files, system)
      const found = ((yield* files.entries(system.imagePath)) ?? []).flatMap((name) => {
        const [, token] = stagedName.exec(name) ?? []
        return token === undefined ? [] : [{ name, token }]
      })
      const known = yield* Effect.forEach(
        found,
        ({ name, token }) =>
          Effect.gen(function* () {
            const file = nodePath.join(system.imagePath, name)
            const modified = yield* files.modified(file)
            const facts = yield* files.attributes(file)
            return modified === undefined || facts === undefined ? undefined : { name, token, bytes: facts.size, modified }
          }),
        { concurrency: PARALLEL_READS }
      )
      return known.filter((file) => file !== undefined)
    })),
  publish: (system, staging, record, fence) => publish(way, system, staging, record, fence),
  record: (system, id) =>
    worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      yield* present(files, system)
      const record = yield* readRecord(files, system, id)
      return record !== undefined && (yield* sizeOf(files, system, id)) === record.imageSize ? record : undefined
    })),
  image: (system, id, scratch) => worded("IMAGE_PATH_FAILED", system, way.fetch(system, path(system, id, "squashfs"), scratch)),
  open: (system, id) =>
    worded("IMAGE_PATH_FAILED", system, Effect.map(way.open(system, path(system, id, "squashfs")), (read) => (at: number, length: number) => worded("IMAGE_PATH_FAILED", system, read(at, length)))),
  isSound: (system, record) => worded("IMAGE_PATH_FAILED", system, way.files(system).holds(path(system, record.id, "squashfs"), record)),
  name: (system, name, token) =>
    worded("PUBLISH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      const owner = yield* usable(files, system)
      // A process may have died between the record and this.
      const record = (yield* files.attributes(path(system, name.id, "meta"))) === undefined ? yield* readRecord(files, system, name.id) : undefined
      if (record !== undefined) yield* writeMeta(files, system, record, owner, token)
      yield* writeName(files, system, name, owner, token)
    })),
  lookup: (system, canonical) =>
    worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      yield* present(files, system)
      const name = yield* readName(files, system, NameFile.pathOf(canonical))
      return name?.reference === canonical ? name.id : undefined
    })),
  setAccess: (system, id, token, change) =>
    worded("PUBLISH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      const owner = yield* usable(files, system)
      const record = yield* readRecord(files, system, id)
      if (record === undefined) return yield* new TransportError(errorFields("IMAGE_NOT_FOUND", `The image ${id} is not published on ${system.name}`))
      const changed = { ...record, ...change(record) }
      yield* ImageRecord.encode(changed)
      const file = path(system, id, "squashfs")
      // Closing before the record says so, opening after: the mode never gives more than the record. The record is the last of both files: while
      // it says something else, the next pull does this again.
      yield* Effect.uninterruptible(
        Effect.gen(function* () {
          if (changed.access === "private") yield* files.own(file, modeOf(system, "private"), owner)
          yield* writeMeta(files, system, changed, owner, token)
          yield* writeRecord(files, system, changed, owner, token)
          if (changed.access === "public") yield* files.own(file, modeOf(system, "public"), owner)
        })
      )
      return changed
    })),
  list: (system) =>
    worded("IMAGE_PATH_FAILED", system, Effect.suspend(() => {
      const files = way.files(system)
      return Effect.zipRight(present(files, system), inventory(files, system))
    })),
  unname: (system, canonical) =>
    worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      yield* present(files, system)
      const file = nodePath.join(system.imagePath, NameFile.pathOf(canonical))
      const removed = yield* files.unlink(file)
      if (removed) yield* files.sync(nodePath.dirname(file))
      return removed
    })),
  remove: (system, id) =>
    worded("IMAGE_PATH_FAILED", system, Effect.gen(function* () {
      const files = way.files(system)
      yield* present(files, system)
      const removed = yield* Effect.forEach(["meta", "record", "squashfs"], (suffix) => files.unlink(path(system, id, suffix)))
      yield* files.sync(system.imagePath)
      return removed.includes(true)
    }))
})

const publish = (way: Way, system: System, staging: Staging, record: ImageRecord.ImageRecord, fence: Effect.Effect<void, TransportError>) =>
  Effect.gen(function* () {
    const files = way.files(system)
    const owner = yield* worded("IMAGE_PATH_UNUSABLE", system, usable(files, system))
    const mode = modeOf(system, record.access)
    const target = path(system, record.id, "squashfs")
    const staged = stagedAt(system, staging.token)
    const published = yield* worded("PUBLISH_FAILED", system, files.holds(target, record))
    const work = Effect.gen(function* () {
      if (!published) {
        yield* worded("PUBLISH_FAILED", system, way.carry(system, staging.file, staged, record))
        yield* worded("PUBLISH_FAILED", system, files.own(staged, mode, owner))
      }
      yield* Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(
          restore(fence),
          worded("PUBLISH_FAILED", system, Effect.gen(function* () {
            if (published) yield* files.own(target, mode, owner)
            else {
              // A link fails where there is something: it was damaged, or is another's who is just as far.
              yield* files.link(staged, target).pipe(Effect.catchIf(isFault("EEXIST"), () => files.rename(staged, target)))
            }
            yield* files.unlink(staged)
            yield* files.sync(system.imagePath)
            yield* writeRecord(files, system, record, owner, staging.token)
            yield* writeMeta(files, system, record, owner, staging.token)
            yield* writeName(files, system, { reference: record.reference, id: record.id }, owner, staging.token)
          }))
        )
      )
    })
    yield* Effect.onError(work, () => Effect.ignore(files.unlink(staged)))
  })

const path = (system: System, id: string, suffix: string) => nodePath.join(system.imagePath, `${id}.${suffix}`)

const stagedAt = (system: System, token: string) => nodePath.join(system.imagePath, `${STAGING}${token}.squashfs`)

const modeOf = (system: System, access: "public" | "private") => (access === "public" ? parseInt(system.publicMode, 8) : 0o600)

/** A fault becomes the error of this service. */
const worded = <A, R>(code: ErrorCode, system: System, effect: Effect.Effect<A, Fault | FormatError, R>): Effect.Effect<A, TransportError, R> =>
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

/** The image path is there. One that is missing is a file system that is not mounted. */
const present = (files: Files, system: System): Effect.Effect<Attributes, Fault> =>
  Effect.gen(function* () {
    const found = yield* files.root
    if (found === undefined) return yield* unusable(system, "does not exist", "Mount its file system, or make it: docs/administrator.md says with which owner and mode.")
    if (!found.isDirectory()) return yield* unusable(system, "is no directory")
    return found
  })

/**
 * The image owner: who owns the image path. Checks what the helper on the nodes checks (`walk_protected`), so that a pull fails rather than
 * every job. A person's own images are not for the helper.
 */
const usable = (files: Files, system: System): Effect.Effect<Owner, Fault> =>
  Effect.gen(function* () {
    const { gid, uid } = yield* present(files, system)
    const me = yield* files.me
    const components = system.imagePath.split("/").filter((name) => name !== "" && name !== ".")
    for (let depth = system.isPersonal ? components.length : 0; depth <= components.length; depth++) {
      const directory = `/${components.slice(0, depth).join("/")}`
      const found = yield* files.attributes(directory)
      if (found === undefined) return yield* unusable(system, `lies below ${directory}, which is gone`)
      const where = depth === components.length ? "" : `lies below ${directory}, which `
      if (found.isSymbolicLink()) return yield* unusable(system, `${where}is a symbolic link, which nodes do not follow`, `Name the path without links in the configuration.`)
      if (found.uid !== 0 && found.uid !== uid) return yield* unusable(system, `${where}belongs to uid ${found.uid}, not to root or the image owner`, `Run: chown root ${directory}`)
      if ((found.mode & 0o022) !== 0) return yield* unusable(system, `${where}may be written by others`, `Run: chmod go-w ${directory}`)
    }
    if (me !== 0 && uid !== me) return yield* unusable(system, `belongs to uid ${uid}, not to uid ${me} that pulls`, "Pull as the account that owns it.")
    return { uid, gid }
  })

/** Replaces a small file: a temporary file on the same file system, made durable, renamed. */
const replace = (files: Files, system: System, file: string, bytes: Uint8Array, mode: number, owner: Owner, token: string): Effect.Effect<void, Fault> => {
  const temporary = nodePath.join(system.imagePath, `${STAGING}${token}.${randomBytes(6).toString("hex")}`)
  return Effect.zipRight(files.write(temporary, bytes, mode, owner), files.rename(temporary, file)).pipe(
    Effect.onError(() => Effect.ignore(files.unlink(temporary))),
    Effect.zipRight(files.sync(nodePath.dirname(file)))
  )
}

const writeRecord = (files: Files, system: System, record: ImageRecord.ImageRecord, owner: Owner, token: string) =>
  Effect.flatMap(ImageRecord.encode(record), (bytes) => replace(files, system, path(system, record.id, "record"), bytes, modeOf(system, record.access), owner, token))

const writeMeta = (files: Files, system: System, record: ImageRecord.ImageRecord, owner: Owner, token: string) =>
  replace(files, system, path(system, record.id, "meta"), Buffer.from(Meta.encode(record, record).text), modeOf(system, record.access), owner, token)

const readRecord = (files: Files, system: System, id: string) => {
  const file = path(system, id, "record")
  return Effect.flatMap(files.read(file, formatLimits.recordBytes), (bytes) => (bytes === undefined ? Effect.succeed(undefined) : sound(ImageRecord.decode(bytes), file)))
}

/** Bytes of an image file; -1 when it is not there. */
const sizeOf = (files: Files, system: System, id: string) => Effect.map(files.attributes(path(system, id, "squashfs")), (found) => found?.size ?? -1)

const writeName = (files: Files, system: System, name: NameFile.NameFile, owner: Owner, token: string) =>
  Effect.gen(function* () {
    const bytes = yield* NameFile.encode(name)
    const file = nodePath.join(system.imagePath, NameFile.pathOf(name.reference))
    yield* ownDirectory(files, nodePath.join(system.imagePath, "names"), owner)
    yield* ownDirectory(files, nodePath.dirname(file), owner)
    yield* replace(files, system, file, bytes, 0o600, owner, token)
  })

/** A directory of the image owner's alone: made and made durable, or mended when a killed process was between the two. */
const ownDirectory = (files: Files, directory: string, owner: Owner) =>
  Effect.gen(function* () {
    const found = yield* files.attributes(directory)
    if (found?.isDirectory() === true && found.uid === owner.uid) return
    yield* files.ownDirectory(directory, owner)
    yield* files.sync(nodePath.dirname(directory))
  })

const readName = (files: Files, system: System, file: string) =>
  Effect.flatMap(files.read(nodePath.join(system.imagePath, file), formatLimits.nameBytes), (bytes) =>
    bytes === undefined ? Effect.succeed(undefined) : sound(NameFile.decode(bytes), file))

/** What a file holds; the error names the file. */
const sound = <A>(decoded: Either.Either<A, FormatError>, file: string) =>
  Either.mapLeft(decoded, (error) => new TransportError(errorFields(error.code, `${file}: ${error.what}`, { cause: error })))

/** Everything that can be read, and what can't and where. */
const inventory = (files: Files, system: System): Effect.Effect<Inventory, Fault> =>
  Effect.gen(function* () {
    const problems: Array<Problem> = []
    const readable = <A>(where: string, read: Effect.Effect<A, Fault>) =>
      Effect.catchAll(read, (error) => {
        problems.push({ where, what: error._tag === "FileFault" ? messageOf(error.cause) : error.message })
        return Effect.succeed(undefined)
      })
    const here = new Set(yield* files.entries(system.imagePath))
    const ids = (suffix: string) => [...here].filter((file) => file.endsWith(suffix) && isImageId(file)).map((file) => file.slice(0, -suffix.length))
    const records = yield* Effect.forEach(
      ids(".record"),
      (id) =>
        readable(path(system, id, "record"), Effect.gen(function* () {
          const record = yield* readRecord(files, system, id)
          if (record === undefined || (yield* sizeOf(files, system, id)) === record.imageSize) return record
          problems.push({ where: path(system, id, "squashfs"), what: "the image is missing or has another size than its record says" })
          return undefined
        })),
      { concurrency: PARALLEL_READS }
    )
    // The reference system's own images have a .meta alone.
    for (const id of ids(".squashfs")) {
      if (!here.has(`${id}.record`) && !here.has(`${id}.meta`)) problems.push({ where: path(system, id, "squashfs"), what: "an image file without a record" })
    }
    const directories = (yield* files.entries(nodePath.join(system.imagePath, "names"))) ?? []
    const placed = yield* Effect.forEach(
      directories,
      (directory) =>
        readable(`names/${directory}`, Effect.gen(function* () {
          const found = yield* files.entries(nodePath.join(system.imagePath, "names", directory))
          if (found === undefined) return yield* new TransportError(errorFields("RECORD_INVALID", `names/${directory} is no directory`))
          return found.map((file) => `names/${directory}/${file}`)
        })),
      { concurrency: PARALLEL_READS }
    )
    const names = yield* Effect.forEach(
      placed.flatMap((some) => some ?? []),
      (file) =>
        readable(file, Effect.gen(function* () {
          const name = yield* readName(files, system, file)
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
