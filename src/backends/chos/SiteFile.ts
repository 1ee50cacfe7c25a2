/**
 * Files by which root says what the trees are: regular files of root's that nobody else can change, below directories of which the same is true.
 *
 * @module
 */
import { constants } from "node:fs"
import { lstat, open } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { errorFields, ImageError, messageOf, systemCode } from "../../core/Errors.js"
import { formatLimits } from "../../core/Limits.js"

interface Looked {
  readonly uid: number
  readonly mode: number
}

const unsafe = (what: string) => new ImageError(errorFields("TREE_UNSAFE", what))

/** Refuses what others than root could change. */
const checkOwner = (path: string, { mode, uid }: Looked): void => {
  if (uid !== 0) throw unsafe(`${path} belongs to uid ${uid}, not to root`)
  if ((mode & 0o022) !== 0) throw unsafe(`${path} can be changed by others (mode ${(mode & 0o7777).toString(8).padStart(4, "0")})`)
}

const read = async (file: string): Promise<string> => {
  for (let directory = nodePath.dirname(file); ; directory = nodePath.dirname(directory)) {
    checkOwner(directory, await lstat(directory))
    if (directory === "/") break
  }
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY)
  try {
    const status = await handle.stat()
    if (!status.isFile()) throw unsafe(`${file} is no regular file`)
    checkOwner(file, status)
    if (status.size > formatLimits.configBytes) throw unsafe(`${file} has ${status.size} bytes, more than ${formatLimits.configBytes}`)
    // What is no UTF-8 would be another path when it is opened.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await handle.readFile())
  } finally {
    await handle.close()
  }
}

/** What a file says; undefined where there is none. */
export const siteFile = (file: string): Effect.Effect<string | undefined, ImageError> =>
  Effect.tryPromise({
    try: () => read(file),
    catch: (error) => {
      if (error instanceof ImageError) return error
      return systemCode(error) === "ELOOP" ? unsafe(`${file} is a symbolic link`) : { missing: systemCode(error) === "ENOENT", error }
    }
  }).pipe(
    Effect.catchAll((fault) => {
      if (fault instanceof ImageError) return Effect.fail(fault)
      return fault.missing ? Effect.succeed(undefined) : Effect.fail(new ImageError(errorFields("CONFIG_INVALID", `${file} can't be read: ${messageOf(fault.error)}`, { cause: fault.error, remedy: "Let it be read by the account that converts." })))
    })
  )
