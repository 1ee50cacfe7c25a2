/**
 * The service `Gateway` over the network: what an embedded one does, asked of a gateway service.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { write } from "../core/Export.js"
import { Gateway, type ImageInfo, type ReadOptions } from "../core/Gateway.js"
import type { Connection } from "./Connection.js"
import { fetched } from "./Fetching.js"
import { following } from "./Following.js"
import { importing } from "./Importing.js"

const PAGE = 1000

/** The gateway that a connection leads to. */
export const make = (connection: Connection): typeof Gateway.Service => {
  const { asked, system } = connection
  const image = (reference: string, options?: ReadOptions) => ({ urlParams: { ...system(options), reference } })
  const inspect = (reference: string, options?: ReadOptions) => asked(({ api }) => api.images.inspect(image(reference, options)))

  const pages = (options: ReadOptions, unnamed: boolean) =>
    Effect.gen(function* () {
      const found: Array<ImageInfo> = []
      for (let after: string | undefined; ; ) {
        const page = yield* asked(({ api }) => api.images.list({ urlParams: { ...system(options), unnamed, limit: PAGE, ...(after === undefined ? {} : { after }) } }))
        found.push(...page.images.map(({ image: { names, record, system: name } }) => ({ names, record, system: name })))
        if (page.next === undefined) return found
        after = page.next
      }
    })

  return Gateway.of({
    pull: (request) => following({ asked, system: system(request) }, request),
    lookup: (reference, options) => Effect.map(asked(({ api }) => api.images.lookup(image(reference, options))), ({ id }) => id),
    record: (reference, options) => Effect.map(inspect(reference, options), ({ record }) => record),
    inspect: (reference, options) => Effect.map(inspect(reference, options), ({ names, record, system: name }) => ({ record, names, system: name })),
    list: (options = {}) =>
      Effect.map(Effect.all([pages(options, false), pages(options, true)]), (found) => ({
        images: [...new Map(found.flat().map((each) => [each.record.id, each])).values()],
        problems: []
      })),
    remove: (reference, options) => asked(({ api }) => api.images.remove(image(reference, options))),
    setAccess: (reference, change, options) => Effect.map(asked(({ api }) => api.images.access({ ...image(reference, options), payload: change })), ({ record }) => record),
    import: (request) => importing(connection, request),
    export: (reference, options) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { record } = yield* inspect(reference, options)
          yield* write(yield* fetched(connection, record, options.target, options), record, options.format, options.target)
          return record
        })
      )
  })
}
