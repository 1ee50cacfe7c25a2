/**
 * Inflates layer blobs with the fastest tool present. The form is known by content, not by what a manifest says of it.
 *
 * @module
 */
import { open } from "node:fs/promises"
import { createGunzip } from "node:zlib"
import { createReadStream } from "node:fs"
import { errorFields, ImageError, messageOf, printable } from "../../core/Errors.js"
import * as Process from "../../core/Process.js"

/** Bytes that zstd may use for its window: larger ones are refused by the tool. */
const ZSTD_WINDOW = "128MiB"

type Form = "gzip" | "zstd" | "plain"

/**
 * The inflated bytes of a blob, in pieces. Ending the iteration early ends the tool. Throws {@link ImageError}; `layer` names the layer in it.
 */
export async function* inflate(file: string, layer: string): AsyncGenerator<Buffer> {
  const form = await formOf(file)
  if (form === "plain") {
    yield* createReadStream(file, { highWaterMark: 256 * 1024 })
    return
  }
  if (form === "gzip" && (igzip ??= await isInstalled("igzip")) === false) {
    yield* gunzip(file, layer)
    return
  }
  const handle = await open(file, "r")
  let process: Process.Process
  try {
    process =
      form === "gzip"
        ? await Process.start("igzip", ["-dc"], { stdin: handle.fd, stdout: "pipe" })
        : await Process.start("zstd", ["-dcq", `--memory=${ZSTD_WINDOW}`], { stdin: handle.fd, stdout: "pipe" })
  } catch (error) {
    throw new ImageError(
      errorFields("TOOL_MISSING", `${layer} can't be inflated: ${messageOf(error)}`, {
        remedy: `Install the package ${form === "gzip" ? "isal" : "zstd"}.`,
        cause: error
      })
    )
  } finally {
    await handle.close()
  }
  try {
    for await (const chunk of process.stdout ?? []) yield chunk as Buffer
    const exit = await process.exit
    if (exit.status !== 0) throw damaged(layer, form, exit.stderr || `status ${exit.status}`)
  } finally {
    process.kill()
  }
}

/** Whether igzip is there; found out once. */
let igzip: boolean | undefined

const isInstalled = async (program: string): Promise<boolean> => {
  try {
    const process = await Process.start(program, ["--version"], { stdin: "ignore", stdout: "ignore" })
    await process.exit
    return true
  } catch {
    return false
  }
}

async function* gunzip(file: string, layer: string): AsyncGenerator<Buffer> {
  const stream = createReadStream(file).pipe(createGunzip({ chunkSize: 256 * 1024 }))
  try {
    for await (const chunk of stream) yield chunk as Buffer
  } catch (error) {
    throw damaged(layer, "gzip", messageOf(error))
  } finally {
    stream.destroy()
  }
}

const formOf = async (file: string): Promise<Form> => {
  const handle = await open(file, "r")
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    if (bytesRead >= 2 && buffer.readUInt16BE(0) === 0x1f8b) return "gzip"
    if (bytesRead === 4 && buffer.readUInt32LE(0) === 0xfd2fb528) return "zstd"
    return "plain"
  } finally {
    await handle.close()
  }
}

const damaged = (layer: string, form: Form, said: string) =>
  new ImageError(errorFields("LAYER_INVALID", `${layer} is no valid ${form} stream (${printable(said)})`))
