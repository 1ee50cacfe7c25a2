import tseslint from "typescript-eslint"

export default tseslint.config(
  { ignores: ["dist/**", "build-native*/**", "docs/site/**", "native/**", "coverage/**"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-explicit-any": "error"
    }
  }
)
