/**
 * For tests of this folder: NestJS on its two platforms. Decorators are called by hand, because the compiler of these tests
 * emits no metadata for them.
 */
import "reflect-metadata";
import { All, Controller, Module, Req, Res } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { expressExchange, fastifyExchange } from "./exchange.test.support.ts";
import { type Framework, listening, type Routes } from "./framework.test.support.ts";
import { SojournModule } from "./nest.ts";

export function nestFramework(name: string, platform: "express" | "fastify"): Framework {
  return {
    name,
    http2: false,
    async launch(routes, sessions) {
      class Root {}
      // Twice, as with every other framework here.
      const imports = sessions ? [1, 2].map(() => SojournModule.forRoot({ sessions })) : [];
      Module({ imports, controllers: [controllerOf(routes, platform)] })(Root);
      const adapter = platform === "express" ? new ExpressAdapter() : new FastifyAdapter();
      const app = await NestFactory.create(Root, adapter, { logger: false });
      await app.listen(0, "127.0.0.1");
      return listening(app.getHttpServer(), () => {
        app.getHttpServer().closeAllConnections();
        return app.close();
      });
    },
  };
}

function controllerOf(routes: Routes, platform: "express" | "fastify"): new () => object {
  const exchangeOf = (platform === "express" ? expressExchange : fastifyExchange) as typeof expressExchange;
  class RoutesController {}
  for (const [path, route] of Object.entries(routes)) {
    const handle = (req: never, res: never) => route(exchangeOf(req, res));
    const value = async (req: never, res: never) => void (await handle(req, res));
    const descriptor = { value };
    Object.defineProperty(RoutesController.prototype, path, descriptor);
    Req()(RoutesController.prototype, path, 0);
    Res()(RoutesController.prototype, path, 1);
    All(path)(RoutesController.prototype, path, descriptor);
  }
  Controller()(RoutesController);
  return RoutesController;
}
