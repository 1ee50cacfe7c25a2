/**
 * A look ahead at one layer. A layer is applied in the order of its entries, so a later entry can replace an earlier one of the same layer,
 * and a hard link can keep what a name has lost. Layers of ordinary tools never do that within what stays visible; when one does, the
 * merger asks for plans and starts anew.
 *
 * @module
 */
import { type TarEntry, TarFault, type TarType } from "../../core/tar/TarEntry.js"
import type { TarHandler } from "../../core/tar/TarReader.js"
import { components, type PathLimits, targetComponents, whiteout } from "./LayerPath.js"

/** For each entry by its number in the layer: the names that it is found under when the layer has been applied. */
export interface LayerPlan {
  /** No names: a later entry of the layer has replaced it. */
  readonly names: (entry: number) => ReadonlyArray<string>
}

interface Inode {
  readonly entry: number
  readonly type: TarType
}

/** Reads the headers of one layer and makes its plan. */
export class LayerPlanner implements TarHandler {
  private count = -1
  private readonly inodes = new Map<string, Inode>()
  /** How many names lie below a directory, so that a replaced directory is searched only when it holds something. */
  private readonly below = new Map<string, number>()

  constructor(private readonly limits: PathLimits) {}

  readonly entry = (entry: TarEntry): boolean => {
    this.count++
    const parts = components(entry.name, this.limits)
    const mark = whiteout(parts)
    if (mark.kind !== "none") return false
    const path = parts.join("/")
    for (let i = 1; i < parts.length; i++) {
      const parent = this.inodes.get(parts.slice(0, i).join("/"))
      if (parent !== undefined && parent.type !== "directory") throw throughFault(parent.type, parts.slice(0, i).join("/"), path)
    }
    if (entry.type === "link") {
      const target = targetComponents(entry.linkname, this.limits, entry.name).join("/")
      if (target === path) throw new TarFault("it is a hard link to itself", path)
      const inode = this.inodes.get(target)
      if (inode?.type === "directory" || this.below.has(target)) throw new TarFault("it is a hard link to a directory", path)
      this.put(path, inode ?? { entry: this.count, type: "link" })
      return false
    }
    this.put(path, { entry: this.count, type: entry.type })
    return false
  }

  readonly data = (): void => undefined
  readonly dataEnd = (): void => undefined

  /** The plan, when the layer has been read. */
  plan(): LayerPlan {
    const names = new Map<number, Array<string>>()
    for (const [path, inode] of this.inodes) {
      const list = names.get(inode.entry)
      if (list === undefined) names.set(inode.entry, [path])
      else list.push(path)
    }
    return { names: (entry) => names.get(entry) ?? [] }
  }

  private put(path: string, inode: Inode): void {
    if (inode.type !== "directory" && this.below.has(path)) {
      const prefix = `${path}/`
      for (const name of [...this.inodes.keys()]) if (name.startsWith(prefix)) this.remove(name)
      for (const name of [...this.below.keys()]) if (name === path || name.startsWith(prefix)) this.below.delete(name)
    }
    if (!this.inodes.has(path)) this.eachParent(path, (parent) => this.below.set(parent, (this.below.get(parent) ?? 0) + 1))
    // Set anew, so that the order of names is the order in which they were last stated.
    this.inodes.delete(path)
    this.inodes.set(path, inode)
  }

  private remove(path: string): void {
    if (!this.inodes.delete(path)) return
    this.eachParent(path, (parent) => {
      const left = (this.below.get(parent) ?? 1) - 1
      if (left === 0) this.below.delete(parent)
      else this.below.set(parent, left)
    })
  }

  private eachParent(path: string, f: (parent: string) => void): void {
    for (let i = path.indexOf("/"); i >= 0; i = path.indexOf("/", i + 1)) f(path.slice(0, i))
  }
}

/** An entry lies below something that is no directory. */
export const throughFault = (type: TarType, parent: string, path: string): TarFault =>
  new TarFault(`it lies below "${parent}", which this layer makes a ${type === "symlink" ? "symbolic link" : type === "link" ? "hard link" : `${type} file`}`, path)
