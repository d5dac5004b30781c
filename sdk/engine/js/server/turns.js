// What belongs to a turn: handlers, their promises, and what is undone if one of them fails.
//
// Owns the rules. A handler's first turn is that of its event. What settles while the jobs run belongs to that turn; a
// handler that still waits goes on in the turn of the event that settles what it waits for. Invariants: a handler that
// fails in its first turn fails the turn; one that fails later leaves nothing of that turn's continuation, and who
// waits for it, a request or a connection, is told. While the room starts, or is blocked, events wait in order. It does
// not know what an event is: `events.js` does.

import * as native from "room:native";
import * as connections from "./connection.js";
import { describe, RoomError } from "./errors.js";
import * as gate from "./gate.js";
import { FAILED, Handler, OK, PENDING, report, settleLater, tell, valueOf } from "./handler.js";
import * as http from "./http.js";
import * as outcalls from "./outcalls.js";
import * as transactions from "./transactions.js";
import * as undone from "./undone.js";

/** How many handlers may wait at once. One more fails its turn. */
const PENDING_MAX = 10_000;
/** How many events may wait for the gate, and how many bytes of messages. One more fails its turn. */
const QUEUE_MAX = 1024;
const QUEUE_BYTES_MAX = 4 * 1024 * 1024;
/** How many events that waited one turn runs. */
const DRAIN_MAX = 64;
/** How often one turn continues after a part of it was undone. */
const AGAIN_MAX = 8;

/** Whether nothing is to be done but to call the handler of the next message. */
export let calm = false;

/** The handler of the event whose turn is on. @type {Handler | null} */
let own = null;
/** The handler of an event that waited, whose part of the turn is on. @type {Handler | null} */
let drained = null;
/** Where the part of the turn that can be undone alone began, or -1. */
let savepoint = -1;
/** The moment when it began. @type {import("./undone.js").Point | null} */
let marked = null;
/** The moment when the turn began; null if nobody asked. @type {import("./undone.js").Point | null} */
let began = null;
/** Handlers that wait, whose events are over. @type {Set<Handler>} */
const pending = new Set();
/** Those of them that settled in this turn. @type {Handler[]} */
let finished = [];
/** Rejections of this turn that nobody handles. @type {Map<Promise<unknown>, unknown>} */
const rejections = new Map();
/** Handlers whose failure is told with the next event, as this turn's effects are dropped. @type {Handler[]} */
let owed = [];
/** How many of them this turn told. */
let paid = 0;
/** Whether the effects of the turn before were dropped. */
let lost = false;
/** @type {"new" | "starting" | "started" | "failed"} */
let status = "new";
/** @type {{handler: Handler, work: () => unknown, bytes: number}[]} */
let queue = [];
let queueBytes = 0;
/** What `leave` returns when it is through. @type {unknown} */
let outcome = undefined;
let drains = 0;
let repeats = 0;
/** Whether the jobs have to run again, as promises were rejected after a part of the turn was undone. */
let continues = false;

gate.onChange(() => {
  calm = false;
});

/** Whether no instance has begun in this heap. A frozen heap is so: every object that it touches costs each room a page. */
let isFresh = true;

/** A new instance begins: nothing of the one before is left. */
export function reset() {
  if (isFresh) {
    isFresh = false;
    return;
  }
  own = drained = null;
  savepoint = -1;
  pending.clear();
  finished = [];
  rejections.clear();
  owed = [];
  paid = 0;
  lost = false;
  status = "new";
  queue = [];
  queueBytes = 0;
  connections.reset();
  gate.reset();
  http.reset();
  outcalls.reset();
  transactions.dropped();
}

/** An event begins. @param {string} [answered] The id of the request whose answer it brings. */
export function begin(answered) {
  if (own !== null) abandon();
  if (drained !== null) {
    // The jobs of its part of the turn run with this event.
    drained.first = false;
    if (drained.state === PENDING) pending.add(drained);
    else finished.push(drained);
    drained = null;
  }
  savepoint = -1;
  drains = repeats = 0;
  outcome = undefined;
  connections.settle();
  if (lost) {
    lost = false;
    undone.restore(began, answered);
  }
  // What was sent again just now is this turn's.
  began = undone.point();
  began.sent = 0;
  for (const handler of owed) tell(handler);
  paid = owed.length;
  // Jobs that ran behind a message whose turn nobody asked about: their effects stand.
  for (const reason of taken()) native.log("error", `unhandled rejection: ${describe(reason)}`, {});
  const settledBefore = finished;
  finished = [];
  for (const handler of settledBefore) settleLater(handler);
}

/** Whether an event has to wait. */
export function waits() {
  if (gate.closed()) gate.expire();
  return status !== "started" || gate.closed() || queue.length > 0 || drained !== null;
}

/** Whether the room has to be started before the next event. */
export function isNew() {
  return status === "new" || status === "failed";
}

/** Runs the handler of the event whose turn is on. @param {Handler} handler @param {() => unknown} work */
export function run(handler, work) {
  own = handler;
  calm = false;
  attempt(handler, work);
}

/** Starts the room: events wait until it has started. @param {Handler} handler @param {() => unknown} work */
export function runStart(handler, work) {
  status = "starting";
  calm = false;
  attempt(handler, work);
}

/** As `runStart`, for the event "start". @param {Handler} handler @param {() => unknown} work */
export function runOwnStart(handler, work) {
  own = handler;
  runStart(handler, work);
}

/** Starts the room on behalf of an event that waits. @param {Handler} handler @param {() => unknown} work */
export function runLateStart(handler, work) {
  handler.first = false;
  pending.add(handler);
  mark();
  runStart(handler, work);
}

/** The part of the turn that begins here is undone alone if a continuation fails. */
export function mark() {
  calm = false;
  if (savepoint >= 0) return;
  savepoint = native.savepoint();
  marked = undone.point();
}

/** @param {Handler} handler @param {() => unknown} work */
function attempt(handler, work) {
  let result;
  try {
    result = work();
  } catch (error) {
    settled(handler, FAILED, error);
    return;
  }
  if (isThenable(result)) follow(handler, result);
  else settled(handler, OK, result);
}

/** The handler of the event whose turn is on has returned a promise. @param {Handler} handler @param {any} result */
export function runs(handler, result) {
  own = handler;
  calm = false;
  follow(handler, result);
}

/** @param {Handler} handler @param {any} result */
function follow(handler, result) {
  Promise.resolve(result).then(
    (value) => settled(handler, OK, value),
    (error) => settled(handler, FAILED, error),
  );
}

/** @param {any} value */
export function isThenable(value) {
  return value !== null && typeof value === "object" && typeof value.then === "function";
}

/** The handler of a message threw. @param {Handler} handler @param {unknown} error */
export function failed(handler, error) {
  own = handler;
  calm = false;
  settled(handler, FAILED, error);
}

/** @param {Handler} handler @param {number} state @param {any} result */
function settled(handler, state, result) {
  handler.state = state;
  if (state === OK) handler.value = result;
  else handler.error = result;
  if (handler.kind === "start") status = state === OK ? "started" : "failed";
  if (handler.first) return;
  calm = false;
  pending.delete(handler);
  finished.push(handler);
}

/** The engine found a rejection that nobody handles, or that one is handled now. */
export function rejected(promise, reason, handled) {
  if (handled) rejections.delete(promise);
  else rejections.set(promise, reason);
  calm = false;
}

/** @returns {unknown[]} */
function taken() {
  if (rejections.size === 0) return [];
  const reasons = [...rejections.values()];
  rejections.clear();
  return reasons;
}

/**
 * The jobs have run. Returns what the turn returns, or false if the jobs must run again and `leave` be called again.
 * Throws if the turn fails.
 */
export function leave() {
  continues = false;
  if (drained !== null) leaveDrained();
  else leaveOwn();
  if (continues) return false;
  if (queue.length > 0 && drainNext()) return false;
  owed.splice(0, paid);
  paid = 0;
  began = null;
  http.settle();
  connections.settle();
  calm = status === "started" && !gate.closed() && queue.length === 0 && owed.length === 0 && rejections.size === 0;
  const value = outcome;
  outcome = undefined;
  return value;
}

/** @param {Handler} handler */
const isFailed = ({ state }) => state === FAILED;

/** Undoes transactions that are at work. Returns whether the jobs have to run again, which learn of it. */
function endTransactions() {
  if (!transactions.endOfTurn() || repeats === AGAIN_MAX) return false;
  repeats += 1;
  continues = true;
  return true;
}

function leaveOwn() {
  if (endTransactions()) return;
  const handler = own;
  own = null;
  const loose = taken();
  try {
    if (handler !== null && handler.state === FAILED) throw handler.error;
    const failures = finished.length === 0 ? loose : [...loose, ...finished.filter(isFailed).map(({ error }) => error)];
    const broken = failures.length > 0;
    if (broken && (savepoint < 0 || (handler !== null && handler.kind !== "tick"))) throw failures[0];
    if (broken) undo(loose);
    if (handler !== null) outcome = conclude(handler);
  } catch (error) {
    if (handler?.kind === "start") status = "new";
    if (handler?.expects === "response") {
      http.discard(handler.value);
      http.endBody(handler.pieces);
    }
    abandon();
    throw error;
  }
  keepPart();
}

/** Keeps the part of the turn since the savepoint, and tells who waits for what settled in it. */
function keepPart() {
  if (savepoint >= 0 && !continues) release();
  const settledNow = finished;
  finished = [];
  for (const handler of settledNow) settleLater(handler);
}

function release() {
  native.release(savepoint);
  savepoint = -1;
}

/** Returns what the turn of a handler's event returns. @param {Handler} handler */
function conclude(handler) {
  const { expects, state } = handler;
  if (expects === "value") return valueOf(handler);
  if (expects === "response") {
    if (handler.request === null && state === OK) {
      const whole = http.complete(handler.value);
      if (whole !== undefined) {
        http.endBody(handler.pieces);
        return whole;
      }
    }
    handler.request ??= native.defer();
    if (state === OK) http.begin(handler.request, handler.value);
    else keep(handler);
    return { later: true };
  }
  if (state === PENDING) keep(handler);
  return undefined;
}

/** The handler waits for a later event. @param {Handler} handler */
function keep(handler) {
  if (pending.size >= PENDING_MAX) {
    throw new RoomError("too-many-handlers", `${PENDING_MAX} handlers wait already for their promises to settle`);
  }
  handler.first = false;
  pending.add(handler);
}

/** Undoes the part of the turn since the savepoint, and tells who waits. @param {unknown[]} loose */
function undo(loose) {
  native.rollBack(savepoint);
  savepoint = -1;
  transactions.dropped();
  for (const reason of loose) native.log("error", `unhandled rejection: ${describe(reason)}`, {});
  const settledNow = finished;
  finished = [];
  for (const handler of settledNow) {
    if (handler.state === FAILED) report(handler);
    else handler.error = new RoomError("undone", "another handler failed in the turn in which this one ended");
    handler.state = FAILED;
    tell(handler);
  }
  if (undone.restore(marked) && repeats < AGAIN_MAX) {
    // Promises were rejected: what waits for them goes on in a part of its own.
    repeats += 1;
    continues = true;
    mark();
  }
}

/** The turn's effects are dropped. */
function abandon() {
  for (const handler of finished) {
    if (handler.state === FAILED) report(handler);
    else handler.error = new RoomError("undone", "the turn in which this handler ended failed");
    handler.state = FAILED;
    owed.push(handler);
  }
  if (drained !== null) {
    drained.state = FAILED;
    owed.push(drained);
  }
  own = drained = null;
  finished = [];
  paid = 0;
  savepoint = -1;
  continues = false;
  lost = true;
  calm = false;
  transactions.dropped();
  connections.forget();
}

/** An event waits until the room has started, or is not blocked. @param {Handler} handler @param {() => unknown} work @param {number} [bytes] */
export function enqueue(handler, work, bytes = 0) {
  calm = false;
  if (queue.length >= QUEUE_MAX || queueBytes + bytes > QUEUE_BYTES_MAX) {
    const bound = queue.length >= QUEUE_MAX ? `${QUEUE_MAX} events` : `${QUEUE_BYTES_MAX} bytes of messages`;
    throw new RoomError("too-many-events", `the room is ${status === "started" ? "blocked" : "starting"}, and ${bound} wait already`);
  }
  if (handler.expects === "response") {
    handler.request = native.defer();
    outcome = { later: true };
  }
  queue.push({ handler, work, bytes });
  queueBytes += bytes;
}

/** Begins the next event that waited. Returns false if none can begin. */
function drainNext() {
  if (gate.closed() || status === "starting") return false;
  if (status !== "started") {
    failQueue();
    return false;
  }
  if (drains === DRAIN_MAX) {
    // A tick brings the next turn.
    setTimeout(() => {}, 1);
    return false;
  }
  drains += 1;
  const { handler, work, bytes } = /** @type {any} */ (queue.shift());
  queueBytes -= bytes;
  drained = handler;
  mark();
  attempt(handler, work);
  return true;
}

/** The room did not start: those that wait for it are told. */
function failQueue() {
  const all = queue;
  queue = [];
  queueBytes = 0;
  for (const { handler } of all) {
    handler.error = new RoomError("not-started", "the room did not start");
    report(handler);
    tell(handler);
  }
}

function leaveDrained() {
  if (endTransactions()) return;
  const handler = /** @type {Handler} */ (drained);
  drained = null;
  const loose = taken();
  handler.first = false;
  if (handler.state === PENDING) pending.add(handler);
  else finished.push(handler);
  if (loose.length > 0 || finished.some(({ state }) => state === FAILED)) {
    if (loose.length > 0 && handler.state === PENDING) {
      pending.delete(handler);
      handler.state = FAILED;
      handler.error = loose[0];
      finished.push(handler);
    }
    undo(loose);
  }
  keepPart();
}
