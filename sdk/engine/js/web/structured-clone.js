/**
 * `structuredClone`.
 *
 * Invariant: the copy shares nothing with the original but immutable values, keeps its cycles and its shared
 * references, and takes no stack, however deep the original is. It does not know bytes: that is `server/codec.js`.
 */
import { AbortSignal } from "./abort.js";
import { blobBytes, blobFrom, File, isBlob } from "./blob.js";
import { cloneKey, isCryptoKey } from "./crypto/key.js";
import { DOMException } from "./dom-exception.js";
import { Event, EventTarget } from "./events.js";
import { FormData } from "./form-data.js";
import { Headers } from "./headers.js";
import { Request } from "./request.js";
import { Response } from "./response.js";
import { ReadableStream } from "./streams/readable.js";
import { TransformStream } from "./streams/transform.js";
import { WritableStream } from "./streams/writable.js";
import { URL, URLSearchParams } from "./url.js";

/** Their state is private: a copy of their properties would be an empty object. */
const REFUSED = [
  AbortSignal, Event, EventTarget, FormData, Headers, Promise, ReadableStream, Request, Response, SharedArrayBuffer,
  TransformStream, URL, URLSearchParams, WeakMap, WeakRef, WeakSet, WritableStream,
];
const ERRORS = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
const BOXES = [Number, String, Boolean, BigInt];

function refuse(what) {
  return new DOMException(`structuredClone: ${what} cannot be cloned`, "DataCloneError");
}

/** Returns what the method says of a built-in object; undefined for every other. */
function ask(method, value) {
  try {
    return method.call(value);
  } catch {
    return undefined;
  }
}

const sizeOfMap = Object.getOwnPropertyDescriptor(Map.prototype, "size").get;
const sizeOfSet = Object.getOwnPropertyDescriptor(Set.prototype, "size").get;
const flagsOf = Object.getOwnPropertyDescriptor(RegExp.prototype, "flags").get;

class Cloner {
  /** @type {Map<object, object>} The copies that are there. */
  copies = new Map();
  /** @type {(() => void)[]} What is to be filled in yet. */
  work = [];

  run(value) {
    const copy = this.copy(value);
    while (this.work.length > 0) this.work.pop()();
    return copy;
  }

  copy(value) {
    if (typeof value === "function") throw refuse(`the function ${value.name || "(anonymous)"}`);
    if (typeof value === "symbol") throw refuse(`the symbol ${String(value)}`);
    if (value === null || typeof value !== "object") return value;
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    const copy = Array.isArray(value) ? this.array(value) : this.special(value) ?? this.record(value);
    this.copies.set(value, copy);
    return copy;
  }

  fill(value, copy) {
    this.work.push(() => {
      for (const key of Object.keys(value)) {
        const item = this.copy(value[key]);
        if (key !== "__proto__") copy[key] = item;
        else Object.defineProperty(copy, key, { value: item, writable: true, enumerable: true, configurable: true });
      }
    });
    return copy;
  }

  array(value) {
    const copy = [];
    copy.length = value.length;
    return this.fill(value, copy);
  }

  record(value) {
    for (const type of REFUSED) if (value instanceof type) throw refuse(`an object of the class ${type.name}`);
    const tag = Object.prototype.toString.call(value);
    if (/(Generator|Iterator)\]$/.test(tag)) throw refuse(tag);
    return this.fill(value, {});
  }

  /** Returns the copy of an object that is more than its properties; undefined if it is not. */
  special(value) {
    const proto = Object.getPrototypeOf(value);
    if (proto === Object.prototype || proto === null) return undefined;
    if (value instanceof Date) {
      const time = ask(Date.prototype.getTime, value);
      if (time !== undefined) return new Date(time);
    }
    if (value instanceof Map && ask(sizeOfMap, value) !== undefined) return this.map(value);
    if (value instanceof Set && ask(sizeOfSet, value) !== undefined) return this.set(value);
    if (value instanceof RegExp) return new RegExp(value.source, ask(flagsOf, value));
    if (value instanceof ArrayBuffer) return copyBuffer(value);
    if (ArrayBuffer.isView(value)) return this.view(value);
    if (isBlob(value)) return copyBlob(value);
    if (isCryptoKey(value)) return cloneKey(value);
    if (value instanceof Error) return this.error(value);
    for (const type of BOXES) {
      const inner = value instanceof type ? ask(type.prototype.valueOf, value) : undefined;
      if (inner !== undefined) return Object(inner);
    }
    return undefined;
  }

  map(value) {
    const copy = new Map();
    const entries = [...Map.prototype.entries.call(value)];
    this.work.push(() => {
      for (const [key, item] of entries) copy.set(this.copy(key), this.copy(item));
    });
    return copy;
  }

  set(value) {
    const copy = new Set();
    const items = [...Set.prototype.values.call(value)];
    this.work.push(() => {
      for (const item of items) copy.add(this.copy(item));
    });
    return copy;
  }

  view(value) {
    const buffer = this.copy(value.buffer);
    const type = value instanceof DataView ? DataView : VIEWS.find((it) => value instanceof it);
    return new type(buffer, value.byteOffset, value instanceof DataView ? value.byteLength : value.length);
  }

  error(value) {
    if (value instanceof DOMException) return new DOMException(value.message, value.name);
    const type = ERRORS[value.name] ?? Error;
    const made = new type();
    for (const key of ["message", "stack"]) {
      const property = Object.getOwnPropertyDescriptor(value, key);
      if (property && "value" in property) hide(made, key, `${property.value}`);
      else if (key === "stack") hide(made, key, `${value.stack}`);
    }
    if (Object.hasOwn(value, "cause")) this.work.push(() => hide(made, "cause", this.copy(value.cause)));
    return made;
  }
}

const VIEWS = [
  Uint8Array, Uint8ClampedArray, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array,
  Float64Array, BigInt64Array, BigUint64Array, ...(globalThis.Float16Array ? [globalThis.Float16Array] : []),
];

function hide(object, key, value) {
  Object.defineProperty(object, key, { value, writable: true, enumerable: false, configurable: true });
}

function copyBuffer(buffer) {
  if (buffer.detached) throw refuse("a detached ArrayBuffer");
  if (!buffer.resizable) return buffer.slice(0);
  const copy = new ArrayBuffer(buffer.byteLength, { maxByteLength: buffer.maxByteLength });
  new Uint8Array(copy).set(new Uint8Array(buffer));
  return copy;
}

function copyBlob(blob) {
  if (!(blob instanceof File)) return blobFrom(blobBytes(blob), blob.type);
  return new File([blob], blob.name, { type: blob.type, lastModified: blob.lastModified });
}

/** Returns a deep copy. Buffers in `transfer` move to it, and are empty afterwards. */
export function structuredClone(value, options) {
  if (arguments.length === 0) throw new TypeError("structuredClone: the value is missing");
  const transfer = options?.transfer === undefined ? [] : [...options.transfer];
  if (transfer.length === 0) return new Cloner().run(value);
  for (const [i, item] of transfer.entries()) {
    if (!(item instanceof ArrayBuffer)) throw refuse("a value in transfer that is no ArrayBuffer");
    if (item.detached || transfer.indexOf(item) !== i) throw refuse("a buffer that is detached, or listed twice,");
  }
  const copy = new Cloner().run(value);
  // Nothing has moved if that threw. What moves is a copy: the original only has to be empty.
  for (const buffer of transfer) buffer.transfer();
  return copy;
}
