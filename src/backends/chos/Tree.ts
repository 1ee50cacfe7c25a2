/**
 * A CHOS tree as one tar archive, by the native program `shifter-tree`: it reads a directory or an archive, in a sandbox, and leaves out what belongs
 * to the machine around the tree.
 *
 * @module
 */
import { open } from "node:fs/promises"
import * as nodePath from "node:path"
import { release } from "node:os"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Digest } from "../../core/Digest.js"
import { type ErrorCode, errorFields, ImageError, messageOf, printable, storageCode } from "../../core/Errors.js"
import type { GivenFile, ResolveOptions } from "../../core/Image.js"
import type { BlobRange } from "../../core/Merge.js"
import * as Native from "../../core/Native.js"
import * as Process from "../../core/Process.js"
import * as Report from "./Report.js"

/** Where a tree is: a directory that the site lists, or an archive that somebody gives. */
export type From = { readonly _tag: "Directory"; readonly path: string; readonly skipUnreadable: boolean } | { readonly _tag: "Archive"; readonly file: GivenFile }

export interface Snapshot {
  /** Of the normalised stream: the same tree has the same. */
  readonly digest: Digest
  readonly archive: BlobRange
  readonly report: Report.Report
}

/** Reads a tree into the scratch directory, and tells what of it is not in the image. `name` is for messages. */
export const snapshot = (from: From, name: string, options: ResolveOptions): Effect.Effect<Snapshot, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { onProgress, workspace } = options
      const file = nodePath.join(workspace.scratch, "tree.tar")
      const output = yield* opened(file, "wx")
      const stdin = from._tag === "Archive" ? (yield* opened(from.file.path, "r")).fd : ("ignore" as const)
      const process = yield* Process.scoped(workspace.program("shifter-tree"), argumentsOf(from, options), { stdin, stdout: "pipe", further: [output.fd] }).pipe(
        Effect.mapError((fault) => new ImageError(errorFields("TOOL_MISSING", `The tree can't be read: ${fault.message}`, { remedy: Native.buildRemedy, cause: fault })))
      )
      const told = yield* Process.lines(process).pipe(
        Stream.tap((line) => {
          const received = Report.progressOf(line)
          return Effect.sync(() => (received === undefined ? undefined : onProgress({ _tag: "Received", received, bytes: undefined })))
        }),
        Stream.runFold(Report.nothing, Report.add)
      )
      if (told.outcome === undefined) return yield* new ImageError(Native.ended("shifter-tree", yield* Effect.promise(() => process.exit)))
      if (told.outcome._tag === "Fault") return yield* refused(from, name, file, told.outcome, told)
      for (const message of [...Report.warnings(told), ...Report.demands(told, release())]) onProgress({ _tag: "Warning", message: printable(message) })
      return { digest: Digest.make(`sha256:${told.outcome.sha256}`), archive: { file, offset: 0, length: told.outcome.bytes }, report: told }
    })
  )

const argumentsOf = (from: From, { limits }: ResolveOptions): ReadonlyArray<string> => [
  ...(from._tag === "Directory" ? ["--tree", from.path, ...(from.skipUnreadable ? ["--skip-unreadable"] : [])] : ["--ratio", String(limits.ratio)]),
  ...Object.entries({
    bytes: limits.inflatedBytes,
    entries: limits.entries,
    "directory-entries": limits.directoryEntries,
    depth: limits.depth,
    "name-bytes": limits.nameBytes
  }).flatMap(([option, value]) => [`--${option}`, String(value)])
]

const refused = (from: From, name: string, file: string, { code, what }: { readonly code: ErrorCode; readonly what: string }, report: Report.Report): ImageError => {
  if (code === "STORAGE_FULL" || code === "STATE_UNUSABLE") return new ImageError(errorFields(code, `The tree of ${name}, written to ${file}: ${what}`))
  const unread = code === "TREE_UNREADABLE" && report.notes.has("unreadable") ? `: ${Report.some(report, "unreadable")}` : ""
  // The archive's reader speaks of layers.
  const named = from._tag === "Archive" && code === "LAYER_INVALID" ? "FILE_INVALID" : code
  return new ImageError(errorFields(named, printable(`The ${from._tag === "Archive" ? "archive" : "tree"} of ${name}: ${what}${unread}`)))
}

const opened = (file: string, mode: "r" | "wx") =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => open(file, mode, 0o600),
      catch: (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be used: ${messageOf(error)}`, { cause: error }))
    }),
    (handle) => Effect.promise(() => handle.close())
  )
