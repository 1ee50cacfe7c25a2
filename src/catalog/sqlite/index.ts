/**
 * The catalogue in one local file: SQLite in WAL mode with full synchronisation, shared by all processes of the machine.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { stat, statfs } from "node:fs/promises"
import * as nodePath from "node:path"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import { createClient, type Transaction } from "@libsql/client/sqlite3"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { Catalog, fetchMillis, type GonePull, leaseMillis, type PullState, retryMillis } from "../../core/Catalog.js"
import { isFull, makeDirectory } from "../../core/Disk.js"
import { CatalogError, errorFields, messageOf, printable, storageCode } from "../../core/Errors.js"
import * as Process from "../../core/Process.js"
import { phases } from "../../core/Progress.js"

/** Version of the tables. A file of a newer one is refused. */
const SCHEMA_VERSION = 1

/** File systems without the locks that SQLite needs, by the magic number of statfs(2). */
const refusedFileSystems: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0x65735546: "FUSE",
  0x0bd00bd0: "Lustre",
  0x47504653: "GPFS",
  0x19830326: "BeeGFS",
  0x00c36400: "Ceph",
  0x517b: "SMB",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB2",
  0x5346414f: "AFS",
  0x01021997: "9p"
}

/** Where the catalogue is. */
export interface CatalogOptions {
  /** A local directory of mode 0700; made when only it is missing. */
  readonly stateDirectory: string
  /** A person's own: directories above are made too. */
  readonly isPersonal?: boolean | undefined
}

/** The catalogue of a state directory. It is opened by whoever first asks it something, so that nothing is made for those who never do. */
export const layer = (options: CatalogOptions): Layer.Layer<Catalog> =>
  Layer.scoped(
    Catalog,
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const [opened, forget] = yield* Effect.cachedInvalidateWithTTL(
        Effect.uninterruptible(Effect.map(Layer.buildWithScope(layerNow(options), scope), Context.get(Catalog))),
        Duration.infinity
      )
      // One that could not be opened is tried again.
      const catalog = Effect.tapError(opened, () => forget)
      return Catalog.of({
        begin: (request) => Effect.flatMap(catalog, (open) => open.begin(request)),
        claim: (pull, imageId) => Effect.flatMap(catalog, (open) => open.claim(pull, imageId)),
        renew: (pull) => Effect.flatMap(catalog, (open) => open.renew(pull)),
        enter: (pull, phase) => Effect.flatMap(catalog, (open) => open.enter(pull, phase)),
        end: (pull, state) => Effect.flatMap(catalog, (open) => open.end(pull, state)),
        state: (pull) => Effect.flatMap(catalog, (open) => open.state(pull)),
        reap: Effect.flatMap(catalog, (open) => open.reap),
        reaped: (pull) => Effect.flatMap(catalog, (open) => open.reaped(pull)),
        useBlobs: (pull, blobs) => Effect.flatMap(catalog, (open) => open.useBlobs(pull, blobs)),
        releaseBlobs: (pull) => Effect.flatMap(catalog, (open) => open.releaseBlobs(pull)),
        unused: (blobs, f) => Effect.flatMap(catalog, (open) => open.unused(blobs, f))
      })
    })
  )

const layerNow = (options: CatalogOptions): Layer.Layer<Catalog, CatalogError> =>
  Layer.unwrapEffect(
    Effect.map(prepare(options), (file) =>
      Layer.effect(Catalog, make(options.stateDirectory)).pipe(
        Layer.provide(Layer.unwrapScoped(Effect.map(open(file), (liveClient) => LibsqlClient.layer({ liveClient })))),
        Layer.mapError((error) => (error._tag === "CatalogError" ? error : unusable("The catalogue can't be opened", error)))
      )
    )
  )

const unusable = (what: string, cause?: unknown, remedy?: string) =>
  new CatalogError(errorFields("STATE_UNUSABLE", what, { cause, ...(remedy === undefined ? {} : { remedy }) }))

/** The fault of a statement. A full disk is told by several codes, and by "I/O error". */
const failed = (error: unknown, directory: string): Effect.Effect<never, CatalogError> =>
  Effect.flatMap(isFull(directory), (full) => {
    const causes = [error, typeof error === "object" && error !== null && "cause" in error ? error.cause : undefined].map((each) => (each === undefined ? "" : messageOf(each)))
    const said = printable(causes.filter(Boolean).join(": "))
    return full && /SQLITE_(FULL|IOERR|CANTOPEN)|disk is full|disk I\/O|unable to open/i.test(said)
      ? Effect.fail(new CatalogError(errorFields("STORAGE_FULL", `The catalogue in ${directory} can't be written: ${said}`, { cause: error })))
      : Effect.fail(new CatalogError(errorFields("CATALOG_FAILED", `The catalogue in ${directory} can't be used: ${said}`, { cause: error })))
  })

/**
 * The driver's client with transactions of our own. The driver's connections know no busy timeout; a statement that fails as busy stays open
 * in them and blocks the next commit; connections of ended transactions are left to the garbage collector; and `withTransaction` keeps its
 * permit for ever when a transaction can't begin, so that all others wait. So each transaction has a connection, taken patiently and closed at
 * its end; one that can't begin fails with its first statement; and everything that writes does it in a transaction.
 */
const open = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const url = `file:${file}`
      return Object.assign(createClient({ url }), { transaction: () => patiently(() => begin(url)).catch(notBegun) })
    }),
    (client) => Effect.sync(() => client.close())
  )

const begin = async (url: string): Promise<Transaction> => {
  const client = createClient({ url })
  const end = async (statement: "COMMIT" | "ROLLBACK") => {
    try {
      await client.execute(statement)
    } finally {
      client.close()
    }
  }
  try {
    await client.execute("BEGIN IMMEDIATE")
  } catch (error) {
    client.close()
    throw error
  }
  return {
    execute: (statement) => client.execute(statement),
    batch: (statements) => client.batch(statements),
    executeMultiple: (text) => client.executeMultiple(text),
    commit: () => end("COMMIT"),
    // A full disk has rolled it back already; closing does in any case.
    rollback: () => end("ROLLBACK").catch(() => undefined),
    close: () => client.close(),
    get closed() {
      return client.closed
    }
  }
}

const notBegun = (error: unknown): Transaction => {
  const refuse = () => Promise.reject(error instanceof Error ? error : new Error(String(error)))
  const nothing = () => undefined
  return { execute: refuse, batch: refuse, executeMultiple: refuse, commit: refuse, rollback: () => Promise.resolve(), close: nothing, closed: true }
}

const patiently = async <A>(f: () => Promise<A>): Promise<A> =>
  Either.getOrThrowWith(
    await Effect.runPromise(Effect.either(Effect.tryPromise({ try: f, catch: (error) => error }).pipe(Effect.retry({ while: isBusy, schedule: patience })))),
    (error) => error
  )

const isBusy = (error: unknown): boolean => /SQLITE_BUSY|database is locked/.test(messageOf(error))

/** Tries for some 20 seconds, 0.02 to 0.25 seconds apart. */
const patience = Schedule.exponential("20 millis").pipe(
  Schedule.union(Schedule.spaced("250 millis")),
  Schedule.jittered,
  Schedule.upTo("20 seconds")
)

/** The file of the catalogue, in a directory that others can't open. */
const prepare = ({ isPersonal = false, stateDirectory: directory }: CatalogOptions): Effect.Effect<string, CatalogError> =>
  Effect.gen(function* () {
    const trying = <A>(f: () => Promise<A>) =>
      Effect.tryPromise({
        try: f,
        catch: (error) => new CatalogError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The state directory ${directory} can't be used: ${messageOf(error)}`, { cause: error }))
      })
    yield* trying(() => makeDirectory(directory, isPersonal))
    const found = yield* trying(() => stat(directory))
    const me = process.geteuid?.() ?? 0
    if (found.uid !== me) {
      const account = yield* accountOf(found.uid)
      const remedy = account === undefined ? "Run it as the account that owns it." : `Run it as the account ${account}: runuser -u ${account} -- shifterimg …`
      return yield* unusable(`The state directory ${directory} belongs to uid ${found.uid}, not to uid ${me}`, undefined, remedy)
    }
    if ((found.mode & 0o077) !== 0) return yield* unusable(`The state directory ${directory} is open to others`, undefined, `Run: chmod 0700 ${directory}`)
    const name = refusedFileSystems[Number((yield* trying(() => statfs(directory))).type)]
    if (name !== undefined) {
      return yield* unusable(`The state directory ${directory} is on ${name}, which has no locks that a catalogue can trust`, undefined, "Name a stateDirectory on a local disk.")
    }
    const file = nodePath.join(directory, "catalog.db")
    const journalled = async () => {
      const client = createClient({ url: `file:${file}` })
      try {
        await client.execute("PRAGMA journal_mode = WAL")
      } finally {
        client.close()
      }
    }
    yield* Effect.tryPromise({ try: () => patiently(journalled), catch: (error) => error }).pipe(Effect.catchAll((error) => failed(error, directory)))
    return file
  })

/** The name of an account, where the system knows one. */
const accountOf = (uid: number): Effect.Effect<string | undefined> =>
  Process.output("getent", ["passwd", String(uid)]).pipe(
    Effect.map(({ stdout }) => /^([A-Za-z0-9_][A-Za-z0-9_.-]*):/.exec(stdout)?.[1]),
    Effect.orElseSucceed(() => undefined)
  )

const make = (directory: string) => Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const worded = <A>(effect: Effect.Effect<A, SqlError | CatalogError>): Effect.Effect<A, CatalogError> =>
    Effect.catchTag(effect, "SqlError", (error) => failed(error, directory))
  // The client takes a commit that fails for a defect.
  const transaction = <A, E>(effect: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
    Effect.catchSomeDefect(sql.withTransaction(effect), (defect) => (defect instanceof SqlError ? Option.some(Effect.fail(defect)) : Option.none()))
  const written = <A extends object>(statement: Effect.Effect<ReadonlyArray<A>, SqlError>) => worded(transaction(statement))
  // The database's clock: one for all processes.
  const now = sql.literal("CAST(unixepoch('subsec') * 1000 AS INTEGER)")
  const isAlive = sql`state = 'active' AND lease_until > ${now}`

  yield* worded(
    transaction(
      Effect.gen(function* () {
        yield* sql`CREATE TABLE IF NOT EXISTS catalog_version (version INTEGER NOT NULL)`
        const found = yield* sql<{ version: number }>`SELECT version FROM catalog_version`
        const version = found[0]?.version
        if (version !== undefined && version > SCHEMA_VERSION) {
          return yield* new CatalogError(
            errorFields("CATALOG_FAILED", `The catalogue has version ${version}; up to ${SCHEMA_VERSION} is understood`, { remedy: "Update this program." })
          )
        }
        yield* sql`CREATE TABLE IF NOT EXISTS pulls (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          token TEXT NOT NULL,
          system TEXT NOT NULL,
          reference TEXT NOT NULL,
          requester INTEGER NOT NULL,
          image_id TEXT,
          state TEXT NOT NULL,
          phase TEXT NOT NULL,
          lease_until INTEGER NOT NULL,
          code TEXT,
          what TEXT,
          changed INTEGER NOT NULL
        )`
        // Single flight: one conversion of an image for a system.
        yield* sql`CREATE UNIQUE INDEX IF NOT EXISTS pulls_conversion ON pulls (system, image_id) WHERE state = 'active' AND image_id IS NOT NULL`
        yield* sql`CREATE TABLE IF NOT EXISTS blob_uses (pull INTEGER NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (blob, pull))`
        if (version === undefined) yield* sql`INSERT INTO catalog_version (version) VALUES (${SCHEMA_VERSION})`
      })
    )
  )

  return Catalog.of({
    begin: (request) =>
      written(
        sql<{ id: number; token: string }>`INSERT INTO pulls (token, system, reference, requester, state, phase, lease_until, changed)
          VALUES (${randomBytes(16).toString("hex")}, ${request.system}, ${request.reference}, ${request.requester}, 'active', 'resolve', ${now} + ${leaseMillis}, ${now})
          RETURNING id, token`
      ).pipe(Effect.flatMap(([row]) => (row === undefined ? failed(new Error("no row was made"), directory) : Effect.succeed(row)))),

    claim: (pull, imageId) =>
      worded(
        transaction(
          Effect.gen(function* () {
            // Its process sees that its lease is gone, at the latest where it would publish; what that leaves, a reaper removes.
            yield* sql`UPDATE pulls SET state = 'reaping', lease_until = ${now} + ${leaseMillis}, changed = ${now} WHERE id IN (SELECT p.id FROM pulls p, pulls mine
              WHERE mine.id = ${pull.id} AND p.system = mine.system AND p.image_id = ${imageId} AND p.state = 'active' AND p.id <> mine.id
              AND p.phase = 'fetch' AND p.changed < ${now} - ${fetchMillis} AND p.reference <> mine.reference)`
            const [other] = yield* sql<{ id: number; same: number }>`SELECT p.id, p.reference = mine.reference AND p.requester = mine.requester AS same
              FROM pulls p, pulls mine
              WHERE mine.id = ${pull.id} AND p.system = mine.system AND p.image_id = ${imageId} AND p.state = 'active' AND p.id <> mine.id`
            if (other !== undefined) return { _tag: "Theirs", pull: other.id, isSameRequest: other.same === 1 } as const
            const mine = yield* sql`UPDATE pulls SET image_id = ${imageId}, lease_until = ${now} + ${leaseMillis} WHERE id = ${pull.id} AND state = 'active' RETURNING id`
            return mine.length === 1 ? ({ _tag: "Mine" } as const) : yield* new CatalogError(errorFields("LEASE_LOST", "This pull was silent for too long"))
          })
        )
      ),

    renew: (pull) =>
      written(sql`UPDATE pulls SET lease_until = ${now} + ${leaseMillis} WHERE id = ${pull.id} AND ${isAlive} RETURNING id`).pipe(Effect.map((found) => found.length === 1)),

    enter: (pull, phase) =>
      written(
        sql`UPDATE pulls SET phase = ${phase}, lease_until = ${now} + ${leaseMillis}, changed = ${now} WHERE id = ${pull.id} AND ${isAlive} RETURNING id`
      ).pipe(Effect.map((found) => found.length === 1)),

    end: (pull, state) =>
      written(
        sql`UPDATE pulls SET state = ${state._tag.toLowerCase()}, code = ${state._tag === "Failed" ? state.code : null},
          what = ${state._tag === "Failed" ? state.what : null}, changed = ${now} WHERE id = ${pull.id} AND state = 'active'`
      ).pipe(Effect.asVoid),

    state: (pull) =>
      worded(
        Effect.retry(sql<{ state: string; phase: string; code: string | null; what: string | null; overdue: number }>`SELECT state, phase, code, what, lease_until <= ${now} AS overdue FROM pulls WHERE id = ${pull}`, {
          while: (error) => isBusy(error) || isBusy(error.cause),
          schedule: patience
        })
      ).pipe(
        Effect.map(([row]): PullState => {
          switch (row?.state) {
            case "active":
              return { _tag: "Active", phase: phases.find((phase) => phase === row.phase) ?? "resolve", isOverdue: row.overdue === 1 }
            case "done":
              return { _tag: "Done" }
            case "failed":
              return { _tag: "Failed", code: row.code ?? "", what: row.what ?? "" }
            default:
              return { _tag: "Abandoned" }
          }
        })
      ),

    reap: worded(
      transaction(
        Effect.gen(function* () {
          // Ended rows are kept for a while, then forgotten with the blobs they held on to.
          yield* sql`DELETE FROM pulls WHERE state <> 'active' AND changed < ${now} - ${retryMillis}`
          yield* sql`DELETE FROM blob_uses WHERE pull NOT IN (SELECT id FROM pulls)`
          // The lease is now the reaper's: when he dies too, the next one removes what is left.
          return yield* sql<GonePull>`UPDATE pulls SET changed = CASE state WHEN 'active' THEN ${now} ELSE changed END, state = 'reaping', lease_until = ${now} + ${leaseMillis}
            WHERE state IN ('active', 'reaping') AND lease_until <= ${now} RETURNING id, token, system`
        })
      )
    ),

    reaped: (pull) => written(sql`UPDATE pulls SET state = 'abandoned' WHERE id = ${pull.id} AND state = 'reaping'`).pipe(Effect.asVoid),

    useBlobs: (pull, blobs) =>
      worded(
        transaction(
          Effect.gen(function* () {
            for (const blob of blobs) yield* sql`INSERT INTO blob_uses (pull, blob) VALUES (${pull.id}, ${blob}) ON CONFLICT DO NOTHING`
          })
        )
      ),

    releaseBlobs: (pull) =>
      worded(
        transaction(
          Effect.gen(function* () {
            yield* sql`DELETE FROM blob_uses WHERE pull = ${pull.id}`
            // Earlier tries of the same image have no further use for theirs.
            yield* sql`DELETE FROM blob_uses WHERE pull IN (SELECT p.id FROM pulls p, pulls mine
              WHERE mine.id = ${pull.id} AND p.state <> 'active' AND p.system = mine.system
              AND (p.image_id = mine.image_id OR p.reference = mine.reference))`
          })
        )
      ),

    unused: (blobs, f) =>
      worded(
        transaction(
          Effect.gen(function* () {
            const used = new Set((yield* sql<{ blob: string }>`SELECT DISTINCT blob FROM blob_uses`).map(({ blob }) => blob))
            for (const blob of blobs) if (!used.has(blob)) yield* f(blob)
          })
        )
      )
  })
})
