/**
 * The commands and options of `shifter-gateway`.
 *
 * @module
 */

export const optionTypes = {
  config: { type: "string", short: "c" },
  json: { type: "boolean" },
  "log-level": { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
  user: { type: "string", short: "u" },
  label: { type: "string" },
  scope: { type: "string" },
  system: { type: "string", short: "s" },
  days: { type: "string" },
  out: { type: "string", short: "o" }
} as const

export interface Values {
  readonly config?: string | undefined
  readonly json?: boolean | undefined
  readonly "log-level"?: string | undefined
  readonly help?: boolean | undefined
  readonly version?: boolean | undefined
  readonly user?: string | undefined
  readonly label?: string | undefined
  readonly scope?: string | undefined
  readonly system?: string | undefined
  readonly days?: string | undefined
  readonly out?: string | undefined
}

const common = ["config", "json"] as const

const commands = [
  { name: "serve", operands: 0, options: ["config", "log-level"] },
  { name: "check", operands: 0, options: common },
  { name: "token create", operands: 0, options: [...common, "user", "label", "scope", "system", "days"] },
  { name: "token list", operands: 0, options: [...common, "user"] },
  { name: "token revoke", operands: 1, options: common },
  { name: "wlm render", operands: 1, options: [...common, "system", "out"] },
  { name: "wlm check", operands: 1, options: [...common, "system"] }
] as const satisfies ReadonlyArray<{ readonly name: string; readonly operands: number; readonly options: ReadonlyArray<keyof typeof optionTypes> }>
export type CommandName = (typeof commands)[number]["name"]

/** The command that words begin with; `serve` where there are none. */
export const commandOf = (words: ReadonlyArray<string>) =>
  commands.find(({ name }) => name === (words.length === 0 ? "serve" : words.slice(0, name.split(" ").length).join(" ")))

export const help = `shifter-gateway [options] [COMMAND]

Serves the images of a site to its users over HTTP.

Commands:
  serve                     serve until a signal comes; what is done without a command
  check                     say what the configuration means, every mistake in it, and what is doubtful
  token create              make a token for a user; prints its secret, once
  token list                list tokens
  token revoke ID           end a token
  wlm render NAME           write the files by which a workload manager (slurm, pbs) runs jobs in images
  wlm check NAME            say whether this machine is set up by them

Options:
  -c, --config FILE         configuration; default: /etc/shifter/gateway.json
      --log-level LEVEL     serve: debug, info (default), warning or error
      --json                print the result, or the error, as JSON
  -u, --user NAME           token: whose it is, by name or number
      --label TEXT          token create: what it is for
      --scope LIST          token create: read (default), pull or manage, separated by commas
  -s, --system LIST         token create: systems it is good for; default: all. wlm: the system meant
      --days N              token create: days until it expires; default: 90
  -o, --out DIR             wlm render: where the files are written
  -h, --help                print this help
      --version             print the version
`
