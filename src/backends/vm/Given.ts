/**
 * The file of a `vm:` reference in the room where it is worked on: an import's, or a copy of what a path names. A directory is that of an OVF
 * descriptor, of which its disk is taken.
 *
 * @module
 */
import { open, rename, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { carried, errorFields, type GatewayError, ImageError, messageOf } from "../../core/Errors.js"
import * as GivenPath from "../../core/GivenPath.js"
import type { GivenFile, ResolveOptions } from "../../core/Image.js"
import * as Beside from "./Beside.js"
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
    const found = yield* descriptorOf(path, name)
    if (found === undefined) return yield* Effect.mapError(GivenPath.copy(path, undefined, copying(file, options)), asImageError)
    const { descriptor, directory } = found
    const document = yield* Beside.get(directory, descriptor, name)
    const href = yield* Ovf.diskOf(yield* Ova.textOf(document), name)
    const source = yield* Beside.get(directory, href, name)
    const given = yield* Effect.mapError(GivenPath.copyOpen(nodePath.join(directory.path, href), source.handle.fd, copying(file, options)), asImageError)
    const manifest = yield* Beside.find(directory, descriptor.replace(/\.ovf$/i, ".mf"), name)
    if (manifest !== undefined) {
      const disk = yield* opened(file, given.bytes, name)
      yield* Ova.verify(yield* Ova.textOf(manifest), name, [[descriptor, document], [href, disk]])
    }
    return given
  })

const copying = (file: string, { limits, workspace }: ResolveOptions): GivenPath.GivenPathOptions => ({ program: workspace.program("shifter-open"), file, most: limits.blobBytes })

const asImageError = (error: ImageError | GatewayError): ImageError => (error._tag === "ImageError" ? error : new ImageError(carried(error)))

/** The OVF descriptor that a path names: itself, or the only one of a directory. Undefined for anything else. */
const descriptorOf = (path: string, name: string): Effect.Effect<{ readonly directory: Beside.Directory; readonly descriptor: string } | undefined, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const status = yield* Effect.tryPromise({ try: () => stat(path), catch: (error) => Beside.unavailable(path, messageOf(error)) })
    if (!status.isDirectory()) {
      return path.toLowerCase().endsWith(".ovf") ? { directory: yield* Beside.directory(nodePath.dirname(path)), descriptor: nodePath.basename(path) } : undefined
    }
    const directory = yield* Beside.directory(path)
    const names = yield* Beside.names(directory)
    const [descriptor, ...further] = names.filter((each) => each.toLowerCase().endsWith(".ovf"))
    if (descriptor === undefined || further.length > 0) {
      return yield* new ImageError(errorFields("DISK_INVALID", `${name}: the directory has ${names.length === 0 ? "nothing" : `${descriptor === undefined ? "no" : "more than one"} OVF descriptor`}`, { remedy: "Name a disk, or the descriptor." }))
    }
    return { directory, descriptor }
  })
