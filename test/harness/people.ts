/**
 * The accounts of the tests, looked up once: who owns images, and two ordinary users.
 *
 * @module
 */
import { chmodSync, chownSync } from 'node:fs'
import { type Account, ensureTestAccounts } from './accounts.js'

export const { service, userA, userB } = await ensureTestAccounts()

/** Give a file or directory to an account, with a mode. */
export const own = (path: string, account: Pick<Account, 'uid' | 'gid'>, mode: number): void => {
  chownSync(path, account.uid, account.gid)
  chmodSync(path, mode)
}

/** In front of a command that root starts: who runs it. */
export const becoming = (account: Account): readonly string[] => ['setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, '--init-groups', '--inh-caps=-all', '--']
