/**
 * What every attack under a profile has at hand: a good image, and ways to start it or to be refused.
 *
 * @module
 */
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { runAs, type RunAsOptions } from '../../harness/accounts.js'
import type { TestNode } from '../../harness/node.js'
import { userA } from '../../harness/people.js'
import { type Profile, type ProfileName, profileOn, type StartOptions } from '../../harness/profiles.js'
import type { ProcessResult } from '../../harness/process.js'
import type { Workspace } from '../../harness/workspace.js'
import { attackIn } from '../absent.js'
import { busyboxRoot, publishMeta, refusal, type TestImage } from '../fixture.js'

export interface Ground {
  readonly node: TestNode
  readonly workspace: Workspace
  readonly profile: Profile
  readonly helper: string
  /** The profile's name as a part of a file's. */
  readonly slug: string
  readonly attack: ReturnType<typeof attackIn>
  /** The program that starts others in ways that no shell can. */
  readonly launch: string
  /** The good image, once the tests run; under the joined profile its root is prepared before each. */
  readonly image: () => TestImage
  /** The id of one that has no more than a `.meta`. */
  readonly ours: string
  readonly fileOf: (id: string) => string
  readonly asUser: (argv: readonly string[], options?: RunAsOptions) => Promise<ProcessResult>
  /** A start that is alone in its job. */
  readonly shifter: (args: readonly string[], options?: StartOptions) => Promise<ProcessResult>
  /** The program with the good image, running a shell script inside; and its words alone. */
  readonly good: (script: string) => readonly string[]
  readonly words: (script: string) => readonly string[]
  /** The code of a start that must be refused. */
  readonly refused: (args: readonly string[], options?: StartOptions) => Promise<string>
}

const OURS = 'good-meta'

export const groundOf = (name: ProfileName, node: TestNode, workspace: Workspace, mark: string, launch: string, image: () => TestImage): Ground => {
  const profile = profileOn(name, node.prefix, { [mark]: '1' })
  const { helper } = profile
  const reference = (): string => `id:${image().record.id}`
  const words = (script: string): readonly string[] => [`--image=${reference()}`, 'sh', '-c', profile.script(script)]
  beforeAll(async () => {
    await profile.adopt()
    publishMeta(profile.images, profile.owner, OURS, busyboxRoot())
  })
  beforeEach(() => profile.prepare(reference()))
  afterEach(() => {
    // Nothing is taken down without a configuration.
    node.configure()
    return profile.clear()
  })
  return {
    node, workspace, profile, helper, launch, image, words,
    slug: name.replaceAll(' ', '-'),
    attack: attackIn(name),
    ours: OURS,
    fileOf: (id) => join(profile.images, `${id}.squashfs`),
    asUser: (argv, options = {}) => runAs(userA, argv, { ...options, env: { ...profile.environment, ...options.env } }),
    shifter: (args, options = {}) => profile.start(args, options),
    good: (script) => [helper, ...words(script)],
    refused: async (args, options = {}) => {
      const result = await profile.start([...args, 'echo', 'RAN'], options)
      expect(result.status).not.toBe(0)
      expect(result.stdout).toBe('')
      return refusal(result)
    },
  }
}
