/**
 * From layers to a root file system stream, by the native program `shifter-merge`: it inflates, checks diff ids, merges newest to oldest
 * and applies the filter policy, in a sandbox. This module directs it.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { hex } from "./Digest.js"
import { errorFields, ImageError, isErrorCode, printable } from "./Errors.js"
import { filterPolicy, type PullLimits } from "./Limits.js"
import * as Native from "./Native.js"
import * as Process from "./Process.js"
import { type BlobRange, type MergeLayer, OutputEnded, RestartNeeded, type RootfsSummary } from "./RootfsStream.js"

export type { BlobRange, MergeLayer } from "./RootfsStream.js"

export interface MergeOptions {
  /** The program, as {@link Native.program} finds it. */
  readonly program: string
  readonly limits: PullLimits
  /** Which contents are counted, as `Verify.newSample` makes it. */
  readonly sample: string
  /** Look ahead at every layer before it is merged; asked for by `RestartNeeded`. */
  readonly plan: boolean
  readonly onBytes: (bytes: number) => void
}

/** How the program ended, by its last word. */
export type Outcome =
  | { readonly _tag: "Done"; readonly summary: RootfsSummary }
  | { readonly _tag: "PlanNeeded" }
  | { readonly _tag: "OutputEnded" }
  | { readonly _tag: "Fault"; readonly error: ImageError }

/** Writes the stream of layers (oldest first, as manifests list them) to a descriptor. */
export const write = (
  layers: ReadonlyArray<MergeLayer>,
  output: number,
  options: MergeOptions
): Effect.Effect<RootfsSummary, ImageError | OutputEnded | RestartNeeded> =>
  Effect.scoped(
    Effect.gen(function* () {
      const process = yield* Process.scoped(options.program, argumentsOf(layers.length, options), { stdin: "pipe", stdout: "pipe", further: [output] }).pipe(
        Effect.mapError((fault) => new ImageError(errorFields("TOOL_MISSING", `The layers can't be merged: ${fault.message}`, { remedy: Native.buildRemedy, cause: fault })))
      )
      const ordering = yield* Effect.fork(order(layers, process))
      const outcome = yield* Effect.raceFirst(
        reports(layers, process, options.onBytes),
        // A layer that can't be had ends the wait for the program; that all are ordered does not.
        Effect.zipRight(Fiber.join(ordering), Effect.never)
      )
      if (outcome === undefined) {
        return yield* new ImageError(Native.ended("shifter-merge", yield* Effect.promise(() => process.exit)))
      }
      if (outcome._tag === "Fault") return yield* outcome.error
      if (outcome._tag === "PlanNeeded") return yield* new RestartNeeded()
      if (outcome._tag === "OutputEnded") return yield* new OutputEnded()
      return outcome.summary
    })
  )

/** The arguments of the program. */
export const argumentsOf = (layers: number, { limits, plan, sample }: Pick<MergeOptions, "limits" | "plan" | "sample">): ReadonlyArray<string> => [
  ...(plan ? ["--plan"] : []),
  ...["--sample", sample],
  ...Object.entries({
    policy: filterPolicy,
    layers,
    inflated: limits.inflatedBytes,
    ratio: limits.ratio,
    entries: limits.entries,
    "directory-entries": limits.directoryEntries,
    depth: limits.depth,
    "name-bytes": limits.nameBytes
  }).flatMap(([name, value]) => [`--${name}`, String(value)])
]

/** Hands the layers over, newest first, each as soon as it is here. */
const order = (layers: ReadonlyArray<MergeLayer>, process: Process.Process) =>
  Effect.gen(function* () {
    // What the program thinks of a closed pipe is told by how it ended.
    process.stdin?.on("error", () => undefined)
    for (const [i, layer] of [...layers.entries()].reverse()) {
      const { file, offset, length } = yield* layer.blob
      if (file.includes("\0")) return yield* new ImageError(errorFields("LAYER_INVALID", `${nameOf(layers, i)}: its file's name holds NUL`))
      process.stdin?.write(orderOf(i, layer, { file, offset, length }))
    }
    process.stdin?.end()
  })

/** A layer is ordered by its number and where its blob lies. */
export const orderOf = (index: number, { diffId }: MergeLayer, { file, length, offset }: BlobRange): string => `${index} ${offset} ${length} ${diffId === undefined ? "-" : hex(diffId)} ${file}\0`

/** What a line of the program says of its end; undefined for one that says nothing of it. */
export const outcomeOf = (layers: ReadonlyArray<MergeLayer>, line: string): Outcome | undefined => {
  const [word, first = "", second = "", ...others] = line.split(" ")
  switch (word) {
    case "done":
      return { _tag: "Done", summary: { inodes: Number(second), dropped: Number(others[0]), contents: others[1] } }
    case "plan-needed":
      return { _tag: "PlanNeeded" }
    case "output-ended":
      return { _tag: "OutputEnded" }
    case "fault": {
      const layer = Number(first)
      const code = isErrorCode(second) ? second : "INTERNAL"
      const what = printable(others.join(" "))
      return { _tag: "Fault", error: new ImageError(errorFields(code, layer < 0 ? what : `${nameOf(layers, layer)}: ${what}`)) }
    }
    default:
      return undefined
  }
}

/** Follows what the program says to its last word; undefined when it ended without one. */
const reports = (layers: ReadonlyArray<MergeLayer>, process: Process.Process, onBytes: (bytes: number) => void): Effect.Effect<Outcome | undefined> =>
  Process.lines(process).pipe(
    Stream.map((line) => {
      const [, bytes] = /^(?:progress|done) (\d+)/.exec(line) ?? []
      if (bytes !== undefined) onBytes(Number(bytes))
      return outcomeOf(layers, line)
    }),
    Stream.runFold(undefined as Outcome | undefined, (last, outcome) => outcome ?? last)
  )

const nameOf = (layers: ReadonlyArray<MergeLayer>, index: number) => `Layer ${index + 1} of ${layers.length} (${layers[index]?.digest.slice(0, 19) ?? "?"}…)`
