/** Times between their three homes: the caller's wall clock, this process's monotonic one, and the server's. */
import type { Clock } from "../../core/clock.ts";
import { WallTime } from "../../store/wall-time.ts";
import type { ServerClock } from "./server-clock.ts";

/** Server times are written with at most 13 digits, which Lua's numbers carry exactly. */
const SERVER_MS_MAX = 9_999_999_999_999;

export class Times {
  readonly #wall: WallTime;

  constructor(clock: Clock) {
    this.#wall = new WallTime(clock);
  }

  /** Wall clock − monotonic clock, whole ms. */
  readonly wallOffsetMs = (): number => this.#wall.toWall(0);

  /** A moment of the caller on the server's clock, from `leastMs` up. */
  toServer(clock: ServerClock, wallMs: number, leastMs = 1): number {
    const serverMs = Math.round(clock.toServer(this.#wall.toMonotonic(wallMs)));
    return Math.min(SERVER_MS_MAX, Math.max(leastMs, serverMs));
  }

  toLocal(clock: ServerClock): (serverMs: number) => number {
    return (serverMs) => this.#wall.toWall(clock.toMonotonic(serverMs));
  }
}
