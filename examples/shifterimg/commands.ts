/**
 * What the commands do: call the library, and show what it says.
 *
 * @module
 */
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { Errors, type ImageInfo, inspectImage, listImages, lookupImage, pullImage, removeImage, type ShifterError } from "shifter-sdk"
import { progressDisplay } from "./progress.js"
import { bytes, safe, table } from "./text.js"
import type { Command } from "./usage.js"

export interface Values {
  readonly config?: string | undefined
  readonly system?: string | undefined
  readonly json?: boolean | undefined
  readonly platform?: string | undefined
  readonly user?: string | undefined
  readonly group?: string | undefined
  readonly username?: string | undefined
  readonly "password-stdin"?: boolean | undefined
  readonly quiet?: boolean | undefined
}

/** Runs a command; its exit status. */
export const execute = async (name: Command["name"], operand: string = "", values: Values): Promise<number> => {
  const cancel = new AbortController()
  const interrupted = () => cancel.abort(new Error("interrupted"))
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted)
  const common = { config: values.config, system: values.system, signal: cancel.signal }
  const print = (result: unknown, text: string) => process.stdout.write(values.json === true ? `${JSON.stringify(result)}\n` : text)
  try {
    switch (name) {
      case "pull": {
        const display = progressDisplay(process.stderr, values.quiet === true || values.json === true)
        try {
          const record = await pullImage(operand, {
            ...common,
            platform: values.platform,
            credentials: await credentials(values),
            allowUids: values.user === undefined ? undefined : await ids("-u", values.user),
            allowGids: values.group === undefined ? undefined : await groupIds(values.group),
            onProgress: display.event
          })
          display.end(`${record.reference} is ready: ${bytes(record.imageSize)}, ${record.entries} files`)
          print(record, `${record.id}\n`)
        } finally {
          display.end()
        }
        return 0
      }
      case "images": {
        const { images, problems } = await listImages(common)
        for (const { what, where } of problems) process.stderr.write(`shifterimg: warning: ${safe(where)}: ${safe(what)}\n`)
        print(images, images.length === 0 ? "" : table(["REFERENCE", "ID", "SIZE", "PLATFORM", "ACCESS"], rowsOf(images)))
        return 0
      }
      case "lookup": {
        const id = await lookupImage(operand, common)
        print({ id }, `${id}\n`)
        return 0
      }
      case "inspect": {
        const info = await inspectImage(operand, common)
        print(info, description(info))
        return 0
      }
      case "rm": {
        const removal = await removeImage(operand, common)
        print(
          removal,
          removal.image
            ? `Removed the image ${removal.id} and ${removal.names.length} names.\n`
            : `Removed the name ${removal.names.join(", ")}. The image stays for jobs that have it pinned; shifterimg rm id:${removal.id} removes it.\n`
        )
        return 0
      }
    }
  } catch (error) {
    return failed(error, values.json === true)
  } finally {
    process.removeListener("SIGINT", interrupted).removeListener("SIGTERM", interrupted)
  }
}

const failed = (error: unknown, json: boolean): number => {
  const known: Pick<ShifterError, "code" | "message" | "reason" | "what" | "remedy"> = Errors.isShifterError(error)
    ? error
    : Errors.errorFields("INTERNAL", `Unexpected: ${Errors.messageOf(error)}`)
  const { code, message, reason, what, remedy } = known
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, reason, what, remedy, message } })}\n`)
  else process.stderr.write(`shifterimg: ${code}: ${message}\n`)
  return Errors.errorTable[code].exit
}

const usageFault = (what: string, remedy: string) => new Errors.FormatError(Errors.errorFields("USAGE", what, { remedy }))

const credentials = async (values: Values) => {
  if (values.username === undefined && values["password-stdin"] !== true) return undefined
  if (values.username === undefined || values["password-stdin"] !== true) {
    throw usageFault("--username and --password-stdin belong together", "Write for example: shifterimg pull --username me --password-stdin REFERENCE < password.")
  }
  const chunks: Array<Buffer> = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return { username: values.username, password: Buffer.concat(chunks).toString("utf8").split("\n")[0] ?? "" }
}

const run = promisify(execFile)

/** Numbers of a list of user names or numbers. */
const ids = async (kind: "-u", list: string | undefined): Promise<ReadonlyArray<number>> =>
  Promise.all(
    elements(list).map(async (name) => {
      if (/^[0-9]+$/.test(name)) return Number(name)
      const { stdout } = await run("id", [kind, "--", name]).catch(() => {
        throw usageFault(`There is no user "${safe(name)}"`, "Name users by name or number.")
      })
      return Number(stdout)
    })
  )

const groupIds = async (list: string | undefined): Promise<ReadonlyArray<number>> =>
  Promise.all(
    elements(list).map(async (name) => {
      if (/^[0-9]+$/.test(name)) return Number(name)
      const { stdout } = await run("getent", ["group", "--", name]).catch(() => {
        throw usageFault(`There is no group "${safe(name)}"`, "Name groups by name or number.")
      })
      return Number(stdout.split(":")[2])
    })
  )

const elements = (list: string | undefined) => (list ?? "").split(",").map((each) => each.trim()).filter((each) => each !== "")

const rowsOf = (images: ReadonlyArray<ImageInfo>) =>
  images
    .flatMap(({ names, record }) => (names.length === 0 ? [`id:${record.id}`] : names).map((name) => [safe(name), record.id.slice(0, 12), bytes(record.imageSize), record.platform, record.access]))
    .sort((a, b) => ((a[0] ?? "") < (b[0] ?? "") ? -1 : 1))

const description = ({ names, record, system }: ImageInfo): string => {
  const lines: Array<readonly [string, string]> = [
    ["id", record.id],
    ["system", system],
    ...names.map((name) => ["name", name] as const),
    ["source", record.sourceDigest],
    ...(record.manifestDigest === undefined ? [] : [["manifest", record.manifestDigest] as const]),
    ["platform", record.platform],
    ["size", `${bytes(record.imageSize)} (${record.imageSize} bytes), ${record.entries} files`],
    ["sha256", record.imageSha256],
    ["packed by", record.profile],
    ["access", record.access === "public" ? "public" : `private: owner ${record.owner}, users ${record.allowUids.join(",") || "-"}, groups ${record.allowGids.join(",") || "-"}`],
    ...(record.entrypoint.length === 0 ? [] : [["entry point", JSON.stringify(record.entrypoint)] as const]),
    ...(record.command.length === 0 ? [] : [["command", JSON.stringify(record.command)] as const]),
    ...(record.workdir === undefined ? [] : [["directory", record.workdir] as const]),
    ...record.env.map((entry) => ["env", entry] as const),
    ...record.labels.map(([name, value]) => ["label", `${name}=${value}`] as const)
  ]
  return lines.map(([key, value]) => `${key.padEnd(12)}${safe(value)}\n`).join("")
}
