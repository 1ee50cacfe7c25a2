/**
 * The catalogue in one local file: SQLite in WAL mode with full synchronisation, shared by all processes of the machine.
 *
 * @module
 */
import { stat, statfs } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { type Client, createClient, type Transaction } from "@libsql/client/sqlite3"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isFull, makeDirectory } from "../../core/Disk.js"
import { CatalogError, errorFields, messageOf, storageCode } from "../../core/Errors.js"
import * as Process from "../../core/Process.js"
import { type CatalogServices, type Database, type Dialect, layer as sqlLayer, migrate, said, transaction } from "../sql/index.js"

/** How often it is looked whether another process changed something, while somebody waits for that. */
const LOOK = "200 millis"

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
export const layer = (options: CatalogOptions): Layer.Layer<CatalogServices> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const [opening, forget] = yield* Effect.cachedInvalidateWithTTL(Effect.uninterruptible(Scope.extend(opened(options), scope)), Duration.infinity)
      // One that could not be opened is tried again.
      const clients = Effect.tapError(opening, () => forget)
      const worded = <A>(effect: Effect.Effect<A, SqlError | CatalogError>) => Effect.catchTag(effect, "SqlError", (error) => failed(error, options.stateDirectory))
      const read: Database["read"] = (work) =>
        Effect.flatMap(clients, ({ reader }) => worded(Effect.retry(work(reader), { while: (error) => isBusy(error) || isBusy(error.cause), schedule: patience })))
      return sqlLayer({
        dialect,
        read,
        write: (work) => Effect.flatMap(clients, ({ writer }) => worded(transaction(writer, work(writer)))),
        told: told(read)
      })
    })
  )

const dialect: Dialect = {
  now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
  identity: "INTEGER PRIMARY KEY AUTOINCREMENT",
  integer: "INTEGER",
  text: "TEXT",
  bytes: "BLOB",
  jsonArray: "json_group_array",
  // Who writes is alone.
  forUpdate: "",
  skipLocked: "",
  exclusive: () => Effect.void,
  // They look, see below.
  notify: () => Effect.void,
  numbers: (sql, json) => sql`(SELECT value FROM json_each(${json}))`
}

/** SQLite tells nobody: a number says whether another connection has committed anything, and is cheap to read. */
const told = (read: Database["read"]): Database["told"] =>
  Stream.repeatEffectWithSchedule(
    read((sql) => Effect.map(sql<{ data_version: number }>`PRAGMA data_version`, ([row]) => row?.data_version)),
    Schedule.spaced(LOOK)
  ).pipe(
    Stream.changes,
    Stream.drop(1),
    Stream.map(() => undefined)
  )

/** Opens the file: one client that reads, and one whose transactions write, so that who reads waits for nobody. */
const opened = (options: CatalogOptions) =>
  Effect.gen(function* () {
    const file = yield* prepare(options)
    const { stateDirectory } = options
    return yield* Effect.gen(function* () {
      const client = Effect.flatMap(open(file), (liveClient) => LibsqlClient.make({ liveClient }))
      const writer = yield* client
      yield* transaction(writer, migrate(writer, dialect))
      return { writer, reader: yield* client }
    }).pipe(
      Effect.provide(Reactivity.layer),
      Effect.catchTag("SqlError", (error) => failed(error, stateDirectory)),
      Effect.catchSomeDefect((defect) => Option.some(unusable("The catalogue can't be opened", defect)))
    )
  })

const unusable = (what: string, cause?: unknown, remedy?: string) =>
  new CatalogError(errorFields("STATE_UNUSABLE", what, { cause, ...(remedy === undefined ? {} : { remedy }) }))

/** The fault of a statement. A full disk is told by several codes, and by "I/O error". */
const failed = (error: unknown, directory: string): Effect.Effect<never, CatalogError> =>
  Effect.flatMap(isFull(directory), (full) => {
    const what = said(error)
    return full && /SQLITE_(FULL|IOERR|CANTOPEN)|disk is full|disk I\/O|unable to open/i.test(what)
      ? Effect.fail(new CatalogError(errorFields("STORAGE_FULL", `The catalogue in ${directory} can't be written: ${what}`, { cause: error })))
      : Effect.fail(new CatalogError(errorFields("CATALOG_FAILED", `The catalogue in ${directory} can't be used: ${what}`, { cause: error })))
  })

/**
 * The driver's client with transactions of our own. The driver's connections know no busy timeout; a statement that fails as busy stays open
 * in them and blocks the next commit; the files of a closed connection are left to the garbage collector; and `withTransaction` keeps its
 * permit for ever when a transaction can't begin, so that all others wait. So transactions have a connection of their own, taken patiently,
 * which is kept for the next one, lest files pile up, and closed when anything in it failed; one that can't begin fails with its first
 * statement; and everything that writes does it in a transaction.
 */
const open = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const url = `file:${file}`
      const kept: Kept = { client: undefined }
      const client = Object.assign(createClient({ url }), { transaction: () => patiently(() => begin(url, kept)).catch(notBegun) })
      return { client, kept }
    }),
    ({ client, kept }) =>
      Effect.sync(() => {
        kept.client?.close()
        client.close()
      })
  ).pipe(Effect.map(({ client }) => client))

/** A connection without a transaction; there is one transaction at a time. */
interface Kept {
  client: Client | undefined
}

const begin = async (url: string, kept: Kept): Promise<Transaction> => {
  const client = kept.client ?? createClient({ url })
  kept.client = undefined
  let isSound = true
  const trying = async <A>(f: () => Promise<A>): Promise<A> => {
    try {
      return await f()
    } catch (error) {
      isSound = false
      throw error
    }
  }
  const end = async (statement: "COMMIT" | "ROLLBACK") => {
    try {
      await trying(() => client.execute(statement))
    } finally {
      if (isSound) kept.client = client
      else client.close()
    }
  }
  try {
    await client.execute("BEGIN IMMEDIATE")
  } catch (error) {
    client.close()
    throw error
  }
  return {
    execute: (statement) => trying(() => client.execute(statement)),
    batch: (statements) => trying(() => client.batch(statements)),
    executeMultiple: (text) => trying(() => client.executeMultiple(text)),
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

const trying = <A>(directory: string, f: () => Promise<A>) =>
  Effect.tryPromise({
    try: f,
    catch: (error) => new CatalogError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The state directory ${directory} can't be used: ${messageOf(error)}`, { cause: error }))
  })

/** Refuses a directory in which no catalogue can be kept by this account. */
export const suitable = (directory: string): Effect.Effect<void, CatalogError> =>
  Effect.gen(function* () {
    const found = yield* trying(directory, () => stat(directory))
    const me = process.geteuid?.() ?? 0
    if (found.uid !== me) {
      const account = yield* accountOf(found.uid)
      const remedy = account === undefined ? "Run it as the account that owns it." : `Run it as the account ${account}: runuser -u ${account} -- shifterimg …`
      return yield* unusable(`The state directory ${directory} belongs to uid ${found.uid}, not to uid ${me}`, undefined, remedy)
    }
    if ((found.mode & 0o077) !== 0) return yield* unusable(`The state directory ${directory} is open to others`, undefined, `Run: chmod 0700 ${directory}`)
    const name = refusedFileSystems[Number((yield* trying(directory, () => statfs(directory))).type)]
    if (name !== undefined) {
      return yield* unusable(`The state directory ${directory} is on ${name}, which has no locks that a catalogue can trust`, undefined, "Name a stateDirectory on a local disk.")
    }
  })

/** The file of the catalogue, in a directory that others can't open. */
const prepare = ({ isPersonal = false, stateDirectory: directory }: CatalogOptions): Effect.Effect<string, CatalogError> =>
  Effect.gen(function* () {
    yield* trying(directory, () => makeDirectory(directory, isPersonal))
    yield* suitable(directory)
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
