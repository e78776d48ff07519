/** For tests of this folder: what a route does, said in Express and in Fastify, which NestJS speaks too. */
import type { ServerResponse } from "node:http";
import type { Request, Response } from "express";
import type { FastifyReply, FastifyRequest } from "fastify";
import { type Exchange, noSession } from "./framework.test.support.ts";

export function expressExchange(req: Request, res: Response): Exchange {
  return {
    session: () => req.session?.() ?? noSession(),
    header: (name, value) => res.setHeader(name, value),
    json: (body, status = 200) => res.status(status).json(body),
    redirect: (to) => res.redirect(303, to),
    stream: (body) => body.pipe(res),
    takeOver: () => res,
  };
}

export function fastifyExchange(request: FastifyRequest, reply: FastifyReply): Exchange {
  return {
    session: () => request.session?.() ?? noSession(),
    header: (name, value) => reply.header(name, value),
    json: (body, status = 200) => reply.code(status).send(body),
    redirect: (to) => reply.redirect(to, 303),
    stream: (body) => reply.send(body),
    takeOver: () => hijack(reply),
  };
}

function hijack(reply: FastifyReply): ServerResponse {
  const headers = reply.getHeaders();
  reply.hijack();
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) reply.raw.setHeader(name, value);
  return reply.raw;
}
