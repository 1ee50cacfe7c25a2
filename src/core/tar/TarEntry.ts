/**
 * Entries of a tar stream. Names are held as latin1 text, one character a byte, since a tar name is bytes and not always UTF-8.
 *
 * @see https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
 * @module
 */

/** Types of entries by their type flag; `regular` covers the flags `0`, NUL and `7`. */
export type TarType = "regular" | "link" | "symlink" | "character" | "block" | "directory" | "fifo"

export interface TarEntry {
  /** As in the archive, latin1. */
  name: string
  type: TarType
  /** Permission, setuid, setgid and sticky bits. */
  mode: number
  uid: number
  gid: number
  /** Bytes of the content that follow; 0 for everything but regular files. */
  size: number
  /** Seconds since 1970. */
  mtime: number
  /** Target of links, latin1. */
  linkname: string
}

/** A tar stream is not valid. Holds what is wrong and at which entry; whoever knows the layer words the error. */
export class TarFault extends Error {
  override readonly name = "TarFault"
  constructor(
    readonly why: string,
    readonly entry: string | undefined
  ) {
    super(entry === undefined ? why : `entry "${entry}": ${why}`)
  }
}

/** A latin1 name as a person reads it: as UTF-8 where it is. */
export const shown = (name: string): string => Buffer.from(name, "latin1").toString("utf8")
