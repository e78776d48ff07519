/** What the links to Redis tell whoever listens (store/channels.ts): made, lost, answered. */
import { type LinkEvent, type LinkFailure, type LinkRoundTrip, linkChannels } from "../../store/channels.ts";
import { asSessionError, STORE_NAME } from "./errors.ts";
import type { Argument } from "./port.ts";

export class LinkEvents {
  readonly #single: string;

  /** @param single  what the one server is called that has no node's name: `host:port`, or "client" */
  constructor(single: string) {
    this.#single = single;
  }

  connected(node: string): void {
    linkChannels.connected.publish({ store: STORE_NAME, remote: this.#remote(node) } satisfies LinkEvent);
  }

  /** @param stood  whether there was a link before */
  lost(node: string, error: unknown, stood: boolean): void {
    const { code } = asSessionError(error, "go on");
    const failure: LinkFailure = { store: STORE_NAME, remote: this.#remote(node), code };
    linkChannels[stood ? "lost" : "failed"].publish(failure);
  }

  answered(
    node: string,
    operation: string,
    seconds: number,
    sent: readonly Argument[],
    reply: unknown,
  ): void {
    linkChannels.answered.publish({
      store: STORE_NAME,
      remote: this.#remote(node),
      operation,
      seconds,
      bytesSent: sent.reduce((bytes, argument) => bytes + Buffer.byteLength(argument), 0),
      bytesReceived: bytesOf(reply),
    } satisfies LinkRoundTrip);
  }

  #remote(node: string): string {
    return node === "" ? this.#single : node;
  }
}

/** Of arguments and replies without the protocol's few bytes around each: the client knows those, and keeps them. */
function bytesOf(reply: unknown): number {
  if (Array.isArray(reply)) return reply.reduce<number>((bytes, part) => bytes + bytesOf(part), 0);
  return Buffer.isBuffer(reply) || typeof reply === "string" ? Buffer.byteLength(reply) : 0;
}
