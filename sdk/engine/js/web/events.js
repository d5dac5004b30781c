/**
 * Events and what they are dispatched at.
 *
 * Invariant: a listener that throws does not keep the next one from running; its error becomes an unhandled rejection,
 * which fails the turn. There is no tree: an event has one target. It does not know what an event is about.
 */
import { DOMException } from "./dom-exception.js";
import { expose } from "./webidl.js";

let edit;

export class Event {
  #type;
  #bubbles;
  #cancelable;
  #composed;
  #target = null;
  #current = null;
  #phase = 0;
  #dispatched = false;
  #stopped = false;
  #stoppedAtOnce = false;
  #prevented = false;
  #passive = false;
  #timeStamp = Date.now();

  constructor(type, init) {
    if (arguments.length === 0) throw new TypeError("Event: the type is missing");
    this.#type = `${type}`;
    this.#bubbles = Boolean(init?.bubbles);
    this.#cancelable = Boolean(init?.cancelable);
    this.#composed = Boolean(init?.composed);
  }

  get type() { return this.#type; }
  get target() { return this.#target; }
  get srcElement() { return this.#target; }
  get currentTarget() { return this.#current; }
  get eventPhase() { return this.#phase; }
  get bubbles() { return this.#bubbles; }
  get cancelable() { return this.#cancelable; }
  get composed() { return this.#composed; }
  get defaultPrevented() { return this.#prevented; }
  get returnValue() { return !this.#prevented; }
  get isTrusted() { return false; }
  get timeStamp() { return this.#timeStamp; }
  get cancelBubble() { return this.#stopped; }
  set cancelBubble(value) { if (value) this.#stopped = true; }

  composedPath() {
    return this.#current === null ? [] : [this.#current];
  }

  stopPropagation() {
    this.#stopped = true;
  }

  stopImmediatePropagation() {
    this.#stopped = true;
    this.#stoppedAtOnce = true;
  }

  preventDefault() {
    if (this.#cancelable && !this.#passive) this.#prevented = true;
  }

  static {
    edit = {
      is: (event) => event !== null && typeof event === "object" && #type in event,
      begin(event, target) {
        if (event.#dispatched) throw new DOMException("The event is being dispatched already", "InvalidStateError");
        event.#dispatched = true;
        event.#target = target;
        event.#current = target;
        event.#phase = 2;
      },
      passive: (event, passive) => { event.#passive = passive; },
      stopped: (event) => event.#stoppedAtOnce,
      end(event) {
        event.#dispatched = false;
        event.#current = null;
        event.#phase = 0;
        event.#stopped = false;
        event.#stoppedAtOnce = false;
        return !event.#prevented;
      },
    };
  }
}
for (const [name, value] of Object.entries({ NONE: 0, CAPTURING_PHASE: 1, AT_TARGET: 2, BUBBLING_PHASE: 3 })) {
  Object.defineProperty(Event, name, { value, enumerable: true });
  Object.defineProperty(Event.prototype, name, { value, enumerable: true });
}
expose(Event, "Event", ["type", "target", "currentTarget", "defaultPrevented", "cancelable", "timeStamp"]);

export class CustomEvent extends Event {
  #detail;
  constructor(type, init) {
    super(type, init);
    this.#detail = init?.detail ?? null;
  }
  get detail() { return this.#detail; }
}
expose(CustomEvent, "CustomEvent", ["detail"]);

export class MessageEvent extends Event {
  #init;
  constructor(type, init) {
    super(type, init);
    this.#init = init;
  }
  get data() { return this.#init?.data ?? null; }
  get origin() { return `${this.#init?.origin ?? ""}`; }
  get lastEventId() { return `${this.#init?.lastEventId ?? ""}`; }
  get source() { return this.#init?.source ?? null; }
  get ports() { return this.#init?.ports ?? []; }
}
expose(MessageEvent, "MessageEvent", ["data", "origin", "lastEventId", "source", "ports"]);

export class CloseEvent extends Event {
  #init;
  constructor(type, init) {
    super(type, init);
    this.#init = init;
  }
  get code() { return Number(this.#init?.code ?? 0); }
  get reason() { return `${this.#init?.reason ?? ""}`; }
  get wasClean() { return Boolean(this.#init?.wasClean); }
}
expose(CloseEvent, "CloseEvent", ["code", "reason", "wasClean"]);

export class ErrorEvent extends Event {
  #init;
  constructor(type, init) {
    super(type, init);
    this.#init = init;
  }
  get message() { return `${this.#init?.message ?? ""}`; }
  get filename() { return `${this.#init?.filename ?? ""}`; }
  get lineno() { return Number(this.#init?.lineno ?? 0); }
  get colno() { return Number(this.#init?.colno ?? 0); }
  get error() { return this.#init?.error; }
}
expose(ErrorEvent, "ErrorEvent", ["message", "filename", "lineno", "colno", "error"]);

/** Fails the turn with this error, without an end to what runs now. */
export function reportError(error) {
  Promise.reject(error);
}

function call(listener, target, event) {
  try {
    if (typeof listener.callback === "function") listener.callback.call(target, event);
    else listener.callback.handleEvent(event);
  } catch (error) {
    reportError(error);
  }
}

/** Returns the listener's options; `capture` is part of what tells listeners apart. */
function flatten(options) {
  if (options === null || typeof options !== "object") return { capture: Boolean(options) };
  return {
    capture: Boolean(options.capture),
    once: Boolean(options.once),
    passive: Boolean(options.passive),
    signal: options.signal,
  };
}

export class EventTarget {
  /** @type {Map<string, object[]> | undefined} A list is replaced, never changed: a dispatch goes over the old one. */
  #listeners;

  addEventListener(type, callback, options) {
    const { capture, once, passive, signal } = flatten(options);
    if (callback === null || callback === undefined) return;
    if (typeof callback !== "function" && typeof callback !== "object") {
      throw new TypeError("addEventListener: the listener must be a function or an object with handleEvent");
    }
    if (signal?.aborted) return;
    type = `${type}`;
    this.#listeners ??= new Map();
    const list = this.#listeners.get(type) ?? [];
    if (list.some((other) => other.callback === callback && other.capture === capture)) return;
    this.#listeners.set(type, [...list, { callback, capture, once, passive, removed: false }]);
    signal?.addEventListener("abort", () => this.removeEventListener(type, callback, options), { once: true });
  }

  removeEventListener(type, callback, options) {
    const { capture } = flatten(options);
    type = `${type}`;
    const list = this.#listeners?.get(type);
    const found = list?.find((other) => other.callback === callback && other.capture === capture);
    if (found === undefined) return;
    found.removed = true;
    if (list.length === 1) this.#listeners.delete(type);
    else this.#listeners.set(type, list.filter((other) => other !== found));
  }

  dispatchEvent(event) {
    if (!edit.is(event)) throw new TypeError("dispatchEvent: the argument must be an Event");
    edit.begin(event, this);
    for (const listener of this.#listeners?.get(event.type) ?? []) {
      if (listener.removed) continue;
      if (listener.once) this.removeEventListener(event.type, listener.callback, listener.capture);
      edit.passive(event, listener.passive);
      call(listener, this, event);
      edit.passive(event, false);
      if (edit.stopped(event)) break;
    }
    return edit.end(event);
  }
}
expose(EventTarget, "EventTarget", ["addEventListener", "removeEventListener", "dispatchEvent"]);

/** Gives a class of event targets an attribute such as `onabort`, whose function is a listener. */
export function handlerAttribute(type, name) {
  const handlers = new WeakMap();
  const event = name.slice(2);
  Object.defineProperty(type.prototype, name, {
    enumerable: true,
    configurable: true,
    get() {
      return handlers.get(this)?.callback ?? null;
    },
    set(callback) {
      const before = handlers.get(this);
      if (typeof callback !== "function") {
        if (before) this.removeEventListener(event, before.listener);
        handlers.delete(this);
      } else if (before) {
        before.callback = callback;
      } else {
        const entry = { callback, listener: null };
        entry.listener = (it) => entry.callback.call(this, it);
        handlers.set(this, entry);
        this.addEventListener(event, entry.listener);
      }
    },
  });
}
