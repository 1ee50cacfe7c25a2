/**
 * Temporary directories that go away by themselves.
 *
 * @module
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'

export interface Workspace {
  readonly path: string
  /** A path below the workspace. */
  readonly at: (...parts: readonly string[]) => string
  readonly remove: () => void
}

/** Image paths lie in workspaces, and no node would accept one below `/tmp`, where others can write. */
const WORKSPACES = '/var/lib/shifter-sdk-test/work'

/** Make a temporary directory that every account may enter (tests run programs as several). */
export const makeWorkspace = (name = 'test'): Workspace => {
  mkdirSync(WORKSPACES, { recursive: true, mode: 0o755 })
  const path = mkdtempSync(join(WORKSPACES, `${name}-`))
  chmodSync(path, 0o755)
  return {
    path,
    at: (...parts) => join(path, ...parts),
    remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }),
  }
}

/** Run with a temporary directory that is removed afterwards, whatever happens. */
export const withWorkspace = async <A>(use: (workspace: Workspace) => Promise<A> | A, name?: string): Promise<A> => {
  const workspace = makeWorkspace(name)
  try {
    return await use(workspace)
  } finally {
    workspace.remove()
  }
}

/** A workspace for the tests of the enclosing `describe` or file. */
export const useWorkspace = (name?: string): Workspace => {
  let made: Workspace | undefined
  const get = (): Workspace => {
    if (made === undefined) throw new Error('the workspace exists only while tests run')
    return made
  }
  beforeAll(() => {
    made = makeWorkspace(name)
  })
  afterAll(() => made?.remove())
  return {
    get path() {
      return get().path
    },
    at: (...parts) => get().at(...parts),
    remove: () => made?.remove(),
  }
}
