/** Visitors of a measured application: each has logged in, and come back once. */
import { type Dispatcher, Pool } from "undici";

const PARALLEL = 32;

export class Visitors {
  readonly cookies: string[] = [];
  readonly #pool: Pool;

  private constructor(origin: string) {
    this.#pool = new Pool(origin, { connections: PARALLEL });
  }

  /** @throws {Error} when the application does not keep their sessions as it must */
  static async of(origin: string, count: number): Promise<Visitors> {
    const visitors = new Visitors(origin);
    try {
      await visitors.#inParallel(count, async () => {
        visitors.cookies.push(await visitors.#logIn());
      });
      // The first return confirms a session; it must not be part of what is measured.
      await visitors.#inParallel(count, async (index) => {
        const { user } = await visitors.#read(visitors.cookies[index]!);
        if (user === undefined) throw new Error("A session that was just begun is not there");
      });
      await visitors.#requireWrites();
      return visitors;
    } finally {
      await visitors.#pool.close();
    }
  }

  async #requireWrites(): Promise<void> {
    const cookie = this.cookies[0]!;
    const { visits } = await this.#read(cookie);
    await this.#send("POST", "/visits", cookie);
    const after = await this.#read(cookie);
    if (after.visits !== (visits as number) + 1) throw new Error("A write is not there when it is read");
  }

  async #logIn(): Promise<string> {
    const { headers, body } = await this.#pool.request({ method: "POST", path: "/login" });
    await body.dump();
    const lines = [headers["set-cookie"] ?? []].flat();
    if (lines.length === 0) throw new Error("A login was answered without a cookie");
    return lines.map((line) => line.split(";", 1)[0]).join("; ");
  }

  async #read(cookie: string): Promise<Record<string, unknown>> {
    return (await (await this.#send("GET", "/", cookie)).body.json()) as Record<string, unknown>;
  }

  #send(method: Dispatcher.HttpMethod, path: string, cookie: string): Promise<Dispatcher.ResponseData> {
    return this.#pool.request({ method, path, headers: { cookie } });
  }

  async #inParallel(count: number, one: (index: number) => Promise<void>): Promise<void> {
    let next = 0;
    const lane = async () => {
      while (next < count) await one(next++);
    };
    await Promise.all(Array.from({ length: PARALLEL }, lane));
  }
}
