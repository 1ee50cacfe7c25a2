/**
 * Directories and room on disks.
 *
 * @module
 */
import { mkdir, statfs } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { systemCode } from "./Errors.js"

/** Less than this is no room for anything. */
const ALMOST_NOTHING = 1024 * 1024

/** Whether a file system has almost no room left for this process: tools and drivers often say no more than "I/O error". */
export const isFull = (directory: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    statfs(directory).then(
      ({ bavail, bfree, bsize, ffree, files }) => (process.geteuid?.() === 0 ? bfree : bavail) * bsize < ALMOST_NOTHING || (files > 0 && ffree === 0),
      () => false
    )
  )

/**
 * Makes a directory (mode 0700) where there is none; with `parents`, those above it too. Node's own recursive form never ends where
 * nothing can be made, such as below `/proc`.
 */
export const makeDirectory = async (path: string, parents: boolean): Promise<void> => {
  const made = () =>
    mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
      if (systemCode(error) !== "EEXIST") throw error
    })
  await made().catch(async (error: unknown) => {
    if (systemCode(error) !== "ENOENT" || !parents || nodePath.dirname(path) === path) throw error
    await makeDirectory(nodePath.dirname(path), parents)
    await made()
  })
}
