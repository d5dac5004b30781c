/**
 * What both kinds of streams are built with: a queue with sizes, a promise with its functions, a strategy's values.
 *
 * Invariant: `total` is the sum of the queued sizes. It does not know who reads or writes.
 */
import { handled } from "../webidl.js";

export class SizedQueue {
  #items = [];
  #head = 0;
  total = 0;

  get length() {
    return this.#items.length - this.#head;
  }

  push(value, size) {
    this.#items.push({ value, size });
    this.total += size;
  }

  peek() {
    return this.#items[this.#head].value;
  }

  shift() {
    const { value, size } = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) this.clear();
    else this.total = Math.max(0, this.total - size);
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    return value;
  }

  clear() {
    this.#items = [];
    this.#head = 0;
    this.total = 0;
  }
}

/** Returns a promise with its functions. Its rejection is nobody's fault: it is marked as handled. */
export function deferred() {
  const it = Promise.withResolvers();
  handled(it.promise);
  return it;
}

/** A promise that is fulfilled, and one that is rejected, in the shape of `deferred`. */
export function settled(value) {
  const it = deferred();
  it.resolve(value);
  return it;
}

export function failed(error) {
  const it = deferred();
  it.reject(error);
  return it;
}

/** Calls a method of a source or sink. Returns a promise of its result; a throw is a rejection. */
export function invoke(object, method, ...args) {
  try {
    return Promise.resolve(method.call(object, ...args));
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Returns the named method, or undefined; a value that is no function throws a TypeError. */
export function methodOf(object, name, what) {
  const method = object[name];
  if (method === undefined) return undefined;
  if (typeof method !== "function") throw new TypeError(`${what}: "${name}" must be a function`);
  return method;
}

/** Returns a dictionary argument: an object, or an empty one for undefined and null. */
export function dictionary(value, what) {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") throw new TypeError(`${what} must be an object`);
  return value;
}

/** Returns a strategy's high-water mark and size function. */
export function strategyOf(strategy, fallback) {
  const it = dictionary(strategy, "The queuing strategy");
  const mark = it.highWaterMark === undefined ? fallback : Number(it.highWaterMark);
  if (Number.isNaN(mark) || mark < 0) throw new RangeError("highWaterMark must be a number that is not negative");
  if (it.size !== undefined && typeof it.size !== "function") throw new TypeError("size must be a function");
  return { mark, size: it.size };
}

/** Returns the size of a chunk; throws a RangeError for one that is negative or not finite. */
export function sizeOf(size, chunk) {
  if (size === undefined) return 1;
  const value = Number(size(chunk));
  if (!(value >= 0 && value < Infinity)) throw new RangeError("The size of a chunk must be finite and not negative");
  return value;
}

export class CountQueuingStrategy {
  #mark;
  constructor(init) {
    if (init?.highWaterMark === undefined) throw new TypeError("CountQueuingStrategy: highWaterMark is missing");
    this.#mark = Number(init.highWaterMark);
  }
  get highWaterMark() { return this.#mark; }
  get size() { return countOne; }
}

export class ByteLengthQueuingStrategy {
  #mark;
  constructor(init) {
    if (init?.highWaterMark === undefined) throw new TypeError("ByteLengthQueuingStrategy: highWaterMark is missing");
    this.#mark = Number(init.highWaterMark);
  }
  get highWaterMark() { return this.#mark; }
  get size() { return byteLength; }
}

const countOne = { size: () => 1 }.size;
const byteLength = { size: (chunk) => chunk.byteLength }.size;
