// Values from the tagged binary form.
//
// Invariant: a reader consumes all bytes or throws a `RoomError`; no count that the bytes claim is trusted beyond the
// bytes that are left. It does not know who made the bytes.

import * as native from "room:native";
import {
  ARRAY,
  BIGINT,
  BOXED,
  BUFFER,
  DATE,
  ERROR,
  ERRORS,
  FALSE,
  FLOAT,
  INTEGER,
  MAP,
  NULL,
  OBJECT,
  REFERENCE,
  REGEXP,
  SET,
  SPARSE,
  TEXT,
  TRUE,
  UNDEFINED,
  UNITS,
  VERSION,
  VIEW,
  VIEWS,
} from "./codec-tags.js";
import { RoomError } from "./errors.js";

/** @param {Uint8Array} bytes @param {number} depthMax @returns {any} */
export function decodeBinary(bytes, depthMax) {
  const reader = new Reader(bytes, depthMax);
  try {
    reader.at = 1;
    const version = reader.byte();
    if (version !== VERSION) reader.fail(`their version is ${version}, and this server reads ${VERSION}`);
    const value = reader.value(0);
    if (reader.at !== bytes.length) reader.fail("bytes follow the value");
    return value;
  } catch (cause) {
    if (cause instanceof RoomError) throw cause;
    // A length, an offset or a regular expression that its class refuses.
    throw new RoomError("not-a-value", `${bytes.length} bytes are no value: ${String(cause)}`, { cause });
  }
}

class Reader {
  /** @param {Uint8Array} bytes @param {number} depthMax */
  constructor(bytes, depthMax) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.depthMax = depthMax;
    this.at = 0;
    /** @type {any[]} */
    this.seen = [];
  }

  /** @param {string} why @returns {never} */
  fail(why) {
    throw new RoomError("not-a-value", `${this.bytes.length} bytes are no value: ${why} (byte ${this.at})`);
  }

  /** @param {number} length */
  take(length) {
    if (length > this.bytes.length - this.at) this.fail("they end too early");
    this.at += length;
    return this.at - length;
  }

  byte() {
    return this.bytes[this.take(1)];
  }

  float() {
    return this.view.getFloat64(this.take(8), true);
  }

  count() {
    let count = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = this.byte();
      count += (byte & 127) * scale;
      if (byte < 128) return count <= Number.MAX_SAFE_INTEGER ? count : this.fail("a number is too large");
    }
    return this.fail("a number is too long");
  }

  /** A number of things, each of which takes at least so many bytes. @param {number} each */
  some(each) {
    const count = this.count();
    if (count * each > this.bytes.length - this.at) this.fail("they end too early");
    return count;
  }

  block() {
    const start = this.take(this.some(1));
    return this.bytes.subarray(start, this.at);
  }

  text() {
    const value = this.value(this.depthMax);
    return typeof value === "string" ? value : this.fail("a text is missing");
  }

  /** @param {number} depth @returns {any} */
  value(depth) {
    const tag = this.byte();
    switch (tag) {
      case UNDEFINED:
        return undefined;
      case NULL:
        return null;
      case TRUE:
        return true;
      case FALSE:
        return false;
      case INTEGER: {
        const negative = this.byte() === 1;
        const count = this.count();
        return negative ? -count : count;
      }
      case FLOAT:
        return this.float();
      case TEXT:
        return native.utf8Decode(this.block(), true, true);
      case UNITS:
        return this.units();
      case BIGINT:
        return this.bigint();
      case REFERENCE:
        return this.reference();
      default:
        if (depth >= this.depthMax) this.fail(`the value is nested deeper than ${this.depthMax} levels`);
        return this.object(tag, depth + 1);
    }
  }

  units() {
    const count = this.some(2);
    const start = this.take(count * 2);
    let text = "";
    for (let at = start; at < this.at; at += 2) text += String.fromCharCode(this.view.getUint16(at, true));
    return text;
  }

  bigint() {
    const text = native.utf8Decode(this.block(), true, true);
    if (!/^-?[0-9a-f]+$/.test(text)) this.fail("a bigint is invalid");
    return text.startsWith("-") ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`);
  }

  reference() {
    const number = this.count();
    if (number >= this.seen.length || this.seen[number] === undefined) this.fail("a reference leads nowhere");
    return this.seen[number];
  }

  /** @template T @param {T} object @returns {T} */
  keep(object) {
    this.seen.push(object);
    return object;
  }

  /** @param {number} tag @param {number} depth @returns {any} */
  object(tag, depth) {
    switch (tag) {
      case DATE:
        return this.keep(new Date(this.float()));
      case REGEXP:
        return this.keep(new RegExp(this.text(), this.text()));
      case MAP: {
        const map = this.keep(new Map());
        for (let left = this.some(2); left > 0; left--) map.set(this.value(depth), this.value(depth));
        return map;
      }
      case SET: {
        const set = this.keep(new Set());
        for (let left = this.some(1); left > 0; left--) set.add(this.value(depth));
        return set;
      }
      case BUFFER:
        return this.keep(this.block().slice().buffer);
      case VIEW:
        return this.viewOf(depth);
      case ERROR:
        return this.error(depth);
      case BOXED:
        return this.boxed(depth);
      case ARRAY: {
        const array = this.keep(/** @type {any[]} */ ([]));
        for (let left = this.some(1); left > 0; left--) array.push(this.value(depth));
        return array;
      }
      case SPARSE: {
        const array = this.keep(/** @type {any[]} */ ([]));
        array.length = this.count();
        return this.properties(array, depth);
      }
      case OBJECT:
        return this.properties(this.keep({}), depth);
      default:
        return this.fail(`the tag ${tag} is unknown`);
    }
  }

  /** @param {number} depth */
  viewOf(depth) {
    // The view is numbered before its buffer, which it cannot be made without.
    const number = this.seen.length;
    this.seen.push(undefined);
    const kind = /** @type {any} */ (VIEWS[this.byte()] ?? this.fail("a view's kind is unknown"));
    const offset = this.count();
    const length = this.count();
    const buffer = this.value(depth);
    if (!(buffer instanceof ArrayBuffer)) this.fail("a view has no buffer");
    this.seen[number] = new kind(buffer, offset, length);
    return this.seen[number];
  }

  /** @param {number} depth */
  boxed(depth) {
    const number = this.seen.length;
    this.seen.push(undefined);
    const value = this.value(depth);
    if (value === null || !["boolean", "number", "string", "bigint"].includes(typeof value)) {
      this.fail("a boxed value is invalid");
    }
    this.seen[number] = Object(value);
    return this.seen[number];
  }

  /** @param {number} depth */
  error(depth) {
    const kind = ERRORS[this.byte()] ?? this.fail("an error's kind is unknown");
    const error = this.keep(new kind());
    const message = this.value(depth);
    const stack = this.value(depth);
    if (typeof message === "string") define(error, "message", message, false);
    define(error, "stack", typeof stack === "string" ? stack : undefined, false);
    if (this.byte() === 1) define(error, "cause", this.value(depth), false);
    return error;
  }

  /** @param {any} object @param {number} depth */
  properties(object, depth) {
    const count = this.view.getUint32(this.take(4), true);
    // Each property has at least a text and a value.
    if (count * 3 > this.bytes.length - this.at) this.fail("they end too early");
    for (let left = count; left > 0; left--) {
      const name = this.text();
      const value = this.value(depth);
      // An array's own length cannot be redefined.
      if (name === "length" && Array.isArray(object)) this.fail("an array has two lengths");
      if (name === "__proto__") define(object, name, value, true);
      else object[name] = value;
    }
    return object;
  }
}

/** @param {object} object @param {string} name @param {unknown} value @param {boolean} enumerable */
function define(object, name, value, enumerable) {
  Object.defineProperty(object, name, { value, enumerable, configurable: true, writable: true });
}
