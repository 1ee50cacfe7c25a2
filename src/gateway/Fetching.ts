/**
 * The file of an image that a gateway service has, fetched to this machine: a cut transfer goes on where it was, and what is here in the end has
 * the hash of the record.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto"
import { createReadStream } from "node:fs"
import { open, rm } from "node:fs/promises"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError, messageOf, storageCode } from "../core/Errors.js"
import type { ImageRecord } from "../core/ImageRecord.js"
import type { Connection } from "./Connection.js"
import { ApiErrors } from "./v1/Schemas.js"

/** How often it is begun again without a single byte between. */
const TRIES = 5
const PAUSE = "1 second"

/** Fetches the file of an image beside `target`; its path, for as long as the scope lasts. */
export const fetched = ({ asked, system }: Connection, record: ImageRecord, target: string, options: { readonly system?: string | undefined }): Effect.Effect<string, GatewayError, Scope.Scope> =>
  Effect.gen(function* () {
    const file = `${target}.${randomBytes(6).toString("hex")}.squashfs`
    const failed = (error: unknown) => new GatewayError(errorFields(storageCode(error, "EXPORT_FAILED"), `${file} can't be written: ${messageOf(error)}`, { cause: error }))
    const writing = <A>(f: () => Promise<A>) => Effect.tryPromise({ try: f, catch: failed })
    const handle = yield* Effect.acquireRelease(writing(() => open(file, "wx", record.access === "private" ? 0o600 : 0o644)), (opened) =>
      Effect.promise(() => opened.close().then(() => rm(file, { force: true })).catch(() => undefined))
    )
    const etag = `"${record.imageSha256}"`
    let at = 0
    const part = asked(
      ({ http, url }) =>
        Effect.scoped(
          Effect.gen(function* () {
            const request = HttpClientRequest.get(`${url}/v1/image/file`, {
              urlParams: { ...system(options), reference: `id:${record.id}` },
              headers: { range: `bytes=${at}-`, "if-range": etag }
            })
            const response = yield* http.execute(request)
            // Another file than before: from its beginning, and the hash will tell.
            if (response.status === 200) at = 0
            else if (response.status !== 206) return yield* Effect.flatMap(Effect.flatMap(response.json, Schema.decodeUnknown(ApiErrors)), Effect.fail)
            const stream = Stream.mapError(response.stream, () => new Error("the connection was cut before the end"))
            yield* Stream.runForEach(stream, (bytes) =>
              writing(async () => {
                for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten
                at += bytes.length
                if (at > record.imageSize) throw new Error("more bytes came than the image has")
              })
            )
          })
        ),
      Duration.infinity
    )
    for (let tries = 0; at < record.imageSize; ) {
      const before = at
      const exit = yield* Effect.either(part)
      if (at > before) tries = 0
      if (exit._tag === "Left" && (exit.left.code !== "GATEWAY_UNREACHABLE" || ++tries > TRIES)) return yield* exit.left
      if (exit._tag === "Right" && at === before && ++tries > TRIES) return yield* new GatewayError(errorFields("GATEWAY_UNREACHABLE", "The gateway sends nothing of the image"))
      if (at < record.imageSize) yield* Effect.sleep(PAUSE)
    }
    const actual = yield* writing(async () => {
      const hash = createHash("sha256")
      for await (const piece of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(piece as Buffer)
      return hash.digest("hex")
    })
    if (actual !== record.imageSha256) return yield* new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} arrived as sha256:${actual}, not as its record says`))
    return file
  })
