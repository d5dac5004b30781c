// The clients of a room as objects, one for each connection and instance.
//
// Owns the cache from id to object, and the decoded state of each. Invariant: what a connection says about itself is
// what the host would say now: `forget` is called when effects of a turn are undone. It does not know turns and
// handlers; whoever runs them calls `forget` and `settle`.

import * as native from "room:native";
import { send } from "room:native";
import { decode, encode } from "./codec.js";
import { capabilities, claims } from "./identity.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** The code that stands for a close frame without one. */
const NO_CODE = 1005;

/** @type {Map<string, Connection>} */
const cache = new Map();
/** Those whose `tags` ran and whose `connect` comes: an older one may have the same id. @type {Map<string, Connection>} */
const joining = new Map();
/** Those that this turn closed. @type {Connection[]} */
const closing = [];
/** Whether anybody has listened to a connection since the instance began. */
export let listening = false;
/** Whether messages go to the author's `onMessage` alone: nobody listens, and nothing is answered in its place. */
export let undivided = true;
/** The connection whose message came last, and its id. Most messages come from the client of the one before. */
export let latestId = "";
/** @type {Connection | undefined} */
export let latest = undefined;
/** Changes when states may have been undone. */
let generation = 0;

/** Lets the cache know what only this module may do to a connection. @type {any} */
let inner;

/** @typedef {{id: string, uri: string, tags: string[], state: Uint8Array}} ConnectionRecord */

/** A client. It has the interface of a WebSocket, and the state and tags that the room keeps with it. */
export class Connection {
  #id;
  #uri;
  #tags;
  /** @type {string | undefined} */
  #transport;
  /** The decoded state, valid for one generation. */
  #state;
  #known;
  #ready = OPEN;
  /** @type {Map<string, {listener: any, once: boolean}[]> | null} */
  #listeners = null;

  static {
    inner = {
      create: (record) => new Connection(record),
      tagged: (connection, tags) => (connection.#tags = Object.freeze([connection.#id, ...tags])),
      ready: (connection, ready) => (connection.#ready = ready),
      listeners: (connection, type) => connection.#listenersOf(type),
    };
  }

  /** @param {ConnectionRecord} record */
  constructor(record) {
    this.#id = record.id;
    this.#uri = record.uri;
    this.#tags = Object.freeze([record.id, ...record.tags]);
    this.#state = record.state;
    // The bytes are decoded when the state is asked for.
    this.#known = -1;
  }

  get id() {
    return this.#id;
  }

  /** The URL that the client connected with, query included. */
  get uri() {
    return this.#uri;
  }

  get url() {
    return this.#uri;
  }

  /** The id, and what `getConnectionTags` returned. */
  get tags() {
    return this.#tags;
  }

  /** The claims of the client's token or ticket, or null. */
  get claims() {
    return claims(native.identity(this.#id));
  }

  /** Code that keeps something under this name goes on to do so. */
  set claims(value) {
    Object.defineProperty(this, "claims", { value, writable: true, enumerable: true, configurable: true });
  }

  /** What the client may do: `read`, `write` and `presence`. */
  get capabilities() {
    return capabilities(native.identity(this.#id));
  }

  set capabilities(value) {
    Object.defineProperty(this, "capabilities", { value, writable: true, enumerable: true, configurable: true });
  }

  /** What carries its messages: `"websocket"`, or `"sse"`. */
  get transport() {
    this.#transport ??= native.transport(this.#id);
    return this.#transport ?? "websocket";
  }

  /** The room's name. */
  get server() {
    return native.name();
  }

  /** The room's name. */
  get room() {
    return native.name();
  }

  /** What `setState` stored last, or null. */
  get state() {
    if (this.#known === generation) return this.#state;
    // The record of a connection that is over is the last that is known.
    const bytes = this.#known === -1 ? this.#state : native.connection(this.#id)?.state;
    if (bytes !== undefined) this.#state = bytes.length === 0 ? null : decode(bytes);
    this.#known = generation;
    return this.#state;
  }

  /**
   * Stores a value with the connection, or what a function makes of the value before. Returns what it stored.
   * @param {any} next
   */
  setState(next) {
    const value = typeof next === "function" ? next(this.state) : next;
    native.setState(this.#id, value === null || value === undefined ? new Uint8Array(0) : encode(value));
    this.#state = value ?? null;
    this.#known = generation;
    return this.#state;
  }

  serializeAttachment(value) {
    this.setState(value ?? null);
  }

  deserializeAttachment() {
    return this.state;
  }

  /**
   * Sends text or bytes when the turn commits.
   * @param {string | ArrayBuffer | ArrayBufferView} message @param {Delivery} [delivery]
   */
  send(message, delivery) {
    if (this.#ready !== OPEN) throw new TypeError("Can't call WebSocket send after close.");
    const sent = typeof message === "string" ? message : outgoing(message);
    if (delivery === undefined) send(this.#id, sent);
    else deliver(delivery, () => send(this.#id, sent), (key) => native.sendFleeting(this.#id, sent, key));
  }

  /** Closes the connection when the turn commits. @param {number} [code] @param {string} [reason] */
  close(code, reason) {
    if (this.#ready !== OPEN) return;
    if (code === undefined && reason !== undefined) {
      throw new TypeError("If you specify a WebSocket close reason, you must also specify a code.");
    }
    native.close(this.#id, code ?? NO_CODE, String(reason ?? ""));
    this.#ready = CLOSING;
    closing.push(this);
  }

  get readyState() {
    return this.#ready;
  }

  get binaryType() {
    return "arraybuffer";
  }

  get protocol() {
    return "";
  }

  get extensions() {
    return "";
  }

  /** The connection itself, which older code asks for. */
  get socket() {
    return this;
  }

  /** Does nothing: the host accepted the connection. */
  accept() {}

  /**
   * Listens for `message`, `close` and `error`, as long as the instance is in memory.
   * @param {string} type @param {any} listener @param {boolean | {once?: boolean}} [options]
   */
  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return;
    this.#listeners ??= new Map();
    listening = true;
    undivided = false;
    const list = this.#listeners.get(type) ?? [];
    if (list.some((entry) => entry.listener === listener)) return;
    list.push({ listener, once: typeof options === "object" && options?.once === true });
    this.#listeners.set(type, list);
  }

  /** @param {string} type @param {any} listener */
  removeEventListener(type, listener) {
    const list = this.#listeners?.get(type);
    if (list === undefined) return;
    const left = list.filter((entry) => entry.listener !== listener);
    if (left.length > 0) this.#listeners?.set(type, left);
    else this.#listeners?.delete(type);
  }

  /** @param {string} type */
  #listenersOf(type) {
    const list = this.#listeners?.get(type) ?? [];
    if (list.some((entry) => entry.once)) {
      const left = list.filter((entry) => !entry.once);
      if (left.length > 0) this.#listeners?.set(type, left);
      else this.#listeners?.delete(type);
    }
    return list;
  }

  toString() {
    return `Connection(${this.#id})`;
  }

  get [Symbol.toStringTag]() {
    return "WebSocket";
  }
}

for (const target of [Connection, Connection.prototype]) {
  for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
    Object.defineProperty(target, name, { value });
    Object.defineProperty(target, `READY_STATE_${name}`, { value });
  }
}

/**
 * Returns what the host sends for a message.
 * @param {any} message @returns {string | Uint8Array}
 */
export function outgoing(message) {
  if (typeof message === "string") return message;
  if (message instanceof Uint8Array) return message;
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message)) return new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
  if (message !== null && (typeof message === "object" || typeof message === "function")) {
    throw new TypeError("a message is a string, an ArrayBuffer or a view: send an object as JSON.stringify(object)");
  }
  return String(message);
}

/** A connection as every room makes it, and the host's record of it. @returns {unknown[]} */
export function samples() {
  const record = { id: "", uri: "", tags: [], state: new Uint8Array(0) };
  return [record, inner.create(record)];
}

/** The connection with this id, or undefined. It is one object as long as the instance lives. @param {string} id */
export function connectionOf(id) {
  let known = cache.get(id);
  if (known === undefined) {
    const record = native.connection(id);
    if (record === null || record === undefined) return undefined;
    known = adopt(record);
  }
  latestId = id;
  latest = known;
  return known;
}

/** Sets what the cache has for an id. @param {string} id @param {Connection} connection */
function remember(id, connection) {
  cache.set(id, connection);
  forgetLatest();
}

function forgetLatest() {
  latestId = "";
  latest = undefined;
}

/** Something is answered in place of the author's handler from now on. */
export function divide() {
  undivided = false;
}

/** The open connection with this id, or undefined. @param {string} id */
export function openConnection(id) {
  const connection = connectionOf(id);
  return connection !== undefined && connection.readyState === OPEN ? connection : undefined;
}

/** The connection of a record that the host gave. @param {ConnectionRecord} record @returns {Connection} */
export function adopt(record) {
  const known = cache.get(record.id);
  if (known !== undefined) return known;
  const connection = inner.create(record);
  remember(record.id, connection);
  return connection;
}

/** The object of a connection that is about to open. @param {ConnectionRecord} record @returns {Connection} */
export function prepare(record) {
  joining.clear();
  const connection = inner.create(record);
  joining.set(record.id, connection);
  return connection;
}

/** The object of a connection that opens now. @param {ConnectionRecord} record @returns {Connection} */
export function join(record) {
  const connection = joining.get(record.id) ?? inner.create(record);
  joining.delete(record.id);
  inner.tagged(connection, record.tags);
  remember(record.id, connection);
  return connection;
}

/** The object of a connection that ended. @param {ConnectionRecord} record @returns {Connection} */
export function part(record) {
  const connection = adopt(record);
  cache.delete(record.id);
  forgetLatest();
  inner.ready(connection, CLOSED);
  return connection;
}

/** The open connections, or those with a tag, in the order in which they joined. @param {string} [tag] */
export function all(tag) {
  const ids = native.connectionIds(tag);
  // The id is a connection's first tag, and the host does not count it among them.
  if (tag !== undefined && !ids.includes(tag) && native.connection(tag)) ids.unshift(tag);
  const missing = ids.reduce((count, id) => (cache.has(id) ? count : count + 1), 0);
  if (missing > 4) for (const record of native.connections(tag)) adopt(record);
  const found = [];
  for (const id of ids) {
    const connection = openConnection(id);
    if (connection !== undefined) found.push(connection);
  }
  return found;
}

/**
 * Sends a message to all connections but those with these ids.
 * @param {any} message @param {string[]} [without] @param {Delivery} [delivery]
 */
export function broadcast(message, without, delivery) {
  const sent = outgoing(message);
  const all = () => native.broadcast(sent, undefined, without ?? []);
  if (delivery === undefined) all();
  else deliver(delivery, all, (key) => native.broadcastFleeting(sent, without ?? [], key));
}

/**
 * Sends in the way that a delivery asks for: `{ volatile: true }`, or `{ latest: "key" }`.
 * @param {Delivery} delivery @param {() => void} reliable @param {(key?: string) => void} fleeting
 */
function deliver(delivery, reliable, fleeting) {
  if (delivery === null || typeof delivery !== "object") {
    throw new TypeError("a delivery is an object: { volatile: true }, or { latest: \"key\" }");
  }
  const { volatile, latest } = delivery;
  if (volatile && latest !== undefined) throw new TypeError("a message is volatile or the latest of its key, not both");
  if (latest !== undefined && typeof latest !== "string") throw new TypeError("the key of `latest` is a string");
  if (latest !== undefined) fleeting(latest);
  else if (volatile) fleeting();
  else reliable();
}

/** @typedef {{volatile?: boolean, latest?: string}} Delivery */

/** The effects of a turn, or of a part of it, were undone. */
export function forget() {
  generation += 1;
  for (const connection of closing) if (connection.readyState === CLOSING) inner.ready(connection, OPEN);
  closing.length = 0;
}

/** The effects of a turn took place. */
export function settle() {
  closing.length = 0;
}

/** A new instance of the room begins: it gets objects of its own. */
export function reset() {
  cache.clear();
  forgetLatest();
  joining.clear();
  closing.length = 0;
  listening = false;
  undivided = true;
  generation += 1;
}

/**
 * Calls the listeners of a connection.
 * @param {Connection} connection @param {"message" | "close" | "error"} type @param {object} init
 */
export function dispatch(connection, type, init) {
  const list = inner.listeners(connection, type);
  if (list.length === 0) return;
  const event = eventOf(connection, type, init);
  for (const { listener } of list) {
    if (typeof listener === "function") listener.call(connection, event);
    else listener.handleEvent(event);
  }
}

/** @param {Connection} connection @param {string} type @param {any} init */
function eventOf(connection, type, init) {
  const kind = type === "message" ? globalThis.MessageEvent : type === "close" ? globalThis.CloseEvent : undefined;
  const event = typeof kind === "function" ? new kind(type, init) : Object.assign(new Event(type), init);
  Object.defineProperty(event, "target", { value: connection });
  Object.defineProperty(event, "currentTarget", { value: connection });
  return event;
}
