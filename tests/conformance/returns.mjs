// The subprotocol `room.ids` with the stock client: the example of `sdk/PROTOCOL.md`, whose network is cut again and again.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, test } from "node:test";
import WebSocket from "ws";
import { Server, STEP_MS, within } from "../server.mjs";
import { clients, Own, QUICK, Stock } from "./client.mjs";

const page = await readFile(new URL("../../sdk/PROTOCOL.md", import.meta.url), "utf8");
const code = page.match(/^```js\n([^]*?)^```$/m)[1];
const { returning } = await import(`data:text/javascript,${encodeURIComponent(code)}`);

const server = await Server.start();
after(() => server.stop());

/** A network on the way to the server, which can be cut. */
async function network() {
  const [host, port] = server.host.split(":");
  const sockets = new Set();
  const proxy = createServer((near) => {
    const far = connect(Number(port), host);
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  after(() => proxy.close());
  return {
    host: `127.0.0.1:${proxy.address().port}`,
    cut: () => sockets.forEach((socket) => socket.destroy()),
  };
}

/** A client of the page's example, with what it heard. */
async function visit(Client, room, options = {}) {
  const way = await network();
  const heard = [];
  let wake = () => {};
  const note = (what) => {
    heard.push(what);
    wake();
  };
  const options_ = { host: way.host, room, party: "returning", WebSocket, ...QUICK, ...options };
  const socket = returning(Client, options_, note);
  after(() => socket.close());
  const next = async () => {
    const come = async () => {
      while (heard.length === 0) await new Promise((resolve) => (wake = resolve));
      return heard.shift();
    };
    return within(STEP_MS, "message", come());
  };
  return { socket, cut: way.cut, next };
}

/** Leaves out what the room says to each visitor. */
async function welcomed(client) {
  const welcome = await client.next();
  assert.equal(await client.next(), "first");
  assert.equal(JSON.parse(await client.next()).id, welcome.connection);
  return welcome;
}

for (const [name, Client] of Object.entries({ stock: Stock, own: Own })) {
  test(`a ${name} client whose network is cut again and again hears everything once and in order`, async () => {
    const client = await visit(Client, `cut-${name}`);
    const first = await welcomed(client);
    assert.equal(first.arrival, "new");
    assert.equal(first.resume_ms, 30_000);
    const stock = clients.find((own) => own.name === "stock");
    const speaker = stock.party(server, { room: `cut-${name}`, party: "returning" });
    await speaker.welcome();
    assert.equal(await client.next(), `joined ${speaker.socket.id}`);
    const heard = [];
    const take = async () => {
      const what = await client.next();
      if (typeof what === "string") heard.push(what);
      else assert.deepEqual([what.arrival, what.secret], ["resumed", first.secret]);
    };
    let said = 0;
    for (let round = 0; round < 8; round++) {
      for (let more = 0; more < 5; more++) speaker.socket.send(`others ${said++}`);
      // Somewhere among the messages.
      if (round % 2) await take();
      client.cut();
    }
    while (heard.length < said) await take();
    assert.deepEqual(heard, Array.from({ length: said }, (_, number) => String(number)));
    // The room has noticed nothing: the next that the speaker hears is what the client says now.
    client.socket.send("others hello");
    assert.equal(await speaker.hears(), "hello");
    client.socket.send(new Uint8Array([1, 2, 3]));
    let bytes = await client.next();
    while (!(bytes instanceof ArrayBuffer)) bytes = await client.next();
    assert.deepEqual([...new Uint8Array(bytes)], [1, 2, 3]);
  });
}

test("a page that closes its socket leaves at once, and a page that comes back afterwards starts afresh", async () => {
  const client = await visit(Stock, "leaves");
  await welcomed(client);
  const [stock] = clients;
  const other = stock.party(server, { room: "leaves", party: "returning" });
  await other.welcome();
  client.socket.reconnect();
  assert.equal(await other.hears(), `left ${client.socket.id} 1000  clean`);
  let welcome = await client.next();
  while (!welcome.arrival) welcome = await client.next();
  assert.deepEqual([welcome.arrival, welcome.gap], ["gap", "unknown_connection"]);
});

test("a client without the subprotocol gets messages as they are, and may ask for what was said before", async () => {
  const [stock] = clients;
  const options = { room: "before", party: "returning" };
  const speaker = stock.party(server, options);
  await speaker.welcome();
  for (const word of ["a", "b", "c"]) speaker.socket.send(`others ${word}`);
  speaker.socket.send("version");
  assert.equal(await speaker.hears(), "one");
  const late = stock.party(server, { ...options, query: () => ({ _rewind: "2" }) });
  assert.deepEqual([await late.hears(), await late.hears(), await late.hears()], ["b", "c", "first"]);
  const fresh = stock.party(server, options);
  assert.equal(await fresh.hears(), "first");
});

test("a party that remembers nothing speaks the subprotocol without ids", async () => {
  const client = await visit(Stock, "nothing", { party: "main" });
  const welcome = await welcomed(client);
  assert.deepEqual([welcome.at, welcome.resume_ms, welcome.arrival], [null, 0, "new"]);
  client.socket.send("hello");
  assert.equal(await client.next(), "hello");
});
