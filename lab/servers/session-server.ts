/** Our session server in a process of its own, without a secret: Redis beside it speaks plain TCP, too. */
import { startSessionServer } from "sojourn/server";
import { beChild } from "./child.ts";

beChild(async () => {
  const { address } = await startSessionServer({ port: 0, maxBytes: 2e9 });
  return address.port;
});
