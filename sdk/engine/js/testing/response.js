// A response of a room under test, as it grows.
//
// Owns the promises of responses. Invariant: one settles in the call that completes its response. It does not know the
// room's class.

import * as native from "room:native";
import * as tested from "room:tested";
import { bytesOf, responseOf } from "./records.js";

const MAKE = Symbol("make");

/** What waits for a response to end. Returns true when it has. @type {Set<() => boolean>} */
let waiting = new Set();

/** Something happened: responses may have ended. */
export function settle() {
  for (const check of waiting) if (check()) waiting.delete(check);
}

/** A test begins: nothing waits. */
export function reset() {
  waiting = new Set();
}

/** The response to a request of `room.begin` or `room.upload`. */
export class TestResponse {
  #room;
  #number;
  #act;
  #text = "";

  constructor(make, room, number, act) {
    if (make !== MAKE) throw new TypeError("a response is made by room.begin(path)");
    this.#room = room;
    this.#number = number;
    this.#act = act;
  }

  /** The response without its body, as soon as it has begun. */
  get head() {
    const head = tested.responseHead(this.#number) ?? null;
    return head === null ? null : responseOf({ ...head, body: new Uint8Array(0) });
  }

  get status() {
    return tested.responseHead(this.#number)?.status ?? null;
  }

  get isComplete() {
    return tested.responseEnd(this.#number) === "complete";
  }

  get isBrokenOff() {
    return tested.responseEnd(this.#number) === "broken-off";
  }

  take() {
    return tested.responseTake(this.#number);
  }

  takeText() {
    return native.utf8Decode(this.take(), false, false);
  }

  takeEvents() {
    const pieces = (this.#text + this.takeText()).split("\n\n");
    this.#text = pieces.pop() ?? "";
    return pieces.map(eventOf).filter((event) => event !== null);
  }

  /** The whole response, when it is complete. */
  whole() {
    return new Promise((resolve, reject) => {
      const check = () => {
        const end = tested.responseEnd(this.#number) ?? null;
        if (end === null) return false;
        if (end === "complete") resolve(responseOf({ ...tested.responseHead(this.#number), body: this.take() }));
        else reject(new Error("the response broke off before the room had completed it"));
        return true;
      };
      if (!check()) waiting.add(check);
    });
  }

  leave() {
    this.cut("left");
  }

  /** @param {string} end */
  cut(end) {
    this.#act(() => tested.responseCut(this.#room, this.#number, end));
  }

  /** @param {any} piece */
  sendPiece(piece) {
    this.#piece(bytesOf(piece, "a piece"), null);
  }

  /** @param {any} [piece] */
  sendLast(piece = "") {
    this.#piece(bytesOf(piece, "a piece"), "complete");
  }

  failBody(why = "aborted") {
    this.#piece(new Uint8Array(0), why);
  }

  #piece(bytes, end) {
    this.#act(() => tested.responsePiece(this.#room, this.#number, bytes, end));
  }
}

/** The event in these lines, as an `EventSource` reads it. @param {string} lines */
function eventOf(lines) {
  let type = "message";
  const data = [];
  for (const line of lines.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") type = value;
    if (field === "data") data.push(value);
  }
  return data.length === 0 ? null : { type, data: data.join("\n") };
}

export function responseFor(room, number, act) {
  return new TestResponse(MAKE, room, number, act);
}
