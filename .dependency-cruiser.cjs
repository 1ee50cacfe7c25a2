/**
 * The rooms: which folder may import which. The table with the reasons is in docs/architecture.md.
 *
 * A folder's own files are always allowed, and so are packages; what is listed is what a room may import beside them.
 */

/** @param {string} name @param {string} from @param {readonly string[]} allowed @param {string} comment */
const room = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: "error",
  from: { path: from },
  to: { path: "^(src|examples|formats|native|test|bench|scripts|docs|package\\.json)", pathNot: allowed }
})

/** Rooms below a folder that do not know each other: each may import `core` and itself. */
const siblings = (name, folder) =>
  room(name, `^src/${folder}/([^/]+)/`, ["^src/core/", `^src/${folder}/$1/`], `${folder} import core and themselves, never one another`)

module.exports = {
  forbidden: [
    { name: "no-circular", severity: "error", comment: "nothing imports itself, however far around", from: {}, to: { circular: true } },
    { name: "no-unresolvable", severity: "error", comment: "what is imported is there", from: {}, to: { couldNotResolve: true } },
    {
      name: "declared-packages",
      severity: "error",
      comment: "a package is named in package.json, and not only for development",
      from: { path: "^(src|examples)/" },
      // A peer is also a development dependency here, exact, so that the tests run with one version.
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"], dependencyTypesNot: ["npm-peer"] }
    },
    room("core", "^src/core/", ["^src/core/", "^formats/"], "core imports formats alone"),
    siblings("backends", "backends"),
    siblings("transports", "transports"),
    room("catalog", "^src/catalog/([^/]+)/", ["^src/core/", "^src/catalog/sql/", "^src/catalog/$1/"], "engines import core, themselves and the SQL that all of them share"),
    siblings("wlm", "wlm"),
    room("udi", "^src/udi/", ["^src/core/", "^src/udi/"], "udi imports core"),
    room("gateway", "^src/gateway/", ["^src/core/", "^src/gateway/"], "gateway imports core"),
    room("face", "^src/(index|live|remote|gateway|adapters)\\.ts$|^src/bin/", ["^src/", "^package\\.json$"], "the public face and the composition roots import every room of src"),
    room(
      "examples",
      "^examples/([^/]+)/",
      ["^examples/$1/", "^src/(index|wlm/testkit/index)\\.ts$", "^package\\.json$"],
      "an example imports shifter-sdk as a user would, which is src/index.ts here, or its conformance suite"
    ),
    {
      name: "examples-by-name",
      severity: "error",
      comment: "an example says shifter-sdk, never a path into src",
      from: { path: "^examples/" },
      to: { path: "^src/", dependencyTypesNot: ["aliased"] }
    },
    room("formats", "^formats/", ["^formats/"], "formats import nothing"),
    room("native", "^native/", ["^native/"], "native programs import no JavaScript")
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    combinedDependencies: false,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "default"], extensions: [".ts", ".js", ".json"] }
  }
}
