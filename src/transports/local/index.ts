/**
 * The transport to an image path that this machine has mounted.
 *
 * @module
 */
import { rm } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { transport } from "../../core/ImagePath.js"
import { Transport } from "../../core/Transport.js"
import { files, io, reading } from "./files.js"

export const layer = Layer.succeed(
  Transport,
  transport({
    files,
    ready: () => Effect.void,
    // Packed where it is published from: no byte is copied.
    stage: (_, staged) =>
      Effect.acquireRelease(Effect.as(io(() => rm(staged, { force: true })), staged), () => Effect.promise(() => rm(staged, { force: true }).catch(() => undefined))),
    carry: () => Effect.void,
    fetch: (_, file) => Effect.succeed(file),
    open: (_, file) => reading(file)
  })
)
