/** Two of the same shop, as processes of their own, with one secret. Redis is yours: REDIS_URL says where. */
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";

const secret = process.env.SESSION_SECRET ?? randomBytes(32).toString("base64url");
/** 0: the system chooses. */
const firstPort = Number(process.env.PORT ?? 3001);

for (const [index, name] of ["a", "b"].entries()) {
  const port = firstPort === 0 ? 0 : firstPort + index;
  fork(new URL("./shop.js", import.meta.url), {
    env: { ...process.env, NAME: name, PORT: String(port), SESSION_SECRET: secret },
  });
}
// However this process ends, the shops see that it is gone, and end too.
