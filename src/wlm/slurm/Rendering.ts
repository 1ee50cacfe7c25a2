/**
 * The files by which a site makes images a part of its Slurm. None of them holds a word of a user's.
 *
 * @module
 */
import type { RenderedFile } from "../../core/Wlm.js"

/** What the files depend on. */
export interface Installation {
  /** Where the native programs are on the nodes. */
  readonly prefix: string
  /** Where the files are put. */
  readonly directory: string
  readonly longOptions: boolean
  readonly tasks: "outside" | "inside"
  readonly shifterimg: string | undefined
}

/** The plugin, where the native programs are installed below a prefix. */
export const pluginOf = (prefix: string): string => `${prefix}/lib/shifter/shifter_slurm.so`
/** What Slurm's prologue and epilogue are, by the first line of their files. */
export const jobProgramOf = (prefix: string): string => `${prefix}/libexec/shifter/shifter-job`

/** The line of `plugstack.conf` that loads the plugin. */
export const pluginLine = ({ longOptions, prefix, shifterimg, tasks }: Installation): string =>
  ["required", pluginOf(prefix), ...(longOptions ? ["long_options"] : []), ...(tasks === "inside" ? ["tasks=inside"] : []), ...(shifterimg === undefined ? [] : [`shifterimg=${shifterimg}`])].join(" ")

export const render = (installation: Installation): ReadonlyArray<RenderedFile> => {
  const { directory, prefix } = installation
  const ofRoot = `# Belongs to root, mode 0755, on every compute node: ${directory}.`
  return [
    {
      name: "plugstack.conf",
      mode: 0o644,
      content: `# The options of sbatch, salloc and srun, and what a step runs inside of. Belongs on every machine of the cluster where jobs are submitted
# or run. In /etc/slurm/plugstack.conf, or the file that PlugStackConfig of slurm.conf names, write:
#   include ${directory}/plugstack.conf
${pluginLine(installation)}
`
    },
    {
      name: "prologue",
      mode: 0o755,
      content: `#!${jobProgramOf(prefix)} slurm-prologue
# Run by slurmd as root before a job's first task: prepares the root that the job asked for. The program above reads none of this; no shell does.
${ofRoot}
`
    },
    {
      name: "epilogue",
      mode: 0o755,
      content: `#!${jobProgramOf(prefix)} slurm-epilogue
# Run by slurmd as root after a job's last task: removes the job's roots. The program above reads none of this; no shell does.
${ofRoot}
`
    },
    {
      name: "slurm.conf",
      mode: 0o644,
      content: `# What slurm.conf needs, on every machine of the cluster. Where it has none of these lines yet, write in it:
#   include ${directory}/slurm.conf
# Where it has, add these to its own: a Prolog that is a pattern, such as /etc/slurm/prolog.d/*, runs a link to this one beside others, and flags are
# separated by commas. Then: scontrol reconfigure
Prolog=${directory}/prologue
Epilog=${directory}/epilogue
# The root is ready when salloc returns, and not only when the first step begins.
PrologFlags=Alloc
`
    }
  ]
}
