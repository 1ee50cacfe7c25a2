/**
 * Builds and installs the native programs once, before any test, and removes what the tests made on the machine afterwards.
 *
 * @module
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ensureTestAccounts } from './accounts.js'
import { DEFAULT_PREFIX, installNative, removeNative, SHARED_IMAGE_PATH, SHARED_SITE_VOLUME } from './native.js'

/** One file a run of the tests: the last one to end removes the installation. */
const RUNS = join('/run', `${basename(DEFAULT_PREFIX)}-runs`)

/** Runs that are still going on; what killed ones left is removed. */
const others = (): number =>
  readdirSync(RUNS).filter((pid) => {
    if (existsSync(`/proc/${pid}`)) return true
    rmSync(join(RUNS, pid), { force: true })
    return false
  }).length

export default async (): Promise<() => void> => {
  if (process.getuid?.() !== 0) {
    console.warn('The tests of the setuid helper need root and will fail.')
    return () => undefined
  }
  mkdirSync(RUNS, { recursive: true, mode: 0o700 })
  const mark = join(RUNS, String(process.pid))
  writeFileSync(mark, '')
  const { service } = await ensureTestAccounts()
  const native = await installNative()
  mkdirSync(SHARED_IMAGE_PATH, { recursive: true })
  chmodSync(SHARED_IMAGE_PATH, 0o755)
  chownSync(SHARED_IMAGE_PATH, service.uid, service.gid)
  mkdirSync(SHARED_SITE_VOLUME, { recursive: true })
  writeFileSync(join(SHARED_SITE_VOLUME, 'hello'), 'from the site\n')
  native.configure({ imagePath: SHARED_IMAGE_PATH, imageOwner: service.uid, siteFs: [`${SHARED_SITE_VOLUME}:/site`] })
  return () => {
    rmSync(mark, { force: true })
    // Accounts stay: their numbers may be in the state of tests that were stopped, and making them anew is what takes time.
    if (others() > 0) return
    // With those that test files made for themselves and were stopped before removing.
    for (const name of readdirSync('/opt')) if (name === basename(DEFAULT_PREFIX) || name.startsWith(`${basename(DEFAULT_PREFIX)}-`)) removeNative(join('/opt', name))
  }
}
