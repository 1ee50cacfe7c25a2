/**
 * The file of a published image as a response: whole, or the range that is asked for, wherever the image path is. It is opened before anything is
 * said, and read no faster than it is taken.
 *
 * @module
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { carried, errorFields, GatewayError } from "../../core/Errors.js"
import type { ImageRecord } from "../../core/ImageRecord.js"
import type { System } from "../../core/Site.js"
import type { Transport } from "../../core/Transport.js"

const PIECE = 256 * 1024
/** Pieces on their way at once: another machine's answers take their time. */
const PIECES = 4

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
    const etag = `"${record.imageSha256}"`
    const headers = { etag, "accept-ranges": "bytes" }
    // The file may have been replaced by another with this name: the range is that of the one that the asker has begun.
    const wanted = request.headers["if-range"] === undefined || request.headers["if-range"] === etag ? request.headers["range"] : undefined
    const range = rangeOf(wanted, record.imageSize)
    if (range === "none") return HttpServerResponse.empty({ status: 416, headers: { ...headers, "content-range": `bytes */${record.imageSize}` } })
    const { first, last } = range ?? { first: 0, last: record.imageSize - 1 }
    const scope = yield* Scope.make()
    const close = Scope.close(scope, Exit.void)
    const read = yield* Scope.extend(transport.open(system, record.id), scope).pipe(
      Effect.onError(() => close),
      Effect.mapError((error) => new GatewayError(carried(error)))
    )
    const count = Math.ceil((last - first + 1) / PIECE)
    const bytes = (count === 0 ? Stream.empty : Stream.range(0, count - 1, 1)).pipe(
      Stream.mapEffect(
        (piece) => {
          const at = first + piece * PIECE
          const length = Math.min(PIECE, last - at + 1)
          // A file that has become shorter ends too soon, which the asker sees.
          return Effect.filterOrFail(read(at, length), ({ length: got }) => got === length, () => new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} on ${system.name} is shorter than its record says`)))
        },
        { concurrency: PIECES }
      )
    )
    return HttpServerResponse.stream(Stream.ensuring(bytes, close), {
      status: range === undefined ? 200 : 206,
      contentType: "application/octet-stream",
      contentLength: last - first + 1,
      headers: { ...headers, ...(range === undefined ? {} : { "content-range": `bytes ${first}-${last}/${record.imageSize}` }) }
    })
  })
