/**
 * The tables, their version, and how those of an older one become these.
 *
 * @module
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { CatalogError, errorFields } from "../../core/Errors.js"
import type { Dialect } from "./Database.js"

/** Pulls that run, and the blobs they use. */
const version1 = ({ identity, integer, text }: Dialect): ReadonlyArray<string> => [
  `CREATE TABLE pulls (
    id ${identity},
    token ${text} NOT NULL,
    system ${text} NOT NULL,
    reference ${text} NOT NULL,
    requester ${integer} NOT NULL,
    image_id ${text},
    state ${text} NOT NULL,
    phase ${text} NOT NULL,
    lease_until ${integer} NOT NULL,
    code ${text},
    what ${text},
    changed ${integer} NOT NULL
  )`,
  // Single flight: one conversion of an image for a system.
  "CREATE UNIQUE INDEX pulls_conversion ON pulls (system, image_id) WHERE state = 'active' AND image_id IS NOT NULL",
  `CREATE TABLE blob_uses (pull ${integer} NOT NULL, blob ${text} NOT NULL, PRIMARY KEY (blob, pull))`
]

/** What a gateway service keeps: the queue, the index of images, tokens and the audit log. */
const version2 = ({ bytes, identity, integer, text }: Dialect): ReadonlyArray<string> => [
  `CREATE TABLE queue (
    seq ${identity},
    id ${text} NOT NULL UNIQUE,
    key ${text} NOT NULL,
    system ${text} NOT NULL,
    reference ${text} NOT NULL,
    uid ${integer} NOT NULL,
    registry ${text} NOT NULL,
    lane ${text} NOT NULL,
    request ${text} NOT NULL,
    holder ${text},
    state ${text} NOT NULL,
    attempts ${integer} NOT NULL,
    not_before ${integer} NOT NULL,
    created ${integer} NOT NULL,
    changed ${integer} NOT NULL,
    lease ${text},
    lease_until ${integer},
    image_id ${text},
    code ${text},
    what ${text},
    remedy ${text},
    progress ${text}
  )`,
  // Orders of one key are one pull.
  "CREATE UNIQUE INDEX queue_key ON queue (key) WHERE state IN ('waiting', 'running')",
  // A lane is a user and a registry: its oldest pull, and the next lane, are each one step away.
  "CREATE INDEX queue_lane ON queue (lane, seq, not_before, holder) WHERE state = 'waiting'",
  "CREATE INDEX queue_holder ON queue (holder) WHERE state = 'waiting' AND holder IS NOT NULL",
  "CREATE INDEX queue_running ON queue (lease_until, uid, registry) WHERE state = 'running'",
  "CREATE INDEX queue_open ON queue (state, system, seq) WHERE state IN ('waiting', 'running')",
  "CREATE INDEX queue_reference ON queue (system, reference, seq)",
  "CREATE INDEX queue_changed ON queue (changed)",
  `CREATE TABLE queue_askers (seq ${integer} NOT NULL, uid ${integer} NOT NULL, asked ${integer} NOT NULL, wants ${integer} NOT NULL, PRIMARY KEY (seq, uid))`,
  "CREATE INDEX queue_askers_uid ON queue_askers (uid, seq)",
  `CREATE TABLE runners (name ${text} PRIMARY KEY, alive_until ${integer} NOT NULL)`,

  `CREATE TABLE images (
    system ${text} NOT NULL,
    id ${text} NOT NULL,
    record ${bytes} NOT NULL,
    is_public ${integer} NOT NULL,
    owner ${integer} NOT NULL,
    published ${integer} NOT NULL,
    changed ${integer} NOT NULL,
    used ${integer} NOT NULL,
    expires ${integer},
    unnamed ${integer},
    scrubbed ${integer},
    damage ${text},
    PRIMARY KEY (system, id)
  )`,
  "CREATE INDEX images_unnamed ON images (system, id) WHERE unnamed IS NOT NULL",
  "CREATE INDEX images_expires ON images (system, expires) WHERE expires IS NOT NULL",
  // Whether an image is public and whose it is stand beside its names too, so that a page finds in one index what it may tell.
  `CREATE TABLE image_names (
    system ${text} NOT NULL,
    name ${text} NOT NULL,
    id ${text} NOT NULL,
    is_public ${integer} NOT NULL,
    owner ${integer} NOT NULL,
    changed ${integer} NOT NULL,
    PRIMARY KEY (system, name)
  )`,
  "CREATE INDEX image_names_id ON image_names (system, id)",
  // The access lists. A group's number has 2³² added, so that users and groups are one list.
  `CREATE TABLE image_access (system ${text} NOT NULL, id ${text} NOT NULL, who ${integer} NOT NULL, PRIMARY KEY (system, who, id))`,
  "CREATE INDEX image_access_id ON image_access (system, id)",
  `CREATE TABLE image_pins (system ${text} NOT NULL, id ${text} NOT NULL, uid ${integer} NOT NULL, PRIMARY KEY (system, id, uid))`,
  // What was removed lately: a listing of the image path that began before may still show it.
  `CREATE TABLE image_gone (system ${text} NOT NULL, name ${text} NOT NULL, gone ${integer} NOT NULL, PRIMARY KEY (system, name))`,

  `CREATE TABLE tokens (
    id ${text} PRIMARY KEY,
    hash ${text} NOT NULL UNIQUE,
    label ${text} NOT NULL,
    uid ${integer} NOT NULL,
    scopes ${text} NOT NULL,
    systems ${text} NOT NULL,
    created ${integer} NOT NULL,
    expires ${integer} NOT NULL,
    used ${integer}
  )`,
  "CREATE INDEX tokens_uid ON tokens (uid)",

  `CREATE TABLE audit (
    id ${identity},
    entry ${text} NOT NULL UNIQUE,
    time ${integer} NOT NULL,
    action ${text} NOT NULL,
    uid ${integer},
    shown_by ${text} NOT NULL,
    system ${text},
    reference ${text},
    image_id ${text},
    digest ${text},
    why ${text} NOT NULL
  )`,
  "CREATE INDEX audit_time ON audit (time)",
  "CREATE INDEX audit_uid ON audit (uid, id)",
  "CREATE INDEX audit_system ON audit (system, id)",
  "CREATE INDEX audit_action ON audit (action, id)"
]

const versions = [version1, version2]

/** Makes the tables, or those that an older version lacks, in the transaction that it is called in. Refuses those of a newer one. */
export const migrate = (sql: SqlClient.SqlClient, dialect: Dialect): Effect.Effect<void, SqlError | CatalogError> =>
  Effect.gen(function* () {
    yield* dialect.exclusive(sql, "schema")
    yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS catalog_version (version ${dialect.integer} NOT NULL)`)
    const [found] = yield* sql<{ version: number }>`SELECT version FROM catalog_version`
    const version = found?.version ?? 0
    if (version > versions.length) {
      return yield* new CatalogError(
        errorFields("CATALOG_FAILED", `The catalogue has version ${version}; up to ${versions.length} is understood`, { remedy: "Update this program." })
      )
    }
    for (const statements of versions.slice(version)) {
      for (const statement of statements(dialect)) yield* sql.unsafe(statement)
    }
    if (found === undefined) yield* sql`INSERT INTO catalog_version (version) VALUES (${versions.length})`
    else if (version < versions.length) yield* sql`UPDATE catalog_version SET version = ${versions.length}`
  })
