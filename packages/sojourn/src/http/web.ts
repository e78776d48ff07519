/**
 * Sessions for handlers from Web `Request` to Web `Response`: Next.js route handlers, Remix loaders, `fetch` servers.
 *
 *   export const GET = webSessions(sessions, async (request, session) => {
 *     return Response.json({ user: session.get("user") });
 *   });
 */
import { isSessionError, type SessionError } from "../core/errors.ts";
import type { DefaultData, Session } from "../sessions/session.ts";
import { type MountOptions, mounted } from "../sessions/visit-options.ts";
import type { WebRequestOptions, WebScope } from "../sessions/web.ts";

export type { WebRequestOptions, WebScope } from "../sessions/web.ts";

/** What this adapter needs of `Sessions`. */
export interface WebScopeSource<Data extends object> {
  open(request: Request, options?: WebRequestOptions): WebScope<Data>;
}

export interface WebSessionsOptions extends MountOptions<Request> {
  /**
   * Whether the browser's connection is TLS, so that secure cookies can be set. Default: whether the URL begins with
   * https. Behind a proxy that ends TLS: `(request) => request.headers.get("x-forwarded-proto") === "https"`.
   */
  readonly isSecure?: (request: Request) => boolean;
}

/**
 * A handler that gets its session, loaded, as the second argument; whatever its caller passes after the request (Next.js:
 * `{ params }`; workers: `env`) follows. A `SessionError` it throws is answered with the error's status, headers and
 * `{"code","message"}`; every other error is thrown on, and what the handler had changed is then not stored.
 *
 * @param sessions  or a function that makes or finds them at the first request: Next.js loads modules while it builds
 */
export function webSessions<
  Data extends object = DefaultData,
  Req extends Request = Request,
  Rest extends unknown[] = [],
>(
  sessions: WebScopeSource<Data> | (() => WebScopeSource<Data>),
  handler: (request: Req, session: Session<Data>, ...rest: Rest) => Response | Promise<Response>,
  options: WebSessionsOptions = {},
): (request: Req, ...rest: Rest) => Promise<Response> {
  const { isSecure } = options;
  const visitOptions = mounted(options, ["isSecure"]);
  return async function sojournSessions(request, ...rest) {
    const source = typeof sessions === "function" ? sessions() : sessions;
    const scope = source.open(request, isSecure ? { secure: isSecure(request) } : {});
    try {
      const session = await scope.session(visitOptions(request)?.());
      return await scope.respond(await handler(request, session, ...rest));
    } catch (error) {
      if (isSessionError(error)) return scope.respond(errorResponse(error));
      scope.close();
      throw error;
    }
  };
}

/** What the adapters of this library answer when the application does not handle a `SessionError`. */
export function errorResponse(error: SessionError): Response {
  return error.getResponse();
}
