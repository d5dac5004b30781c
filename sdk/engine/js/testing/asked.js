// What a room under test asks of others, and waits for.
//
// Owns the requests that a test answers. Invariant: each is answered once. It does not know who would answer in a server.

import * as tested from "room:tested";
import { decode, encode } from "../server/codec.js";
import { methodOf } from "../server/outcalls.js";
import { requestFrom } from "../web/request.js";
import { answerRecord, bytesOf } from "./records.js";

const MAKE = Symbol("make");

function requestOf({ method, uri, headers, body }) {
  return requestFrom({ method, url: uri, headers, body: method === "GET" || method === "HEAD" ? null : body });
}

function failure(code, message) {
  return { code, message: message ?? `the test answers with the failure ${code}` };
}

/** A request to another server. */
export class PendingFetch {
  #room;
  #act;
  #sent = 0;

  constructor(make, record, room, act) {
    if (make !== MAKE) throw new TypeError("room.fetches() lists the requests");
    this.id = record.id;
    this.tag = record.tag;
    this.url = record.uri;
    this.method = record.method;
    this.request = requestOf(record);
    this.retries = record.retries;
    this.inParts = record.inParts;
    this.bestEffort = record.bestEffort;
    this.#room = room;
    this.#act = act;
  }

  /** @param {Response} response */
  respond(response) {
    const answer = answerRecord(response, "respond()");
    this.#act(() => tested.respond(this.#room, this.id, answer));
  }

  /** The next part of the body, for a request with `room: { stream: true }`. @param {any} part */
  respondPart(part) {
    const bytes = bytesOf(part, "a part");
    const taken = this.#act(() => tested.respondPart(this.#room, this.id, this.#sent, bytes));
    this.#sent += bytes.length;
    return taken;
  }

  /** @param {string} code @param {string} [message] */
  fail(code = "unreachable", message) {
    this.#act(() => tested.respond(this.#room, this.id, failure(code, message)));
  }
}

/** A call of another room, or a request to it. */
export class PendingCall {
  #room;
  #act;
  #isRequest;

  constructor(make, record, room, act) {
    if (make !== MAKE) throw new TypeError("room.calls() lists the calls");
    const { data } = record;
    this.#isRequest = data === null || data === undefined;
    const method = this.#isRequest ? undefined : methodOf(data);
    this.id = record.id;
    this.tag = record.tag;
    this.party = record.party;
    this.room = record.room;
    this.method = method?.method ?? null;
    this.args = method?.args ?? null;
    this.data = this.#isRequest || method !== undefined ? undefined : decode(data);
    this.request = this.#isRequest ? requestOf(record) : null;
    this.#room = room;
    this.#act = act;
  }

  /** With what the other room returns: a `Response` to a request. @param {any} value */
  answer(value) {
    const answer = this.#isRequest ? answerRecord(value, "answer() of a request") : { data: encode(value) };
    this.#act(() => tested.answer(this.#room, this.id, answer));
  }

  /** @param {string} code @param {string} [message] */
  fail(code = "refused", message) {
    this.#act(() => tested.answer(this.#room, this.id, failure(code, message)));
  }
}

export function fetchesOf(room, act) {
  return tested.fetches(room).map((record) => new PendingFetch(MAKE, record, room, act));
}

export function callsOf(room, act) {
  return tested.calls(room).map((record) => new PendingCall(MAKE, record, room, act));
}
