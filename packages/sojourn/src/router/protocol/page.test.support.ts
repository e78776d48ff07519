/** The page docs/router-cases.md, made from the cases and what was seen. */
import type { ProtocolCase } from "./case.test.support.ts";

export interface Column {
  readonly title: string;
  readonly observed: ReadonlyMap<string, string>;
}

export function casesPage(
  groups: readonly (readonly [string, readonly ProtocolCase[]])[],
  others: readonly Column[],
): string {
  const lines = [
    "# What does the router do with odd requests, and what do others do?",
    "",
    "Each row is bytes sent over a raw socket, with raw sockets in the place of the application servers. The column of our",
    "router is asserted by `packages/sojourn/src/router/protocol/protocol.test.ts`. The others are what these versions, as",
    "configured in `others.test.support.ts`, were seen to do: recorded, not judged; many differ on purpose or by setting.",
    '"forwarded" means that a server got to see the request. `=` is the same as ours, `–` needs an option or a control that',
    "only our router has. Written by `SOJOURN_RECORD=1 npx vitest run --project e2e router/protocol/record`",
    "(with `SOJOURN_HAPROXY` and `SOJOURN_NGINX` naming the programs).",
  ];
  for (const [group, cases] of groups) {
    const titles = ["case", "ours", ...others.map(({ title }) => title)];
    lines.push("", `## ${group}`, "", row(titles), row(titles.map(() => "---")));
    for (const { name, ours, onlyOurs } of cases) {
      const cells = others.map(({ observed }) => {
        if (onlyOurs) return "–";
        const found = observed.get(name) ?? "–";
        return found === ours ? "=" : cell(found);
      });
      lines.push(row([cell(name), cell(ours), ...cells]));
    }
  }
  return `${lines.join("\n")}\n`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

/** One line, no column of its own, no bytes that an editor would not show. */
function cell(text: string): string {
  const shown = text.replaceAll("|", "\\|").replaceAll("<", "\\<");
  return shown.replace(
    /[^\x20-\x7e–×]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
