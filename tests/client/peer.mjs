// A scripted server without rooms: it speaks `room.1`, and sends what a test asks for.

import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { STEP_MS, within } from "../server.mjs";

/** Things that come one after the other, and can be waited for. */
export class Queue {
  #items = [];
  #wake = () => {};

  constructor(what) {
    this.what = what;
  }

  push(item) {
    this.#items.push(item);
    this.#wake();
  }

  get waiting() { return this.#items.length; }

  async next() {
    const come = async () => {
      while (this.#items.length === 0) await new Promise((resolve) => (this.#wake = resolve));
      return this.#items.shift();
    };
    return within(STEP_MS, this.what, come());
  }
}

/** One socket of a client. */
class Visit {
  frames = new Queue("frame");
  ended = new Queue("end of a socket");

  constructor(socket, request) {
    this.socket = socket;
    this.query = new URL(request.url, "http://x").searchParams;
    this.url = request.url;
    this.offered = request.headers["sec-websocket-protocol"]?.split(/, */) ?? [];
    socket.on("message", (data, isBinary) => this.frames.push(isBinary ? data : JSON.parse(data)));
    socket.on("close", (code) => this.ended.push(code));
    socket.on("error", () => {});
  }

  say(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** Says that a room is joined. */
  joined(keys = {}) {
    const secret = "0".repeat(32);
    const connection = this.query.get("_pk");
    this.say({ type: "joined", channel: 0, connection, secret, resume_ms: 1, at: "1-1", arrival: "new", ...keys });
  }
}

export class Peer {
  visits = new Queue("connection");

  static async start({ protocol = "room.1" } = {}) {
    const peer = new Peer();
    // Whatever comes by HTTP is answered as by a room that has no streams.
    peer.http = createServer((_, response) => response.writeHead(404).end("nothing"));
    peer.server = new WebSocketServer({ server: peer.http, handleProtocols: () => protocol });
    peer.server.on("connection", (socket, request) => peer.visits.push(new Visit(socket, request)));
    peer.http.listen(0, "127.0.0.1");
    await once(peer.http, "listening");
    peer.host = `127.0.0.1:${peer.http.address().port}`;
    return peer;
  }

  stop() {
    for (const socket of this.server.clients) socket.terminate();
    this.http.close();
    this.http.closeAllConnections();
  }
}

/** The events of a target, from now on. */
export function events(target, type) {
  const queue = new Queue(`event ${type}`);
  target.addEventListener(type, (event) => queue.push(event));
  return queue;
}
