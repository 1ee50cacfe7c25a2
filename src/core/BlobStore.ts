/**
 * The blobs of a site, by where they came from: `<state>/blobs/<domain>/<hex>`. A domain is one repository of one registry. Who can read its
 * manifests may have its blobs; knowing the digest of another repository's blob gives nobody that blob.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { readdir, rename, rm, rmdir, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import { type Digest, hex } from "./Digest.js"
import { makeDirectory } from "./Disk.js"
import { systemCode } from "./Errors.js"

/** The trust domain of a registry's repository. */
export const domainOf = (host: string, repository: string): string => createHash("sha256").update(`${host}/${repository}`).digest("hex")

/** The name of a blob below the store, which is also its name in the catalogue. */
export const nameOf = (domain: string, digest: Digest): string => `${domain}/${hex(digest)}`

/** What is here of a blob that is not whole: `bytes` in `file`, and in `state` what is known of them. */
export const partialOf = (directory: string, domain: string, digest: Digest) => {
  const file = nodePath.join(directory, `${domain}.${hex(digest)}.partial`)
  return { file, state: `${file}.json` }
}

const partialName = /^([0-9a-f]{64})\.([0-9a-f]{64})\.partial(?:\.json)?$/

/** Moves the unfinished blobs from one directory to another: from a pull that has ended to the store, where the next one takes them. */
export const movePartials = async (from: string, to: string): Promise<void> => {
  // Bytes before what is known of them: who finds the latter finds both.
  const names = (await readdir(from).catch((): Array<string> => [])).filter((name) => partialName.test(name)).sort()
  if (names.length > 0) await makeDirectory(to, true)
  for (const name of names) await rename(nodePath.join(from, name), nodePath.join(to, name)).catch(() => undefined)
}

/** Moves a whole blob into the store. */
export const put = async (file: string, to: string): Promise<void> => {
  for (let tries = 1; ; tries++) {
    await makeDirectory(nodePath.dirname(to), true)
    try {
      await rename(file, to)
      return
    } catch (error) {
      // Another process may have removed the directory while it was empty.
      if (systemCode(error) !== "ENOENT" || tries >= 5) throw error
    }
  }
}

/** A blob of the store, whole or not. */
export interface StoredBlob {
  readonly name: string
  readonly files: ReadonlyArray<string>
  readonly bytes: number
  /** When it was used last, in milliseconds. */
  readonly used: number
}

/** All blobs of a store, the least recently used first. */
export const list = async (store: string): Promise<ReadonlyArray<StoredBlob>> => {
  const found = new Map<string, StoredBlob>()
  for (const directory of await readdir(store, { withFileTypes: true }).catch(() => [])) {
    if (!directory.isDirectory()) continue
    for (const entry of await readdir(nodePath.join(store, directory.name)).catch(() => [])) {
      const file = nodePath.join(store, directory.name, entry)
      const facts = await stat(file).catch(() => undefined)
      if (facts === undefined) continue
      const [, domain, digits] = partialName.exec(entry) ?? []
      const name = domain === undefined ? `${directory.name}/${entry}` : `${domain}/${digits}`
      const before = found.get(name)
      found.set(name, {
        name,
        files: [...(before?.files ?? []), file],
        bytes: (before?.bytes ?? 0) + facts.size,
        used: Math.max(before?.used ?? 0, facts.mtimeMs)
      })
    }
  }
  return [...found.values()].sort((a, b) => a.used - b.used)
}

/** Removes a blob, and the directories that it was the last in. */
export const remove = async ({ files }: StoredBlob): Promise<void> => {
  for (const file of files) {
    await rm(file, { force: true }).catch(() => undefined)
    await rmdir(nodePath.dirname(file)).catch(() => undefined)
  }
}
