#!/usr/bin/env node
/** The command `sojourn`. This file only puts the commands together; each lives in one file under commands/. */
import { Command } from "commander";
import { SOFTWARE } from "sojourn/server";
import { registerRouter } from "./commands/router.ts";
import { registerServer } from "./commands/server.ts";
import { registerSession } from "./commands/session.ts";
import { explain } from "./explain.ts";

const program = new Command("sojourn")
  .description("HTTP sessions that outlive the server they began on")
  .version(SOFTWARE)
  .enablePositionalOptions()
  .showHelpAfterError("(sojourn --help lists the commands)");

registerServer(program);
registerRouter(program);
registerSession(program);

try {
  await program.parseAsync();
} catch (error) {
  explain(error);
  process.exitCode = 1;
}
