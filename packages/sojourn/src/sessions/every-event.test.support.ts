/** Makes everything happen to sessions that telemetry knows a word for, with ids, names, values and users that tell. */
import { expect } from "vitest";
import type { SessionId } from "../core/ids.ts";
import { sessionKeyOf } from "../core/ids.ts";
import { memoryStore } from "../store/memory.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { createSessions, type Sessions } from "./create-sessions.ts";
import { type Data, GatedStore, Jar, request, SECRET } from "./harness.test.support.ts";

export const COOKIE_NAME = "__Host-sid";
const NAME = "telling-attribute";
const VALUE = "telling-value-4111";
const PRINCIPAL = "telling-principal@example.org";

export interface Driven {
  readonly sessions: Sessions<Data>;
  /** What nothing may ever repeat: ids, their keys, cookies, names, values, principals, the secret. */
  readonly telling: readonly string[];
  /** What the sessions told an operator. */
  readonly diagnostics: readonly string[];
}

export async function driveEveryEvent(name = "shop"): Promise<Driven> {
  const clock = new FakeClock();
  const gated = new GatedStore(memoryStore({ clock, sweepIntervalMs: 3_600_000 }));
  const telling = new Set([NAME, VALUE, PRINCIPAL, SECRET]);
  const diagnostics: string[] = [];
  const options = {
    name,
    store: gated,
    secret: SECRET,
    clock,
    cookie: { secure: true },
    onDiagnostic: (event: object) => diagnostics.push(JSON.stringify(event)),
  };
  const [sessions, other] = [createSessions<Data>(options), createSessions<Data>(options)];
  const browser = new Jar(COOKIE_NAME);
  const visit: (handle: Parameters<Jar["request"]>[1], at?: Sessions<Data>) => Promise<unknown> = async (
    handle,
    at = sessions,
  ) => {
    await browser.request(
      at,
      async (session, scope) => {
        remember(session.id);
        await handle(session, scope);
        remember(session.id);
      },
      { secure: true },
    );
    if (browser.value) telling.add(browser.value);
  };
  const remember = (id: string | null) => {
    if (id === null) return;
    telling.add(id);
    telling.add(sessionKeyOf(id as SessionId));
  };

  await visit((session) => session.set(NAME, VALUE)); // created
  await visit((session) => session.set(NAME, [VALUE])); // read, loaded, committed
  await visit((session) => session.renew({ principal: PRINCIPAL })); // renewed
  await visit(async (session) => {
    await visit((same) => same.set(NAME, VALUE), other);
    await session.update(NAME, () => [VALUE, VALUE]); // conflict
  });
  await visit((session) => session.touch()); // touched
  await visit(async (session, scope) => {
    session.set(NAME, VALUE);
    await scope.settle();
    expect(() => session.set(NAME, VALUE)).toThrow(); // late-write
  });
  const dropped = sessions.open({ cookie: browser.cookie, secure: true });
  (await dropped.session()).set(NAME, `${VALUE}, dropped`);
  dropped.close();
  await expect.poll(() => sessions.stats().dropped).toBe(1); // changes-dropped

  gated.before = (verb) => (verb === "touch" ? Promise.reject(new Error(VALUE)) : undefined);
  clock.advance(600_000);
  await visit(() => undefined); // touch-failed
  gated.before = (verb) => (verb === "read" ? Promise.reject(new Error(VALUE)) : undefined);
  await expect(visit(() => undefined)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" }); // store-failed
  gated.before = () => {};

  const { cookie } = browser;
  const late = sessions.open({ cookie, secure: true });
  const lateSession = await late.session();
  await visit((session) => session.destroy()); // ended
  await expect(lateSession.update(NAME, () => VALUE)).rejects.toMatchObject({ code: "SESSION_ENDED" }); // gone
  late.close();
  await request(sessions, { cookie, secure: true }, () => undefined); // unknown
  await request(sessions, { cookie: `${cookie}x`, secure: true }, () => undefined); // cookie-rejected
  await request(sessions, { cookie: `${cookie}; ${cookie}`, secure: true }, () => undefined); // cookie-duplicate
  await request(sessions, {}, (session) => {
    session.set(NAME, VALUE); // cookie-not-sent
  });

  await visit((session) => session.renew({ principal: PRINCIPAL }));
  clock.advance(40 * 60_000);
  await visit((session) => expect(session.isNew).toBe(true)); // expired
  await expect.poll(() => sessions.stats().touchFailures).toBe(1);
  for (const text of [...telling]) expect(text.length).toBeGreaterThan(8);
  return { sessions, telling: [...telling], diagnostics };
}
