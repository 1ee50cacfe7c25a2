/**
 * The native programs, built and installed as a site would: under a prefix of their own, setuid, with a configuration.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runOk } from './process.js'

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
/** Only a directory that says it is ours is ever removed. */
const MARKER = '.shifter-sdk-test'

/** Another one lets two working copies be tested at once. */
export const DEFAULT_PREFIX = process.env['SHIFTER_TEST_PREFIX'] ?? '/opt/shifter-sdk-test'

/**
 * What test files that need nothing special share: the global set-up installs below {@link DEFAULT_PREFIX} and configures it once.
 * A file that needs another configuration installs below a prefix of its own.
 */
export const SHARED_IMAGE_PATH = join(DEFAULT_PREFIX, 'images')
/** Shown inside at `/site`. */
export const SHARED_SITE_VOLUME = join(DEFAULT_PREFIX, 'site')

/** What the helper's two configuration files hold. */
export interface NativeConfig {
  readonly imagePath: string
  /** uid of the account that owns the image path. */
  readonly imageOwner: number
  /** Site volumes, one `siteFs` line each. */
  readonly siteFs?: readonly string[]
  /** Further or replacing keys of `udiRoot.conf`; `undefined` leaves a key out. */
  readonly udiRoot?: Readonly<Record<string, string | undefined>>
  /** Further or replacing keys of `runtime.conf`. */
  readonly runtime?: Readonly<Record<string, string | undefined>>
}

export interface NativeInstallation {
  readonly prefix: string
  /** Path of an installed program. */
  readonly bin: (name: string) => string
  readonly udiRootConf: string
  readonly runtimeConf: string
  /**
   * Write both files. Their place is fixed when the programs are built, so tests that want different configurations at the
   * same time need different prefixes.
   */
  readonly configure: (config: NativeConfig) => void
  readonly remove: () => void
}

const lines = (values: Readonly<Record<string, string | undefined>>): string[] =>
  Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]))

/** The text of `udiRoot.conf`. The programs it must name exist on every Debian. */
export const udiRootConf = (prefix: string, config: NativeConfig): string =>
  [
    ...lines({
      udiMount: join(prefix, 'var/udiMount'),
      loopMount: join(prefix, 'var/loopMount'),
      imagePath: config.imagePath,
      udiRootPath: prefix,
      etcPath: join(prefix, 'etc/shifter/etc_files'),
      rootfsType: 'tmpfs',
      cpPath: '/bin/cp',
      mvPath: '/bin/mv',
      chmodPath: '/bin/chmod',
      ddPath: '/bin/dd',
      // Never run; only checked to be there, and a slim machine has no kmod.
      modprobePath: '/bin/true',
      insmodPath: '/bin/true',
      allowLibcPwdCalls: '1',
      populateEtcDynamically: '1',
      defaultImageType: 'docker',
      system: 'test',
      ...config.udiRoot,
    }),
    ...(config.siteFs ?? []).map((volume) => `siteFs=${volume}`),
    '',
  ].join('\n')

export const runtimeConf = (prefix: string, config: NativeConfig): string =>
  [...lines({ imageOwner: String(config.imageOwner), runDirectory: join(prefix, 'run'), ...config.runtime }), ''].join('\n')

/** Other programs may be starting while a file is replaced: they see the old or the new one. */
const replaceFile = (path: string, text: string): void => {
  writeFileSync(`${path}.new`, text, { mode: 0o644 })
  renameSync(`${path}.new`, path)
}

/** Build and install under `prefix`; a build directory is kept per prefix, so a second call only compiles what changed. */
export const installNative = async (options: { readonly prefix?: string } = {}): Promise<NativeInstallation> => {
  const prefix = options.prefix ?? DEFAULT_PREFIX
  if (!prefix.startsWith('/opt/') || basename(prefix) === '') throw new Error(`test prefixes lie below /opt: ${prefix}`)
  const key = createHash('sha256').update(prefix).digest('hex').slice(0, 8)
  const build = join(REPOSITORY, `build-native-test-${key}`)
  mkdirSync(build, { recursive: true })
  mkdirSync(prefix, { recursive: true, mode: 0o755 })
  writeFileSync(join(prefix, MARKER), '')

  // Test files run side by side: one builds, the others find it done. The C tests are built elsewhere, with sanitizers.
  const script = `
    set -e
    if [ ! -e "$BUILD/build.ninja" ]; then
      meson setup "$BUILD" "$SOURCE" --prefix="$PREFIX" --sysconfdir="$PREFIX/etc" --buildtype=release -Dtests=false
    fi
    ninja -C "$BUILD"
    meson install -C "$BUILD" --no-rebuild`
  await runOk(['flock', join(build, '.lock'), 'sh', '-c', script], {
    env: { ...process.env, BUILD: build, SOURCE: join(REPOSITORY, 'native'), PREFIX: prefix },
    timeoutMs: 300_000,
  })

  const bin = (name: string): string => join(prefix, 'bin', name)
  const helper = statSync(bin('shifter'))
  if (helper.uid !== 0 || (helper.mode & 0o4000) === 0) {
    throw new Error(`${bin('shifter')} was not installed setuid root (mode ${helper.mode.toString(8)})`)
  }
  const etc = join(prefix, 'etc/shifter')
  for (const dir of ['etc/shifter', 'etc/shifter/etc_files', 'var/udiMount', 'var/loopMount']) {
    mkdirSync(join(prefix, dir), { recursive: true, mode: 0o755 })
  }
  const paths = { udiRootConf: join(etc, 'udiRoot.conf'), runtimeConf: join(etc, 'runtime.conf') }
  return {
    prefix,
    bin,
    ...paths,
    configure: (config) => {
      replaceFile(paths.udiRootConf, udiRootConf(prefix, config))
      replaceFile(paths.runtimeConf, runtimeConf(prefix, config))
    },
    remove: () => removeNative(prefix),
  }
}

/** Remove an installation made by {@link installNative}; the build directory stays, to be quick the next time. */
export const removeNative = (prefix: string): void => {
  if (!existsSync(prefix)) return
  if (!existsSync(join(prefix, MARKER))) throw new Error(`not an installation of the tests: ${prefix}`)
  rmSync(prefix, { recursive: true, force: true })
}
