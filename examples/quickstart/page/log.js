/** The running log, newest first, and the figures that follow from it. */
import { badge, byId, h, setText } from "./dom.js";
import { say } from "./words.js";

const ROWS_MAX = 200;
/** The end of a version is what changes with every commit. */
const VERSION_CHARACTERS = 8;

export class Log {
  #rows = byId("log");
  #counts = { requests: 0, lost: 0, stale: 0 };

  constructor() {
    byId("log-clear").addEventListener("click", () => this.#clear());
  }

  add(entry) {
    this.#counts.requests++;
    if (entry.verdict === "lost") this.#counts.lost++;
    if (entry.verdict === "stale") this.#counts.stale++;
    this.#showCounts();
    if (entry.server !== null) byId("answered-by").replaceChildren(badge(entry.server));
    this.#rows.prepend(rowOf(entry));
    while (this.#rows.childElementCount > ROWS_MAX) this.#rows.lastElementChild.remove();
    announce(entry);
  }

  #clear() {
    this.#counts = { requests: 0, lost: 0, stale: 0 };
    this.#rows.replaceChildren();
    this.#showCounts();
  }

  #showCounts() {
    for (const [name, count] of Object.entries(this.#counts)) {
      const figure = byId(`count-${name}`);
      setText(figure, String(count));
      figure.parentElement.classList.toggle("above-zero", count > 0);
    }
  }
}

function rowOf({ at, method, path, server, status, tookMs, body, verdict, redirected }) {
  const where = redirected ? `${path} → /session` : path;
  const version = body?.version?.slice(-VERSION_CHARACTERS) ?? "";
  return h(
    "tr",
    { class: verdict === undefined || verdict === "as told" ? undefined : `row-${verdict}` },
    h("td", { class: "time" }, timeOf(at)),
    h("td", { class: "request", title: `${method} ${where}` }, h("b", {}, method), " ", ...pathOf(where)),
    h("td", {}, badge(server)),
    h(
      "td",
      { class: `number ${status === null || status >= 400 ? "bad" : ""}` },
      status === null ? "–" : String(status),
    ),
    h("td", { class: "number" }, tookMs.toFixed(0)),
    h("td", { class: "version" }, flagOf(verdict, body), h("code", {}, version)),
  );
}

function flagOf(verdict, body) {
  if (verdict === "lost" || verdict === "stale") return h("span", { class: "flag", words: verdict });
  return body?.isNew && body.version === null
    ? h("span", { class: "flag quiet-flag", words: "noSession" })
    : null;
}

/** Where there is little room, the part that all paths share is left out. */
function pathOf(where) {
  const [, start, end] = /^(\/session\/\w+)(\/.+)$/.exec(where) ?? [];
  if (start === undefined) return [where];
  return [h("span", { class: "path-start" }, h("span", {}, start)), decodeURIComponent(end)];
}

function timeOf(at) {
  return [at.getHours(), at.getMinutes(), at.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}

function announce({ verdict, server }) {
  if (verdict === "lost") setText(byId("announce"), say("announceLost", { server }));
  if (verdict === "stale") setText(byId("announce"), say("announceStale", { server }));
}
