/**
 * A lock that is a file beside what it guards, held for moments, also on the file systems of a network, where nothing else is sure.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { link, open, readFile, rename, rm } from "node:fs/promises"
import { setTimeout } from "node:timers/promises"
import { systemCode } from "./Errors.js"

/** One that nobody has changed for so long is a dead process's. */
const STALE = 10_000
const LONGEST_WAIT = 60_000

export interface FileLock {
  /** False where it was taken for a dead process's. */
  readonly held: () => Promise<boolean>
  readonly release: () => Promise<void>
}

/** Waits for a lock and takes it. */
export const acquire = async (file: string): Promise<FileLock> => {
  const token = randomBytes(16).toString("hex")
  const started = Date.now()
  // What holds it, and since when that was seen: the clocks of machines differ.
  let seen = { holder: "", since: started }
  for (;;) {
    if (await made(file, token)) break
    const holder = await read(file)
    if (holder === undefined) continue
    if (holder !== seen.holder) seen = { holder, since: Date.now() }
    if (Date.now() - seen.since >= STALE) await takeAway(file, holder)
    else if (Date.now() - started >= LONGEST_WAIT) throw new Error(`others hold ${file} for a minute`)
    else await setTimeout(10 + Math.random() * 40)
  }
  const held = async () => (await read(file)) === token
  const release = async () => {
    if (await held()) await rm(file, { force: true })
  }
  return { held, release }
}

/** Makes the lock whole or not at all. */
const made = async (file: string, token: string): Promise<boolean> => {
  const own = `${file}.${token}`
  const handle = await open(own, "wx", 0o600)
  try {
    await handle.writeFile(token)
    await link(own, file)
    return true
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false
    throw error
  } finally {
    await handle.close()
    await rm(own, { force: true })
  }
}

const read = (file: string): Promise<string | undefined> =>
  readFile(file, "utf8").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  })

/** Takes a dead process's lock away; one that another has taken meanwhile is given back. */
const takeAway = async (file: string, holder: string): Promise<void> => {
  const aside = `${file}.${randomBytes(8).toString("hex")}`
  try {
    await rename(file, aside)
    if ((await read(aside)) !== holder) await link(aside, file)
  } catch (error) {
    if (systemCode(error) !== "ENOENT" && systemCode(error) !== "EEXIST") throw error
  } finally {
    await rm(aside, { force: true })
  }
}
