/**
 * The launcher's face. On a terminal the table is redrawn in place; elsewhere a line is written when something starts or
 * stops, so that a log file stays readable.
 */
import { STRATEGIES, type Strategy } from "./options.ts";
import { REDIS_PREFIX, type Redis } from "./redis.ts";
import type { ServerStatus, System } from "./system.ts";

export const STRATEGY_SENTENCE: Readonly<Record<Strategy, string>> = {
  none: "every shop keeps its own sessions, round robin: they differ between servers",
  sticky: "every shop keeps its own sessions behind a sticky router: a kill costs them",
  "session-server": "all shops share their sessions through the session server: a kill costs nothing",
  redis: "all shops share their sessions through Redis: a kill costs nothing",
};

const TO_TRY: Readonly<Record<Strategy, string>> = {
  none: "Log in, put something into the cart, reload a few times.",
  sticky: "Log in, fill the cart, kill the server that answered, reload.",
  "session-server": "Log in, fill the cart, kill the server that answered, go on shopping.",
  redis: "Log in, fill the cart, kill the server that answered, go on shopping.",
};

const COLUMNS = ["role", "name", "pid", "port", "requests/s", "sessions", "state"] as const;
const WIDTHS = [16, 16, 8, 7, 12, 10, 10];
const RIGHT_ALIGNED = [2, 3, 4, 5];

export class Screen {
  readonly #out = process.stdout;
  readonly #live = process.stdout.isTTY === true;
  #drawnLines = 0;
  #states = new Map<string, string>();

  constructor() {
    // The terminal may go before we do; that ends the drawing, not the stopping.
    for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  }

  ready(system: System, seconds: number): void {
    const lines = [
      "",
      `  Sojourn is up after ${seconds.toFixed(1)} s:  ${this.#bold(system.url)}`,
      `  Strategy ${system.strategy}: ${STRATEGY_SENTENCE[system.strategy]}.`,
      "",
      `  ${TO_TRY[system.strategy]}`,
      ...(system.redis === undefined ? [] : [`  To look inside: ${lookInside(system.redis)}`]),
      `  Other strategies: npm start -- --strategy ${others(system.strategy).join(" | ")}`,
      "  Ctrl-C stops everything.",
      "",
    ];
    this.#out.write(`${lines.join("\n")}\n`);
    const status = system.status();
    for (const { name, state } of status) this.#states.set(name, state);
    if (this.#live) this.update(status);
    else this.#out.write(`${table(status).join("\n")}\n`);
  }

  update(status: readonly ServerStatus[]): void {
    if (this.#live) this.#redraw(status);
    else this.#tellChanges(status);
  }

  #redraw(status: readonly ServerStatus[]): void {
    // A line that wraps would be two, and the next drawing would begin in the wrong place.
    const width = this.#out.columns > 0 ? this.#out.columns - 1 : undefined;
    const lines = table(status).map((line) => `\x1b[2K${line.slice(0, width)}`);
    const up = this.#drawnLines > 0 ? `\x1b[${this.#drawnLines}A` : "";
    this.#out.write(`${up}${lines.join("\n")}\n`);
    this.#drawnLines = lines.length;
  }

  say(line: string): void {
    this.#out.write(`  ${line}\n`);
    // What was drawn above the line stays where it is.
    this.#drawnLines = 0;
  }

  #tellChanges(status: readonly ServerStatus[]): void {
    for (const { name, state, pid, port } of status) {
      const before = this.#states.get(name);
      this.#states.set(name, state);
      if (before === undefined || before === state) continue;
      this.#out.write(`  ${name}: ${state}${pid === null ? "" : `, pid ${pid}, port ${port}`}\n`);
    }
  }

  #bold(text: string): string {
    return this.#live ? `\x1b[1m${text}\x1b[0m` : text;
  }
}

function table(status: readonly ServerStatus[]): string[] {
  const rows = status.map(({ role, name, pid, port, requestsPerS, sessions, state }) => [
    role,
    name,
    pid === null ? "–" : String(pid),
    String(port),
    requestsPerS === null ? "–" : requestsPerS.toFixed(1),
    sessions === null ? "–" : String(sessions),
    state,
  ]);
  return [[...COLUMNS], ...rows].map((cells) =>
    `  ${cells
      .map((cell, index) => {
        const width = WIDTHS[index] ?? 0;
        return RIGHT_ALIGNED.includes(index) ? `${cell.padStart(width - 2)}  ` : cell.padEnd(width);
      })
      .join("")}`.trimEnd(),
  );
}

function others(strategy: Strategy): Strategy[] {
  return STRATEGIES.filter((name) => name !== strategy);
}

function lookInside({ place }: Redis): string {
  return `npx sojourn session list --store redis://${place} --prefix ${REDIS_PREFIX}`;
}
