/**
 * Paths in configurations.
 *
 * @module
 */
import * as Schema from "effect/Schema"

export const AbsolutePath = Schema.String.pipe(
  // eslint-disable-next-line no-control-regex
  Schema.filter((text) => (/^\/[^\u0000-\u001f]*$/.test(text) && !text.split("/").includes("..")) || "an absolute path without '..'")
)
