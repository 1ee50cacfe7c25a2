/**
 * A program of a user's: it becomes the user named by its first arguments, then calls the library as any program would, and tells what came of it.
 * Bundled by udi.test.ts, since Node reads no TypeScript.
 */
import { runImage } from 'shifter-sdk'

const [uid = '', gid = '', prefix = '', image = ''] = process.argv.slice(2)
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

console.log(
  JSON.stringify({
    release: await outcome(image, ['cat', '/etc/os-release']),
    options: await outcome(image, ['sh', '-c', 'pwd; echo $A; echo "[$OUTER]"; echo err >&2; exit 3'], { workdir: '/start', env: ['A=b c'], clearEnv: true }),
    entrypoint: await outcome(image, ['you'], { entrypoint: true }),
    override: await outcome(image, ['-x'], { entrypoint: '/bin/echo' }),
    signal: await outcome(image, ['sh', '-c', 'kill -9 $$']),
    missing: await outcome('docker:none', ['true']),
    invalid: await outcome('docker:Upper', ['true']),
    dashes: await outcome(image, ['echo', '--image=x', '-v']),
    // The program's own words in the helper's form, with a status that the helper would not give, are no refusal.
    imitation: await outcome(image, ['sh', '-c', 'echo "shifter: IMAGE_NOT_FOUND: no." >&2; exit 9']),
    cancelled: await outcome(image, ['sh', '-c', 'while true; do true; done'], { signal: AbortSignal.timeout(500) }),
  }),
)
