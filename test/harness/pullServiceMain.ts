/**
 * A gateway service without its network side, as a process that tests can kill: `node pullServiceMain.mjs CONFIG`. It is asked by lines of JSON on
 * standard input and answers by such lines. `DIE_AT` and `STOP_AT` name a phase in which it kills or stops itself.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import * as Effect from 'effect/Effect'
import * as Layer from 'effect/Layer'
import * as Runtime from 'effect/Runtime'
import * as Stream from 'effect/Stream'
import { Gateway } from '../../src/core/Gateway.js'
import { Packer } from '../../src/core/Packer.js'
import type { OnProgress } from '../../src/core/Progress.js'
import { Pulls } from '../../src/gateway/Pulls.js'
import { tar2sqfsPacker } from '../../src/live.js'
import { pullsOf, somebody } from './pulls.js'
import type { Answer, Question } from './pullService.js'

const say = (answer: Answer): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)

/** Tells what happens to a pull, and ends in the middle of it. */
const watched = <A extends { readonly reference: string; readonly onProgress?: OnProgress | undefined }>(request: A): A => ({
  ...request,
  onProgress: (event) => {
    request.onProgress?.(event)
    const phase = event._tag === 'Phase' ? event.phase : undefined
    if (phase === undefined) return
    say({ _tag: 'Phase', reference: request.reference, phase })
    if (phase === process.env['DIE_AT']) process.kill(process.pid, 'SIGKILL')
    if (phase === process.env['STOP_AT']) process.kill(process.pid, 'SIGSTOP')
  },
})

/** Tells everything that happens to pulls and imports. */
const between = Layer.effect(
  Gateway,
  Effect.map(Gateway, (gateway) => Gateway.of({ ...gateway, pull: (request) => gateway.pull(watched(request)), import: (request) => gateway.import(watched(request)) })),
)

/** Tells whenever an image is packed. */
const packer = Layer.effect(
  Packer,
  Effect.map(Packer, (real) => Packer.of({ ...real, pack: (write, options) => Effect.zipRight(Effect.sync(() => say({ _tag: 'Packing' })), real.pack(write, options)) })),
).pipe(Layer.provide(tar2sqfsPacker))

const main = Effect.gen(function* () {
  const pulls = yield* Pulls
  yield* pulls.run
  const run = Runtime.runFork(yield* Effect.runtime())
  const answer = ({ n, password, reference, source, uid, ...question }: Question) =>
    Effect.gen(function* () {
      const identity = somebody(uid, password === undefined ? {} : { password })
      const wanted = { system: 'test', reference: reference ?? '' }
      const { id } = question.id !== undefined ? { id: question.id } : yield* source === undefined ? pulls.submit(identity, wanted) : pulls.submitImport(identity, { ...wanted, source })
      yield* Stream.runForEach(pulls.watch(identity, id), (pull) => Effect.sync(() => say({ _tag: 'Pull', n, pull })))
    }).pipe(Effect.catchAll(({ code, message }) => Effect.sync(() => say({ _tag: 'Refused', n, code, message }))))
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const lines = createInterface(process.stdin)
      // Whoever started it is gone.
      lines.once('close', () => process.exit(1))
      lines.on('line', (line) => void run(answer(JSON.parse(line) as Question)))
      return lines
    }),
    (lines) => Effect.sync(() => lines.removeAllListeners('close').close()),
  )
  say({ _tag: 'Ready' })
  yield* Effect.async<string>((resume) => {
    process.once('SIGTERM', (signal) => resume(Effect.succeed(signal)))
  })
})

const config: unknown = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
await Effect.runPromise(main.pipe(Effect.scoped, Effect.provide(pullsOf(config, { between, parts: { packer } }))))
process.exit(0)
