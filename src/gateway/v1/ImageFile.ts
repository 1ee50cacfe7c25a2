/**
 * The file of a published image as a response: whole, or the range that is asked for. It is opened before anything is said, so that what is
 * removed meanwhile is sent to its end.
 *
 * @module
 */
import { open } from "node:fs/promises"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError, messageOf } from "../../core/Errors.js"
import type { ImageRecord } from "../../core/ImageRecord.js"
import type { System } from "../../core/Site.js"
import type { Transport } from "../../core/Transport.js"

const PIECE = 256 * 1024

/** First and last byte of the one range that is asked for; undefined: all; `none`: there is none such. Several ranges are answered with all. */
export const rangeOf = (header: string | undefined, size: number): { readonly first: number; readonly last: number } | "none" | undefined => {
  const [, from = "", to = ""] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(header ?? "") ?? []
  if (from === "" && to === "") return undefined
  const first = from === "" ? Math.max(0, size - Number(to)) : Number(from)
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1)
  return first > last || (from === "" && Number(to) === 0) ? "none" : { first, last }
}

export const imageFile = (transport: Context.Tag.Service<Transport>, system: System, record: ImageRecord, request: HttpServerRequest.HttpServerRequest) =>
  Effect.gen(function* () {
    if (system.ssh !== undefined) {
      return yield* new GatewayError(errorFields("OPTION_UNAVAILABLE", `The images of ${system.name} are not on the gateway's machine`, { remedy: "Export the image there." }))
    }
    const etag = `"${record.imageSha256}"`
    const headers = { etag, "accept-ranges": "bytes" }
    // The file may have been replaced by another with this name: the range is that of the one that the asker has begun.
    const wanted = request.headers["if-range"] === undefined || request.headers["if-range"] === etag ? request.headers["range"] : undefined
    const range = rangeOf(wanted, record.imageSize)
    if (range === "none") return HttpServerResponse.empty({ status: 416, headers: { ...headers, "content-range": `bytes */${record.imageSize}` } })
    const { first, last } = range ?? { first: 0, last: record.imageSize - 1 }
    const scope = yield* Scope.make()
    const close = Scope.close(scope, Exit.void)
    const opened = Effect.gen(function* () {
      // The path is the image's own, on this machine.
      const path = yield* transport.image(system, record.id, "")
      return yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: () => open(path, "r"),
          catch: (error) => new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} on ${system.name} can't be read: ${messageOf(error)}`))
        }),
        (handle) => Effect.promise(() => handle.close().catch(() => undefined))
      )
    })
    const handle = yield* Scope.extend(opened, scope).pipe(Effect.onError(() => close))
    const bytes = Stream.unfoldEffect(first, (at) =>
      at > last
        ? Effect.succeedNone
        : Effect.map(
            Effect.tryPromise(() => handle.read(Buffer.allocUnsafe(Math.min(PIECE, last - at + 1)), 0, Math.min(PIECE, last - at + 1), at)),
            // A file that has become shorter ends too soon, which the asker sees.
            ({ buffer, bytesRead }) => (bytesRead === 0 ? Option.none() : Option.some([buffer.subarray(0, bytesRead), at + bytesRead] as const))
          )
    )
    return HttpServerResponse.stream(Stream.ensuring(bytes, close), {
      status: range === undefined ? 200 : 206,
      contentType: "application/octet-stream",
      contentLength: last - first + 1,
      headers: { ...headers, ...(range === undefined ? {} : { "content-range": `bytes ${first}-${last}/${record.imageSize}` }) }
    })
  })
