/** `sojourn/testing`: what a driver author needs to prove a driver, and a clock that tests move by hand. */
export { FakeClock, type FakeClockOptions, seededWords } from "./fake-clock.ts";
export {
  type Capability,
  type ConformanceCase,
  type ConformanceHarness,
  type OpenedStore,
  type Runner,
  registerConformance,
  storeConformance,
  type TrialClock,
} from "./store-conformance.ts";
