// Which export of the author's module is the room.
//
// Owns the choice and its errors. Invariant: it makes no instance: the heap is kept for all rooms. It does not know
// events.

import { DurableObject, WorkerEntrypoint } from "./cloudflare.js";
import { bind } from "./context.js";
import { Server } from "./partyserver.js";

/**
 * What the module exports: the room's class or object, and the worker beside it.
 * @typedef {{kind: "server" | "durable" | "partykit" | "object", it: any, worker: any}} Target
 */

/** What tells an object of handlers from a worker. `onError` does not: web frameworks have a method of this name. */
const HANDLERS = [
  "onConnect",
  "onMessage",
  "onClose",
  "onRequest",
  "onAlarm",
  "onBeforeConnect",
  "onBeforeRequest",
  "onFetch",
  "unstable_onFetch",
  "onSocket",
  "onCron",
];

/** What a module has to export. */
const HOW =
  "export the room's class: `export default class Chat extends Server {}` (PartyServer), " +
  "or `export default class Chat implements Party.Server {}` (PartyKit)";

/** @param {any} namespace @param {string} [name] @returns {Target} */
export function choose(namespace, name) {
  const exported = Object.entries(namespace).filter(([, value]) => isClass(value));
  const rooms = exported.filter(([, value]) => value.prototype instanceof DurableObject).map(([key]) => key);
  bind(rooms.filter((key) => key !== "default"));
  const fallback = namespace.default;
  const worker = isWorker(fallback) ? fallback : null;
  return { ...chosen(namespace, name, rooms, worker), worker };
}

/** @param {any} namespace @param {string | undefined} name @param {string[]} rooms @param {any} worker */
function chosen(namespace, name, rooms, worker) {
  if (name !== undefined && name !== null && name !== "default") {
    if (!(name in namespace)) {
      const there = Object.keys(namespace);
      const list = there.length === 0 ? "it exports nothing" : `it exports ${there.join(", ")}`;
      throw new TypeError(`the module does not export "${name}": ${list}`);
    }
    return kindOf(namespace[name], `the export "${name}"`);
  }
  if ("default" in namespace && !isOnlyWorker(namespace.default, worker)) {
    return kindOf(namespace.default, "the default export");
  }
  if (rooms.length === 1) return kindOf(namespace[rooms[0]], `the export "${rooms[0]}"`);
  if (rooms.length > 1) {
    throw new TypeError(`the module exports the rooms ${rooms.join(", ")}: name the one of this party in room.toml`);
  }
  throw new TypeError(`the module exports no room: ${HOW}`);
}

/** @param {any} value @param {string} what @returns {{kind: Target["kind"], it: any}} */
function kindOf(value, what) {
  if (isClass(value)) {
    if (value === Server || value === DurableObject) throw new TypeError(`${what} is the base class itself: ${HOW}`);
    if (value.prototype instanceof Server) return { kind: "server", it: value };
    if (value.prototype instanceof DurableObject) return { kind: "durable", it: value };
    if (value.prototype instanceof WorkerEntrypoint) {
      throw new TypeError(`${what} extends WorkerEntrypoint, which is not a room: ${HOW}`);
    }
    return { kind: "partykit", it: value };
  }
  if (typeof value === "function") throw new TypeError(`${what} is a function, and not a class: ${HOW}`);
  if (value !== null && typeof value === "object" && HANDLERS.some((name) => typeof value[name] === "function")) {
    return { kind: "object", it: value };
  }
  const kind = value === null ? "null" : typeof value === "object" ? "an object without handlers" : typeof value;
  throw new TypeError(`${what} is ${kind}: ${HOW}`);
}

/** @param {any} value */
function isClass(value) {
  return typeof value === "function" && typeof value.prototype === "object" && value.prototype !== null;
}

/** @param {any} value */
function isWorker(value) {
  return value !== null && typeof value === "object" && ["fetch", "scheduled"].some((name) => typeof value[name] === "function");
}

/** @param {any} value @param {any} worker */
function isOnlyWorker(value, worker) {
  return worker !== null && value === worker && !HANDLERS.some((name) => typeof value[name] === "function");
}
