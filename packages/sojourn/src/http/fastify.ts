/**
 * Sessions for Fastify 5.
 *
 *   await app.register(fastifySessions, { sessions });
 *   app.get("/", async (request) => {
 *     const session = await request.session();
 *     return { user: session.get("user") };
 *   });
 *
 * The commit happens in the hold on `reply.raw`, not in an `onSend` hook: hooks added later still see headers they can
 * set, streams and hijacked replies are covered, and answering twice ends as without sessions. With an asynchronous
 * `onSend`, Fastify 5.12 takes `send(1); send(2)` as a race that either may win, and answers `send(1); throw` with
 * status 500 and the body of 1. Only `inject`, whose responses have no bytes to hold, commits in `onSend`.
 */
import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { CommitOutcome } from "../sessions/scope.ts";
import type { DefaultData, Session } from "../sessions/session.ts";
import {
  type MountOptions,
  moreSpecific,
  mounted,
  requireVisitOptions,
  type VisitOptions,
} from "../sessions/visit-options.ts";
import { type HeaderLine, isKeptByRefusal, type Refusal, refusalBody, withCookies } from "./answer.ts";
import { type ScopeSource, Served, serve, servedBy } from "./served.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Loads at most once per request; the only wait for reading. `sessions.of(request)` is the same, with your types. */
    session(options?: VisitOptions): Promise<Session>;
  }
  interface FastifyContextConfig {
    /** For this route: `{ config: { session: { passive: true } } }`. Wins over the options of the plugin. */
    session?: VisitOptions;
  }
}

const MOUNTED = Symbol("sojourn.mounted") as unknown as string;

/** What `register` itself takes beside ours. */
const FASTIFY_OPTION_NAMES = ["prefix", "logLevel", "logSerializers"];

/** For every request of the application; a route's `config.session` and `request.session(options)` are more specific. */
export interface FastifySessionsOptions<Data extends object = DefaultData>
  extends MountOptions<FastifyRequest> {
  readonly sessions: ScopeSource<Data>;
}

/** The plugin. It extends the instance it is registered on: no encapsulation, as with `fastify-plugin`. */
export const fastifySessions = Object.assign(register, {
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "sojourn",
  [Symbol.for("plugin-meta")]: { name: "sojourn", fastify: "5.x" },
});

async function register<Data extends object>(
  app: FastifyInstance,
  { sessions, ...options }: FastifySessionsOptions<Data>,
): Promise<void> {
  const optionsOf = mounted(options, FASTIFY_OPTION_NAMES);
  app.addHook("onRoute", ({ config }) => {
    if (config?.session !== undefined) requireVisitOptions(config.session);
  });
  // Registering twice is fine; a `session` of another plugin is not, and Fastify says so.
  if (!app.hasRequestDecorator(MOUNTED)) {
    app.decorateRequest(MOUNTED, true).decorateRequest("session", session);
  }
  app.addHook("onRequest", (request, reply, done) => {
    const { raw } = request;
    if (servedBy(raw, sessions) === undefined) {
      const isSecure = () => request.protocol === "https";
      const said = () => moreSpecific(optionsOf(request)?.(), optionsOfRoute(request));
      serve(raw, new Served(sessions, raw, reply.raw, isSecure, !isInjected(reply), said));
    }
    done();
  });
  app.addHook("onSend", (request, reply, payload, done) => {
    const settled = isInjected(reply) ? servedBy(request.raw, sessions)?.scope?.settle() : undefined;
    if (settled === undefined) done(null, payload);
    else settled.then((outcome) => done(null, settledPayload(reply, payload, outcome)));
  });
}

/** A route that was added before the plugin was not checked at the start. */
function optionsOfRoute(request: FastifyRequest): VisitOptions | undefined {
  const options = request.routeOptions.config?.session;
  if (options !== undefined) requireVisitOptions(options);
  return options;
}

function session(this: FastifyRequest, options?: VisitOptions): Promise<Session> {
  // Always there: the onRequest hook runs for every request, answered by a route or not.
  return servedBy<DefaultData>(this.raw)!.session(options);
}

// One function serves all requests: what is put on it (`req.session.user = …`) would be everybody's.
Object.freeze(session);

/** `inject` answers through light-my-request, which reports what was handed to it at once and sends nothing. */
function isInjected(reply: FastifyReply): boolean {
  return "_lightMyRequest" in reply.raw;
}

function settledPayload(reply: FastifyReply, payload: unknown, outcome: CommitOutcome): unknown {
  if (!outcome.ok) {
    if (payload instanceof Readable) payload.destroy();
    return refuse(reply, outcome);
  }
  const before = Object.entries(reply.getHeaders()).flatMap(([name, value]) =>
    [value ?? []].flat().map((one): HeaderLine => [name, String(one)]),
  );
  // Fastify appends to set-cookie and replaces every other header.
  for (const line of withCookies(before, outcome.setCookies))
    if (!before.includes(line)) reply.header(...line);
  return payload;
}

function refuse(reply: FastifyReply, refusal: Refusal): string {
  for (const name of Object.keys(reply.getHeaders())) if (!isKeptByRefusal(name)) reply.removeHeader(name);
  reply.code(refusal.status).headers(refusal.headers);
  reply.header("content-type", "application/json; charset=utf-8").header("cache-control", "no-store");
  if (refusal.setCookies.length > 0) reply.header("set-cookie", refusal.setCookies);
  return refusalBody(refusal.code);
}
