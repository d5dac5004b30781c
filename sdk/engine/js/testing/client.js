// A client of a room under test.
//
// Owns what it does and what it got. Invariant: it sees only what committed turns sent. It does not know the room's class.

import * as tested from "room:tested";
import { jsonOf } from "../server/presence.js";
import { bytesOf, responseOf } from "./records.js";

const MAKE = Symbol("make");

/** A WebSocket to a room under test: `room.connect("ada")` makes one. */
export class TestClient {
  #room;
  #number;
  #act;

  constructor(make, id, room, number, act) {
    if (make !== MAKE) throw new TypeError("a client is made by room.connect(id)");
    this.id = id;
    this.#room = room;
    this.#number = number;
    this.#act = act;
  }

  /** @param {any} message */
  send(message) {
    const sent = typeof message === "string" ? message : bytesOf(message, "a message");
    this.#act(() => tested.clientSend(this.#room, this.#number, sent));
  }

  /** @param {unknown} value */
  sendJson(value) {
    this.send(JSON.stringify(value));
  }

  /** Takes what arrived since the last call, with how the room sent it. */
  deliveries() {
    return tested.clientDeliveries(this.#number).map(([message, how]) => {
      const delivery = how === "" ? {} : how === "volatile" ? { volatile: true } : { latest: how.slice("latest:".length) };
      return { message: message, delivery };
    });
  }

  received() {
    return tested.clientReceived(this.#number);
  }

  receivedJson() {
    return this.received().map((message) => {
      if (typeof message !== "string") throw new Error(`${this.id} received ${message.byteLength} bytes, and not JSON`);
      try {
        return JSON.parse(message);
      } catch {
        throw new Error(`${this.id} received ${JSON.stringify(message)}, which is not JSON`);
      }
    });
  }

  close(code = 1000, reason = "") {
    this.#act(() => tested.clientClose(this.#room, this.#number, code, reason));
  }

  lose() {
    this.#act(() => tested.clientLose(this.#room, this.#number));
  }

  /** @param {unknown} data */
  show(data) {
    tested.clientShow(this.#number, jsonOf(data));
  }

  hide() {
    tested.clientHide(this.#number);
  }

  /** @param {string} flag @param {number} milliseconds */
  flag(flag, milliseconds) {
    tested.clientFlag(this.#number, String(flag), Number(milliseconds));
  }

  closed() {
    return tested.clientClosed(this.#number) ?? null;
  }

  response() {
    const record = tested.clientResponse(this.#number);
    return record === undefined || record === null ? null : responseOf(record);
  }

  /** @param {string} name */
  headers(name) {
    return tested.clientHeader(this.#number, name);
  }
}

export function clientOf(id, room, number, act) {
  return new TestClient(MAKE, id, room, number, act);
}
