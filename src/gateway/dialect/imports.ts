/**
 * Imports of files by path. Unlike a pull, an import is answered when it has ended.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Gateway } from "../../core/Gateway.js"
import type { ImageRef } from "../../core/ImageRef.js"
import type { System } from "../../core/Site.js"
import type { Identity } from "../Identity.js"
import * as Imports from "../Imports.js"
import { Pulls } from "../Pulls.js"
import { text } from "./images.js"
import { type Allowed, Lists } from "./pull.js"

/** The body of an import. What a file is, is seen by its bytes; the format is asked for since the reference asks for it. */
export const Import = Schema.Struct({
  filepath: Schema.NonEmptyString.pipe(Schema.maxLength(4096)),
  format: Schema.Literal("squashfs", "tar"),
  ...Lists.fields
}).annotations({ parseOptions: { onExcessProperty: "error" } })

/** Imports a file of the caller's own, and waits for it. Who goes away and asks again joins it. */
export const imported = ({ name }: System, identity: Identity, ref: ImageRef, { filepath }: typeof Import.Type, { allowGids, allowUids }: Allowed) =>
  Effect.gen(function* () {
    const wanted = { system: name, reference: text(ref), source: { _tag: "Path", path: filepath }, allowUids, allowGids } as const
    const { record } = yield* Imports.ask(yield* Pulls, yield* Gateway, identity, wanted)
    return yield* record
  })
