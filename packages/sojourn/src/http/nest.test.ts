/** What only NestJS has: its module, its parameter decorator, guards, middleware and exception filters, on both platforms. */
import "reflect-metadata";
import {
  type ArgumentsHost,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  type INestApplication,
  Inject,
  type MiddlewareConsumer,
  Module,
  Redirect,
  Sse,
  StreamableFile,
  UseGuards,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter, type NestFastifyApplication } from "@nestjs/platform-fastify";
import type { Response as ExpressResponse, Request } from "express";
import fastify from "fastify";
import { of } from "rxjs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { createSessions, type Sessions } from "../sessions/create-sessions.ts";
import { GatedStore } from "../sessions/harness.test.support.ts";
import type { Session } from "../sessions/session.ts";
import { memoryStore } from "../store/memory.ts";
import { refusalBody } from "./answer.ts";
import { fastifySessions } from "./fastify.ts";
import { CurrentSession, SESSIONS, SojournModule } from "./nest.ts";

type Data = { cart: string[] };

let store: GatedStore;
let sessions: Sessions<Data>;
let app: INestApplication | undefined;
let origin: string;
let logged: unknown[];

class CartController {
  add(session: Session<Data>) {
    session.set("cart", [...(session.get("cart") ?? []), "book"]);
    return { keys: session.keys() };
  }
  cart(session: Session<Data>) {
    return { cart: session.get("cart") ?? null };
  }
  ping() {
    return { pong: true };
  }
  moved(session: Session<Data>) {
    session.set("cart", ["moved"]);
  }
  file(session: Session<Data>) {
    session.set("cart", ["file"]);
    return new StreamableFile(Buffer.from("a file"));
  }
  events(session: Session<Data>) {
    session.set("cart", ["events"]);
    return of({ data: "one" }, { data: "two" });
  }
  private() {
    return { secret: 42 };
  }
  calm(session: Session<Data>) {
    return { isUnavailable: session.isUnavailable };
  }
  async mistaken(session: Session<Data>) {
    await session.commit();
    session.set("cart", []);
  }
}

class LoggedIn implements CanActivate {
  readonly #sessions: Sessions<Data>;
  constructor(injected: Sessions<Data>) {
    this.#sessions = injected;
  }
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const session = await this.#sessions.of(context.switchToHttp().getRequest());
    return session.has("cart");
  }
}

/** `@decorators name(@parameters …)`, for compilers that do not know the syntax. */
function decorate(name: string, decorators: MethodDecorator[], parameters: ParameterDecorator[] = []): void {
  const { prototype } = CartController;
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name)!;
  for (const each of decorators) each(prototype, name, descriptor);
  for (const [index, each] of parameters.entries()) each(prototype, name, index);
}

decorate("add", [Get("add")], [CurrentSession()]);
decorate("cart", [Get("cart")], [CurrentSession()]);
decorate("ping", [Get("ping")]);
decorate("moved", [Get("moved"), Redirect("/cart", 303)], [CurrentSession()]);
decorate("file", [Get("file")], [CurrentSession()]);
decorate("events", [Sse("events")], [CurrentSession()]);
decorate("private", [Get("private"), UseGuards(LoggedIn)]);
decorate("calm", [Get("calm")], [CurrentSession({ onStoreUnavailable: "anonymous" })]);
decorate("mistaken", [Get("mistaken")], [CurrentSession()]);
Controller()(CartController);
Inject(SESSIONS)(LoggedIn, undefined, 0);

beforeEach(() => {
  store = new GatedStore(memoryStore());
  sessions = createSessions<Data>({ store, secret: "a secret of the nest tests" });
  logged = [];
});

afterEach(async () => {
  await app?.close();
  app = undefined;
});

async function launch(
  platform: string,
  root: object,
  prepare: (app: INestApplication) => unknown = () => {},
  instance = fastify(),
): Promise<void> {
  const adapter = platform === "Fastify" ? new FastifyAdapter(instance as never) : new ExpressAdapter();
  app = await NestFactory.create(root as never, adapter, {
    abortOnError: false,
    logger: { log() {}, warn() {}, error: (what: unknown) => void logged.push(what) },
  });
  prepare(app);
  await app.listen(0, "127.0.0.1");
  origin = await app.getUrl();
}

/** The usual root module. */
function rootOf(imports: object[]): object {
  class Root {}
  Module({ imports: imports as never[], controllers: [CartController] })(Root);
  return Root;
}

function get(path: string, cookie?: string): Promise<Response> {
  return fetch(`${origin}${path}`, { redirect: "manual", headers: cookie ? { cookie } : {} });
}

function cookieOf(answer: Response): string {
  return answer.headers.getSetCookie()[0]?.split(";")[0] ?? "no cookie";
}

function isDown(): never {
  throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
}

describe.each(["Express", "Fastify"])("on %s", (platform) => {
  test("@CurrentSession() is the loaded session, and what the handler changes is stored before the answer", async () => {
    await launch(platform, rootOf([SojournModule.forRoot({ sessions })]));
    const added = await get("/add");
    expect([added.status, await added.json()]).toEqual([200, { keys: ["cart"] }]);
    expect(await (await get("/cart", cookieOf(added))).json()).toEqual({ cart: ["book"] });
    const moved = await get("/moved");
    expect([moved.status, moved.headers.get("location")]).toEqual([303, "/cart"]);
    expect(await (await get("/cart", cookieOf(moved))).json()).toEqual({ cart: ["moved"] });
    const file = await get("/file");
    expect(await file.text()).toBe("a file");
    expect(await (await get("/cart", cookieOf(file))).json()).toEqual({ cart: ["file"] });
    const events = await get("/events");
    expect(await events.text()).toContain("data: two");
    expect(await (await get("/cart", cookieOf(events))).json()).toEqual({ cart: ["events"] });
  });

  test("a handler without it costs the session nothing", async () => {
    await launch(platform, rootOf([SojournModule.forRoot({ sessions })]));
    const cookie = cookieOf(await get("/add"));
    const before = store.total;
    expect(await (await get("/ping", cookie)).json()).toEqual({ pong: true });
    expect(store.total).toBe(before);
  });

  test("a guard asks the injected sessions", async () => {
    await launch(platform, rootOf([SojournModule.forRoot({ sessions })]));
    expect((await get("/private")).status).toBe(403);
    expect(await (await get("/private", cookieOf(await get("/add")))).json()).toEqual({ secret: 42 });
  });

  test.each(["/cart", "/private", "/add"])(
    "%s: while the store is down the answer is 503 with Retry-After",
    async (path) => {
      await launch(platform, rootOf([SojournModule.forRoot({ sessions })]));
      const cookie = cookieOf(await get("/add"));
      store.before = isDown;
      const answer = await get(path, cookie);
      expect([answer.status, answer.headers.get("retry-after"), answer.headers.get("cache-control")]).toEqual(
        [503, "1", "no-store"],
      );
      expect(await answer.text()).toBe(refusalBody("STORE_UNAVAILABLE"));
      expect(logged).toEqual([]);
    },
  );

  test("@CurrentSession(options) wins over the module's", async () => {
    const forRequest = ({ url }: { url: string }) =>
      url === "/cart" ? ({ onStoreUnavailable: "anonymous" } as const) : undefined;
    await launch(platform, rootOf([SojournModule.forRoot({ sessions, forRequest })]));
    const cookie = cookieOf(await get("/add"));
    store.before = isDown;
    expect(await (await get("/calm", cookie)).json()).toEqual({ isUnavailable: true });
    expect([(await get("/cart", cookie)).status, (await get("/add", cookie)).status]).toEqual([200, 503]);
  });

  test("an exception filter of the application comes first", async () => {
    const adapterOf = () => app!.getHttpAdapter();
    class Own implements ExceptionFilter {
      catch(error: SessionError, host: ArgumentsHost) {
        adapterOf().reply(host.switchToHttp().getResponse(), { mine: error.code }, 418);
      }
    }
    Catch(SessionError)(Own);
    await launch(platform, rootOf([SojournModule.forRoot({ sessions })]), (it) =>
      it.useGlobalFilters(new Own()),
    );
    const cookie = cookieOf(await get("/add"));
    store.before = isDown;
    const answer = await get("/cart", cookie);
    expect([answer.status, await answer.json()]).toEqual([418, { mine: "STORE_UNAVAILABLE" }]);
  });

  test("a mistake in the program is logged, and its message stays inside", async () => {
    await launch(platform, rootOf([SojournModule.forRoot({ sessions })]));
    const answer = await get("/mistaken");
    expect([answer.status, await answer.json()]).toEqual([
      500,
      { statusCode: 500, message: "Internal server error" },
    ]);
    expect(logged).toEqual([expect.objectContaining({ code: "LATE_WRITE" })]);
  });

  test("sessions can be made from other providers", async () => {
    class Config {
      readonly secret = "a secret from the configuration";
    }
    class ConfigModule {}
    Module({ providers: [Config], exports: [Config] })(ConfigModule);
    const sojourn = SojournModule.forRootAsync({
      imports: [ConfigModule],
      inject: [Config],
      useFactory: async ({ secret }: Config) => ({ sessions: createSessions<Data>({ store, secret }) }),
    });
    await launch(platform, rootOf([sojourn]));
    const added = await get("/add");
    expect(await (await get("/cart", cookieOf(added))).json()).toEqual({ cart: ["book"] });
    expect(await (await get("/private", cookieOf(added))).json()).toEqual({ secret: 42 });
  });

  test("Nest middleware has sessions too; on Fastify, where it runs first, once the plugin is on the instance", async () => {
    class Root {
      configure(consumer: MiddlewareConsumer) {
        consumer
          .apply(async (req: Request, _res: ExpressResponse, next: () => void) => {
            (await sessions.of(req)).set("cart", ["from middleware"]);
            next();
          })
          .forRoutes("cart");
      }
    }
    const imports = [SojournModule.forRoot({ sessions })];
    Module({ imports, controllers: [CartController] })(Root);
    const instance = fastify();
    instance.register(fastifySessions, { sessions });
    await launch(platform, Root, undefined, instance);
    const answer = await get("/cart");
    expect(await answer.json()).toEqual({ cart: ["from middleware"] });
    expect(answer.headers.getSetCookie()).toHaveLength(1);
  });

  test("without the module the decorator says what is missing", async () => {
    await launch(
      platform,
      rootOf([
        {
          module: class Empty {},
          providers: [{ provide: SESSIONS, useValue: sessions }],
          exports: [SESSIONS],
          global: true,
        },
      ]),
    );
    expect((await get("/cart")).status).toBe(500);
    expect(logged).toEqual([expect.objectContaining({ message: expect.stringContaining("SojournModule") })]);
  });
});

test("Fastify's inject, which has no connection, is answered after the commit", async () => {
  await launch("Fastify", rootOf([SojournModule.forRoot({ sessions })]));
  const answer = await (app as NestFastifyApplication).inject("/add");
  expect([answer.statusCode, answer.headers["set-cookie"]]).toEqual([200, expect.stringMatching(/^sid=/)]);
  store.before = isDown;
  expect((await (app as NestFastifyApplication).inject("/add")).statusCode).toBe(503);
});

test("a program without HTTP may import the module too", async () => {
  const context = await NestFactory.createApplicationContext(
    rootOf([SojournModule.forRoot({ sessions })]) as never,
    { logger: false, abortOnError: false },
  );
  expect(context.get(SESSIONS)).toBe(sessions);
  await context.close();
});

test.each(["Express", "Fastify"])("%s: a mistake in the options stops the application", async (platform) => {
  const options = { sessions, passive: "yes" } as unknown as { sessions: Sessions<Data> };
  await expect(launch(platform, rootOf([SojournModule.forRoot(options)]))).rejects.toThrow(/passive/);
});
