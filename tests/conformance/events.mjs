// Rooms by server-sent events: with the npm client, with a streamed `fetch`, and with what the guide shows.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { EventSource } from "eventsource";
import { STEP_MS, Server, within } from "../server.mjs";

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

const url = (room, query = "") => `${server.url}/parties/main/${room}?${query}`;

/** A client of the npm package, which keeps what it hears. */
class Client {
  heard = [];
  #wake = () => {};

  constructor(url) {
    this.source = new EventSource(url);
    const keep = (event) => {
      this.heard.push([event.type, event.data]);
      this.#wake();
    };
    for (const name of ["welcome", "message", "binary", "close", "error"]) {
      this.source.addEventListener(name, keep);
    }
  }

  /** The data of the first event of this kind that fits; later ones stay. */
  async next(kind, fits = () => true) {
    const found = async () => {
      for (;;) {
        const at = this.heard.findIndex(([type, data]) => type === kind && fits(data));
        if (at >= 0) return this.heard.splice(0, at + 1)[at][1];
        await new Promise((resolve) => { this.#wake = resolve; });
      }
    };
    return within(STEP_MS, kind, found(), () => JSON.stringify(this.heard));
  }
}

const post = (room, { connection, secret }, body, type = "text/plain") =>
  fetch(url(room, `_connection=${connection}`), {
    method: "POST", body, headers: { "x-room-secret": secret, "content-type": type },
  });

test("the npm client hears its room and posts to it", async () => {
  const client = new Client(url("talk", "_pk=ann&token=t"));
  const welcome = JSON.parse(await client.next("welcome"));
  assert.equal(welcome.connection, "ann");
  assert.equal(await client.next("message"), "first");
  const { id, token, user } = JSON.parse(await client.next("message"));
  assert.deepEqual({ id, token, user }, { id: "ann", token: "t", user: "t" });
  assert.equal((await post("talk", welcome, "hällo\nworld")).status, 204);
  assert.equal(await client.next("message"), "hällo\nworld");
  assert.equal((await post("talk", welcome, new Uint8Array([0, 255]), "image/png")).status, 204);
  assert.equal(await client.next("binary"), "AP8=");
  assert.equal((await post("talk", { ...welcome, secret: "0".repeat(32) }, "x")).status, 403);
  client.source.close();
});

test("a final close stops the npm client, and any other one brings it back", async () => {
  const client = new Client(url("closed", "_pk=ann"));
  let welcome = JSON.parse(await client.next("welcome"));
  await post("closed", welcome, "close 1001 soon");
  assert.deepEqual(JSON.parse(await client.next("close")), { code: 1001, reason: "soon" });
  welcome = JSON.parse(await client.next("welcome"));
  await post("closed", welcome, "close 4001 bye");
  assert.deepEqual(JSON.parse(await client.next("close")), { code: 4001, reason: "bye" });
  await within(STEP_MS, "end", (async () => {
    while (client.source.readyState !== EventSource.CLOSED) await client.next("error");
  })());
});

test("a client that the hook refuses stays away", async () => {
  const client = new Client(url("refused", "refuse=ann"));
  await client.next("error");
  assert.equal(client.source.readyState, EventSource.CLOSED);
  const accept = { accept: "text/event-stream" };
  const response = await fetch(url("refused", "refuse=ann"), { headers: accept });
  assert.deepEqual([response.status, await response.text()], [403, "not you"]);
});

test("a streamed fetch reads the same events", async () => {
  const stop = new AbortController();
  const response = await fetch(url("streamed", "_pk=bob"), {
    headers: { accept: "text/event-stream" }, signal: stop.signal,
  });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const upTo = (word) => within(STEP_MS, word, (async () => {
    while (!text.includes(word)) text += (await reader.read()).value;
  })(), () => text);
  await upTo("data: first\n\n");
  const welcome = JSON.parse(/event: welcome\ndata: (.*)/.exec(text)[1]);
  await post("streamed", welcome, "count");
  await upTo("data: count 1\n\n");
  stop.abort();
});

test("a client comes back when the server does", async () => {
  const client = new Client(url("home", "_pk=ann"));
  await client.next("welcome");
  await server.kill();
  await client.next("error");
  server = await Server.start({ port: server.port });
  const welcome = JSON.parse(await client.next("welcome"));
  assert.equal(welcome.connection, "ann");
  assert.equal((await post("home", welcome, "back")).status, 204);
  assert.equal(await client.next("message", (data) => data === "back"), "back");
  client.source.close();
});

// What `sdk/CONNECTING.md` shows, as it stands there.
const guide = await readFile(new URL("../../sdk/CONNECTING.md", import.meta.url), "utf8");
const blocks = (kind) => [...guide.matchAll(new RegExp(`\`\`\`${kind}\n([^]*?)\`\`\``, "g"))].map(([, code]) => code);
const run = promisify(execFile);

test("the guide's page talks to its room", async () => {
  const [page] = blocks("js");
  const heard = [];
  let hear;
  const said = new Promise((resolve) => { hear = resolve; });
  const show = (text) => {
    heard.push(text);
    if (text === "hello") hear();
  };
  const context = { EventSource, fetch, room: url("guide"), show };
  const code = new Function(...Object.keys(context), `${page}; return { send, events };`);
  const { send, events } = code(...Object.values(context));
  events.addEventListener("welcome", () => send("hello"));
  await within(STEP_MS, "hello", said, () => JSON.stringify(heard));
  events.close();
});

test("the guide's commands connect, post and publish", async () => {
  const at = (code) => code.trim().replaceAll("http://127.0.0.1:1999", server.url);
  const [listen, say, polled, publish, batch] = blocks("sh").map(at);
  const client = new Client(url("lobby", "_pk=ada"));
  const { secret } = JSON.parse(await client.next("welcome"));
  const shell = async (code) => (await run("sh", ["-c", code], {
    env: { ...process.env, SECRET: secret, PUBLISH_KEY: "a-key-of-the-conformance-tests" },
  })).stdout;
  assert.match(await shell(`timeout 1 ${listen} || true`), /event: welcome\ndata: .*"connection"/);
  assert.equal(await shell(say), "");
  assert.equal(await client.next("message", (data) => data === "hello"), "hello");
  const { welcome } = JSON.parse(await shell(polled.replace("/main/", "/polled/")));
  assert.deepEqual([welcome.connection, welcome.arrival], ["ada", "new"]);
  assert.match(await shell(publish), /^\{"id":"\d+-\d+"\}$/);
  assert.equal(await client.next("message", (data) => data.includes("deployed")), '{"deployed":"v7"}');
  const { results } = JSON.parse(await shell(batch));
  assert.deepEqual(results.map(({ status }) => status), [200, 404]);
  assert.equal(await client.next("message", (data) => data === "one of many"), "one of many");
  client.source.close();
});

test("the guide's client polls, comes back to a server that was away, and ends with a final close", async () => {
  const { poll } = await import(`data:text/javascript,${encodeURIComponent(blocks("js")[1])}`);
  const room = `${server.url}/parties/polled/guide`;
  const heard = [];
  let wake = () => {};
  const hear = (what) => {
    heard.push(what);
    wake();
  };
  const next = (fits) => within(STEP_MS, String(fits), (async () => {
    for (;;) {
      const at = heard.findIndex(fits);
      if (at >= 0) return heard.splice(0, at + 1)[at];
      await new Promise((resolve) => { wake = resolve; });
    }
  })(), () => JSON.stringify(heard));
  const say = ({ connection, secret }, text) => fetch(`${room}?_connection=${connection}`, {
    method: "POST", body: text, headers: { "x-room-secret": secret, "content-type": "text/plain" },
  });
  const ended = poll(room, hear);
  let { welcome } = await next(({ welcome }) => welcome);
  for (const text of ["one", "two", "three"]) {
    assert.equal((await say(welcome, text)).status, 204);
    await next((message) => message.text === text);
  }
  await server.kill();
  server = await Server.start({ port: server.port });
  const before = welcome;
  ({ welcome } = await next(({ welcome }) => welcome));
  assert.deepEqual([welcome.connection, welcome.arrival], [before.connection, "gap"]);
  assert.equal((await say(welcome, "close 4001 bye")).status, 204);
  const { closed } = await within(STEP_MS, "end", ended);
  assert.deepEqual(closed, { code: 4001, reason: "bye" });
});
