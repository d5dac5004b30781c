// What rooms and hooks have around them: the environment, the state of a Durable Object, and what only this server adds.
//
// Owns `ctx`, `env` and the members that a PartyKit room and a PartyServer have in common. Invariant: nothing here is
// read before a room or a hook runs. It does not know which class the room is.

import * as native from "room:native";
import { decode, encode } from "./codec.js";
import { all, divide } from "./connection.js";
import { describe, RoomError } from "./errors.js";
import { ticket } from "./identity.js";
import { kebab } from "./names.js";
import { call, Party, RoomId, rooms } from "./outcalls.js";
import { presence } from "./presence.js";
import { Storage, timeOf } from "./storage.js";
import { block } from "./gate.js";

/** The parties of the project's manifest, each with the export of this module that it is, or null. @typedef {[string, string | null][]} Parties */

/** What the builder of a script says about the project's parties. */
const PARTIES = Symbol.for("room.parties");

/** The classes of the module that can be parties: the name of each export, and its party. @type {Map<string, string>} */
let bindings = new Map();
/** @type {Record<string, any> | null} */
let environment = null;

/** Names the exported classes, which `env` has as parties. @param {string[]} names */
export function bind(names) {
  bindings = new Map(names.map((name) => [name, partyOf(name)]));
  environment = null;
}

/** @returns {Parties} */
function projectParties() {
  return /** @type {any} */ (globalThis)[PARTIES] ?? [];
}

/** The party that a class is: the one of its name, or the first that the manifest has for it. @param {string} name */
function partyOf(name) {
  const own = kebab(name);
  const listed = projectParties().filter(([, known]) => known === name);
  return listed.length === 0 || listed.some(([party]) => party === own) ? own : listed[0][0];
}

/** The name of the exported class that is a party, or the party's name if no export has it. @param {string} party */
export function classOf(party) {
  for (const [name, own] of bindings) if (own === party) return name;
  return party;
}

/** The variables of the project, and its exported classes as parties. */
export function currentEnv() {
  if (environment === null) {
    const variables = native.vars();
    const named = Object.fromEntries([...bindings].map(([name, party]) => [name, new Party(party)]));
    environment = Object.assign(named, variables);
    for (const name of bindings.keys()) alias(environment, loud(kebab(name)), named[name]);
    for (const [party] of projectParties()) {
      for (const name of [loud(party), capital(party)]) alias(environment, name, new Party(party));
    }
  }
  return environment;
}

/** Adds a further name of a party, unless something has this name. @param {Record<string, any>} all @param {string} name @param {Party} party */
function alias(all, name, party) {
  if (!(name in all)) Object.defineProperty(all, name, { value: party, configurable: true });
}

/** The party chat-room as CHAT_ROOM. @param {string} party */
function loud(party) {
  return party.toUpperCase().replaceAll("-", "_");
}

/** The party chat-room as ChatRoom. @param {string} party */
function capital(party) {
  return party.replace(/(?:^|-)(.)/g, (_, letter) => letter.toUpperCase());
}

/** The environment before anything runs: it is read when it is used. */
export const env = new Proxy(/** @type {Record<string, any>} */ ({}), {
  get: (_, name) => Reflect.get(currentEnv(), name),
  has: (_, name) => Reflect.has(currentEnv(), name),
  ownKeys: () => Reflect.ownKeys(currentEnv()),
  getOwnPropertyDescriptor: (_, name) => Object.getOwnPropertyDescriptor(currentEnv(), name),
});

/** Logs the rejection of a promise that nobody waits for. @param {unknown} promise */
export function waitUntil(promise) {
  Promise.resolve(promise).catch((error) => {
    native.log("error", `a promise given to waitUntil() was rejected: ${describe(error)}`, {});
  });
}

/** What a hook gets as its last argument. */
export const hookContext = Object.freeze({ waitUntil, passThroughOnException() {}, props: Object.freeze({}) });

/** The state of a Durable Object, as far as a room has it. */
export class RoomState {
  storage = new Storage();
  props = {};
  /** What is answered without the room's handler. @type {WebSocketRequestResponsePair | null} */
  autoResponse = null;
  #id;

  get id() {
    this.#id ??= new RoomId(native.name());
    return this.#id;
  }

  /** @param {unknown} promise */
  waitUntil(promise) {
    waitUntil(promise);
  }

  /** Holds back the events of the room until a promise settles. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  blockConcurrencyWhile(work) {
    return block(work);
  }

  /** @param {string} [tag] @returns {Connection[]} */
  getWebSockets(tag) {
    return all(tag);
  }

  /** @param {Connection} connection @returns {string[]} */
  getTags(connection) {
    return [...connection.tags];
  }

  /** @param {WebSocketRequestResponsePair} [pair] */
  setWebSocketAutoResponse(pair) {
    this.autoResponse = pair ?? null;
    divide();
  }

  getWebSocketAutoResponse() {
    return this.autoResponse;
  }

  acceptWebSocket() {
    throw new RoomError("accepted", "the server accepts WebSockets itself: use onConnect(connection, context)");
  }

  /** @param {string} [reason] */
  abort(reason) {
    throw new RoomError("aborted", reason ?? "the room called ctx.abort()");
  }
}

/** A text that is answered with another one, without the room's handler. */
export class WebSocketRequestResponsePair {
  /** @param {string} request @param {string} response */
  constructor(request, response) {
    this.request = String(request);
    this.response = String(response);
  }
}

/** What rooms of both generations have besides. */
export const extras = {
  /**
   * Schedules `onTimer`. Returns the timer's id.
   * @param {number | Date | {at?: number | Date, after?: number, every?: number}} when @param {string} tag @param {any} [data]
   */
  schedule(when, tag, data) {
    const plan = typeof when === "object" && !(when instanceof Date) && when !== null ? when : { at: when };
    const first = plan.at !== undefined ? timeOf(plan.at, "schedule()") : native.now() + (plan.after ?? plan.every ?? 0);
    const every = plan.every === undefined ? {} : { every: plan.every };
    return native.schedule({ at: first, ...every, tag: String(tag), data: dataOf(data) });
  },

  /** Cancels a timer. Returns false if there is none with this id. @param {string} id @returns {boolean} */
  cancelTimer(id) {
    return native.cancelTimer(id);
  },

  /** The room's timers, the earliest first. */
  timers() {
    return native.timers().map(timerOf);
  },

  /**
   * What the room has sent to all or to a tag, the oldest first, as far as `history` of the party says.
   * @param {{limit?: number, before?: string, after?: string}} [options]
   */
  readHistory(options = {}) {
    return native.history(options);
  },

  /** Who is in the room. */
  get presence() {
    return presence;
  },

  call,
  rooms,
  ticket,
};

/** @param {any} data */
function dataOf(data) {
  return data === undefined ? new Uint8Array(0) : encode(data);
}

/** The timer of the host's record. @param {any} record */
export function timerOf(record) {
  return { ...record, data: record.data.length === 0 ? undefined : decode(record.data) };
}

/** Adds members to a class. @param {Function} kind @param {object} members */
export function extend(kind, members) {
  Object.defineProperties(
    kind.prototype,
    Object.fromEntries(
      Object.entries(Object.getOwnPropertyDescriptors(members)).map(([name, property]) => [
        name,
        { ...property, enumerable: false },
      ]),
    ),
  );
}
