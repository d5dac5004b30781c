// Who is in the room, and what each of them shows.
//
// Owns `this.presence`. Invariant: what a handler changes takes effect with its turn, and its own reads see it. It does not
// know how clients learn of a change.

import * as native from "room:native";
import { RoomError } from "./errors.js";

/** @typedef {{user: string, data: any, connections: number, flags: string[]}} PresentUser */

/** A value as the text of JSON. @param {unknown} data @returns {string} */
export function jsonOf(data) {
  const text = JSON.stringify(data);
  if (text !== undefined) return text;
  throw new RoomError("invalid", "a user shows a value of JSON, and not undefined, a function or a symbol");
}

/** @param {PresentUser} record @returns {PresentUser} */
export function shown({ data, ...user }) {
  return { ...user, data: JSON.parse(data) };
}

/** The users of the room. */
export const presence = Object.freeze({
  /** Shows `data` of the connection's user from now on. @param {{id: string}} connection @param {unknown} data */
  set(connection, data) {
    native.setPresence(connection.id, jsonOf(data));
  },

  /** Ends the presence of the connection's user. @param {{id: string}} connection */
  clear(connection) {
    native.clearPresence(connection.id);
  },

  /** Gives the connection's user a flag that ends by itself. @param {{id: string}} connection @param {string} flag @param {number} milliseconds */
  flag(connection, flag, milliseconds) {
    native.flagPresence(connection.id, String(flag), Number(milliseconds));
  },

  /** The users that are present, by their names. @returns {PresentUser[]} */
  users() {
    return native.presentUsers().map(shown);
  },

  /** The user with this name, or null. @param {string} name @returns {PresentUser | null} */
  user(name) {
    const record = native.presentUser(String(name)) ?? null;
    return record === null ? null : shown(record);
  },
});
