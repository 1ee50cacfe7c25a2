/**
 * Which attack is not tried under which profile, and why. A test that is named here says so itself by being skipped; attacks.test.ts prints
 * the table and sees that each row is of a test that is there.
 *
 * @module
 */
import { it } from 'vitest'
import type { ProfileName } from '../harness/profiles.js'

export interface Absent {
  /** How the names of the tests begin. */
  readonly attack: string
  readonly profiles: readonly ProfileName[]
  readonly reason: string
}

const USERNS = ['user namespace'] as const
const JOINED = ['setuid joined'] as const
const HOOK = 'what a site has root run is refused there (userns.test.ts)'
const CACHE = 'root makes and mounts caches, so that they are refused there (userns.test.ts)'

export const ABSENT: readonly Absent[] = [
  { attack: 'attack 25: the helper neither loads', profiles: USERNS, reason: "it runs with its caller's own rights: what the loader or squashfuse make of his variables he could do himself" },
  { attack: 'attack 26: while it has rights', profiles: USERNS, reason: 'there is no moment in which it has rights that its user lacks' },
  { attack: 'attack 26: a core of the privileged phase', profiles: USERNS, reason: "its core holds nothing but what is its user's" },
  { attack: 'attack 27: groups inside are exactly', profiles: USERNS, reason: 'other groups have no number in a namespace that maps one; how they still count is in userns.test.ts' },
  { attack: 'attack 28: an image path, or a directory above', profiles: USERNS, reason: "above a person's own images everything is his own business; the directory itself is in userns.test.ts" },
  { attack: 'attack 28: an image path that the caller owns', profiles: USERNS, reason: 'images that the caller owns are what it is for' },
  { attack: 'attack 29: the kernel is never left to guess', profiles: USERNS, reason: "no file system of the kernel reads the image: squashfuse does, with its user's rights" },
  { attack: 'attack 29: caches are not mounted', profiles: USERNS, reason: CACHE },
  { attack: 'attack 32: what a hook mounts', profiles: USERNS, reason: HOOK },
  { attack: 'attack 33: the device of an image', profiles: ['setuid joined', 'user namespace'], reason: "joined: the device is the preparation's, and stays as long as that (prepared.test.ts); user namespace: there is none" },
  { attack: 'attack 34: a link of the image leads no hook', profiles: USERNS, reason: HOOK },
  { attack: 'attack 34: a program of the site follows', profiles: ['setuid joined', 'user namespace'], reason: `joined: a directory of the host is never prepared; user namespace: ${HOOK}` },
  { attack: 'attack 37: 65,536 groups', profiles: ['setuid joined', 'user namespace'], reason: 'joined: who has groups that his account has not joins nothing (the next test has many that it has); user namespace: groups have no number there' },
  { attack: 'attack 37: a thousand groups of the account', profiles: ['setuid fresh', 'user namespace'], reason: "only setupRoot takes groups from the accounts; a start has its caller's" },
  { attack: 'attack 40: whichever', profiles: USERNS, reason: 'it has other calls to fail: all of them are in userns.test.ts' },
  { attack: 'attack 40: a call that only claims', profiles: USERNS, reason: 'it changes neither groups nor ids; a capset and a prctl that lie are in userns.test.ts' },
  { attack: 'attack 40: root that can be had back', profiles: USERNS, reason: 'it never was root' },
  { attack: 'attack 40: the account look-up', profiles: ['setuid joined', 'user namespace'], reason: "joined: a start looks up no account, and setupRoot's look-up is in faults.test.ts; user namespace: it has nothing to drop" },
  { attack: 'attack 42: of 256 at once', profiles: JOINED, reason: 'in prepared.test.ts, with one stopped and one killed inside setns' },
  { attack: 'attack 43: a preparation with words', profiles: ['setuid fresh', 'user namespace'], reason: 'a prolog runs nothing but setupRoot' },
  { attack: 'attack 44: caches are not made', profiles: USERNS, reason: CACHE },
  { attack: 'attack 44: hooks that others can change', profiles: USERNS, reason: HOOK },
]

type Body = () => void | Promise<void>
/** `it`, for a profile. */
export const attackIn = (profile: ProfileName) => (title: string, first: Body | { readonly timeout: number }, second?: Body): void => {
  const row = ABSENT.find((each) => title.startsWith(each.attack) && each.profiles.includes(profile))
  const body = typeof first === 'function' ? first : second
  it.skipIf(row !== undefined)(title, typeof first === 'function' ? {} : first, body)
}
