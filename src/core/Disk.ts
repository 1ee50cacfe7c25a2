/**
 * Directories and room on disks.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { mkdir, open, rm, statfs } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import { storageCode, systemCode } from "./Errors.js"

/** Less than this is no room for anything. */
const ALMOST_NOTHING = 1024 * 1024

/**
 * Whether a file system has almost no room left for this process, be it by a quota: tools and drivers often say no more than "I/O error".
 */
export const isFull = (directory: string): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    try {
      const { bavail, bfree, bsize, ffree, files } = await statfs(directory)
      if ((process.geteuid?.() === 0 ? bfree : bavail) * bsize < ALMOST_NOTHING || (files > 0 && ffree === 0)) return true
      await writeALittle(nodePath.join(directory, `.staging.room.${randomBytes(6).toString("hex")}`))
      return false
    } catch (error) {
      return storageCode(error, "INTERNAL") === "STORAGE_FULL"
    }
  })

/** Only writing tells of a quota. */
const writeALittle = async (file: string): Promise<void> => {
  const handle = await open(file, "wx", 0o600)
  try {
    await rm(file)
    await handle.writeFile(Buffer.alloc(ALMOST_NOTHING))
    await handle.sync()
  } finally {
    await handle.close()
  }
}

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
