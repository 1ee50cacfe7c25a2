/**
 * Server-sent events, as a client of the service reads them.
 *
 * @module
 */
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Http } from "./Replica.js"
import { ApiErrors } from "./v1/Schemas.js"

const Refusal = Schema.parseJson(ApiErrors)

/** Does something with each event of a response; one that tells of an error is that. */
export const listening = <E>(response: HttpClientResponse.HttpClientResponse, f: (kind: string, data: string) => Effect.Effect<void, E>) =>
  Effect.suspend(() => {
    let kind = ""
    return response.stream.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) =>
        Effect.gen(function* () {
          if (line.startsWith("event: ")) kind = line.slice("event: ".length)
          if (!line.startsWith("data: ")) return
          const data = line.slice("data: ".length)
          if (kind === "error") return yield* Effect.flatMap(Schema.decode(Refusal)(data), Effect.fail)
          yield* f(kind, data)
        })
      )
    )
  })

/** Asks for what takes long, and waits for its result. */
export const resultOf = <A, I>(http: Http, request: HttpClientRequest.HttpClientRequest, schema: Schema.Schema<A, I>, progress: (data: string) => void = () => undefined) =>
  Effect.scoped(
    Effect.gen(function* () {
      const response = yield* http.execute(request)
      // A refusal is no stream.
      if (response.status !== 200) return yield* Effect.flatMap(response.json, Schema.decodeUnknown(ApiErrors)).pipe(Effect.catchTag("ParseError", () => unexpected(response.status)), Effect.flatMap(Effect.fail))
      const found: Array<A> = []
      yield* listening(response, (kind, data) =>
        kind === "done" ? Effect.map(Schema.decode(Schema.parseJson(schema))(data), (result) => void found.push(result)) : Effect.sync(() => progress(data))
      ).pipe(Effect.catchTag("ResponseError", () => Effect.fail(cut())))
      const [result] = found
      return result ?? (yield* Effect.fail(cut()))
    })
  )

const cut = () => new Error("the connection was cut before the end")

const unexpected = (status: number) => Effect.fail({ _tag: "ResponseError" as const, response: { status } })
