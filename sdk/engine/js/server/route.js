// `routePartykitRequest`, in the hooks of a project whose default export has a `fetch`.
//
// Owns what a PartyServer project's worker decides. The host routes by itself, and asks this worker before it does: so
// the function answers with a mark that means "go on", which the worker returns. Invariant: what the worker adds to the
// mark's headers reaches the client. It does not know how the host routes.

import * as native from "room:native";
import { classOf } from "./context.js";
import { RoomError } from "./errors.js";
import { kebab } from "./names.js";

/**
 * The hook that runs.
 * @typedef {{kind: "connect" | "request" | "fetch" | "socket", party: string, room: string}} Hook
 */

/** @type {Hook | null} */
let hook = null;
/** @type {{mark: Response, request: Request, party: string, room: string} | null} */
let forward = null;

/** @param {Hook} current */
export function enter(current) {
  hook = current;
  forward = null;
}

/**
 * Returns the request that goes to a room if a worker answered with this response; otherwise null.
 * @param {any} response @returns {{request: Request, party: string, room: string} | null}
 */
export function forwarded(response) {
  if (forward === null || !(response instanceof Response)) return null;
  if (response === forward.mark) return forward;
  // A copy with other headers: `new Response(response.body, response)`.
  if (response.status !== forward.mark.status || response.body !== null) return null;
  for (const [name, value] of response.headers) {
    if (name !== MARK) native.addResponseHeader(name, value);
  }
  return response.headers.has(MARK) ? forward : null;
}

/** What is thrown for the props of a room, which nobody would get. @param {string} who @param {string} instead */
export function noProps(who, instead) {
  return new RoomError("no-props", `${who} cannot give props to onStart(): a room starts by itself, before a request reaches it; ${instead}`);
}

/** Tells a copy of the mark from another empty response. */
const MARK = "x-room-forward";

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "GET, POST, HEAD, OPTIONS",
  "Access-Control-Allow-Headers": "*",
  "Access-Control-Max-Age": "86400",
};

/**
 * Answers a request for a room. Returns null if its URL is not one of a room.
 * @param {Request} request @param {any} [_env] @param {any} [options]
 * @returns {Promise<Response | null>}
 */
export async function routePartykitRequest(request, _env, options) {
  const { prefix = "parties", cors, props } = options ?? {};
  if (props !== undefined) throw noProps("routePartykitRequest()", "set a header of the request in onBeforeConnect");
  const parts = new URL(request.url).pathname.split("/").filter((part) => part !== "");
  const prefixes = prefix.split("/").filter((/** @type {string} */ part) => part !== "");
  const inRoom = hook?.kind === "connect" || hook?.kind === "request";
  const fits = prefixes.every((/** @type {string} */ part, /** @type {number} */ at) => parts[at] === part);
  if (!fits || parts.length < prefixes.length + 2) return null;
  const party = inRoom && hook ? hook.party : kebab(parts[prefixes.length]);
  const room = inRoom && hook ? hook.room : decodeURIComponent(parts[prefixes.length + 1]);
  const connects = hook?.kind === "connect" || hook?.kind === "socket";
  const headers = cors === true ? CORS : cors;
  if (headers && !connects && request.method === "OPTIONS") return new Response(null, { status: 200, headers });
  if (hook === null || hook.kind === "fetch") return new Response("Invalid request", { status: 400 });
  const answer = await ask(connects ? options?.onBeforeConnect : options?.onBeforeRequest, request, party, room);
  if (answer instanceof Response) return headers && !connects ? withHeaders(answer, headers) : answer;
  if (headers && !connects) for (const [name, value] of new Headers(headers)) native.addResponseHeader(name, value);
  return markOf(answer, party, room);
}

/** @param {Request} request @param {string} party @param {string} room */
function markOf(request, party, room) {
  const mark = new Response(null, { headers: { [MARK]: "1" } });
  forward = { mark, request, party, room };
  return mark;
}

/**
 * Sends the request of the hook on to a room, as a worker does with `stub.fetch(request)`. Returns null if the hook cannot
 * do that: it is about another room, or about a URL of no room.
 * @param {string} party @param {string} room @param {Request} request
 */
export function forwardTo(party, room, request) {
  if (hook === null || hook.kind === "fetch") return null;
  const fits = hook.kind === "socket" || (hook.party === party && hook.room === room);
  return fits ? markOf(request, party, room) : null;
}

/** @param {any} before @param {Request} request @param {string} party @param {string} room @returns {Promise<Request | Response>} */
async function ask(before, request, party, room) {
  if (typeof before !== "function") return request;
  const answer = await before(request, { party, className: classOf(party), name: room, id: room });
  return answer instanceof Response || answer instanceof Request ? answer : request;
}

/** @param {Response} response @param {any} headers */
function withHeaders(response, headers) {
  const all = new Headers(response.headers);
  for (const [name, value] of new Headers(headers)) all.append(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers: all });
}
