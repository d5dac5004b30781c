// The examples of `sdk/js/CLIENT.md`, each against a real server, with the output that the page shows below it.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import WebSocket from "ws";
import { Server } from "../server.mjs";
import { home, load, root } from "./packed.mjs";
import { Queue } from "./peer.mjs";
import "./project.mjs";

const server = await Server.start({ args: ["--ephemeral"] });
after(() => server.stop());

// What a page has, and Node has not.
globalThis.location = { host: server.host, protocol: "http:" };
globalThis.WebSocket = WebSocket;

const { RoomClient } = await load("client.js");
const page = readFileSync(join(root, "CLIENT.md"), "utf8");
const examples = [...page.matchAll(/^## (.*)$|^```js\n([^]*?)^```\n\n```text\n([^]*?)^```$/gm)];

/** What each example shows, by its title. */
globalThis.shown = {};
let section;
for (const [, heading, code, output] of examples) {
  if (heading) {
    section = heading;
    continue;
  }
  const title = section;
  test(`the example of "${title}" has its output`, async () => {
    const lines = globalThis.shown[title] = new Queue("line of the example");
    const file = join(home, `example ${title}.mjs`);
    writeFileSync(file, `const show = (line) => shown[${JSON.stringify(title)}].push(String(line));\n${code}`);
    await import(pathToFileURL(file));
    for (const line of output.trim().split("\n")) assert.equal(await lines.next(), line);
  });
}

test("the page has examples, and all of them were run", () => {
  const blocks = page.match(/^```js$/gm).length;
  assert.equal(examples.filter(([, heading]) => !heading).length, blocks);
  assert.ok(blocks >= 5 && RoomClient.OPEN === 1);
});
