// What PartyKit's platform has beside a room, and this server has not.
//
// Owns the names and what to use instead. Invariant: who asks for one of them gets an error that says so, and never
// `undefined`. It does not know what has the names.

import { RoomError } from "./errors.js";

/** @type {Record<string, string>} */
const INSTEAD = {
  assets: "static files are served without the room: put them into the directory of the manifest",
  ai: "use fetch() with the URL of a model's server",
  vectorize: "use fetch() with the URL of a database",
  bindings: "use room.storage, or fetch() with the URL of a store",
};

/** What takes data points and keeps none, as in PartyKit's own server for development. */
export const NO_ANALYTICS = Object.freeze({ writeDataPoint() {} });

/**
 * Adds the absent names to an object. @template {object} T
 * @param {T} object @param {string} what The name under which authors know the object. @returns {T}
 */
export function withAbsent(object, what) {
  for (const [name, instead] of Object.entries(INSTEAD)) {
    const get = () => {
      throw new RoomError("absent", `${what}.${name} does not exist here: ${instead}`);
    };
    Object.defineProperty(object, name, { get, configurable: true, enumerable: false });
  }
  return object;
}
