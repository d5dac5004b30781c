/**
 * `AbortController` and `AbortSignal`.
 *
 * Invariant: a signal aborts once, first for its algorithms, then for its listeners, then for the signals made of it.
 * The time of `AbortSignal.timeout` is looked at when somebody asks; a timer runs only for a signal that has listeners,
 * and only in a room. It does not know what is given up.
 */
import * as native from "room:native";
import { DOMException } from "./dom-exception.js";
import { Event, EventTarget, handlerAttribute } from "./events.js";
import { setTimeout } from "./timers.js";
import { expose } from "./webidl.js";

const MAKE = Symbol("make");
let inside;

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  /** @type {Set<Function>} */
  #algorithms = new Set();
  /** @type {AbortSignal[]} Signals made of this one. */
  #dependents = [];
  /** @type {AbortSignal[]} Signals that this one is made of. */
  #sources = [];
  #deadline = Infinity;
  #armed = false;

  constructor(token) {
    if (token !== MAKE) throw new TypeError("Illegal constructor: use AbortController, AbortSignal.timeout or .abort");
    super();
  }

  get aborted() {
    this.#look();
    return this.#aborted;
  }

  get reason() {
    this.#look();
    return this.#reason;
  }

  throwIfAborted() {
    if (this.aborted) throw this.#reason;
  }

  addEventListener(type, callback, options) {
    super.addEventListener(type, callback, options);
    if (`${type}` === "abort") this.#arm();
  }

  static abort(reason) {
    const signal = new AbortSignal(MAKE);
    signal.#aborted = true;
    signal.#reason = reason === undefined ? aborted() : reason;
    return signal;
  }

  static timeout(milliseconds) {
    const ms = Number(milliseconds);
    if (!(ms >= 0 && ms <= Number.MAX_SAFE_INTEGER)) {
      throw new TypeError("AbortSignal.timeout: the milliseconds must be a number from 0 to 2^53 - 1");
    }
    const signal = new AbortSignal(MAKE);
    signal.#deadline = native.now() + Math.trunc(ms);
    return signal;
  }

  static any(signals) {
    const all = [...signals];
    if (!all.every(inside.is)) throw new TypeError("AbortSignal.any: each must be an AbortSignal");
    const signal = new AbortSignal(MAKE);
    const first = all.find((source) => source.aborted);
    if (first !== undefined) {
      signal.#aborted = true;
      signal.#reason = first.#reason;
      return signal;
    }
    for (const source of all) {
      signal.#sources.push(source);
      source.#dependents.push(signal);
    }
    return signal;
  }

  /** Notices that the time is over. */
  #look() {
    if (this.#aborted) return;
    if (this.#deadline !== Infinity && native.now() >= this.#deadline) this.#abort(timedOut());
    else for (const source of this.#sources) source.#look();
  }

  /** Starts the timer that somebody waits for. */
  #arm() {
    if (this.#aborted || this.#armed) return;
    for (const source of this.#sources) source.#arm();
    if (this.#deadline === Infinity || native.mode() !== "room") return;
    this.#armed = true;
    setTimeout(() => this.#look(), Math.max(0, this.#deadline - native.now()));
  }

  #abort(reason) {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason === undefined ? aborted() : reason;
    const algorithms = this.#algorithms;
    this.#algorithms = new Set();
    for (const algorithm of algorithms) algorithm(this.#reason);
    this.dispatchEvent(new Event("abort"));
    const dependents = this.#dependents;
    this.#dependents = [];
    for (const dependent of dependents) dependent.#abort(this.#reason);
    for (const source of this.#sources) source.#forget(this);
    this.#sources = [];
  }

  #forget(dependent) {
    const at = this.#dependents.indexOf(dependent);
    if (at >= 0) this.#dependents.splice(at, 1);
  }

  #deadlines() {
    return this.#sources.reduce((least, source) => Math.min(least, source.#deadlines()), this.#deadline);
  }

  static {
    inside = {
      is: (value) => value !== null && typeof value === "object" && #aborted in value,
      make: () => new AbortSignal(MAKE),
      abort: (signal, reason) => signal.#abort(reason),
      on(signal, algorithm, arm) {
        signal.#algorithms.add(algorithm);
        if (arm) signal.#arm();
        return () => signal.#algorithms.delete(algorithm);
      },
      deadline: (signal) => signal.#deadlines(),
    };
  }
}
expose(AbortSignal, "AbortSignal", ["aborted", "reason", "throwIfAborted"]);
handlerAttribute(AbortSignal, "onabort");

function aborted() {
  return new DOMException("This operation was aborted", "AbortError");
}

function timedOut() {
  return new DOMException("The operation was aborted due to timeout", "TimeoutError");
}

export class AbortController {
  #signal = inside.make();

  get signal() {
    return this.#signal;
  }

  abort(reason) {
    inside.abort(this.#signal, reason);
  }
}
expose(AbortController, "AbortController", ["signal", "abort"]);

/** Whether the value is an AbortSignal. */
export const isSignal = inside.is;

/**
 * Calls the function with the reason when the signal aborts. Returns what ends that. With `arm` false nothing runs at
 * the deadline of a signal with a timeout: the caller has it enforced elsewhere.
 */
export function onAbort(signal, algorithm, arm = true) {
  return inside.on(signal, algorithm, arm);
}

/** When the signal aborts by itself, in milliseconds of the room's clock; Infinity if never. */
export const deadlineOf = inside.deadline;

/** The error of a time that is over. */
export const timeoutError = timedOut;
