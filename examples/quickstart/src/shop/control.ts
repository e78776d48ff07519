/**
 * `/control/…` of the page: what runs, kill this server, bring it back. A shop passes it on to the launcher's control
 * port, which talks to shops only; any shop that lives will do.
 *
 * A page of another site can send requests to 127.0.0.1 too, and behind a name that points there even with "its own"
 * Host. So the Origin must be one of the addresses this shop is known by, literally, and a browser that says where the
 * request came from (Sec-Fetch-Site) must say: from here.
 */
import { type IncomingHttpHeaders, request } from "node:http";
import { type ControlAddress, TOKEN_HEADER } from "../launch/control.ts";
import { HOST } from "../launch/ports.ts";
import { ShopError } from "./shop.ts";

export const CONTROL_PREFIX = "/control";
const TIMEOUT_MS = 25_000;
const SERVERS = /^\/servers(\/[a-z-]{1,32}\/(kill|start))?$/;

export interface ControlAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class ControlProxy {
  readonly #address: ControlAddress;
  readonly #origins: readonly string[];

  constructor(address: ControlAddress, origins: readonly string[]) {
    this.#address = address;
    this.#origins = origins;
  }

  /** @throws {ShopError} FOREIGN_ORIGIN, or CONTROL_UNREACHABLE when the launcher is gone */
  async forward(method: string, url: string, headers: IncomingHttpHeaders): Promise<ControlAnswer> {
    const path = url.slice(CONTROL_PREFIX.length).split("?")[0] ?? "";
    if (!SERVERS.test(path)) throw new ShopError(404, "NOT_FOUND", "There is nothing here");
    this.#checkOrigin(method, headers);
    return await this.#ask(method, path);
  }

  #checkOrigin(method: string, headers: IncomingHttpHeaders): void {
    const { origin, host } = headers;
    const site = headers["sec-fetch-site"];
    const fromHere =
      (site === undefined || site === "same-origin") &&
      // A browser leaves the Origin out of a same-origin GET; then at least the name must be ours.
      (origin === undefined
        ? method === "GET" && this.#origins.includes(`http://${host}`)
        : this.#origins.includes(origin));
    if (fromHere) return;
    throw new ShopError(
      403,
      "FOREIGN_ORIGIN",
      `Only a page of this shop may do that: open it at ${this.#origins.at(-2)}`,
    );
  }

  #ask(method: string, path: string): Promise<ControlAnswer> {
    return new Promise((resolve, reject) => {
      const { port, token } = this.#address;
      const unreachable = (): void =>
        reject(new ShopError(502, "CONTROL_UNREACHABLE", "The launcher does not answer"));
      const asked = request(
        { host: HOST, port, method, path, headers: { [TOKEN_HEADER]: token }, timeout: TIMEOUT_MS },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("error", unreachable);
          answer.on("end", () =>
            resolve({
              status: answer.statusCode ?? 502,
              headers: { "content-type": "application/json", "cache-control": "no-store" },
              body: Buffer.concat(chunks).toString("utf8"),
            }),
          );
        },
      );
      asked.on("timeout", () => asked.destroy(new Error("too slow")));
      asked.on("error", unreachable);
      asked.end();
    });
  }
}
