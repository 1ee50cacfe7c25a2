/** Describes something for both engines of the catalogue. */
import { afterAll, beforeAll, describe } from 'vitest'
import { postgresDatabase, sqliteDatabase, type TestDatabase } from './database.js'
import { type PostgresServer, startPostgres } from './postgres.js'
import { useWorkspace, type Workspace } from './workspace.js'

/** A server that runs while the tests of the enclosing `describe` or file do. */
export const usePostgres = (work: Workspace): { readonly server: () => PostgresServer } => {
  let server: PostgresServer | undefined
  beforeAll(async () => { server = await startPostgres(work.path) })
  afterAll(() => server?.stop())
  return {
    server: () => {
      if (server === undefined) throw new Error('the server runs only while tests do')
      return server
    },
  }
}

/** Runs the same tests over SQLite and PostgreSQL; `made` gives a new database. */
export const describeEngines = (name: string, tests: (made: () => Promise<TestDatabase>, engine: 'SQLite' | 'PostgreSQL') => void): void => {
  describe(`${name} (SQLite)`, () => {
    const work = useWorkspace('sqlite')
    let count = 0
    tests(() => Promise.resolve(sqliteDatabase(work.at(`state${count++}`))), 'SQLite')
  })
  describe(`${name} (PostgreSQL)`, () => {
    const work = useWorkspace('postgres')
    const postgres = usePostgres(work)
    tests(() => postgresDatabase(postgres.server()), 'PostgreSQL')
  })
}
