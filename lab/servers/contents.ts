/**
 * What the measured applications keep in a session: 1 KB in nine attributes, as one JSON text 1,043 bytes. Every library
 * holds the same, and every application answers the same from it.
 */

/** What a request without a session answers with, and what every session begins with. */
export const VISITOR = { user: "ada-00000001", visits: 0 } as const;

export type Contents = Record<string, unknown> & { user?: string; visits?: number };

/** One commit of everything, as a login would make it. */
export function newContents(): Contents {
  const notes = Array.from({ length: 7 }, (_, index) => [`note${index}`, String(index).repeat(128)] as const);
  return { ...VISITOR, ...Object.fromEntries(notes) };
}

/** The answer to a read: two small attributes. */
export function view(user: unknown, visits: unknown): { user: unknown; visits: unknown } {
  return { user, visits };
}

export const CONTENTS_BYTES: number = Buffer.byteLength(JSON.stringify(newContents()));

export function pause(ms: number): Promise<void> | undefined {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined;
}
