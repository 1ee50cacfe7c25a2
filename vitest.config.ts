import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: {
    alias: {
      "shifter-sdk/wlm-testkit": new URL("./src/wlm/testkit/index.ts", import.meta.url).pathname,
      "shifter-sdk": new URL("./src/index.ts", import.meta.url).pathname
    }
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/harness/globalSetup.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    // Two cores: more workers only take each other's time.
    maxWorkers: 2,
    minWorkers: 1
  }
})
