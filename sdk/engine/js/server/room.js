// The room that a PartyKit class gets in its constructor.
//
// Owns `Party.Room`. Invariant: its members are those of PartyKit, and `extras`. It does not know handlers.

import * as native from "room:native";
import { NO_ANALYTICS, withAbsent } from "./absent.js";
import { all, broadcast, openConnection } from "./connection.js";
import { currentEnv, extend, extras } from "./context.js";
import { parties } from "./outcalls.js";

/** What a room says about other parts of its project. */
export class RoomContext {
  get parties() {
    return parties;
  }
}

withAbsent(RoomContext.prototype, "room.context");

export class Room {
  #state;
  #internalId = "";
  context = new RoomContext();

  /** @param {import("./context.js").RoomState} state */
  constructor(state) {
    this.#state = state;
  }

  /** The room's name in the URL. */
  get id() {
    return native.name();
  }

  /** 64 hexadecimal digits that are this room's alone. */
  get internalID() {
    if (this.#internalId === "") {
      const digest = native.digest("SHA-256", native.utf8Encode(`${native.party()}/${native.name()}`));
      this.#internalId = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return this.#internalId;
  }

  /** The party's name. */
  get name() {
    return native.party();
  }

  get env() {
    return currentEnv();
  }

  get storage() {
    return this.#state.storage;
  }

  /** The parties of the project: `room.context.parties`. */
  get parties() {
    return parties;
  }

  /** The connections by id: `getConnections()`. */
  get connections() {
    return new Map(all().map((connection) => [connection.id, connection]));
  }

  get analytics() {
    return NO_ANALYTICS;
  }

  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  blockConcurrencyWhile(work) {
    return this.#state.blockConcurrencyWhile(work);
  }

  /** @param {unknown} promise */
  waitUntil(promise) {
    this.#state.waitUntil(promise);
  }

  /**
   * Sends a message to all connections but those with these ids.
   * @param {any} message @param {string[]} [without] @param {import("./connection.js").Delivery} [delivery]
   */
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
}

extend(Room, extras);
