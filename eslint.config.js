import tseslint from "typescript-eslint"

export default tseslint.config(
  { ignores: ["dist/**", "build-native*/**", "docs/site/**", "native/**", "coverage/**"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: "error",
      "no-control-regex": "error",
      // Numbers in messages are what messages are for.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // `() => call()` for a call without a result is shorter and as clear.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      // A loop that only drains an iterable has a variable all the same.
      "@typescript-eslint/no-unused-vars": ["error", { varsIgnorePattern: "^_", argsIgnorePattern: "^_" }],
      // Three states (true, false, not known yet) are told apart by comparing; Node's types promise more than its platforms keep.
      "@typescript-eslint/no-unnecessary-boolean-literal-compare": "off",
      "@typescript-eslint/no-unnecessary-type-conversion": "off"
    }
  },
  {
    // Errors of streams and drivers come without a type, or with one that says less than they are; a method that is bound is taken for its
    // last overload, deprecated or not.
    files: ["examples/shifterimg/main.ts", "src/catalog/sqlite/index.ts", "src/index.ts"],
    rules: {
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unnecessary-condition": "off",
      "@typescript-eslint/no-unnecessary-type-assertion": "off",
      "@typescript-eslint/no-deprecated": "off"
    }
  },
  {
    files: ["test/**/*.ts"],
    rules: {
      // A test looks at what should not happen, such as a field that the types say is always there.
      "@typescript-eslint/no-unnecessary-condition": "off",
      "@typescript-eslint/no-unnecessary-template-expression": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
      "@typescript-eslint/no-misused-spread": "off",
      "no-control-regex": "off"
    }
  }
)
