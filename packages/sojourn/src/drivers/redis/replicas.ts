/**
 * Waiting until a replica has what the primary just did, after ends only: a fail-over must not bring a logged-out session
 * back. WAIT blocks its connection, so it has one of its own; the small write before it stands behind the end in the
 * stream that replicas follow.
 */
import type { Clock } from "../../core/clock.ts";
import type { Budget } from "./budget.ts";
import type { RedisDiagnostic } from "./options.ts";
import type { RedisPort } from "./port.ts";
import { BARRIER } from "./scripts.ts";

export const REPLICA_WAIT_MS = 100;
/** For the connection's sake, beyond what the server waits. */
const GRACE_MS = 100;

interface Turn {
  readonly now: Promise<boolean>;
  /** For those who came while it was under way: it may have begun before their end. */
  next: Promise<boolean> | undefined;
}

export class Replicas {
  readonly #port: () => RedisPort | undefined;
  readonly #clock: Clock;
  readonly #tell: (diagnostic: RedisDiagnostic) => void;
  readonly #turns = new Map<string, Turn>();

  constructor(port: () => RedisPort | undefined, clock: Clock, tell: (diagnostic: RedisDiagnostic) => void) {
    this.#port = port;
    this.#clock = clock;
    this.#tell = tell;
  }

  /**
   * @param replicas  how many follow the node of `key`, as it said itself
   * @param budget    what the caller has left; the end stands, whatever comes of this
   */
  async confirm(key: string, replicas: number, budget: Budget): Promise<void> {
    const port = this.#port();
    if (!(replicas > 0) || !port) return;
    const node = port.nodeOf(key);
    const confirmed = this.#wait(node, () => this.#barrier(port, key));
    if (await this.#within(confirmed, budget.timeoutMs)) return;
    this.#tell({
      level: "info",
      code: "REPLICA_NOT_CONFIRMED",
      message: `No replica confirmed an ended session within ${REPLICA_WAIT_MS} ms; a fail-over now could bring it back`,
    });
  }

  /** False when it takes longer. */
  #within(confirmed: Promise<boolean>, waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(() => resolve(false), waitMs, "keep-alive");
      void confirmed.then((isConfirmed) => {
        timer.cancel();
        resolve(isConfirmed);
      });
    });
  }

  /** One at a time per node, and one for all who wait meanwhile. */
  #wait(node: string, barrier: () => Promise<boolean>): Promise<boolean> {
    const turn = this.#turns.get(node);
    if (turn) {
      turn.next ??= turn.now.then(() => this.#begin(node, barrier));
      return turn.next;
    }
    return this.#begin(node, barrier);
  }

  #begin(node: string, barrier: () => Promise<boolean>): Promise<boolean> {
    const turn: Turn = { now: barrier(), next: undefined };
    this.#turns.set(node, turn);
    void turn.now.then(() => {
      if (turn.next === undefined) this.#turns.delete(node);
    });
    return turn.now;
  }

  #barrier(port: RedisPort, key: string): Promise<boolean> {
    const passed = async () => {
      const send = await port.side(port.nodeOf(key));
      const written = send(["EVAL", BARRIER.source, "1", key]);
      const confirmed = send(["WAIT", "1", String(REPLICA_WAIT_MS)]);
      const [, count] = await Promise.all([written, confirmed]);
      return Number(count) > 0;
    };
    return this.#within(
      passed().catch(() => false),
      REPLICA_WAIT_MS + GRACE_MS,
    );
  }
}
