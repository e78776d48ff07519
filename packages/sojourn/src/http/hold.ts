/** Keeps a response back until its session is committed; a clean session passes straight through. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { CommitOutcome, RequestScope } from "../sessions/scope.ts";
import { holdHttp1 } from "./hold-http1.ts";
import { holdHttp2 } from "./hold-http2.ts";

export type AnyRequest = IncomingMessage | Http2ServerRequest;
export type AnyResponse = ServerResponse | Http2ServerResponse;

type Scope = Pick<RequestScope<object>, "settle">;

/** Sessions of two `createSessions` may be on one response: they settle together. */
class Holding {
  readonly #first: Scope;
  // Made for the second, which hardly any response has. An array for each would be taken for long-lived by V8 (its
  // allocation sites learn from logins under way), and what is allocated old keeps the whole request until a major GC.
  #others: Scope[] | undefined;
  #hasBegun = false;

  constructor(first: Scope) {
    this.#first = first;
  }

  add(scope: Scope): void {
    // Too late for cookies: from now on changes that need the response's help throw instead of getting lost.
    if (this.#hasBegun) {
      scope.settle();
      return;
    }
    this.#others ??= [];
    this.#others.push(scope);
  }

  /** The first byte is about to leave. */
  settle(): Promise<CommitOutcome> | undefined {
    this.#hasBegun = true;
    const settled = this.#first.settle();
    if (this.#others === undefined) return settled;
    const settling = [settled, ...this.#others.map((scope) => scope.settle())].filter(
      (one) => one !== undefined,
    );
    return settling.length > 1 ? Promise.all(settling).then(together) : settling[0];
  }
}

const HOLDING = Symbol("sojourn.holding");

/**
 * From now on no byte of the final response leaves before `scope.settle()` has resolved. A failed commit replaces the
 * response, whatever the application has answered. When the response has already begun, the scope is settled at once:
 * what commits itself (`update`, `destroy`) still works, and no cookie can be set.
 *
 * @throws {SessionError} UNSUPPORTED_RESPONSE when `res` is of neither node:http nor node:http2
 */
export function hold(res: AnyResponse, scope: Scope): void {
  const held = res as { [HOLDING]?: Holding };
  const before = held[HOLDING];
  if (before !== undefined) {
    before.add(scope);
    return;
  }
  const holding = new Holding(scope);
  if (isHttp2(res)) {
    holdHttp2(res.stream, holding, (refusal) => {
      res.statusCode = refusal.status;
    });
  } else {
    holdHttp1(res, holding);
  }
  held[HOLDING] = holding;
}

/** One failure refuses the response; the cookies of what did succeed go with it. */
function together(outcomes: readonly CommitOutcome[]): CommitOutcome {
  const setCookies = outcomes.flatMap((outcome) => outcome.setCookies);
  return { ...(outcomes.find(({ ok }) => !ok) ?? { ok: true }), setCookies } as CommitOutcome;
}

export function isHttp2(res: AnyResponse): res is Http2ServerResponse {
  return typeof (res as Partial<Http2ServerResponse>).stream?.respond === "function";
}
