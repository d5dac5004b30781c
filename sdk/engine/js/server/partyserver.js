// The module "partyserver".
//
// Owns the class `Server`, and what its users import with it. Invariant: the names and their arguments are PartyServer's;
// what this server adds is in `extras`, and in `onTimer`, `onCall` and `onExpire`. It does not know turns.

import * as native from "room:native";
import { DurableObject } from "./cloudflare.js";
import { all, broadcast, openConnection } from "./connection.js";
import { extend, extras } from "./context.js";
import { RoomError } from "./errors.js";
import { Party, stub } from "./outcalls.js";
import { noProps } from "./route.js";

export { Connection } from "./connection.js";
export { WebSocketRequestResponsePair } from "./context.js";
export { capabilitiesOf, claimsOf } from "./identity.js";
export { routePartykitRequest } from "./route.js";

/** A room. Its methods are called with its events. */
export class Server extends DurableObject {
  static options = { hibernate: false };

  /** The room's name. */
  get name() {
    return native.name();
  }

  /** The party's name. */
  get party() {
    return native.party();
  }

  /** SQL is not there: this says what to use. As any failure of SQL, it is told to `onException`. @returns {never} */
  sql() {
    const error = new RoomError("no-sql", "rooms have no SQL: keep values in this.ctx.storage (get, put, list with a prefix)");
    this.onException(error);
    throw error;
  }

  /** A room has its name from the start: nothing is to be set. @param {string} name @param {any} [props] */
  async setName(name, props) {
    if (name !== this.name) throw new RoomError("named", `this room is called "${this.name}", and cannot be named "${name}"`);
    if (props !== undefined) throw noProps("setName()", "keep it in this.ctx.storage");
  }

  /** Every request to the room comes here. Who overrides it calls `super.fetch(request)`. @param {Request} request */
  fetch(request) {
    return this.onRequest(request);
  }

  /** The room's alarm comes here. */
  alarm() {
    return this.onAlarm();
  }

  /** @param {any} message @param {string[]} [without] @param {import("./connection.js").Delivery} [delivery] */
  broadcast(message, without, delivery) {
    broadcast(message, without, delivery);
  }

  /** @param {string} id */
  getConnection(id) {
    return openConnection(id);
  }

  /** The open connections, or those with a tag, in the order in which they joined. @param {string} [tag] */
  getConnections(tag) {
    return all(tag)[Symbol.iterator]();
  }

  /** @returns {string[] | Promise<string[]>} */
  getConnectionTags(_connection, _context) {
    return [];
  }

  onStart(_props) {}

  onConnect(_connection, _context) {}

  onMessage(_connection, _message) {}

  onClose(_connection, _code, _reason, _wasClean) {}

  /** @param {unknown} error */
  onError(_connection, error) {
    native.log("warn", `a connection failed: ${String(error)}`, {});
  }

  /** @returns {Response | Promise<Response>} */
  onRequest(_request) {
    return new Response("Not implemented", { status: 404 });
  }

  onAlarm() {}

  /** Learns of a failure of `sql`, which is thrown all the same. @param {unknown} _error */
  onException(_error) {}
}

extend(Server, extras);

/**
 * Returns a stub of a room: `fetch` and the public methods of its class.
 * @param {Party | string} party What `env` has for a class, or the party's name. @param {string} name
 */
export async function getServerByName(party, name, options) {
  if (options?.props !== undefined) throw noProps("getServerByName()", "call a method of the room with them");
  if (party instanceof Party) return party.get(name);
  if (typeof party === "string") return stub(party, name);
  throw new TypeError(
    `getServerByName() takes a party, such as env.Chat if the module exports the class Chat, or "chat", and got ${typeof party}`,
  );
}
