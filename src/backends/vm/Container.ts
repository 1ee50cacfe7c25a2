/**
 * What a disk image is, as its own first bytes say: the format, and how large the disk is. Every header is read here before any tool opens the
 * file, and one that names another file is refused: nothing that it names is ever opened.
 *
 * @module
 */
import type { FileHandle } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { type ErrorCode, errorFields, ImageError, messageOf, storageCode } from "../../core/Errors.js"

/** Formats of disk images. */
export type DiskFormat = "raw" | "qcow2" | "vmdk" | "vdi" | "vhd" | "vhdx"

/** A disk image that names nothing but itself. */
export interface Container {
  readonly format: DiskFormat
  /** Bytes of the disk as its machine sees it. */
  readonly virtualBytes: number
  /** Checks the tables that say where in the file its data lies, of a format that has such. They are as long as the disk is large, which is looked at first. */
  readonly tables?: Effect.Effect<void, ImageError>
}

/** A table of one entry for each block of a disk. */
export interface BlockTable {
  readonly at: number
  readonly entries: number
  /** Bytes of an entry. */
  readonly width: 4 | 8
  /** Where the block of an entry begins in the file; undefined for one that is not there, and zeros. */
  readonly start: (table: Buffer, at: number, index: number) => number | undefined
  /** Bytes that a block takes in the file. */
  readonly bytes: number
  /** What of the file is no block, beside the table. */
  readonly reserved: ReadonlyArray<readonly [at: number, bytes: number]>
}

/** Where a disk image lies: a file, or a part of one. */
export interface Place {
  readonly handle: FileHandle
  readonly offset: number
  readonly length: number
  /** What it is called in messages: `the disk of vm:x`. */
  readonly name: string
}

/** A disk image in the room where it is worked on. */
export interface Disk {
  /** The name of the file that holds it. */
  readonly file: string
  readonly place: Place
}

/** Tells a format: what it is, or undefined where it is none of that format. */
export type Recognizer = (place: Place) => Effect.Effect<Container | undefined, ImageError>

/** A refusal that says whose disk it is. */
export const refusal = (place: Pick<Place, "name">, code: ErrorCode, what: string, remedy?: string): ImageError =>
  new ImageError(errorFields(code, `${place.name} ${what}`, remedy === undefined ? {} : { remedy }))

/** The remedy for whatever names another file. */
export const makeWhole = "Make one file of it that needs no other: qemu-img convert -O qcow2 DISK NEW."

/** The remedy for what is cut off. */
export const fetchAgain = "Fetch or export the file again."

/** Bytes of it, zeros behind its end. */
export const bytesAt = (place: Place, offset: number, length: number): Effect.Effect<Buffer, ImageError> =>
  Effect.tryPromise({
    try: async () => {
      const bytes = Buffer.alloc(length)
      const within = Math.max(0, Math.min(length, place.length - offset))
      for (let done = 0; done < within; ) {
        const { bytesRead } = await place.handle.read(bytes, done, within - done, place.offset + offset + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return bytes
    },
    catch: (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${place.name} can't be read: ${messageOf(error)}`, { cause: error }))
  })

/** Bytes that must all be there. */
export const wholeAt = (place: Place, offset: number, length: number): Effect.Effect<Buffer, ImageError> =>
  Number.isSafeInteger(offset) && offset >= 0 && offset + length <= place.length
    ? bytesAt(place, offset, length)
    : Effect.fail(refusal(place, "DISK_INVALID", "is cut off: a part of its header lies behind its end"))
