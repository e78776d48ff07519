/**
 * A browser's cookie jar over plain HTTP: keeps what `Set-Cookie` says, sends it back, follows nothing by itself. Each
 * request names the origin it goes to, so a test decides which server answers.
 */
import { request as httpRequest } from "node:http";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly setCookies: readonly string[];
  readonly text: string;
  /** Until the first response byte, ms. */
  readonly firstByteMs: number;
  readonly totalMs: number;
  json<T = Record<string, unknown>>(): T;
}

export interface Send {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends these cookies instead of the jar's and keeps none of the answer's. */
  readonly cookie?: string;
  readonly timeoutMs?: number;
}

export class Browser {
  readonly jar: Map<string, string> = new Map();

  get cookie(): string {
    return [...this.jar].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  async send(origin: string, path: string, options: Send = {}): Promise<Answer> {
    const cookie = options.cookie ?? this.cookie;
    const answer = await send(origin, path, {
      ...options,
      headers: { ...(cookie ? { cookie } : {}), ...options.headers },
    });
    if (options.cookie === undefined) for (const line of answer.setCookies) this.#keep(line);
    return answer;
  }

  get(origin: string, path: string, options: Send = {}): Promise<Answer> {
    return this.send(origin, path, options);
  }

  put(origin: string, path: string, body: unknown, options: Send = {}): Promise<Answer> {
    return this.send(origin, path, { ...options, method: "PUT", body });
  }

  post(origin: string, path: string, body?: unknown, options: Send = {}): Promise<Answer> {
    return this.send(origin, path, { ...options, method: "POST", body });
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split(/;\s*/);
    const equals = pair.indexOf("=");
    const name = pair.slice(0, equals);
    const ended = attributes.some(
      (each) => /^max-age=0$/i.test(each) || /^expires=thu, 01 jan 1970/i.test(each),
    );
    if (ended) this.jar.delete(name);
    else this.jar.set(name, pair.slice(equals + 1));
  }
}

function send(origin: string, path: string, options: Send): Promise<Answer> {
  const { hostname, port } = new URL(origin);
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const request = httpRequest(
      {
        hostname,
        port,
        path,
        method: options.method ?? "GET",
        // A connection of its own: a killed server must not be noticed through somebody else's socket.
        agent: false,
        headers: {
          ...(body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
          ...options.headers,
        },
      },
      (response) => {
        const firstByteMs = performance.now() - startedMs;
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            setCookies: response.headers["set-cookie"] ?? [],
            text,
            firstByteMs,
            totalMs: performance.now() - startedMs,
            json: () => JSON.parse(text),
          });
        });
      },
    );
    request.setTimeout(options.timeoutMs ?? 15_000, () =>
      request.destroy(new Error(`No answer to ${path} in time`)),
    );
    request.on("error", reject);
    request.end(body);
  });
}
