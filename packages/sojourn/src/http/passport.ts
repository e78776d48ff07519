/**
 * Passport 0.6 and 0.7 on Sojourn sessions, without `express-session` and without its `req.session` object.
 *
 *   app.use(expressSessions(sessions));
 *   passportSessions(passport, sessions);
 *   app.use(passport.initialize());
 *   app.use(passport.session());
 *
 * Passport finds its way to a session through two parts of its own, and both are replaced here: the session manager behind
 * `req.login` and `req.logout`, and the strategy "session" behind `passport.session()`.
 * - `req.login`: the session gets a new id and the user as its principal, in one step with what Passport stores. As in
 *   Passport, what the visitor had before goes, unless `keepSessionInfo`.
 * - `req.logout`: the session ends everywhere; with `keepSessionInfo` it lives on under a new id, without a principal.
 * - Stored is `{ user: <serialized> }` under "passport", as Passport does over `express-session`.
 *
 * What Passport writes to `req.session` by itself, `failureMessage` and `successMessage`, has no place here: answer with a
 * callback, or set the message in `await req.session()`.
 */
import type { Session } from "../sessions/session.ts";

export interface PassportSessionsOptions {
  /**
   * The principal of a user: what `sessions.list` and `endAll` know it by. Default: what `serializeUser` made of it, when
   * that is a text or a number; otherwise none.
   */
  readonly principalOf?: (user: unknown) => string | null;
  /** The attribute that holds what Passport stores. Default "passport". */
  readonly key?: string;
}

type Done = (error?: unknown) => void;
type Data = Record<string, unknown>;

/** What is used of Passport. Its session manager has no public name. */
interface PassportLike {
  serializeUser(user: unknown, req: unknown, done: (error: unknown, serialized?: unknown) => void): void;
  deserializeUser(serialized: unknown, req: unknown, done: (error: unknown, user?: unknown) => void): void;
  use(name: string, strategy: object): unknown;
}

interface LoginOptions {
  readonly keepSessionInfo?: boolean;
}

/**
 * Makes `passport` keep its logins in `sessions`, which an adapter must serve. Call it once, before
 * `passport.initialize()`.
 *
 * @throws {TypeError} when this Passport is older than 0.6
 */
export function passportSessions(
  passport: object,
  sessions: { of(request: object): Promise<unknown> },
  options: PassportSessionsOptions = {},
): void {
  if (typeof (passport as { _sm?: { logIn?: unknown } })._sm?.logIn !== "function") {
    throw new TypeError("Cannot keep logins in sessions: this is no Passport, or one older than 0.6");
  }
  const authenticator = passport as PassportLike & { _sm: object };
  const { key = "passport", principalOf } = options;
  const sessionOf = (req: object) => sessions.of(req) as Promise<Session<Data>>;

  async function logIn(req: object, user: unknown, { keepSessionInfo = false }: LoginOptions): Promise<void> {
    const serialized = await new Promise((resolve, reject) => {
      authenticator.serializeUser(user, req, (error, value) => (error ? reject(error) : resolve(value)));
    });
    const principal = principalOf ? principalOf(user) : idOf(serialized);
    const session = await sessionOf(req);
    if (!keepSessionInfo) for (const name of session.keys()) session.delete(name);
    session.set(key, { user: serialized });
    await session.renew({ principal });
  }

  async function logOut(req: object, { keepSessionInfo = false }: LoginOptions): Promise<void> {
    const session = await sessionOf(req);
    if (!keepSessionInfo) return session.destroy();
    session.delete(key);
    if (session.id !== null) await session.renew({ principal: null });
  }

  /** Sets `req.user` when the session holds a login whose account is still there. */
  async function restore(req: object): Promise<void> {
    const session = await sessionOf(req);
    const serialized = (session.get(key) as { user?: unknown } | undefined)?.user;
    if (!serialized && serialized !== 0) return;
    const user = await new Promise((resolve, reject) => {
      authenticator.deserializeUser(serialized, req, (error, value) =>
        error ? reject(error) : resolve(value),
      );
    });
    if (user) (req as Data)[(req as { _userProperty?: string })._userProperty ?? "user"] = user;
    else session.delete(key);
  }

  authenticator._sm = {
    logIn: (req: object, user: unknown, how: LoginOptions, done: Done) => tell(done, logIn(req, user, how)),
    logOut: (req: object, how: LoginOptions, done: Done) => tell(done, logOut(req, how)),
  };
  authenticator.use("session", {
    name: "session",
    authenticate(this: Actions, req: object) {
      tell((error) => (error === undefined ? this.pass() : this.error(error)), restore(req));
    },
  });
}

/** What Passport gives a strategy for the request at hand. */
interface Actions {
  pass(): void;
  error(error: unknown): void;
}

function idOf(serialized: unknown): string | null {
  if (typeof serialized === "string" && serialized !== "") return serialized;
  return typeof serialized === "number" ? String(serialized) : null;
}

/** Outside the promise: what the application throws in its callback is not ours to swallow. */
function tell(done: Done, acting: Promise<void>): void {
  acting.then(
    () => process.nextTick(done),
    (error: unknown) => process.nextTick(done, error),
  );
}
