/**
 * Counters and histograms in Prometheus' text format, version 0.0.4. No more than this library needs: series appear when
 * they are first counted, and labels come from small fixed sets, so nothing grows without bound.
 */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;

export interface Metric {
  readonly name: string;
  readonly help: string;
}

export class Counter {
  readonly #metric: Metric;
  readonly #series = new Map<string, number>();

  constructor(metric: Metric) {
    this.#metric = metric;
  }

  add(labels: Labels, by: number): void {
    const series = labelText(labels);
    this.#series.set(series, (this.#series.get(series) ?? 0) + by);
  }

  /** Empty when nothing was counted. */
  text(): string {
    if (this.#series.size === 0) return "";
    const { name } = this.#metric;
    const lines = [...this.#series].map(([labels, value]) => `${name}${braced(labels)} ${value}\n`);
    return head(this.#metric, "counter") + lines.join("");
  }
}

interface Distribution {
  /** Observations up to each bound and above the one before; the last: above all. */
  readonly counts: number[];
  sum: number;
}

export class Histogram {
  readonly #metric: Metric;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Distribution>();

  /** @param bounds  rising */
  constructor(metric: Metric, bounds: readonly number[]) {
    this.#metric = metric;
    this.#bounds = bounds;
  }

  observe(labels: Labels, value: number): void {
    const series = labelText(labels);
    let distribution = this.#series.get(series);
    if (!distribution) {
      distribution = { counts: new Array<number>(this.#bounds.length + 1).fill(0), sum: 0 };
      this.#series.set(series, distribution);
    }
    const at = this.#bounds.findIndex((bound) => value <= bound);
    const index = at < 0 ? this.#bounds.length : at;
    distribution.counts[index] = (distribution.counts[index] ?? 0) + 1;
    distribution.sum += value;
  }

  text(): string {
    if (this.#series.size === 0) return "";
    const { name } = this.#metric;
    let text = head(this.#metric, "histogram");
    for (const [labels, { counts, sum }] of this.#series) {
      let upTo = 0;
      for (const [index, count] of counts.entries()) {
        upTo += count;
        const bound = this.#bounds[index] ?? "+Inf";
        text += `${name}_bucket${braced(labels === "" ? `le="${bound}"` : `${labels},le="${bound}"`)} ${upTo}\n`;
      }
      text += `${name}_sum${braced(labels)} ${sum}\n${name}_count${braced(labels)} ${upTo}\n`;
    }
    return text;
  }
}

function head({ name, help }: Metric, type: "counter" | "histogram"): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",");
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
