/**
 * The commands and options of `shifterimg`, in one table from which the parser and the help are made.
 *
 * @module
 */

export interface Command {
  readonly name: "pull" | "import" | "images" | "lookup" | "inspect" | "rm" | "login" | "logout" | "export" | "pin" | "unpin" | "keep" | "gc" | "scrub" | "completions"
  readonly operands: ReadonlyArray<string>
  readonly text: string
  readonly options: ReadonlyArray<keyof typeof options>
}

/** Those that ask the gateway. */
export type ServiceCommand = Exclude<Command["name"], "completions">

interface Option {
  readonly type: "string" | "boolean"
  readonly multiple?: true
  readonly short?: string
  readonly value?: string
  readonly text: string
}

export const options = {
  config: { type: "string", short: "c", value: "FILE", text: "configuration; default: /etc/shifter/gateway.json, else your own directories" },
  gateway: { type: "string", value: "URL", text: "ask this gateway service; several by commas; default: the configuration's or $SHIFTER_GATEWAY's" },
  system: { type: "string", short: "s", value: "NAME", text: "system to work on; default: the configuration's" },
  json: { type: "boolean", text: "print the result, or the error, as JSON" },
  help: { type: "boolean", short: "h", text: "print this help" },
  version: { type: "boolean", text: "print the version" },
  platform: { type: "string", value: "OS/ARCH", text: "platform to choose from a multi-platform image; default: this machine's" },
  user: { type: "string", short: "u", value: "LIST", text: "users, by name or number, that may use the image beside you; makes it private" },
  group: { type: "string", short: "g", value: "LIST", text: "groups whose members may use the image; makes it private" },
  username: { type: "string", value: "NAME", text: "user name for the registry; the password is asked for on the terminal" },
  "password-stdin": { type: "boolean", text: "read the registry's password from standard input instead" },
  verify: { type: "boolean", text: "read an image that is there already again; convert it anew when it is damaged" },
  partition: { type: "string", short: "p", value: "NAME", text: "which system of a disk that holds several: 2, VG/LV or 2@SUBVOLUME" },
  env: { type: "string", multiple: true, short: "e", value: "NAME=VALUE", text: "a variable of the image's environment; repeatable" },
  entrypoint: { type: "string", value: "JSON", text: 'the program that a start runs, with its first arguments: \'["/bin/app"]\'' },
  command: { type: "string", value: "JSON", text: 'further arguments, or the program where there is no entry point: \'["--help"]\'' },
  workdir: { type: "string", short: "w", value: "DIRECTORY", text: "the directory that a program starts in" },
  label: { type: "string", multiple: true, value: "NAME=VALUE", text: "a label of the image; repeatable" },
  format: { type: "string", value: "FORMAT", text: "tar (default), oci or squashfs" },
  output: { type: "string", short: "o", value: "FILE", text: "where to write; nothing may be there yet" },
  for: { type: "string", value: "TIME", text: "how long from now: 30d, 12h or 45m, or ever" },
  "dry-run": { type: "boolean", text: "tell what would be removed, and remove nothing" },
  quiet: { type: "boolean", short: "q", text: "show no progress; of images, print the references alone" }
} as const satisfies Record<string, Option>

const common = ["config", "gateway", "system", "json", "help"] as const

export const commands: ReadonlyArray<Command> = [
  {
    name: "pull",
    operands: ["REFERENCE"],
    text: "fetch an image, convert it and publish it; prints its id",
    options: [...common, "platform", "user", "group", "username", "password-stdin", "verify", "partition", "quiet"]
  },
  {
    name: "import",
    operands: ["REFERENCE", "FILE"],
    text: "make an image of a file and publish it as custom:NAME[:TAG] (squashfs, tar, tar.gz, tar.zst), vm:NAME[:TAG] (a disk, an OVA) or chos:NAME; prints its id",
    options: [...common, "platform", "user", "group", "partition", "env", "entrypoint", "command", "workdir", "label", "quiet"]
  },
  { name: "images", operands: [], text: "list the images of a system", options: [...common, "quiet"] },
  { name: "lookup", operands: ["REFERENCE"], text: "print the id that a reference points to", options: common },
  { name: "inspect", operands: ["REFERENCE"], text: "print all that is known of an image", options: common },
  { name: "rm", operands: ["REFERENCE"], text: "remove a name (jobs that have the image pinned keep it), or with id:ID the image itself", options: common },
  {
    name: "login",
    operands: ["REGISTRY"],
    text: "try a login at a registry, and keep it as docker login does",
    options: ["config", "json", "help", "username", "password-stdin"]
  },
  { name: "logout", operands: ["REGISTRY"], text: "forget a login", options: ["config", "json", "help"] },
  { name: "export", operands: ["REFERENCE"], text: "write an image to a file, or as an OCI layout", options: [...common, "format", "output"] },
  { name: "pin", operands: ["REFERENCE"], text: "pin an image: it neither expires nor is collected", options: common },
  { name: "unpin", operands: ["REFERENCE"], text: "take your pin away", options: common },
  { name: "keep", operands: ["REFERENCE"], text: "say how long an image is kept that nobody uses", options: [...common, "for"] },
  { name: "gc", operands: [], text: "remove what has expired, what no name points to any more, and what ended pulls have left", options: [...common, "dry-run"] },
  { name: "scrub", operands: [], text: "read the images again and tell which are damaged, with status 1; the next pull converts those anew", options: common },
  { name: "completions", operands: ["SHELL"], text: "print completions for bash, zsh or fish", options: ["json", "help"] }
]

/** For `parseArgs` of Node. */
export const optionTypes = options

/** The help of the program or of one command. */
export const help = (command: Command | undefined): string => {
  const shown: ReadonlyArray<keyof typeof options> = command?.options ?? [...common, "version"]
  const optionLines = shown.map((name) => {
    const option: Option = options[name]
    const left = `${option.short === undefined ? "    " : `-${option.short}, `}--${name}${option.value === undefined ? "" : ` ${option.value}`}`
    return `  ${left.padEnd(26)}${option.text}`
  })
  if (command !== undefined) {
    return `shifterimg ${[command.name, "[options]", ...command.operands].join(" ")}\n\n${command.text[0]?.toUpperCase() ?? ""}${command.text.slice(1)}.\n\nOptions:\n${optionLines.join("\n")}\n`
  }
  const commandLines = commands.map((each) => `  ${[each.name, ...each.operands].join(" ").padEnd(26)}${each.text}`)
  return `shifterimg [options] COMMAND

Images for supercomputers: pulled once, run on every node.

Commands:
${commandLines.join("\n")}

A reference is [TYPE:]REFERENCE, for example docker:debian:12, docker:registry.example.org:5000/group/name@sha256:…, oci:/srv/layout:v1, id:4f6a….

Options:
${optionLines.join("\n")}
`
}
