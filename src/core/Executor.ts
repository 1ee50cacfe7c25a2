/**
 * The service `Executor`: where heavy conversions run. By default in this process, by native programs beside it; a site whose gateway is too
 * small for them gives an executor that makes jobs of its workload manager of them.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ShifterError } from "./Errors.js"
import type { ResolvedImage, Workspace } from "./Image.js"
import type { RootfsSummary } from "./RootfsStream.js"

/** A conversion: a resolved image becomes a packed file. */
export interface Conversion {
  readonly resolved: ResolvedImage
  readonly workspace: Workspace
  /** Where the packed image is written; does not exist yet. */
  readonly target: string
  /** The conversion as this process would do it: an executor may run it as it is, when its turn comes. */
  readonly here: Effect.Effect<RootfsSummary, ShifterError>
}

export class Executor extends Context.Tag("shifter-sdk/Executor")<
  Executor,
  {
    /** Converts. Interrupting ends it wherever it runs, and leaves nothing but, perhaps, a part of the target. */
    readonly convert: (conversion: Conversion) => Effect.Effect<RootfsSummary, ShifterError>
  }
>() {}

/** In this process, so many at once; the others wait. */
export const layerHere = (atOnce: number): Layer.Layer<Executor> =>
  Layer.effect(
    Executor,
    Effect.map(Effect.makeSemaphore(atOnce), (slots) => Executor.of({ convert: ({ here }) => slots.withPermits(1)(here) }))
  )
