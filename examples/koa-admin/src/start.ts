/** The whole example: a session server in this process, and two of the same application as processes of their own. */
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { addressText, startSessionServer } from "sojourn/server";

const secret = randomBytes(32).toString("base64url");
const sessionServer = await startSessionServer({ port: 0, domain: "account", secret });

/** 0: the system chooses. */
const firstPort = Number(process.env.PORT ?? 3001);

for (const [index, name] of ["a", "b"].entries()) {
  fork(new URL("./app.js", import.meta.url), {
    env: {
      ...process.env,
      NAME: name,
      PORT: String(firstPort && firstPort + index),
      SESSION_SERVER: addressText(sessionServer.address),
      SESSION_SECRET: secret,
    },
  });
}
// However this process ends, its applications see that it is gone, and end too.
