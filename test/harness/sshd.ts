/**
 * A real sshd (package openssh-server) on a port of 127.0.0.1, with a host key and accounts' keys of its own; and a line to it that can be cut.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { freePort } from './ports.js'
import { runOk } from './process.js'
import { makeWorkspace } from './workspace.js'

export interface Sshd {
  readonly port: number
  /** A private key that it lets in, of mode 0600. */
  readonly keyFile: string
  /** Its host key as a line of a file of known hosts says it: type and key. */
  readonly hostKey: string
  /** A file of known hosts with its key, and the ports of lines to it. */
  readonly knownHosts: string
  /** Says its key of a further port. */
  readonly know: (port: number) => void
  /** What it has logged. */
  readonly log: () => string
  /** Ends it with its connections, as a host that is switched off. */
  readonly stop: () => Promise<void>
}

export interface SshdOptions {
  /** Further lines of `sshd_config`. */
  readonly lines?: readonly string[]
  /** The port of one that is stopped. */
  readonly port?: number
  /** Keys of one that is stopped: it is the same host again. */
  readonly as?: Sshd
}

const started = (child: ChildProcess, log: { text: string }): Promise<boolean> =>
  new Promise((resolve) => {
    child.once('close', () => { resolve(false) })
    child.stderr?.on('data', (chunk: Buffer) => {
      log.text += chunk.toString()
      if (/Server listening on 127\.0\.0\.1/.test(log.text)) resolve(true)
    })
  })

/** Starts an sshd. It listens when this resolves. */
export const startSshd = async ({ as, lines = [], port }: SshdOptions = {}): Promise<Sshd> => {
  // Where it puts its unprivileged children; made by its service otherwise.
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const workspace = makeWorkspace('sshd')
  const at = (name: string) => workspace.at(name)
  if (as === undefined) {
    for (const name of ['host', 'user']) await runOk(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', at(name)])
  }
  const hostFile = as === undefined ? at('host') : as.knownHosts.replace(/known_hosts$/, 'host')
  const keyFile = as?.keyFile ?? at('user')
  const hostKey = readFileSync(`${hostFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ')
  const log = { text: '' }
  let child: ChildProcess | undefined
  let taken = port ?? 0
  // Another one may take a free port first.
  for (let tries = 0; child === undefined; tries++) {
    taken = port ?? (await freePort())
    writeFileSync(
      at('sshd_config'),
      [
        // The first that says something is right.
        ...lines, 'ListenAddress 127.0.0.1', `Port ${taken}`, `HostKey ${hostFile}`, `AuthorizedKeysFile ${keyFile}.pub`, 'StrictModes no', 'UsePAM no', 'PidFile none',
        'PermitRootLogin prohibit-password', 'PasswordAuthentication no', 'MaxStartups 100:30:200',
        ...(lines.some((line) => line.startsWith('Subsystem')) ? [] : ['Subsystem sftp internal-sftp']), '',
      ].join('\n'),
    )
    const tried = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', at('sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
    if (await started(tried, log)) child = tried
    else if (tries > 4) throw new Error(`sshd does not start (package openssh-server)\n${log.text}`)
  }
  const running = child
  // Its children too: each connection is a process of its own, in its own session.
  const kill = () => {
    for (const pid of descendants(running.pid)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
  }
  process.once('exit', kill)
  const knownHosts = as?.knownHosts ?? at('known_hosts')
  const know = (of: number) => { writeFileSync(knownHosts, `[127.0.0.1]:${of} ${hostKey}\n`, { flag: 'a' }) }
  know(taken)
  return {
    port: taken,
    keyFile,
    hostKey,
    knownHosts,
    know,
    log: () => log.text,
    stop: async () => {
      if (running.exitCode === null && running.signalCode === null) {
        const ended = new Promise((resolve) => running.once('close', resolve))
        kill()
        await ended
      }
      process.off('exit', kill)
      if (as === undefined && port === undefined) stopped.push(workspace.remove)
      else workspace.remove()
    },
  }
}

/** Keys are kept until the tests end: the same host may come back. */
const stopped: (() => void)[] = []
process.once('exit', () => { for (const remove of stopped) remove() })

/** A process and all below it. */
const descendants = (root: number | undefined): readonly number[] => {
  if (root === undefined) return []
  const parents = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      return [{ pid: Number(pid), parent: Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) \S+ /s, '').split(' ')[0]) }]
    } catch {
      // It has ended.
      return []
    }
  })
  const below = (pid: number): readonly number[] => [...parents.filter(({ parent }) => parent === pid).flatMap((child) => below(child.pid)), pid]
  return below(root)
}

export interface Line {
  readonly port: number
  /** Bytes that went to the server, over all connections. */
  readonly sent: () => number
  readonly connections: () => number
  /** Cuts the next connections, each after so many bytes to the server; the one after them lasts. */
  readonly cutNext: (...after: readonly number[]) => void
  /** Resolves when no connection stands. */
  readonly quiet: () => Promise<void>
  /** From now on no byte passes, and nothing is closed. */
  readonly freeze: () => void
  readonly stop: () => Promise<void>
}

/** A line to an sshd. */
export const lineTo = async (sshd: { readonly port: number; readonly know: (port: number) => void }): Promise<Line> => {
  const sockets = new Set<Socket>()
  let sent = 0
  let connections = 0
  let cuts: number[] = []
  let isFrozen = false
  const server = createServer((near) => {
    connections++
    const far = connect(sshd.port, '127.0.0.1')
    const allowed = cuts.shift() ?? Infinity
    let passed = 0
    const end = () => { near.destroy(); far.destroy() }
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', end).on('close', () => { sockets.delete(socket); end() })
    }
    near.on('data', (chunk: Buffer) => {
      if (isFrozen || passed >= allowed) return
      const passing = chunk.subarray(0, allowed - passed)
      passed += passing.length
      sent += passing.length
      if (passed >= allowed) far.write(passing, end)
      else if (!far.write(passing)) { near.pause(); far.once('drain', () => near.resume()) }
    })
    far.on('data', (chunk: Buffer) => {
      if (isFrozen) return
      if (!near.write(chunk)) { far.pause(); near.once('drain', () => far.resume()) }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  sshd.know(port)
  return {
    port,
    sent: () => sent,
    connections: () => connections,
    cutNext: (...after) => { cuts = [...after] },
    quiet: async () => { while (sockets.size > 0) await new Promise((resolve) => [...sockets][0]?.once('close', resolve)) },
    freeze: () => { isFrozen = true },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
