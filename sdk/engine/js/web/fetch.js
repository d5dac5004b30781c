/**
 * `fetch`: a request to another server.
 *
 * Invariant: a request whose body is at hand is recorded when `fetch` is called, so that it belongs to the turn that
 * called. It does not know how the answer comes: that is `pending.js`.
 */
import * as native from "room:native";
import { readAll } from "./body.js";
import { headerList } from "./headers.js";
import { failureError, fetchThroughHost } from "./pending.js";
import { Request, requestBody, requestExtras } from "./request.js";

const EXTRAS = {
  tag: "string", retries: "number", timeoutMs: "number", bestEffort: "boolean", stream: "boolean", cache: "object",
};

function checkExtras(room) {
  for (const key of Object.keys(room ?? {})) {
    const type = EXTRAS[key];
    if (type === undefined) {
      throw new TypeError(`fetch: room.${key} is unknown; there are ${Object.keys(EXTRAS).join(", ")}`);
    }
    if (room[key] === undefined) continue;
    if (typeof room[key] !== type) throw new TypeError(`fetch: room.${key} must be a ${type}`);
  }
}

function send(request, extras, body) {
  const { method, url, redirect, headers } = request;
  try {
    return fetchThroughHost({ method, url, redirect, headers: headerList(headers), body }, extras);
  } catch (error) {
    if (native.mode() === "global") throw error;
    throw Object.assign(failureError(error), { cause: error });
  }
}

/** Sends a request. Returns a promise of its response: in a room it is settled in a later turn, in a hook at once. */
export function fetch(input, init) {
  try {
    const request = new Request(input, init);
    const extras = requestExtras(request);
    checkExtras(extras.room);
    if (extras.signal?.aborted) return Promise.reject(extras.signal.reason);
    const body = requestBody(request).take();
    if (typeof body === "string") return send(request, extras, native.utf8Encode(body));
    if (body instanceof Uint8Array) return send(request, extras, body);
    return readAll(body).then((bytes) => {
      extras.signal?.throwIfAborted();
      return send(request, extras, bytes);
    });
  } catch (error) {
    return Promise.reject(error);
  }
}
