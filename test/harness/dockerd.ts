/**
 * A real Docker daemon on a socket and directories of its own, without network rules.
 *
 * @module
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './process.js'

export interface Dockerd {
  readonly socket: string
  /** Runs `docker` against it. */
  readonly docker: (...args: readonly string[]) => Promise<string>
  readonly stop: () => Promise<void>
}

/** Starts it below a directory; `registries` are reached by plain HTTP. */
export const startDockerd = async (directory: string, registries: readonly string[] = []): Promise<Dockerd> => {
  mkdirSync(directory, { recursive: true })
  const socket = join(directory, 'docker.sock')
  const paths = { 'data-root': 'data', 'exec-root': 'exec', pidfile: 'docker.pid' }
  const child = spawn(
    'dockerd',
    [
      '--bridge=none', '--iptables=false', '--ip6tables=false', `--host=unix://${socket}`,
      ...Object.entries(paths).map(([option, name]) => `--${option}=${join(directory, name)}`),
      ...registries.map((host) => `--insecure-registry=${host}`),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let log = ''
  const closed = new Promise<void>((resolve) => child.once('close', () => { resolve() }))
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => { reject(new Error(`dockerd ended\n${log.slice(-4000)}`)) })
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString()
      if (log.includes('API listen on')) resolve()
    })
  })
  return {
    socket,
    docker: async (...args) => {
      const result = await run(['docker', '--host', `unix://${socket}`, ...args], { timeoutMs: 120_000 })
      if (result.status !== 0) throw new Error(`docker ${args.join(' ')}: ${result.stderr}`)
      return result.stdout
    },
    stop: async () => {
      child.kill('SIGTERM')
      await closed
    },
  }
}
