/**
 * The store that is there when none is given: JSON text in this process, read afresh each time, as any other store would
 * be. For development: it forgets nothing but expired sessions that somebody asks for.
 */
import { systemClock } from "../../core/clock.ts";
import type { Session } from "./session.ts";
import { Store, type StoredData } from "./store.ts";
import type { Answer, Done } from "./store-calls.ts";

export interface MemoryStore extends Store {
  /** Session id → JSON. */
  sessions: Record<string, string>;
  all(callback: Answer<Record<string, StoredData>>): void;
  length(callback: Answer<number>): void;
  clear(callback?: Done): void;
  touch(sid: string, session: Session | StoredData, callback?: Done): void;
}

export interface MemoryStoreConstructor {
  new (): MemoryStore;
  (this: MemoryStore): void;
  readonly prototype: MemoryStore;
}

function BareMemoryStore(this: MemoryStore): void {
  Store.call(this);
  this.sessions = Object.create(null) as Record<string, string>;
}
Object.setPrototypeOf(BareMemoryStore.prototype, Store.prototype);
Object.setPrototypeOf(BareMemoryStore, Store);
Object.defineProperty(BareMemoryStore, "name", { value: "MemoryStore" });
const methods: Pick<MemoryStore, "get" | "set" | "destroy" | "touch" | "all" | "length" | "clear"> &
  ThisType<MemoryStore> = {
  get(sid, callback) {
    process.nextTick(callback, null, live(this.sessions, sid));
  },

  set(sid, session, callback) {
    this.sessions[sid] = JSON.stringify(session);
    if (callback) process.nextTick(callback);
  },

  destroy(sid, callback) {
    delete this.sessions[sid];
    if (callback) process.nextTick(callback);
  },

  touch(sid, session, callback) {
    const stored = live(this.sessions, sid);
    if (stored) this.sessions[sid] = JSON.stringify({ ...stored, cookie: session.cookie });
    if (callback) process.nextTick(callback);
  },

  all(callback) {
    const found = Object.create(null) as Record<string, StoredData>;
    for (const sid of Object.keys(this.sessions)) {
      const data = live(this.sessions, sid);
      if (data) found[sid] = data;
    }
    process.nextTick(callback, null, found);
  },

  length(callback) {
    this.all((error, found) => {
      if (error) callback(error);
      else callback(null, Object.keys(found ?? {}).length);
    });
  },

  clear(callback) {
    this.sessions = Object.create(null) as Record<string, string>;
    if (callback) process.nextTick(callback);
  },
};
Object.assign(BareMemoryStore.prototype, methods);

export const MemoryStore = BareMemoryStore as unknown as MemoryStoreConstructor;

/** The session, unless it has expired: then it is forgotten. */
function live(sessions: Record<string, string>, sid: string): StoredData | undefined {
  const text = sessions[sid];
  if (text === undefined) return undefined;
  const data = JSON.parse(text) as StoredData;
  // Somebody may have stored one without a cookie; whoever makes a session of it hears of that.
  const expires = (data.cookie as StoredData["cookie"] | undefined)?.expires;
  if (!expires || new Date(expires).getTime() > systemClock.nowMs()) return data;
  delete sessions[sid];
  return undefined;
}
