/**
 * Names of layer entries: made relative and clean, or refused. What can't be right is refused, never repaired.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
 * @module
 */
import { shown, TarFault } from "../../core/tar/TarEntry.js"

export interface PathLimits {
  readonly depth: number
  readonly nameBytes: number
}

/**
 * The components of an entry's name, latin1. No components: the root itself. Refused: absolute names but `/`, `..` components, NUL,
 * components over 255 bytes, names over the limits.
 */
export const components = (name: string, limits: PathLimits): ReadonlyArray<string> => clean(name, limits, "its name", name)

/** {@link components} of a hard link's target; the fault names the entry. */
export const targetComponents = (target: string, limits: PathLimits, entry: string): ReadonlyArray<string> =>
  clean(target, limits, `its hard-link target "${shown(target.slice(0, 200))}"`, entry)

const clean = (name: string, limits: PathLimits, what: string, entry: string): ReadonlyArray<string> => {
  const fault = (why: string) => new TarFault(`${what} ${why}`, shown(entry.length > 200 ? `${entry.slice(0, 200)}…` : entry))
  if (name.length > limits.nameBytes) throw fault(`is longer than ${limits.nameBytes} bytes`)
  if (name.includes("\0")) throw fault("holds NUL")
  const parts = name.split("/")
  if (parts[0] === "" && parts.some((part) => part !== "" && part !== ".")) throw fault("is absolute")
  const found: Array<string> = []
  for (const part of parts) {
    if (part === "" || part === ".") continue
    if (part === "..") throw fault("has a '..'")
    if (part.length > 255) throw fault("has a component longer than 255 bytes")
    found.push(part)
  }
  if (found.length > limits.depth) throw fault(`has more than ${limits.depth} components`)
  return found
}

/** What a name says by the whiteout convention. */
export type Whiteout =
  | { readonly kind: "none" }
  /** The sibling of this name is removed from lower layers. */
  | { readonly kind: "file"; readonly target: string }
  /** Everything in the entry's directory is removed from lower layers. */
  | { readonly kind: "opaque" }
  /** Bookkeeping of AUFS (`.wh..wh.plnk`, `.wh..wh.aufs`): no part of the image. */
  | { readonly kind: "metadata" }

const none: Whiteout = { kind: "none" }
const prefix = ".wh."

/** Reads the whiteout convention from the components of a name. */
export const whiteout = (path: ReadonlyArray<string>): Whiteout => {
  for (let i = 0; i < path.length; i++) {
    const part = path[i] ?? ""
    if (part.charCodeAt(0) !== 46 || !part.startsWith(prefix)) continue
    if (i < path.length - 1) {
      // AUFS keeps hard-link bookkeeping in directories of its own.
      if (part.startsWith(".wh..wh.")) return { kind: "metadata" }
      throw new TarFault("a whiteout stands as a directory in its name", path.join("/"))
    }
    if (part === ".wh..wh..opq") return { kind: "opaque" }
    if (part.startsWith(".wh..wh.")) return { kind: "metadata" }
    const target = part.slice(prefix.length)
    if (target === "" || target === "." || target === "..") throw new TarFault("this whiteout names nothing that can be removed", path.join("/"))
    return { kind: "file", target }
  }
  return none
}
