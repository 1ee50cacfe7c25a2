/**
 * Merges layers, newest to oldest, into one tar stream. Nothing is unpacked and no path of a layer is opened: a tree of names remembers what
 * newer layers said, and every surviving entry is written once.
 *
 * What a layer says of a name holds for the layers below it, never for the layer itself: a whiteout hides the name and everything below it,
 * an opaque mark everything below its directory, and a file hides what older layers have at and below its name. A directory stated by
 * several layers has the attributes of the newest.
 *
 * Two things need more than one look. A hard link to a file of a lower layer waits until that file comes by. And an entry that a later
 * entry of its own layer replaces is known only afterwards: {@link PlanNeeded} asks for a new start with plans.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
 * @module
 */
import * as FilterPolicy from "../../core/FilterPolicy.js"
import type { RootfsSummary } from "../../core/RootfsStream.js"
import { shown, type TarEntry, TarFault, type TarType } from "../../core/tar/TarEntry.js"
import type { TarHandler } from "../../core/tar/TarReader.js"
import { TarWriter } from "../../core/tar/TarWriter.js"
import { components, type PathLimits, targetComponents, whiteout } from "./LayerPath.js"
import { type LayerPlan, throughFault } from "./LayerPlan.js"

/** The merge can't go on without plans of the layers; start anew with them. */
export class PlanNeeded extends Error {
  override readonly name = "PlanNeeded"
}

export interface MergeLimits extends PathLimits {
  readonly entries: number
  readonly inflatedBytes: number
}

/** What the layer being read last said of a name. */
const enum Said {
  Nothing,
  Directory,
  /** A file that was written under this name. */
  Written,
  /** A file that newer layers hide. */
  Hidden,
  /** A device or FIFO, left out by policy. */
  Dropped,
  /** A hard link whose target waits in a lower layer. */
  Waiting
}

/** What was written for a name. */
const enum Written {
  Nothing,
  /** As a directory, because something lies below it. */
  Implied,
  Directory,
  File
}

const NEVER = -1

class Node {
  children: Map<string, Node> | undefined = undefined
  /** Layers below this one have nothing at and below the name. */
  hidden = NEVER
  /** Layers below this one have nothing below the name. */
  opaque = NEVER
  /** The layer that last stated the name, and what it said. */
  layer = NEVER
  said: Said = Said.Nothing
  type: TarType = "directory"
  written: Written = Written.Nothing
  /** The name that holds the content of what this layer said, when it is another. */
  origin: string | undefined = undefined
}

/** A hard link that waits for the target in a lower layer. */
interface Waiting {
  /** Path of the target. */
  readonly target: string
  /** Names already claimed for it. */
  readonly names: Array<string>
  /** The layer of the newest link. */
  readonly layer: number
}

export class LayerMerger implements TarHandler {
  private readonly root = new Node()
  private readonly out = new TarWriter()
  private layer = 0
  private plan: LayerPlan | undefined
  private number = -1
  private entries = 0
  private bytes = 0
  private inodes = 1
  private droppedCount = 0
  /** Waiting links by target. */
  private readonly waiting = new Map<string, ReadonlyArray<Waiting>>()
  /** What the layer hides from lower ones; kept only while links wait. */
  private hides: Set<string> | undefined
  /** Further names of the entry whose content is being written. */
  private links: ReadonlyArray<string> = []
  private linksOf = ""

  constructor(private readonly limits: MergeLimits) {}

  /** Starts a layer. Numbers fall: the newest layer comes first, 0 is the oldest. */
  startLayer(layer: number, plan: LayerPlan | undefined): void {
    this.layer = layer
    this.plan = plan
    this.number = -1
    this.hides = this.waiting.size > 0 ? new Set() : undefined
  }

  /** Ends a layer. Throws {@link TarFault} when it hid what a newer layer's hard link waits for. */
  endLayer(): void {
    const hides = this.hides
    for (const wait of [...this.waiting.values()].flat()) {
      const hidden = wait.layer > this.layer && hides !== undefined && prefixes(wait.target).some((path) => hides.has(path))
      if (hidden || this.layer === 0) throw this.missingTarget(wait.names[0] ?? "", wait.target)
    }
  }

  /** Ends the stream, stating the directories that no layer has stated. */
  end(): void {
    this.stateImplied(this.root, "")
    this.out.end()
  }

  /** The finished chunks of the stream; all of them after {@link end}. */
  take(all: boolean): ReadonlyArray<Buffer> {
    return this.out.take(all)
  }

  summary(): RootfsSummary {
    return { inodes: this.inodes, dropped: this.droppedCount }
  }

  readonly entry = (entry: TarEntry): boolean => {
    this.number++
    if (++this.entries > this.limits.entries) throw new TarFault(`the image has more than ${this.limits.entries} entries`, shown(entry.name))
    this.bytes += entry.size
    if (this.bytes > this.limits.inflatedBytes) throw new TarFault(`the image has more than ${this.limits.inflatedBytes} bytes`, shown(entry.name))
    const path = components(entry.name, this.limits)
    const mark = whiteout(path)
    switch (mark.kind) {
      case "metadata":
        return false
      case "file":
        this.hide(path.slice(0, -1), mark.target)
        return false
      case "opaque":
        this.hide(path.slice(0, -1), undefined)
        return false
      case "none":
    }
    if (path.length === 0) {
      if (entry.type !== "directory") throw new TarFault(`the root is stated as a ${entry.type}`, shown(entry.name))
      this.rootEntry(entry)
      return false
    }
    if (entry.type === "directory") {
      if (this.plan === undefined || this.plan.names(this.number).length > 0) this.directory(path, entry)
      return false
    }
    if (entry.type === "symlink" && (entry.linkname === "" || entry.linkname.includes("\0") || entry.linkname.length > 4095)) {
      throw new TarFault("it is a symbolic link to nothing, or to more than 4,095 bytes", shown(entry.name))
    }
    return entry.type === "link" ? this.hardLink(path, entry) : this.file(path, entry)
  }

  readonly data = (chunk: Uint8Array, start: number, end: number): void => this.out.data(chunk, start, end)

  readonly dataEnd = (): void => {
    this.out.dataEnd()
    if (this.links.length > 0) this.writeLinks(this.linksOf, this.links)
    this.links = []
  }

  // --- statements -------------------------------------------------------------------------------------------------------------------

  private rootEntry(entry: TarEntry): void {
    const repeated = this.root.layer === this.layer
    if (repeated && this.plan === undefined) throw new PlanNeeded()
    this.root.layer = this.layer
    if (this.root.written === Written.Directory || (this.plan !== undefined && this.plan.names(this.number).length === 0)) return
    this.root.written = Written.Directory
    this.out.header({ name: "./", type: "directory", mode: FilterPolicy.keptMode(entry.mode), size: 0, mtime: entry.mtime, linkname: "" })
  }

  private hide(directory: ReadonlyArray<string>, name: string | undefined): void {
    const path = name === undefined ? directory : [...directory, name]
    this.hides?.add(path.join("/"))
    // A whiteout may stand where nothing else was said: its nodes state nothing themselves.
    const found = this.walk(path, false)
    if (found === undefined) return
    if (name === undefined) found.opaque = Math.max(found.opaque, this.layer)
    else found.hidden = Math.max(found.hidden, this.layer)
  }

  private directory(path: ReadonlyArray<string>, entry: TarEntry): void {
    const node = this.walk(path, true)
    if (node === undefined) return
    if (node.layer === this.layer && this.plan === undefined && node.said !== Said.Nothing) throw new PlanNeeded()
    if (this.claim(path.join("/")).length > 0) throw new TarFault("a newer layer has a hard link to this directory", shown(path.join("/")))
    node.layer = this.layer
    node.said = Said.Directory
    node.type = "directory"
    if (node.hidden > this.layer || node.written === Written.Directory || node.written === Written.File) return
    if (node.written === Written.Nothing) this.inodes++
    node.written = Written.Directory
    this.out.header({ name: `${path.join("/")}/`, type: "directory", mode: FilterPolicy.keptMode(entry.mode), size: 0, mtime: entry.mtime, linkname: "" })
  }

  private file(path: ReadonlyArray<string>, entry: TarEntry): boolean {
    const names = this.plan === undefined ? [path] : this.plan.names(this.number).map((name) => name.split("/"))
    const kept = FilterPolicy.isKept(entry.type)
    if (!kept) this.droppedCount++
    const free: Array<string> = []
    for (const name of names) {
      if (this.state(name, entry.type, kept ? undefined : Said.Dropped)) free.push(name.join("/"))
      free.push(...this.claim(name.join("/")))
    }
    const [first, ...others] = free
    if (first === undefined || !kept) return false
    for (const name of names) this.written(name, first)
    this.inodes++
    this.out.header({
      name: first,
      type: entry.type,
      mode: FilterPolicy.keptMode(entry.mode),
      size: entry.size,
      mtime: entry.mtime,
      linkname: entry.type === "symlink" ? entry.linkname : ""
    })
    this.links = others
    this.linksOf = first
    return true
  }

  private hardLink(path: ReadonlyArray<string>, entry: TarEntry): boolean {
    const name = path.join("/")
    const targetPath = targetComponents(entry.linkname, this.limits, entry.name)
    const target = targetPath.join("/")
    if (target === name) throw new TarFault("it is a hard link to itself", shown(name))
    if (targetPath.length === 0) throw new TarFault("it is a hard link to a directory", shown(name))
    // In a planned layer the links to its own files were resolved beforehand; what has a name left points to a lower layer.
    const planned = this.plan?.names(this.number)
    if (planned !== undefined && planned.length === 0) return false
    const names = planned ?? [name]
    const claimed: Array<string> = []
    for (const each of names) {
      const free = this.state(each.split("/"), "link", Said.Waiting)
      if (free) claimed.push(each)
      claimed.push(...this.claim(each))
    }
    if (claimed.length > 0) {
      this.link(claimed, targetPath, names)
    } else {
      const node = this.find(path)
      if (node !== undefined) node.said = Said.Hidden
    }
    return false
  }

  /** Makes names hard links to a target of this layer or a lower one. */
  private link(names: ReadonlyArray<string>, targetPath: ReadonlyArray<string>, stated: ReadonlyArray<string>): void {
    const target = targetPath.join("/")
    const node = this.find(targetPath)
    if (node !== undefined && node.layer === this.layer && this.plan === undefined) {
      switch (node.said) {
        case Said.Written: {
          const origin = node.origin ?? target
          for (const name of stated) this.written(name.split("/"), origin)
          this.writeLinks(origin, names)
          return
        }
        case Said.Directory:
          throw new TarFault("it is a hard link to a directory", shown(names[0] ?? ""))
        case Said.Hidden:
          // The content has passed by: nobody knew that it would be wanted.
          throw new PlanNeeded()
        case Said.Dropped:
          for (const name of stated) {
            const link = this.find(name.split("/"))
            if (link !== undefined) link.said = Said.Dropped
          }
          return
        case Said.Waiting: {
          const wait = [...this.waiting.values()].flat().find((each) => each.names.includes(target))
          if (wait === undefined) throw new PlanNeeded()
          wait.names.push(...names)
          return
        }
        case Said.Nothing:
      }
    }
    if (node === undefined && this.plan === undefined && this.isUnderHidden(targetPath)) {
      // Below a name that newer layers hide nothing is remembered, so the target may lie in this very layer.
      throw new PlanNeeded()
    }
    if (this.isRemovedHere(targetPath)) throw this.missingTarget(names[0] ?? "", target)
    const waiting = this.waiting.get(target) ?? []
    const own = waiting.find((wait) => wait.layer === this.layer)
    if (own === undefined) this.waiting.set(target, [...waiting, { target, names: [...names], layer: this.layer }])
    else own.names.push(...names)
  }

  // --- the tree of names ------------------------------------------------------------------------------------------------------------

  /**
   * States a name that is no directory. Whether it is free to be written: not hidden, and nothing newer stands there. With `as`, what is
   * said instead of written or hidden.
   */
  private state(path: ReadonlyArray<string>, type: TarType, as: Said | undefined): boolean {
    this.hides?.add(path.join("/"))
    const node = this.walk(path, true)
    if (node === undefined) return false
    if (node.layer === this.layer && node.said !== Said.Nothing && this.plan === undefined) throw new PlanNeeded()
    if (this.plan === undefined && this.hasOwnChildren(node)) throw new PlanNeeded()
    const free = node.hidden <= this.layer && node.written === Written.Nothing
    node.layer = this.layer
    node.type = type
    node.origin = undefined
    node.said = as ?? (free ? Said.Written : Said.Hidden)
    node.hidden = Math.max(node.hidden, this.layer)
    if (free && as !== Said.Dropped) node.written = Written.File
    return free
  }

  /** Whether this layer has stated something below a name that it now makes a file: a replacement within the layer. */
  private hasOwnChildren(node: Node): boolean {
    if (node.children === undefined) return false
    for (const child of node.children.values()) {
      if ((child.layer === this.layer && child.said !== Said.Nothing) || this.hasOwnChildren(child)) return true
    }
    return false
  }

  /** What this layer said of a name has been written, under the name `origin`. */
  private written(path: ReadonlyArray<string>, origin: string): void {
    const node = this.find(path)
    if (node === undefined) return
    node.said = Said.Written
    node.origin = origin
  }

  /**
   * The node of a name, made if need be; undefined below a name that newer layers hide. With `implies`, the parents exist as directories,
   * even when the name itself turns out to be hidden.
   */
  private walk(path: ReadonlyArray<string>, implies: boolean): Node | undefined {
    let node = this.root
    for (let i = 0; i < path.length; i++) {
      if (i > 0) {
        if (node.layer === this.layer && node.type !== "directory" && this.plan === undefined) {
          throw throughFault(node.type, shown(path.slice(0, i).join("/")), shown(path.join("/")))
        }
        if (node.hidden > this.layer) return undefined
        if (implies && node.written === Written.Nothing) {
          node.written = Written.Implied
          this.inodes++
        }
      }
      if (node.opaque > this.layer) return undefined
      const children = (node.children ??= new Map<string, Node>())
      const part = path[i] ?? ""
      let child = children.get(part)
      if (child === undefined) {
        child = new Node()
        children.set(part, child)
      }
      node = child
    }
    return node
  }

  private find(path: ReadonlyArray<string>): Node | undefined {
    let node: Node | undefined = this.root
    for (const part of path) {
      node = node.children?.get(part)
      if (node === undefined) return undefined
    }
    return node
  }

  /** Whether a whiteout or opaque mark of this layer, so far, removes a name of lower layers. */
  private isRemovedHere(path: ReadonlyArray<string>): boolean {
    let node: Node | undefined = this.root
    for (const part of path) {
      if (node.opaque === this.layer) return true
      node = node.children?.get(part)
      if (node === undefined) return false
      if (node.hidden === this.layer && node.layer !== this.layer) return true
    }
    return false
  }

  private isUnderHidden(path: ReadonlyArray<string>): boolean {
    let node: Node | undefined = this.root
    for (const part of path) {
      if (node.hidden > this.layer || node.opaque > this.layer) return true
      node = node.children?.get(part)
      if (node === undefined) return false
    }
    return false
  }

  /** The names that wait for this one in newer layers; they wait no more. */
  private claim(path: string): ReadonlyArray<string> {
    if (this.waiting.size === 0) return []
    const waiting = this.waiting.get(path)
    if (waiting === undefined) return []
    const own = waiting.filter((wait) => wait.layer === this.layer)
    if (own.length === 0) this.waiting.delete(path)
    else this.waiting.set(path, own)
    return waiting.filter((wait) => wait.layer !== this.layer).flatMap((wait) => wait.names)
  }

  private stateImplied(node: Node, path: string): void {
    if (node.children === undefined) return
    for (const [part, child] of node.children) {
      const name = path === "" ? part : `${path}/${part}`
      if (child.written === Written.Implied) {
        this.out.header({ name: `${name}/`, type: "directory", mode: 0o755, size: 0, mtime: 0, linkname: "" })
      }
      this.stateImplied(child, name)
    }
  }

  private writeLinks(origin: string, names: ReadonlyArray<string>): void {
    for (const name of names) {
      this.out.header({ name, type: "link", mode: 0o644, size: 0, mtime: 0, linkname: origin })
    }
  }

  private missingTarget(name: string, target: string): TarFault {
    return new TarFault(`it is a hard link to "${shown(target)}", which is not there`, shown(name))
  }
}

/** A path and all its parents. */
const prefixes = (path: string): ReadonlyArray<string> => {
  const found = [path]
  for (let i = path.lastIndexOf("/"); i > 0; i = path.lastIndexOf("/", i - 1)) found.push(path.slice(0, i))
  return found
}
