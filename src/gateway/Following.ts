/**
 * A pull that a gateway service runs, as its client sees it: asked for, followed by its events, and cancelled when the client wants it no more.
 *
 * @module
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { errorFields, GatewayError, isErrorCode } from "../core/Errors.js"
import type { ImageRecord } from "../core/ImageRecord.js"
import { careful, type OnProgress } from "../core/Progress.js"
import type { PullRequest } from "../core/Pull.js"
import { listening } from "./Listening.js"
import type { Replica } from "./Replica.js"
import { Pull } from "./v1/Schemas.js"

/** How a service is asked. */
export interface Asking {
  readonly asked: <A, E>(use: (client: Replica) => Effect.Effect<A, E>) => Effect.Effect<A, GatewayError>
  readonly system: { readonly system?: string }
}

const PAUSE = "1 second"
/** Streams that end without a word; then the pull is looked at now and then instead. */
const SILENT_STREAMS = 3

/** Asks for a pull and waits for its end. */
export const following = (asking: Asking, request: PullRequest): Effect.Effect<ImageRecord, GatewayError> =>
  Effect.catchIf(once(asking, request), (error) => error.code === "CREDENTIALS_GONE" || error.code === "PULL_NOT_FOUND", () => once(asking, request))

const once = ({ asked, system }: Asking, { allowGids, allowUids, credentials, onProgress, platform, reference, verify }: PullRequest): Effect.Effect<ImageRecord, GatewayError> =>
  Effect.gen(function* () {
    const progress = telling(careful(onProgress))
    const told = (pull: Pull) => progress(pull.progress)
    const submitted = yield* asked(({ api }) =>
      api.pulls.create({ urlParams: system, payload: { reference, platform, allowUids, allowGids, verify, credentials } })
    )
    const path = { id: submitted.id }
    const cancel = Effect.ignore(Effect.timeout(asked(({ api }) => api.pulls.cancel({ path, urlParams: system })), "5 seconds"))
    const look = asked(({ api }) => api.pulls.get({ path, urlParams: system }))
    const end = yield* Effect.gen(function* () {
      let pull = submitted
      told(pull)
      for (let silent = 0; !isEnded(pull); ) {
        const before = idOf(pull)
        if (silent < SILENT_STREAMS) {
          const last = yield* asked((client) => Effect.map(followed(client, path.id, system, idOf(pull), told), Option.some)).pipe(
            Effect.catchIf((error) => error.code === "GATEWAY_UNREACHABLE", () => Effect.succeed(Option.none<Pull | undefined>()))
          )
          pull = Option.getOrUndefined(last) ?? pull
        }
        if (isEnded(pull)) break
        silent = idOf(pull) === before ? silent + 1 : 0
        yield* Effect.sleep(PAUSE)
        pull = yield* look
        told(pull)
      }
      return pull
    }).pipe(Effect.onInterrupt(() => cancel))
    return yield* outcome(end, (id) => asked(({ api }) => Effect.map(api.images.inspect({ urlParams: { ...system, reference: `id:${id}` } }), ({ record }) => record)))
  })

const isEnded = ({ state }: Pull): boolean => state === "done" || state === "failed" || state === "cancelled"
const idOf = ({ attempts, changed, state }: Pull): string => `${changed}-${attempts}-${state}`

const outcome = (pull: Pull, record: (id: string) => Effect.Effect<ImageRecord, GatewayError>): Effect.Effect<ImageRecord, GatewayError> => {
  if (pull.state === "done" && pull.imageId !== undefined) return record(pull.imageId)
  if (pull.error === undefined) return Effect.fail(new GatewayError(errorFields("CANCELLED", `The pull of ${pull.reference} was cancelled on the gateway`, { remedy: "Ask its administrator, or pull again." })))
  const { code, remedy, what } = pull.error
  return Effect.fail(new GatewayError(errorFields(isErrorCode(code) ? code : "INTERNAL", what, { remedy })))
}

const Event = Schema.parseJson(Pull)

/** Follows the events of one stream to its end; the last state it told. */
const followed = ({ http, url }: Replica, id: string, system: { readonly system?: string }, lastId: string, told: (pull: Pull) => void) =>
  Effect.scoped(
    Effect.gen(function* () {
      const request = HttpClientRequest.get(`${url}/v1/pulls/${id}/events`, { urlParams: system, headers: { accept: "text/event-stream", "last-event-id": lastId } })
      const response = yield* http.execute(request)
      if (response.status !== 200) return undefined
      let last: Pull | undefined
      yield* listening(response, (_, data) =>
        Effect.gen(function* () {
          last = yield* Schema.decode(Event)(data)
          told(last)
        })
      ).pipe(
        // A stream that breaks is taken up again.
        Effect.catchTag("ResponseError", () => Effect.void)
      )
      return last
    })
  )

/** Makes the events that an embedded gateway tells of the states that a service tells. */
export const telling = (onProgress: OnProgress) => {
  let phase = ""
  let imageId = ""
  let waiting = false
  let warnings: ReadonlyArray<string> = []
  return (progress: Pull["progress"]): void => {
    if (progress === undefined) return
    for (const message of progress.warnings.filter((each) => !warnings.includes(each))) onProgress({ _tag: "Warning", message })
    warnings = progress.warnings
    if (progress.imageId !== undefined && progress.imageId !== imageId) {
      imageId = progress.imageId
      onProgress({ _tag: "Resolved", id: imageId, layers: [] })
    }
    if (progress.isWaiting && !waiting) onProgress({ _tag: "Waiting", id: imageId })
    waiting = progress.isWaiting
    const { bytes, layers, layersDone, received } = progress
    if (layers > 0) onProgress({ _tag: "Total", received, bytes, layersDone, layers })
    if (progress.phase !== phase) {
      phase = progress.phase
      onProgress({ _tag: "Phase", phase: progress.phase })
    }
    if (progress.packed > 0) onProgress({ _tag: "Packed", bytes: progress.packed })
  }
}
