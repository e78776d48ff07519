/** Prometheus' text format 0.0.4, read strictly: whatever its specification forbids throws. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Parsed {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "histogram";
  readonly samples: Sample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (-?[0-9.e+-]+|\\+Inf|NaN)$`);
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;

export function parseExposition(text: string): ReadonlyMap<string, Parsed> {
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line does not end");
  const metrics = new Map<string, Parsed>();
  const seen = new Set<string>();
  let current: Parsed | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.split("\n").slice(0, -1)) {
    const helped = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line);
    const typed = new RegExp(`^# TYPE (${NAME}) (counter|histogram)$`).exec(line);
    if (helped) {
      help = { name: helped[1] ?? "", text: helped[2] ?? "" };
    } else if (typed) {
      const name = typed[1] ?? "";
      if (help?.name !== name) throw new Error(`${name} has no HELP before its TYPE`);
      if (metrics.has(name)) throw new Error(`${name} appears twice`);
      current = { name, help: help.text, type: typed[2] as Parsed["type"], samples: [] };
      metrics.set(name, current);
    } else {
      const sample = parseSample(line);
      const allowed =
        current?.type === "histogram"
          ? ["_bucket", "_sum", "_count"].map((suffix) => `${current?.name}${suffix}`)
          : [current?.name];
      if (!allowed.includes(sample.name)) throw new Error(`${sample.name} stands under ${current?.name}`);
      const series = JSON.stringify([sample.name, sample.labels]);
      if (seen.has(series)) throw new Error(`a series appears twice: ${series}`);
      seen.add(series);
      current?.samples.push(sample);
    }
  }
  for (const { name, samples, type } of metrics.values()) {
    if (samples.length === 0) throw new Error(`${name} has no sample`);
    if (type === "counter" && !name.endsWith("_total")) throw new Error(`the counter ${name} is no _total`);
  }
  return metrics;
}

function parseSample(line: string): Sample {
  const [, name = "", labelText = "", value = ""] =
    SAMPLE.exec(line) ??
    (() => {
      throw new Error(`not a sample: ${line}`);
    })();
  const labels: Record<string, string> = {};
  for (let rest = labelText; rest !== ""; ) {
    const found = LABEL.exec(rest);
    if (!found) throw new Error(`not a label: ${rest}`);
    const label = found[1] ?? "";
    if (label in labels) throw new Error(`the label ${label} appears twice in ${line}`);
    labels[label] = (found[2] ?? "").replace(/\\(["\\n])/g, (_, char) => (char === "n" ? "\n" : char));
    rest = rest.slice(found[0].length);
  }
  return { name, labels, value: value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value) };
}
