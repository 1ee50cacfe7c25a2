/**
 * Accounts for tests of the setuid helper: a service account that owns images, and two ordinary ones that run programs.
 *
 * @module
 */
import { chmodSync, mkdirSync } from 'node:fs'
import { run, runOk, type ProcessOptions, type ProcessResult } from './process.js'

/** Owns image paths and gateway state. */
export const SERVICE_ACCOUNT = 'shifter-svc'
/** Two ordinary accounts that must not see each other's things. */
export const USER_A = 'shifter-ta'
export const USER_B = 'shifter-tb'
export const TEST_ACCOUNTS = [SERVICE_ACCOUNT, USER_A, USER_B] as const

const HOMES = '/var/lib/shifter-sdk-test/home'
/** useradd and userdel take no two at once; test files run side by side. */
const ACCOUNT_LOCK = '/run/lock/shifter-sdk-test-accounts.lock'

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

const lookUp = async (name: string): Promise<Account | undefined> => {
  const { status, stdout } = await run(['getent', 'passwd', name])
  const [found, , uid, gid, , home] = stdout.trim().split(':')
  if (status !== 0 || found === undefined || home === undefined) return undefined
  return { name: found, uid: Number(uid), gid: Number(gid), home }
}

/** Make an account with a home directory, or find the one an earlier run made. */
export const ensureAccount = async (name: string): Promise<Account> => {
  mkdirSync(HOMES, { recursive: true, mode: 0o755 })
  chmodSync(HOMES, 0o755)
  const home = `${HOMES}/${name}`
  // Asked under the lock: another test file may be making the same one.
  await runOk([
    'flock', ACCOUNT_LOCK, 'sh', '-c',
    'getent passwd "$1" >/dev/null || useradd --system --user-group --create-home --home-dir "$2" --shell /bin/sh "$1"',
    'sh', name, home,
  ])
  const account = await lookUp(name)
  if (account === undefined) throw new Error(`useradd made no account ${name}`)
  return account
}

/** All three accounts. */
export const ensureTestAccounts = async (): Promise<{
  readonly service: Account
  readonly userA: Account
  readonly userB: Account
}> => ({
  service: await ensureAccount(SERVICE_ACCOUNT),
  userA: await ensureAccount(USER_A),
  userB: await ensureAccount(USER_B),
})

/** Remove an account made by {@link ensureAccount}, with its home. */
export const removeAccount = async (name: string): Promise<void> => {
  if (!(TEST_ACCOUNTS as readonly string[]).includes(name)) throw new Error(`not an account of the tests: ${name}`)
  await runOk(['flock', ACCOUNT_LOCK, 'sh', '-c', '! getent passwd "$1" >/dev/null || userdel --remove "$1" 2>&1', 'sh', name])
}

export interface RunAsOptions extends Omit<ProcessOptions, 'env'> {
  /** Set on top of a fresh login-like environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Supplementary groups by number, instead of the account's own. */
  readonly groups?: readonly number[] | undefined
}

/** Run a program as an account, from `/` (the checkout may lie where only root can go), with nothing of root's environment. */
export const runAs = (account: Account, argv: readonly string[], options: RunAsOptions = {}): Promise<ProcessResult> => {
  const { env = {}, groups, ...rest } = options
  const groupOption =
    groups === undefined ? '--init-groups' : groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`
  return run(
    [
      'setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, groupOption, '--inh-caps=-all', '--reset-env',
      'env', ...Object.entries(env).map(([key, value]) => `${key}=${value}`), ...argv,
    ],
    { cwd: '/', ...rest },
  )
}
