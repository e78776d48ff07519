/**
 * HAProxy and nginx set up as an operator would set them up for the same work: sticky by a cookie of the proxy, by the
 * session's clone suffix, fail-over of what is safe, the same short timeouts. Real processes, on loopback.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SHORT } from "./case.test.support.ts";

export interface OtherProxy {
  readonly name: string;
  /** Set by tools/test.mjs to where the program is. */
  readonly variable: string;
  readonly versionArguments: readonly string[];
  readonly config: (port: number, servers: readonly number[], folder: string) => string;
  readonly run: (configFile: string, folder: string) => readonly string[];
}

export const HAPROXY: OtherProxy = {
  name: "HAProxy",
  variable: "SOJOURN_HAPROXY",
  versionArguments: ["-v"],
  run: (configFile) => ["-db", "-f", configFile],
  config: (port, [first, second]) => `
global
    maxconn 200
defaults
    mode http
    timeout connect ${SHORT.connectMs}
    timeout client ${SHORT.bodyIdleMs}
    timeout server ${SHORT.firstByteMs}
    timeout http-request ${SHORT.headersMs}
    timeout http-keep-alive 5s
    timeout queue 1s
    timeout tunnel 1h
    option http-no-delay
    option redispatch 1
    retries 2
    retry-on conn-failure empty-response
frontend edge
    bind 127.0.0.1:${port}
    http-request del-header X-Forwarded-For
    http-request del-header Forwarded
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request disable-l7-retry if !{ method GET HEAD OPTIONS }
    use_backend app_clone if { req.cook(sid),word(2,:) -m found }
    use_backend app_clone if { req.cook(__Host-sid),word(2,:) -m found }
    default_backend app
backend app
    balance leastconn
    dynamic-cookie-key CHANGE-ME
    cookie SERVERID insert indirect nocache dynamic httponly attr "SameSite=Lax"
    server b1 127.0.0.1:${first}
    server b2 127.0.0.1:${second}
backend app_clone
    balance leastconn
    use-server b1 if { req.cook(sid),word(-1,:) -m str b1 } or { req.cook(__Host-sid),word(-1,:) -m str b1 }
    use-server b2 if { req.cook(sid),word(-1,:) -m str b2 } or { req.cook(__Host-sid),word(-1,:) -m str b2 }
    server b1 127.0.0.1:${first}
    server b2 127.0.0.1:${second}
`,
};

export const NGINX: OtherProxy = {
  name: "nginx",
  variable: "SOJOURN_NGINX",
  versionArguments: ["-v"],
  run: (configFile, folder) => ["-p", folder, "-c", configFile, "-g", "daemon off;"],
  config: (port, [first, second], folder) => `
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f;
  uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  map $cookie_SERVERID $pool { default $by_clone; k7Qm2x app_b1; p3Zv9c app_b2; }
  map $http_cookie $by_clone {
    default app;
    "~(?:^|; )(?:__Host-)?sid=[^;]*:b1(?:;|$)" app_b1;
    "~(?:^|; )(?:__Host-)?sid=[^;]*:b2(?:;|$)" app_b2;
  }
  map $upstream_addr $token { default ""; "~(^|, )127\\.0\\.0\\.1:${first}$" k7Qm2x; "~(^|, )127\\.0\\.0\\.1:${second}$" p3Zv9c; }
  map "$cookie_SERVERID|$token" $set_cookie { default "SERVERID=$token; Path=/; HttpOnly; SameSite=Lax"; "~^(?<a>[^|]+)\\|\\k<a>$" ""; "~\\|$" ""; }
  upstream app    { zone app 64k; least_conn; server 127.0.0.1:${first} max_fails=0; server 127.0.0.1:${second} max_fails=0; keepalive 32; }
  upstream app_b1 { zone app_b1 64k; server 127.0.0.1:${first} max_fails=0; server 127.0.0.1:${second} backup; keepalive 32; }
  upstream app_b2 { zone app_b2 64k; server 127.0.0.1:${second} max_fails=0; server 127.0.0.1:${first} backup; keepalive 32; }
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  proxy_connect_timeout ${SHORT.connectMs}ms; proxy_read_timeout ${SHORT.firstByteMs}ms; proxy_next_upstream error timeout;
  proxy_buffering off; proxy_request_buffering off;
  server {
    listen 127.0.0.1:${port};
    client_header_timeout ${SHORT.headersMs}ms; client_body_timeout ${SHORT.bodyIdleMs}ms; keepalive_timeout 15s;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Forwarded "";
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    location / { proxy_pass http://$pool; add_header Set-Cookie $set_cookie always; }
  }
}
`,
};

/** The first line of what the program says about itself, without addresses. */
export function versionOf(proxy: OtherProxy, program: string): string {
  const { stdout, stderr } = spawnSync(program, proxy.versionArguments, { encoding: "utf8" });
  return /\d+\.\d+\.\d+/.exec(stdout + stderr)?.[0] ?? "unknown";
}

/** A running proxy in front of `servers`. */
export class RunningProxy {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.port = port;
    this.#child = child;
    this.#folder = folder;
  }

  static async start(proxy: OtherProxy, program: string, servers: readonly number[]): Promise<RunningProxy> {
    const folder = mkdtempSync(join(tmpdir(), "sojourn-protocol-"));
    const port = await freePort();
    const configFile = join(folder, "proxy.conf");
    writeFileSync(configFile, proxy.config(port, servers, folder));
    const child = spawn(program, proxy.run(configFile, folder), { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const running = new RunningProxy(port, child, folder);
    for (let attempt = 0; attempt < 100; attempt++) {
      if (await accepts(port)) return running;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await running.stop();
    throw new Error(`${proxy.name} did not start: ${said}`);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      const gone = new Promise((resolve) => this.#child.once("exit", resolve));
      this.#child.kill("SIGTERM");
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
