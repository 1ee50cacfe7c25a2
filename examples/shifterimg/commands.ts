/**
 * What the commands do: call the library, and show what it says.
 *
 * @module
 */
import { execFile } from "node:child_process"
import { resolve } from "node:path"
import { promisify } from "node:util"
import { ClientConfig, collectImages, Errors, Export, exportImage, type ImageInfo, importImage, ImageRef, inspectImage, keepImage, listImages, lookupImage, pinImage, type PublishedImage, pullImage, removeImage, scrubImages, Site, unpinImage } from "shifter-sdk"
import { loginCredentials, pullCredentials } from "./credentials.js"
import { failed, usageFault } from "./failure.js"
import { collection, duration, kept, scrubbing } from "./upkeep.js"
import { statedMetadata } from "./metadata.js"
import { login, logout } from "./login.js"
import { progressDisplay } from "./progress.js"
import { bytes, counted, safe, table } from "./text.js"
import type { ServiceCommand } from "./usage.js"

export interface Values {
  readonly config?: string | undefined
  readonly gateway?: string | undefined
  readonly system?: string | undefined
  readonly json?: boolean | undefined
  readonly platform?: string | undefined
  readonly user?: string | undefined
  readonly group?: string | undefined
  readonly username?: string | undefined
  readonly "password-stdin"?: boolean | undefined
  readonly quiet?: boolean | undefined
  readonly verify?: boolean | undefined
  readonly format?: string | undefined
  readonly output?: string | undefined
  readonly partition?: string | undefined
  readonly env?: ReadonlyArray<string> | undefined
  readonly entrypoint?: string | undefined
  readonly command?: string | undefined
  readonly workdir?: string | undefined
  readonly label?: ReadonlyArray<string> | undefined
  readonly for?: string | undefined
  readonly "dry-run"?: boolean | undefined
}

interface Call {
  readonly operand: string
  /** The second one, of commands that take two. */
  readonly further: string
  readonly values: Values
  readonly common: { readonly config: string | undefined; readonly gateway: string | undefined; readonly system: string | undefined; readonly signal: AbortSignal }
  /** The result on standard output: itself as JSON, or a text that shows it. */
  readonly print: (result: unknown, text: string) => void
  /** Its result is no good one, and its exit status 1. */
  readonly fails: () => void
}

/** Runs a command; its exit status. */
export const execute = async (name: ServiceCommand, operands: ReadonlyArray<string>, values: Values): Promise<number> => {
  const [operand = "", further = ""] = operands
  const cancel = new AbortController()
  const interrupted = () => {
    deaf() // a second signal ends the program at once
    cancel.abort(new Error("interrupted"))
  }
  const deaf = () => void process.removeListener("SIGINT", interrupted).removeListener("SIGTERM", interrupted)
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted)
  let status = 0
  const call: Call = {
    operand,
    further,
    values,
    common: { config: values.config, gateway: values.gateway, system: values.system, signal: cancel.signal },
    print: (result, text) => void process.stdout.write(values.json === true ? `${JSON.stringify(result)}\n` : text),
    fails: () => {
      status = 1
    }
  }
  try {
    await run[name](call)
    return status
  } catch (error) {
    return failed(cancel.signal.aborted ? interruption(name, error) : error, values.json === true)
  } finally {
    deaf()
  }
}

const interruption = (name: ServiceCommand, error: unknown): unknown => {
  if (Errors.isShifterError(error) && error.code !== "CANCELLED") return error
  const what = name === "pull" ? "Interrupted; finished layers are kept" : "Interrupted"
  return new Errors.GatewayError(Errors.errorFields("CANCELLED", what, { remedy: "Run it again to go on.", cause: error }))
}

const run: Readonly<Record<ServiceCommand, (call: Call) => Promise<void>>> = {
  login: async ({ common, operand, print, values }) => login(operand, await loginCredentials(operand, values, common.signal), common, print),
  logout: ({ common, operand, print }) => logout(operand, common, print),
  pull: async ({ common, operand, print, values }) => {
    const display = progressDisplay(process.stderr, values.quiet === true || values.json === true)
    try {
      const record = await pullImage(operand, {
        ...common,
        platform: values.platform,
        verify: values.verify,
        partition: values.partition,
        credentials: await pullCredentials(operand, values, common.signal),
        ...(await lists(values)),
        onProgress: display.event
      })
      display.end(ready(operand, values, record))
      print(record, `${record.id}\n`)
    } finally {
      display.end()
    }
  },
  import: async ({ common, further, operand, print, values }) => {
    const display = progressDisplay(process.stderr, values.quiet === true || values.json === true)
    try {
      const record = await importImage(operand, resolve(further), {
        ...common,
        platform: values.platform,
        partition: values.partition,
        ...(await lists(values)),
        metadata: statedMetadata(values),
        onProgress: display.event
      })
      display.end(ready(operand, values, record))
      print(record, `${record.id}\n`)
    } finally {
      display.end()
    }
  },
  images: async ({ common, print, values }) => {
    const { images, problems } = await listImages(common)
    for (const { what, where } of problems) process.stderr.write(`shifterimg: warning: ${safe(where)}: ${safe(what)}\n`)
    const shown = images.flatMap(({ names, record }) => (names.length === 0 ? [`id:${record.id}`] : names)).map((name) => `${safe(name)}\n`)
    if (values.quiet === true) {
      print(images, shown.join(""))
      return
    }
    if (images.length === 0) process.stderr.write(`No images on ${values.system ?? site(values)?.defaultSystem ?? "the gateway"}.\n`)
    print(images, images.length === 0 ? "" : table(["REFERENCE", "ID", "SIZE", "PLATFORM", "ACCESS"], rowsOf(images)))
  },
  lookup: async ({ common, operand, print }) => {
    const id = await lookupImage(checkedId(operand), common)
    print({ id }, `${id}\n`)
  },
  inspect: async ({ common, operand, print }) => {
    const info = await inspectImage(checkedId(operand), common)
    print(info, description(info))
  },
  export: async ({ common, operand, print, values }) => {
    const format = Export.ExportFormat.literals.find((each) => each === (values.format ?? "tar"))
    if (format === undefined) throw usageFault(`there is no format "${safe(values.format ?? "")}"`, `Formats are ${Export.ExportFormat.literals.join(", ")}.`)
    if (values.output === undefined) throw usageFault("export needs --output FILE")
    const record = await exportImage(checkedId(operand), { ...common, format, target: values.output })
    print({ id: record.id, format, output: values.output }, "")
  },
  pin: async ({ common, operand, print }) => {
    const now = await pinImage(checkedId(operand), common)
    print(now, kept(now))
  },
  unpin: async ({ common, operand, print }) => {
    const now = await unpinImage(checkedId(operand), common)
    print(now, kept(now))
  },
  keep: async ({ common, operand, print, values }) => {
    const now = await keepImage(checkedId(operand), duration(values.for), common)
    print(now, kept(now))
  },
  gc: async ({ common, print, values }) => {
    const collected = await collectImages({ ...common, dryRun: values["dry-run"] })
    print(collected, collection(collected, values["dry-run"] === true))
    // The rest is done; what is left says why.
    for (const problem of collected.problems) process.stderr.write(`shifterimg: warning: ${safe(problem)}\n`)
  },
  scrub: async ({ common, fails, print }) => {
    const scrubbed = await scrubImages(common)
    print(scrubbed, scrubbing(scrubbed))
    if (scrubbed.damaged.length > 0) fails()
  },
  rm: async ({ common, operand, print }) => {
    const removal = await removeImage(checkedId(operand), common)
    print(
      removal,
      removal.image
        ? `Removed the image ${removal.id} and ${counted(removal.names.length, "name")}.\n`
        : operand.startsWith("id:")
          ? `Removed ${counted(removal.names.length, "name")} of the image ${removal.id}. It stays for jobs that use it, until it is collected.\n`
          : `Removed the name ${safe(removal.names.join(", "))}. The image stays for jobs that have it pinned; shifterimg rm id:${removal.id} removes it.\n`
    )
  }
}

/** The site that is worked on here; undefined where a gateway service is asked. */
const site = (values: Values): Site.Site | undefined => {
  const place = ClientConfig.place({ config: values.config, gateway: values.gateway })
  if (place._tag === "Left") throw place.left
  return place.right._tag === "Here" ? place.right.site : undefined
}

const ready = (operand: string, values: Values, record: PublishedImage): string => {
  const alone = site(values)?.isPersonal === true ? "; it is yours alone, and runs without setuid: by shifter-userns" : ""
  return `${canonical(operand, values)} is ready: ${bytes(record.imageSize)}, ${counted(record.entries, "file")}${alone}`
}

/** Who may use it. An empty list would make the image private to its owner. */
const lists = async (values: Values): Promise<{ readonly allowUids?: ReadonlyArray<number>; readonly allowGids?: ReadonlyArray<number> }> => ({
  ...(values.user === undefined ? {} : { allowUids: await ids("user", values.user) }),
  ...(values.group === undefined ? {} : { allowGids: await ids("group", values.group) })
})

/** The name that a pull gives: an image that has one already keeps that in its record. */
const canonical = (operand: string, values: Values): string =>
  ImageRef.absolute(ImageRef.parseOrThrow(operand, site(values)?.defaultImageType ?? "docker"), process.cwd()).canonical ?? operand

/** A shortened id would be looked for in vain, and the answer would be that there is no such image. */
const checkedId = (operand: string): string => {
  if (operand.startsWith("id:") && !/^id:[0-9a-f]{64}$/.test(operand)) {
    throw new Errors.FormatError(
      Errors.errorFields("REFERENCE_INVALID", `The image reference "${operand}" is not valid: an id has 64 hexadecimal digits`, { remedy: "shifterimg images lists them." })
    )
  }
  return operand
}

const execFileAsync = promisify(execFile)
const LARGEST_ID = 4294967294

/** Numbers of a list of users or groups, by name or number. An empty place, as an unset variable leaves it, would publish to everyone. */
const ids = async (kind: "user" | "group", list: string): Promise<ReadonlyArray<number>> => {
  const names = list.split(",").map((each) => each.trim())
  if (names.includes("")) throw usageFault(`--${kind} names nobody${list === "" ? "" : ` in a place of "${safe(list)}"`}`, `Name ${kind}s by name or number, separated by commas.`)
  return Promise.all(
    names.map(async (name) => {
      if (!/^[0-9]+$/.test(name)) return idOf(kind, name)
      if (Number(name) > LARGEST_ID) throw usageFault(`--${kind}: ${safe(name)} is no number of a ${kind}`, `Numbers are 0 to ${LARGEST_ID}.`)
      return Number(name)
    })
  )
}

const idOf = async (kind: "user" | "group", name: string): Promise<number> => {
  const { stdout } = await execFileAsync("getent", [kind === "user" ? "passwd" : "group", "--", name]).catch(() => {
    throw usageFault(`There is no ${kind} "${safe(name)}"`, `Name ${kind}s by name or number.`)
  })
  return Number(stdout.split(":")[2])
}

const rowsOf = (images: ReadonlyArray<ImageInfo>) =>
  images
    .flatMap(({ names, record }) => (names.length === 0 ? [`id:${record.id}`] : names).map((name) => [safe(name), record.id, bytes(record.imageSize), record.platform, record.access]))
    .sort((a, b) => ((a[0] ?? "") < (b[0] ?? "") ? -1 : 1))

const description = ({ names, record, system }: ImageInfo): string => {
  const lines: Array<readonly [string, string]> = [
    ["id", record.id],
    ["system", system],
    ...names.map((name) => ["name", name] as const),
    ["source", record.sourceDigest],
    ...(record.manifestDigest === undefined ? [] : [["manifest", record.manifestDigest] as const]),
    ["platform", record.platform],
    ["size", `${bytes(record.imageSize)} (${record.imageSize} bytes), ${counted(record.entries, "file")}`],
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
