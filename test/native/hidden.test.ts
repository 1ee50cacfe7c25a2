/** What a node hides from a user stays hidden, though the helper that opens files for him may see it. */
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Account, ensureTestAccounts } from '../harness/accounts.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../harness/native.js'
import { type ProcessResult, run } from '../harness/process.js'
import { busyboxRoot, publishMeta, refusal } from './fixture.js'

const HELPER = join(DEFAULT_PREFIX, 'bin/shifter')
let userA: Account
let image: string

/** As user A, in a mount namespace whose /proc is mounted with these options. */
const withProc = (options: string, argv: readonly string[]): Promise<ProcessResult> =>
  run(
    [
      'unshare', '--mount', 'sh', '-c', 'mount -t proc -o "$1" proc /proc && shift && exec "$@"', 'sh', options,
      'setpriv', `--reuid=${userA.uid}`, `--regid=${userA.gid}`, '--init-groups', '--inh-caps=-all', '--reset-env', ...argv,
    ],
    { cwd: '/' },
  )

beforeAll(async () => {
  const { service, userA: account } = await ensureTestAccounts()
  userA = account
  image = publishMeta(SHARED_IMAGE_PATH, service, `hidden-${process.pid}`, busyboxRoot())
})

describe('attack 36: processes of others under hidepid', () => {
  // This very process is root's.
  const secret = `/proc/${process.pid}`
  const files = ['cmdline', 'status', 'mountinfo', 'stat', `task/${process.pid}/comm`, '']

  it.each(files)('attack 36: a volume of /proc/PID/%s shows what the user sees himself', async (file) => {
    const from = join(secret, file)
    const start = (options: string): Promise<ProcessResult> =>
      withProc(options, [HELPER, `--image=${image}`, `--volume=${from}:/shown`, 'sh', '-c', 'test -d /shown && cat /shown/comm || cat /shown'])
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

  it('attack 36: one that is hidden and one that is not there are refused in the same words', async () => {
    const say = async (pid: number): Promise<string> =>
      (await withProc('hidepid=2', [HELPER, `--image=${image}`, `--volume=/proc/${pid}/cmdline:/shown`, 'true'])).stderr.replaceAll(String(pid), 'PID')
    expect(await say(process.pid)).toBe(await say(2 ** 22 + 1)) // above the largest pid
  })
})
