/** Databases of both engines for tests of what is kept in them. */
import { join } from 'node:path'
import { createClient } from '@libsql/client/sqlite3'
import type * as Context from 'effect/Context'
import * as Effect from 'effect/Effect'
import * as Layer from 'effect/Layer'
import type * as Scope from 'effect/Scope'
import { type CatalogServices, postgresCatalog, sqliteCatalog } from 'shifter-sdk'
import type { PostgresServer } from './postgres.js'

export interface TestDatabase {
  /** A client of it; every one that is built is another process's, as far as it knows. */
  readonly layer: () => Layer.Layer<CatalogServices>
  /** Runs a statement beside them; its rows, columns parted by `|`. */
  readonly execute: (statement: string) => Promise<readonly string[]>
}

export const sqliteDatabase = (stateDirectory: string): TestDatabase => ({
  layer: () => sqliteCatalog({ stateDirectory }),
  execute: async (statement) => {
    const client = createClient({ url: `file:${join(stateDirectory, 'catalog.db')}` })
    try {
      const { columns, rows } = await client.execute(statement)
      return rows.map((row) => columns.map((_, i) => (typeof row[i] === 'object' ? '' : String(row[i]))).join('|'))
    } finally {
      client.close()
    }
  },
})

export const postgresDatabase = async (server: PostgresServer): Promise<TestDatabase> => {
  const name = await server.create()
  return { layer: () => postgresCatalog(server.settings(name)), execute: (statement) => server.execute(name, statement) }
}

/** Uses the services of a client of its own, until what it does with them ends. */
export const using = <A, E>(database: TestDatabase, work: Effect.Effect<A, E, CatalogServices | Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.provide(Effect.scoped(work), database.layer()))

/** The services of another client, for as long as the scope lasts. */
export const client = (database: TestDatabase): Effect.Effect<Context.Context<CatalogServices>, never, Scope.Scope> => Layer.build(database.layer())
