/**
 * The conformance suite of adapters: what every workload manager has to do, as a list of cases that any test runner can run. An adapter outside
 * of this package runs them as those within it do.
 *
 * @module
 */
export { adapterCases, type Sample } from "./Adapter.js"
export { type Case, Violation } from "./Case.js"
export { jobCases } from "./Jobs.js"
export { type Complex, liveCases, type MarkedImage, Refused, type UserJob } from "./Live.js"
