/**
 * Server-sent events. Each holds the whole state, so whoever reconnects is told what he missed by the next one; one that he has already, by
 * its id, is not told again.
 *
 * @module
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { ShifterError } from "../../core/Errors.js"
import { apiError, Pull } from "./Schemas.js"

const HEARTBEAT = Duration.seconds(15)
const RETRY_MILLIS = 1000
const encoder = new TextEncoder()
const json = Schema.encodeSync(Schema.parseJson(Pull))

/** The id of a state: it differs whenever anything else does. */
export const idOf = ({ attempts, changed, state }: Pull): string => `${changed}-${attempts}-${state}`

/** The states of a pull as a response; it ends early when the service stops, and tells the client to come again. */
export const events = (states: Stream.Stream<Pull, ShifterError>, lastId: string | undefined, stopped: Deferred.Deferred<undefined>) =>
  response(
    states.pipe(
      Stream.filter((pull) => idOf(pull) !== lastId || isEnded(pull)),
      Stream.map((pull) => `event: pull\nid: ${idOf(pull)}\ndata: ${json(pull)}\n\n`)
    ),
    stopped
  )

/**
 * What takes longer than anybody waits for an answer, as a response: events of a kind while it goes on, and `done` with the result. It is the
 * caller's: it ends when he goes.
 */
export const outcome = <A, I>(schema: Schema.Schema<A, I>, work: Effect.Effect<A, ShifterError>, stopped: Deferred.Deferred<undefined>, meanwhile: Stream.Stream<readonly [kind: string, data: string]> = Stream.empty) => {
  const encode = Schema.encodeSync(Schema.parseJson(schema))
  const done = Stream.fromEffect(Effect.map(work, (result) => `event: done\ndata: ${encode(result)}\n\n`))
  return response(Stream.merge(done, Stream.map(meanwhile, ([kind, data]) => `event: ${kind}\ndata: ${data}\n\n`), { haltStrategy: "left" }), stopped)
}

const response = (told: Stream.Stream<string, ShifterError>, stopped: Deferred.Deferred<undefined>) => {
  const text = told.pipe(
    Stream.catchAll((error) => Stream.succeed(`event: error\ndata: ${JSON.stringify(apiError(error))}\n\n`)),
    Stream.merge(Stream.as(Stream.fromSchedule(Schedule.spaced(HEARTBEAT)), ": \n\n"), { haltStrategy: "left" }),
    // At once: the next heartbeat may be long in coming.
    Stream.interruptWhen(Deferred.await(stopped))
  )
  return HttpServerResponse.stream(
    Stream.concat(Stream.succeed(`retry: ${RETRY_MILLIS}\n\n`), text).pipe(Stream.map((each) => encoder.encode(each))),
    { contentType: "text/event-stream", headers: { "cache-control": "no-store", "x-accel-buffering": "no" } }
  )
}

export const isEnded = ({ state }: Pick<Pull, "state">): boolean => state === "done" || state === "failed" || state === "cancelled"

