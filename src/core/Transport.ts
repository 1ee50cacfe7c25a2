/**
 * The service `Transport`: the way of images to a system, and what is published there. Publishing is atomic: a file appears whole, verified
 * and durable, or not at all, in the order image, record, `.meta`, name.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { TransportError } from "./Errors.js"
import type { Access, ImageRecord } from "./ImageRecord.js"
import type { NameFile } from "./NameFile.js"
import type { System } from "./Site.js"

/** A place for an image that is not published yet; it vanishes with the scope. */
export interface Staging {
  /** Where the packer writes, on this machine. Does not exist yet. */
  readonly file: string
  /** The token of the pull, which everything carries that is not in its place yet. */
  readonly token: string
}

/** A file that is not in its place yet. */
export interface StagedFile {
  /** In the image path. */
  readonly name: string
  /** Of its pull. */
  readonly token: string
  readonly bytes: number
  /** When it was written last, in milliseconds since 1970. */
  readonly modified: number
}

/** Something on an image path that can't be read. */
export interface Problem {
  /** The file. */
  readonly where: string
  readonly what: string
}

/** What is on an image path: all that can be read, and what can't. */
export interface Inventory {
  readonly records: ReadonlyArray<ImageRecord>
  /** Sorted by reference. */
  readonly names: ReadonlyArray<NameFile>
  readonly problems: ReadonlyArray<Problem>
}

export class Transport extends Context.Tag("shifter-sdk/Transport")<
  Transport,
  {
    /** Checks that images can be published and nodes will accept them. Fails with `IMAGE_PATH_UNUSABLE`. */
    readonly ready: (system: System) => Effect.Effect<void, TransportError>
    /**
     * A staging place: on the image path, or in `scratch`, the pull's own directory on this machine. `token` is unlike any other's, so that what a
     * killed process left can be told.
     */
    readonly stage: (system: System, token: string, scratch: string) => Effect.Effect<Staging, TransportError, Scope.Scope>
    /** Removes what a pull left that is gone: everything that carries its token. */
    readonly discard: (system: System, token: string) => Effect.Effect<void, TransportError>
    /** What is not in its place yet, of pulls that run or are gone, of this catalogue or another. */
    readonly staged: (system: System) => Effect.Effect<ReadonlyArray<StagedFile>, TransportError>
    /**
     * Makes a staged image durable that was read back and is what its record says, publishes both and names them. A published file with the
     * same bytes stays; one with others was damaged, and is replaced. `fence` is asked immediately before the first name appears; its failure
     * stops the publishing, and once it is passed nothing interrupts it.
     */
    readonly publish: (system: System, staging: Staging, record: ImageRecord, fence: Effect.Effect<void, TransportError>) => Effect.Effect<void, TransportError>
    /** The record of a published image whose file is there. */
    readonly record: (system: System, id: string) => Effect.Effect<ImageRecord | undefined, TransportError>
    /** Where a published image can be read on this machine, for as long as the scope lasts: its own place, or a copy in the directory `scratch`. */
    readonly image: (system: System, id: string, scratch: string) => Effect.Effect<string, TransportError, Scope.Scope>
    /**
     * Opens a published image to be read in pieces, wherever it is, for as long as the scope lasts: bytes from `at` on, as many or fewer where it ends.
     * Any number may be asked for at once.
     */
    readonly open: (system: System, id: string) => Effect.Effect<(at: number, length: number) => Effect.Effect<Uint8Array, TransportError>, TransportError, Scope.Scope>
    /** Reads a published image again; whether it is what its record says. */
    readonly isSound: (system: System, record: ImageRecord) => Effect.Effect<boolean, TransportError>
    /** Points a reference to a published image. */
    readonly name: (system: System, name: NameFile, token: string) => Effect.Effect<void, TransportError>
    /** The id that a reference points to. */
    readonly lookup: (system: System, canonical: string) => Effect.Effect<string | undefined, TransportError>
    /**
     * Changes who may use a published image: `change` is given what its record says now. Whoever calls it has claimed the image, so that
     * nobody else does at the same time.
     */
    readonly setAccess: (system: System, id: string, token: string, change: (published: Access) => Access) => Effect.Effect<ImageRecord, TransportError>
    /** Everything that is there. */
    readonly list: (system: System) => Effect.Effect<Inventory, TransportError>
    /** Removes a name; true when it was there. */
    readonly unname: (system: System, canonical: string) => Effect.Effect<boolean, TransportError>
    /** Removes an image with its record, readable or not: name order reversed, so that nothing points to a half. True when there was anything. */
    readonly remove: (system: System, id: string) => Effect.Effect<boolean, TransportError>
  }
>() {}
