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
  if (isExact(value, 0, null)) return native.utf8Encode(JSON.stringify(value));
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
 * Whether JSON holds a value exactly. `seen` has the objects met so far: a second meeting is a shared reference.
 * @param {any} value @param {number} depth @param {Set<object> | null} seen
 */
function isExact(value, depth, seen) {
  switch (typeof value) {
    case "string":
      return value.isWellFormed();
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0);
    case "boolean":
      return true;
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
  return Array.isArray(value) ? isExactArray(value, depth, seen) : isExactObject(value, depth, seen);
}

/** @param {any[]} array @param {number} depth @param {Set<object>} seen */
function isExactArray(array, depth, seen) {
  const { length } = array;
  // An array with holes or with further properties has another number of keys.
  if (Object.keys(array).length !== length || "toJSON" in array) return false;
  for (let index = 0; index < length; index++) {
    if (!isExact(array[index], depth + 1, seen)) return false;
  }
  return true;
}

/** @param {any} object @param {number} depth @param {Set<object>} seen */
function isExactObject(object, depth, seen) {
  const prototype = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null && isSpecial(object)) return false;
  if (prototype === Object.prototype && Object.prototype.toString.call(object) !== "[object Object]") return false;
  if ("toJSON" in object) return false;
  const names = Object.keys(object);
  for (let index = 0; index < names.length; index++) {
    const name = names[index];
    if (!name.isWellFormed() || !isExact(object[name], depth + 1, seen)) return false;
  }
  return true;
}
