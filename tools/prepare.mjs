// What `npm start` and `npm test` do first: checks the Node version, installs what the lockfile says and the folder does
// not hold, builds what changed. Built-ins only, because it runs before anything is installed; old syntax on purpose,
// so that an old Node gets as far as the sentence that refuses it.
//
// A second run finds nothing to do and takes well under a second; it needs no network.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The oldest Node that every dependency supports; `engines` in package.json says the same. */
const NODE_MIN = [20, 19];

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const LIVE = process.stdout.isTTY === true && process.env.CI !== "true";
/** Words in npm's output that mean "no network" rather than "broken project". */
const NETWORK_WORDS =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b|ENOTCACHED/;

class Refusal extends Error {}

function checkNode() {
  const found = process.versions.node.split(".").map(Number);
  if (found[0] > NODE_MIN[0] || (found[0] === NODE_MIN[0] && found[1] >= NODE_MIN[1])) return;
  throw new Refusal(
    `Sojourn needs Node ${NODE_MIN.join(".")} or newer, and this is Node ${process.versions.node}: install a newer one from https://nodejs.org and run the command again.`,
  );
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    // Half a file: an installation that was interrupted.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** True when npm would install this optional package on this machine. */
function fitsThisMachine(entry) {
  const allows = (list, own) => list === undefined || list.indexOf(own) >= 0;
  // Which C library this is, npm knows better; a package for the other one is legitimately absent.
  const certain = entry.os !== undefined && entry.cpu !== undefined && entry.libc === undefined;
  return certain && allows(entry.os, process.platform) && allows(entry.cpu, process.arch);
}

/**
 * Why `node_modules` is not what the lockfile says, or undefined when it is. npm leaves a lockfile of what it installed
 * in `node_modules/.package-lock.json`, written last, so an interrupted installation shows as a missing file.
 */
function whyInstall() {
  const lock = readJson("package-lock.json");
  if (lock === undefined || lock.packages === undefined) {
    throw new Refusal("Cannot install: package-lock.json is missing or unreadable; restore it with git.");
  }
  const installed = readJson("node_modules/.package-lock.json");
  if (installed === undefined || installed.packages === undefined) return "nothing is installed yet";
  for (const path of Object.keys(lock.packages)) {
    if (path === "") continue;
    const wanted = lock.packages[path];
    const there = installed.packages[path];
    const name = path.replace(/^.*node_modules\//, "");
    if (there === undefined) {
      if (wanted.optional !== true || fitsThisMachine(wanted)) return `${name} is missing`;
    } else if (there.version !== wanted.version || there.integrity !== wanted.integrity) {
      return `${name} is ${there.version}, the lockfile says ${wanted.version}`;
    } else if (!existsSync(join(ROOT, path))) {
      return `${name} is missing`;
    }
  }
  return undefined;
}

/**
 * Runs a command and shows one line with its seconds; its own output only when it fails.
 *
 * @returns resolves to what it printed; rejects with a Refusal whose message is that output
 */
function step(title, command, args) {
  const startedMs = Date.now();
  const seconds = () => `${((Date.now() - startedMs) / 1000).toFixed(1).padStart(6)} s`;
  const line = (end) => `  ${title.padEnd(34)}${seconds()}${end}`;
  const ticking = LIVE ? setInterval(() => process.stdout.write(`\r${line("")}`), 100) : undefined;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
      });
    }
    // Ctrl-C reaches the child by itself; a plain SIGTERM to us has to be passed on.
    const stop = () => child.kill("SIGTERM");
    process.on("SIGTERM", stop);
    const finish = (failure) => {
      clearInterval(ticking);
      process.removeListener("SIGTERM", stop);
      process.stdout.write(`${LIVE ? "\r" : ""}${line(failure === undefined ? "" : "  failed")}\n`);
      if (failure === undefined) resolve(output);
      else reject(new Refusal(failure));
    };
    child.on("error", (error) => finish(`Cannot run ${command}: ${error.message}`));
    child.on("close", (code, signal) =>
      finish(code === 0 ? undefined : output.trim() || `${command} ended with ${signal || `status ${code}`}`),
    );
  });
}

/** `npm ci` by the npm that runs us, so that no other one on the PATH is picked. */
async function install(reason) {
  process.stdout.write(
    `  ${reason}: installing the ${existsSync(join(ROOT, "node_modules")) ? "lockfile again" : "lockfile"}\n`,
  );
  const running = process.env.npm_execpath;
  const viaNode = running !== undefined && basename(running) === "npm-cli.js";
  const args = ["ci", "--no-audit", "--no-fund", "--prefer-offline"].concat(
    // The defaults keep a machine without a network waiting for more than a minute.
    ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"],
  );
  try {
    await step("npm ci", viaNode ? process.execPath : "npm", viaNode ? [running].concat(args) : args);
  } catch (error) {
    if (!(error instanceof Refusal) || !NETWORK_WORDS.test(error.message)) throw error;
    throw new Refusal(
      `${error.message}\n\nThe packages are not installed and npm cannot reach its registry. Connect once and run the command again; from then on it works offline.`,
    );
  }
}

async function prepare() {
  checkNode();
  const reason = whyInstall();
  if (reason !== undefined) await install(reason);
  // `tsc -b` compares hashes of sources, so a clean tree costs it a fraction of a second.
  await step("build", process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-b"]);
  await import("./commonjs.mjs");
}

prepare().catch((error) => {
  process.stderr.write(`\n${error instanceof Refusal ? error.message : error.stack}\n`);
  process.exitCode = 1;
});
