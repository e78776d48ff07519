/**
 * Keeps the bytes of one HTTP/1.1 response back until its session is committed.
 *
 * The hold sits *below* the response, where its bytes leave for the socket, and keeps them the way node:http itself
 * keeps a pipelined response whose turn has not come. So everything an application can see while it is held (frozen
 * headers, return values, errors, callbacks, back-pressure, events) is Node's own doing, not an imitation; and no
 * middleware that wraps `writeHead`, `write` or `end`, before us or after, can get past it.
 *
 * The price: members that Node does not document (`_writeRaw`, `_flush`, `outputData`, `_header`, `_headerSent`, and
 * `_httpMessage` of the socket; there since Node 12). A response without them is refused, never sent early, and
 * `hold.parity.test.ts` compares held with bare responses on every Node we support.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { SessionError } from "../core/errors.ts";
import type { CommitOutcome, RequestScope } from "../sessions/scope.ts";
import { amendHead, reasonOf, refusalBody } from "./answer.ts";

type Chunk = string | Uint8Array;
type Done = (error?: Error | null) => void;
type WriteRaw = (
  data: Chunk,
  encoding?: BufferEncoding | Done | null,
  callback?: Done | null,
  size?: number,
) => boolean;

interface QueuedChunk {
  data: Chunk;
  encoding: BufferEncoding | null | undefined;
  callback: Done | null | undefined;
}

/** What node:http keeps inside a response. */
interface Internals {
  /** Sends to the socket, or queues in `outputData` when it is not this response's turn. */
  _writeRaw: WriteRaw;
  /** Sends what is queued: the turn has come. */
  _flush(): void;
  outputData: QueuedChunk[];
  /** Status line and headers as rendered; null before `writeHead`. */
  _header: string | null;
  /** They were handed to `_writeRaw`. */
  _headerSent: boolean;
}

type HeldSocket = Socket & { _httpMessage?: unknown };

interface ParkedDestroy {
  isParked(): boolean;
  /** Ends the waiting, and destroys now when that was asked for. */
  release(): void;
}

/**
 * Calls `scope.settle()` before the first byte of the final response; interim 1xx responses pass.
 *
 * @throws {SessionError} UNSUPPORTED_RESPONSE when `res` is not a response of node:http
 */
export function holdHttp1(res: ServerResponse, scope: Pick<RequestScope<object>, "settle">): void {
  const inner = res as unknown as Internals;
  if (
    typeof inner._writeRaw !== "function" ||
    typeof inner._flush !== "function" ||
    !Array.isArray(inner.outputData) ||
    "_lightMyRequest" in res
  ) {
    throw new SessionError(
      "UNSUPPORTED_RESPONSE",
      "Cannot hold the response until the session is committed: it is not a response of node:http on a connection",
    );
  }
  if (inner._headerSent) {
    // Already on its way.
    scope.settle();
    return;
  }
  const writeRaw = inner._writeRaw;
  inner._writeRaw = function firstByte(data, encoding, callback, size) {
    if (!inner._headerSent) return writeRaw.call(res, data, encoding, callback, size);
    inner._writeRaw = writeRaw;
    const settled = scope.settle();
    if (settled !== undefined) keepBack(res, inner, settled);
    return inner._writeRaw.call(res, data, encoding, callback, size);
  };
}

function keepBack(res: ServerResponse, inner: Internals, settled: Promise<CommitOutcome>): void {
  const writeRaw = inner._writeRaw;
  const flush = inner._flush;
  let destroying = parkDestroy(res.socket);

  inner._writeRaw = function queue(data, encoding, callback, size) {
    const socket = res.socket as HeldSocket | null;
    if (socket?._httpMessage !== res) return writeRaw.call(res, data, encoding, callback, size);
    // As on a destroyed connection: what was answered before leaves, what comes after does not.
    if (destroying.isParked()) return false;
    // Node finds this out when it writes, which is too late for the caller: let it throw now.
    if (typeof encoding === "string" && !Buffer.isEncoding(encoding)) {
      return socket.write(data, encoding);
    }
    // While it seems to be another's turn, Node queues by itself, counts the bytes and answers by the high-water mark.
    socket._httpMessage = null;
    try {
      return writeRaw.call(res, data, encoding, callback, size);
    } finally {
      socket._httpMessage = res;
    }
  };
  // A pipelined response gets its turn while it is held.
  inner._flush = function turnHasCome() {
    destroying = parkDestroy(res.socket);
  };

  function release(outcome: CommitOutcome): void {
    inner._writeRaw = outcome.ok ? writeRaw : keepOnlyCallback;
    inner._flush = flush;
    amend(res, inner, outcome);
    flush.call(inner);
    destroying.release();
  }

  // The answer is the refusal; what the application still sends only learns that it is done, once that has left.
  function keepOnlyCallback(
    _data: Chunk,
    encoding?: BufferEncoding | Done | null,
    callback?: Done | null,
  ): boolean {
    return writeRaw.call(res, "", "latin1", typeof encoding === "function" ? encoding : callback);
  }

  // Not inside the promise: what a listener of 'drain' or 'finish' throws is an uncaught exception, as without sessions.
  settled.then((outcome) => process.nextTick(release, outcome));
}

/** Adds the cookies to the queued head, or puts the refusal in place of all that is queued. */
function amend(res: ServerResponse, inner: Internals, outcome: CommitOutcome): void {
  if (outcome.ok && outcome.setCookies.length === 0) return;
  const head = inner._header ?? "";
  const at = inner.outputData.findIndex(({ data }) => typeof data === "string" && data.startsWith(head));
  const first = inner.outputData[at];
  // Nothing queued: the connection was gone before the first byte.
  if (first === undefined) return;
  if (outcome.ok) {
    first.data = amendHead(head, outcome, 0) + (first.data as string).slice(head.length);
    return;
  }
  const body = refusalBody(outcome.code);
  const callbacks = inner.outputData.splice(at).flatMap(({ callback }) => callback ?? []);
  inner.outputData.push({
    data: amendHead(head, outcome, body.length) + (res.req.method === "HEAD" ? "" : body),
    encoding: "latin1",
    callback: (error) => {
      for (const callback of callbacks) callback(error);
    },
  });
  res.statusCode = outcome.status;
  res.statusMessage = reasonOf(outcome.status);
}

/**
 * Lets `socket.destroy()` wait for the release. An application that answers and then fails makes Express destroy the
 * connection; without sessions the answer has left by then, so with sessions it must leave first too, and so must a
 * refusal. A connection that has failed, or that the visitor has left, need not wait.
 */
function parkDestroy(socket: Socket | null): ParkedDestroy {
  if (socket === null) return { isParked: () => false, release() {} };
  const destroy = socket.destroy;
  const wasOwn = Object.hasOwn(socket, "destroy");
  let parking = true;
  let parked: { readonly error: Error | undefined } | undefined;
  const park = function park(this: Socket, error?: Error): Socket {
    if (!parking || !this.writable || (error && "syscall" in error)) return destroy.call(this, error);
    parked ??= { error };
    return this;
  };
  socket.destroy = park;
  return {
    isParked: () => parked !== undefined,
    release() {
      parking = false;
      if (socket.destroy === park) {
        if (wasOwn) socket.destroy = destroy;
        else Reflect.deleteProperty(socket, "destroy");
      }
      if (parked) destroy.call(socket, parked.error);
    },
  };
}
