/** `session(options)`: the middleware. */
import type { ServerResponse } from "node:http";
import { isSessionError } from "../../core/errors.ts";
import { refusalBody } from "../../sessions/answer.ts";
import type { CommitOutcome } from "../../sessions/scope.ts";
import { isKeptByRefusal } from "../answer.ts";
import { type AnyResponse, hold } from "../hold.ts";
import { beforeHeaders } from "./before-headers.ts";
import { resolveOptions, type SessionOptions } from "./options.ts";
import { pathOf, presentedId } from "./request.ts";
import type { SessionMiddleware, SessionRequest } from "./types.ts";
import { Visit } from "./visit.ts";
import { attachVisit, servedVisit } from "./visit-of.ts";

/** @throws {TypeError} for an option that cannot be meant so */
export function sessionMiddleware(options: SessionOptions = {}): SessionMiddleware {
  const setup = resolveOptions(options);
  const { store, secrets } = setup;
  // The request knows which middleware serves it, so a store may serve several.
  store.generate = (req) => {
    const visit = servedVisit(req);
    if (visit) visit.generate();
    else setup.generate(req, setup.cookieOptions(req));
  };
  let isReady = true;
  if (typeof store.on === "function") {
    store.on("disconnect", () => {
      isReady = false;
    });
    store.on("connect", () => {
      isReady = true;
    });
  }
  return function session(request, res, next) {
    const req = request as SessionRequest;
    if (req.session || !isReady) return next();
    const cookieOptions = setup.cookieOptions(req);
    if (!pathOf(req).startsWith(cookieOptions.path || "/")) return next();
    const accepted = secrets ?? (req.secret ? [req.secret] : undefined);
    if (!accepted) return next(new Error("secret option required for sessions"));

    const id = presentedId(req, setup.name, accepted);
    const visit = new Visit(setup, req, res, next, { secrets: accepted, cookieOptions, presentedId: id });
    req.sessionStore = store;
    req.sessionID = id;
    attachVisit(req, visit);
    commitWith(res, visit);
    if (id === undefined) {
      visit.begin();
      next();
    } else {
      visit.load(next);
    }
  };
}

/** From now on the response waits for what the visit has to store. */
function commitWith(res: ServerResponse, visit: Visit): void {
  let hasBegun = res.headersSent;
  let isEnding = false;
  let isDelayed = false;
  const isHeld = tryHold(res, () => {
    hasBegun = true;
    return visit.commit(isEnding);
  });
  if (!res.headersSent) beforeHeaders(res, () => visit.setCookie());

  const end = res.end as (...args: unknown[]) => ServerResponse;
  res.end = function endWithSession(...args: unknown[]): ServerResponse {
    if (isEnding) return isDelayed ? res : end.apply(res, args);
    isEnding = true;
    if (isHeld && !hasBegun) {
      // The first byte leaves within this call, or later with `isEnding`: the hold commits.
      const forget = visit.changes.lookOnce();
      try {
        return end.apply(res, args);
      } finally {
        forget();
      }
    }
    const committing = visit.commit(true);
    if (!committing) return end.apply(res, args);
    isDelayed = true;
    committing.then((outcome) => process.nextTick(finish, outcome, args));
    return res;
  } as ServerResponse["end"];

  function finish(outcome: CommitOutcome, args: unknown[]): void {
    if (outcome.ok) end.apply(res, args);
    // Half an answer must not look like a whole one.
    else if (res.headersSent) res.destroy();
    else refuse(outcome);
  }

  function refuse({ status, code, headers }: Extract<CommitOutcome, { ok: false }>): void {
    for (const name of res.getHeaderNames()) if (!isKeptByRefusal(name)) res.removeHeader(name);
    res.statusCode = status;
    const body = refusalBody(code);
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
    res.setHeader("Content-Type", "application/json; charset=utf-8");
    res.setHeader("Cache-Control", "no-store");
    end.call(res, body);
  }
}

/** False for a response that is no response of Node's (a test's double): then only its end waits. */
function tryHold(res: AnyResponse, settle: () => Promise<CommitOutcome> | undefined): boolean {
  try {
    hold(res, { settle });
    return true;
  } catch (error) {
    if (isSessionError(error) && error.code === "UNSUPPORTED_RESPONSE") return false;
    throw error;
  }
}
