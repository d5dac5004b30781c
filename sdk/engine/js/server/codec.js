// Values as bytes, for storage, the state of connections, timers and calls between rooms.
//
// Owns both forms. A value that JSON holds exactly is its JSON text, so that people and rooms in other languages can
// read it. Every other value that `structuredClone` copies is the byte 0xFF and the tagged form of `codec-write.js`.
// Invariant: `decode(encode(value))` is what `structuredClone(value)` is; bytes that `encode` did not make give a value
// or a `RoomError`, never a hang. It does not know who keeps the bytes.

import * as native from "room:native";
import { decodeBinary } from "./codec-read.js";
import { encodeBinary, isSpecial } from "./codec-write.js";
import { RoomError } from "./errors.js";

/** How deep a value may be nested. Deeper ones are refused with the code `too-deep`. */
export const DEPTH_MAX = 256;

/** The first byte of the binary form. No JSON text begins with it. */
const BINARY = 0xff;

/**
 * Returns the bytes of a value.
 * @param {unknown} value
 * @returns {Uint8Array}
 * @throws {DOMException} `DataCloneError` for functions, symbols and other values that cannot be copied.
 */
export function encode(value) {
  if (isExact(value, 0, null)) {
    const text = JSON.stringify(value);
    // JSON in UTF-8 has no lone surrogates: they would be there as escapes, which other readers refuse.
    if (!text.includes("\\ud")) return native.utf8Encode(text);
  }
  return encodeBinary(value, BINARY, DEPTH_MAX);
}

/**
 * Returns the value of bytes that `encode` made, or that are JSON.
 * @param {Uint8Array} bytes
 * @returns {any}
 */
export function decode(bytes) {
  if (bytes.length > 0 && bytes[0] === BINARY) return decodeBinary(bytes, DEPTH_MAX);
  let text;
  try {
    text = native.utf8Decode(bytes, true, true);
  } catch {
    throw new RoomError("not-a-value", `${bytes.length} bytes are no value: they are not UTF-8 text`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RoomError("not-a-value", `${bytes.length} bytes are no value: they are not JSON`, { cause });
  }
}

/**
 * Whether JSON holds a value exactly, but for lone surrogates. `seen` has the objects met so far: a second meeting is a
 * shared reference.
 * @param {any} value @param {number} depth @param {Set<object> | null} seen
 */
function isExact(value, depth, seen) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value) && (value !== 0 || 1 / value > 0);
    case "object":
      if (value === null) return true;
      break;
    default:
      return false;
  }
  // The binary form has the same bound and names it.
  if (depth >= DEPTH_MAX) return false;
  seen ??= new Set();
  if (seen.has(value)) return false;
  seen.add(value);
  if (Array.isArray(value)) return isExactArray(value, depth, seen);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && (isSpecial(value) || "toJSON" in value)) return false;
  for (const name of Object.keys(value)) if (!isExact(value[name], depth + 1, seen)) return false;
  return true;
}

/** @param {any[]} array @param {number} depth @param {Set<object>} seen */
function isExactArray(array, depth, seen) {
  const { length } = array;
  // An array with holes or with further properties has another number of keys.
  if (Object.keys(array).length !== length) return false;
  for (let index = 0; index < length; index++) if (!isExact(array[index], depth + 1, seen)) return false;
  return true;
}
