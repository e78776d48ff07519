/** Affinity as a client sees it, and what an operator does at run time. */
import {
  affinityPair,
  fieldOf,
  okText,
  type ProtocolCase,
  type Stage,
  statusOf,
} from "./case.test.support.ts";

/** Servers say which one they are: "0" or "1". */
function sayWho(stage: Stage, fields = ""): void {
  stage.script = (request) => {
    const index = stage.servers.findIndex((server) => server.streams.includes(request.stream));
    request.stream.send(okText(String(index), fields));
  };
}

/** Where `count` requests with these fields went. */
async function places(stage: Stage, count: number, fields: string): Promise<string[]> {
  const bodies: string[] = [];
  for (let i = 0; i < count; i++) bodies.push((await stage.get(fields)).reply?.body ?? "-");
  return bodies;
}

/** One visitor, placed: its cookie and its server. */
async function visitor(stage: Stage): Promise<{ cookie: string; server: string; index: 0 | 1 }> {
  const { reply } = await stage.get();
  const server = reply?.body ?? "-";
  return { cookie: `Cookie: ${affinityPair(reply) ?? "none=1"}\r\n`, server, index: server === "1" ? 1 : 0 };
}

async function cookieWith(stage: Stage, fields: string): Promise<string> {
  sayWho(stage, fields);
  const { reply } = await stage.get();
  const cookie = affinityPair(reply) === undefined ? "no cookie" : "cookie";
  return `${cookie}, Cache-Control ${fieldOf(reply, "cache-control").join(" + ") || "-"}`;
}

export const STICKY: readonly ProtocolCase[] = [
  {
    name: "a visitor comes back to its server",
    ours: "20 of 20",
    play: async (stage) => {
      sayWho(stage);
      const { cookie, server } = await visitor(stage);
      const same = (await places(stage, 20, cookie)).filter((place) => place === server);
      return `${same.length} of 20`;
    },
  },
  {
    name: "the cookie is sent when it changes, and only then",
    ours: "cookie, no cookie",
    play: async (stage) => {
      const first = await stage.get();
      const second = await stage.get(`Cookie: ${affinityPair(first.reply)}\r\n`);
      return [first, second]
        .map(({ reply }) => (affinityPair(reply) === undefined ? "no cookie" : "cookie"))
        .join(", ");
    },
  },
  {
    name: "the cookie is for the whole site, for no script, and shows no address",
    ours: "; Path=/; HttpOnly; SameSite=Lax, opaque",
    play: async (stage) => {
      const { reply } = await stage.get();
      const set = fieldOf(reply, "set-cookie").find((value) => value.startsWith("SERVERID=")) ?? "";
      const [pair = "", ...attributes] = set.split("; ");
      const ports = stage.servers.map(({ port }) => String(port));
      const opaque = ["127.0.0.1", "b1", "b2", ...ports].every((known) => !pair.slice(9).includes(known));
      return `${attributes.map((one) => `; ${one}`).join("")}, ${opaque ? "opaque" : "readable"}`;
    },
  },
  {
    name: "an unknown value is replaced",
    ours: "200, cookie",
    play: async (stage) => {
      const { reply } = await stage.get("Cookie: SERVERID=forged\r\n");
      return `${statusOf(reply)}, ${affinityPair(reply) === undefined ? "no cookie" : "cookie"}`;
    },
  },
  {
    name: "a response for shared caches stays without the cookie",
    ours: "no cookie, Cache-Control public, max-age=60",
    play: (stage) => cookieWith(stage, "Cache-Control: public, max-age=60\r\n"),
  },
  {
    name: "a response with s-maxage stays without the cookie",
    ours: "no cookie, Cache-Control s-maxage=60",
    play: (stage) => cookieWith(stage, "Cache-Control: s-maxage=60\r\n"),
  },
  {
    name: "a response that a shared cache may keep becomes private with the cookie",
    ours: "cookie, Cache-Control max-age=60 + private",
    play: (stage) => cookieWith(stage, "Cache-Control: max-age=60\r\n"),
  },
  {
    name: "a response that says nothing of caches becomes private with the cookie",
    ours: "cookie, Cache-Control private",
    play: (stage) => cookieWith(stage, ""),
  },
  {
    name: "a private response is left as it is",
    ours: "cookie, Cache-Control private, no-cache",
    play: (stage) => cookieWith(stage, "Cache-Control: private, no-cache\r\n"),
  },
  {
    name: "a visitor whose server is gone moves once, with a new cookie, and stays when it returns",
    ours: "moved, new cookie, then 20 of 20 stay",
    play: async (stage) => {
      sayWho(stage);
      const { cookie, server, index } = await visitor(stage);
      await stage.servers[index].stop();
      const { reply } = await stage.get(cookie);
      await stage.servers[index].start();
      const moved = reply !== null && reply.body !== server ? "moved" : "lost";
      const pair = affinityPair(reply);
      const fresh = pair === undefined ? "no new cookie" : "new cookie";
      const stay = await places(stage, 20, `Cookie: ${pair}\r\n`);
      return `${moved}, ${fresh}, then ${stay.filter((place) => place === reply?.body).length} of 20 stay`;
    },
  },
  {
    name: "the clone suffix of the session cookie names the server; the last of a chain counts",
    ours: "0 0, 1 1",
    play: async (stage) => {
      sayWho(stage);
      const first = await places(stage, 2, "Cookie: sid=abc.def:b2:b1\r\n");
      const second = await places(stage, 2, "Cookie: __Host-sid=abc.def:b2\r\n");
      return `${first.join(" ")}, ${second.join(" ")}`;
    },
  },
  {
    name: "address affinity sends one address to one server",
    ours: "1 server, no cookie",
    options: { affinity: ["address"] },
    onlyOurs: true,
    play: async (stage) => {
      sayWho(stage);
      const count = new Set(await places(stage, 8, "")).size;
      const { reply } = await stage.get();
      return `${count} server, ${affinityPair(reply) === undefined ? "no cookie" : "cookie"}`;
    },
  },
  {
    name: "no affinity is round robin",
    ours: "alternating",
    options: { affinity: [] },
    onlyOurs: true,
    play: async (stage) => {
      sayWho(stage);
      const seen = (await places(stage, 6, "")).join("");
      return seen === "010101" || seen === "101010" ? "alternating" : seen;
    },
  },
  {
    name: "a browser that asks for it is sent round robin, and the application does not see how",
    ours: "alternating, cookie a=1",
    options: { affinityOverrideCookie: "sojourn-affinity" },
    onlyOurs: true,
    play: async (stage) => {
      sayWho(stage);
      const { cookie } = await visitor(stage);
      const fields = cookie.replace("\r\n", "; a=1; sojourn-affinity=none\r\n");
      const seen = (await places(stage, 6, fields)).join("");
      const order = seen === "010101" || seen === "101010" ? "alternating" : seen;
      return `${order}, cookie ${stage.sawField("cookie")}`;
    },
  },
  {
    name: "without the option that cookie means nothing",
    ours: "6 of 6",
    onlyOurs: true,
    play: async (stage) => {
      sayWho(stage);
      const { cookie, server } = await visitor(stage);
      const seen = await places(stage, 6, cookie.replace("\r\n", "; sojourn-affinity=none\r\n"));
      return `${seen.filter((place) => place === server).length} of 6`;
    },
  },
  {
    name: "draining: what runs is finished, holders move with a new cookie",
    ours: "running 200, holder moved, cookie",
    onlyOurs: true,
    play: async (stage) => {
      sayWho(stage);
      const { cookie, server, index } = await visitor(stage);
      const slow = await stage.open();
      stage.script = () => {};
      slow.send(`GET /slow HTTP/1.1\r\nHost: a\r\n${cookie}\r\n`);
      await slow.until(() => stage.seen.at(-1)?.line.includes("/slow") ?? false, 500);
      stage.router!.setState(index === 0 ? "b1" : "b2", "drain");
      const running = stage.seen.at(-1)!;
      sayWho(stage);
      const { reply } = await stage.get(cookie);
      running.stream.send(okText("done"));
      const moved = reply?.body !== server ? "moved" : "stayed";
      const set = affinityPair(reply) === undefined ? "no cookie" : "cookie";
      return `running ${statusOf(await slow.reply())}, holder ${moved}, ${set}`;
    },
  },
  {
    name: "draining: the last server left still serves",
    ours: "200",
    onlyOurs: true,
    play: async (stage) => {
      for (const id of ["b1", "b2"]) stage.router!.setState(id, "drain");
      return statusOf((await stage.get()).reply);
    },
  },
  {
    name: "maintenance: nobody is sent there, not even as a last resort",
    ours: "503, 0 forwarded, and 200 when it is over",
    onlyOurs: true,
    play: async (stage) => {
      for (const id of ["b1", "b2"]) stage.router!.setState(id, "maintenance");
      const { reply } = await stage.get();
      const forwarded = stage.seen.length;
      stage.router!.setState("b1", "up");
      const after = statusOf((await stage.get()).reply);
      return `${statusOf(reply)}, ${forwarded} forwarded, and ${after} when it is over`;
    },
  },
  {
    name: "its own health: GET answers, without addresses; nothing else does",
    ours: "200, no address, POST 405",
    onlyOurs: true,
    play: async (stage) => {
      const { reply } = await stage.get("", "/-/health");
      const ports = stage.servers.map(({ port }) => String(port));
      const leaks = ["127.0.0.1", "http:", ...ports].some((word) => reply?.body.includes(word));
      const post = await stage.ask("POST /-/health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
      const parsed = JSON.parse(reply?.body ?? "{}") as { servers?: unknown[] };
      if (parsed.servers?.length !== 2) return `unexpected: ${reply?.body}`;
      return `${statusOf(reply)}, ${leaks ? "address" : "no address"}, POST ${statusOf(post.reply)}`;
    },
  },
];
