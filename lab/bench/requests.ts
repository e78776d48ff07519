/**
 * What a request costs the store: Redis commands and bytes, counted at a proxy between application and Redis. One request
 * at a time; nothing else runs. Logins, heartbeats and the first return of a session are apart.
 */
import { startRedis } from "@sojourn/testbed";
import { Pool } from "undici";
import type { Framework, SessionsKind } from "../servers/application.ts";
import { start } from "../servers/started.ts";
import { RespProxy } from "./resp-proxy.ts";
import type { Cost, RequestsRow } from "./results.ts";
import { columns, type Part, type Progress } from "./run.ts";
import { Visitors } from "./visitors.ts";

/** `visits` and its value, as any library must send them. */
const ATTRIBUTE_BYTES = "visits".length + 4;

const ROWS: readonly (readonly [Framework, SessionsKind])[] = [
  ["express", "redis"],
  ["fastify", "redis"],
  ["node", "redis"],
  ["express", "connect-redis"],
  ["fastify", "connect-redis"],
];

export const requestsPart: Part<"requests"> = {
  name: "requests",
  title: "what a request costs Redis",
  estimatedS: ({ counted }) => ROWS.length * (1.5 + counted * 0.006),
  async run({ counted }, progress) {
    const rows: RequestsRow[] = [];
    progress.row(
      columns(["commands, bytes up per request", -32], ["anonymous", 12], ["read", 14], ["write", 14]),
    );
    for (const [framework, sessions] of ROWS) {
      rows.push(await counts(framework, sessions, counted));
      show(rows, progress);
    }
    return { requests: counted, attributeBytes: ATTRIBUTE_BYTES, rows };
  },
};

function show(rows: readonly RequestsRow[], progress: Progress): void {
  const { framework, sessions, anonymous, read, write } = rows.at(-1)!;
  const cell = ({ commands, bytesUp }: Cost) => `${commands.toFixed(2)}, ${bytesUp.toFixed(0)} B`;
  progress.step(
    rows.length / ROWS.length,
    columns([`${framework}, ${sessions}`, -32], [cell(anonymous), 12], [cell(read), 14], [cell(write), 14]),
  );
}

async function counts(framework: Framework, sessions: SessionsKind, requests: number): Promise<RequestsRow> {
  const redis = await startRedis();
  const proxy = await RespProxy.start(redis.port);
  const application = await start("application", { framework, sessions, store: proxy.url });
  const pool = new Pool(application.origin, { connections: 1 });
  try {
    const { cookies } = await Visitors.of(application.origin, 10);
    const cost = async (method: "GET" | "POST", path: string, withCookie: boolean): Promise<Cost> => {
      const send = async (index: number) => {
        const cookie = withCookie ? { cookie: cookies[index % cookies.length]! } : {};
        await (await pool.request({ method, path, headers: cookie })).body.dump();
      };
      // What is done once (scripts loaded, first returns) is done before, and what a request leaves behind is waited for.
      await send(0);
      await settled(proxy);
      for (let index = 0; index < requests; index++) await send(index);
      const { commands, bytesUp, bytesDown } = await settled(proxy);
      return { commands: commands / requests, bytesUp: bytesUp / requests, bytesDown: bytesDown / requests };
    };
    return {
      framework,
      sessions,
      anonymous: await cost("GET", "/anonymous", false),
      read: await cost("GET", "/", true),
      write: await cost("POST", "/visits", true),
    };
  } finally {
    await pool.close();
    await application.stop();
    await proxy.close();
    await redis.stop();
  }
}

/** All that was counted, once nothing more has come for a while. */
async function settled(proxy: RespProxy) {
  const total = { commands: 0, bytesUp: 0, bytesDown: 0 };
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { commands, bytesUp, bytesDown } = proxy.take();
    total.commands += commands;
    total.bytesUp += bytesUp;
    total.bytesDown += bytesDown;
    if (commands === 0 && bytesDown === 0) return total;
  }
}
