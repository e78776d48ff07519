/** A visitor of the compared applications: keeps cookies, and follows a redirect the moment its headers are there. */
import { request as httpRequest, type IncomingMessage } from "node:http";

export class Visitor {
  readonly #cookies = new Map<string, string>();

  get cookie(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  /** Resolves with the headers, not with the end of the body. */
  async send(origin: string, method: string, path: string): Promise<IncomingMessage> {
    const response = await send(origin, method, path, this.cookie);
    response.resume();
    for (const line of response.headers["set-cookie"] ?? []) this.#keep(line);
    return response;
  }

  /** The body as JSON. @throws {Error} for any status but 200 */
  async read<T>(origin: string, path: string): Promise<T> {
    return await readAs<T>(origin, path, this.cookie);
  }

  #keep(line: string): void {
    const [name, value] = line.split(";", 1)[0]!.split("=", 2) as [string, string];
    this.#cookies.set(name, value);
  }
}

/** With a cookie that its browser may have been told to forget. */
export async function readAs<T>(origin: string, path: string, cookie: string): Promise<T> {
  const response = await send(origin, "GET", path, cookie);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  if (response.statusCode !== 200) throw new Error(`GET ${path} was answered ${response.statusCode}`);
  return JSON.parse(Buffer.concat(chunks).toString()) as T;
}

/** Its status, once the whole answer is there. */
export async function finished(response: IncomingMessage): Promise<number> {
  if (!response.readableEnded) await new Promise((resolve) => response.once("close", resolve));
  return response.statusCode ?? 0;
}

function send(origin: string, method: string, path: string, cookie: string): Promise<IncomingMessage> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    // No agent: requests in parallel must not wait for each other's connection.
    const headers = cookie ? { cookie } : {};
    const request = httpRequest({ hostname, port, path, method, headers, agent: false }, resolve);
    request.once("error", reject);
    request.end();
  });
}
