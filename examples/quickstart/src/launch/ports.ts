/** Looks at every port before anything starts, so that a taken one is one sentence and not half a system. */
import { connect, createServer } from "node:net";
import { PORT_BASE_EXAMPLE, type Ports, type Strategy } from "./options.ts";
import { ownerOf } from "./who.ts";

export const HOST = "127.0.0.1";
const CONNECT_TIMEOUT_MS = 500;
const COMMAND_CHARACTERS_MAX = 100;

/** The ports that a strategy uses, with what they are for. */
export function portsInUse(ports: Ports, strategy: Strategy): [what: string, port: number][] {
  return [
    ["the router", ports.router],
    ...Object.entries(ports.shops).map(([name, port]): [string, number] => [`the ${name} shop`, port]),
    ...(strategy === "session-server"
      ? [["the session server", ports.sessionServer] as [string, number]]
      : []),
  ];
}

/** @returns one line for each taken port; empty when all are free */
export async function takenPorts(wanted: readonly [string, number][]): Promise<string[]> {
  const lines = await Promise.all(
    wanted.map(async ([what, port]) => {
      const why = await whyUnusable(port);
      return why === undefined ? [] : [`Port ${port} (${what}) ${why}`];
    }),
  );
  return lines.flat();
}

export function portAdvice(base: number): string {
  return `Stop what holds it, or move all ports: npm start -- --port-base ${base}`;
}

/** A base that the running attempt did not use. */
export function otherBase(ports: Ports): number {
  const used = ports.router - (ports.router % 1000);
  return used === PORT_BASE_EXAMPLE ? PORT_BASE_EXAMPLE + 1000 : PORT_BASE_EXAMPLE;
}

async function whyUnusable(port: number): Promise<string | undefined> {
  const refused = await bindError(port);
  if (refused !== undefined && refused !== "EADDRINUSE") return `cannot be used: ${refused}`;
  // macOS lets us bind 127.0.0.1 beside someone who holds all addresses, and then answers for one of the two.
  if (refused === undefined && !(await answers(port))) return undefined;
  const owner = ownerOf(port);
  if (owner === undefined) return "is taken; by whom, this user may not see";
  const { pid, command } = owner;
  const shown =
    command.length > COMMAND_CHARACTERS_MAX ? `${command.slice(0, COMMAND_CHARACTERS_MAX)}…` : command;
  return `is taken by pid ${pid} (${shown})`;
}

function bindError(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ port, host: HOST, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** True when someone accepts connections there. */
export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: HOST });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => done(false));
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
  });
}
