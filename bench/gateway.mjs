/**
 * `npm run bench -- gateway [COUNT]`: how fast the service answers lookups and pages of the list over loopback with 10,000 images: with SQLite, and with
 * PostgreSQL where $SHIFTER_BENCH_POSTGRES names a socket's directory (its user `shifter` and a new database of that name).
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Agent, request } from "node:http"
import { join } from "node:path"
import { Effect, Either, Logger } from "effect"
import { Digest, ImageIndex, ImageRecord, NameFile, Site, Transport } from "../dist/index.js"
import { serve, serviceLayer } from "../dist/gateway/index.js"

const hex = (n) => n.toString(16).padStart(64, "0")
const name = (n) => `docker:docker.io/library/a${String(n).padStart(6, "0")}:latest`
const record = (n) => ({
  id: hex(n), reference: name(n), sourceDigest: Digest.ofBytes(String(n)), profile: "bench", platform: "linux/amd64", imageSize: 1, imageSha256: hex(n), entries: 1,
  env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], entrypoint: [], command: ["sh"], labels: [], access: n % 2 === 0 ? "public" : "private", owner: n % 50, allowUids: [], allowGids: [n % 500]
})

/** An image path with so many images, as the gateway would have left them. */
const fill = (path, count) => {
  for (let n = 0; n < count; n++) {
    writeFileSync(join(path, `${hex(n)}.squashfs`), "x")
    writeFileSync(join(path, `${hex(n)}.record`), Either.getOrThrow(ImageRecord.encode(record(n))))
    const file = join(path, NameFile.pathOf(name(n)))
    mkdirSync(join(file, ".."), { recursive: true })
    writeFileSync(file, Either.getOrThrow(NameFile.encode({ reference: name(n), id: hex(n) })))
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })
const get = (url, uid) =>
  new Promise((resolve, reject) => {
    request(url, { agent, headers: { authorization: `Munge good:u:u::${uid}:${uid}` } }, (response) => {
      let bytes = 0
      response.on("data", (chunk) => (bytes += chunk.length)).once("end", () => (response.statusCode === 200 ? resolve(bytes) : reject(new Error(`${url}: ${response.statusCode}`))))
    }).once("error", reject).end()
  })

const measured = async (label, times, ask) => {
  for (let i = 0; i < 20; i++) await ask(i)
  const took = []
  for (let i = 0; i < times; i++) {
    const start = performance.now()
    await ask(i + 20)
    took.push(performance.now() - start)
  }
  took.sort((a, b) => a - b)
  console.log(`  ${label.padEnd(44)} median ${took[times >> 1].toFixed(2)} ms, 95 % ${took[Math.floor(times * 0.95)].toFixed(2)} ms, worst ${took.at(-1).toFixed(2)} ms`)
}

const run = async (label, site, count) => {
  console.log(label)
  const work = Effect.gen(function* () {
    const index = yield* ImageIndex.ImageIndex
    const transport = yield* Transport.Transport
    const [system] = site.systems.values()
    let start = performance.now()
    const began = yield* index.now
    const { names, records } = yield* transport.list(system)
    console.log(`  the image path is listed in ${(performance.now() - start).toFixed(0)} ms`)
    start = performance.now()
    yield* index.reconcile(system.name, { records, names, began: began + 1 }, undefined)
    console.log(`  the index is made in ${(performance.now() - start).toFixed(0)} ms`)
    const { addresses: [url] } = yield* serve({ site, version: "bench" })
    const any = (i) => (i * 7919) % count
    const asked = (path) => (i) => get(`${url}${path(i)}`, 7)
    yield* Effect.promise(async () => {
      await measured("lookup of a public image", 500, asked((i) => `/v1/lookup?reference=${encodeURIComponent(name(any(i) & ~1))}`))
      await measured("inspect", 500, asked((i) => `/v1/image?reference=${encodeURIComponent(name(any(i) & ~1))}`))
      await measured("page of 100", 200, asked((i) => `/v1/images?after=${encodeURIComponent(name(any(i)))}`))
      await measured("page of 100 of one owner", 200, asked(() => "/v1/images?owner=7"))
      await measured("page of 1,000", 50, asked((i) => `/v1/images?limit=1000&after=${encodeURIComponent(name(any(i)))}`))
    })
    agent.destroy()
  })
  await Effect.runPromise(Effect.scoped(work).pipe(Effect.provide(serviceLayer(site)), Effect.provide(Logger.remove(Logger.defaultLogger))))
}

export const main = async ([first = "10000"]) => {
  const count = Number(first)
  if (!Number.isSafeInteger(count) || count < 2) throw new Error("usage: npm run bench -- gateway [COUNT]")
  // Image paths lie where no other account can write above them.
  mkdirSync("/var/lib/shifter-sdk-bench", { recursive: true })
  const directory = mkdtempSync("/var/lib/shifter-sdk-bench/gateway-")
  try {
    const imagePath = join(directory, "images")
    mkdirSync(imagePath, { mode: 0o755 })
    fill(imagePath, count)
    const config = { version: 1, stateDirectory: join(directory, "state"), systems: { bench: { imagePath } }, server: { listen: ["127.0.0.1:0"], authentication: "mock" }, lifetime: { collectSeconds: 0, scrubSeconds: 0 } }
    await run("SQLite", Either.getOrThrow(Site.decode(config)), count)
    const socket = process.env["SHIFTER_BENCH_POSTGRES"]
    if (socket !== undefined) await run("PostgreSQL", Either.getOrThrow(Site.decode({ ...config, postgres: { host: socket } })), count)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
