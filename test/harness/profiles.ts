/**
 * The three ways in which a program comes into an image, so that what is proved of one is proved of each.
 *
 * - setuid fresh: `shifter` builds the root for this start alone.
 * - setuid joined: `setupRoot` has prepared the root for the job, and `shifter` enters it. What the user could have made hostile meets
 *   `setupRoot` first, so that it is tried on both.
 * - user namespace: `shifter-userns`, without any right to lend, over the user's own images.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Account, runAs, type RunAsOptions } from './accounts.js'
import { own, service, userA, userB } from './people.js'
import { type ProcessResult, run, runOk } from './process.js'

export const PROFILES = ['setuid fresh', 'setuid joined', 'user namespace'] as const
export type ProfileName = (typeof PROFILES)[number]

export interface Asked {
  readonly as?: Account
  readonly job?: string
  readonly volumes?: readonly string[]
  readonly modules?: string
}
export type StartOptions = RunAsOptions & {
  readonly as?: Account
  /** Not looked at where a start is made that is not what was prepared. */
  readonly joins?: boolean
}

export interface Profile {
  readonly name: ProfileName
  readonly joined: boolean
  readonly userns: boolean
  /** The program that makes a start. */
  readonly helper: string
  /** Where its images lie, whose they are, and two who have no business there. */
  readonly images: string
  readonly owner: Account
  readonly others: readonly [Account, Account]
  /** What a start needs in its environment; as words it fits behind `env`. */
  readonly environment: Readonly<Record<string, string>>
  readonly words: readonly string[]
  /** Have images of the site here too: those with these ids, or all with their names. */
  readonly adopt: (...ids: readonly string[]) => Promise<void>
  /** Joined: prepare the root that starts with {@link environment} find; it must work. */
  readonly prepare: (reference: string, asked?: Asked) => Promise<void>
  /** The command line of a preparation. */
  readonly preparation: (reference: string, asked?: Asked) => readonly string[]
  /** The same for a shell that root runs, such as one in a mount namespace of its own; nothing in the other profiles. */
  readonly preparing: (reference: string, asked?: Asked) => string
  /** Joined: take that root down. */
  readonly clear: () => Promise<void>
  /** A shell script that first tells where it runs in a root of its own instead of the prepared one. */
  readonly script: (text: string) => string
  /**
   * A start with these words, alone in its job. Joined: what can't be prepared is refused in the same words to a start that tries all the
   * same, and a start that runs has landed in the root that was prepared.
   */
  readonly start: (words: readonly string[], options?: StartOptions) => Promise<ProcessResult>
  /** The mount namespaces that are pinned; while they are, no other has their number. */
  readonly pinned: () => readonly string[]
}

const codeOf = ({ stderr }: ProcessResult): string => /^(?:shifter|setupRoot): ([A-Z_]+): [^\n]+\n$/.exec(stderr)?.[1] ?? stderr

/** Image, volumes and modules are what a root is made from. */
const isAsked = (word: string): boolean => /^--(image|volume|module)=/.test(word)
const optionsOf = (words: readonly string[]): readonly string[] => {
  const end = words.findIndex((word) => !word.startsWith('-'))
  return end < 0 ? words : words.slice(0, end)
}
const valuesOf = (words: readonly string[], name: string): readonly string[] =>
  optionsOf(words).flatMap((word) => (word.startsWith(`--${name}=`) ? [word.slice(name.length + 3)] : []))

/** What tells a prepared root from any other: only `setupRoot` is told of hosts. */
const HOSTS = 'joined/1'
const PROOF = 'test -e /var/hostsfile || echo did-not-join; '

let jobs = 0

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/**
 * A profile, over the installation below a prefix. `mark` is in the environment of all that is started; `data` is where a person's own images
 * are kept, where several files use the installation.
 */
export const profileOn = (name: ProfileName, prefix: string, mark: Readonly<Record<string, string>> = {}, data = join(prefix, 'data')): Profile => {
  const joined = name === 'setuid joined'
  const userns = name === 'user namespace'
  const job = `p${process.pid}.${++jobs}`
  const images = userns ? join(data, 'shifter/images') : join(prefix, 'images')
  const owner = userns ? userA : service
  const helper = join(prefix, userns ? 'libexec/shifter/shifter-userns' : 'bin/shifter')
  const environment = { ...mark, ...(joined ? { SHIFTER_JOB_ID: job } : {}), ...(userns ? { XDG_DATA_HOME: data } : {}) }

  const preparation = (reference: string, { as = userA, job: of = job, volumes = [], modules }: Asked = {}): readonly string[] => {
    const [, type = 'docker', id = ''] = /^(?:([a-z-]+):)?([^]*)$/.exec(reference) ?? []
    return [join(prefix, 'sbin/setupRoot'), '-U', String(as.uid), '-G', String(as.gid), `--job=${of}`, '-N', HOSTS, ...volumes.flatMap((volume) => ['-v', volume]),
      ...(modules === undefined ? [] : ['-m', modules]), '--', type, id]
  }
  const takeDown = async (of: string): Promise<void> => {
    if (joined) await runOk([join(prefix, 'sbin/unsetupRoot'), `--job=${of}`])
  }
  const pinned = (): readonly string[] => {
    const places = existsSync(join(prefix, 'run')) ? readdirSync(join(prefix, 'run')).filter((each) => each.startsWith('pins')) : []
    return places.flatMap((place) => readdirSync(join(prefix, 'run', place)).flatMap((pin) => {
      const found = statSync(join(prefix, 'run', place, pin), { throwIfNoEntry: false })
      return found === undefined ? [] : [`mnt:[${found.ino}]`]
    }))
  }

  const once = (words: readonly string[], { as = userA, env, joins: _, ...rest }: StartOptions, more: Readonly<Record<string, string>> = {}): Promise<ProcessResult> =>
    runAs(as, [helper, ...words], { ...rest, env: { ...environment, ...more, ...env } })
  /** Groups that the account has not got belong to no preparation, and a root that is written is nobody else's. */
  const canJoin = (words: readonly string[], { as = userA, groups = [], joins = true }: StartOptions): boolean =>
    joins && groups.every((group) => group === as.gid) && !optionsOf(words).includes('--writable')
  const start = async (words: readonly string[], options: StartOptions = {}): Promise<ProcessResult> => {
    if (!joined) return once(words, options)
    const of = `${job}.${++jobs}`
    const [reference = ''] = valuesOf(words, 'image')
    const modules = valuesOf(words, 'module').join(',')
    const { as = userA, timeoutMs } = options
    const prepared = await run(preparation(reference, { as, job: of, volumes: valuesOf(words, 'volume'), ...(modules === '' ? {} : { modules }) }), { timeoutMs })
    try {
      const result = await once(words, options, { SHIFTER_JOB_ID: of })
      if (prepared.status !== 0) {
        expect({ stdout: result.stdout, refused: result.status !== 0, code: codeOf(result) }).toEqual({ stdout: '', refused: true, code: codeOf(prepared) })
        return prepared
      }
      if (result.status === 0 && canJoin(words, options)) {
        const { stdout } = await once([...words.filter(isAsked), 'readlink', '/proc/self/ns/mnt'], options, { SHIFTER_JOB_ID: of })
        expect(pinned(), words.join(' ').slice(0, 500)).toContain(stdout.trim())
      }
      return result
    } finally {
      // What was refused may have left its directory; where that was for the configuration, nothing can be taken down either.
      if (prepared.status === 0) await takeDown(of)
      else await run([join(prefix, 'sbin/unsetupRoot'), `--job=${of}`])
    }
  }

  return {
    name, joined, userns, helper, images, owner, environment, preparation, pinned, start,
    others: userns ? [service, userB] : [userA, userB],
    words: Object.entries(environment).map(([key, value]) => `${key}=${value}`),
    adopt: async (...ids) => {
      if (!userns) return
      const site = join(prefix, 'images')
      const wanted = ids.length === 0 ? [`${site}/.`] : readdirSync(site).filter((file) => ids.some((id) => file.startsWith(`${id}.`))).map((file) => join(site, file))
      mkdirSync(images, { recursive: true })
      await runOk(['cp', '-a', ...wanted, images])
      await runOk(['chown', '-R', `${owner.uid}:${owner.gid}`, data])
      own(images, owner, 0o755)
    },
    prepare: async (reference, asked) => {
      if (joined) await runOk(preparation(reference, asked))
    },
    preparing: (reference, asked) => (joined ? preparation(reference, asked).map(quoted).join(' ') : 'true'),
    clear: () => takeDown(job),
    script: (text) => (joined ? PROOF + text : text),
  }
}
