/**
 * OVA: a tar archive of an OVF descriptor, a manifest with hashes and disks. The disk is read where it lies in the archive.
 *
 * @module
 */
import { createHash } from "node:crypto"
import type { FileHandle } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { errorFields, ImageError, messageOf, printable, storageCode } from "../../core/Errors.js"
import * as TarIndex from "../../core/TarIndex.js"
import type { Place } from "./Container.js"
import { bytesAt } from "./Container.js"
import * as Ovf from "./Ovf.js"

const PIECE = 1024 * 1024

/** Whether a file may be one: a tar archive. */
export const isArchive = (place: Place): Effect.Effect<boolean, ImageError> =>
  Effect.map(bytesAt(place, 257, 5), (magic) => magic.toString("latin1") === "ustar")

/** The machine's only disk. Fails where the manifest says something else of it. */
export const diskOf = (archive: Place): Effect.Effect<Place, ImageError> =>
  Effect.gen(function* () {
    const { handle, length, name } = archive
    const members = yield* TarIndex.read(handle, length, name, "DISK_INVALID")
    const file = (wanted: string): Effect.Effect<Place, ImageError> => {
      const member = members.get(wanted)
      return member?._tag === "File"
        ? Effect.succeed({ handle, name: `${name}, ${printable(wanted)}`, offset: member.offset, length: member.size })
        : Effect.fail(new ImageError(errorFields("DISK_INVALID", `${name} has no file "${printable(wanted)}"`)))
    }
    const ending = (end: string) => [...members.keys()].filter((each) => each.toLowerCase().endsWith(end))
    const [descriptor, ...further] = ending(".ovf")
    if (descriptor === undefined) {
      return yield* new ImageError(errorFields("DISK_INVALID", `${name} is a tar archive without an OVF descriptor`, { remedy: "Give an OVA, or import a root file system as custom:NAME." }))
    }
    if (further.length > 0) return yield* new ImageError(errorFields("DISK_INVALID", `${name} has ${further.length + 1} OVF descriptors`))
    const document = yield* file(descriptor)
    const disk = yield* file(yield* Ovf.diskOf(yield* textOf(document), name))
    const href = disk.name.slice(name.length + 2)
    const [manifest] = ending(".mf")
    if (manifest !== undefined) yield* verify(yield* textOf(yield* file(manifest)), name, [[descriptor, document], [href, disk]])
    return disk
  })

/** Compares files with what a manifest states of them. */
export const verify = (manifest: string, name: string, files: ReadonlyArray<readonly [file: string, place: Place]>): Effect.Effect<void, ImageError> =>
  Effect.gen(function* () {
    const stated = yield* Ovf.manifestOf(manifest, name)
    for (const [file, place] of files) {
      const hash = stated.get(file)
      if (hash === undefined) return yield* new ImageError(errorFields("DISK_INVALID", `The manifest of ${name} says nothing of "${printable(file)}"`))
      if ((yield* hashOf(place, hash.algorithm)) !== hash.hex) {
        return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The file "${printable(file)}" of ${name} is not what its manifest says`, { remedy: "Export the machine again, or fetch the file again." }))
      }
    }
  })

/** A document, which is small. */
export const textOf = (place: Place): Effect.Effect<string, ImageError> =>
  place.length > Ovf.documentBytes
    ? Effect.fail(new ImageError(errorFields("LIMIT_EXCEEDED", `${place.name} has ${place.length} bytes, more than ${Ovf.documentBytes}`)))
    : Effect.map(bytesAt(place, 0, place.length), (bytes) => bytes.toString("utf8"))

const hashOf = ({ handle, length, name, offset }: Place, algorithm: string): Effect.Effect<string, ImageError> =>
  Effect.tryPromise({
    try: (signal) => hashed(handle, offset, length, algorithm, signal),
    catch: (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${name} can't be read: ${messageOf(error)}`, { cause: error }))
  })

const hashed = async (handle: FileHandle, offset: number, length: number, algorithm: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash(algorithm)
  const piece = Buffer.alloc(PIECE)
  for (let at = 0; at < length; ) {
    signal.throwIfAborted()
    const { bytesRead } = await handle.read(piece, 0, Math.min(PIECE, length - at), offset + at)
    if (bytesRead === 0) throw new Error("it ends in the middle of a member")
    hash.update(piece.subarray(0, bytesRead))
    at += bytesRead
  }
  return hash.digest("hex")
}
