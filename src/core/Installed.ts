/**
 * Files that an administrator installed: whether they are root's, and as they were rendered.
 *
 * @module
 */
import { lstat, readFile, stat } from "node:fs/promises"
import * as nodePath from "node:path"
import { messageOf, systemCode } from "./Errors.js"
import type { NodeCheck } from "./Udi.js"

/** Whoever may write it, or put another in its place, would be root. */
export const ofRoot = async (name: string, file: string): Promise<NodeCheck> => {
  for (let path = file; ; path = nodePath.dirname(path)) {
    try {
      const { mode, uid } = await stat(path)
      if (uid !== 0) return { name, ok: false, detail: `${path} is uid ${uid}'s, and must be root's` }
      if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0) return { name, ok: false, detail: `${path} can be written by others than root` }
    } catch (error) {
      return { name, ok: false, detail: systemCode(error) === "ENOENT" ? `there is no ${path}` : messageOf(error) }
    }
    if (path === "/") return { name, ok: true, detail: file }
  }
}

export const asRendered = async (file: string, content: string, mode: number): Promise<NodeCheck> => {
  const name = nodePath.basename(file)
  const owned = await ofRoot(name, file)
  if (!owned.ok) return owned
  const found = (await lstat(file)).mode & 0o777
  if (found !== mode) return { name, ok: false, detail: `${file} has mode ${found.toString(8)}, not ${mode.toString(8)}` }
  const text = await readFile(file, "utf8").catch(messageOf)
  return text === content ? owned : { name, ok: false, detail: `${file} is not what is rendered: another version or configuration has written it` }
}
