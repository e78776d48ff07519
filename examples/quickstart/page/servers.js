/** The processes behind this page: what each does, and for servers the two buttons that this page is about. */
import { badge, byId, h, lamp, lightLamp, setAttribute, setText } from "./dom.js";
import { label, say } from "./words.js";

const POLL_MS = 1_500;
/** After a click the answer is worth a closer look. */
const POLL_SOON_MS = 150;
const POLL_SOON_TIMES = 12;
const REFUSAL_SHOWN_MS = 5_000;
const TRIES_MAX = 4;
const TRY_AGAIN_MS = 250;

export class Servers extends EventTarget {
  strategy = null;
  /** Where sessions live, `host:port`, when that is none of the processes here. */
  store = null;
  #cells = new Map();
  #launcher = null;
  #timer = undefined;
  #soon = 0;
  #isLooking = false;

  start() {
    document.addEventListener("visibilitychange", () => this.#schedule(0));
    return this.#poll();
  }

  markAnswering(name) {
    for (const [each, cell] of this.#cells) cell.item.classList.toggle("answering", each === name);
  }

  /** Something went wrong elsewhere on the page: the next look is worth taking now. */
  lookSoon() {
    if (!this.#isLooking) this.#schedule(POLL_SOON_MS);
  }

  #schedule(delayMs) {
    clearTimeout(this.#timer);
    // A page nobody looks at asks nothing.
    if (document.visibilityState === "hidden") return;
    this.#timer = setTimeout(() => this.#poll(), delayMs);
  }

  async #poll() {
    this.#isLooking = true;
    const overview = await ask("GET", "/control/servers");
    this.#isLooking = false;
    if (overview.ok) this.#show(overview.body);
    else this.#showSilence();
    this.#schedule(this.#soon-- > 0 ? POLL_SOON_MS : POLL_MS);
  }

  #show({ strategy, store, launcher, servers }) {
    this.#launcher = launcher;
    notice(null);
    if (this.strategy !== strategy) {
      this.strategy = strategy;
      this.store = store;
      this.dispatchEvent(new Event("strategy"));
    }
    for (const server of [...servers].sort((a, b) => ORDER.indexOf(a.role) - ORDER.indexOf(b.role))) {
      if (!this.#cells.has(server.name)) this.#add(server);
      this.#update(server);
    }
  }

  #showSilence() {
    for (const { lamp, word } of this.#cells.values()) {
      lightLamp(lamp, "unknown");
      label(word, "unknown");
    }
    if (this.#launcher === null) notice("unreachable");
    else notice("nobody", { pid: this.#launcher });
  }

  #add({ name, role }) {
    const isOurs = role !== "router" && role !== "store";
    const cell = {
      lamp: lamp(),
      word: h("span", { class: "state" }),
      place: h("span", {}),
      rate: h("span", {}),
      sessions: h("span", {}),
      button: isOurs ? h("button", { type: "button" }) : null,
    };
    const title = role === "shop" ? badge(name) : h("span", { class: "badge", words: `role.${role}` });
    const caption = h("span", {});
    if (role === "shop") label(caption, `place.${this.strategy}`);
    cell.item = h(
      "li",
      { class: "server", "data-name": name, "data-role": role },
      h("div", { class: "server-head" }, title, h("span", { class: "lamp-word" }, cell.lamp, cell.word)),
      h("p", { class: "server-line" }, cell.place),
      h("p", { class: "server-line" }, cell.rate, cell.sessions, role === "shop" ? caption : null),
      cell.button,
    );
    cell.button?.addEventListener("click", () => this.#act(name, cell.button.dataset.verb));
    this.#cells.set(name, cell);
    byId("servers").append(cell.item);
    setAttribute(byId("servers"), "data-count", String(this.#cells.size));
  }

  #update({ name, role, state, pid, port, requestsPerS, sessions }) {
    const cell = this.#cells.get(name);
    const died = state === "stopped" && cell.state === "running";
    cell.state = state;
    if (died) this.dispatchEvent(new Event("death"));
    lightLamp(cell.lamp, state);
    label(cell.word, state);
    setText(cell.place, role === "store" ? (this.store ?? "–") : `:${port} · pid ${pid ?? "–"}`);
    if (role === "router") setText(cell.rate, location.host);
    else if (role === "store") setText(cell.rate, "");
    else label(cell.rate, "perSecond", { n: requestsPerS === null ? "–" : requestsPerS.toFixed(1) });
    if (sessions === null) {
      delete cell.sessions.dataset.i18n;
      setText(cell.sessions, "");
    } else label(cell.sessions, sessions === 1 ? "sessions.one" : "sessions", { n: String(sessions) });
    if (cell.button === null) return;
    const verb = state === "stopped" ? "start" : "kill";
    cell.button.dataset.verb = verb;
    cell.button.disabled = state === "starting";
    label(cell.button, verb);
    cell.button.setAttribute("aria-label", say(`${verb}Label`, { name }));
  }

  async #act(name, verb) {
    const { ok, body } = await ask("POST", `/control/servers/${name}/${verb}`);
    if (body?.code === "LAST_SHOP") {
      notice("lastShop");
      this.#schedule(REFUSAL_SHOWN_MS);
      return;
    }
    if (ok) this.#show(body);
    setText(byId("announce"), say(verb === "kill" ? "killed" : "started", { name }));
    this.#soon = POLL_SOON_TIMES;
    this.#schedule(POLL_SOON_MS);
  }
}

const ORDER = ["router", "shop", "session-server", "store"];

function notice(key, values) {
  const element = byId("notice");
  element.hidden = key === null;
  if (key !== null) label(element, key, values);
}

/**
 * A router that has just lost servers may need more than one try to find one that lives. Killing what is dead and starting
 * what runs change nothing, so asking again is safe.
 */
async function ask(method, path) {
  for (let tries = 1; ; tries++) {
    try {
      const response = await fetch(path, { method, cache: "no-store" });
      if (response.headers.get("content-type")?.includes("json")) {
        return { ok: response.ok, body: await response.json() };
      }
    } catch {
      // Nobody listens, or the answer broke off with its server.
    }
    if (tries === TRIES_MAX) return { ok: false, body: null };
    await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
  }
}
