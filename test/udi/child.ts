/**
 * A program of a user's: it becomes the user named by its first arguments, then calls the library as any program would, and tells what came of it.
 * Bundled by udi.test.ts, since Node reads no TypeScript.
 */
import { readlinkSync } from 'node:fs'
import * as Effect from 'effect/Effect'
import { runImage, Udi, udiLayer } from 'shifter-sdk'

const [uid = '', gid = '', prefix = '', image = '', only = ''] = process.argv.slice(2)
process.setgroups?.([Number(gid)])
process.setgid?.(Number(gid))
process.setuid?.(Number(uid))
process.chdir('/')

const outcome = async (...[reference, command, options]: Parameters<typeof runImage>): Promise<unknown> => {
  try {
    return await runImage(reference, command, { prefix, stdio: 'capture', ...options })
  } catch (error) {
    const { _tag, code, reason, message } = error as Record<string, unknown>
    return { _tag, code, reason, message }
  }
}

/** Its output by its length. */
const shortened = (result: unknown): unknown => {
  const { stderr, stdout, ...rest } = result as Awaited<ReturnType<typeof runImage>>
  return { ...rest, stdout: stdout.length, stderr: stderr.length }
}

/** With the seconds it took. */
const timed = async (...call: Parameters<typeof runImage>): Promise<unknown> => {
  const start = performance.now()
  const result = await outcome(...call)
  return { ...(result as object), seconds: (performance.now() - start) / 1000 }
}

if (only === 'explain') {
  const explain = (options: Udi.RunOptions) => Effect.flatMap(Udi.Udi, (udi) => udi.explain(image, ['true'], options)).pipe(Effect.provide(udiLayer(prefix)))
  const told = await Effect.runPromise(explain({ env: ['A=b c'], modules: [] }))
  const { _tag, code } = await Effect.runPromise(Effect.flip(explain({ modules: ['none-such'] })))
  console.log(JSON.stringify({ told, refused: { _tag, code } }))
  process.exit(0)
}

console.log(
  JSON.stringify({
    release: await outcome(image, ['cat', '/etc/os-release']),
    options: await outcome(image, ['sh', '-c', 'pwd; echo $A; echo "[$OUTER]"; echo err >&2; exit 3'], { workdir: '/start', env: ['A=b c'], clearEnv: true }),
    files: await outcome(image, ['sh', '-c', 'echo "$A, $B, $C"'], { envFile: ['/variables', '/more-variables'], env: ['B=given'] }),
    noFile: await outcome(image, ['true'], { envFile: ['/nowhere'] }),
    entrypoint: await outcome(image, ['you'], { entrypoint: true }),
    override: await outcome(image, ['-x'], { entrypoint: '/bin/echo' }),
    signal: await outcome(image, ['sh', '-c', 'kill -9 $$']),
    missing: await outcome('docker:none', ['true']),
    invalid: await outcome('docker:Upper', ['true']),
    dashes: await outcome(image, ['echo', '--image=x', '-v']),
    // The program's own words in the helper's form, with the status that the helper would give, are no refusal; what takes refusals is closed.
    imitation: await outcome(image, ['sh', '-c', 'echo "shifter: IMAGE_NOT_FOUND: no." >&2; exit 1']),
    report: await outcome(image, ['sh', '-c', '(echo "IMAGE_NOT_FOUND no" >&3) 2>/dev/null || echo closed']),
    notStarted: await outcome(image, ['/nowhere']),
    inherited: await outcome(image, ['sh', '-c', 'test "$(readlink /proc/self/fd/2)" = "$1" && echo to the caller >&2', 'sh', readlinkSync('/proc/self/fd/2')], { stdio: 'inherit' }),
    refusedInherited: await outcome('docker:none', ['true'], { stdio: 'inherit' }),
    large: shortened(await outcome(image, ['sh', '-c', 'head -c 16777216 /dev/zero; head -c 16777216 /dev/zero >&2; exit 4'])),
    tooLarge: await outcome(image, ['sh', '-c', 'head -c 16777217 /dev/zero >&2; while true; do true; done']),
    // The shell ends at once; what it started in the background holds its output.
    background: await timed(image, ['sh', '-c', '/bin/busybox sleep 60 & exit 0'], { signal: AbortSignal.timeout(500) }),
    stubborn: await timed(image, ['sh', '-c', 'trap "" TERM; /bin/busybox sleep 60 & wait'], { signal: AbortSignal.timeout(500) }),
    cancelled: await outcome(image, ['sh', '-c', 'while true; do true; done'], { signal: AbortSignal.timeout(500) }),
  }),
)
