/**
 * The file of a `vm:` reference in the room where it is worked on: an import's, or a copy of what a path names. A directory is that of an OVF
 * descriptor, of which its disk is taken.
 *
 * @module
 */
import { open, readdir, rename, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { carried, errorFields, ImageError, messageOf } from "../../core/Errors.js"
import * as GivenPath from "../../core/GivenPath.js"
import type { GivenFile, ResolveOptions } from "../../core/Image.js"
import * as Confined from "./Confined.js"
import type { Place } from "./Container.js"
import * as Ova from "./Ova.js"
import * as Ovf from "./Ovf.js"

/** The name in the room. */
export const GIVEN = "given"

/** Moves an import's file, or copies what a path names, into the room. */
export const take = (room: Confined.Room, path: string, name: string, options: ResolveOptions): Effect.Effect<GivenFile, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const file = room.at(GIVEN)
    const given = options.file === undefined ? yield* copied(path, file, name, options) : options.file
    if (given.path !== file) yield* Effect.tryPromise({ try: () => rename(given.path, file), catch: (error) => Confined.unusable(file, error) })
    yield* Confined.readable(file)
    return { ...given, path: file }
  })

/** The file, for as long as the scope lasts. */
export const opened = (file: string, length: number, name: string): Effect.Effect<Place, ImageError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({ try: () => open(file, "r"), catch: (error) => Confined.unusable(file, error) }),
    (handle) => Effect.promise(() => handle.close())
  ).pipe(Effect.map((handle) => ({ handle, offset: 0, length, name })))

const copied = (path: string, file: string, name: string, options: ResolveOptions): Effect.Effect<GivenFile, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const descriptor = yield* descriptorOf(path, name)
    if (descriptor === undefined) return yield* copy(path, file, options)
    const directory = nodePath.dirname(descriptor)
    const document = yield* beside(directory, nodePath.basename(descriptor), name)
    const href = yield* Ovf.diskOf(yield* Ova.textOf(document), name)
    // A link would lead to what the document's author wants read.
    yield* beside(directory, href, name)
    const given = yield* copy(nodePath.join(directory, href), file, options)
    const manifest = nodePath.basename(descriptor).replace(/\.ovf$/i, ".mf")
    if (yield* exists(nodePath.join(directory, manifest))) {
      const disk = yield* opened(file, given.bytes, name)
      yield* Ova.verify(yield* Ova.textOf(yield* beside(directory, manifest, name)), name, [[nodePath.basename(descriptor), document], [href, disk]])
    }
    return given
  })

const copy = (path: string, file: string, { limits, workspace }: ResolveOptions): Effect.Effect<GivenFile, ImageError> =>
  GivenPath.copy(path, undefined, { program: workspace.program("shifter-open"), file, most: limits.blobBytes }).pipe(
    Effect.mapError((error) => (error._tag === "ImageError" ? error : new ImageError(carried(error))))
  )

/** The OVF descriptor that a path names: itself, or the only one of a directory. Undefined for anything else. */
const descriptorOf = (path: string, name: string): Effect.Effect<string | undefined, ImageError> =>
  Effect.gen(function* () {
    const status = yield* Effect.tryPromise({ try: () => stat(path), catch: (error) => unavailable(path, messageOf(error)) })
    if (!status.isDirectory()) return path.toLowerCase().endsWith(".ovf") ? path : undefined
    const names = yield* Effect.tryPromise({ try: () => readdir(path), catch: (error) => unavailable(path, messageOf(error)) })
    const [descriptor, ...further] = names.filter((each) => each.toLowerCase().endsWith(".ovf"))
    if (descriptor === undefined || further.length > 0) {
      return yield* new ImageError(errorFields("DISK_INVALID", `${name}: the directory has ${names.length === 0 ? "nothing" : `${descriptor === undefined ? "no" : "more than one"} OVF descriptor`}`, { remedy: "Name a disk, or the descriptor." }))
    }
    return nodePath.join(path, descriptor)
  })

const exists = (path: string): Effect.Effect<boolean> => Effect.promise(() => stat(path).then(() => true, () => false))

/** A regular file of a directory, no link. */
const beside = (directory: string, file: string, name: string): Effect.Effect<Place, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = nodePath.join(directory, file)
    const { size } = yield* Confined.regular(path).pipe(Effect.mapError((error) => unavailable(path, error.what)))
    return yield* opened(path, size, `${name}, ${file}`)
  })

const unavailable = (path: string, what: string) => new ImageError(errorFields("FILE_UNAVAILABLE", `${path} can't be read: ${what}`, { remedy: "Name a file that this account can read." }))
