/** The command line as a process of its own, as users run it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestSite } from './site.js'

export const program = fileURLToPath(new URL('../../dist/bin/shifterimg.js', import.meta.url))

export interface Started {
  readonly child: ChildProcess
  /** Everything it printed, once it has ended. */
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null; readonly stdout: string; readonly stderr: string }>
  /** Resolves when a text is seen on standard error; rejects when it ends without. */
  readonly said: (text: string) => Promise<void>
}

/** Starts `shifterimg --config <site> …`; `env` is added to the environment. */
export const startShifterimg = (
  site: TestSite,
  directory: string,
  args: readonly string[],
  stdout: 'pipe' | number = 'pipe',
  env: Readonly<Record<string, string>> = {},
): Started => {
  if (!existsSync(program)) throw new Error('dist is missing: npm run build')
  const config = join(directory, 'gateway.json')
  writeFileSync(config, JSON.stringify(site.config))
  const child = spawn(process.execPath, [program, '--config', config, ...args], { stdio: ['ignore', stdout, 'pipe'], env: { ...process.env, ...env } })
  let printed = ''
  let stderr = ''
  const waiting: { readonly text: string; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []
  child.stdout?.on('data', (chunk: Buffer) => { printed += chunk.toString() })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
    for (const wait of waiting) if (stderr.includes(wait.text)) wait.resolve()
  })
  const ended = new Promise<Awaited<Started['ended']>>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => {
      for (const wait of waiting) wait.reject(new Error(`it ended without saying "${wait.text}": ${stderr}`))
      resolve({ status, signal, stdout: printed, stderr })
    })
  })
  return {
    child,
    ended,
    said: (text) =>
      new Promise((resolve, reject) => {
        if (stderr.includes(text)) resolve()
        else waiting.push({ text, resolve, reject })
      }),
  }
}
