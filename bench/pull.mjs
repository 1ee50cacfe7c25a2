/**
 * A pull, from a registry on 127.0.0.1 to a squashfs, three ways over the same blobs and interleaved, so that a busy machine is
 * busy for all of them: a floor of native tools, skopeo with umoci and mksquashfs, and `shifterimg pull`.
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism, freemem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { directory, makeImage, RECIPES, writeImage } from './images.mjs'

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
const SHIFTERIMG = join(REPOSITORY, 'dist/bin/shifterimg.js')
const MERGE = join(REPOSITORY, 'build-native/shifter-merge')
const MiB = 1 << 20
const LEVEL = 3

/** skopeo and umoci take minutes with many entries or layers; there they are measured when they are asked for. */
const COMPARED = ['large', 'small']
const MEASURED = [...COMPARED, 'single', 'layers1', 'layers40', 'layers200', 'entries200k', 'entries500k', 'entries1m', 'again']

const USAGE = `usage: npm run bench -- pull [OPTIONS]
  --image NAME     ${[...Object.keys(RECIPES), 'again'].join(', ')}; may be repeated
                   (default: all but huge). 'again' pulls an image a second time, unchanged and with one layer changed
  --rounds N       of every way (default 3)
  --only WAY       floor, umoci or pull; may be repeated (default: all, but no umoci except for ${COMPARED.join(' and ')})
  --disk           work in a directory on disk instead of a tmpfs
  --json           the figures as JSON at the end`

const run = (argv, options = {}) => {
  const [program, ...args] = argv
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options })
  if (error !== undefined) throw new Error(`${program}: ${error.message} (scripts/setup.sh test installs what is missing)`)
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with status ${status}\n${stderr}`)
  return stdout
}

const startRegistry = async (dir) => {
  const config = join(dir, 'registry.yml')
  writeFileSync(config, `version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: ${dir}/registry}}
http: {addr: "127.0.0.1:0"}
`)
  // Both to files: while skopeo pushes, nobody here would empty a pipe.
  const [access, errors] = ['access.log', 'registry.log'].map((name) => join(dir, name))
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', openSync(access, 'w'), openSync(errors, 'w')], env: { PATH: process.env.PATH } })
  const stop = () => child.kill('SIGKILL')
  process.once('exit', stop)
  const host = await new Promise((resolve, reject) => {
    const look = setInterval(() => {
      const match = /listening on (127\.0\.0\.1:\d+)/.exec(readFileSync(errors, 'utf8'))
      if (match === null) return
      clearInterval(look)
      resolve(match[1])
    }, 20)
    const failed = (error) => {
      clearInterval(look)
      reject(error)
    }
    child.once('error', failed)
    child.once('close', () => failed(new Error(existsSync(errors) ? `docker-registry ended\n${readFileSync(errors, 'utf8')}` : 'docker-registry was stopped')))
  })
  return { host, log: access, stop }
}

/** The three ways: what to run in a fresh directory, and where the image is afterwards. */
const waysFor = ({ host, name, layers, merge, jobs }) => ({
  floor: (dir) => {
    const fetches = layers.map(({ digest }, i) => `-o l${i} http://${host}/v2/${name}/blobs/${digest}`)
    const newestFirst = layers.map((_, i) => `l${i}`).reverse()
    return {
      argv: ['bash', '-c', `set -euo pipefail
        curl -sSf --parallel --parallel-immediate ${fetches.join(' ')}
        '${merge}' ${newestFirst.join(' ')} | tar2sqfs -q -f -c zstd -X level=${LEVEL} -j ${jobs} out.squashfs`],
      image: () => join(dir, 'out.squashfs'),
    }
  },
  umoci: (dir) => ({
    argv: ['bash', '-c', `set -euo pipefail
      skopeo --insecure-policy copy --quiet --src-tls-verify=false docker://${host}/${name}:latest oci:layout:latest
      umoci --log=error unpack --image layout:latest bundle
      mksquashfs bundle/rootfs out.squashfs -comp zstd -Xcompression-level ${LEVEL} -no-progress -quiet >/dev/null`],
    image: () => join(dir, 'out.squashfs'),
  }),
  pull: (dir) => {
    const images = join(dir, 'images')
    mkdirSync(images)
    mkdirSync(join(dir, 'state'), { mode: 0o700 })
    const config = {
      version: 1,
      stateDirectory: join(dir, 'state'),
      defaultSystem: 'bench',
      systems: { bench: { imagePath: images } },
      registries: { [host]: { plainHttp: true } },
    }
    writeFileSync(join(dir, 'gateway.json'), JSON.stringify(config))
    return {
      argv: [process.execPath, SHIFTERIMG, '--config', join(dir, 'gateway.json'), 'pull', `docker:${host}/${name}:latest`],
      image: () => join(images, readdirSync(images).find((file) => file.endsWith('.squashfs')) ?? 'no-image'),
    }
  },
})

const usedBytes = (dir) => {
  const { blocks, bfree, bsize } = statfsSync(dir)
  return (blocks - bfree) * bsize
}

/** The highest resident size of the process that `timed` runs, as the kernel keeps it. */
const highWater = (timed) => {
  try {
    const pid = readFileSync(`/proc/${timed}/task/${timed}/children`, 'utf8').trim().split(' ')[0]
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

const measure = async (way, dir, timed) => {
  mkdirSync(dir)
  const { argv, image } = way(dir)
  const before = usedBytes(dir)
  const result = `${dir}.json`
  const child = spawn(timed, [result, ...argv], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log = (log + chunk).slice(-4096)))
  let scratch = 0
  let rss = 0
  // A look costs two system calls; sizes move by no more than a few megabytes in between.
  const watch = setInterval(() => {
    scratch = Math.max(scratch, usedBytes(dir) - before)
    rss = Math.max(rss, highWater(child.pid))
  }, 20)
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  clearInterval(watch)
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with status ${status}\n${log}`)
  const { wall, user, sys } = JSON.parse(readFileSync(result, 'utf8'))
  const size = statSync(image()).size
  return { wall, cpu: user + sys, rss, scratch, size, image: image() }
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted.length % 2 === 1 ? sorted[(sorted.length - 1) / 2] : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2
}

/** All names in an image; three ways that make different trees measure different things. */
const namesIn = (image) => run(['unsquashfs', '-lc', image]).split('\n').sort().join('\n')

const benchImage = async (name, { work, scratch, host, timed, merge, rounds, only }) => {
  const layout = join(work, 'layout')
  console.log(`\n${name}: making it`)
  const layers = await makeImage(name, layout)
  run(['skopeo', '--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:latest`, `docker://${host}/${name}:latest`])
  rmSync(layout, { recursive: true })
  const compressed = layers.reduce((sum, layer) => sum + layer.size, 0)
  const plain = layers.reduce((sum, layer) => sum + layer.plain, 0)
  console.log(`${name}: ${layers.length} layers, ${Math.round(compressed / MiB)} MiB compressed, ${Math.round(plain / MiB)} MiB of tar`)

  const ways = waysFor({ host, name, layers, merge, jobs: availableParallelism() })
  const runs = Object.fromEntries(only.map((way) => [way, []]))
  for (let round = 0; round < rounds; round++) {
    let names
    for (const way of only) {
      const dir = join(scratch, `${name}-${way}-${round}`)
      const taken = await measure(ways[way], dir, timed)
      if (round === 0) {
        const these = namesIn(taken.image)
        if (names !== undefined && names !== these) throw new Error(`${name}: ${way} made another tree than ${only[0]}`)
        names = these
      }
      rmSync(dir, { recursive: true })
      runs[way].push(taken)
      console.log(`${name} ${round + 1}/${rounds} ${way.padEnd(6)} wall ${taken.wall.toFixed(2)} s, cpu ${taken.cpu.toFixed(2)} s`)
    }
  }

  const medians = Object.fromEntries(only.map((way) => [
    way,
    Object.fromEntries(['wall', 'cpu', 'rss', 'scratch', 'size'].map((key) => [key, median(runs[way].map((taken) => taken[key]))])),
  ]))
  console.log(`\n${name}, medians of ${rounds}`)
  console.log('way      wall s    cpu s   scratch MiB  image MiB  process MiB   against the floor: wall  cpu')
  for (const way of only) {
    const { wall, cpu, rss, scratch: peak, size } = medians[way]
    const floor = medians.floor
    const ratios = floor === undefined ? '' : `${(wall / floor.wall).toFixed(2).padStart(25)}  ${(cpu / floor.cpu).toFixed(2)}`
    const cells = [wall.toFixed(2).padStart(8), cpu.toFixed(2).padStart(8), (peak / MiB).toFixed(0).padStart(13), (size / MiB).toFixed(0).padStart(10)]
    // The first process of the other two is a shell, whose memory means nothing.
    console.log(`${way.padEnd(6)} ${cells.join(' ')} ${(way === 'pull' ? (rss / MiB).toFixed(0) : '-').padStart(12)} ${ratios}`)
  }
  if (medians.umoci !== undefined && medians.pull !== undefined) {
    console.log(`pull is ${(medians.umoci.wall / medians.pull.wall).toFixed(2)} times as fast as skopeo, umoci and mksquashfs`)
  }
  return { name, compressed, plain, rounds, medians }
}

/** Requests by method and kind that a registry's access log holds from a position on. */
const requestsSince = (log, from) => {
  const lines = readFileSync(log, 'utf8').slice(from).split('\n')
  return lines.flatMap((line) => /"(GET|HEAD) \/v2\/[^ ]*\/(manifests|blobs)\//.exec(line)?.slice(1, 3).join(' ') ?? [])
}

/** What a pull costs of an image that is there, and of one whose newest layer alone is new. */
const benchAgain = async ({ work, scratch, host, log, timed, rounds }) => {
  const pools = RECIPES.small()
  const version = async (tag, layers) => {
    const layout = join(work, 'layout')
    await writeImage(layers, layout)
    run(['skopeo', '--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:latest`, `docker://${host}/again:${tag}`])
    rmSync(layout, { recursive: true })
  }
  await version('one', pools)
  await version('two', [...pools.slice(0, -1), () => function* () { yield directory('new'); yield Buffer.alloc(1024) }()])
  const dir = join(scratch, 'again')
  mkdirSync(dir)
  const { argv } = waysFor({ host, name: 'again', layers: [], merge: '', jobs: 1 }).pull(dir)
  const pull = (tag) => {
    const from = statSync(log).size
    run([timed, `${dir}.json`, ...argv.slice(0, -1), `docker:${host}/again:${tag}`], { cwd: dir })
    const { wall } = JSON.parse(readFileSync(`${dir}.json`, 'utf8'))
    return { wall, requests: requestsSince(log, from) }
  }
  pull('one')
  run(['cp', '-a', dir, `${dir}-kept`])
  const start = () => {
    run([timed, `${dir}.json`, process.execPath, SHIFTERIMG, '--version'])
    return JSON.parse(readFileSync(`${dir}.json`, 'utf8')).wall
  }
  const unchanged = []
  const starts = []
  for (let round = 0; round < Math.max(rounds, 5); round++) {
    starts.push(start())
    unchanged.push(pull('one'))
  }
  const changed = pull('two')
  const count = (requests) => [...new Set(requests)].map((each) => `${requests.filter((other) => other === each).length} ${each}`).join(', ') || 'none'
  const beyond = median(unchanged.map(({ wall }) => wall)) - median(starts)
  console.log(`\nagain, unchanged: ${(beyond * 1000).toFixed(0)} ms beyond Node's start, requests: ${count(unchanged[0].requests)}`)
  console.log(`again, one layer of ${pools.length} changed: ${changed.wall.toFixed(2)} s, requests: ${count(changed.requests)}`)
  rmSync(dir, { recursive: true })
  rmSync(`${dir}-kept`, { recursive: true })
  return { name: 'again', beyond, unchanged: unchanged[0].requests, changed: changed.requests }
}

/** What one more layer or entry costs, between each two sizes. */
const straight = (results, prefix, sizes) => {
  const known = sizes.flatMap(([name, size]) => results.filter((each) => each.name === `${prefix}${name}`).map((each) => [size, each.medians.pull?.wall]))
  for (let i = 1; i < known.length; i++) {
    const [[fewer, less], [more, most]] = [known[i - 1], known[i]]
    if (less !== undefined && most !== undefined) console.log(`${prefix}: from ${fewer} to ${more}, each costs ${(((most - less) / (more - fewer)) * 1e6).toFixed(1)} us`)
  }
}

export const main = async (args) => {
  const { values } = parseArgs({
    args,
    options: {
      image: { type: 'string', multiple: true, default: MEASURED },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', multiple: true },
      disk: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(USAGE)
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds is a number from 1 on: ${values.rounds}`)
  for (const way of values.only ?? []) if (!['floor', 'umoci', 'pull'].includes(way)) throw new Error(`no way ${way}\n${USAGE}`)
  for (const name of values.image) if (!(name in RECIPES) && name !== 'again') throw new Error(`no image ${name}\n${USAGE}`)
  if (process.getuid?.() !== 0) throw new Error('run this as root: umoci restores owners, and the work is done on a tmpfs')
  if (values.only?.includes('pull') ?? true) {
    if (!existsSync(SHIFTERIMG)) throw new Error(`${SHIFTERIMG} is missing: npm run build`)
    if (!existsSync(MERGE)) throw new Error(`${MERGE} is missing: npm run build:native`)
  }

  // Not below /tmp: an image path lies where others can't write.
  mkdirSync('/var/lib/shifter-sdk-bench', { recursive: true, mode: 0o755 })
  const work = mkdtempSync('/var/lib/shifter-sdk-bench/')
  const scratch = join(work, 'scratch')
  let registry
  let mounted = false
  const clean = () => {
    registry?.stop()
    if (mounted) spawnSync('umount', ['-l', scratch])
    mounted = false
    rmSync(work, { recursive: true, force: true })
  }
  // Interrupted by hand, the tmpfs must not stay.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => (clean(), process.exit(130)))
  try {
    mkdirSync(scratch)
    if (!values.disk) {
      // The unpacked tree, the blobs and the image of the second way have to fit.
      if (freemem() < 8 * 1024 * MiB) throw new Error('less than 8 GiB of memory are free for a tmpfs: use --disk')
      run(['mount', '-t', 'tmpfs', '-o', 'mode=755,size=75%', 'shifter-sdk-bench', scratch])
      mounted = true
    }
    const native = (name) => {
      const binary = join(work, name)
      run(['gcc', '-O2', '-o', binary, join(REPOSITORY, 'bench/native', `${name}.c`)])
      return binary
    }
    const [timed, merge] = [native('timed'), native('merge')]
    registry = await startRegistry(work)
    const results = []
    for (const name of values.image) {
      if (name === 'again') {
        results.push(await benchAgain({ work, scratch, host: registry.host, log: registry.log, timed, rounds }))
        continue
      }
      const only = values.only ?? (COMPARED.includes(name) ? ['floor', 'umoci', 'pull'] : ['floor', 'pull'])
      results.push(await benchImage(name, { work, scratch, host: registry.host, timed, merge, rounds, only }))
    }
    console.log()
    straight(results, 'layers', [[1, 1], [40, 40], [200, 200]])
    straight(results, 'entries', [['200k', 200_000], ['500k', 500_000], ['1m', 1_000_000]])
    if (values.json) console.log(JSON.stringify(results))
  } finally {
    clean()
  }
}
