/**
 * System calls of the installed programs, as strace sees them: traces, and runs in which one call fails.
 *
 * A setuid program keeps its rights under strace only when root traces it and strace itself becomes the user (`-u`).
 *
 * @module
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Account } from '../harness/accounts.js'
import { type ProcessResult, run } from '../harness/process.js'

export interface Call {
  readonly name: string
  /** Everything behind the name: arguments and result. */
  readonly text: string
  /** Which call of its name this is, from 1, as strace counts. */
  readonly nth: number
}

/** How a program is called: its words, who calls it (root where nobody is named), and its environment. */
export interface Traced {
  readonly argv: readonly string[]
  readonly as?: Account | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** What the test runner leaves open would be looked at by the program, and counted. */
const WITHOUT_DESCRIPTORS = 'for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval "exec $n>&-"; done; exec "$@"'
const strace = ({ argv, as, env }: Traced, options: readonly string[]): Promise<ProcessResult> =>
  run(['bash', '-c', WITHOUT_DESCRIPTORS, 'bash', 'strace', ...(as === undefined ? [] : ['-u', as.name]), ...options, '--', ...argv], {
    cwd: '/', env: { PATH: '/usr/bin:/bin', ...env }, timeoutMs: 60_000,
  })

const callsOf = (text: string): Call[] => {
  const counts = new Map<string, number>()
  return text.split('\n').flatMap((line) => {
    const match = /^(\w+)\((.*)$/.exec(line)
    if (match === null) return []
    const [, name = '', rest = ''] = match
    const nth = (counts.get(name) ?? 0) + 1
    counts.set(name, nth)
    return [{ name, text: rest, nth }]
  })
}

export interface Trace {
  readonly result: ProcessResult
  readonly calls: readonly Call[]
  /** Of each process that was forked and executed nothing. */
  readonly forked: readonly (readonly Call[])[]
}

/** Run a program and note all it asks of the kernel. */
export const trace = async (what: Traced): Promise<Trace> => {
  const directory = mkdtempSync(join(tmpdir(), 'shifter-sdk-trace-'))
  try {
    const result = await strace(what, ['-ff', '-o', join(directory, 't')])
    const all = readdirSync(directory).map((file) => callsOf(readFileSync(join(directory, file), 'utf8')))
    const [calls] = all.filter(([first]) => first?.name === 'execve')
    if (calls === undefined) throw new Error(`strace saw no start: ${result.stderr}`)
    return { result, calls, forked: all.filter((one) => one.every(({ name }) => name !== 'execve')) }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/**
 * The calls a program makes while it has root's rights: from its first own one (what comes before is the loader's) to the last look at
 * whether they are really gone, or to its end.
 */
export const privileged = (calls: readonly Call[]): readonly Call[] => {
  // The loader of a setuid program looks at the descriptors first, so the last such look is ours.
  const first = calls.findLastIndex(({ name, text }) => name === 'fcntl' && text.startsWith('0, F_GETFD'))
  const dropped = calls.findIndex(({ name, text }) => name === 'setgid' && text.includes('EPERM'))
  return calls.slice(Math.max(0, first), dropped < 0 ? undefined : dropped + 1)
}

/**
 * What can't fail, or not in the way of strace: a call of `close` that fails closes all the same, and one that ends the process never comes
 * back. The kernel's `brk` answers with the old end of memory, not with an error.
 */
const NEVER = new Set(['close', 'exit', 'exit_group', 'getegid', 'geteuid', 'getgid', 'getpid', 'getuid', 'rt_sigreturn', 'umask'])
export const canFail = ({ name }: Call): boolean => !NEVER.has(name)

/** The same run, in which one call fails and is not made; `everywhere` counts it in each forked process too. */
export const withFault = (what: Traced, call: Call, error: string, everywhere = false): Promise<ProcessResult> => {
  const fault = call.name === 'brk' ? 'retval=0' : `error=${error}`
  return strace(what, [...(everywhere ? ['-f'] : []), '-o', '/dev/null', '-e', `trace=${call.name}`, '-e', `inject=${call.name}:${fault}:when=${call.nth}`])
}
