/**
 * Files beside an OVF descriptor. What is looked at is what is read, whatever takes its name meanwhile: the directory stays open, and of a file it is
 * the open one that is judged.
 *
 * @module
 */
import { constants } from "node:fs"
import { type FileHandle, open, readdir } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { errorFields, ImageError, messageOf, systemCode } from "../../core/Errors.js"
import type { Place } from "./Container.js"

export interface Directory {
  readonly path: string
  readonly handle: FileHandle
}

/** A directory, for as long as the scope lasts. */
export const directory = (path: string): Effect.Effect<Directory, ImageError, Scope.Scope> =>
  Effect.map(
    held(path, constants.O_RDONLY | constants.O_DIRECTORY, (error) => unavailable(path, words(error))),
    (handle) => ({ path, handle })
  )

export const names = (within: Directory): Effect.Effect<ReadonlyArray<string>, ImageError> =>
  Effect.tryPromise({ try: () => readdir(below(within, ".")), catch: (error) => unavailable(within.path, words(error)) })

/** A regular file of the directory, for as long as the scope lasts; undefined where there is none of that name. `name` is for messages. */
export const find = (within: Directory, file: string, name: string): Effect.Effect<Place | undefined, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = nodePath.join(within.path, file)
    // A FIFO is not waited for.
    const handle = yield* held(below(within, file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY, (error) => error).pipe(
      Effect.catchAll((error) => (systemCode(error) === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(unavailable(path, words(error)))))
    )
    if (handle === undefined) return undefined
    const status = yield* Effect.tryPromise({ try: () => handle.stat(), catch: (error) => unavailable(path, words(error)) })
    if (!status.isFile()) return yield* unavailable(path, "it is no regular file")
    // Like a link, another name may be that of a file which the document's author wants read.
    if (status.nlink !== 1) return yield* unavailable(path, "it has more than one name")
    return { handle, offset: 0, length: status.size, name: `${name}, ${file}` }
  })

/** The same of a file that must be there. */
export const get = (within: Directory, file: string, name: string): Effect.Effect<Place, ImageError, Scope.Scope> =>
  Effect.flatMap(find(within, file, name), (place) => (place === undefined ? Effect.fail(unavailable(nodePath.join(within.path, file), "there is no such file")) : Effect.succeed(place)))

/** Why a path can't be read. */
export const unavailable = (path: string, what: string): ImageError => new ImageError(errorFields("FILE_UNAVAILABLE", `${path} can't be read: ${what}`, { remedy: "Name a file that this account can read." }))

const below = ({ handle }: Directory, file: string): string => `/proc/self/fd/${handle.fd}/${file}`

const held = <E>(path: string, flags: number, failed: (error: unknown) => E): Effect.Effect<FileHandle, E, Scope.Scope> =>
  Effect.acquireRelease(Effect.tryPromise({ try: () => open(path, flags), catch: failed }), (handle) => Effect.promise(() => handle.close()))

/** Without the name that Node adds, which is that of a descriptor. */
const words = (error: unknown): string => (systemCode(error) === "ELOOP" ? "it is a link" : (messageOf(error).split(",", 1)[0] ?? ""))
