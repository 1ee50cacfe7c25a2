/** Processes of a gateway service without its network side: started, asked, stopped and killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { ImportSource } from '../../src/core/Import.js'
import type { Phase } from '../../src/core/Progress.js'
import type { QueuedPull } from '../../src/core/PullQueue.js'
import { type PostgresServer, startPostgres } from './postgres.js'
import type { TestSite } from './site.js'

/** Asks for a pull, or to be told of one. */
export interface Question {
  readonly n: number
  readonly uid: number
  readonly reference?: string
  readonly id?: string
  readonly password?: string
  /** What is imported, instead of a pull. */
  readonly source?: ImportSource
}

export type Answer =
  | { readonly _tag: 'Ready' }
  | { readonly _tag: 'Phase'; readonly reference: string; readonly phase: Phase }
  /** A packer was started. */
  | { readonly _tag: 'Packing' }
  | { readonly _tag: 'Pull'; readonly n: number; readonly pull: QueuedPull }
  | { readonly _tag: 'Refused'; readonly n: number; readonly code: string; readonly message: string }

export interface PullService {
  readonly child: ChildProcess
  /** Everything it said so far. */
  readonly said: readonly Answer[]
  /** How often it started a packer. */
  readonly packed: () => number
  /** The first thing it says, or has said, that is so. */
  readonly says: (is: (answer: Answer) => boolean) => Promise<Answer>
  /** Asks, and is told of the first state. */
  readonly ask: (uid: number, reference: string, password?: string) => Promise<QueuedPull>
  readonly askImport: (uid: number, reference: string, source: ImportSource) => Promise<QueuedPull>
  /** The end of a pull that anybody asked for; by one of its askers. */
  readonly end: (uid: number, id: string) => Promise<QueuedPull>
  readonly ended: Promise<void>
  /** It stands still: a signal to continue is not too early. */
  readonly stoodStill: () => Promise<void>
  readonly kill: () => Promise<void>
  /** Stops it as a service manager does. */
  readonly stop: () => Promise<void>
}

let program: Promise<string> | undefined
/** The program, made once. It lies where it finds the packages. */
const bundled = (): Promise<string> =>
  (program ??= (async () => {
    const outfile = fileURLToPath(new URL(`../../dist/harness/pullService-${process.pid}.mjs`, import.meta.url))
    await build({
      entryPoints: [fileURLToPath(new URL('./pullServiceMain.ts', import.meta.url))],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      packages: 'external',
      logLevel: 'silent',
    })
    return outfile
  })())

/** Starts a service; it runs pulls when this resolves. */
const startPullService = async (config: object, directory: string, env: Readonly<Record<string, string>> = {}): Promise<PullService> => {
  const file = join(directory, 'gateway.json')
  mkdirSync(directory, { recursive: true })
  writeFileSync(file, JSON.stringify(config))
  const child = spawn(process.execPath, [await bundled(), file], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  const killWithTests = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithTests)
  const said: Answer[] = []
  let stderr = ''
  const waiting = new Set<{ readonly look: (answer: Answer) => void; readonly over: () => void }>()
  child.stdin.on('error', () => undefined)
  child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-8192) })
  createInterface(child.stdout).on('line', (line) => {
    const answer = JSON.parse(line) as Answer
    said.push(answer)
    for (const wait of waiting) wait.look(answer)
  })
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      process.off('exit', killWithTests)
      resolve()
      for (const wait of waiting) wait.over()
    })
  })
  const says: PullService['says'] = (is) =>
    new Promise((resolve, reject) => {
      const found = said.find(is)
      if (found !== undefined) return resolve(found)
      const gone = () => reject(new Error(`the service ended without saying that: ${stderr}`))
      if (child.exitCode !== null || child.signalCode !== null) return gone()
      const wait = { look: (answer: Answer) => { if (is(answer)) { waiting.delete(wait); resolve(answer) } }, over: gone }
      waiting.add(wait)
    })
  let n = 0
  const question = (asked: Omit<Question, 'n'>, until: (pull: QueuedPull) => boolean): Promise<QueuedPull> => {
    const mine = ++n
    child.stdin.write(`${JSON.stringify({ ...asked, n: mine })}\n`)
    return says((answer) => 'n' in answer && answer.n === mine && (answer._tag === 'Refused' || until(answer.pull))).then((answer) => {
      if (answer._tag === 'Pull') return answer.pull
      throw new Error(answer._tag === 'Refused' ? answer.message : answer._tag)
    })
  }
  await says((answer) => answer._tag === 'Ready')
  return {
    child,
    said,
    says,
    packed: () => said.filter(({ _tag }) => _tag === 'Packing').length,
    ended,
    ask: (uid, reference, password) => question({ uid, reference, ...(password === undefined ? {} : { password }) }, () => true),
    askImport: (uid, reference, source) => question({ uid, reference, source }, () => true),
    end: (uid, id) => question({ uid, id }, ({ state }) => ['done', 'failed', 'cancelled'].includes(state)),
    stoodStill: async () => {
      while (!/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8'))) await sleep(20)
    },
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** A site whose services keep their files in a directory of it. */
export interface ServiceSite extends TestSite {
  readonly directory: string
}
export type StartService = (site: ServiceSite, env?: Readonly<Record<string, string>>) => Promise<PullService>

/** Starts services that are stopped whatever happens. */
export const withPullServices = async (use: (start: StartService) => Promise<void>): Promise<void> => {
  const started: PullService[] = []
  try {
    await use(async (site, env) => {
      const service = await startPullService(site.config, join(site.directory, `process${started.length}`), env)
      started.push(service)
      return service
    })
  } finally {
    for (const { child } of started) child.kill('SIGKILL')
    await Promise.all(started.map((service) => service.ended))
  }
}

/** The sites of services on two machines: what they share is a database, below `directory`, and the image path. */
export const withReplicas = async (
  directory: string,
  siteAt: () => ServiceSite,
  use: (start: StartService, replicas: readonly [ServiceSite, ServiceSite], server: PostgresServer) => Promise<void>,
): Promise<void> => {
  mkdirSync(directory)
  const server = await startPostgres(directory)
  try {
    const [first, other] = [siteAt(), siteAt()]
    const config = { ...first.config, postgres: server.settings() }
    const replicas = [{ ...first, config }, { ...other, imagePath: first.imagePath, config: { ...config, stateDirectory: other.stateDirectory } }] as const
    await withPullServices((start) => use(start, replicas, server))
  } finally {
    await server.stop()
  }
}
