/**
 * The first names of a tar archive, to tell a root file system from an archive of images before it is converted. It decides about nothing but
 * a message: the merger reads the archive again, and trusts none of this.
 *
 * @module
 */

const BLOCK = 512
/** An archive of images has a few members for each layer. */
const MEMBERS = 4096

/** Names without leading `./`, none where it ends before the first; undefined for what is no tar archive. Reads no further than it must. */
export const firstNames = async (pieces: AsyncIterable<Buffer>): Promise<ReadonlyArray<string> | undefined> => {
  const names: Array<string> = []
  const block = Buffer.alloc(BLOCK)
  let filled = 0
  let skip = 0
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      if (skip > 0) {
        const step = Math.min(skip, piece.length - at)
        skip -= step
        at += step
        continue
      }
      const step = Math.min(BLOCK - filled, piece.length - at)
      piece.copy(block, filled, at, at + step)
      filled += step
      at += step
      if (filled < BLOCK) continue
      filled = 0
      const size = headerSize(block)
      if (size === undefined) return isEnd(block) || names.length > 0 ? names : undefined
      const type = block[156]
      if (type !== X && type !== G && type !== L && type !== K) names.push(nameOf(block))
      if (names.length === MEMBERS) return names
      skip = Math.ceil(size / BLOCK) * BLOCK
    }
  }
  return names
}

const [X, G, L, K] = [..."xgLK"].map((letter) => letter.charCodeAt(0))

const isEnd = (block: Buffer): boolean => block.every((byte) => byte === 0)

/** Bytes of the member; undefined for what is no header. */
const headerSize = (block: Buffer): number | undefined => {
  let sum = 0
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0)
  if (octal(block, 148, 8) !== sum) return undefined
  return ((block[124] ?? 0) & 0x80) !== 0 ? block.readUIntBE(130, 6) : octal(block, 124, 12)
}

const octal = (block: Buffer, start: number, length: number): number | undefined => {
  const digits = block.toString("latin1", start, start + length).split("\0")[0]?.trim() ?? ""
  return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : undefined
}

const nameOf = (block: Buffer): string => {
  const nul = block.indexOf(0)
  return block.toString("utf8", 0, nul < 0 || nul > 100 ? 100 : nul).replace(/^(?:\.?\/)+/, "")
}

/** The type of reference that an archive of images has; undefined for any other. */
export const archiveType = (names: ReadonlyArray<string>): "docker-archive" | "oci-archive" | undefined => {
  const has = (name: string) => names.includes(name)
  const hasBlobs = names.some((name) => name.startsWith("blobs/sha256/") || /^[0-9a-f]{64}(?:\.json|\.tar|\/layer\.tar)$/.test(name))
  if (!hasBlobs) return undefined
  return has("manifest.json") ? "docker-archive" : has("oci-layout") && has("index.json") ? "oci-archive" : undefined
}
