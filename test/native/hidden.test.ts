/** What a node hides from a user stays hidden, though the helper that opens files for him may see it. */
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect } from 'vitest'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { becoming, own, userA } from '../harness/people.js'
import { type Profile, PROFILES, profileOn } from '../harness/profiles.js'
import { type ProcessResult, run } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { attackIn } from './absent.js'
import { busyboxRoot, publishMeta, refusal } from './fixture.js'

const workspace = useWorkspace('hidden')

describe.each(PROFILES)('attack 36: processes of others under hidepid: %s', (name) => {
  const attack = attackIn(name)
  let profile: Profile
  let image: string
  beforeAll(() => {
    profile = profileOn(name, DEFAULT_PREFIX, {}, workspace.at(name.replaceAll(' ', '-')))
    image = publishMeta(profile.images, profile.owner, `hidden-${process.pid}-${PROFILES.indexOf(name)}`, busyboxRoot())
    if (profile.userns) own(profile.images, profile.owner, 0o755)
  })
  afterEach(() => profile.clear())

  /** As user A, in a mount namespace whose /proc is mounted with these options, behind what root does there. */
  const withProc = (options: string, argv: readonly string[], before = 'true'): Promise<ProcessResult> =>
    run(['unshare', '--mount', 'sh', '-c', `mount -t proc -o "$0" proc /proc && ${before} && exec "$@"`, options, ...becoming(userA), 'env', ...profile.words, ...argv], { cwd: '/' })
  const shown = async (options: string, from: string, script: string): Promise<ProcessResult> => {
    const result = await withProc(options, [profile.helper, `--image=${image}`, `--volume=${from}:/shown`, 'sh', '-c', profile.script(script)], profile.preparing(image, { volumes: [`${from}:/shown`] }))
    await profile.clear()
    return result
  }

  // This very process is root's.
  const secret = `/proc/${process.pid}`
  const files = ['cmdline', 'status', 'mountinfo', 'stat', `task/${process.pid}/comm`, 'task', '']

  for (const file of files) attack(`attack 36: a volume of /proc/PID/${file} shows what the user sees himself`, async () => {
    const from = join(secret, file)
    const start = (options: string): Promise<ProcessResult> => shown(options, from, 'cat /shown/comm 2>/dev/null || cat /shown 2>/dev/null || ls /shown')
    const open = await start('hidepid=0')
    expect(open.status).toBe(0)
    expect(open.stdout).not.toBe('')
    for (const options of ['hidepid=2', 'hidepid=4']) {
      expect((await withProc(options, ['cat', join(secret, 'comm')])).status).not.toBe(0)
      const hidden = await start(options)
      expect(hidden.stdout).toBe('')
      expect(hidden.status).not.toBe(0)
      // The directory itself can be named by everybody; what is in it can not.
      if (file !== '') expect([options, refusal(hidden)]).toEqual([options, 'VOLUME_FAILED'])
    }
  })

  attack('attack 36: one that is hidden and one that is not there are refused in the same words', async () => {
    const say = async (pid: number): Promise<string> =>
      (await shown('hidepid=2', `/proc/${pid}/cmdline`, 'true')).stderr.replaceAll(String(pid), 'PID')
    expect(await say(process.pid)).toBe(await say(2 ** 22 + 1)) // above the largest pid
  })
})
