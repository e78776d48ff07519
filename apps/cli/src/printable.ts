/** Names and users come from visitors: on a terminal none of them may move the cursor, change colours or run backwards. */

/** The text on one line, with every character that is not to be seen written out. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}

export function shortened(text: string, length: number): string {
  const characters = [...printable(text)];
  return characters.length <= length ? characters.join("") : `${characters.slice(0, length - 1).join("")}…`;
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, index) => Math.max(widest[index] ?? 0, [...cell].length)),
    [],
  );
  return rows
    .map((row) => {
      const cells = row.map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - [...cell].length));
      return `${cells.join("  ").trimEnd()}\n`;
    })
    .join("");
}

export function sessionsText(count: number): string {
  return count === 1 ? "1 session" : `${count} sessions`;
}
