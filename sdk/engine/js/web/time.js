/**
 * Randomness and time outside of `crypto` and timers: `Math.random`, `performance`, `scheduler`.
 *
 * Invariant: each room has its own random numbers. While the module is evaluated there is no randomness: numbers from
 * then are the same in every room, and none of them is kept for later. It does not know dates: `date.js` does.
 */
import * as native from "room:native";
import { onAbort } from "./abort.js";
import { now } from "./date.js";
import { clearTimeout, setTimeout } from "./timers.js";

/** How many random bytes are asked for at once; one number takes 8. */
const BUFFER_BYTES = 512;
let buffer = null;
let at = 0;
let state = 0x9e3779b9;

/** A number of a fixed sequence, for libraries that want one when they are loaded. */
function fixed() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 0x100000000;
}

export function random() {
  if (buffer === null || at + 8 > BUFFER_BYTES) {
    if (native.mode() === "global") return fixed();
    const bytes = native.random(BUFFER_BYTES);
    buffer = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    at = 0;
  }
  const high = buffer.getUint32(at) >>> 5;
  const low = buffer.getUint32(at + 4) >>> 6;
  at += 8;
  return (high * 0x4000000 + low) / 0x20000000000000;
}

/** Milliseconds of the room's clock, as `Date.now()`; 0 while the module is evaluated. */
export const performance = {
  timeOrigin: 0,
  now: () => now(),
};

export const scheduler = {
  /** Returns a promise that is fulfilled when the milliseconds are over; rejected if the signal aborts before. */
  wait(milliseconds, options) {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      signal?.throwIfAborted();
      const timer = setTimeout(() => {
        off?.();
        resolve();
      }, milliseconds);
      const off = signal && onAbort(signal, (reason) => {
        clearTimeout(timer);
        reject(reason);
      });
    });
  },
};

export const navigator = { userAgent: "room" };
