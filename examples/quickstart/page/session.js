/**
 * The page's side of the shop's interface. Every request is told to whoever listens, with who answered it and whether
 * the answer agrees with what the page had been told before.
 */
import { Memory } from "./memory.js";

/** Longer than any request may take: what another tab began and never ended. */
const FORGET_MS = 40_000;
/** News from another tab may be slower than an answer that already shows the change it announces. */
const NEWS_MS = 250;

export class ShopSession extends EventTarget {
  /** The last answer of `GET /session`; null until the first. */
  view = null;
  #memory = new Memory();
  /** Tabs share the session, so they tell each other what they change. */
  #tabs = new BroadcastChannel("sojourn-shop");
  #others = new Map();
  /** Another tab of this browser has this page open, or had. */
  #hasCompany = false;
  #reading = null;
  #readAgain = false;

  constructor() {
    super();
    this.#tabs.onmessage = ({ data }) => this.#heard(data);
    this.#tabs.postMessage({ hello: true });
  }

  /** Reads the session. Calls that come while one is under way share the one after it. */
  async refresh() {
    if (this.#reading !== null) {
      this.#readAgain = true;
      return this.#reading;
    }
    this.#reading = this.#readUntilQuiet();
    try {
      await this.#reading;
    } finally {
      this.#reading = null;
    }
  }

  async set(name, value) {
    return this.#change(name, "PUT", `/session/attributes/${encodeURIComponent(name)}`, value, () => value);
  }

  async delete(name) {
    return this.#change(
      name,
      "DELETE",
      `/session/attributes/${encodeURIComponent(name)}`,
      undefined,
      () => undefined,
    );
  }

  /** @returns the counter's new value, or undefined when it was refused */
  async increment(name) {
    const path = `/session/counters/${encodeURIComponent(name)}`;
    const answer = await this.#change(name, "POST", path, undefined, (body) => body.value);
    return answer?.body?.value;
  }

  async login(user) {
    const read = this.#memory.beginRead();
    const end = this.#begin(Memory.ALL);
    const answer = await this.#send("POST", "/login", { user });
    if (!answer?.ok) {
      end(undefined);
      this.#tell(answer);
      return answer;
    }
    end({ principal: user });
    await this.#take(answer, this.#memory.redirected(read));
    return answer;
  }

  async logout(everywhere) {
    const end = this.#begin(Memory.ALL);
    const answer = await this.#send("POST", everywhere ? "/logout-everywhere" : "/logout");
    end(answer?.ok ? { ended: true } : undefined);
    this.#tell(answer);
    return answer;
  }

  async #readUntilQuiet() {
    do {
      this.#readAgain = false;
      const read = this.#memory.beginRead();
      const answer = await this.#send("GET", "/session");
      if (answer.ok) await this.#take(answer, read);
      else this.#tell(answer);
    } while (this.#readAgain);
  }

  async #change(name, method, path, body, confirmedOf) {
    const end = this.#begin(name);
    const answer = await this.#send(method, path, body);
    end(answer.ok ? { name, value: confirmedOf(answer.body) } : undefined);
    this.#tell(answer);
    return answer;
  }

  async #take(answer, read) {
    if (this.#hasCompany && this.#memory.disagrees(read, answer.body)) {
      await new Promise((resolve) => setTimeout(resolve, NEWS_MS));
    }
    const { verdict, names } = this.#memory.check(read, answer.body);
    this.view = answer.body;
    this.#tell({ ...answer, verdict, names });
    this.dispatchEvent(new Event("view"));
  }

  #tell(entry) {
    this.dispatchEvent(new CustomEvent("request", { detail: entry }));
  }

  /** A change begins, here and for the other tabs. @returns ends it in both places */
  #begin(name) {
    const id = crypto.randomUUID();
    const end = this.#memory.beginChange(name);
    this.#tabs.postMessage({ id, name });
    return (outcome) => {
      end(outcome && ((memory) => confirm(memory, outcome)));
      this.#tabs.postMessage({ id, name, over: true, outcome });
    };
  }

  #heard({ hello, here, id, name, over, outcome }) {
    this.#hasCompany = true;
    if (hello) this.#tabs.postMessage({ here: true });
    if (hello || here) return;
    if (!over) {
      const end = this.#memory.beginChange(name);
      this.#others.set(id, end);
      setTimeout(() => this.#others.delete(id) && end(undefined), FORGET_MS);
      return;
    }
    // Two tabs that change one attribute hear of it in their own order, not in the store's: the next answer is believed.
    const isCertain = outcome && outcome.name === undefined;
    this.#others.get(id)?.(isCertain ? (memory) => confirm(memory, outcome) : undefined);
    this.#others.delete(id);
    void this.refresh();
  }

  async #send(method, path, body) {
    const at = new Date();
    const startedMs = performance.now();
    const entry = { at, method, path, server: null, status: null, ok: false, body: null };
    try {
      const response = await fetch(path, {
        method,
        cache: "no-store",
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
      const text = await response.text();
      return {
        ...entry,
        redirected: response.redirected,
        server: response.headers.get("shop-server"),
        status: response.status,
        ok: response.ok,
        body: text === "" ? null : parse(text),
        tookMs: performance.now() - startedMs,
      };
    } catch {
      return { ...entry, tookMs: performance.now() - startedMs };
    }
  }
}

function confirm(memory, { name, value, principal, ended }) {
  if (ended) memory.ended();
  else if (principal !== undefined) memory.loggedIn(principal);
  else memory.stored(name, value);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
