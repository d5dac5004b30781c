// What a script does wrong on a server: each fault has a name, costs at most its own turn, and the room goes on.

import assert from "node:assert/strict";
import { readFile, rename, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { BUILD_MS, project, Server } from "../server.mjs";
import { plain } from "./client.mjs";

const FILE = resolve(project, "src/server.ts");

let server;
let source;
/** Who is there all the time, and what they hear of a message that is no fault. */
let witness;
before(async () => {
  source = await readFile(FILE, "utf8");
  server = await Server.start({ args: ["--ephemeral"] });
  witness = await join("witness");
  await lives(witness);
});
after(() => server.stop());

/** The place of a line of the room's file. */
function place(text, of = source) {
  const index = of.split("\n").findIndex((line) => line.includes(text));
  assert.notEqual(index, -1, `${text} is not in the file`);
  return `src/server.ts:${index + 1}:`;
}

/** A client of a room, who is there. */
async function join(room) {
  const client = plain(server, `/parties/main/${room}`);
  await client.next("open");
  return client;
}

/** Waits until the room answers a message that is no fault. */
async function lives(client) {
  client.socket.send("hello");
  for (;;) if ((await client.hears()) === "hello: no mark, no mark") return;
}

/** Commits a fault in a room of its own. The log has all of these texts, on this line and the next ones. */
async function commit(fault, ...texts) {
  const client = await join(fault);
  client.socket.send(fault);
  const [first, ...more] = texts;
  const line = await server.line(new RegExp(`ERROR main/${fault} .*${escaped(first)}`));
  for (const text of more) if (!line.includes(text)) await server.line(new RegExp(escaped(text)));
  await lives(client);
  await lives(witness);
  client.socket.close();
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Saves a file in one step. */
async function save(text) {
  const aside = resolve(project, "a-file-being-written");
  await writeFile(aside, text);
  await rename(aside, FILE);
}

/** Saves a room with a mistake. The terminal has all of these texts in order, and what runs goes on. */
async function refused(text, ...patterns) {
  await save(text);
  for (const pattern of patterns) await server.line(pattern, BUILD_MS);
  await server.line(/the last good code keeps serving/, BUILD_MS);
  await lives(witness);
}

test("an endless loop ends after its time, in a handler, in promises and in a pattern", async () => {
  for (const fault of ["loop", "jobs", "pattern"]) await commit(fault, "the callback computed for more than 1000 ms");
});

test("a chain of promises without an end runs out of time or memory", async () => {
  const client = await join("chain");
  client.socket.send("chain");
  await server.line(/ERROR main\/chain .*(computed for more than 1000 ms|out of memory)/);
  await lives(client);
  client.socket.close();
});

test("what needs too much memory is an error with its place", async () => {
  await commit("array", "InternalError: out of memory", place("the array that grows"));
  await commit("text", "InternalError: ", place("the text that grows"));
  await commit("repeated", "RangeError", place("the text that is too long"));
  await commit("buffer", "out of memory", place("the buffer that is too large"));
  await commit("sent", "memory");
});

test("a recursion without an end is a RangeError with its place", async () => {
  await commit("deep", "RangeError: Maximum call stack size exceeded", place("the call without an end"));
  await commit("nested", "RangeError: Maximum call stack size exceeded", place("the brackets of a client"));
});

test("what is too deep or too large can be caught, and costs the room nothing", async () => {
  const client = await join("caught");
  client.socket.send("caught");
  const heard = [];
  for (let at = 0; at < 4; at++) heard.push(await client.hears());
  assert.deepEqual(heard.slice(0, 3), ["caught deep: RangeError", "caught nested: RangeError", "caught repeated: RangeError"]);
  assert.match(heard[3], /^caught buffer: /);
  await lives(client);
  client.socket.close();
});

test("JSON with thousands of brackets, or a million values, is read and written", async () => {
  for (const fault of ["unread", "bomb"]) {
    const client = await join(fault);
    client.socket.send(fault);
    assert.equal(await client.hears(), `${fault}: no mark, no mark`);
    client.socket.close();
  }
});

test("a rejection that nobody handles, and a timer that throws, are errors with their place", async () => {
  await commit("rejection", "Error: nobody handles it", place("the loose rejection"));
  const client = await join("late");
  client.socket.send("late");
  await server.line(/ERROR main\/late .*in a timer/);
  await server.line(new RegExp(escaped(place("the timer that throws"))));
  await lives(client);
  client.socket.close();
});

test("whatever is thrown is named, and what cannot be read breaks nothing", async () => {
  await commit("null", "the script threw null, which is not an Error");
  await commit("proxy", "the script threw an object that cannot be read, which is not an Error");
  await commit("getter", "TypeError: its message cannot be read");
});

test("an import at runtime says what a room can import", async () => {
  await commit("network", 'cannot import "https://example.com/x.js": a room loads no code from the network');
  await commit("missing", 'cannot import "./nothing.js": it is not part of the bundle');
});

test("marks that a room or a hook leaves in its globals are not seen by another room", async () => {
  const client = await join("pollute");
  client.socket.send("hello");
  assert.equal(await client.hears(), "hello: no mark, no mark", "a hook ran before, and left its mark in its own heap");
  client.socket.send("pollute");
  assert.equal(await client.hears(), "pollute: a room's, a room's");
  await lives(witness);
  const other = await join("beside");
  await lives(other);
  for (const socket of [client, other]) socket.socket.close();
});

test("a hook that never ends, or recurses without an end, lets nobody in and breaks nothing", async () => {
  const looping = plain(server, "/parties/main/witness?hook=loop");
  const { code, reason } = await looping.next("close");
  assert.ok(code >= 1011 && reason !== "", `${code} ${reason}`);
  const deep = await plain(server, "/parties/main/witness?hook=deep").next("close");
  assert.deepEqual([deep.code, deep.reason], [4401, "Maximum call stack size exceeded"]);
  await lives(witness);
});

test("a promise that never settles does not hold up its room, also across a reload", async () => {
  const client = await join("never");
  client.socket.send("never");
  await lives(client);
  await save(`${source}\nexport const SAVED = "again";\n`);
  await server.line(/reloaded in .* sockets? kept/, BUILD_MS);
  await lives(client);
  client.socket.close();
});

test("mistakes of the syntax and of imports have their place", async () => {
  const broken = `${source}\nlet a = ;\n`;
  await refused(broken, new RegExp(escaped(place("let a = ;", broken))));
  const missing = `${source}\nimport "left-pad";\n`;
  await refused(missing, /Could not resolve "left-pad"/, new RegExp(escaped(place('"left-pad"', missing))));
});

test("a top level that throws, or rejects, or exports no room, is refused with its reason", async () => {
  const throwing = `${source}\nthrow new Error("at the top");\n`;
  await refused(throwing, /error: Error: at the top/, new RegExp(escaped(place("at the top", throwing))));
  await refused(`${source}\nthrow null;\n`, /error: the script threw null, which is not an Error/);
  const rejecting = `${source}\nvoid Promise.reject(new Error("loose at the top"));\n`;
  await refused(rejecting, /error: Error: loose at the top/, new RegExp(escaped(place("loose at", rejecting))));
  await refused("export const room = 1;\n", /error: TypeError: the module exports no room/);
});

test("a top level that does not end is refused with its reason", async () => {
  await refused(`${source}\nfor (;;);\n`, /error: the top level of the script ran for longer than 10 s/);
  await refused(`${source}\nvoid (async () => { for (;;) await null; })();\n`, /ran for longer than 10 s/);
  await refused(`${source}\nawait new Promise(() => {});\n`, /error: the script's top level awaits something that does not settle/);
});

test("a top level that needs too much is refused with its reason", async () => {
  const growing = `${source}\nconst every: unknown[] = [];\nfor (;;) every.push(new Array(10_000).fill(1)); // grows\n`;
  await refused(growing, /error: InternalError: out of memory/, new RegExp(escaped(place("// grows", growing))));
  const deep = `${source}\nconst sink = (): number => sink() + 1; // sinks\nsink();\n`;
  await refused(deep, /error: RangeError: Maximum call stack size exceeded/, new RegExp(escaped(place("// sinks", deep))));
  await refused(`${source}\nexport const DATA = "${"x".repeat(20 << 20)}";\n`, /the bundle of .* has \d+ bytes, and may have 16777216/);
});

test("a large constant is no fault", async () => {
  await save(`${source}\nexport const DATA = "${"x".repeat(8 << 20)}";\n`);
  await server.line(/reloaded in .* sockets? kept/, BUILD_MS);
  await lives(witness);
});
