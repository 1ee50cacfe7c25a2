/**
 * A Slurm cluster of a test's own: munge, slurmctld and two slurmd on ports of 127.0.0.1, all they write below one directory. The machine is
 * both nodes; each has the daemon, the spool and the mount namespace (where that is asked for) of its own.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type Account, runAs, type RunAsOptions } from './accounts.js'
import { startMunge } from './munge.js'
import { freePort } from './ports.js'
import { type ProcessResult, run, runOk } from './process.js'

export const NODES = ['n1', 'n2'] as const
export type NodeName = (typeof NODES)[number]

export interface SlurmOptions {
  /** Further lines of `slurm.conf`. */
  readonly config?: readonly string[]
  /** Further files beside it, by name. */
  readonly files?: Readonly<Record<string, string>>
  /** Gives each slurmd a mount namespace of its own, where a shell of root's does this first. */
  readonly space?: (node: NodeName) => string
}

export interface SlurmCluster {
  /** `SLURM_CONF` of whoever uses it. */
  readonly conf: string
  /** Directory of `slurm.conf`. */
  readonly etc: string
  /** A directory in which every account may write, that all nodes see. */
  readonly shared: string
  /** Runs a program as an account of the cluster, from {@link SlurmCluster.shared}. */
  readonly as: (account: Account, argv: readonly string[], options?: RunAsOptions) => Promise<ProcessResult>
  /** Runs a program of Slurm's as root; what it printed. */
  readonly root: (...argv: readonly string[]) => Promise<string>
  /** Kills a node's slurmd as a crash does. Its steps go on. */
  readonly kill: (node: NodeName) => Promise<void>
  /** Loses a node with all that runs on it, as when it is switched off. */
  readonly lose: (node: NodeName) => Promise<void>
  /** Starts its slurmd again; it has registered when this resolves. */
  readonly start: (node: NodeName) => Promise<void>
  /** The slurmd of a node. */
  readonly pid: (node: NodeName) => number
  readonly log: (name: NodeName | 'slurmctld') => string
  /** Cancels all jobs, and waits until no node does anything for one. */
  readonly drain: () => Promise<void>
  /** Ends everything that belongs to the cluster. */
  readonly stop: () => Promise<void>
}

/** Waits until something is so; what was found instead is in the error. */
export const until = async <A>(what: string, look: () => Promise<A> | A, good: (found: A) => boolean, seconds = 30): Promise<A> => {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (good(found)) return found
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} seconds, but ${JSON.stringify(found)}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** Processes with these settings in their environment: daemons, steps and tasks of a cluster by its `SLURM_CONF`. */
export const processesWith = (...settings: readonly string[]): number[] =>
  readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).map(Number).filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
      return pid !== process.pid && settings.every((setting) => environment.includes(setting))
    } catch {
      return false // it ended meanwhile
    }
  })

/** Processes that have a file open: a slurmd and its steps, by their log. They don't show their environment. */
const processesAt = (file: string): number[] =>
  readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).map(Number).filter((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === file)
    } catch {
      return false // it ended meanwhile
    }
  })

const end = (pids: readonly number[]): void => {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // it ended meanwhile
    }
  }
}

const closed = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('close', () => resolve())
  })

/** Many more processors than the machine has: what is tested is many tasks, not their speed. */
const CPUS = 64

const slurmConf = (at: (...parts: readonly string[]) => string, ports: readonly number[], more: readonly string[]): string =>
  [
    'ClusterName=shifter',
    `SlurmctldHost=${hostname()}(127.0.0.1)`,
    `SlurmctldPort=${ports[0]}`,
    'AuthType=auth/munge',
    `AuthInfo=socket=${at('munge/socket')}`,
    'CredType=cred/munge',
    'SlurmUser=root',
    `StateSaveLocation=${at('state')}`,
    `SlurmdSpoolDir=${at('spool-%n')}`,
    `SlurmctldPidFile=${at('slurmctld.pid')}`,
    `SlurmdPidFile=${at('%n.pid')}`,
    `SlurmctldLogFile=${at('slurmctld.log')}`,
    `SlurmdLogFile=${at('%n.log')}`,
    'SlurmdDebug=verbose',
    'ProctrackType=proctrack/linuxproc',
    'TaskPlugin=task/none',
    'SwitchType=switch/none',
    'JobAcctGatherType=jobacct_gather/none',
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_Core',
    // The nodes are said to have more than the machine does.
    'SlurmdParameters=config_overrides',
    'MpiDefault=none',
    // A node that was away serves again as soon as it is back.
    'ReturnToService=2',
    'SlurmdTimeout=30',
    // A slurmd that comes back tells which jobs it has; one that should have begun eleven seconds ago and is not among them is put back.
    'BatchStartTimeout=1',
    'MessageTimeout=10',
    'InactiveLimit=0',
    'KillWait=2',
    'MinJobAge=300',
    // Jobs begin when they can, not when a timer says so.
    'SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1,requeue_delay=1',
    ...more,
    ...NODES.map((name, i) => `NodeName=${name} NodeAddr=127.0.0.1 NodeHostname=${hostname()} Port=${ports[i + 1]} CPUs=${CPUS} State=UNKNOWN`),
    `PartitionName=main Nodes=${NODES.join(',')} Default=YES State=UP MaxTime=INFINITE DefaultTime=10`,
    '',
  ].join('\n')

/** Starts one below a directory that everyone may enter. Both nodes are idle when this resolves. It must be stopped. */
export const startSlurm = async (directory: string, options: SlurmOptions = {}): Promise<SlurmCluster> => {
  const at = (...parts: readonly string[]): string => join(directory, ...parts)
  // What a run left that was killed.
  end([...NODES.flatMap((name) => processesAt(at(`${name}.log`))), ...processesWith(`SLURM_CONF=${at('etc/slurm.conf')}`)])
  for (const name of ['etc', 'state']) mkdirSync(at(name), { recursive: true, mode: 0o755 })
  await runOk(['install', '-d', '-m', '1777', at('shared')])
  const conf = at('etc/slurm.conf')
  const ports = [await freePort(), await freePort(), await freePort()]
  writeFileSync(conf, slurmConf(at, ports, options.config ?? []))
  for (const [name, text] of Object.entries({ 'plugstack.conf': '', ...options.files })) writeFileSync(at('etc', name), text)
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', SLURM_CONF: conf }
  const daemons = new Map<string, ChildProcess>()
  const launch = (name: string, argv: readonly [string, ...string[]]): void => {
    const [program, ...args] = argv
    // They go with the tests, also with those that are killed.
    daemons.set(name, spawn('setpriv', ['--pdeathsig=TERM', program, ...args], { env, cwd: '/', stdio: 'ignore', detached: true }))
  }
  const root = async (...argv: readonly string[]): Promise<string> => (await runOk(argv, { env, cwd: at('shared'), timeoutMs: 30_000 })).stdout
  const states = async (): Promise<string> => (await run(['sinfo', '--noheader', '--Node', '--format=%N=%T'], { env, timeoutMs: 30_000 })).stdout
  const log = (name: string): string => (existsSync(at(`${name}.log`)) ? readFileSync(at(`${name}.log`), 'utf8') : '')
  const starts = (name: NodeName): number => log(name).split('slurmd started on').length
  const start = async (name: NodeName): Promise<void> => {
    const before = starts(name)
    const slurmd = ['slurmd', '-D', '-N', name] as const
    const { space } = options
    launch(name, space === undefined ? [...slurmd] : ['unshare', '--mount', '--propagation=slave', 'sh', '-eu', '-c', `${space(name)}\nexec "$@"`, 'sh', ...slurmd])
    await until(`slurmd of ${name}`, () => starts(name), (count) => count > before)
    await until(`node ${name}`, states, (text) => new RegExp(`^${name}=(idle|mixed|allocated|completing)$`, 'm').test(text))
  }
  const munge = await startMunge(at('munge'))
  const kill = async (name: string, signal: NodeJS.Signals): Promise<void> => {
    const child = daemons.get(name)
    if (child === undefined) return
    child.kill(signal)
    await closed(child)
    daemons.delete(name)
  }
  const drain = async (): Promise<void> => {
    const jobs = async (): Promise<string> => (await root('squeue', '--noheader', '--states=pending,running,suspended,configuring,completing,requeued', '--format=%i %T')).trim()
    for (const id of new Set((await jobs()).split('\n').map((line) => line.split(/[ _+]/)[0] ?? '').filter(Boolean))) await run(['scancel', '--full', id], { env })
    await until('the end of all jobs', jobs, (text) => text === '', 60)
  }
  const stop = async (): Promise<void> => {
    await drain().catch(() => undefined)
    for (const name of [...NODES, 'slurmctld']) await kill(name, 'SIGTERM')
    // Steps outlive a slurmd that was killed.
    end(NODES.flatMap((name) => processesAt(at(`${name}.log`))))
    end(processesWith(`SLURM_CONF=${conf}`))
    await munge.stop()
  }
  try {
    launch('slurmctld', ['slurmctld', '-D'])
    for (const name of NODES) await start(name)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    conf,
    etc: at('etc'),
    shared: at('shared'),
    as: (account, argv, { env: more, ...rest } = {}) => runAs(account, argv, { cwd: at('shared'), ...rest, env: { SLURM_CONF: conf, ...more } }),
    root,
    kill: (name) => kill(name, 'SIGKILL'),
    lose: async (name) => {
      await kill(name, 'SIGKILL')
      // Steps first, so that none tells the controller how its tasks ended.
      end(processesAt(at(`${name}.log`)))
      end(processesWith(`SLURMD_NODENAME=${name}`, `SLURM_CONF=${conf}`))
    },
    start,
    pid: (name) => {
      const pid = daemons.get(name)?.pid
      if (pid === undefined) throw new Error(`no slurmd of ${name} runs`)
      return pid
    },
    log,
    drain,
    stop,
  }
}
