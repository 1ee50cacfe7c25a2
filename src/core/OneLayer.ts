/**
 * A root file system in one tar archive, such as an imported file or what was read of a disk or a tree: the only layer of its image.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type { Digest } from "./Digest.js"
import type { ImageError } from "./Errors.js"
import type { ResolveOptions } from "./Image.js"
import * as Merge from "./Merge.js"
import type { RootfsStream } from "./RootfsStream.js"

/** Its stream, which may be asked for again: it then looks ahead. `digest` is for messages. */
export const oneLayer = (digest: Digest, archive: Effect.Effect<Merge.BlobRange, ImageError>, { limits, workspace }: Pick<ResolveOptions, "limits" | "workspace">): Effect.Effect<RootfsStream> =>
  Effect.map(Ref.make(false), (restarted) => {
    const layers = [{ digest, diffId: undefined, blob: archive }]
    return {
      layers,
      write: (output, onBytes) =>
        Effect.flatMap(Ref.get(restarted), (plan) => Merge.write(layers, output, { program: workspace.program("shifter-merge"), limits, sample: workspace.sample, plan, onBytes })).pipe(
          Effect.tapErrorTag("RestartNeeded", () => Ref.set(restarted, true))
        ),
      fetched: Effect.void
    }
  })
