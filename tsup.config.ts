import { defineConfig } from "tsup"

export default defineConfig([
  {
    // The library: as it is, its dependencies the user's own copies.
    entry: {
      index: "src/index.ts",
      "gateway/index": "src/gateway.ts",
      "backends/chos/index": "src/backends/chos/index.ts",
      "backends/vm/index": "src/backends/vm/index.ts",
      "backends/docker/index": "src/backends/docker/index.ts",
      "wlm/pbs/index": "src/wlm/pbs/index.ts",
      "wlm/slurm/index": "src/wlm/slurm/index.ts",
      "wlm/testkit/index": "src/wlm/testkit/index.ts"
    },
    format: ["esm", "cjs"],
    dts: true,
    target: "node20",
    splitting: true,
    // `import.meta.url` in CommonJS.
    shims: true,
    clean: true,
    outDir: "dist",
    // Shared chunks of CommonJS pass through sucrase, which lowers these itself and breaks `yield` in them. Lowered before, it finds none.
    esbuildOptions: (options, { format }) => {
      if (format === "cjs") options.supported = { "nullish-coalescing": false, "optional-chain": false }
    }
  },
  {
    // Programs: bundled, which starts several times faster. What loads a native part (the database) and what few need stay outside.
    entry: { shifterimg: "examples/shifterimg/main.ts", "shifter-gateway": "src/bin/shifter-gateway.ts" },
    format: ["esm"],
    target: "node20",
    outDir: "dist/bin",
    minify: true,
    splitting: true,
    noExternal: [/^(?!libsql$|dockerode$|ssh2$)/],
    external: ["libsql", "dockerode", "ssh2"],
    esbuildOptions: (options) => {
      options.alias = { "shifter-sdk": "./src/index.ts" }
    },
    // The driver's entry for local files alone: the whole one loads HTTP and WebSocket clients.
    esbuildPlugins: [
      {
        name: "local-driver",
        setup: (build) => build.onResolve({ filter: /^@libsql\/client$/ }, ({ kind, resolveDir }) => build.resolve("@libsql/client/sqlite3", { kind, resolveDir }))
      }
    ],
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' }
  }
])
