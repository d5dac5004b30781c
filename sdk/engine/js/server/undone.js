// Requests whose turn, or whose part of a turn, was undone: the host never makes them.
//
// Owns the rejection of their promises, as nothing would settle them. Invariant: a request that the host makes is never
// taken for one. It does not know what is undone when; its callers do.

import * as native from "room:native";
import * as fetches from "../web/pending.js";
import * as outcalls from "./outcalls.js";

const FAILURE = { code: "undone", message: "the request was not made: what its turn did was undone" };

/** @typedef {Set<string> | null} Waiting */

/** Returns the requests that wait for answers now. @returns {Set<string>} */
export function waiting() {
  return new Set([...outcalls.waitingFor(), ...fetches.waitingFor().map(({ id }) => id)]);
}

/**
 * Rejects the promises of the requests that were made since. Returns whether there were any.
 * @param {Waiting} before Those that waited before what was undone, or null if nobody asked then.
 * @param {string} [answered] One whose answer is being delivered.
 */
export function reject(before, answered) {
  const now = waiting();
  if (now.size === 0) return false;
  const ids = before === null ? newest(answered) : [...now].filter((id) => !before.has(id));
  for (const id of ids) outcalls.settle(id, FAILURE) || fetches.settle(id, FAILURE);
  return ids.length > 0;
}

/**
 * The requests behind the last one that the host knows. One that it has answered already, or that it keeps nowhere, is
 * not in its list: so only the newest are taken.
 * @param {string} [answered]
 */
function newest(answered) {
  const known = new Set(native.outcalls().map(({ id }) => id));
  if (answered !== undefined) known.add(answered);
  return [outcalls.waitingFor(), fetches.waitingFor().map(({ id }) => id)].flatMap((ids) =>
    ids.slice(ids.findLastIndex((id) => known.has(id)) + 1),
  );
}
