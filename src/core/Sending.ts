/**
 * A file as an upload, sent in pieces: each is here or not, and a cut costs one.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { type FileHandle, open } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError, messageOf } from "./Errors.js"
import { careful, type OnProgress } from "./Progress.js"
import type { Uploads } from "./Uploads.js"

const PIECE = 4 * 1024 * 1024
/** How often it is tried again without a single byte between. */
const TRIES = 10
const PAUSE = "1 second"

/** Sends a file; the id of its complete upload. One that fails for good is removed. */
export const send = (uploads: typeof Uploads.Service, path: string, owner: number, onProgress?: OnProgress): Effect.Effect<string, GatewayError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const progress = careful(onProgress)
      const unreadable = (error: unknown) => new GatewayError(errorFields("FILE_UNAVAILABLE", `${path} can't be read: ${messageOf(error)}`, { remedy: "Name a file that you may read." }))
      const reading = <A>(f: () => Promise<A>) => Effect.tryPromise({ try: f, catch: unreadable })
      const file = yield* Effect.acquireRelease(reading(() => open(path, "r")), (handle) => Effect.promise(() => handle.close()))
      const found = yield* reading(() => file.stat())
      if (!found.isFile()) return yield* unreadable(new Error("it is no regular file"))
      const sha256 = yield* reading(() => hashed(file))
      const { id } = yield* uploads.create({ owner, name: nodePath.basename(path).replace(/\p{Cc}/gu, "_"), bytes: found.size, sha256 })
      const piece = Buffer.allocUnsafe(Math.min(PIECE, Math.max(found.size, 1)))

      const sending = Effect.gen(function* () {
        let at = 0
        for (let tries = 0; ; ) {
          const { bytesRead } = yield* reading(() => file.read(piece, 0, piece.length, at))
          if (bytesRead === 0 && at < found.size) return yield* unreadable(new Error("it became shorter"))
          const sent = yield* Effect.either(uploads.append(id, owner, at, Stream.succeed(new Uint8Array(piece.subarray(0, bytesRead)))))
          if (sent._tag === "Left" && sent.left.code !== "GATEWAY_UNREACHABLE" && sent.left.code !== "UPLOAD_CONFLICT" && sent.left.code !== "USAGE") return yield* sent.left
          if (sent._tag === "Left" && ++tries > TRIES) return yield* sent.left
          if (sent._tag === "Left") yield* Effect.sleep(PAUSE)
          // After a cut: what is there is asked for.
          const now = sent._tag === "Right" ? sent.right : yield* Effect.catchIf(uploads.status(id, owner), (error) => error.code === "GATEWAY_UNREACHABLE", () => Effect.succeed(undefined))
          if (now === undefined) continue
          if (now.offset > at) tries = 0
          at = now.offset
          progress({ _tag: "Received", received: at, bytes: found.size })
          if (now.complete) return id
        }
      })
      return yield* Effect.onError(sending, () => Effect.ignore(Effect.timeout(uploads.cancel(id, owner), "5 seconds")))
    })
  )

const hashed = async (file: FileHandle): Promise<string> => {
  const hash = createHash("sha256")
  const piece = Buffer.allocUnsafe(1024 * 1024)
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, at)
    if (bytesRead === 0) return hash.digest("hex")
    hash.update(piece.subarray(0, bytesRead))
    at += bytesRead
  }
}
