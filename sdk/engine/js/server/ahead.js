// What would be made in every room, made once before the heap is frozen.
//
// Owns what a frozen heap has beyond the evaluated library. Invariant: no script sees a difference but in memory. What a
// room writes to of a frozen heap is copied for it, page by page, so what all of them would write is written here. It does
// not know when a heap is frozen.

import * as native from "room:native";
import * as fetches from "../web/pending.js";
import * as timers from "../web/timers.js";
import * as adapters from "./adapters.js";
import * as connections from "./connection.js";
import * as events from "./events.js";
import * as gate from "./gate.js";
import { Handler } from "./handler.js";
import * as handler from "./handler.js";
import * as hooks from "./hooks.js";
import * as http from "./http.js";
import * as outcalls from "./outcalls.js";
import * as presence from "./presence.js";
import * as transactions from "./transactions.js";
import * as turns from "./turns.js";
import * as undone from "./undone.js";

/** Modules whose exports are looked up by name while rooms run. */
const NAMESPACES = [
  native, fetches, timers, adapters, connections, events, gate, handler, hooks, http, outcalls, presence, transactions, turns, undone,
];

/** Objects as every room makes them: as long as one is there, the engine has their layout. @type {unknown[]} */
const samples = [];

/** Does it. */
export function prepare() {
  complete([globalThis, ...NAMESPACES]);
  samples.push(new Handler("start", "nothing"), undone.point(), gate.during(() => undefined));
  samples.push(...adapters.samples(), ...connections.samples(), ...events.samples());
}

/**
 * Has the engine make the built-in functions that it makes when somebody asks for them, and links the namespaces' exports.
 * @param {object[]} roots All that can be reached from these is asked for.
 */
function complete(roots) {
  const seen = new Set();
  const left = [...roots];
  /** @param {any} value */
  const visit = (value) => {
    if ((typeof value === "object" && value !== null) || typeof value === "function") left.push(value);
  };
  while (left.length > 0) {
    const object = /** @type {object} */ (left.pop());
    if (seen.has(object)) continue;
    seen.add(object);
    visit(Reflect.getPrototypeOf(object));
    for (const key of Reflect.ownKeys(object)) {
      const property = Reflect.getOwnPropertyDescriptor(object, key);
      visit(property?.value);
      visit(property?.get);
      visit(property?.set);
    }
  }
}
