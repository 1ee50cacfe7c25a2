#!/usr/bin/env node
/**
 * `shifterimg`: the command line of the image gateway. A thin program on the public face of the library.
 *
 * @module
 */
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import manifest from "../../package.json" with { type: "json" }
import { commands, help, optionTypes } from "./usage.js"

const run = async (argv: ReadonlyArray<string>): Promise<number> => {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(argv)
  } catch (error) {
    return usage(error instanceof Error ? error.message.replace(/\.? To specify.*$/s, "") : String(error))
  }
  const { values, positionals } = parsed
  const [name, ...rest] = positionals
  if (values.version === true) {
    process.stdout.write(`shifterimg ${manifest.version}\n`)
    return 0
  }
  const command = commands.find((each) => each.name === name)
  if (values.help === true || (name === "help" && rest.length === 0)) {
    process.stdout.write(help(command))
    return 0
  }
  if (name === undefined) return usage("a command is missing")
  if (command === undefined) return usage(`there is no command "${name}"`)
  if (rest.length !== command.operands.length) {
    return usage(`${name} takes ${command.operands.length === 0 ? "no operand" : command.operands.join(" ")}`)
  }
  // Loaded only now: help and version answer at once.
  const { execute } = await import("./commands.js")
  return execute(command.name, rest[0], values)
}

const parse = (argv: ReadonlyArray<string>) => parseArgs({ args: [...argv], options: optionTypes, allowPositionals: true, strict: true })

const usage = (why: string): number => {
  process.stderr.write(`shifterimg: USAGE: ${why}. See shifterimg --help.\n`)
  return 2
}

// This program lives for seconds and directs others that move the bytes. Every 64 MiB of network buffers makes V8 collect, in small steps
// beside the program, which costs twice the processor time; and compiling for speed costs more than it gives back.
setFlagsFromString("--no-incremental-marking")
setFlagsFromString("--no-opt")

// A reader that has seen enough (head, less) is no error.
process.stdout.on("error", (error) => process.exit("code" in error && error.code === "EPIPE" ? 0 : 70))
process.exitCode = await run(process.argv.slice(2))
