/** A PostgreSQL server of a test's own: below its workspace, run as the account `postgres`, with its own socket and port. */
import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './ports.js'
import { runOk } from './process.js'

/** Where Debian's packages put the server's programs, which are not in everyone's PATH. */
const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a)) : []
const bin = (program: string) => [...versions.map((version) => `/usr/lib/postgresql/${version}/bin/${program}`), `/usr/local/bin/${program}`].find(existsSync) ?? program

export interface PostgresSettings {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly connections: number
}

export interface PostgresServer {
  /** How a database of it is reached; without a name: its first one. */
  readonly settings: (database?: string) => PostgresSettings
  /** A new, empty database; its name. */
  readonly create: () => Promise<string>
  /** Runs a statement; its rows, columns parted by `|`. */
  readonly execute: (database: string, statement: string) => Promise<readonly string[]>
  /** `immediate`: as if the machine had lost power. */
  readonly restart: (how?: 'fast' | 'immediate') => Promise<void>
  readonly halt: (how?: 'fast' | 'immediate') => Promise<void>
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
}

export interface PostgresOptions {
  /** Certificate and key of the server: connections by TCP are encrypted. */
  readonly tls?: { readonly certificate: string; readonly key: string }
}

/** Starts one below a directory that is there. It must be stopped. */
export const startPostgres = async (directory: string, options: PostgresOptions = {}): Promise<PostgresServer> => {
  const [uid = '', gid = ''] = (await runOk(['sh', '-c', 'id -u postgres; id -g postgres'])).stdout.trim().split('\n')
  const place = join(directory, 'postgres')
  mkdirSync(place, { mode: 0o755 })
  chownSync(place, Number(uid), Number(gid))
  const data = join(place, 'data')
  const asServer = (argv: readonly string[]) => runOk(['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--', ...argv], { env: { PATH: process.env['PATH'], LC_ALL: 'C', PGTZ: 'UTC' }, cwd: '/' })
  writeFileSync(join(place, 'password'), 'sesame:with a colon\n')
  await asServer([bin('initdb'), '-D', data, '-U', 'shifter', '--auth-local=trust', '--auth-host=scram-sha-256', `--pwfile=${join(place, 'password')}`, '--encoding=UTF8', '--no-sync'])
  const port = await freePort()
  const settings = [
    `port = ${port}`,
    `listen_addresses = '127.0.0.1'`,
    `unix_socket_directories = '${place}'`,
    'max_connections = 60',
    'shared_buffers = 16MB',
    ...(options.tls === undefined ? [] : ['ssl = on', `ssl_cert_file = '${options.tls.certificate}'`, `ssl_key_file = '${options.tls.key}'`]),
  ]
  writeFileSync(join(data, 'postgresql.auto.conf'), `${settings.join('\n')}\n`)
  const control = (...words: readonly string[]) => asServer([bin('pg_ctl'), '-D', data, '-l', join(place, 'log'), '-s', '-w', '-t', '60', ...words])
  let running = false
  const start = async () => {
    await control('start')
    running = true
  }
  const halt = async (how: 'fast' | 'immediate' = 'fast') => {
    await control('-m', how, 'stop')
    running = false
  }
  await start()
  const execute = async (database: string, statement: string) =>
    (await runOk([bin('psql'), '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', place, '-p', String(port), '-U', 'shifter', '-d', database, '-c', statement])).stdout.split('\n').filter(Boolean)
  let databases = 0
  return {
    settings: (database = 'postgres') => ({ host: place, port, database, username: 'shifter', connections: 4 }),
    create: async () => {
      const name = `test${databases++}`
      await execute('postgres', `CREATE DATABASE ${name}`)
      return name
    },
    execute,
    restart: async (how) => {
      await halt(how)
      await start()
    },
    halt,
    start,
    stop: async () => {
      if (running) await halt('immediate')
    },
  }
}
