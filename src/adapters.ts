/**
 * The adapters of this package: from a site's configuration to a workload manager.
 *
 * @module
 */
import type { Site, System } from "./core/Site.js"
import type { WlmAdapter } from "./core/Wlm.js"
import { adapter as pbs } from "./wlm/pbs/index.js"
import { adapter as slurm } from "./wlm/slurm/index.js"

/** `jobOptions` are those of the gateway's own jobs. */
type Make = (site: Site, system: System, jobOptions: ReadonlyArray<string>) => WlmAdapter

export const adapters = {
  slurm: (site, { slurm: settings }, jobOptions) => slurm({ ...settings, prefix: settings?.prefix ?? site.prefix, jobOptions }),
  pbs: (site, { pbs: settings }, jobOptions) => pbs({ ...settings, prefix: settings?.prefix ?? site.prefix, jobOptions })
} satisfies Readonly<Record<string, Make>>

/** A workload manager that this package has an adapter for. */
export type AdapterName = keyof typeof adapters

export const isAdapterName = (name: string): name is AdapterName => Object.hasOwn(adapters, name)
