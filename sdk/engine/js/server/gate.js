// The gate that holds back the events of a room.
//
// Owns who holds it closed. Invariant: while `closed()` is true no handler of an event begins. It does not know the
// events that wait; `turns.js` does.

import * as native from "room:native";
import { RoomError } from "./errors.js";

/** How long one holder may keep the gate closed. Then its promise is rejected, and the gate opens. */
const HOLD_MS_MAX = 30_000;

/** @typedef {{since: number, reject: (error: unknown) => void}} Holder */

/** @type {Set<Holder>} */
const holders = new Set();
/** The promises of those that closed it while `during` runs. @type {Promise<unknown>[] | null} */
let blocks = null;
/** Told at each change. */
let changed = () => {};

/** @param {() => void} listener */
export function onChange(listener) {
  changed = listener;
}

/** Whether events have to wait. */
export function closed() {
  return holders.size > 0;
}

/**
 * Runs a function while the gate is closed.
 * @template T @param {() => Promise<T> | T} work @returns {Promise<T>}
 */
export function block(work) {
  /** @type {Promise<T>} */
  const promise = new Promise((resolve, reject) => {
    const holder = { since: native.now(), reject };
    holders.add(holder);
    changed();
    const leave = () => {
      holders.delete(holder);
      changed();
    };
    // In this order: who waits for the result finds the gate open.
    new Promise((inner) => inner(work())).then(
      (value) => (leave(), resolve(/** @type {T} */ (value))),
      (error) => (leave(), reject(error)),
    );
  });
  blocks?.push(promise);
  return promise;
}

/** Runs a function. Returns its value, and the promises of those that closed the gate in it. @template T @param {() => T} work */
export function during(work) {
  /** @type {Promise<unknown>[]} */
  const promises = [];
  blocks = promises;
  try {
    return { value: work(), promises };
  } finally {
    blocks = null;
  }
}

/** Opens the gate if its holders took too long. */
export function expire() {
  const now = native.now();
  for (const holder of holders) {
    if (now - holder.since < HOLD_MS_MAX) continue;
    holders.delete(holder);
    holder.reject(
      new RoomError("blocked", `the room was blocked for more than ${HOLD_MS_MAX / 1000} s: its promise did not settle`),
    );
    changed();
  }
}

/** A new instance begins. */
export function reset() {
  holders.clear();
  blocks = null;
  changed();
}
