/** Our router in a process of its own, in front of three servers that are one. */
import { startRouter } from "sojourn/router";
import { beChild } from "./child.ts";

beChild<{ readonly upstream: string }>(async ({ upstream }) => {
  const servers = ["b1", "b2", "b3"].map((id) => ({ id, url: upstream }));
  const { address } = await startRouter({ port: 0, servers, health: false, relief: false });
  return address.port;
});
