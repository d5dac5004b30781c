// A server for the tests: `room dev` as a process, and its terminal.
//
// Every wait has a deadline, and says at its end what was on the terminal.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** How long the compiler may take, on a machine that has other things to do. */
export const BUILD_MS = 240_000;
/** How long anything else may take. */
export const STEP_MS = 30_000;

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** The project the driver made for this file. */
export const project = process.env.ROOM_PROJECT_COPY;

/** Waits for `promise`, but not longer than `ms`; `what` names it in the error. */
export async function within(ms, what, promise, more = () => "") {
  // Made here, so that its stack says who waited.
  const error = new Error();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      error.message = `no ${what} within ${ms} ms\n${more()}`;
      reject(error);
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Replaces a text that is in the file once. */
export async function edit(file, from, to) {
  const path = join(project, file);
  const text = await readFile(path, "utf8");
  if (text.split(from).length !== 2) throw new Error(`${file} does not have this once: ${from}`);
  await writeFile(path, text.replace(from, to));
}

export class Server {
  #child;
  #ended;
  #wake = () => {};
  /** The lines of the terminal. */
  lines = [];
  /** How many of them were waited for already. */
  #seen = 0;

  constructor(command) {
    const env = { ...process.env, NO_COLOR: "1" };
    this.#child = spawn(process.env.ROOM_BIN, command, { env, cwd: project, stdio: ["ignore", "pipe", "pipe"] });
    running.add(this.#child);
    this.#ended = once(this.#child, "exit").then(([code]) => {
      running.delete(this.#child);
      this.lines.push(`(ended with ${code})`);
      this.#wake();
      return code;
    });
    for (const input of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input }).on("line", (line) => {
        this.lines.push(line);
        this.#wake();
      });
    }
  }

  /** A server that is ready; without a port, on one that is free. */
  static async start({ port = 0, args = [] } = {}) {
    const server = new Server(["dev", project, "--port", String(port), ...args]);
    const line = await server.line(/Local\s+http:/, BUILD_MS);
    server.port = Number(/:(\d+)\//.exec(line)[1]);
    server.host = `127.0.0.1:${server.port}`;
    server.url = `http://${server.host}`;
    return server;
  }

  /** `room serve` on a folder in the project's, with nothing deployed to it; `token` is its first one. */
  static async serve() {
    const server = new Server(["serve", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    const url = async (what) => /http:\S+/.exec(await server.line(what))[0];
    server.url = await url(/^clients/);
    server.host = new URL(server.url).host;
    server.admin = await url(/^operators/);
    server.dashboard = await url(/^dashboard/);
    // Lines of the two outputs come in any order.
    const token = () => server.lines.find((line) => line.startsWith("room_"));
    await server.line(/deploy with/);
    if (!token()) await server.line(/^room_/);
    server.token = token();
    return server;
  }

  /** Deploys what the project is now to a server of `serve`. */
  async deploy() {
    const env = { ...process.env, ROOM_TOKEN: this.token, NO_COLOR: "1" };
    const stdio = ["ignore", "ignore", "pipe"];
    const child = spawn(process.env.ROOM_BIN, ["deploy", project, "--to", this.admin], { env, stdio });
    let said = "";
    child.stderr.on("data", (piece) => (said += piece));
    const [code] = await within(BUILD_MS, "deployment", once(child, "exit"), () => said);
    if (code !== 0) throw new Error(`the deployment ended with ${code}\n${said}`);
  }

  /** The next line of the terminal that matches. */
  async line(pattern, ms = STEP_MS) {
    const find = async () => {
      for (;;) {
        while (this.#seen < this.lines.length) {
          const line = this.lines[this.#seen++];
          if (pattern.test(line)) return line;
          if (line.startsWith("(ended")) throw new Error(`the server ended\n${this.terminal()}`);
        }
        await new Promise((resolve) => (this.#wake = resolve));
      }
    };
    return within(ms, `line like ${pattern}`, find(), () => this.terminal());
  }

  terminal() {
    return this.lines.map((line) => `  | ${line}`).join("\n");
  }

  /** Ends the process at once, as a crash does. */
  async kill() {
    this.#child.kill("SIGKILL");
    await within(STEP_MS, "end", this.#ended);
  }

  /** Ends it as Ctrl-C does. → Its exit code. */
  async stop() {
    this.#child.kill("SIGINT");
    return within(STEP_MS, "end after Ctrl-C", this.#ended, () => this.terminal());
  }
}
