/**
 * Everything that is kept in a database, in one SQL for all engines.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Audit } from "../../core/Audit.js"
import { Catalog } from "../../core/Catalog.js"
import { ImageIndex } from "../../core/ImageIndex.js"
import { PullQueue } from "../../core/PullQueue.js"
import { Tokens } from "../../core/Tokens.js"
import * as AuditSql from "./Audit.js"
import * as CatalogSql from "./Catalog.js"
import type { Database } from "./Database.js"
import * as ImageIndexSql from "./ImageIndex.js"
import * as PullQueueSql from "./PullQueue.js"
import * as TokensSql from "./Tokens.js"

export type { Database, Dialect } from "./Database.js"
export { causeOf, said, transaction } from "./Errors.js"
export { migrate } from "./Schema.js"

/** What a database keeps: the pulls that run, the index of images, the queue, tokens and the audit log. */
export type CatalogServices = Catalog | ImageIndex | PullQueue | Tokens | Audit

/** The services of a database, which is opened by whoever first asks one of them something. */
export const layer = (database: Database): Layer.Layer<CatalogServices> =>
  Layer.scopedContext(
    Effect.map(PullQueueSql.make(database), (queue) =>
      Context.make(Catalog, CatalogSql.make(database)).pipe(
        Context.add(ImageIndex, ImageIndexSql.make(database)),
        Context.add(PullQueue, queue),
        Context.add(Tokens, TokensSql.make(database)),
        Context.add(Audit, AuditSql.make(database))
      )
    )
  )
