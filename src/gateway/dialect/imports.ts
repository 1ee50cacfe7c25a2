/**
 * Imports of files by path. Unlike a pull, an import is answered when it has ended.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Audit } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { Gateway } from "../../core/Gateway.js"
import type { ImageRef } from "../../core/ImageRef.js"
import type { System } from "../../core/Site.js"
import type { Identity } from "../Identity.js"
import { text } from "./images.js"
import { type Allowed, Lists } from "./pull.js"

/** The body of an import. What a file is, is seen by its bytes; the format is asked for since the reference asks for it. */
export const Import = Schema.Struct({
  filepath: Schema.NonEmptyString.pipe(Schema.maxLength(4096)),
  format: Schema.Literal("squashfs", "tar"),
  ...Lists.fields
})

/** Imports a file of the caller's own. One at a time for each user, and so many for all. */
export const make = (atOnce: number) =>
  Effect.gen(function* () {
    const gateway = yield* Gateway
    const audit = yield* Audit
    const slots = yield* Effect.makeSemaphore(atOnce)
    const busy = new Set<number>()

    return (system: System, { label, requester }: Identity, ref: ImageRef, { filepath }: typeof Import.Type, { allowGids, allowUids }: Allowed) => {
      const noted = (imageId: string | undefined, digest: string | undefined, why: string) =>
        audit
          .write({ action: imageId === undefined ? "refused" : "import", uid: requester.uid, by: label, system: system.name, reference: text(ref), imageId, digest, why })
          .pipe(Effect.catchAll((error) => Effect.logWarning(error.message)))
      const work = gateway
        .import({ reference: text(ref), source: { _tag: "Path", path: filepath }, system: system.name, requester, allowUids, allowGids })
        .pipe(
          Effect.tap((record) => noted(record.id, record.sourceDigest, "owner")),
          Effect.tapError((error) => (error.reason === "Denied" ? noted(undefined, undefined, error.code) : Effect.void)),
          slots.withPermits(1)
        )
      return Effect.acquireUseRelease(
        Effect.suspend(() => (busy.has(requester.uid) ? Effect.fail(another) : Effect.sync(() => void busy.add(requester.uid)))),
        () => work,
        () => Effect.sync(() => void busy.delete(requester.uid))
      )
    }
  })

const another = new GatewayError(errorFields("QUEUE_FULL", "An import of yours runs already", { remedy: "Ask again when it has ended." }))
