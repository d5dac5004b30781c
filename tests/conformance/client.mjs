// Clients for the tests: the stock `partysocket` and our own under Node, with what they heard kept in order.

import Stock from "partysocket";
import WebSocket from "ws";
import Own from "../../sdk/js/client.js";
import { STEP_MS, within } from "../server.mjs";

/** Keeps the events of a socket until somebody asks for them. */
export class Ear {
  #queues = { open: [], close: [], message: [] };
  #wake = () => {};

  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    for (const [kind, queue] of Object.entries(this.#queues)) {
      socket.addEventListener(kind, (event) => {
        queue.push(event);
        this.#wake();
      });
    }
    // Without a listener, ws throws; the close that follows says the same.
    socket.addEventListener("error", () => {});
  }

  /** How many events of a kind were not asked for yet. */
  waiting(kind) {
    return this.#queues[kind].length;
  }

  /** Leaves out the events of a kind that have come so far. */
  forget(kind) {
    this.#queues[kind].length = 0;
  }

  /** The next event of a kind. */
  async next(kind) {
    const queue = this.#queues[kind];
    const come = async () => {
      while (queue.length === 0) await new Promise((resolve) => (this.#wake = resolve));
      return queue.shift();
    };
    return within(STEP_MS, kind, come());
  }

  /** What the next message says. */
  async hears() {
    return (await this.next("message")).data;
  }

  /** What the room says to a visitor: after `first`, what it knows of them. */
  async welcome() {
    const first = await this.hears();
    if (first !== "first") throw new Error(`the first message is ${first}`);
    return JSON.parse(await this.hears());
  }
}

export { Own, Stock };

/** Options of a client that tries again quickly. */
export const QUICK = { minReconnectionDelay: 50, maxReconnectionDelay: 200, minUptime: 1 };

/** The clients that every room must understand, and that must understand every room. */
export const clients = Object.entries({ stock: Stock, own: Own }).map(([name, Client]) => ({
  name,
  Client,
  /** A client of a room of the server, which tries again quickly. */
  party: (server, options) => new Ear(new Client({ host: server.host, WebSocket, ...QUICK, ...options })),
}));

/** A WebSocket without anything around it. */
export function plain(server, path) {
  return new Ear(new WebSocket(`ws://${server.host}${path}`));
}
