/** The HTTP part as a picture: requests/s of each application as bars, reads beside 90/10. Plain SVG, no script. */
import type { Framework, SessionsKind } from "../servers/application.ts";
import { APPLICATIONS } from "./http.ts";
import { type HttpPart, median, type Workload } from "./results.ts";
import { FRAMEWORK_NAMES, httpRatio, roundsOf } from "./targets.ts";

export const SESSIONS_NAMES: Readonly<Record<SessionsKind, string>> = {
  none: "no sessions",
  memory: "Sojourn, memory",
  "session-server": "Sojourn, session server",
  redis: "Sojourn, Redis",
  "express-session-memory": "express-session, MemoryStore",
  "connect-redis": "connect-redis",
};

const ROW = 22;
const BAR = 14;
const LABEL_X = 226;
const PANEL = 300;
const WIDTH = LABEL_X + 2 * PANEL + 24;
const COLOURS = { base: "#9aa4b1", ours: "#1f6f78", others: "#c8803a" } as const;

/** In the words of its framework: connect-redis is a store for both. */
export function nameOf(framework: Framework, sessions: SessionsKind): string {
  if (sessions !== "connect-redis") return SESSIONS_NAMES[sessions];
  return `${framework === "fastify" ? "@fastify/session" : "express-session"}, connect-redis`;
}

export function chart(http: HttpPart): string {
  const lines: string[] = [];
  let y = 58;
  for (const framework of Object.keys(APPLICATIONS) as Framework[]) {
    lines.push(text(12, y, FRAMEWORK_NAMES[framework], "font-weight='600'"));
    y += 10;
    for (const sessions of APPLICATIONS[framework]) {
      lines.push(text(LABEL_X - 8, y + BAR - 3, nameOf(framework, sessions), "text-anchor='end'"));
      lines.push(bar(http, framework, sessions, "read", LABEL_X, y));
      lines.push(bar(http, framework, sessions, "mix", LABEL_X + PANEL, y));
      y += ROW;
    }
    y += 24;
  }
  const height = y - 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#1c2430" role="img" aria-label="Requests per second with and without sessions">
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
${text(LABEL_X, 22, "Requests/s, reads only", "font-weight='600'")}
${text(LABEL_X + PANEL, 22, "Requests/s, 90 % reads, 10 % writes", "font-weight='600'")}
${text(LABEL_X, 38, "beside each bar: ÷ the same application without sessions", "fill='#5b6675' font-size='11'")}
${lines.join("\n")}
</svg>
`;
}

function bar(
  http: HttpPart,
  framework: Framework,
  sessions: SessionsKind,
  workload: Workload,
  x: number,
  y: number,
): string {
  const perS = median(roundsOf(http, framework, workload, sessions).map(({ requestsPerS }) => requestsPerS));
  const width = Math.max(1, (perS / largest(http)) * (PANEL - 110));
  const colour = sessions === "none" ? COLOURS.base : isOurs(sessions) ? COLOURS.ours : COLOURS.others;
  const share =
    sessions === "none" ? "" : `  ${httpRatio(http, framework, workload, sessions, "none").toFixed(2)}`;
  const label = `${Math.round(perS).toLocaleString("en")}${share}`;
  return `<rect x="${x}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" fill="${colour}"/>${text(x + width + 6, y + BAR - 3, label)}`;
}

function isOurs(sessions: SessionsKind): boolean {
  return sessions === "memory" || sessions === "session-server" || sessions === "redis";
}

/** One scale for both panels. */
function largest(http: HttpPart): number {
  return Math.max(...http.series.map(({ rounds }) => median(rounds.map(({ requestsPerS }) => requestsPerS))));
}

function text(x: number, y: number, content: string, more = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y}"${more ? ` ${more}` : ""}>${escaped}</text>`;
}
