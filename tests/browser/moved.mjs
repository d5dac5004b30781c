// A PartyKit project moves: it is imported, served while it is edited, deployed, edited, deployed, and rolled back. Two
// tabs and a stock client stay connected throughout each part.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { appendFile, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import PartySocket from "partysocket";
import WebSocket from "ws";
import { BUILD_MS, STEP_MS, Server, edit, project, within } from "../server.mjs";
import { open, shoot, stats } from "./browser.mjs";

const GREETINGS = ["Welcome to the talk.", "Good evening.", "Good night."];
const run = promisify(execFile);

/** Runs a command in the project. → What it printed. */
async function sh(command, args, env = {}) {
  const done = run(command, args, { cwd: project, env: { ...process.env, NO_COLOR: "1", ...env } });
  const { stdout, stderr } = await within(BUILD_MS, `end of ${command} ${args.join(" ")}`, done);
  return stdout + stderr;
}

/** An identity provider: it signs tokens with a key, and shows the key. */
class Provider {
  static async start() {
    const provider = new Provider();
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    provider.key = privateKey;
    const keys = [{ ...publicKey.export({ format: "jwk" }), kid: "1", alg: "ES256", use: "sig" }];
    provider.asked = 0;
    provider.server = createServer((request, response) => {
      provider.asked += 1;
      const found = request.url === "/.well-known/jwks.json";
      response.writeHead(found ? 200 : 404, { "content-type": "application/json" });
      response.end(JSON.stringify(found ? { keys } : {}));
    });
    provider.server.listen(0, "127.0.0.1");
    await once(provider.server, "listening");
    provider.host = `127.0.0.1:${provider.server.address().port}`;
    return provider;
  }

  /** A token of a user. */
  token(sub) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub, iss: `http://${this.host}`, aud: "talk", iat: now, exp: now + 3600 };
    const text = `${part({ alg: "ES256", kid: "1" })}.${part(claims)}`;
    const signature = sign("sha256", Buffer.from(text), { key: this.key, dsaEncoding: "ieee-p1363" });
    return `${text}.${signature.toString("base64url")}`;
  }
}

/** A stock client, and everything that it received. */
class Stock {
  opens = 0;
  closes = 0;
  heard = [];
  #wake = () => {};

  constructor(host, options) {
    this.socket = new PartySocket({ host, WebSocket, ...options });
    this.socket.addEventListener("open", () => (this.opens += 1));
    this.socket.addEventListener("close", () => (this.closes += 1));
    this.socket.addEventListener("message", ({ data }) => {
      this.heard.push(JSON.parse(data));
      this.#wake();
    });
  }

  /** The first message that fits, of those that came and those that come. */
  async hears(what, fits) {
    const find = async () => {
      for (;;) {
        const found = this.heard.find(fits);
        if (found) return found;
        await new Promise((resolve) => (this.#wake = resolve));
      }
    };
    return within(STEP_MS, what, find(), () => JSON.stringify(this.heard));
  }

  greeting(text) {
    return this.hears(`greeting "${text}"`, ({ greeting }) => greeting === text);
  }
}

let provider, browser, server, ada, bob, cleo;
before(async () => {
  provider = await Provider.start();
  browser = await open();
});
after(async () => {
  cleo?.socket.close();
  await browser?.close();
  await server?.stop();
  provider?.server.close();
});

const reads = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor();
const say = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

/** Everyone leaves. */
async function leave() {
  for (const page of [ada, bob]) await page.close();
  cleo.socket.close();
}

/** Two tabs and a stock client enter a room. */
async function enter() {
  const at = (user) => `${server.url}/talk/green?token=${provider.token(user)}`;
  [ada, bob] = [await browser.tab(at("ada")), await browser.tab(at("bob"))];
  cleo = new Stock(server.host, { room: "green", query: { token: provider.token("cleo") } });
  await greeted(GREETINGS[0]);
  await reads(ada, "#rooms", "green (3)");
}

/** Everyone sees a greeting, by the connection of the beginning. */
async function greeted(text) {
  for (const page of [ada, bob]) await reads(page, "#greeting", text);
  await cleo.greeting(text);
  for (const page of [ada, bob]) assert.deepEqual(await stats(page), { opens: 1, closes: 0 });
  assert.deepEqual([cleo.opens, cleo.closes], [1, 0]);
}

test("the project is imported, and its code stays as it is", async () => {
  const source = await readFile(join(project, "src/server.ts"), "utf8");
  await edit("partykit.json", "https://auth.example.com", `http://${provider.host}`);
  const said = await sh(process.env.ROOM_BIN, ["init", "--from", "partykit.json"]);
  for (const row of [
    '[parties.main] script = "src/server.ts"; the code runs as it is',
    '[parties.lobby] script = "src/lobby.ts"; the code runs as it is',
    "[parties.lobby] hibernate = true",
    "[assets] single_page = true",
    "[crons] prune",
    "npm install --save-dev esbuild ./vendor/roomkit",
    '[assets] build = "src/client.ts"',
    "added /.room/, /.env, /.env.local, /public/dist/",
  ]) {
    assert.ok(said.includes(row), `${row} is not in ${said}`);
  }
  const ignored = await readFile(join(project, ".gitignore"), "utf8");
  for (const line of ["node_modules", ".DS_Store", "/.room/"]) {
    assert.ok(ignored.split("\n").includes(line), ignored);
  }
  await sh("npm", ["install", "--save-dev", "--no-audit", "--no-fund", "esbuild", "./vendor/roomkit"]);
  await appendFile(join(project, "room.toml"), `\n[fetch]\nhosts = ["${provider.host}"]\n`);
  assert.equal(await readFile(join(project, "src/server.ts"), "utf8"), source);
});

test("people talk while the code is edited, and nobody reconnects", async () => {
  server = await Server.start();
  await enter();
  await say(ada, "hello");
  await reads(bob, "#said", "ada: hello");
  cleo.socket.send("hi");
  await reads(ada, "#said", "cleo: hi");
  await edit("src/server.ts", GREETINGS[0], GREETINGS[1]);
  await server.line(/reloaded in/, BUILD_MS);
  await greeted(GREETINGS[1]);
  await say(bob, "still here");
  await cleo.hears("the message behind the reload", ({ text }) => text === "still here");
  await shoot(ada, "moved");
});

test("whom the provider does not know stays outside", async () => {
  const refused = new WebSocket(`ws://${server.host}/party/green?token=${provider.token("eve")}x`);
  const [error] = await within(STEP_MS, "refusal", once(refused, "error"));
  assert.match(error.message, /401/);
  // The keys are fetched, and not for each connection of a heap.
  assert.ok(provider.asked > 0);
});

test("history is kept, read by HTTP, and pruned by the cron", async () => {
  const read = async () => (await fetch(`${server.url}/party/green`)).json();
  assert.deepEqual((await read()).map(({ text }) => text), ["hello", "hi", "still here"]);
  const late = new Stock(server.host, { room: "green", query: { token: provider.token("dan") } });
  const { messages } = await late.hears("history", ({ type }) => type === "history");
  assert.equal(messages.length, 3);
  late.socket.close();
  await edit("src/server.ts", "const OLD_MS = 24 * 60 * 60 * 1000;", "const OLD_MS = -1;");
  await server.line(/reloaded in/, BUILD_MS);
  await sh(process.env.ROOM_BIN, ["crons", "run", "prune"]);
  await within(STEP_MS, "pruned history", (async () => {
    while ((await read()).length > 0) await new Promise((resolve) => setImmediate(resolve));
  })());
  await edit("src/server.ts", "const OLD_MS = -1;", "const OLD_MS = 24 * 60 * 60 * 1000;");
  await edit("src/server.ts", GREETINGS[1], GREETINGS[0]);
  await leave();
  assert.equal(await server.stop(), 0);
  server = null;
});

test("deployments and a rollback keep everyone connected", async () => {
  server = await Server.serve();
  await server.deploy();
  await enter();
  await edit("src/server.ts", GREETINGS[0], GREETINGS[2]);
  await server.deploy();
  await greeted(GREETINGS[2]);
  await say(ada, "from the second version");
  await reads(bob, "#said", "ada: from the second version");
  cleo.heard.length = 0;
  await sh(process.env.ROOM_BIN, ["rollback", "--to", server.admin], { ROOM_TOKEN: server.token });
  await greeted(GREETINGS[0]);
  await say(bob, "from the first one");
  await reads(ada, "#said", "bob: from the first one");
  await cleo.hears("the message behind the rollback", ({ text }) => text === "from the first one");
});

test("a page that does not exist is the application, and a missing file is missing", async () => {
  const page = await fetch(`${server.url}/talk/blue`, { headers: { accept: "text/html" } });
  assert.equal(page.status, 200);
  assert.match(await page.text(), /dist\/client\.js/);
  assert.equal((await fetch(`${server.url}/dist/nothing.js`)).status, 404);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
