/**
 * What this page was told is stored, held against every later answer. That is all a browser can know, and all a visitor
 * notices: a session that was there and is gone is *lost*, an answer that differs from what was confirmed is *stale*.
 *
 * An attribute with a change under way at any moment between question and answer proves nothing, so it is left out.
 */
export class Memory {
  #attributes = new Map();
  #principal = null;
  /** False until the first answer: it is news, whatever it says. */
  #told = false;
  #exists = false;
  /** Since when we know of a session: an older question may rightly be answered "none". */
  #existsSince = 0;
  /** Names with changes under way → how many. `#ALL` stands for login and logout, which change everything. */
  #busy = new Map();
  /** When a change of a name last began or ended. */
  #touchedAt = new Map();
  /** Names with changes under way that began while another one was. */
  #overlapping = new Set();
  /** Changes whose outcome nobody told us: the next answer is believed. */
  #uncertain = new Set();
  #now = 0;
  #adoptedReadAt = 0;

  static ALL = "*";

  /** A change of `name` sets off. @returns called once with what was confirmed, or with undefined when nothing was */
  beginChange(name) {
    if (this.#busy.has(name)) this.#overlapping.add(name);
    this.#touch(name, 1);
    let open = true;
    return (confirmed) => {
      if (!open) return;
      open = false;
      this.#touch(name, -1);
      // Answers to changes that overlap arrive in any order: which one the store made last, the next read tells.
      const isCertain = confirmed !== undefined && !this.#overlapping.has(name);
      if (!this.#busy.has(name)) this.#overlapping.delete(name);
      if (!isCertain) this.#uncertain.add(name);
      if (confirmed === undefined) return;
      this.#told = true;
      confirmed(this);
    };
  }

  stored(name, value) {
    this.#begins();
    if (value === undefined) this.#attributes.delete(name);
    else this.#attributes.set(name, JSON.stringify(value));
  }

  loggedIn(principal) {
    this.#begins();
    this.#principal = principal;
  }

  ended() {
    this.#exists = false;
    this.#principal = null;
    this.#attributes.clear();
  }

  /** A question sets off. Pass what it returns to `check` with the answer. */
  beginRead() {
    const at = ++this.#now;
    return { at, since: at, busy: new Set(this.#busy.keys()) };
  }

  /** The question of `read` is asked only now: a login ended in a redirect, and what answers is the page after it. */
  redirected({ since, busy }) {
    return { at: ++this.#now, since, busy };
  }

  /** True when `check` would call this answer stale as far as is known now. */
  disagrees(read, answer) {
    return this.#verdictOf(read, answer).verdict === "stale";
  }

  /**
   * Compares an answer of `GET /session` with what was told, and believes the answer from then on.
   *
   * @returns { verdict: "as told" | "lost" | "stale", names } names: attributes that differ
   */
  check(read, answer) {
    const result = this.#verdictOf(read, answer);
    // A slower answer to an older question: what came in between is newer than it.
    if (read.at < this.#adoptedReadAt) return result;
    this.#adoptedReadAt = read.at;
    // Asked before a login or logout was over: that is newer than this answer, which must not bring the old state back.
    if (this.#isQuiet(read, Memory.ALL)) this.#adopt(read, answer);
    return result;
  }

  #canJudge(read) {
    return this.#told && this.#proves(read, Memory.ALL);
  }

  #verdictOf(read, answer) {
    if (read.at < this.#adoptedReadAt || !this.#canJudge(read)) return { verdict: "as told", names: [] };
    const told = new Map(
      Object.entries(answer.attributes).map(([name, value]) => [name, JSON.stringify(value)]),
    );
    const differs = (name) => this.#proves(read, name) && told.get(name) !== this.#attributes.get(name);
    const names = [...new Set([...told.keys(), ...this.#attributes.keys()])].filter(differs);
    const lost = this.#knewOfSession(read) && answer.version === null;
    const stale = names.length > 0 || (answer.principal ?? null) !== this.#principal;
    return { verdict: lost ? "lost" : stale ? "stale" : "as told", names };
  }

  #begins() {
    if (!this.#exists) this.#existsSince = ++this.#now;
    this.#exists = true;
  }

  #knewOfSession(read) {
    return this.#exists && this.#existsSince <= read.at;
  }

  #adopt(read, answer) {
    this.#told = true;
    if (answer.version !== null) this.#begins();
    else if (this.#knewOfSession(read)) this.#exists = false;
    this.#principal = answer.principal ?? null;
    for (const name of this.#attributes.keys()) {
      if (this.#isQuiet(read, name)) this.#attributes.delete(name);
    }
    for (const [name, value] of Object.entries(answer.attributes)) {
      if (this.#isQuiet(read, name)) this.#attributes.set(name, JSON.stringify(value));
    }
    for (const name of this.#uncertain) if (this.#isQuiet(read, name)) this.#uncertain.delete(name);
  }

  #proves(read, name) {
    return this.#isQuiet(read, name) && !this.#uncertain.has(name);
  }

  #isQuiet(read, name) {
    const touchedAt = this.#touchedAt.get(name) ?? 0;
    return (
      !read.busy.has(name) &&
      !this.#busy.has(name) &&
      touchedAt <= (name === Memory.ALL ? read.at : read.since)
    );
  }

  #touch(name, by) {
    this.#touchedAt.set(name, ++this.#now);
    const count = (this.#busy.get(name) ?? 0) + by;
    if (count > 0) this.#busy.set(name, count);
    else this.#busy.delete(name);
  }
}
