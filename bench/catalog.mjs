// How fast the index of images and the queue are with 10,000 rows, in SQLite, and in PostgreSQL where $SHIFTER_BENCH_POSTGRES names a socket's directory.
// Usage: npm run build && node bench/catalog.mjs [COUNT]
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { Digest, ImageIndex, postgresCatalog, PullQueue, sqliteCatalog } from "../dist/index.js"

const COUNT = Number(process.argv[2] ?? 10_000)
const id = (n) => n.toString(16).padStart(64, "0")
const name = (n) => `docker:docker.io/library/a${String(n).padStart(6, "0")}:latest`
const record = (n) => ({
  id: id(n), reference: name(n), sourceDigest: Digest.ofBytes(String(n)), profile: "bench", platform: "linux/amd64", imageSize: 1, imageSha256: id(n), entries: 1,
  env: ["PATH=/usr/bin"], entrypoint: [], command: ["sh"], labels: [], access: n % 2 === 0 ? "public" : "private", owner: n % 50, allowUids: [], allowGids: [n % 500]
})
const median = (label, times, work) =>
  Effect.gen(function* () {
    const took = []
    for (let i = 0; i < times; i++) {
      const start = performance.now()
      yield* work(i)
      took.push(performance.now() - start)
    }
    took.sort((a, b) => a - b)
    console.log(`  ${label}: median ${took[times >> 1].toFixed(2)} ms, worst ${took.at(-1).toFixed(2)} ms`)
  })

const bench = Effect.gen(function* () {
  const index = yield* ImageIndex.ImageIndex
  const queue = yield* PullQueue.PullQueue
  const numbers = Array.from({ length: COUNT }, (_, i) => i)
  let start = performance.now()
  const records = numbers.map(record)
  yield* index.reconcile("s", { records, names: numbers.map((n) => ({ reference: name(n), id: id(n) })), began: (yield* index.now) + 1 }, undefined)
  console.log(`  reconcile of ${COUNT} new images: ${(performance.now() - start).toFixed(0)} ms`)
  const any = (i) => (i * 7919) % COUNT
  yield* median("named", 200, (i) => index.named("s", name(any(i))))
  yield* median("get", 200, (i) => index.get("s", id(any(i))))
  yield* median("page of 100", 50, (i) => index.page({ system: "s", limit: 100, after: name(any(i)) }))
  const gids = Array.from({ length: 20 }, (_, i) => i)
  yield* median("page of 100 for a user with 20 groups", 50, (i) => index.page({ system: "s", limit: 100, requester: { uid: 7, gids }, after: name(any(i)) }))
  const many = Array.from({ length: 65_536 }, (_, i) => i + 400)
  yield* median("page of 100 for a user with 65,536 groups", 10, (i) => index.page({ system: "s", limit: 100, requester: { uid: 7, gids: many }, after: name(any(i)) }))
  yield* median("page of all that a stranger may use of another's", 10, () => index.page({ system: "s", limit: 100, owner: 1, requester: { uid: 99_999, gids: [] } }))
  start = performance.now()
  for (const n of numbers) {
    yield* queue.submit(
      { system: "s", reference: name(n), platform: undefined, requester: { uid: n % 50, gids: [] }, allowUids: undefined, allowGids: undefined, verify: false, registry: `r${n % 4}`, key: String(n), hasCredentials: false },
      COUNT
    )
  }
  console.log(`  submit: ${((performance.now() - start) / COUNT).toFixed(2)} ms each`)
  const limits = { perUser: 1000, perRegistry: 1000 }
  yield* median(`take of ${COUNT} waiting`, 100, () => queue.take("r", limits))
})

const run = (label, layer) => {
  console.log(label)
  return Effect.runPromise(Effect.provide(bench, layer))
}
const directory = mkdtempSync(join(tmpdir(), "shifter-bench-"))
try {
  await run("SQLite", sqliteCatalog({ stateDirectory: join(directory, "state") }))
  const host = process.env.SHIFTER_BENCH_POSTGRES
  if (host !== undefined) {
    await run("PostgreSQL (an empty database)", postgresCatalog({ host, port: Number(process.env.PGPORT ?? 5432), database: process.env.PGDATABASE ?? "shifter", username: process.env.PGUSER ?? "shifter", connections: 4 }))
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
