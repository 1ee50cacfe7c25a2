/**
 * Images: what is there, and what is done with it.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as Cache from "effect/Cache"
import * as Effect from "effect/Effect"
import { Audit, type AuditAction } from "../../core/Audit.js"
import { errorFields, GatewayError } from "../../core/Errors.js"
import { Gateway } from "../../core/Gateway.js"
import { ImageIndex, type IndexedImage } from "../../core/ImageIndex.js"
import { expiryOf } from "../../core/Indexed.js"
import type { ImageRecord } from "../../core/ImageRecord.js"
import type { Site, System } from "../../core/Site.js"
import { Transport } from "../../core/Transport.js"
import { isAdmin } from "../Identity.js"
import { type Caller, type ImageAction, mayDoWith, mayTry, noImage } from "../Policy.js"
import { Api, Asking } from "./Api.js"
import { answered, granted } from "./Authorization.js"
import { imageFile } from "./ImageFile.js"
import type { Image } from "./Schemas.js"

/** Uses of an image that are noted: one a minute. */
const USES = 10_000
/** Asks for public images alone: nobody has this uid. */
const STRANGER = { uid: -1, gids: [] }

export const images = (site: Site) =>
  HttpApiBuilder.group(Api, "images", (handlers) =>
    Effect.gen(function* () {
      const gateway = yield* Gateway
      const index = yield* ImageIndex
      const audit = yield* Audit
      const transport = yield* Transport
      const lifetime = expiryOf(site).expiresIn

      const uses = yield* Cache.make({
        capacity: USES,
        timeToLive: "1 minute",
        lookup: (key: string) => {
          const [system = "", id = ""] = key.split(" ")
          return Effect.ignore(index.touch(system, id, lifetime))
        }
      })

      /** Noted beside the answer: nobody waits for it. */
      const used = (system: System, record: ImageRecord) => Effect.forkDaemon(uses.get(`${system.name} ${record.id}`))

      const noted = (action: AuditAction, caller: Caller, system: System, reference: string, record: ImageRecord | undefined, why: string) =>
        audit.write({
          action,
          uid: caller?.requester.uid,
          by: caller?.label ?? "nobody",
          system: system.name,
          reference,
          imageId: record?.id,
          digest: record?.manifestDigest ?? record?.sourceDigest,
          why
        })

      /** The image, when he may do this with it; and why he may. */
      const found = (action: ImageAction, reference: string) =>
        Effect.gen(function* () {
          const { caller, system } = yield* Asking
          const where = { reference, system: system.name }
          const refused = mayTry(caller, action, system)
          if (refused !== undefined) yield* granted(refused, where)
          const privileged = caller === undefined || isAdmin(caller, system)
          const record = yield* gateway.record(reference, { system: system.name, requester: privileged ? undefined : caller.requester })
          const decision = mayDoWith(caller, action, system, record)
          if (decision._tag === "Denied") yield* noted("refused", caller, system, reference, record, `${action}: ${decision.what}`)
          return { caller, system, record, why: yield* granted(decision, where) }
        })

      /** What is shown of it. The index may lag behind, or be out of order: the record is what counts. */
      const shown = (system: System, record: ImageRecord) =>
        Effect.gen(function* () {
          const known = yield* Effect.orElseSucceed(index.get(system.name, record.id), () => undefined)
          return imageOf(known === undefined ? { record, names: (yield* gateway.inspect(`id:${record.id}`, { system: system.name })).names, system: system.name } : { ...known, record })
        })

      const changed = (reference: string, action: "expire" | "access", change: (system: System, record: ImageRecord, caller: Caller) => Effect.Effect<ImageRecord, GatewayErrors>) =>
        Effect.gen(function* () {
          const { caller, record, system, why } = yield* found(action, reference)
          const now = yield* change(system, record, caller)
          yield* noted(action, caller, system, reference, now, why)
          return yield* shown(system, now)
        })

      return handlers
        .handle("list", ({ urlParams: { system: _, ...filter } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, system } = yield* Asking
              const refused = mayTry(caller, "read", system)
              if (refused !== undefined) yield* granted(refused, { reference: "", system: system.name })
              const requester = caller === undefined ? STRANGER : isAdmin(caller, system) ? undefined : caller.requester
              const { next, rows } = yield* index.page({ ...filter, system: system.name, requester })
              return { images: rows.map(({ image, name }) => ({ name, image: imageOf(image) })), next }
            })
          )
        )
        .handle("lookup", ({ urlParams: { reference } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, record, system, why } = yield* found("read", reference)
              yield* used(system, record)
              // What everyone may have is not worth a line for each job that starts.
              if (record.access === "private") yield* noted("lookup", caller, system, reference, record, why)
              return { id: record.id }
            })
          )
        )
        .handle("inspect", ({ urlParams: { reference } }) => answered(Effect.flatMap(found("read", reference), ({ record, system }) => shown(system, record))))
        .handleRaw("file", ({ request, urlParams: { reference } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, record, system, why } = yield* found("read", reference)
              yield* used(system, record)
              if (record.access === "private") yield* noted("lookup", caller, system, reference, record, `file: ${why}`)
              return yield* imageFile(transport, system, record, request)
            })
          )
        )
        .handle("remove", ({ urlParams: { reference } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, record, system, why } = yield* found("remove", reference)
              const removal = yield* gateway.remove(reference, { system: system.name, requester: caller === undefined || isAdmin(caller, system) ? undefined : caller.requester })
              yield* noted("remove", caller, system, reference, record, why)
              return removal
            })
          )
        )
        .handle("access", ({ payload, urlParams: { reference } }) =>
          answered(
            changed(reference, "access", (system, record, caller) =>
              gateway.setAccess(`id:${record.id}`, payload, { system: system.name, requester: caller === undefined || isAdmin(caller, system) ? undefined : caller.requester })
            )
          )
        )
        .handle("setExpiry", ({ payload: { expires }, urlParams: { reference } }) =>
          answered(changed(reference, "expire", (system, record) => Effect.as(index.setExpiry(system.name, record.id, expires), record)))
        )
        .handle("clearExpiry", ({ urlParams: { reference } }) =>
          answered(changed(reference, "expire", (system, record) => Effect.as(index.setExpiry(system.name, record.id, undefined), record)))
        )
        .handle("pin", ({ urlParams: { reference } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, record, system, why } = yield* found("pin", reference)
              if (!(yield* index.pin(system.name, record.id, uidOf(caller)))) return yield* noImage(reference, system.name)
              yield* noted("pin", caller, system, reference, record, why)
              return { pinned: true }
            })
          )
        )
        .handle("unpin", ({ urlParams: { reference } }) =>
          answered(
            Effect.gen(function* () {
              const { caller, record, system, why } = yield* found("pin", reference)
              if (!(yield* index.unpin(system.name, record.id, uidOf(caller)))) {
                return yield* new GatewayError(errorFields("USAGE", `You have not pinned the image ${record.id}`, { remedy: "Nothing is to be done." }))
              }
              yield* noted("unpin", caller, system, reference, record, why)
              return { pinned: false }
            })
          )
        )
    })
  )

type GatewayErrors = GatewayError | Effect.Effect.Error<ReturnType<(typeof ImageIndex.Service)["setExpiry"]>>

/** Policy has seen to it that he is known. */
const uidOf = (caller: Caller): number => caller?.requester.uid ?? STRANGER.uid

const imageOf = ({ damage, expires, names, pins, published, record, scrubbed, system, unnamed, used }: Partial<IndexedImage> & Pick<IndexedImage, "system" | "record" | "names">): Image => ({
  system,
  record,
  names,
  published,
  used,
  expires,
  unnamed,
  pins,
  scrubbed,
  damage
})
