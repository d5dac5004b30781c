// A room under test.
//
// Owns the room as a test sees it. Invariant: when a call returns, everything that follows from it has happened, but for
// what others have to answer. It does not know how a turn runs.

import * as tested from "room:tested";
import { decode, encode } from "../server/codec.js";
import { encodeMethod } from "../server/outcalls.js";
import { shown } from "../server/presence.js";
import { headerList, Headers } from "../web/headers.js";
import { callsOf, fetchesOf } from "./asked.js";
import { clientOf } from "./client.js";
import { answerRecord, bytesOf, requestRecord, responseOf } from "./records.js";
import { requestFrom } from "../web/request.js";
import { responseFor, settle } from "./response.js";
import { fail, watch } from "./runner.js";

/** What a room stored, as it is now. */
class Stored {
  #room;

  constructor(room) {
    this.#room = room;
  }

  /** @param {string} key */
  get(key) {
    const bytes = tested.stored(this.#room, key);
    return bytes === undefined || bytes === null ? undefined : decode(bytes);
  }

  /** @param {{prefix?: string}} [options] */
  list({ prefix = "" } = {}) {
    return new Map(this.keys(prefix).map((key) => [key, this.get(key)]));
  }

  keys(prefix = "") {
    return tested.storedKeys(this.#room, prefix);
  }

  get size() {
    return this.keys().length;
  }
}

/** @param {Record<string, unknown>} [record] */
function entries(record) {
  return Object.entries(record ?? {});
}

/** One room under test. */
export class TestRoom {
  #number;
  #project;
  #base;
  /** The errors of turns that the test has not taken. @type {string[]} */
  #errors = [];
  /** Whether the test has looked at all of them. */
  #seen = true;
  /** How many lines of the log were looked at for failures. */
  #read = 0;
  #act = (work) => {
    const value = work();
    this.#settle();
    return value;
  };

  /** @param {string} name @param {any} [options] */
  constructor(name, options = {}, project = null) {
    if (typeof name !== "string" || name === "") throw new TypeError("a room needs a name: new TestRoom(\"lobby\")");
    const { party = "main", vars, stored, others, clock, bytesMax, history, presence = false } = options;
    this.name = name;
    this.party = party;
    this.#project = project;
    this.#base = `http://localhost:1999/parties/${party}/${encodeURIComponent(name)}`;
    this.#number = tested.makeRoom({
      name,
      party,
      vars: entries(vars).map(([key, value]) => [key, String(value)]),
      stored: entries(stored).map(([key, value]) => ({ key, value: encode(value) })),
      others: entries(others).flatMap(([other, names]) => Array.from(/** @type {any} */ (names), (room) => [other, room])),
      clock: clock === undefined ? undefined : Number(clock),
      bytesMax,
      history,
      presence: presence !== false,
      presenceGrace: presence.grace,
      project,
    });
    this.storage = new Stored(this.#number);
    watch(() => this.#untaken());
  }

  #settle() {
    if (this.#project !== null) tested.settle(this.#project);
    settle();
  }

  /** Reads the errors since the last time: those of turns, and those of handlers that failed in a later turn. */
  #readErrors() {
    const errors = tested.takeErrors(this.#number);
    const logs = tested.logs(this.#number);
    for (const { level, message, fields } of logs.slice(this.#read)) {
      if (level === "error" && fields.event !== undefined) errors.push(message);
    }
    this.#read = logs.length;
    if (errors.length > 0) this.#seen = false;
    this.#errors.push(...errors);
  }

  #untaken() {
    this.#readErrors();
    const errors = this.#seen ? [] : this.#errors.map((error) => `${this.party}/${this.name}: ${error}`);
    this.#errors = [];
    this.#seen = true;
    return errors;
  }

  /** @param {string} id @param {any} [options] */
  connect(id, { path = "", query, headers, transport = "websocket", claims, ticket } = {}) {
    const pairs = query instanceof URLSearchParams ? [...query] : entries(query).map(([key, value]) => [key, String(value)]);
    const told = { claims: claims === undefined ? null : JSON.stringify(claims), ticket: ticket ?? null };
    const given = { path, query: pairs, headers: headerList(new Headers(headers)), transport, ...told };
    const number = this.#act(() => tested.connect(this.#number, String(id), given));
    return clientOf(String(id), this.#number, number, this.#act);
  }

  /** @param {any} [input] @param {any} [init] */
  request(input, init) {
    return this.begin(input, init).whole();
  }

  /** @param {any} [input] @param {any} [init] */
  begin(input, init) {
    return this.#ask(input, init, false);
  }

  /** @param {any} [input] @param {any} [init] */
  upload(input, init) {
    return this.#ask(input, { method: "POST", ...init }, true);
  }

  #ask(input, init, inPieces) {
    const claims = init?.claims === undefined ? null : JSON.stringify(init.claims);
    const record = { ...requestRecord(this.#base, input, init), claims };
    const number = this.#act(() => tested.begin(this.#number, record, inPieces));
    return responseFor(this.#number, number, this.#act);
  }

  /** @param {any} input @param {any} [init] */
  onFetch(input, init) {
    const record = requestRecord("http://localhost:1999", input, init);
    const response = this.#act(() => tested.outsideFetch(this.#number, record)) ?? null;
    return response === null ? null : responseOf(response);
  }

  /** @param {any} input @param {any} [init] */
  onSocket(input, init) {
    const record = requestRecord("http://localhost:1999", input, init);
    const verdict = this.#act(() => tested.outsideSocket(this.#number, record)) ?? null;
    if (verdict?.respond !== undefined) verdict.respond = responseOf(verdict.respond);
    return verdict;
  }

  /** @param {(request: Request) => Response | {code: string, message?: string}} answer */
  answerHooks(answer) {
    tested.answerHooks(this.#number, ({ method, uri, headers, body }) => {
      const bare = method === "GET" || method === "HEAD";
      try {
        const given = answer(requestFrom({ method, url: uri, headers, body: bare ? null : body }));
        if (typeof given?.code === "string") return { code: given.code, message: String(given.message ?? given.code) };
        return answerRecord(given, "answerHooks()");
      } catch (error) {
        fail(error);
        return { code: "failed", message: String(error?.message ?? error) };
      }
    });
  }

  /** @param {any} [data] @param {{party?: string, room?: string}} [caller] */
  call(data, { party = "main", room = "caller" } = {}) {
    return decode(this.#act(() => tested.call(this.#number, party, room, encode(data))));
  }

  /** @param {string} method @param {any[]} args */
  callMethod(method, ...args) {
    return decode(this.#act(() => tested.call(this.#number, "main", "caller", encodeMethod(method, args))));
  }

  /** @param {number} milliseconds */
  advance(milliseconds) {
    this.#act(() => tested.advance(this.#number, milliseconds));
  }

  /** @param {any} message */
  publish(message) {
    const sent = typeof message === "string" ? message : bytesOf(message, "a message");
    this.#act(() => tested.publish(this.#number, sent));
  }

  /** @param {string} name @param {number | Date} [at] */
  cron(name, at = this.now()) {
    this.#act(() => tested.cron(this.#number, name, Number(at)));
  }

  expire() {
    this.#act(() => tested.expire(this.#number));
  }

  now() {
    return tested.now(this.#number);
  }

  reload() {
    this.#act(() => tested.reload(this.#number));
  }

  hibernate() {
    tested.dropInstance(this.#number);
  }

  crash() {
    tested.dropInstance(this.#number);
  }

  alarm() {
    return tested.alarm(this.#number) ?? null;
  }

  timers() {
    return tested.timers(this.#number).map(({ data, every, ...timer }) => ({ ...timer, every: every ?? null, data: decode(data) }));
  }

  presentUsers() {
    return tested.usersSeen(this.#number).map(shown);
  }

  connectionIds() {
    return tested.connectionIds(this.#number);
  }

  fetches() {
    return fetchesOf(this.#number, this.#act);
  }

  calls() {
    return callsOf(this.#number, this.#act);
  }

  logs() {
    return tested.logs(this.#number);
  }

  takeErrors() {
    this.#readErrors();
    const errors = this.#errors;
    this.#errors = [];
    this.#seen = true;
    return errors;
  }

  lastError() {
    this.#readErrors();
    this.#seen = true;
    return this.#errors.at(-1) ?? null;
  }
}

/** Rooms that call each other. */
export class TestProject {
  #number = tested.makeProject();

  /** @param {string} name @param {any} [options] */
  room(name, options) {
    return new TestRoom(name, options, this.#number);
  }
}
