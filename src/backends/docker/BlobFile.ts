/**
 * A file that a blob is written to while it is hashed. Pieces are gathered, so that the file system is called once for many of them, and
 * hashed while the ones before are written.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto"
import { type FileHandle, open } from "node:fs/promises"

/** Bytes gathered before they are written. */
const GATHERED = 1024 * 1024

export class BlobFile {
  private readonly hash: Hash = createHash("sha256")
  private pieces: Array<Uint8Array> = []
  private gathered = 0
  private writing: Promise<void> = Promise.resolve()
  private received = 0

  private constructor(private readonly handle: FileHandle) {}

  /** Opens a file of its own, empty. */
  static async create(path: string): Promise<BlobFile> {
    return new BlobFile(await open(path, "w", 0o600))
  }

  /** Bytes taken so far. */
  get bytes(): number {
    return this.received
  }

  /** Takes a piece; waits while the file system is behind. */
  async write(piece: Uint8Array): Promise<void> {
    this.received += piece.length
    this.hash.update(piece)
    this.pieces.push(piece)
    this.gathered += piece.length
    if (this.gathered < GATHERED) return
    await this.writing
    this.flush()
  }

  /** Writes the rest and makes it durable. The digest of all, in hex. */
  async finish(): Promise<string> {
    await this.writing
    this.flush()
    await this.writing
    await this.handle.datasync()
    return this.hash.digest("hex")
  }

  async close(): Promise<void> {
    await this.writing.catch(() => undefined)
    await this.handle.close()
  }

  private flush(): void {
    const pieces = this.pieces
    this.pieces = []
    this.gathered = 0
    if (pieces.length === 0) return
    this.writing = writeAll(this.handle, pieces)
    // Its failure is seen where it is awaited.
    this.writing.catch(() => undefined)
  }
}

/** A full disk lets a write end early before the next one fails. */
const writeAll = async (handle: FileHandle, pieces: ReadonlyArray<Uint8Array>): Promise<void> => {
  for (let left = pieces; left.length > 0; ) {
    let { bytesWritten } = await handle.writev(left)
    let done = 0
    while (done < left.length && bytesWritten >= (left[done]?.length ?? 0)) bytesWritten -= left[done++]?.length ?? 0
    left = left.slice(done)
    if (bytesWritten > 0 && left[0] !== undefined) left = [left[0].subarray(bytesWritten), ...left.slice(1)]
  }
}
