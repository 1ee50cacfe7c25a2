/**
 * The transport to an image path that this machine has mounted.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { errorFields, type ErrorCode, isShifterError, messageOf, printable, storageCode, systemCode, TransportError } from "../../core/Errors.js"
import * as ImageRecord from "../../core/ImageRecord.js"
import * as Meta from "../../core/Meta.js"
import * as NameFile from "../../core/NameFile.js"
import type { System } from "../../core/Site.js"
import * as Squashfs from "../../core/Squashfs.js"
import { Transport } from "../../core/Transport.js"

/** Prefix of files that are not published yet. */
const STAGING = ".staging."

export const layer = Layer.succeed(
  Transport,
  Transport.of({
    stage: (system, token) =>
      Effect.acquireRelease(
        attempt("IMAGE_PATH_UNUSABLE", system, async () => {
          await usable(system)
          const file = nodePath.join(system.imagePath, `${STAGING}${token}.squashfs`)
          await rm(file, { force: true })
          return { file }
        }),
        ({ file }) => Effect.promise(() => rm(file, { force: true }).catch(() => undefined))
      ),
    discard: (system, token) =>
      attempt("PUBLISH_FAILED", system, async () => {
        for (const name of await readdir(system.imagePath).catch(() => [])) {
          if (name.startsWith(`${STAGING}${token}.`)) await rm(nodePath.join(system.imagePath, name), { force: true })
        }
      }),
    publish: (system, staging, image, options) =>
      Effect.gen(function* () {
        const mode = modeOf(system, image.access)
        const owner = yield* attempt("IMAGE_PATH_UNUSABLE", system, () => usable(system))
        const verified = yield* attempt("IMAGE_VERIFY_FAILED", system, () => verify(staging.file, options.inodes, mode, owner))
        const record: ImageRecord.ImageRecord = { ...image, ...verified }
        yield* options.fence
        yield* attempt("PUBLISH_FAILED", system, async () => {
          const target = path(system, image.id, "squashfs")
          // A link fails where a rename would replace: what is published is never overwritten.
          await link(staging.file, target).catch(async (error: unknown) => {
            if (systemCode(error) !== "EEXIST") throw error
            const published = await stat(target)
            if (published.size !== verified.imageSize) await rename(staging.file, target)
          })
          await rm(staging.file, { force: true })
          await syncDirectory(system.imagePath)
          await writeRecord(system, record, owner)
          await writeName(system, record.reference, record.id, owner)
        })
        return record
      }),
    record: (system, id) =>
      attempt("PUBLISH_FAILED", system, async () => {
        const record = await readRecord(system, id)
        if (record === undefined) return undefined
        const size = await stat(path(system, id, "squashfs")).then((found) => found.size, () => -1)
        return size === record.imageSize ? record : undefined
      }),
    name: (system, canonical, id) => attempt("PUBLISH_FAILED", system, async () => writeName(system, canonical, id, await usable(system))),
    lookup: (system, canonical) => attempt("PUBLISH_FAILED", system, async () => (await readName(system, NameFile.pathOf(canonical), canonical))?.id),
    setAccess: (system, id, access) =>
      attempt("PUBLISH_FAILED", system, async () => {
        const record = await readRecord(system, id)
        if (record === undefined) throw new TransportError(errorFields("IMAGE_NOT_FOUND", `The image ${id} is not published on ${system.name}`))
        const owner = await usable(system)
        const changed = { ...record, ...access }
        // Closing before the record says so, opening after: the mode never gives more than the record.
        if (access.access === "private") await setMode(system, id, 0o600)
        await writeRecord(system, changed, owner)
        if (access.access === "public") await setMode(system, id, modeOf(system, "public"))
        return changed
      }),
    names: (system) =>
      attempt("PUBLISH_FAILED", system, async () => {
        const found: Array<NameFile.NameFile> = []
        for (const directory of await readdir(nodePath.join(system.imagePath, "names")).catch(emptyIfMissing)) {
          for (const file of await readdir(nodePath.join(system.imagePath, "names", directory))) {
            if (!/^[0-9a-f]{64}$/.test(file)) continue
            const name = await readName(system, `names/${directory}/${file}`, undefined)
            if (name !== undefined) found.push(name)
          }
        }
        return found.sort((a, b) => (a.reference < b.reference ? -1 : 1))
      }),
    unname: (system, canonical) =>
      attempt("PUBLISH_FAILED", system, () =>
        unlink(nodePath.join(system.imagePath, NameFile.pathOf(canonical))).then(
          () => true,
          (error: unknown) => {
            if (systemCode(error) === "ENOENT") return false
            throw error
          }
        )
      ),
    remove: (system, id) =>
      attempt("PUBLISH_FAILED", system, async () => {
        for (const suffix of ["meta", "record", "squashfs"]) await rm(path(system, id, suffix), { force: true })
        await syncDirectory(system.imagePath)
      })
  })
)

const path = (system: System, id: string, suffix: string) => nodePath.join(system.imagePath, `${id}.${suffix}`)

const modeOf = (system: System, access: "public" | "private") => (access === "public" ? parseInt(system.publicMode, 8) : 0o600)

const emptyIfMissing = (error: unknown): Array<string> => {
  if (systemCode(error) === "ENOENT") return []
  throw error
}

/** Runs a file operation; its fault becomes the error of this service. */
const attempt = <A>(code: ErrorCode, system: System, f: () => Promise<A>): Effect.Effect<A, TransportError> =>
  Effect.tryPromise({
    try: f,
    catch: (error) =>
      error instanceof TransportError
        ? error
        : new TransportError(errorFields(storageCode(error, code), `The image path ${system.imagePath} of ${system.name}: ${messageOf(error)}`, { cause: error }))
  })

interface Owner {
  readonly uid: number
  readonly gid: number
}

/**
 * The image owner: who owns the image path. Checks that the image path is what the helper on the nodes will accept, so that a pull fails
 * rather than every job.
 */
const usable = async (system: System): Promise<Owner> => {
  const unusable = (why: string, remedy?: string) =>
    new TransportError(errorFields("IMAGE_PATH_UNUSABLE", `The image path ${system.imagePath} of ${system.name} ${why}`, remedy === undefined ? {} : { remedy }))
  const me = process.geteuid?.() ?? 0
  let found = await stat(system.imagePath).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  })
  if (found === undefined) {
    await mkdir(system.imagePath, { recursive: true, mode: 0o755 })
    found = await stat(system.imagePath)
  }
  if (!found.isDirectory()) throw unusable("is no directory")
  if ((found.mode & 0o022) !== 0) throw unusable("may be written by others", `Run: chmod go-w ${system.imagePath}`)
  if (me !== 0 && found.uid !== me) throw unusable(`belongs to uid ${found.uid}, not to uid ${me} that pulls`, "Pull as the account that owns it.")
  return { uid: found.uid, gid: found.gid }
}

/** Reads a staged image back from the disk, checks it against what was meant to be written, and makes it durable. */
const verify = async (file: string, inodes: number, mode: number, owner: Owner) => {
  const handle = await open(file, constants.O_RDWR | constants.O_NOFOLLOW)
  try {
    await own(handle, owner)
    await handle.chmod(mode)
    await handle.sync()
    const superblock = await Squashfs.read(handle)
    const wrong = "why" in superblock ? superblock.why : superblock.inodes === inodes ? undefined : `it has ${superblock.inodes} inodes, not ${inodes}`
    if (wrong !== undefined) throw new TransportError(errorFields("IMAGE_VERIFY_FAILED", `The packed image ${file} is wrong: ${wrong}`))
    const hash = createHash("sha256")
    let imageSize = 0
    const piece = Buffer.allocUnsafeSlow(1024 * 1024)
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length, imageSize)
      if (bytesRead === 0) break
      hash.update(piece.subarray(0, bytesRead))
      imageSize += bytesRead
    }
    return { imageSize, imageSha256: hash.digest("hex") }
  } finally {
    await handle.close()
  }
}

/** Root publishes for the image owner; anyone else is the image owner. */
const own = async (handle: FileHandle, owner: Owner): Promise<void> => {
  if (process.geteuid?.() === 0) await handle.chown(owner.uid, owner.gid)
}

const setMode = async (system: System, id: string, mode: number) => {
  const handle = await open(path(system, id, "squashfs"), constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    await handle.chmod(mode)
  } finally {
    await handle.close()
  }
}

/** Replaces a small file: temporary file beside it, fsync, rename, fsync of the directory. */
const replace = async (file: string, bytes: Uint8Array, mode: number, owner: Owner): Promise<void> => {
  const directory = nodePath.dirname(file)
  const temporary = nodePath.join(directory, `${STAGING}${process.pid}-${randomBytes(6).toString("hex")}`)
  const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
  try {
    await handle.writeFile(bytes)
    await own(handle, owner)
    await handle.chmod(mode)
    await handle.sync()
    await handle.close()
    await rename(temporary, file)
  } catch (error) {
    await handle.close().catch(() => undefined)
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(directory)
}

const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const writeRecord = async (system: System, record: ImageRecord.ImageRecord, owner: Owner): Promise<void> => {
  const mode = modeOf(system, record.access)
  await replace(path(system, record.id, "record"), ImageRecord.encode(record), mode, owner)
  await replace(path(system, record.id, "meta"), Buffer.from(Meta.encode(record, record).text), mode, owner)
}

const readRecord = async (system: System, id: string): Promise<ImageRecord.ImageRecord | undefined> => {
  const bytes = await readFile(path(system, id, "record")).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  })
  return bytes === undefined ? undefined : sound(ImageRecord.decode(bytes), path(system, id, "record"))
}

const writeName = async (system: System, canonical: string, id: string, owner: Owner): Promise<void> => {
  const file = nodePath.join(system.imagePath, NameFile.pathOf(canonical))
  for (const directory of [nodePath.join(system.imagePath, "names"), nodePath.dirname(file)]) {
    await mkdir(directory, { mode: 0o700 }).then(
      async () => {
        const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
        try {
          await own(handle, owner)
        } finally {
          await handle.close()
        }
      },
      (error: unknown) => {
        if (systemCode(error) !== "EEXIST") throw error
      }
    )
  }
  await replace(file, NameFile.encode({ reference: canonical, id }), 0o600, owner)
}

const readName = async (system: System, file: string, expected: string | undefined): Promise<NameFile.NameFile | undefined> => {
  const bytes = await readFile(nodePath.join(system.imagePath, file)).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  })
  if (bytes === undefined) return undefined
  const name = sound(NameFile.decode(bytes), file)
  return expected === undefined || name.reference === expected ? name : undefined
}

const sound = <A>(decoded: Either.Either<A, unknown>, file: string): A =>
  Either.getOrThrowWith(decoded, (error) =>
    isShifterError(error) ? new TransportError(errorFields(error.code, `${printable(file)}: ${error.what}`, { cause: error })) : new Error(messageOf(error))
  )
