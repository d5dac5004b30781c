// Requests and responses of a test as records, at once.
//
// Owns the conversion. Invariant: it waits for nothing, so that what follows from a request has happened when its call
// returns; a body that is a stream is refused. It does not know rooms.

import * as native from "room:native";
import { headerList } from "../web/headers.js";
import { isRequest, requestBody, Request } from "../web/request.js";
import { isResponse, responseFrom, takeResponse } from "../web/response.js";
import { viewBytes } from "../web/webidl.js";

/** @param {any} taken @param {string} what @returns {Uint8Array} */
function whole(taken, what) {
  if (typeof taken === "string") return native.utf8Encode(taken);
  if (taken instanceof Uint8Array) return taken;
  throw new TypeError(`the body of ${what} is a stream: give it whole, as text or bytes`);
}

/**
 * The record of a request. A path is one below `base`.
 * @param {string} base @param {any} input @param {any} init
 */
export function requestRecord(base, input, init) {
  const url = isRequest(input) ? input : urlOf(base, input);
  const request = new Request(url, init);
  const body = whole(requestBody(request).take(), "a test's request");
  return { method: request.method, uri: request.url, headers: headerList(request.headers), body };
}

function urlOf(base, input) {
  const text = input === undefined ? "" : String(input);
  if (text === "" || text === "/") return base;
  return text.startsWith("/") || text.startsWith("?") ? base + text : text;
}

/** The record of a response, or of a failure. @param {any} answer @param {string} who */
export function answerRecord(answer, who) {
  if (!isResponse(answer)) throw new TypeError(`${who} needs a Response`);
  const { status, headers, body } = takeResponse(answer);
  return { status, headers, body: whole(body, "a test's response") };
}

/** @param {any} record */
export function responseOf(record) {
  return responseFrom(record, "");
}

/** The bytes of a view or a buffer. @param {any} value @param {string} what @returns {Uint8Array} */
export function bytesOf(value, what) {
  if (typeof value === "string") return native.utf8Encode(value);
  const bytes = viewBytes(value);
  if (bytes === undefined) throw new TypeError(`${what} must be a string, an ArrayBuffer or a view of one`);
  return bytes;
}
