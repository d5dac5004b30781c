// What a room asks of the other rooms of its project.
//
// Owns the promises of those requests, and the stubs that make them. Invariant: a promise is settled once. It does not know
// requests to other servers: `web/pending.js` does.

import * as native from "room:native";
import { decode, encode } from "./codec.js";
import { RoomError } from "./errors.js";
import { Request } from "../web/request.js";
import { fromRequest, isRequest, toResponse } from "./http.js";
import { kebab } from "./names.js";
import { forwardTo } from "./route.js";

/** The first byte of a call of a method. Neither form of a value begins with it. */
const METHOD = 0xfe;
/** How many requests to rooms may wait. */
const WAITING_MAX = 10_000;

/** @typedef {{resolve: (value: any) => void, reject: (error: unknown) => void, read: (result: any) => any}} Waiting */

/** @type {Map<string, Waiting>} */
const waiting = new Map();

/** @param {string} id @param {(result: any) => any} read @returns {Promise<any>} */
function answerOf(id, read) {
  return new Promise((resolve, reject) => void waiting.set(id, { resolve, reject, read }));
}

/** @param {string} what */
function needRoom(what) {
  const mode = native.mode();
  if (mode !== "room") {
    const where =
      mode === "hook" ? "a hook belongs to no room" : mode === "test" ? "a test is not one" : "the module is still being evaluated";
    throw new RoomError("not-in-a-room", `${what} needs a room that waits for the answer, and ${where}`);
  }
  if (waiting.size >= WAITING_MAX) {
    throw new RoomError("outcalls_max", `${what}: ${WAITING_MAX} requests to rooms wait for their answers already`);
  }
}

/** Settles a promise of this module. Returns false if the id is not one of its. @param {string} id @param {any} result */
export function settle(id, result) {
  const promise = waiting.get(id);
  if (promise === undefined) return false;
  waiting.delete(id);
  if (!(result instanceof Uint8Array) && result.code !== undefined) {
    promise.reject(new RoomError(result.code, result.message));
    return true;
  }
  try {
    promise.resolve(promise.read(result));
  } catch (error) {
    promise.reject(error);
  }
  return true;
}

/** The ids of the requests whose promises wait. */
export function waitingFor() {
  return waiting.size === 0 ? [] : [...waiting.keys()];
}

/** A new instance begins. */
export function reset() {
  waiting.clear();
}

/**
 * Calls `onCall` of another room with a value. Returns what it returns, in a turn of its own.
 * @param {string} party @param {string} room @param {any} data @param {{tag?: string}} [options]
 */
export async function call(party, room, data, options) {
  needRoom("call()");
  const id = native.callRoom({ party: kebab(party), room, tag: options?.tag ?? "", data: encode(data) });
  return answerOf(id, decode);
}

/** Calls a method of another room. @param {string} party @param {string} room @param {string} method @param {any[]} args */
async function callMethod(party, room, method, args) {
  needRoom(`${method}()`);
  return answerOf(native.callRoom({ party, room, tag: method, data: encodeMethod(method, args) }), decode);
}

/** Returns the bytes of a call of a method. @param {string} method @param {any[]} args */
export function encodeMethod(method, args) {
  const value = encode([method, args]);
  const data = new Uint8Array(value.length + 1);
  data[0] = METHOD;
  data.set(value, 1);
  return data;
}

/** Returns the method and the arguments of a call, or undefined if it is a call of `onCall`. @param {Uint8Array} data */
export function methodOf(data) {
  if (data.length === 0 || data[0] !== METHOD) return undefined;
  const value = decode(data.subarray(1));
  if (!Array.isArray(value) || typeof value[0] !== "string" || !Array.isArray(value[1])) {
    throw new RoomError("not-a-value", "the call of a method is invalid");
  }
  return { method: value[0], args: value[1] };
}

/** Sends a request to another room. @param {string} party @param {string} room @param {any} input @param {any} init */
async function fetchRoom(party, room, input, init) {
  const request = requestTo(party, room, input, init);
  const forwarded = native.mode() === "hook" ? forwardTo(party, room, request) : null;
  if (forwarded !== null) return forwarded;
  needRoom("fetch() of a room");
  const { signal } = request;
  signal.throwIfAborted();
  const { method, uri: url, headers, body } = await fromRequest(request);
  const id = native.fetchRoom({ party, room, tag: "", url, method, headers, body });
  const answer = answerOf(id, toResponse);
  signal.addEventListener("abort", () => {
    const promise = waiting.get(id);
    if (promise === undefined) return;
    waiting.delete(id);
    native.cancelOutcall(id);
    promise.reject(signal.reason);
  });
  return answer;
}

/** @param {string} party @param {string} room @param {any} input @param {any} init @returns {Request} */
function requestTo(party, room, input, init) {
  if (input === undefined || (typeof input === "object" && !isRequest(input) && !(input instanceof URL))) {
    return requestTo(party, room, "/", input);
  }
  if (typeof input !== "string") return new Request(input, init);
  if (input.startsWith("/")) return new Request(`http://room/parties/${party}/${encodeURIComponent(room)}${input}`, init);
  if (!URL.canParse(input)) throw new Error("Path must start with /");
  return new Request(input, init);
}

/** Another room. Every further method is a method of the room's class, called in the room. */
class RoomStub {
  /** @param {string} party @param {string} room */
  constructor(party, room) {
    this.party = party;
    this.id = new RoomId(room);
    this.name = room;
  }

  /** Sends a request to the room's `onRequest`. @param {any} [input] A path, a URL or a Request. @param {any} [init] */
  fetch(input, init) {
    return fetchRoom(this.party, this.name, input, init);
  }

  /** Calls the room's `onCall`. @param {any} data @param {{tag?: string}} [options] */
  call(data, options) {
    return call(this.party, this.name, data, options);
  }

  socket() {
    throw new RoomError("no-socket", "a room cannot open a WebSocket to another one: use fetch() or call() of it");
  }

  connect() {
    return this.socket();
  }
}

/** The name of a room, where a Durable Object has an id. */
export class RoomId {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  toString() {
    return this.name;
  }

  toJSON() {
    return this.name;
  }

  /** @param {unknown} other */
  equals(other) {
    return String(other) === this.name;
  }
}

/** Names that a stub must not have: `await stub` would call them. */
const NO_METHODS = new Set(["then", "catch", "finally", "toJSON"]);

/** Returns a stub of a room. @param {string} party @param {unknown} room @returns {any} */
export function stub(party, room) {
  const name = room instanceof RoomId ? room.name : String(room);
  if (name === "") throw new TypeError("the name of a room must not be empty");
  return new Proxy(new RoomStub(kebab(party), name), {
    get(target, property, receiver) {
      if (typeof property !== "string" || property in target) return Reflect.get(target, property, receiver);
      if (NO_METHODS.has(property)) return undefined;
      return (/** @type {any[]} */ ...args) => callMethod(target.party, target.name, property, args);
    },
  });
}

/** A party, where PartyServer has a Durable Object's namespace. */
export class Party {
  /** @param {string} name */
  constructor(name) {
    this.party = kebab(name);
  }

  /** @param {unknown} room */
  get(room) {
    return stub(this.party, room);
  }

  /** @param {string} name */
  getByName(name) {
    return stub(this.party, name);
  }

  /** @param {string} name */
  idFromName(name) {
    return new RoomId(name);
  }

  /** @param {string} text */
  idFromString(text) {
    return new RoomId(text);
  }

  newUniqueId() {
    return new RoomId(crypto.randomUUID());
  }
}

/** The parties of the project by name. */
export const parties = new Proxy(/** @type {Record<string, Party>} */ ({}), {
  get: (_, name) => (typeof name === "string" && name !== "then" ? new Party(name) : undefined),
});

/** The names of a party's rooms that store something. @param {string} party @returns {AsyncGenerator<string>} */
export async function* rooms(party) {
  let after;
  for (;;) {
    const page = native.rooms(kebab(party), after);
    yield* page.names;
    if (!page.more || page.names.length === 0) return;
    after = page.names[page.names.length - 1];
  }
}
