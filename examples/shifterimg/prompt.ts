/**
 * Questions on the terminal.
 *
 * @module
 */
import { createInterface } from "node:readline/promises"
import { usageFault } from "./failure.js"

const noAnswer = () => usageFault("there was no answer", "Answer, or give --username and --password-stdin.")

/** Whether there is somebody to ask. */
export const canAsk = (): boolean => process.stdin.isTTY && process.stderr.isTTY

/** A line that is shown while it is typed. */
export const ask = async (question: string, signal: AbortSignal): Promise<string> => {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  // In its hands, Ctrl-C is no signal, and the end of the input no answer.
  const ended = new Promise<never>((_, reject) => {
    terminal.once("SIGINT", () => process.kill(process.pid, "SIGINT"))
    terminal.once("close", () => reject(noAnswer()))
  })
  try {
    return await Promise.race([terminal.question(question, { signal }), ended])
  } finally {
    terminal.close()
  }
}

const INTERRUPT = "\x03"
const END = "\x04"
const ERASE_LINE = "\x15"

/** A line that is not shown. */
export const askSecretly = (question: string, signal: AbortSignal): Promise<string> =>
  new Promise((resolve, reject) => {
    const { stderr, stdin } = process
    let typed: ReadonlyArray<string> = []
    const end = (settle: () => void) => {
      stdin.off("data", take).setRawMode(false).pause()
      signal.removeEventListener("abort", aborted)
      stderr.write("\n")
      settle()
    }
    const aborted = () => end(() => reject(new Error("interrupted")))
    const take = (input: Buffer) => {
      // A terminal may hand over several characters at once.
      for (const character of input.toString()) {
        if (character === "\r" || character === "\n") {
          end(() => resolve(typed.join("")))
          return
        }
        if (character === END) {
          end(() => reject(noAnswer()))
          return
        }
        if (character === INTERRUPT) process.kill(process.pid, "SIGINT")
        else if (character === "\x7f" || character === "\b") typed = typed.slice(0, -1)
        else if (character === ERASE_LINE) typed = []
        else typed = [...typed, character]
      }
    }
    signal.throwIfAborted()
    signal.addEventListener("abort", aborted)
    // Nobody answers before he is asked, and from then on nothing is shown.
    stdin.setRawMode(true).on("data", take).resume()
    stderr.write(question)
  })
