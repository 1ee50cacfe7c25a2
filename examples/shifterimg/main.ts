#!/usr/bin/env node
/**
 * `shifterimg`: the command line of the image gateway. A thin program on the public face of the library.
 *
 * @module
 */
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import manifest from "../../package.json" with { type: "json" }
import { completions, shells } from "./completions.js"
import { type Command, commands, help, optionTypes } from "./usage.js"

const run = async (argv: ReadonlyArray<string>): Promise<number> => {
  const end = argv.indexOf("--")
  // Known before the rest is understood, since a mistake is told as asked for.
  const usage = usageOf((end < 0 ? argv : argv.slice(0, end)).includes("--json"))
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(argv)
  } catch (error) {
    return usage(error instanceof Error ? error.message.replace(/\.? To specify.*$/s, "") : String(error))
  }
  const { values, positionals } = parsed
  const [name, ...rest] = positionals
  if (name === undefined && values.version === true) return say(`shifterimg ${manifest.version}\n`)
  if (name === undefined && values.help === true) return say(help(undefined))
  if (name === undefined) return usage("a command is missing")
  const topic = name === "help" ? rest[0] : name
  const command = commands.find((each) => each.name === topic)
  if (command === undefined && topic !== undefined) return usage(`there is no command "${topic}"`)
  if (name === "help" && rest.length > 1) return usage(`help takes one COMMAND; there are ${rest.length}`)
  if (command === undefined || name === "help" || values.help === true) return say(help(command))
  const foreign = Object.keys(values).find((option) => !command.options.some((own) => own === option))
  if (foreign !== undefined) return usage(`${name} has no option --${foreign}`)
  if (rest.length !== command.operands.length) return usage(wrongOperands(command, rest.length))
  if (command.name === "completions") {
    const shell = shells.find((each) => each === rest[0])
    return shell === undefined ? usage(`there are completions for ${shells.join(", ")}, not for "${rest[0] ?? ""}"`) : say(completions(shell))
  }
  // Loaded only now: help and version answer at once.
  const { execute } = await import("./commands.js")
  return execute(command.name, rest, values)
}

const parse = (argv: ReadonlyArray<string>) => parseArgs({ args: [...argv], options: optionTypes, allowPositionals: true, strict: true })

const say = (text: string): number => {
  process.stdout.write(text)
  return 0
}

const wrongOperands = ({ name, operands }: Command, given: number): string => {
  const [operand, ...further] = operands
  if (further.length > 0) return `${name} needs ${operands.join(" and ")}; there ${given === 1 ? "is 1" : `are ${given}`}`
  if (operand === undefined) return `${name} takes no operand; there ${given === 1 ? "is 1" : `are ${given}`}`
  return given === 0 ? `${name} needs a ${operand}` : `${name} takes one ${operand}; there are ${given}`
}

const usageOf = (json: boolean) => async (what: string): Promise<number> => {
  const { failed, usageFault } = await import("./failure.js")
  return failed(usageFault(what), json)
}

// This program lives for seconds and directs others that move the bytes. Every 64 MiB of network buffers makes V8 collect, in small steps
// beside the program, which costs twice the processor time; and compiling for speed costs more than it gives back.
setFlagsFromString("--no-incremental-marking")
setFlagsFromString("--no-opt")

// A reader that has seen enough (head, less) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0)
  void import("./failure.js").then(({ failed, outputFault }) => process.exit(failed(outputFault(error), false)))
})
process.exitCode = await run(process.argv.slice(2))
