/** A site of a test's own: an image path and a state directory below one workspace. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Site } from 'shifter-sdk'
import { DEFAULT_PREFIX } from './native.js'

export interface TestSite {
  readonly config: {
    readonly version: 1
    readonly stateDirectory: string
    readonly prefix: string
    readonly systems: { readonly test: Site.SystemConfig }
    readonly registries: Record<string, { readonly plainHttp: boolean; readonly ca?: string; readonly mirrors?: readonly string[] }>
    readonly network?: { readonly connectSeconds?: number; readonly headersSeconds?: number; readonly stallSeconds?: number }
    readonly cache?: { readonly bytes: number }
    readonly dockerLogins?: false
    readonly pulls?: object
    readonly postgres?: { readonly host: string; readonly port: number; readonly database: string; readonly username: string; readonly connections: number }
  }
  readonly imagePath: string
  readonly stateDirectory: string
}

/** A site below a directory, its image path made; `registries` are reached by plain HTTP. */
export const testSite = (directory: string, registries: readonly string[] = []): TestSite => {
  const imagePath = join(directory, 'images')
  const stateDirectory = join(directory, 'state')
  mkdirSync(imagePath, { recursive: true, mode: 0o755 })
  return {
    config: {
      version: 1,
      stateDirectory,
      prefix: DEFAULT_PREFIX,
      systems: { test: { imagePath } },
      registries: Object.fromEntries(registries.map((host) => [host, { plainHttp: true }])),
    },
    imagePath,
    stateDirectory,
  }
}
