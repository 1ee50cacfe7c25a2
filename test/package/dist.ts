/**
 * The built package, for tests that use it as users do.
 *
 * @module
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runOk } from '../harness/process.js'

export const repository = fileURLToPath(new URL('../..', import.meta.url))

const newest = (path: string): number => {
  const stat = statSync(path)
  return stat.isDirectory() ? Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name)))) : stat.mtimeMs
}

/** Whether every built file is there and newer than what it is made of. */
const isBuilt = (): boolean => {
  const made = ['index.js', 'index.cjs', 'index.d.ts', 'index.d.cts', 'bin/shifterimg.js'].map((name) => join(repository, 'dist', name))
  if (!made.every((file) => existsSync(file))) return false
  const sources = ['src', 'examples/shifterimg', 'formats', 'tsup.config.ts'].map((name) => newest(join(repository, name)))
  return Math.max(...sources) <= Math.min(...made.map((file) => statSync(file).mtimeMs))
}

/** Builds the package where that is needed. Test files run side by side: one builds, the others find it done. */
export const built = async (): Promise<void> => {
  if (isBuilt()) return
  const lock = join(repository, 'tsup.config.ts')
  await runOk(['flock', lock, 'sh', '-c', '[ -n "$(find dist/index.d.cts -newermt "$SINCE" 2>/dev/null)" ] || npx --no-install tsup --silent'], {
    cwd: repository,
    env: { ...process.env, SINCE: new Date().toISOString() },
    timeoutMs: 180_000,
  })
}
