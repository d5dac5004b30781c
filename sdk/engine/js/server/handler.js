// One handler of an event, from its begin to the answer that somebody waits for.
//
// Owns what a handler's end means outside: a response, a connection that closes, a line in the log. Invariant: who waits
// for a handler is told once, whatever its end is. It does not know which turn runs; `turns.js` does.

import * as native from "room:native";
import { describe, messageOf, RoomError } from "./errors.js";
import * as http from "./http.js";

export const PENDING = 0;
export const OK = 1;
export const FAILED = 2;

/** The code that closes a connection whose handler failed. */
const FAILURE_CODE = 1011;

/** @typedef {"nothing" | "response" | "value"} Expects What its turn returns. */

/** What one event started. */
export class Handler {
  state = PENDING;
  /** @type {any} */
  value = undefined;
  /** @type {unknown} */
  error = undefined;
  /** Whether its event's turn is on. */
  first = true;
  /** The id of the request, if its response is left open. @type {string | null} */
  request = null;
  /** The id of the request, if its body comes in pieces. @type {string | null} */
  pieces = null;
  /** The id of the connection that opens. @type {string | null} */
  connection = null;

  /** @param {string} kind @param {Expects} expects */
  constructor(kind, expects) {
    this.kind = kind;
    this.expects = expects;
  }
}

/** @param {Handler} handler */
export function report(handler) {
  const what = handler.request === null ? {} : { request: handler.request };
  const whose = handler.connection === null ? {} : { connection: handler.connection };
  native.log("error", `"${handler.kind}" failed: ${describe(handler.error)}`, { event: handler.kind, ...what, ...whose });
}

/** A handler settled whose event is over: its response leaves. @param {Handler} handler */
export function settleLater(handler) {
  if (handler.state === FAILED) {
    report(handler);
    tell(handler);
    return;
  }
  if (handler.expects !== "response" || handler.request === null) return;
  try {
    const whole = http.complete(handler.value);
    if (whole === undefined) {
      http.begin(handler.request, handler.value);
      return;
    }
    native.respond(handler.request, whole);
    http.endBody(handler.pieces);
  } catch (error) {
    handler.state = FAILED;
    handler.error = error;
    report(handler);
    tell(handler);
  }
}

/** Who waits for a handler that failed is told. @param {Handler} handler */
export function tell(handler) {
  http.endBody(handler.pieces);
  try {
    if (handler.request !== null) native.respond(handler.request, failureResponse(handler.error));
    else if (handler.connection !== null) native.close(handler.connection, FAILURE_CODE, "the room failed");
  } catch {
    // The client has left.
  }
}

/** The response to a request whose handler failed: an error may say its status. @param {unknown} error */
export function failureResponse(error) {
  const status = statusOf(error);
  return status === undefined ? http.textResponse(500, "the room failed") : http.textResponse(status, messageOf(error));
}

/** The status that an error has as its code, if it is one. @param {any} error @returns {number | undefined} */
export function statusOf(error) {
  const code = error?.code;
  return Number.isInteger(code) && code >= 400 && code <= 599 ? code : undefined;
}

/** Returns the value of a handler whose event needs one. @param {Handler} handler */
export function valueOf(handler) {
  if (handler.state === OK) return handler.value;
  throw new RoomError("not-settled", UNSETTLED[handler.kind] ?? `the handler of "${handler.kind}" must settle in its turn`);
}

const HOOK = "a hook must settle by itself: in a hook only fetch() is waited for, and timers do not run";

/** @type {Record<string, string>} */
const UNSETTLED = {
  tags: "getConnectionTags must settle in its turn: it may await the storage, and not fetch() or a timer",
  call: "onCall, and a method that another room calls, must settle in its turn: it may await the storage, and not fetch() or a timer",
  beforeConnect: HOOK,
  beforeRequest: HOOK,
  fetch: HOOK,
  socket: HOOK,
};
