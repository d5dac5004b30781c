/**
 * The timers of a room's memory: `setTimeout`, `setInterval` and what ends them.
 *
 * Invariant: while a timer waits, the room ticks no later than it is due (10 ms apart at least); without one it does
 * not tick. Timers last as long as the heap; a reload or an eviction ends them. It does not know what a tick is beyond
 * `native.tick`, and the dispatcher calls `runDue` at each.
 */
import * as native from "room:native";

/** The shortest pause between two ticks. A timer that is due earlier runs then. */
const TICK_MS_MIN = 10;
/** The longest delay, as in browsers: a longer one counts as 1 ms. */
const DELAY_MS_MAX = 0x7fffffff;
/** How many timers may wait. One more throws a RangeError. */
const TIMERS_MAX = 10_000;

/** @type {{id: number, due: number, callback: Function, args: unknown[], every: number|null}[]} A heap by `due, id`. */
const heap = [];
const byId = new Map();
let lastId = 0;
/** The last `native.tick`: the period, and when its first tick comes. */
let period = null;
let firstTick = Infinity;

function before(a, b) {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

function swap(i, j) {
  const held = heap[i];
  heap[i] = heap[j];
  heap[j] = held;
  heap[i].at = i;
  heap[j].at = j;
}

function rise(at) {
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(heap[at], heap[parent])) break;
    swap(at, parent);
    at = parent;
  }
}

function sink(at) {
  for (;;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < heap.length && before(heap[child], heap[least])) least = child;
    }
    if (least === at) return;
    swap(at, least);
    at = least;
  }
}

let lastOrder = 0;

function push(timer) {
  timer.order = ++lastOrder;
  timer.at = heap.length;
  heap.push(timer);
  rise(timer.at);
}

function take(timer) {
  const { at } = timer;
  const last = heap.pop();
  timer.at = -1;
  if (last === timer) return;
  heap[at] = last;
  last.at = at;
  rise(at);
  sink(last.at);
}

/** Asks for the ticks that the earliest timer needs. */
function arm(now) {
  const due = nextDue();
  if (due === null) {
    if (period !== null) native.tick(null);
    period = null;
    firstTick = Infinity;
    return;
  }
  const pause = Math.max(TICK_MS_MIN, Math.ceil(due - now));
  if (firstTick <= due && firstTick > now) return;
  if (period === pause && firstTick <= now) {
    firstTick = now + pause; // The ticks that are on already fit.
    return;
  }
  native.tick(pause);
  period = pause;
  firstTick = now + pause;
}

function needRoom(name) {
  const mode = native.mode();
  if (mode === "room") return;
  if (mode === "test") {
    throw new Error(`${name} cannot be used in a test, which never waits: room.advance(milliseconds) moves a room's clock`);
  }
  const where = mode === "global" ? "while the module is evaluated" : "in a hook";
  throw new Error(`${name} cannot be used ${where}: timers run in a room; call it in one of the room's methods`);
}

/** Starts a timer. Returns its id. @param {number|null} every the period of an interval */
function start(name, callback, delay, every, args) {
  needRoom(name);
  if (typeof callback !== "function") throw new TypeError(`${name}: the callback must be a function`);
  if (byId.size >= TIMERS_MAX) {
    throw new RangeError(`${name}: ${TIMERS_MAX} timers wait already; end some with clearTimeout, or use schedules`);
  }
  const now = native.now();
  const timer = { id: ++lastId, due: now + delay, callback, args, every, order: 0, at: -1 };
  byId.set(timer.id, timer);
  push(timer);
  arm(now);
  return timer.id;
}

function delayOf(value) {
  const delay = Math.trunc(Number(value));
  return delay >= 1 && delay <= DELAY_MS_MAX ? delay : value === undefined || !(delay > DELAY_MS_MAX) ? 0 : 1;
}

/** Calls the function once, when so many milliseconds are over. Returns the timer's id. */
export function setTimeout(callback, delay = 0, ...args) {
  return start("setTimeout", callback, delayOf(delay), null, args);
}

/** Calls the function each time so many milliseconds are over (10 at least). Returns the timer's id. */
export function setInterval(callback, delay = 0, ...args) {
  const every = Math.max(TICK_MS_MIN, delayOf(delay));
  return start("setInterval", callback, every, every, args);
}

/** Ends a timer; one that is over, or was never there, is no error. */
export function clearTimeout(id) {
  const timer = byId.get(Number(id));
  if (timer === undefined) return;
  byId.delete(timer.id);
  if (timer.at >= 0) take(timer);
  if (heap.length === 0) arm(native.now());
}

/** When the earliest timer is due, in milliseconds of the room's clock; null if none waits. */
export function nextDue() {
  return heap.length === 0 ? null : heap[0].due;
}

/**
 * Runs the timers that are due, the earliest first; those that they start wait for a later tick. Throws what a callback
 * throws; the timers behind it then run at the next tick.
 */
export function runDue(now) {
  const lastStarted = lastOrder;
  try {
    // A tick may come a moment early, as both clocks round.
    while (heap.length > 0 && heap[0].due <= now + 1 && heap[0].order <= lastStarted) {
      const timer = heap[0];
      take(timer);
      if (timer.every === null) byId.delete(timer.id);
      try {
        timer.callback.apply(globalThis, timer.args);
      } finally {
        if (timer.every !== null && byId.has(timer.id)) {
          timer.due = now + timer.every;
          push(timer);
        }
      }
    }
  } finally {
    if (heap.length === 0) period ??= TICK_MS_MIN; // The host may tick for a heap that is gone: end that, too.
    arm(now);
  }
}

/** Asks for the ticks again after a turn that failed: its `native.tick` did not count. */
export function rearm(now) {
  if (heap.length === 0) return;
  period = null;
  firstTick = Infinity;
  arm(now);
}
