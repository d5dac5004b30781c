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

/** What `begin` returns for a value that has others in it. */
const OPEN = Symbol("open");

/**
 * A value that is being read: how many values in it are left, and those that wait for another one.
 * @typedef {{tag: number, number: number, object: any, left: number, parts: any[]}} Frame
 */

/** @param {Uint8Array} bytes @param {number} depthMax @returns {any} */
export function decodeBinary(bytes, depthMax) {
  const reader = new Reader(bytes, depthMax);
  try {
    reader.at = 1;
    const version = reader.byte();
    if (version !== VERSION) reader.fail(`their version is ${version}, and this server reads ${VERSION}`);
    const value = reader.all();
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
    /** The values that are being read, the innermost last. @type {Frame[]} */
    this.frames = [];
  }

  /** @param {string} why @returns {never} */
  fail(why) {
    throw new RoomError("not-a-value", `${this.bytes.length} bytes are no value: ${why} (byte ${this.at})`);
  }

  /** Returns where so many bytes begin, and goes behind them. @param {number} length */
  skip(length) {
    if (length > this.bytes.length - this.at) this.fail("they end too early");
    this.at += length;
    return this.at - length;
  }

  byte() {
    return this.bytes[this.skip(1)];
  }

  float() {
    return this.view.getFloat64(this.skip(8), true);
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
    const start = this.skip(this.some(1));
    return this.bytes.subarray(start, this.at);
  }

  /** A text without the frame of a value. */
  text() {
    const value = this.begin();
    return typeof value === "string" ? value : this.fail("a text is missing");
  }

  /** Reads a value and all that is in it. No call is made for a level, as the engine's stack is small. @returns {any} */
  all() {
    for (;;) {
      let value = this.begin();
      while (this.frames.length > 0) {
        const frame = this.frames[this.frames.length - 1];
        if (value !== OPEN) {
          this.take(frame, value);
          frame.left -= 1;
        }
        if (frame.left > 0) break;
        value = this.end(frame);
        this.frames.pop();
      }
      if (this.frames.length === 0) return value;
    }
  }

  /** Reads a value, or the begin of one that has others in it: then it returns `OPEN`. @returns {any} */
  begin() {
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
      case DATE:
        return this.keep(new Date(this.float()));
      case REGEXP:
        return this.keep(new RegExp(this.text(), this.text()));
      case BUFFER:
        return this.keep(this.block().slice().buffer);
      default:
        return this.open(tag);
    }
  }

  units() {
    const count = this.some(2);
    const start = this.skip(count * 2);
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

  /** The begin of a value that has others in it. @param {number} tag */
  open(tag) {
    if (this.frames.length >= this.depthMax) this.fail(`the value is nested deeper than ${this.depthMax} levels`);
    /** @type {Frame} */
    const frame = { tag, number: this.seen.length, object: undefined, left: 1, parts: [] };
    switch (tag) {
      case MAP:
        frame.object = new Map();
        frame.left = 2 * this.some(2);
        break;
      case SET:
        frame.object = new Set();
        frame.left = this.some(1);
        break;
      case ARRAY:
        frame.object = [];
        frame.left = this.some(1);
        break;
      case SPARSE:
        frame.object = [];
        frame.object.length = this.count();
        frame.left = 2 * this.some(2);
        break;
      case OBJECT:
        frame.object = {};
        frame.left = 2 * this.some(2);
        break;
      case ERROR:
        frame.object = new (ERRORS[this.byte()] ?? this.fail("an error's kind is unknown"))();
        frame.left = this.byte() === 1 ? 3 : 2;
        break;
      case VIEW:
        // A view is numbered before its buffer, which it cannot be made without.
        frame.parts.push(VIEWS[this.byte()] ?? this.fail("a view's kind is unknown"), this.count(), this.count());
        break;
      case BOXED:
        break;
      default:
        this.fail(`the tag ${tag} is unknown`);
    }
    this.seen.push(frame.object);
    this.frames.push(frame);
    return OPEN;
  }

  /** A value that is in another one was read. @param {Frame} frame @param {any} value */
  take(frame, value) {
    const { tag, object, left, parts } = frame;
    if (tag === SET) object.add(value);
    else if (tag === ARRAY) object.push(value);
    else if (tag === ERROR || tag === VIEW || tag === BOXED || left % 2 === 0) parts.push(value);
    else if (tag === MAP) object.set(parts.pop(), value);
    else this.property(object, parts.pop(), value);
  }

  /** @param {any} object @param {unknown} name @param {unknown} value */
  property(object, name, value) {
    if (typeof name !== "string") return this.fail("the name of a property is missing");
    // An array's own length cannot be redefined.
    if (name === "length" && Array.isArray(object)) this.fail("an array has two lengths");
    if (name === "__proto__") define(object, name, value, true);
    else object[name] = value;
  }

  /** All that is in a value was read. @param {Frame} frame @returns {any} */
  end({ tag, number, object, parts }) {
    if (tag === ERROR) {
      const [message, stack] = parts;
      if (typeof message === "string") define(object, "message", message, false);
      define(object, "stack", typeof stack === "string" ? stack : undefined, false);
      if (parts.length === 3) define(object, "cause", parts[2], false);
      return object;
    }
    if (tag !== VIEW && tag !== BOXED) return object;
    return (this.seen[number] = tag === VIEW ? this.viewOf(parts) : this.boxed(parts[0]));
  }

  /** @param {any[]} parts */
  viewOf([kind, offset, length, buffer]) {
    if (!(buffer instanceof ArrayBuffer)) this.fail("a view has no buffer");
    return new kind(buffer, offset, length);
  }

  /** @param {any} value */
  boxed(value) {
    if (!["boolean", "number", "string", "bigint"].includes(typeof value)) this.fail("a boxed value is invalid");
    return Object(value);
  }
}

/** @param {object} object @param {string} name @param {unknown} value @param {boolean} enumerable */
function define(object, name, value, enumerable) {
  Object.defineProperty(object, name, { value, enumerable, configurable: true, writable: true });
}
