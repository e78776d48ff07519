/**
 * A store whose calls can be watched through `storeChannel`. While nobody does, each call costs one look whether somebody
 * does.
 */
import type { Clock } from "../core/clock.ts";
import { type ErrorCode, isSessionError } from "../core/errors.ts";
import { attributeBytes } from "../core/record.ts";
import { type StoreOperation, type StoreOperationName, type StoreOutcome, storeChannel } from "./channels.ts";
import { type EnumerableStore, isEnumerable, isWatchable, type SessionStore } from "./store.ts";

interface Found {
  readonly outcome: StoreOutcome;
  readonly bytesRead?: number;
}

const OK: Found = { outcome: "ok" };
const GONE: Found = { outcome: "gone" };
const done = (): Found => OK;
const found = (was: boolean): Found => (was ? OK : GONE);

/**
 * @param inner     everything the contract knows of it passes through
 * @param sessions  whose calls these are: the option `name` of `createSessions`
 */
export function observedStore(inner: SessionStore, sessions: string, clock: Clock): SessionStore {
  function told<T>(
    operation: StoreOperationName,
    bytesWritten: number,
    call: () => Promise<T>,
    finding: (result: T) => Found,
  ): Promise<T> {
    const event: StoreOperation = { sessions, store: inner.name, operation, bytesWritten };
    const beganMs = clock.monotonicMs();
    const over = (how: Found, code?: ErrorCode) => {
      event.seconds = (clock.monotonicMs() - beganMs) / 1000;
      event.outcome = how.outcome;
      event.bytesRead = how.bytesRead ?? 0;
      if (code !== undefined) {
        event.code = code;
        storeChannel.error.publish(event);
      }
      storeChannel.asyncStart.publish(event);
      storeChannel.asyncEnd.publish(event);
    };
    const pending = storeChannel.start.runStores(event, async () => call());
    storeChannel.end.publish(event);
    return pending.then(
      (result) => {
        over(finding(result));
        return result;
      },
      (error: unknown) => {
        // Whatever else escapes a driver is, to everybody above, a store that failed.
        over({ outcome: "error" }, isSessionError(error) ? error.code : "STORE_UNAVAILABLE");
        throw error;
      },
    );
  }
  const isWatched = () => storeChannel.hasSubscribers;

  const store: SessionStore = {
    name: inner.name,
    read(key, options) {
      if (!isWatched()) return inner.read(key, options);
      const call = () => inner.read(key, options);
      return told("read", 0, call, (record) =>
        record ? { outcome: "ok", bytesRead: attributeBytes(record.attributes) } : GONE,
      );
    },
    // Whoever watches wants to see each read, with its time.
    ...(inner.readNow && { readNow: (key) => (isWatched() ? undefined : inner.readNow!(key)) }),
    create(session, options) {
      if (!isWatched()) return inner.create(session, options);
      const call = () => inner.create(session, options);
      return told("create", attributeBytes(session.attributes), call, ({ status }) =>
        status === "created" ? OK : { outcome: status },
      );
    },
    apply(key, delta, options) {
      if (!isWatched()) return inner.apply(key, delta, options);
      const call = () => inner.apply(key, delta, options);
      return told("apply", attributeBytes(delta.set ?? []), call, (result) => {
        if (result.status === "applied") return OK;
        if (result.status !== "conflict") return { outcome: result.status };
        return { outcome: "conflict", bytesRead: attributeBytes(result.current.attributes) };
      });
    },
    touch(key, expiresAtMs, options) {
      if (!isWatched()) return inner.touch(key, expiresAtMs, options);
      return told("touch", 0, () => inner.touch(key, expiresAtMs, options), found);
    },
    supersede(key, options) {
      if (!isWatched()) return inner.supersede(key, options);
      const call = () => inner.supersede(key, options);
      return told("supersede", 0, call, (result) =>
        result.status === "gone"
          ? GONE
          : { outcome: "ok", bytesRead: attributeBytes(result.final.attributes) },
      );
    },
    destroy(key, options) {
      if (!isWatched()) return inner.destroy(key, options);
      return told("destroy", 0, () => inner.destroy(key, options), found);
    },
    close: () => inner.close(),
  };

  const enumeration = (all: EnumerableStore): Omit<EnumerableStore, keyof SessionStore> => ({
    list: (options) => (isWatched() ? told("list", 0, () => all.list(options), done) : all.list(options)),
    count: (options) => (isWatched() ? told("count", 0, () => all.count(options), done) : all.count(options)),
    endAll: (principal, options) =>
      isWatched()
        ? told("endAll", 0, () => all.endAll(principal, options), done)
        : all.endAll(principal, options),
  });

  return Object.assign(
    store,
    isEnumerable(inner) && enumeration(inner),
    isWatchable(inner) && { watch: inner.watch.bind(inner) },
  );
}
