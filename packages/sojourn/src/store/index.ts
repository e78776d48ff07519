/** `sojourn/store`: what the author of a driver implements, and the words it is written in. */
export type { Clock, Timer } from "../core/clock.ts";
export { systemClock } from "../core/clock.ts";
export {
  newOperationId,
  type OperationId,
  type SessionKey,
} from "../core/ids.ts";
export {
  type Attribute,
  applyDelta,
  type Commit,
  expectationsHold,
  type NewSession,
  type PrincipalChange,
  recordFrom,
  type SessionDelta,
  type SessionRecord,
} from "../core/record.ts";
export { sealedWith } from "../core/sealing.ts";
export type { Stamp } from "../core/stamp.ts";
export { covers, type Epoch, type Lineage, type Version } from "../core/version.ts";
export {
  type ApplyOptions,
  type ApplyResult,
  type CreateResult,
  type EnumerableStore,
  isEnumerable,
  isWatchable,
  type ListOptions,
  OPERATION_ID_KEPT_MS,
  RENEWAL_GRACE_MS,
  type ReadOptions,
  type SessionPage,
  type SessionStore,
  type SessionSummary,
  STORE_TIMEOUT_MS_DEFAULT,
  type SupersedeOptions,
  type SupersedeResult,
  type Watch,
  type WatchableStore,
  type WatchListener,
  type WriteOptions,
} from "./store.ts";
