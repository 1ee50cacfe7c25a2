/**
 * Running programs in tests: one call, everything they printed, and an error that shows it.
 *
 * @module
 */
import { spawn } from 'node:child_process'

/** What a finished program left behind. */
export interface ProcessResult {
  /** Exit status, or `null` when a signal ended it. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ProcessOptions {
  readonly cwd?: string | undefined
  /** The whole environment; the caller's when absent. */
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly input?: string | Buffer | undefined
  /** Killed after this many milliseconds; a hang is a failure with output, not a silent timeout. */
  readonly timeoutMs?: number | undefined
}

/** Run a program to its end. Never rejects because of its exit status. */
export const run = (argv: readonly string[], options: ProcessOptions = {}): Promise<ProcessResult> => {
  const [program, ...args] = argv
  if (program === undefined) throw new Error('run: no program given')
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      timeout: options.timeoutMs ?? 120_000,
      killSignal: 'SIGKILL',
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.on('error', reject)
    child.on('close', (status, signal) =>
      resolve({ status, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }),
    )
    // A program that ends without reading its input is judged by its status, not by EPIPE.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input)
  })
}

/** Run a program that must succeed; the error holds its output. */
export const runOk = async (argv: readonly string[], options: ProcessOptions = {}): Promise<ProcessResult> => {
  const result = await run(argv, options)
  if (result.status !== 0) {
    const how = result.signal === null ? `status ${result.status}` : `signal ${result.signal}`
    throw new Error(`${argv.join(' ')} ended with ${how}\n${result.stderr}${result.stdout}`)
  }
  return result
}
