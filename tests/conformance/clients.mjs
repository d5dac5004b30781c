// The stock client and our own side by side: the same cases for both, and then what only ours does.
//
// The other end is not a room: a server in this process that follows each case's script.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, afterEach, beforeEach, describe, test } from "node:test";
import WebSocket, { WebSocketServer } from "ws";
import { within, STEP_MS } from "../server.mjs";
import { Ear, Own, QUICK, Stock } from "./client.mjs";

/** A server that keeps who came, and echoes. */
class Peer {
  #came = [];
  #wake = () => {};

  static async start(port = 0) {
    const peer = new Peer();
    peer.server = new WebSocketServer({ port, host: "127.0.0.1" });
    await once(peer.server, "listening");
    peer.port = peer.server.address().port;
    peer.host = `127.0.0.1:${peer.port}`;
    peer.server.on("connection", (socket, request) => {
      const visit = { socket, url: request.url, heard: [], protocol: socket.protocol };
      visit.id = new URL(request.url, "http://x").searchParams.get("_pk");
      socket.on("message", (data, isBinary) => {
        visit.heard.push(isBinary ? [...data] : data.toString());
        socket.send(data, { binary: isBinary });
      });
      socket.on("error", () => {});
      peer.#came.push(visit);
      peer.#wake();
    });
    return peer;
  }

  /** The next connection. */
  async visit() {
    const come = async () => {
      while (this.#came.length === 0) await new Promise((resolve) => (this.#wake = resolve));
      return this.#came.shift();
    };
    return within(STEP_MS, "connection", come());
  }

  /** How many connections were not asked for yet. */
  get waiting() {
    return this.#came.length;
  }

  stop() {
    for (const socket of this.server.clients) socket.terminate();
    this.server.close();
  }
}

let peer;
let sockets = [];
beforeEach(async () => { peer = await Peer.start(); });
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
  peer.stop();
});

/** A socket to the peer, which tries again quickly. */
function connect(Client, options = {}) {
  const socket = new Client({ host: peer.host, room: "r", WebSocket, ...QUICK, ...options });
  sockets.push(socket);
  return socket;
}

const heard = (Client, options) => new Ear(connect(Client, options));

/** A port that takes connections and says nothing. */
async function mute() {
  const server = createServer(() => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  return `127.0.0.1:${server.address().port}`;
}

/** A port where nobody listens. */
async function deaf() {
  const server = createServer(() => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

for (const [name, Client] of [["stock", Stock], ["own", Own]]) {
  describe(name, () => {
    test("the address follows from the options", async () => {
      for (const [options, path] of [
        [{}, "/parties/main/r"],
        [{ party: "chat" }, "/parties/chat/r"],
        [{ prefix: "x/y" }, "/x/y/main/r"],
        [{ path: "a/b" }, "/parties/main/r/a/b"],
        [{ basePath: "some/where", room: undefined }, "/some/where"],
        [{ room: "a b" }, "/parties/main/a%20b"],
      ]) {
        const socket = connect(Client, options);
        const { url, id } = await peer.visit();
        assert.equal(url, `${path}?_pk=${id}`);
        assert.equal(id, socket.id);
      }
    });

    test("the properties have the requested values", () => {
      const options = { startClosed: true, party: "p", path: "a", id: "me" };
      const socket = connect(Client, { ...options, host: "http://localhost:1999/" });
      const { id, _pk, name, room, host, path, basePath, roomUrl, _pkurl } = socket;
      const url = "ws://localhost:1999/parties/p/r/a";
      assert.deepEqual({ id, _pk, name, room, host, path, basePath, roomUrl, _pkurl }, {
        id: "me", _pk: "me", name: "p", room: "r", host: "localhost:1999", path: "/a",
        basePath: undefined, roomUrl: url, _pkurl: url,
      });
    });

    test("hosts of this machine and its network are reached without TLS", () => {
      const scheme = (options) => new URL(connect(Client, { startClosed: true, ...options }).roomUrl).protocol;
      for (const [host, expected] of [
        ["localhost:1999", "ws:"],
        ["127.0.0.1:1999", "ws:"],
        ["192.168.1.2:80", "ws:"],
        ["10.0.0.1", "ws:"],
        ["172.16.0.1", "ws:"],
        ["172.31.0.1", "ws:"],
        ["172.32.0.1", "wss:"],
        ["172.15.0.1", "wss:"],
        ["chat.example.com", "wss:"],
        ["chat.example.com:1999", "wss:"],
      ]) assert.equal(scheme({ host }), expected, host);
      assert.equal(scheme({ host: "chat.example.com", protocol: "ws" }), "ws:");
      assert.equal(scheme({ host: "localhost:1", protocol: "wss" }), "wss:");
    });

    test("parameters without a value are left out, and a function is called each time", async () => {
      const query = { a: "1 2&3", none: null, gone: undefined };
      connect(Client, { id: "me", query });
      assert.equal((await peer.visit()).url, "/parties/main/r?_pk=me&a=1+2%263");
      let asked = 0;
      for (const query of [() => ({ n: `${++asked}` }), async () => ({ n: `${++asked}` })]) {
        const socket = connect(Client, { id: "me", query });
        assert.equal((await peer.visit()).url, `/parties/main/r?_pk=me&n=${asked}`);
        socket.reconnect();
        assert.equal((await peer.visit()).url, `/parties/main/r?_pk=me&n=${asked}`);
      }
      assert.equal(asked, 4);
    });

    test("subprotocols are offered, also from a function", async () => {
      for (const protocols of ["v1", ["v1", "v0"], () => "v1", async () => ["v1"]]) {
        const client = heard(Client, { protocols });
        assert.equal((await peer.visit()).protocol, "v1");
        await client.next("open");
        assert.equal(client.socket.protocol, "v1");
      }
    });

    test("options that lead to no room throw", () => {
      assert.throws(() => connect(Client, { path: "/a" }), /slash/);
      assert.throws(() => connect(Client, { room: undefined }), /room/);
      const socket = connect(Client, { room: undefined, startClosed: true });
      assert.throws(() => socket.reconnect(), /room/);
    });

    test("it can start closed, and get its address later", async () => {
      const socket = connect(Client, { room: undefined, startClosed: true, id: "me" });
      assert.equal(socket.readyState, Client.CLOSED);
      socket.updateProperties({ room: "later", query: { a: "1" }, id: "me" });
      socket.reconnect();
      const { url } = await peer.visit();
      assert.equal(url, "/parties/main/later?_pk=me&a=1");
    });

    test("handlers and listeners receive the events", async () => {
      const socket = connect(Client, { shouldReconnectOnClose: () => false });
      const log = [];
      for (const type of ["open", "message", "close"]) {
        socket[`on${type}`] = (event) => log.push(`on${type} ${event.data ?? event.code ?? ""}`.trim());
        socket.addEventListener(type, () => log.push(type));
      }
      const visit = await peer.visit();
      visit.socket.send("hi");
      visit.socket.close(4000, "bye");
      const [event] = await once(socket, "close");
      assert.deepEqual([event.code, event.reason, event.wasClean], [4000, "bye", true]);
      assert.deepEqual(log, ["onopen", "open", "onmessage hi", "message", "onclose 4000", "close"]);
    });

    test("messages sent before the open wait, and leave before the open event", async () => {
      const client = heard(Client, { maxEnqueuedMessages: 3 });
      const { socket } = client;
      assert.equal(socket.readyState, Client.CONNECTING);
      assert.equal(socket.send("one"), false);
      socket.send(new Uint8Array([1, 2]));
      socket.send("three");
      assert.equal(socket.bufferedAmount, 10);
      assert.equal(socket.send("four"), false);
      let atOpen;
      socket.addEventListener("open", () => { atOpen = socket.send("five"); });
      for (const expected of ["one", undefined, "three", "five"]) {
        const data = await client.hears();
        if (expected === undefined) assert.deepEqual([...new Uint8Array(data)], [1, 2]);
        else assert.equal(data, expected);
      }
      assert.equal(atOpen, true);
      assert.equal(socket.readyState, Client.OPEN);
      assert.deepEqual((await peer.visit()).heard, ["one", [1, 2], "three", "five"]);
    });

    test("waiting messages can be discarded", async () => {
      const client = heard(Client);
      client.socket.send("a");
      client.socket.send("b");
      assert.deepEqual(client.socket.drainQueuedMessages(), ["a", "b"]);
      assert.equal(client.socket.bufferedAmount, 0);
      await client.next("open");
      client.socket.send("c");
      assert.equal(await client.hears(), "c");
    });

    test("it reconnects with its id and its binary type", async () => {
      const client = heard(Client);
      for (const code of [1000, 1001, 1011, 1012, 1013, 3000, 4000, 4500]) {
        const visit = await peer.visit();
        await client.next("open");
        assert.equal(visit.id, client.socket.id);
        client.socket.send(new Uint8Array([7]));
        assert.ok(await client.hears() instanceof ArrayBuffer);
        visit.socket.close(code, "again");
        assert.equal((await client.next("close")).code, code);
      }
      const visit = await peer.visit();
      await client.next("open");
      visit.socket.terminate();
      assert.equal((await client.next("close")).code, 1006);
      await peer.visit();
    });

    test("a connection that lasts resets the count of retries", async () => {
      const client = heard(Client, { minUptime: 0 });
      const visit = await peer.visit();
      await client.next("open");
      visit.socket.close(4000);
      await client.next("close");
      assert.equal(client.socket.retryCount, 1);
      await client.next("open");
      // Set by a timer that is due at once, as this one is.
      await new Promise((resolve) => setTimeout(resolve, 1));
      assert.equal(client.socket.retryCount, 0);
    });

    test("it gives up after its maximum of retries", async () => {
      let tries = 0;
      const query = () => { tries += 1; return {}; };
      const client = heard(Client, { host: await deaf(), maxRetries: 2, query });
      for (let i = 0; i < 3; i++) await client.next("close");
      assert.equal(client.socket.retryCount, 2);
      // A new call starts a new count.
      client.socket.reconnect();
      for (let i = 0; i < 3; i++) await client.next("close");
      assert.equal(tries, 6);
    });

    test("a connection that does not open in time is retried", async () => {
      const client = heard(Client, { host: await mute(), connectionTimeout: 20 });
      let errors = 0;
      client.socket.addEventListener("error", ({ message }) => {
        assert.equal(message, "TIMEOUT");
        errors += 1;
      });
      for (let i = 0; i < 2; i++) assert.equal((await client.next("close")).reason, "timeout");
      assert.ok(errors >= 1);
      client.socket.updateProperties({ host: peer.host });
      await peer.visit();
      await client.next("open");
    });

    test("close dispatches its event before it returns, and is final", async () => {
      let tries = 0;
      const client = heard(Client, { query: () => { tries += 1; return {}; } });
      await client.next("open");
      const visit = await peer.visit();
      client.socket.close(4001, "enough");
      assert.equal(client.waiting("close"), 1);
      const { code, reason } = await client.next("close");
      assert.deepEqual({ code, reason }, { code: 4001, reason: "enough" });
      assert.equal(client.socket.readyState, Client.CLOSED);
      assert.equal(client.socket.shouldReconnect, false);
      const [seen] = await once(visit.socket, "close");
      assert.equal(seen, 4001);
      assert.equal(client.waiting("close"), 0, "it is heard once");
      client.socket.close();
      assert.equal(client.waiting("close"), 0);
      assert.equal(tries, 1);
    });

    test("a close before it is open leaves nothing behind", async () => {
      const host = await mute();
      const client = heard(Client, { host, connectionTimeout: 20 });
      client.socket.close();
      assert.equal(client.socket.readyState, Client.CLOSED);
      const other = heard(Client, { host, connectionTimeout: 20 });
      await other.next("close");
      assert.equal(client.waiting("open") + client.waiting("close"), 0);
    });

    test("reconnect opens a closed socket, and sends the kept messages", async () => {
      const client = heard(Client);
      const { id } = await peer.visit();
      await client.next("open");
      client.socket.close();
      assert.equal(client.socket.send("kept"), false);
      client.socket.reconnect();
      assert.equal((await peer.visit()).id, id);
      assert.equal(await client.hears(), "kept");
    });

    test("reconnect leaves an open connection for a new one", async () => {
      const client = heard(Client);
      const first = await peer.visit();
      await client.next("open");
      client.socket.reconnect(4002, "moving");
      assert.equal((await client.next("close")).code, 4002);
      const second = await peer.visit();
      await client.next("open");
      assert.equal(second.id, first.id);
      first.socket.send("from before");
      second.socket.send("from now");
      assert.equal(await client.hears(), "from now");
    });

    test("the application may declare a close final", async () => {
      const codes = [];
      const shouldReconnectOnClose = ({ code }) => { codes.push(code); return code !== 4002; };
      const client = heard(Client, { shouldReconnectOnClose });
      (await peer.visit()).socket.close(4001);
      (await peer.visit()).socket.close(4002);
      await client.next("close");
      await client.next("close");
      assert.deepEqual(codes, [4001, 4002]);
      assert.equal(client.socket.shouldReconnect, false);
      assert.equal(client.socket.readyState, Client.CLOSED);
      client.socket.reconnect();
      await peer.visit();
    });

    test("fetch asks the same address over HTTP", async () => {
      const asked = [];
      const fetch = async (url, init) => asked.push([url.replace(/\?$/, ""), init]);
      await Client.fetch({ host: "localhost:1", room: "r", fetch }, { method: "PUT" });
      await Client.fetch({ host: "a.example", party: "p", room: "r", path: "x", query: async () => ({ q: 1 }), fetch });
      assert.deepEqual(asked, [
        ["http://localhost:1/parties/main/r", { method: "PUT" }],
        ["https://a.example/parties/p/r/x?q=1", undefined],
      ]);
    });
  });
}

describe("only our own", () => {
  test("final codes keep it closed despite the application", async () => {
    for (const code of [4009, 4400, 4401, 4403, 4409, 4499]) {
      const client = heard(Own, { shouldReconnectOnClose: () => true });
      (await peer.visit()).socket.close(code, "no");
      assert.equal((await client.next("close")).code, code);
      assert.equal(client.socket.shouldReconnect, false, `${code}`);
      assert.equal(client.socket.readyState, Own.CLOSED);
      client.socket.reconnect();
      await peer.visit();
    }
    assert.equal(peer.waiting, 0);
  });

  test("a try that fails is an error, and then a close with 1006", async () => {
    const socket = connect(Own, { host: await deaf(), maxRetries: 0 });
    const log = [];
    socket.addEventListener("error", ({ message }) => log.push(message));
    const [{ code, wasClean }] = await once(socket, "close");
    assert.deepEqual([code, wasClean], [1006, false]);
    assert.equal(log.length, 1);
    assert.match(log[0], /ECONNREFUSED/);
  });

  test("a query function that fails is an error, and is called again", async () => {
    let asked = 0;
    const query = async () => {
      asked += 1;
      if (asked === 1) throw new Error("no token yet");
      return { token: "t" };
    };
    const socket = connect(Own, { id: "me", query });
    const [{ message }] = await once(socket, "error");
    assert.equal(message, "no token yet");
    assert.equal((await peer.visit()).url, "/parties/main/r?_pk=me&token=t");
  });

  test("a close with an invalid code throws and changes nothing", async () => {
    const client = heard(Own);
    await client.next("open");
    assert.throws(() => client.socket.close(1005));
    assert.throws(() => client.socket.reconnect(99));
    client.socket.send("still here");
    assert.equal(await client.hears(), "still here");
  });

  test("new properties keep the id unless they have one", async () => {
    const socket = connect(Own, { path: "a" });
    const { id } = await peer.visit();
    socket.updateProperties({ room: "other" });
    socket.reconnect();
    assert.equal((await peer.visit()).url, `/parties/main/other/a?_pk=${id}`);
    socket.updateProperties({ id: "new" });
    socket.reconnect();
    assert.equal((await peer.visit()).url, "/parties/main/other/a?_pk=new");
  });

  test("the scheme of the host decides about TLS, and names may have any character", () => {
    const address = (options) => connect(Own, { startClosed: true, ...options }).roomUrl;
    assert.equal(address({ host: "https://localhost:1/" }), "wss://localhost:1/parties/main/r");
    assert.equal(address({ host: "http://a.example" }), "ws://a.example/parties/main/r");
    assert.equal(address({ host: "[::1]:1999" }), "ws://[::1]:1999/parties/main/r");
    assert.equal(address({ host: "localhost" }), "ws://localhost/parties/main/r");
    assert.equal(address({ host: "a.example", room: "why?#1" }), "wss://a.example/parties/main/why%3F%231");
  });

  test("a listener may reconnect or close, and the latest call wins", async () => {
    const client = heard(Own);
    const first = await peer.visit();
    await client.next("open");
    client.socket.addEventListener("close", () => client.socket.reconnect(), { once: true });
    client.socket.reconnect();
    first.socket.terminate();
    await peer.visit();
    await client.next("open");
    client.socket.addEventListener("close", () => client.socket.close(), { once: true });
    client.socket.reconnect();
    assert.equal(client.socket.readyState, Own.CLOSED);
    assert.equal(client.socket.shouldReconnect, false);
  });

  test("the buffered amount counts bytes", () => {
    const socket = connect(Own, { startClosed: true });
    socket.send("ü");
    assert.equal(socket.bufferedAmount, 2);
  });
});
