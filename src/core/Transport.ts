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
import type { System } from "./Site.js"

/** A place for an image that is not published yet; it vanishes with the scope. */
export interface Staging {
  /** Where the packer writes. Does not exist yet. */
  readonly file: string
}

/** What is known of an image before it is published. */
export type Unsized = Omit<ImageRecord, "imageSize" | "imageSha256">

export interface PublishOptions {
  /** Inodes that the image must have. */
  readonly inodes: number
  /** Asked immediately before the first name appears; its failure stops the publishing. */
  readonly fence: Effect.Effect<void, TransportError>
}

export class Transport extends Context.Tag("shifter-sdk/Transport")<
  Transport,
  {
    /** A staging place. `token` is unlike any other's, so that what a killed process left can be told. */
    readonly stage: (system: System, token: string) => Effect.Effect<Staging, TransportError, Scope.Scope>
    /** Removes what the staging of a process left that is gone. */
    readonly discard: (system: System, token: string) => Effect.Effect<void, TransportError>
    /** Verifies and publishes a staged image with its record, and names it. An image that is published already stays as it is. */
    readonly publish: (system: System, staging: Staging, image: Unsized, options: PublishOptions) => Effect.Effect<ImageRecord, TransportError>
    /** The record of a published image whose file is there. */
    readonly record: (system: System, id: string) => Effect.Effect<ImageRecord | undefined, TransportError>
    /** Points a reference to a published image. */
    readonly name: (system: System, canonical: string, id: string) => Effect.Effect<void, TransportError>
    /** The id that a reference points to. */
    readonly lookup: (system: System, canonical: string) => Effect.Effect<string | undefined, TransportError>
    /** Changes who may use a published image. */
    readonly setAccess: (system: System, id: string, access: Access) => Effect.Effect<ImageRecord, TransportError>
    /** All names of a system with the ids they point to. */
    readonly names: (system: System) => Effect.Effect<ReadonlyArray<{ readonly reference: string; readonly id: string }>, TransportError>
    /** Removes a name; true when it was there. */
    readonly unname: (system: System, canonical: string) => Effect.Effect<boolean, TransportError>
    /** Removes an image with its record: name order reversed, so that nothing points to a half. */
    readonly remove: (system: System, id: string) => Effect.Effect<void, TransportError>
  }
>() {}
