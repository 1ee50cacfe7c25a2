/** A munge daemon of a test's own: its key, socket and all it writes lie below a directory of the test. One is one system. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Account, runAs } from './accounts.js'
import { runOk } from './process.js'

export interface Munge {
  readonly socket: string
  /** A credential of root, or of an account. */
  readonly credential: (payload?: string, options?: { readonly as?: Account; readonly ttl?: number }) => Promise<string>
  readonly stop: () => Promise<void>
}

/** Starts a daemon below a directory that everyone may enter. It is ready when this returns. */
export const startMunge = async (directory: string): Promise<Munge> => {
  mkdirSync(directory, { recursive: true, mode: 0o755 })
  const at = (name: string) => join(directory, name)
  const socket = at('socket')
  writeFileSync(at('key'), randomBytes(128), { mode: 0o600 })
  // It goes with the tests, also with those that are killed.
  const daemon = spawn('setpriv', [
    '--pdeathsig=TERM', 'munged', '--foreground', '--force', '--num-threads=2', `--key-file=${at('key')}`, `--socket=${socket}`, `--pid-file=${at('pid')}`, `--seed-file=${at('seed')}`,
  ], { stdio: ['ignore', 'ignore', 'pipe'] })
  await listening(daemon)
  chmodSync(directory, 0o755)
  return {
    socket,
    credential: async (payload = '', { as, ttl } = {}) => {
      const argv = ['munge', '--socket', socket, ...(ttl === undefined ? [] : [`--ttl=${ttl}`])]
      const { status, stderr, stdout } = as === undefined ? await runOk(argv, { input: payload }) : await runAs(as, argv, { input: payload })
      if (status !== 0) throw new Error(`munge ended with ${status}: ${stderr}`)
      return stdout.trim()
    },
    stop: () =>
      new Promise((resolve) => {
        if (daemon.exitCode !== null || daemon.signalCode !== null) return resolve()
        daemon.once('close', () => resolve())
        daemon.kill('SIGTERM')
      }),
  }
}

/** It says so when its threads wait for work. */
const listening = (daemon: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    let said = ''
    daemon.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (/Created \d+ work thread/.test(said)) resolve()
    })
    daemon.once('error', reject).once('close', () => reject(new Error(`munged ended: ${said}`)))
  })
