/**
 * The complex of PBS that this host is a node of. Nothing of it is known before: its nodes, their names, where PBS lies, which accounts and
 * directories its other nodes see, and how its server is set are asked for.
 *
 * @module
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type Account, runAs } from './accounts.js'
import { DEFAULT_PREFIX } from './native.js'
import { own } from './people.js'
import { type ProcessResult, run } from './process.js'

/** The prefix of the test's own programs, by which it knows what an interrupted run of it left. */
export const PREFIX_NAME = 'pbs-real'
const MARK = 'shifter: '

const shell = (command: string): string => {
  try {
    return execFileSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}

/** The same names as PBS reads them: its file, and over it the environment. */
const configuration = (): ((name: string, otherwise: string) => string) => {
  const file = process.env['PBS_CONF_FILE'] ?? '/etc/pbs.conf'
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  return (name, otherwise) => process.env[name] ?? new RegExp(`^\\s*${name}=(.*?)\\s*$`, 'm').exec(text)?.[1] ?? otherwise
}

interface Vnode {
  readonly name: string
  readonly host: string
  readonly mom: string
  readonly free: boolean
}

const vnodes = (listed: string): readonly Vnode[] =>
  listed.split(/\n\s*\n/).flatMap((block) => {
    const [first = '', ...lines] = block.trimStart().split('\n')
    const value = (key: string) => lines.find((line) => line.trim().startsWith(`${key} = `))?.split(' = ').slice(1).join(' = ').trim() ?? ''
    return first.trim() === '' ? [] : [{ name: first.trim(), host: value('resources_available.host'), mom: value('Mom'), free: /^(free|job-busy|resv-exclusive)$/.test(value('state')) }]
  })

const isHere = ({ host, mom, name }: Vnode, named: readonly string[]): boolean => {
  if (named.some((each) => [host, mom, name].includes(each) || [host, mom, name].includes(each.split('.')[0] ?? ''))) return true
  // Several nodes on one machine share a name, and differ by their network.
  const addresses = new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).filter(({ internal }) => !internal).map(({ address }) => address)))
  return shell(`getent ahosts '${mom.replaceAll("'", '')}'`).split('\n').some((line) => addresses.has(line.split(/\s/)[0] ?? ''))
}

export interface PbsComplex {
  /** Name of the host that this is, as jobs ask for it. */
  readonly here: string
  /** Those of further hosts. */
  readonly others: readonly string[]
  readonly spool: string
  readonly exec: string
  /** `pbs_mom`'s directory of hooks on this node. */
  readonly hooks: string
}

/** The complex, or why there is none for a test. */
export const findComplex = (): PbsComplex | string => {
  const missing = ['qsub', 'qmgr', 'pbsnodes'].filter((program) => shell(`command -v ${program}`) === '')
  if (missing.length > 0) return `there is no ${missing.join(', no ')} on root's path`
  // An interrupted run may have left its hook, and by that nodes offline.
  const hook = shell('qmgr -c "list hook shifter" 2>/dev/null')
  if (hook !== '' && !shell('qmgr -c "export hook shifter application/x-config default" 2>/dev/null').includes(`"${DEFAULT_PREFIX}-${PREFIX_NAME}"`)) return 'the complex has a hook "shifter" of its own'
  clearMarks()
  const found = vnodes(shell('pbsnodes -a')).filter(({ free, host }) => free && host !== '')
  if (found.length === 0) return 'no node of PBS is free'
  const setting = configuration()
  const named = [setting('PBS_MOM_NODE_NAME', ''), setting('PBS_LEAF_NAME', ''), hostname()].filter((name) => name !== '')
  const here = found.find((node) => isHere(node, named))?.host
  if (here === undefined) return `this host, ${hostname()}, is no free node of the complex`
  const spool = setting('PBS_HOME', '/var/spool/pbs')
  return { here, others: [...new Set(found.map(({ host }) => host))].filter((host) => host !== here), spool, exec: setting('PBS_EXEC', '/opt/pbs'), hooks: join(setting('PBS_MOM_HOME', spool), 'mom_priv/hooks') }
}

/** Nodes that the hook itself set offline are as they were; others are left alone. */
export const clearMarks = (): void => {
  for (const block of shell('pbsnodes -a').split(/\n\s*\n/)) {
    const name = block.trimStart().split('\n')[0]?.trim() ?? ''
    if (name !== '' && block.includes(`comment = ${MARK}`)) shell(`pbsnodes -r -C '' '${name}'`)
  }
}

export const qmgr = (lines: string): Promise<ProcessResult> => run(['qmgr'], { input: `${lines}\n` })

/** What the cases need of the server, and what puts it back: jobs of root's, ended ones that are remembered, users known by their names on every host. */
export const prepareServer = async (): Promise<() => Promise<void>> => {
  const { stdout } = await run(['qmgr', '-c', 'list server'])
  const is = (key: string, value: RegExp) => value.test(new RegExp(`^\\s*${key} = (.*)$`, 'm').exec(stdout)?.[1] ?? '')
  const changes = [
    ...(is('acl_roots', /\broot\b/) ? [] : [['set server acl_roots += root', 'set server acl_roots -= root']]),
    ...['job_history_enable', 'flatuid'].filter((key) => !is(key, /^True$/i)).map((key) => [`set server ${key} = True`, `unset server ${key}`]),
  ]
  if (changes.length > 0) await qmgr(changes.map(([set]) => set).join('\n'))
  return async () => {
    if (changes.length > 0) await qmgr(changes.map(([, back]) => back).join('\n'))
  }
}

export interface Ran {
  readonly id: string
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** `-l` for one task on each of these hosts; the first one's is the job's own. */
export const on = (...hosts: readonly string[]): readonly string[] => [`-lselect=${hosts.map((host) => `1:ncpus=1:host=${host}`).join('+')}`, '-lplace=scatter']

const environment = (as: Account): Readonly<Record<string, string>> => ({
  PATH: process.env['PATH'] ?? '', HOME: as.home, USER: as.name, LOGNAME: as.name,
  ...(process.env['PBS_CONF_FILE'] === undefined ? {} : { PBS_CONF_FILE: process.env['PBS_CONF_FILE'] }),
})

/** A program of PBS as a user. */
export const asUser = (as: Account, argv: readonly string[], more: { readonly input?: string; readonly timeoutMs?: number } = {}): Promise<ProcessResult> =>
  runAs(as, argv, { env: { ...environment(as), TERM: 'dumb' }, cwd: as.home, ...more })

/**
 * A job from its submission to its end, as PBS itself waits for it. What it prints is kept in its user's home, by the node that runs it: PBS copies
 * nothing between hosts.
 */
export const submit = async (as: Account, directory: string, options: readonly string[], script: string | undefined, timeoutMs = 120_000): Promise<Ran> => {
  const file = join(directory, `script-${process.hrtime.bigint()}`)
  if (script !== undefined) await runAs(as, ['sh', '-c', 'cat > "$1"', 'sh', file], { input: `#!/bin/sh\n${script}\n` })
  const words = script === undefined ? [] : [file]
  const result = await asUser(as, ['qsub', '-Wblock=true', '-koe', '-Nshifter', ...options, ...words], { timeoutMs })
  const id = result.stdout.trim()
  const read = (letter: string): string => {
    const printed = join(as.home, `shifter.${letter}${id.split('.')[0] ?? ''}`)
    const text = existsSync(printed) ? readFileSync(printed, 'utf8') : ''
    rmSync(printed, { force: true })
    return text
  }
  return { id, status: result.status, out: id === '' ? '' : read('o'), err: id === '' ? result.stderr : read('e') }
}

/** A directory of a user's below one that all may enter. */
export const ownDirectory = (path: string, as: Account): string => {
  mkdirSync(path, { recursive: true })
  own(path, as, 0o755)
  return path
}

/** Ends all that is left of these users' jobs. */
export const deleteJobs = (accounts: readonly Account[]): void => {
  for (const { name } of accounts) for (const id of shell(`qselect -u '${name}'`).split('\n').filter((each) => each !== '')) shell(`qdel -Wforce '${id}'`)
}
