/**
 * The body of a request as a stream. Unlike the platform's it leaves the connection alone when it is not read to its end, so that there is an answer
 * to what is refused.
 *
 * @module
 */
import type { IncomingMessage } from "node:http"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { errorFields, GatewayError } from "../core/Errors.js"

const cut = new GatewayError(errorFields("CANCELLED", "The connection was cut", { remedy: "Ask how far it came, and go on from there." }))

/** Bytes are taken when they are asked for, and not before. */
export const body = (request: IncomingMessage): Stream.Stream<Uint8Array, GatewayError> =>
  Stream.repeatEffectOption(
    Effect.async<Uint8Array, Option.Option<GatewayError>>((resume) => {
      const events = ["readable", "end", "close", "error"] as const
      const look = () => {
        const chunk: unknown = request.read()
        const answer =
          chunk instanceof Uint8Array
            ? Effect.succeed(chunk)
            : request.readableEnded
              ? Effect.fail(Option.none())
              : request.destroyed || request.errored !== null
                ? Effect.fail(Option.some(cut))
                : undefined
        if (answer === undefined) return
        deaf()
        resume(answer)
      }
      const deaf = () => {
        for (const event of events) request.off(event, look)
      }
      for (const event of events) request.on(event, look)
      look()
      return Effect.sync(deaf)
    })
  )
