#!/usr/bin/env node
/**
 * A coverage-guided fuzzer of what strangers' JSON is read by: manifests, indexes and image configurations. Inputs that reach code which none
 * before them reached are kept and changed further; V8's own block coverage tells.
 *
 *   node test/fuzz/documents.mjs [SECONDS]    10 unless told; seeds and kept inputs are in test/fuzz/corpus/documents.json
 *
 * With SHIFTER_FUZZ_KEEP=1 what was found is added to the kept inputs. The seed is printed; SHIFTER_FUZZ_SEED takes it again.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const CORPUS = fileURLToPath(new URL('corpus/documents.json', import.meta.url))
const seconds = Number(process.argv[2] ?? 10)
const seed = Number(process.env.SHIFTER_FUZZ_SEED ?? Date.now() % 2 ** 31)

// --- the code under test ---------------------------------------------------------------------------------------------

const directory = mkdtempSync(join(REPOSITORY, 'node_modules/.shifter-sdk-fuzz-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
const bundle = join(directory, 'documents.mjs')
await build({
  stdin: {
    contents: `export * as Manifest from './src/backends/docker/Manifest.ts'
      export * as DockerImage from './src/backends/docker/DockerImage.ts'
      export * as Errors from './src/core/Errors.ts'`,
    resolveDir: REPOSITORY,
  },
  bundle: true, platform: 'node', format: 'esm', target: 'node20', outfile: bundle, logLevel: 'error', external: ['dockerode'],
})
const { DockerImage, Errors, Manifest } = await import(pathToFileURL(bundle).href)
const HOST = { os: 'linux', architecture: 'amd64', variant: undefined }
const TYPES = [undefined, 'application/json', ...Object.values(Manifest.mediaTypes), 'text/html']
const CODES = new Set(['MANIFEST_INVALID', 'MANIFEST_UNSUPPORTED', 'IMAGE_CONFIG_INVALID', 'PLATFORM_NOT_FOUND'])

const must = (holds, what) => {
  if (!holds) throw new Error(what)
}

/** A refusal is one of the table's, in one line, whatever the document holds. */
const refused = (error) => {
  must(Errors.isShifterError(error) && CODES.has(error.code), `refused with ${String(error.code)}`)
  must(!/[\u0000-\u001f\u007f-\u009f]/.test(error.message), 'the message holds control characters')
  must(error.message.length < 6000, 'the message is long')
}

const wanted = (bytes, what) => must(Number.isSafeInteger(bytes) && bytes >= 0, `${what} is ${bytes}`)
const digest = (text) => must(/^sha256:[0-9a-f]{64}$/.test(text), `a digest is ${text}`)

const check = (bytes) => {
  const started = process.cpuUsage()
  const type = TYPES[bytes.length % TYPES.length]
  const document = Manifest.decodeDocument(bytes, type, 'a registry')
  if (document._tag === 'Left') refused(document.left)
  else if (document.right.kind === 'index') for (const each of document.right.index.manifests) (digest(each.digest), wanted(each.size, 'a size'))
  else for (const each of [document.right.manifest.config, ...document.right.manifest.layers]) (digest(each.digest), wanted(each.size, 'a size'))
  const config = Manifest.decodeConfig(bytes, 'a registry')
  if (config._tag === 'Left') refused(config.left)
  else {
    for (const each of config.right.rootfs.diff_ids) digest(each)
    for (const result of [DockerImage.metadataOf(config.right, 'a registry'), DockerImage.platformOf(config.right, HOST, 'a registry')]) {
      if (result._tag === 'Left') refused(result.left)
    }
    const metadata = DockerImage.metadataOf(config.right, 'a registry')
    if (metadata._tag === 'Right') {
      const { command, entrypoint, env, labels, workdir } = metadata.right
      for (const word of [...env, ...entrypoint, ...command, ...labels.flat(), workdir ?? '/']) must(typeof word === 'string' && !word.includes('\0'), 'a word is no text')
      for (const entry of env) must(/^[^=]+=/.test(entry), `the environment holds ${entry}`)
    }
  }
  must({}.polluted === undefined && Object.keys(Object.prototype).length === 0, 'a prototype was changed')
  // Of this process alone: a machine that does other things too is no fault.
  const { user, system } = process.cpuUsage(started)
  must(user + system < 1_000_000, 'it takes more than a second')
}

// --- coverage ---------------------------------------------------------------------------------------------------------

const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
const reached = new Set()
/** How many blocks were reached for the first time since the last look. */
const news = async () => {
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const before = reached.size
  for (const { functions, url } of result) {
    if (!url.endsWith('/documents.mjs') || !url.includes('.shifter-sdk-fuzz-')) continue
    for (const { functionName, ranges } of functions) {
      for (const { count, endOffset, startOffset } of ranges) if (count > 0) reached.add(`${functionName} ${startOffset} ${endOffset} ${Math.min(7, Math.ceil(Math.log2(count + 1)))}`)
    }
  }
  return reached.size - before
}

// --- changes ----------------------------------------------------------------------------------------------------------

let state = seed
const random = () => {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const below = (n) => Math.floor(random() * n)
const pick = (list) => list[below(list.length)]
const WORDS = ['{', '}', '[', ']', ',', ':', 'null', 'true', '-1', '1e400', '9007199254740993', '0.5', '""', '"__proto__"', '"constructor"', '"\\u0000"', '"\\ud800"', '"a\\nb"',
  '"schemaVersion":1', '"manifests":[]', '"layers":[]', '"config":{}', '"urls":["http://x"]', '"mediaType":"x"', '"platform":{"os":"linux","architecture":"arm64","variant":"v8"}',
  '"Env":["A=1"]', '"Env":["=x"]', '"Entrypoint":"sh"', '"WorkingDir":"x"', '"Labels":{"__proto__":"x"}', `"digest":"sha256:${'0'.repeat(64)}"`, '"diff_ids":[]', '\xff', '\0']

const changed = (input, corpus) => {
  let text = input
  for (let times = 1 + below(4); times > 0; times--) {
    const at = below(text.length + 1)
    switch (below(7)) {
      case 0: text = text.slice(0, at) + String.fromCharCode(below(256)) + text.slice(at + 1); break
      case 1: text = text.slice(0, at) + pick(WORDS) + text.slice(at); break
      case 2: text = text.slice(0, at) + text.slice(at + below(20)); break
      case 3: { const other = pick(corpus); const from = below(other.length); text = text.slice(0, at) + other.slice(from, from + below(80)) + text.slice(at + below(40)); break }
      case 4: { const quoted = [...text.matchAll(/"[^"]*"|-?\d+/g)]; if (quoted.length > 0) { const m = pick(quoted); text = text.slice(0, m.index) + pick(WORDS) + text.slice(m.index + m[0].length) } break }
      case 5: { const piece = text.slice(at, at + below(60)); text = text.slice(0, at) + piece.repeat(1 + below(4)) + text.slice(at); break }
      default: text = text.slice(0, at) + '['.repeat(below(100)) + text.slice(at)
    }
    if (text.length > 16_000) text = text.slice(0, 16_000)
  }
  return text
}

// --- the run ----------------------------------------------------------------------------------------------------------

const bytesOf = (text) => Buffer.from(text, 'latin1')
const run = (text) => {
  try {
    check(bytesOf(text))
  } catch (error) {
    console.error(`fuzz: documents broke (seed ${seed}): ${error instanceof Error ? error.stack : String(error)}\nthe input, base64: ${bytesOf(text).toString('base64')}`)
    process.exit(1)
  }
}
const corpus = JSON.parse(readFileSync(CORPUS, 'utf8'))
const kept = corpus.length
corpus.forEach(run)
await news()
const until = Date.now() + seconds * 1000
const BATCH = 64
let inputs = corpus.length
while (Date.now() < until) {
  const batch = Array.from({ length: BATCH }, () => changed(pick(corpus), corpus))
  batch.forEach(run)
  inputs += BATCH
  if ((await news()) === 0) continue
  // Which of them it was: each again, alone, against what the others share.
  const known = new Set(reached)
  reached.clear()
  for (const text of corpus.slice(0, kept)) run(text)
  await news()
  for (const text of batch) {
    run(text)
    if ((await news()) > 0 && text.length < 2000) corpus.push(text)
  }
  for (const each of known) reached.add(each)
}
if (process.env.SHIFTER_FUZZ_KEEP === '1') writeFileSync(CORPUS, `${JSON.stringify([...new Set(corpus)].slice(0, 300), null, 1)}\n`)
console.log(`fuzz: documents: ${inputs} inputs in ${seconds} s, ${reached.size} marks of coverage, ${corpus.length - kept} inputs found (seed ${seed})`)
process.exit(0)
