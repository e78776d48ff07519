/** Five requests at once, and a little traffic: what a quick hand cannot do. */
import { byId, setAttribute } from "./dom.js";
import { label } from "./words.js";

const PARALLEL = 5;
const TRAFFIC_EVERY_MS = 500;
const TRAFFIC_FOR_S = 120;

export class Experiments {
  #session;
  #traffic = undefined;
  #left = 0;

  constructor(session) {
    this.#session = session;
    const attributes = byId("parallel-attributes");
    const counter = byId("parallel-counter");
    attributes.addEventListener("click", () =>
      this.#alone([attributes, counter], () => this.#fiveAttributes()),
    );
    counter.addEventListener("click", () => this.#alone([attributes, counter], () => this.#oneCounter()));
    byId("traffic").addEventListener("click", () => this.#toggleTraffic());
    this.#showTraffic();
  }

  async #alone(buttons, run) {
    for (const button of buttons) button.setAttribute("aria-disabled", "true");
    if (this.running) return;
    this.running = true;
    label(byId("result"), "running5");
    byId("result").className = "result";
    try {
      await run();
    } finally {
      this.running = false;
      for (const button of buttons) button.removeAttribute("aria-disabled");
    }
  }

  /** Each writes an attribute of its own: all five are there afterwards, or updates were lost. */
  async #fiveAttributes() {
    const names = Array.from({ length: PARALLEL }, (_, index) => `burst:${index + 1}`);
    const mark = Date.now();
    // The first write of a visitor makes the session; five first writes would make five.
    await this.#session.set("burst:run", mark);
    const answers = await Promise.all(names.map((name) => this.#session.set(name, mark)));
    await this.#session.refresh();
    const attributes = this.#session.view?.attributes ?? {};
    this.#showResult(names.filter((name) => attributes[name] === mark).length, refusedOf(answers));
  }

  /** All add one to the same counter: it is five higher afterwards, or updates were lost. */
  async #oneCounter() {
    const name = "burst:count";
    await this.#session.set(name, 0);
    const answers = await Promise.all(Array.from({ length: PARALLEL }, () => this.#session.increment(name)));
    await this.#session.refresh();
    const value = this.#session.view?.attributes?.[name];
    this.#showResult(Number.isFinite(value) ? value : 0, answers.filter((each) => each === undefined).length);
  }

  #showResult(kept, refused) {
    const result = byId("result");
    const lost = PARALLEL - kept - refused;
    if (refused > 0) label(result, "result.failed", { n: String(refused) });
    else if (lost > 0) label(result, "result.lost", { n: String(kept), lost: String(lost) });
    else label(result, "result.kept");
    result.className = `result ${lost > 0 || refused > 0 ? "result-bad" : "result-good"}`;
  }

  #toggleTraffic() {
    if (this.#traffic !== undefined) return this.#stopTraffic();
    let turn = 0;
    const endMs = performance.now() + TRAFFIC_FOR_S * 1000;
    this.#left = TRAFFIC_FOR_S;
    this.#traffic = setInterval(() => {
      this.#left = Math.ceil((endMs - performance.now()) / 1000);
      // Stops by itself: a forgotten tab must not work for ever.
      if (this.#left <= 0) return this.#stopTraffic();
      this.#showTraffic();
      turn++;
      void (turn % 2 === 0 ? this.#session.refresh() : this.#session.increment("visits"));
    }, TRAFFIC_EVERY_MS);
    this.#showTraffic();
  }

  #stopTraffic() {
    clearInterval(this.#traffic);
    this.#traffic = undefined;
    this.#showTraffic();
  }

  #showTraffic() {
    const button = byId("traffic");
    const runs = this.#traffic !== undefined;
    setAttribute(button, "aria-pressed", String(runs));
    if (runs) label(button, "trafficStop", { n: String(this.#left) });
    else label(button, "trafficStart");
  }
}

const refusedOf = (answers) => answers.filter(({ ok }) => !ok).length;
