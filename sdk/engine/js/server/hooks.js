// What a project decides outside of its rooms: before a connection, before a request, and about other URLs.
//
// Owns the verdicts. Invariant: a hook that is not there forwards, or leaves the URL to the host. Hooks run in a heap
// without a room, where only `fetch` is waited for. It does not know turns.

import { NO_ANALYTICS, withAbsent } from "./absent.js";
import { classOf, currentEnv, hookContext, waitUntil } from "./context.js";
import { cutToBytes, describe, messageOf, RoomError } from "./errors.js";
import { fromRequest, isRequest, isResponse, textResponse, toRequest, wholeResponse as whole } from "./http.js";
import * as native from "room:native";
import { kebab } from "./names.js";
import { parties } from "./outcalls.js";
import * as route from "./route.js";

/** The code that closes a connection whose hook threw: clients that know it do not try again. */
const REFUSED_CODE = 4401;

/** @typedef {{forward: any} | {respond: any} | {refuse: {code: number, reason: string}}} Verdict */

/** @type {Record<string, string[]>} */
const NAMES = {
  beforeConnect: ["onBeforeConnect"],
  beforeRequest: ["onBeforeRequest"],
  fetch: ["onFetch", "unstable_onFetch"],
  socket: ["onSocket"],
};

/** @param {import("./load.js").Target} target @param {string[]} names */
function hookOf(target, names) {
  for (const name of names) if (typeof target.it[name] === "function") return target.it[name].bind(target.it);
  return null;
}

const NO_LOBBY = withAbsent({}, "lobby");

/** What a hook knows about its project, and its room if there is one. @param {{party: string, room: string}} [to] */
export function lobbyOf(to) {
  const room = to === undefined ? {} : { id: to.room, name: to.room, party: to.party, className: classOf(to.party) };
  return { __proto__: NO_LOBBY, ...room, env: currentEnv(), parties, analytics: NO_ANALYTICS };
}

/**
 * Decides about a connection or a request.
 * @param {import("./load.js").Target} target @param {"beforeConnect" | "beforeRequest"} kind
 * @param {any} record @param {{party: string, room: string}} to @returns {Verdict | Promise<Verdict>}
 */
export function before(target, kind, record, to) {
  const hook = hookOf(target, NAMES[kind]);
  if (hook !== null) return ownHook(hook, kind, record, to);
  if (typeof target.worker?.fetch === "function") return workerHook(target.worker, kind, record, to);
  return { forward: record };
}

/** @returns {Promise<Verdict>} */
async function ownHook(hook, kind, record, to) {
  const request = toRequest(record);
  let answer;
  try {
    answer = await hook(request, lobbyOf(to), hookContext);
  } catch (error) {
    return refusedBy(error, NAMES[kind][0], kind, to);
  }
  return verdictOf(answer, request, record, NAMES[kind][0]);
}

/** A hook that throws refuses: nobody gets past it. @returns {Verdict} */
function refusedBy(error, who, kind, to) {
  native.log("warn", `${who} refused: ${describe(error)}`, { room: `${to.party}/${to.room}` });
  const text = messageOf(error);
  if (kind === "beforeRequest") return { respond: textResponse(401, text) };
  return { refuse: { code: REFUSED_CODE, reason: cutToBytes(text) } };
}

/** @returns {Promise<Verdict>} */
async function verdictOf(answer, request, record, who) {
  if (answer === undefined || answer === null || answer === false) return { forward: record };
  if (isResponse(answer)) return { respond: await whole(answer) };
  if (isRequest(answer)) return { forward: await changed(answer, request, record) };
  if (typeof answer === "object" && answer.refuse !== undefined) return { refuse: refusal(answer.refuse) };
  throw new TypeError(`${who} must return a Request, a Response, { refuse: { code, reason } } or nothing`);
}

/** The record of a request that goes on; its body is the one that came unless it was replaced. */
async function changed(answer, request, record) {
  if (answer !== request) return fromRequest(answer);
  return { ...record, headers: [...answer.headers] };
}

/** @param {any} refuse */
function refusal(refuse) {
  return { code: Number(refuse.code ?? REFUSED_CODE), reason: cutToBytes(String(refuse.reason ?? "")) };
}

/** Asks the worker of a PartyServer project. @returns {Promise<Verdict>} */
async function workerHook(worker, kind, record, to) {
  route.enter({ kind: kind === "beforeConnect" ? "connect" : "request", ...to });
  const request = toRequest(record);
  let answer;
  try {
    answer = await worker.fetch(request, currentEnv(), hookContext);
  } catch (error) {
    return refusedBy(error, "fetch", kind, to);
  }
  const forward = route.forwarded(answer);
  if (forward !== null) return { forward: await changed(forward.request, request, record) };
  return verdictOf(answer, request, record, "fetch");
}

/**
 * Answers a request whose URL names no room.
 * @param {import("./load.js").Target} target @param {any} record
 */
export function fetched(target, record) {
  const hook = hookOf(target, NAMES.fetch);
  if (hook !== null) return answered(hook(toRequest(record), lobbyOf(), hookContext));
  if (typeof target.worker?.fetch !== "function") return null;
  route.enter({ kind: "fetch", party: "", room: "" });
  return answered(target.worker.fetch(toRequest(record), currentEnv(), hookContext));
}

/** @param {any} promise */
async function answered(promise) {
  const answer = await promise;
  if (answer === undefined || answer === null) return null;
  if (isResponse(answer)) return whole(answer);
  throw new TypeError("onFetch must return a Response, or nothing");
}

/**
 * Decides about a WebSocket whose URL names no room.
 * @param {import("./load.js").Target} target @param {any} record
 */
export function socket(target, record) {
  const hook = hookOf(target, NAMES.socket);
  if (hook !== null) return socketVerdict(hook, record);
  if (typeof target.worker?.fetch !== "function") return null;
  route.enter({ kind: "socket", party: "", room: "" });
  return workerSocket(target.worker, record);
}

/** The WebSocket that `onSocket` gets: it can be refused or sent to a room, and nothing can be sent to it. */
class PendingSocket {
  /** @type {any} */
  verdict = null;

  /** @param {Request} request */
  constructor(request) {
    this.request = request;
    this.url = request.url;
    this.headers = request.headers;
  }

  accept() {}

  send() {
    throw new RoomError("no-socket", "onSocket cannot send: return { party, room } to send the WebSocket to a room");
  }

  /** @param {number} [code] @param {string} [reason] */
  close(code, reason) {
    this.verdict = { refuse: refusal({ code, reason }) };
  }
}

async function socketVerdict(hook, record) {
  const pending = new PendingSocket(toRequest(record));
  const answer = await hook(pending, lobbyOf(), hookContext);
  if (answer === undefined || answer === null) return pending.verdict;
  if (isResponse(answer)) return { respond: await whole(answer) };
  if (answer.refuse !== undefined) return { refuse: refusal(answer.refuse) };
  if (typeof answer.party === "string" && typeof answer.room === "string") {
    return { enter: { party: kebab(answer.party), room: answer.room } };
  }
  throw new TypeError("onSocket must return { party, room }, { refuse: { code, reason } }, a Response or nothing");
}

async function workerSocket(worker, record) {
  const answer = await worker.fetch(toRequest(record), currentEnv(), hookContext);
  const forward = route.forwarded(answer);
  if (forward !== null) return { enter: { party: forward.party, room: forward.room } };
  if (answer === undefined || answer === null || answer.status === 404) return null;
  return { respond: await whole(answer) };
}

/**
 * The schedule of a cron, which the build has put before the module. Without that, its name.
 * @param {string} name
 */
function scheduleOf(name) {
  const schedules = /** @type {any} */ (globalThis)[Symbol.for("room.crons")] ?? {};
  return Object.hasOwn(schedules, name) ? schedules[name] : name;
}

/**
 * Runs a cron in a room: its own `onCron`, the class's, or the worker's `scheduled`.
 * @param {import("./load.js").Target} target @param {any} room @param {string} name @param {number} at
 */
export function cron(target, room, name, at) {
  const event = { name, cron: scheduleOf(name), scheduledTime: at, noRetry() {}, type: "scheduled" };
  if (room.has("onCron") && target.kind !== "object") return room.it.onCron(event);
  const hook = hookOf(target, ["onCron"]);
  if (hook !== null) return hook(event, lobbyOf(), hookContext);
  if (typeof target.worker?.scheduled === "function") {
    return target.worker.scheduled(event, currentEnv(), { ...hookContext, waitUntil });
  }
  throw new RoomError("no-handler", `the cron "${name}" is due, and the module has no onCron`);
}
