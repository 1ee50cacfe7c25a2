/**
 * A person alone: it becomes the user named by its first arguments, pulls an image for itself, runs it, and tells what came of it. Bundled by
 * userns.test.ts, since Node reads no TypeScript.
 */
import { pullImage, runImage } from 'shifter-sdk'

const [uid = '', gid = '', prefix = '', reference = ''] = process.argv.slice(2)
process.setgroups?.([Number(gid)])
process.setgid?.(Number(gid))
process.setuid?.(Number(uid))
process.chdir('/')

const { id, access } = await pullImage(reference)
const run = async (image: string) => {
  try {
    return await runImage(image, ['sh', '-c', 'cat /etc/os-release; exit 5'], { prefix, stdio: 'capture' })
  } catch (error) {
    return { code: (error as { readonly code: string }).code }
  }
}
console.log(JSON.stringify({ id, access, byName: await run(reference), byId: await run(`id:${id}`), missing: await run('docker:none') }))
