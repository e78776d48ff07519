/** `sojourn session`: looking through a store's sessions and ending them, whichever store it is. */
import type { Command } from "commander";
import { registerCount } from "./session/count.ts";
import { registerEnd } from "./session/end.ts";
import { registerEndAll } from "./session/end-all.ts";
import { registerList } from "./session/list.ts";
import { registerShow } from "./session/show.ts";

const HELP = `
Stores:
  sojourn://127.0.0.1:5701/shop    a session server, domain "shop" (--domain says it too; port 5701 by default)
  redis://127.0.0.1:6379/0         Redis or Valkey; rediss:// with TLS; --prefix if the application has one
  redis://node1:7000,redis://node2:7000
                                   a Redis Cluster: two or more of its nodes, the others are found

A URL with a password goes into a file (--store-file) or into SOJOURN_STORE: every user of a machine can read the
arguments of its processes. A session server's secret stands in --secret-file.

  sojourn session count --store sojourn://127.0.0.1:5701/shop --secret-file shop.secret
  export SOJOURN_STORE=redis://127.0.0.1:6379
  sojourn session list --principal ada@example.org
  sojourn session show 3q2-7wEh                     # keys may be cut short, as long as they name one session
  sojourn session end-all --principal ada@example.org --yes

Sessions are named by key, a hash of the id in the cookie: nobody can log in with what is shown here.
Exit codes: 0 done, 1 not done, and standard error says why.`;

export function registerSession(program: Command): void {
  const session = program
    .command("session")
    .description("list, show, count and end the sessions in a store")
    .enablePositionalOptions()
    .addHelpText("after", HELP);
  registerList(session);
  registerShow(session);
  registerCount(session);
  registerEnd(session);
  registerEndAll(session);
}
