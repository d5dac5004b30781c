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
  if (isExact(value)) {
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

/** Whether JSON holds a value exactly, but for lone surrogates. @param {any} value */
function isExact(value) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      // Neither infinite, nor NaN, nor -0.
      return value - value === 0 && (value !== 0 || 1 / value > 0);
    case "object":
      return value === null || isExactObject(value);
    default:
      return false;
  }
}

/**
 * The same for an object and all that is in it, without a call for each: this runs for every value that is stored, and
 * must not run out of stack.
 * @param {any} root
 */
function isExactObject(root) {
  // JSON cannot share objects. A set is in the order in which they were met, and grows while it is walked.
  const met = new Set([root]);
  const depths = [0];
  let at = 0;
  for (const object of met) {
    const depth = depths[at++];
    if (depth >= DEPTH_MAX) return false;
    const isArray = Array.isArray(object);
    const names = Object.keys(object);
    const { length } = names;
    // An array with holes or with further properties has another number of keys.
    if (isArray ? object.length !== length : !isPlain(object)) return false;
    for (let index = 0; index < length; index++) {
      const value = object[isArray ? index : names[index]];
      if (typeof value !== "object" || value === null) {
        if (!isExact(value)) return false;
        continue;
      }
      if (met.has(value)) return false;
      met.add(value);
      depths.push(depth + 1);
    }
  }
  return true;
}

/** Whether an object is written by its own properties. @param {any} object */
function isPlain(object) {
  const prototype = Object.getPrototypeOf(object);
  return prototype === Object.prototype || prototype === null || !(isSpecial(object) || "toJSON" in object);
}
