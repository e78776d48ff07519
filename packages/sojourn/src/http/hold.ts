/** Keeps a response back until its session is committed; a clean session passes straight through. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { RequestScope } from "../sessions/scope.ts";
import { holdHttp1 } from "./hold-http1.ts";
import { holdHttp2 } from "./hold-http2.ts";

export type AnyRequest = IncomingMessage | Http2ServerRequest;
export type AnyResponse = ServerResponse | Http2ServerResponse;

/**
 * From now on no byte of the final response leaves before `scope.settle()` has resolved. A failed commit replaces the
 * response, whatever the application has answered. When the response has already begun, the scope is settled at once:
 * what commits itself (`update`, `destroy`) still works, and no cookie can be set.
 *
 * @throws {SessionError} UNSUPPORTED_RESPONSE when `res` is of neither node:http nor node:http2
 */
export function hold(res: AnyResponse, scope: Pick<RequestScope<object>, "settle">): void {
  if (isHttp2(res)) {
    holdHttp2(res.stream, scope, (refusal) => {
      res.statusCode = refusal.status;
    });
  } else {
    holdHttp1(res, scope);
  }
}

export function isHttp2(res: AnyResponse): res is Http2ServerResponse {
  return typeof (res as Partial<Http2ServerResponse>).stream?.respond === "function";
}
