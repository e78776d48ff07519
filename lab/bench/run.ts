/** What every part of a run is given, and the lines that tell how far it is. */
import type { PartName } from "./options.ts";
import type { Results } from "./results.ts";

export interface Scale {
  readonly rounds: number;
  /** Of one load, s: wrk counts whole seconds. */
  readonly seconds: number;
  /** Sessions that the visitors of an HTTP application have. */
  readonly sessions: number;
  /** Sessions in the memory that is weighed. */
  readonly residents: number;
  readonly soak: { readonly sessions: number; readonly seconds: number; readonly requestsPerS: number };
  /** Requests of each kind whose store requests are counted. */
  readonly counted: number;
}

export const FULL: Scale = {
  rounds: 5,
  seconds: 2,
  sessions: 1_000,
  residents: 300_000,
  soak: { sessions: 300_000, seconds: 600, requestsPerS: 1_000 },
  counted: 500,
};

/** Proves that everything runs; its figures mean nothing. */
export const QUICK: Scale = {
  rounds: 1,
  seconds: 1,
  sessions: 40,
  residents: 20_000,
  soak: { sessions: 2_000, seconds: 3, requestsPerS: 500 },
  counted: 20,
};

export interface Part<Name extends PartName = PartName> {
  readonly name: Name;
  readonly title: string;
  estimatedS(scale: Scale): number;
  run(scale: Scale, progress: Progress): Promise<Omit<NonNullable<Results[Name]>, "taken">>;
}

/** One line for each step, with the time that the whole run still needs. */
export class Progress {
  readonly #write: (line: string) => void;
  #partS = 0;
  #laterS = 0;
  #partBeganMs = 0;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  begin(title: string, partS: number, laterS: number): void {
    this.#partS = partS;
    this.#laterS = laterS;
    this.#partBeganMs = performance.now();
    this.#write(`\n── ${title}\n`);
  }

  /** @param done  of this part, 0..1 */
  step(done: number, line: string): void {
    const spentS = (performance.now() - this.#partBeganMs) / 1_000;
    // What was estimated counts less and less as what was measured grows.
    const partS =
      done > 0.05 ? done * (spentS / done) + (1 - done) * Math.max(this.#partS, spentS) : this.#partS;
    const leftS = Math.max(0, (1 - done) * partS) + this.#laterS;
    const left = `${Math.floor(leftS / 60)}:${String(Math.round(leftS % 60)).padStart(2, "0")}`.replace(
      ":60",
      ":59",
    );
    this.#write(`${left.padStart(6)} left  ${line}\n`);
  }

  /** Without a time: a row of a table. */
  row(line: string): void {
    this.#write(`             ${line}\n`);
  }
}

export function columns(...cells: readonly (readonly [text: string | number, width: number])[]): string {
  return cells
    .map(([text, width]) => (width < 0 ? String(text).padEnd(-width) : String(text).padStart(width)))
    .join(" ");
}
