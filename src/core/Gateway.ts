/**
 * The service `Gateway`: pulls images to systems, and tells what is there.
 *
 * @module
 */
import * as nodePath from "node:path"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Catalog, type PullRow } from "./Catalog.js"
import { carried, errorFields, GatewayError, printable, type ShifterError, type TransportError } from "./Errors.js"
import type { Executor } from "./Executor.js"
import { ExportFormat, write } from "./Export.js"
import type { Image } from "./Image.js"
import { type Access, Acl, type ImageRecord, mayUse, Requester } from "./ImageRecord.js"
import { importImage, type ImportRequest } from "./Import.js"
import type { Packer } from "./Packer.js"
import { checked } from "./Checked.js"
import { leaseLost, parseReference, pull, type PullRequest, whileHeld } from "./Pull.js"
import * as Site from "./Site.js"
import { type Problem, Transport } from "./Transport.js"
import { Uploads } from "./Uploads.js"

export type { ImportRequest, ImportSource } from "./Import.js"
export type { PullRequest } from "./Pull.js"

/** Where is looked, and for whom. */
export interface ReadOptions {
  /** Name of a system; the site's default without it. */
  readonly system?: string | undefined
  /** Who asks: he is told only of images that he may use. Without him everything is told, as to the account that owns the image path. */
  readonly requester?: Requester | undefined
}

/** What is written where. */
export interface ExportOptions extends ReadOptions {
  readonly format: ExportFormat
  /** Path of the file, or of the directory of an OCI layout. */
  readonly target: string
}

/** A published image with the references that point to it. */
export interface ImageInfo {
  readonly record: ImageRecord
  /** Canonical references, sorted; none for an image whose names were removed or went to newer ones. */
  readonly names: ReadonlyArray<string>
  readonly system: string
}

/** The images of a system. */
export interface ImageList {
  readonly images: ReadonlyArray<ImageInfo>
  /** What could not be read, and where; not told to a requester. */
  readonly problems: ReadonlyArray<Problem>
}

/** What a removal did. */
export interface Removal {
  readonly id: string
  /** Names removed. */
  readonly names: ReadonlyArray<string>
  /** Whether the image itself is gone. A name's removal keeps the image for jobs that have it pinned. */
  readonly image: boolean
}

/** Who may use an image beside its owner, as he wants it. */
export interface AccessChange {
  /** Without it: as it is. Only the account that owns the image path makes a private image public, or a public one private. */
  readonly access?: Access["access"] | undefined
  /** In place of those before. */
  readonly allowUids: ReadonlyArray<number>
  readonly allowGids: ReadonlyArray<number>
}

export class Gateway extends Context.Tag("shifter-sdk/Gateway")<
  Gateway,
  {
    /** Pulls an image; its record when it is published. Interrupting leaves nothing half done. A `custom:` one is there already, or has to be imported. */
    readonly pull: (request: PullRequest) => Effect.Effect<ImageRecord, GatewayError>
    /**
     * Makes an image of a file: its record when it is published. Fails with `ACCESS_DENIED` for who may not import, and for a name that is another's.
     */
    readonly import: (request: ImportRequest) => Effect.Effect<ImageRecord, GatewayError>
    /** The id that a reference points to. Fails with `IMAGE_NOT_FOUND`, also for an image that the requester may not use. */
    readonly lookup: (reference: string, options?: ReadOptions) => Effect.Effect<string, GatewayError>
    /** All images of a system, with or without a name. */
    readonly list: (options?: ReadOptions) => Effect.Effect<ImageList, GatewayError>
    /** Everything known of an image, by reference or `id:ID`. Fails as `lookup` does. */
    readonly inspect: (reference: string, options?: ReadOptions) => Effect.Effect<ImageInfo, GatewayError>
    /** The record of an image: as `inspect`, without the names that point to it, which takes longer the more images there are. */
    readonly record: (reference: string, options?: ReadOptions) => Effect.Effect<ImageRecord, GatewayError>
    /** Changes who may use an image; its new record. A requester changes the lists of private images that he owns; fails as `remove` does. */
    readonly setAccess: (reference: string, change: AccessChange, options?: ReadOptions) => Effect.Effect<ImageRecord, GatewayError>
    /**
     * Removes a name; with `id:ID` the image and all its names, unless it is being converted or changed just now (`LEASE_LOST`). For a requester the image itself stays until a collection finds that nothing has
     * pointed to it for the retention time, since jobs of others may use it. He removes what he owns: fails with `ACCESS_DENIED` for what is
     * another's, and with `IMAGE_NOT_FOUND` as `lookup` does.
     */
    readonly remove: (reference: string, options?: ReadOptions) => Effect.Effect<Removal, GatewayError>
    /**
     * Writes an image to a path that does not exist yet, as squashfs, tar or OCI layout; its record. What is published is read and checked
     * first: fails with `IMAGE_CORRUPT` when it is damaged.
     */
    readonly export: (reference: string, options: ExportOptions) => Effect.Effect<ImageRecord, GatewayError>
  }
>() {}

/** Of no image: a SHA-256 that no configuration has. */
const NOBODYS_ID = "0".repeat(64)

const Lists = Schema.Struct({ access: Schema.optional(Schema.Literal("public", "private")), allowUids: Acl, allowGids: Acl })
const Where = Schema.Struct({ system: Schema.optional(Schema.String), requester: Schema.optional(Requester) })
const Exported = Schema.Struct({ format: ExportFormat, target: Schema.NonEmptyString })
const Query = Schema.Struct({ reference: Schema.String, ...Where.fields })

/** The service for a site. */
export const layer = (site: Site.Site): Layer.Layer<Gateway, never, Image | Catalog | Packer | Transport | Executor | Uploads | HttpClient.HttpClient> =>
  Layer.effect(
    Gateway,
    Effect.gen(function* () {
      const services = yield* Effect.context<Image | Catalog | Packer | Transport | Executor>()
      const transport = yield* Transport
      const catalog = yield* Catalog
      const uploads = yield* Uploads
      const http = yield* HttpClient.HttpClient
      const provided = <A, E extends ShifterError>(effect: Effect.Effect<A, E, Image | Catalog | Packer | Transport | Executor>) =>
        effect.pipe(
          Effect.provide(services),
          Effect.mapError((error: ShifterError): GatewayError => (error._tag === "GatewayError" ? error : new GatewayError(carried(error))))
        )

      // One message for what is not there and what is not his.
      const notFound = (text: string, system: Site.System) =>
        new GatewayError(errorFields("IMAGE_NOT_FOUND", `There is no image "${printable(text)}" on ${system.name}`))

      const queried = (text: string, options: ReadOptions) =>
        Effect.gen(function* () {
          yield* checked(Query, { ...options, reference: text })
          const system = yield* Site.system(site, options.system)
          const ref = yield* parseReference(text, site.defaultImageType)
          return { system, ref, requester: options.requester }
        })

      /** What can't be read does not say who may know of it: for a requester it is not there. A pull mends it. */
      const told = <A>(requester: Requester | undefined, effect: Effect.Effect<A | undefined, TransportError>): Effect.Effect<A | undefined, TransportError> =>
        Effect.catchIf(effect, ({ code }) => requester !== undefined && (code === "RECORD_INVALID" || code === "RECORD_NEWER"), () => Effect.succeed(undefined))

      /** The id that a reference names, whoever may use it. */
      const idOf = (text: string, options: ReadOptions) =>
        Effect.gen(function* () {
          const { ref, requester, system } = yield* queried(text, options)
          if (ref.type === "id") return { system, ref, requester, id: ref.reference }
          const id = ref.canonical === null ? undefined : yield* told(requester, transport.lookup(system, ref.canonical))
          if (id !== undefined) return { system, ref, requester, id }
          // The same is read as of an image that he may not use, so that the two answers take alike.
          yield* transport.record(system, NOBODYS_ID)
          return yield* notFound(text, system)
        })

      const recordOf = (text: string, options: ReadOptions) =>
        Effect.gen(function* () {
          const { id, requester, system } = yield* idOf(text, options)
          const record = yield* told(requester, transport.record(system, id))
          return record !== undefined && mayUse(record, requester) ? { system, record } : yield* notFound(text, system)
        })

      const list = (options: ReadOptions) =>
        Effect.gen(function* () {
          yield* checked(Where, options)
          const system = yield* Site.system(site, options.system)
          const { names, problems, records } = yield* transport.list(system)
          const byId = new Map<string, Array<string>>()
          for (const { id, reference } of names) byId.set(id, [...(byId.get(id) ?? []), reference])
          const images = records
            .filter((record) => mayUse(record, options.requester))
            .map((record) => ({ record, names: byId.get(record.id) ?? [], system: system.name }))
          return { images, problems: options.requester === undefined ? problems : [] }
        })

      const remove = (text: string, options: ReadOptions) =>
        Effect.gen(function* () {
          const { id, ref, requester, system } = yield* idOf(text, options)
          if (requester !== undefined) {
            const { record } = yield* recordOf(text, options)
            if (record.owner !== requester.uid) {
              return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(text)}" on ${system.name} is not uid ${requester.uid}'s to remove`))
            }
          }
          if (ref.type !== "id") {
            if (ref.canonical !== null) yield* transport.unname(system, ref.canonical)
            return { id, names: [ref.canonical ?? text], image: false }
          }
          const unnamed = Effect.gen(function* () {
            const names = (yield* transport.list(system)).names.filter((name) => name.id === id).map((name) => name.reference)
            yield* Effect.forEach(names, (name) => transport.unname(system, name), { discard: true })
            return names
          })
          // Others' jobs may be running it, or wait for it.
          if (requester !== undefined) return { id, names: yield* unnamed, image: false }
          const removed = Effect.gen(function* () {
            const names = yield* unnamed
            return { names, image: yield* transport.remove(system, id) }
          })
          const { image, names } = yield* claimed(system, id, `id:${id}`, process.getuid?.() ?? 0, (row) =>
            Effect.zipRight(Effect.filterOrFail(catalog.enter(row, "publish"), (held) => held, () => leaseLost), removed)
          ).pipe(
            // Where no catalogue can be opened nothing is pulled with it.
            Effect.catchIf((error) => error.code === "STATE_UNUSABLE", () => removed)
          )
          return image || names.length > 0 ? { id, names, image: true } : yield* notFound(text, system)
        })

      const setAccess = (text: string, change: AccessChange, options: ReadOptions) =>
        Effect.gen(function* () {
          yield* checked(Lists, change)
          const { record, system } = yield* recordOf(text, options)
          const { requester } = options
          if (requester !== undefined && record.owner !== requester.uid) {
            return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(text)}" on ${system.name} is not uid ${requester.uid}'s to change`))
          }
          return yield* claimed(system, record.id, record.reference, requester?.uid ?? record.owner, (row) =>
            Effect.gen(function* () {
              const now = yield* transport.record(system, record.id)
              if (now === undefined) return yield* notFound(text, system)
              const access = change.access ?? now.access
              if (access !== now.access && requester !== undefined) {
                return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(text)}" is ${now.access}, which only an administrator changes`))
              }
              if (access === "public" && change.allowUids.length + change.allowGids.length > 0) {
                return yield* new GatewayError(errorFields("USAGE", `The image "${printable(text)}" is public: lists of users and groups have no effect`, { remedy: "Leave the lists empty." }))
              }
              return yield* transport.setAccess(system, record.id, row.token, ({ owner }) => ({ access, owner, allowUids: change.allowUids, allowGids: change.allowGids }))
            })
          )
        })

      /** Does something while nobody else converts or changes an image. */
      const claimed = <A, E extends ShifterError>(system: Site.System, id: string, reference: string, uid: number, change: (row: PullRow) => Effect.Effect<A, E>) =>
        Effect.scoped(
          Effect.gen(function* () {
            const row = yield* Effect.acquireRelease(catalog.begin({ system: system.name, reference, requester: uid }), (begun, exit) =>
              Effect.ignore(catalog.end(begun, exit._tag === "Success" ? { _tag: "Done" } : { _tag: "Abandoned" }))
            )
            const claim = yield* catalog.claim(row, id)
            if (claim._tag === "Theirs") return yield* new GatewayError(errorFields("LEASE_LOST", `The image ${id} is being converted or changed`, { remedy: "Ask again in a moment." }))
            return yield* whileHeld(row, change(row))
          })
        )

      return Gateway.of({
        record: (text, options = {}) => provided(Effect.map(recordOf(text, options), ({ record }) => record)),
        setAccess: (text, change, options = {}) => provided(setAccess(text, change, options)),
        pull: (request) => provided(Effect.scoped(pull(site, request))),
        import: (request) => provided(Effect.scoped(importImage(site, uploads, http, request))),
        lookup: (text, options = {}) => provided(Effect.map(recordOf(text, options), ({ record }) => record.id)),
        inspect: (text, options = {}) =>
          provided(
            Effect.gen(function* () {
              const { record, system } = yield* recordOf(text, options)
              const { names } = yield* transport.list(system)
              return { record, names: names.filter((name) => name.id === record.id).map((name) => name.reference), system: system.name }
            })
          ),
        list: (options = {}) => provided(list(options)),
        remove: (text, options = {}) => provided(remove(text, options)),
        export: (text, options) =>
          provided(
            Effect.scoped(
              Effect.gen(function* () {
                const { format, target } = yield* checked(Exported, options)
                const { record, system } = yield* recordOf(text, options)
                if (!(yield* transport.isSound(system, record))) {
                  return yield* new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} on ${system.name} is not what its record says`))
                }
                yield* write(yield* transport.image(system, record.id, nodePath.dirname(target)), record, format, target)
                return record
              })
            )
          )
      })
    })
  )
