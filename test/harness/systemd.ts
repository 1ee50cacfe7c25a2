/**
 * A systemd of a test's own: the first process of a PID namespace, with private mounts and a private part of each cgroup hierarchy, so that it runs one
 * unit as a machine's does and touches nothing of this one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const HIERARCHIES = '/sys/fs/cgroup'
const systemd = ['/lib/systemd/systemd', '/usr/lib/systemd/systemd'].find((file) => existsSync(file))

export interface Machine {
  readonly child: ChildProcess
  /** Status of its systemd, with what was said before it ran. */
  readonly ended: Promise<{ readonly status: number | null; readonly log: string }>
  /** Processes of the unit, by the numbers that this machine gives them. */
  readonly processes: () => readonly number[]
  readonly log: () => string
}

export interface MachineOptions {
  /** A directory of the test. */
  readonly directory: string
  readonly unit: string
  /** Files below /run/systemd/system. */
  readonly files: Readonly<Record<string, string>>
  /** Further commands of a shell, run with the mounts in place before systemd starts. */
  readonly before?: string
}

/** The hierarchies: one for each controller (version 1; that of processors takes nobody before it is set up), or a single one. */
const hierarchies = (): readonly string[] =>
  existsSync(join(HIERARCHIES, 'cgroup.controllers')) ? [HIERARCHIES] : readdirSync(HIERARCHIES).map((name) => join(HIERARCHIES, name)).filter((path) => existsSync(join(path, 'cgroup.procs')) && !existsSync(join(path, 'cpuset.cpus')))

/** Ends the machine behind a service that ended well. `SuccessAction=` would do it as well between the death of a service and its restart. */
const ENDS = `[Unit]\nDefaultDependencies=no\n[Service]\nExecStopPost=+/bin/sh -c '[ "$$SERVICE_RESULT" != success ] || systemctl --force exit'\n`

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** Removes a tree of cgroups, which are directories that only rmdir removes. */
const removeTree = (path: string): void => {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(path, entry.name))
  try {
    rmdirSync(path)
  } catch {
    // A process of it is still ending.
  }
}

/** Starts systemd with one unit; it ends when the unit does, and has no reason to start it again. */
export const startMachine = ({ before = '', directory, files, unit }: MachineOptions): Machine => {
  if (systemd === undefined) throw new Error('systemd is not installed (package systemd)')
  const name = `shifter-test-${process.pid}-${Math.random().toString(36).slice(2, 8)}`
  const places = hierarchies().map((hierarchy) => join(hierarchy, name))
  mkdirSync(directory, { recursive: true })
  const units = join(directory, 'units')
  for (const [file, text] of Object.entries({ ...files, [`${unit}.d/ends.conf`]: ENDS })) {
    mkdirSync(join(units, file, '..'), { recursive: true })
    writeFileSync(join(units, file), text)
  }
  const isUnified = places.length === 1
  const inner = [
    'set -e',
    'mount --make-rprivate /',
    'mount -t tmpfs tmpfs /run',
    'mkdir -p /run/systemd && cp -r "$UNITS" /run/systemd/system',
    ...(isUnified
      ? [`mount -t cgroup2 cgroup2 ${HIERARCHIES}`]
      : [
        `mount -t tmpfs tmpfs ${HIERARCHIES}`,
        `mkdir ${HIERARCHIES}/systemd ${HIERARCHIES}/unified`,
        `mount -t cgroup -o none,name=systemd systemd ${HIERARCHIES}/systemd`,
        `mount -t cgroup2 cgroup2 ${HIERARCHIES}/unified`,
      ]),
    before,
    `exec env -i PATH="$PATH" container=shifter-test ${systemd} --system --unit=${quoted(unit)} --log-target=null --show-status=no`,
  ].join('\n')
  const outer = ['set -e', ...places.flatMap((place) => [`mkdir ${quoted(place)}`, `echo $$ > ${quoted(join(place, 'cgroup.procs'))}`]), 'exec unshare --fork --pid --mount --cgroup --mount-proc --kill-child sh -c "$INNER"'].join('\n')
  const child = spawn('sh', ['-c', outer], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], INNER: inner, UNITS: units } })
  const killWithTests = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithTests)
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { log += chunk.toString() })
  const ended = new Promise<{ status: number | null; log: string }>((resolve) => {
    child.once('close', (status) => {
      process.off('exit', killWithTests)
      for (const place of places) removeTree(place)
      resolve({ status, log })
    })
  })
  const procs = join(isUnified ? (places[0] ?? '') : join(HIERARCHIES, 'systemd', name), 'system.slice', unit, 'cgroup.procs')
  return { child, ended, log: () => log, processes: () => (existsSync(procs) ? readFileSync(procs, 'utf8').split('\n').filter(Boolean).map(Number) : []) }
}

/** Why no systemd can be run here; undefined: it can. */
export const whyNoMachine = async (directory: string): Promise<string | undefined> => {
  if (systemd === undefined) return 'systemd is not installed'
  const { log, status } = await startMachine({ directory, unit: 'probe.service', files: { 'probe.service': '[Unit]\nFailureAction=exit-force\n[Service]\nType=oneshot\nExecStart=/bin/true\n' } }).ended
  return status === 0 ? undefined : `no systemd can be started in namespaces of its own here: ${log.trim().split('\n').at(-1) ?? ''}`
}
