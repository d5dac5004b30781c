// Values in the tagged binary form.
//
// Owns which objects can be copied. Objects are numbered in the order in which they are met, and a second meeting is
// written as the number, so that cycles and shared references stay. Invariant: each property is read once. It does not
// know JSON.

import * as native from "room:native";
import {
  ARRAY,
  BIGINT,
  BOXED,
  BUFFER,
  DATE,
  ERROR,
  ERROR_NAMES,
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
  VIEW_TAGS,
} from "./codec-tags.js";
import { dataCloneError, RoomError } from "./errors.js";

/** Classes whose objects cannot be copied. Those of the web are looked up by name: a heap may do without them. */
const OPAQUE = [Promise, WeakMap, WeakSet, WeakRef];
const OPAQUE_NAMES = [
  "AbortController",
  "Blob",
  "EventTarget",
  "FormData",
  "Headers",
  "ReadableStream",
  "Request",
  "Response",
  "TransformStream",
  "URL",
  "URLSearchParams",
  "WritableStream",
];
const PLAIN = /** @type {const} */ ([Date, RegExp, Map, Set, ArrayBuffer, Error, Boolean, Number, String, BigInt]);

/** Whether an object is not written by its own enumerable properties. @param {object} object */
export function isSpecial(object) {
  return ArrayBuffer.isView(object) || PLAIN.some((kind) => object instanceof kind) || isOpaque(object);
}

/** @param {object} object */
function isOpaque(object) {
  if (OPAQUE.some((kind) => object instanceof kind)) return true;
  if (typeof globalThis.SharedArrayBuffer === "function" && object instanceof SharedArrayBuffer) return true;
  return OPAQUE_NAMES.some((name) => {
    const kind = globalThis[name];
    return typeof kind === "function" && object instanceof kind;
  });
}

/** Returns the internal kind of an object, which its prototype does not decide, or "Object". @param {any} object */
function kindOf(object) {
  for (const [kind, probe] of PROBES) {
    try {
      probe.call(object);
      return kind;
    } catch {
      // It is another kind.
    }
  }
  return "Object";
}

/** @param {Function} kind @param {string} name */
const getter = (kind, name) => /** @type {any} */ (Object.getOwnPropertyDescriptor(kind.prototype, name)).get;

/** Methods that throw unless the object is of the kind, whatever its prototype is. @type {[string, Function][]} */
const PROBES = [
  ["Date", Date.prototype.getTime],
  ["Map", getter(Map, "size")],
  ["Set", getter(Set, "size")],
  ["ArrayBuffer", getter(ArrayBuffer, "byteLength")],
  ["Boolean", Boolean.prototype.valueOf],
  ["Number", Number.prototype.valueOf],
  ["String", String.prototype.valueOf],
  ["BigInt", BigInt.prototype.valueOf],
];

/** @param {unknown} value @param {number} first The first byte. @param {number} depthMax */
export function encodeBinary(value, first, depthMax) {
  const writer = new Writer(depthMax);
  writer.byte(first);
  writer.byte(VERSION);
  writer.all(value);
  return writer.bytes();
}

class Writer {
  /** @param {number} depthMax */
  constructor(depthMax) {
    this.depthMax = depthMax;
    this.buffer = new Uint8Array(256);
    this.view = new DataView(this.buffer.buffer);
    this.length = 0;
    /** @type {Map<object, number>} */
    this.seen = new Map();
    /** What is to be written, the next one last, and how deep each of it is. @type {any[]} */
    this.later = [];
    /** @type {number[]} */
    this.depths = [];
  }

  bytes() {
    return this.buffer.slice(0, this.length);
  }

  /** @param {number} more */
  room(more) {
    const needed = this.length + more;
    if (needed <= this.buffer.length) return;
    const buffer = new Uint8Array(Math.max(needed, this.buffer.length * 2));
    buffer.set(this.buffer);
    this.buffer = buffer;
    this.view = new DataView(buffer.buffer);
  }

  /** @param {number} byte */
  byte(byte) {
    this.room(1);
    this.buffer[this.length++] = byte;
  }

  /** @param {number} count Seven bits a byte, the lowest first. */
  count(count) {
    while (count > 127) {
      this.byte((count % 128) | 128);
      count = Math.floor(count / 128);
    }
    this.byte(count);
  }

  /** @param {Uint8Array} bytes */
  block(bytes) {
    this.count(bytes.length);
    this.room(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** @param {number} number */
  float(number) {
    this.room(8);
    this.view.setFloat64(this.length, number, true);
    this.length += 8;
  }

  /** @param {string} text */
  text(text) {
    if (text.isWellFormed()) {
      this.byte(TEXT);
      this.block(native.utf8Encode(text));
      return;
    }
    // UTF-8 has no lone surrogates.
    this.byte(UNITS);
    this.count(text.length);
    this.room(text.length * 2);
    for (let index = 0; index < text.length; index++) {
      this.view.setUint16(this.length, text.charCodeAt(index), true);
      this.length += 2;
    }
  }

  /**
   * Writes a value and all that is in it. No call is made for a level, as the engine's stack is small.
   * @param {unknown} root
   */
  all(root) {
    this.later = [root];
    this.depths = [0];
    while (this.later.length > 0) {
      const value = this.later.pop();
      this.value(value, /** @type {number} */ (this.depths.pop()));
    }
  }

  /** Writes these values next, in order: they are in what is being written. @param {any[]} values @param {number} depth */
  next(values, depth) {
    for (let index = values.length - 1; index >= 0; index--) {
      this.later.push(values[index]);
      this.depths.push(depth + 1);
    }
  }

  /** @param {any} value @param {number} depth */
  value(value, depth) {
    switch (typeof value) {
      case "undefined":
        return this.byte(UNDEFINED);
      case "boolean":
        return this.byte(value ? TRUE : FALSE);
      case "number":
        return this.number(value);
      case "string":
        return this.text(value);
      case "bigint":
        return this.bigint(value);
      case "object":
        if (value === null) return this.byte(NULL);
        return this.object(value, depth);
      case "symbol":
        throw dataCloneError(`${String(value)} could not be cloned.`);
      default:
        throw dataCloneError(`${String(value).slice(0, 100)} could not be cloned.`);
    }
  }

  /** @param {number} number */
  number(number) {
    if (Number.isSafeInteger(number) && !Object.is(number, -0)) {
      this.byte(INTEGER);
      this.byte(number < 0 ? 1 : 0);
      this.count(Math.abs(number));
    } else {
      this.byte(FLOAT);
      this.float(number);
    }
  }

  /** @param {bigint} number */
  bigint(number) {
    this.byte(BIGINT);
    this.block(native.utf8Encode(number.toString(16)));
  }

  /** @param {any} object @param {number} depth */
  object(object, depth) {
    const number = this.seen.get(object);
    if (number !== undefined) {
      this.byte(REFERENCE);
      this.count(number);
      return;
    }
    if (depth >= this.depthMax) {
      throw new RoomError("too-deep", `a value is nested deeper than ${this.depthMax} levels: store its parts`);
    }
    this.seen.set(object, this.seen.size);
    if (Array.isArray(object)) return this.array(object, depth);
    if (ArrayBuffer.isView(object)) return this.viewOf(object, depth);
    const kind = kindOf(object);
    if (kind !== "Object") return this.special(kind, object, depth);
    if (object instanceof RegExp) return this.regexp(object);
    if (object instanceof Error) return this.error(object, depth);
    if (isOpaque(object)) throw dataCloneError(`#<${object.constructor?.name ?? "Object"}> could not be cloned.`);
    this.byte(OBJECT);
    this.properties(object, Object.keys(object), depth);
  }

  /** @param {string} kind @param {any} object @param {number} depth */
  special(kind, object, depth) {
    switch (kind) {
      case "Date":
        this.byte(DATE);
        return this.float(Date.prototype.getTime.call(object));
      case "Map": {
        const entries = [...Map.prototype.entries.call(object)];
        this.byte(MAP);
        this.count(entries.length);
        return this.next(entries.flat(), depth);
      }
      case "Set": {
        const values = [...Set.prototype.values.call(object)];
        this.byte(SET);
        this.count(values.length);
        return this.next(values, depth);
      }
      case "ArrayBuffer":
        this.byte(BUFFER);
        return this.block(new Uint8Array(object));
      default:
        this.byte(BOXED);
        return this.next([object.valueOf()], depth);
    }
  }

  /** @param {RegExp} pattern */
  regexp(pattern) {
    this.byte(REGEXP);
    this.text(pattern.source);
    this.text(pattern.flags);
  }

  /** @param {Error} error @param {number} depth */
  error(error, depth) {
    const { stack } = /** @type {any} */ (error);
    const hasCause = Object.hasOwn(error, "cause");
    this.byte(ERROR);
    this.byte(Math.max(0, ERROR_NAMES.indexOf(String(error.name))));
    this.byte(hasCause ? 1 : 0);
    const message = Object.hasOwn(error, "message") ? String(error.message) : undefined;
    const rest = hasCause ? [error.cause] : [];
    this.next([message, typeof stack === "string" ? stack : undefined, ...rest], depth);
  }

  /** @param {ArrayBufferView} view @param {number} depth */
  viewOf(view, depth) {
    // The tag of a typed array is the name of its class, also in a subclass.
    const name = view instanceof DataView ? "DataView" : view[Symbol.toStringTag];
    this.byte(VIEW);
    this.byte(VIEW_TAGS.indexOf(name));
    this.count(view.byteOffset);
    this.count(view instanceof DataView ? view.byteLength : /** @type {any} */ (view).length);
    this.next([view.buffer], depth);
  }

  /** @param {any[]} array @param {number} depth */
  array(array, depth) {
    const names = Object.keys(array);
    const dense = names.length === array.length && names.every((name, index) => name === String(index));
    this.byte(dense ? ARRAY : SPARSE);
    this.count(array.length);
    if (dense) this.next([...array], depth);
    else this.properties(array, names, depth);
  }

  /** @param {any} object @param {string[]} names @param {number} depth */
  properties(object, names, depth) {
    const pairs = [];
    for (const name of names) {
      // A getter may have removed it.
      if (Object.hasOwn(object, name)) pairs.push(name, object[name]);
    }
    this.count(pairs.length / 2);
    this.next(pairs, depth);
  }
}
