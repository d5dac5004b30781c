// What is done again after the host undid effects that the heap counts on: a whole turn's, or those since a savepoint.
//
// Owns that the pieces of streams are sent again, that timers ask for their ticks again, and that the promises of requests
// that the host never makes are rejected. Invariant: what the host did not undo is not done twice. It does not know what
// is undone when; its callers do.

import * as native from "room:native";
import * as fetches from "../web/pending.js";
import * as timers from "../web/timers.js";
import { forget } from "./connection.js";
import * as http from "./http.js";
import * as outcalls from "./outcalls.js";

const FAILURE = { code: "undone", message: "the request was not made: what its turn did was undone" };

/**
 * A moment of a turn: which requests waited, and how many pieces of streams were sent.
 * @typedef {{waiting: Set<string>, sent: number}} Point
 */

/** Returns this moment. @returns {Point} */
export function point() {
  return { waiting: waiting(), sent: http.position() };
}

/** @type {Set<string>} */
const NOTHING = new Set();

/** @returns {Set<string>} Not to be changed. */
function waiting() {
  const [calls, requests] = [outcalls.waitingFor(), fetches.waitingFor()];
  if (calls.length + requests.length === 0) return NOTHING;
  return new Set([...calls, ...requests.map(({ id }) => id)]);
}

/**
 * The effects since a moment were undone. Returns whether promises were rejected.
 * @param {Point | null} since Null if it was the begin of the turn, and nobody asked what waited then.
 * @param {string} [answered] The id of a request whose answer is being delivered.
 */
export function restore(since, answered) {
  forget();
  http.repeat(since?.sent ?? 0);
  timers.rearm(native.now());
  return reject(since?.waiting ?? null, answered);
}

/** @param {Set<string> | null} before @param {string} [answered] */
function reject(before, answered) {
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
