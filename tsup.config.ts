import { defineConfig } from "tsup"

export default defineConfig([
  {
    // The library: as it is, its dependencies the user's own copies.
    entry: { index: "src/index.ts", "backends/docker/index": "src/backends/docker/index.ts" },
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
    // Programs: bundled, which starts several times faster. The database driver loads a native part and stays outside.
    entry: { shifterimg: "examples/shifterimg/main.ts" },
    format: ["esm"],
    target: "node20",
    outDir: "dist/bin",
    minify: true,
    splitting: true,
    noExternal: [/^(?!@libsql\/|libsql$|dockerode$)/],
    external: [/^@libsql\//, "libsql", "dockerode"],
    esbuildOptions: (options) => {
      // The driver's entry for local files alone: the whole one loads HTTP and WebSocket clients.
      options.alias = { "shifter-sdk": "./src/index.ts", "@libsql/client": "@libsql/client/sqlite3" }
    },
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' }
  }
])
