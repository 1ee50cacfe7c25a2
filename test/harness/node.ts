/**
 * An installation of a test file's own: for tests that change the configuration, spoil the image path, or tell what is left over by its name.
 *
 * @module
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { DEFAULT_PREFIX, installNative, type NativeConfig, type NativeInstallation, removeNative } from './native.js'
import { own, service } from './people.js'
import { run, runOk } from './process.js'

export interface TestNode {
  readonly prefix: string
  /** The site's image path. */
  readonly images: string
  /** The setuid program. */
  readonly helper: string
  /** Path of a program for root. */
  readonly sbin: (name: 'setupRoot' | 'unsetupRoot') => string
  /** Once the tests run. */
  readonly native: NativeInstallation
  /** The configuration of this file, with what a test wants otherwise; it is back after each test. */
  readonly configure: (more?: Partial<NativeConfig>) => void
}

/** Take away what is mounted below a directory: what a run that was killed left would be in the way. */
export const unmountBelow = async (directory: string): Promise<void> => {
  const places = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').map((line) => line.split(' ')[4] ?? '').filter((place) => place.startsWith(`${directory}/`))
  for (const place of places.reverse()) await run(['umount', '--lazy', place])
}

/**
 * Install below a prefix of this name, and remove it at the end. Hooks of the file that are defined later come before that. Without a standard
 * (`undefined`) there is no configuration but what a test makes, as for a person alone.
 */
export const useNode = (name: string, standard: Partial<NativeConfig> | undefined): TestNode => {
  const prefix = `${DEFAULT_PREFIX}-${name}`
  const images = join(prefix, 'images')
  let native: NativeInstallation | undefined
  const installed = (): NativeInstallation => {
    if (native === undefined) throw new Error('the installation exists only while tests run')
    return native
  }
  const configure = (more: Partial<NativeConfig> | undefined = standard): void => {
    if (more !== undefined) return installed().configure({ imagePath: images, imageOwner: service.uid, ...standard, ...more })
    for (const file of [installed().udiRootConf, installed().runtimeConf]) rmSync(file, { recursive: true, force: true })
  }
  beforeAll(async () => {
    await unmountBelow(prefix)
    removeNative(prefix)
    native = await installNative({ prefix })
    mkdirSync(images, { recursive: true })
    own(images, service, 0o755)
    configure()
  })
  afterEach(() => configure())
  afterAll(() => native?.remove())
  return {
    prefix,
    images,
    helper: join(prefix, 'bin/shifter'),
    sbin: (program) => join(prefix, 'sbin', program),
    get native() {
      return installed()
    },
    configure,
  }
}

/** Compile the program that starts others in ways that no shell can. Static, so that it runs inside an image too. */
export const compileLaunch = async (file: string): Promise<void> => {
  await runOk(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-static', '-o', file, fileURLToPath(new URL('../native/launch.c', import.meta.url))])
}
