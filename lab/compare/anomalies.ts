/**
 * Three things that must not happen to a visitor of two servers, counted: each provoked on purpose, the same way for every
 * library, and each an everyday event of a page that loads in parallel, a double click, a log-out, a log-in.
 */
import type { Anomaly } from "../bench/results.ts";
import { finished, readAs, Visitor } from "./clients.ts";
import type { Side } from "./sides.ts";

export type Tries = Readonly<Record<Anomaly, number>>;

export const TRIES: Tries = { lostUpdates: 200, undoneLogouts: 100, staleRedirects: 200 };
export const TRIES_QUICK: Tries = { lostUpdates: 6, undoneLogouts: 6, staleRedirects: 6 };

export const ANOMALIES: Readonly<Record<Anomaly, { readonly title: string; readonly how: string }>> = {
  lostUpdates: {
    title: "lost updates",
    how: "5 requests at once over both servers, each sets another attribute after 20 ms of work; counted: sessions that lack one",
  },
  undoneLogouts: {
    title: "undone logouts",
    how: "a request that changes its session after 80 ms is under way on one server while the other logs out; counted: sessions alive afterwards",
  },
  staleRedirects: {
    title: "stale redirects",
    how: "a login on a server 10 ms from the store answers a redirect, followed at once on the other; counted: reads without the login",
  },
};

const PARALLEL_WRITES = 5;
const WORK_MS = 20;
const SLOW_MS = 80;
/** When the slow request has surely read its session, and has surely not yet changed it. */
const LOGOUT_AFTER_MS = 30;
const DISTANCE_MS = 10;
/** Visitors at a time: anomalies of one do not depend on the others. */
const AT_A_TIME = 4;

const PROVOKED: Readonly<Record<Anomaly, (side: Side) => Promise<boolean>>> = {
  lostUpdates: losesUpdate,
  undoneLogouts: undoesLogout,
  staleRedirects: redirectsToStale,
};

/** @param each  told after every try */
export async function provoke(
  side: Side,
  anomaly: Anomaly,
  tries: number,
  each: () => void,
): Promise<number> {
  side.setDistance(anomaly === "staleRedirects" ? DISTANCE_MS : 0);
  let found = 0;
  let begun = 0;
  const lane = async () => {
    while (begun++ < tries) {
      if (await PROVOKED[anomaly](side)) found++;
      each();
    }
  };
  // A reader right behind its writer must not wait for others' requests.
  await Promise.all(Array.from({ length: anomaly === "staleRedirects" ? 1 : AT_A_TIME }, lane));
  return found;
}

async function losesUpdate({ far, near }: Side): Promise<boolean> {
  const visitor = await loggedIn(near);
  const names = Array.from({ length: PARALLEL_WRITES }, (_, index) => `item${index}`);
  const answers = await Promise.all(
    names.map((name, index) =>
      visitor.send(index % 2 === 0 ? far : near, "PUT", `/attributes/${name}?delayMs=${WORK_MS}`),
    ),
  );
  for (const answer of answers) requireStatus(await finished(answer), [204], "a change of an attribute");
  const stored = await visitor.read<string[]>(near, "/attributes");
  return !names.every((name) => stored.includes(name));
}

async function undoesLogout({ far, near }: Side): Promise<boolean> {
  const visitor = await loggedIn(near);
  const { cookie } = visitor;
  const slow = visitor.send(far, "PUT", `/attributes/item?delayMs=${SLOW_MS}`);
  await new Promise((resolve) => setTimeout(resolve, LOGOUT_AFTER_MS));
  requireStatus(await finished(await visitor.send(near, "POST", "/logout")), [204], "a logout");
  // 409: told that its change was not stored, because the session had ended.
  requireStatus(await finished(await slow), [204, 409], "a change under way");
  const { user } = await readAs<{ user?: string }>(near, "/", cookie);
  return user !== undefined;
}

async function redirectsToStale({ far, near }: Side): Promise<boolean> {
  const visitor = new Visitor();
  const answer = await visitor.send(far, "POST", "/login");
  requireStatus(answer.statusCode ?? 0, [303], "a login");
  const { user } = await visitor.read<{ user?: string }>(near, answer.headers.location ?? "/");
  return user === undefined;
}

async function loggedIn(origin: string): Promise<Visitor> {
  const visitor = new Visitor();
  requireStatus(await finished(await visitor.send(origin, "POST", "/login")), [303], "a login");
  return visitor;
}

/** A fault of the experiment is no anomaly of a library. */
function requireStatus(found: number, expected: readonly number[], what: string): void {
  if (!expected.includes(found)) throw new Error(`Cannot compare: ${what} was answered ${found}`);
}
