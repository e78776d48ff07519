/** `sojourn/testing`: what a driver author needs to prove a driver, and a clock that tests move by hand. */
export { FakeClock, type FakeClockOptions, seededWords } from "./fake-clock.ts";
