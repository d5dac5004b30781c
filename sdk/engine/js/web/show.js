/**
 * What `console` shows of the web's objects, whose state is private: a few members by name.
 *
 * Invariant: showing an object reads nothing of a body, and starts nothing. It does not know the log.
 */
import { AbortSignal } from "./abort.js";
import { Blob } from "./blob.js";
import { Event } from "./events.js";
import { FormData } from "./form-data.js";
import { Headers } from "./headers.js";
import { showAs } from "./inspect.js";
import { Request } from "./request.js";
import { Response } from "./response.js";
import { ReadableStream } from "./streams/readable.js";
import { WritableStream } from "./streams/writable.js";
import { URL, URLSearchParams } from "./url.js";

const MEMBERS = [
  [Headers, null],
  [URLSearchParams, null],
  [FormData, null],
  [URL, ["href", "origin", "protocol", "host", "hostname", "port", "pathname", "search", "hash"]],
  [Request, ["method", "url", "headers", "redirect", "bodyUsed"]],
  [Response, ["status", "statusText", "headers", "bodyUsed", "ok", "type", "url"]],
  [Blob, ["size", "type"]],
  [AbortSignal, ["aborted"]],
  [Event, ["type", "defaultPrevented", "cancelable", "timeStamp"]],
  [ReadableStream, ["locked"]],
  [WritableStream, ["locked"]],
];

showAs((value) => {
  for (const [type, members] of MEMBERS) {
    if (!(value instanceof type) || value === type.prototype) continue;
    try {
      return members === null ? [...value] : members.map((member) => [member, value[member]]);
    } catch {
      return null; // It has the prototype, and not the state.
    }
  }
  return null;
});
