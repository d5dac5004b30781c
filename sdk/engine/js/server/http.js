// Requests and responses between the host's records and the classes of the web.
//
// Owns the conversion both ways, the bodies that come in pieces, and those that a room streams. Invariant: pieces of a
// response leave in the order in which the stream gave them, each once, also if the turn that sent them is undone. It
// does not know handlers; whoever runs them says when a turn ends.

import * as native from "room:native";
import { headerList } from "../web/headers.js";
import { isRequest, requestBody, requestFrom } from "../web/request.js";
import { isResponse, responseFrom, takeResponse } from "../web/response.js";
import { readAll } from "../web/body.js";
import { concat, viewBytes } from "../web/webidl.js";
import { describe } from "./errors.js";
import { sentBy } from "./identity.js";

export { isRequest, isResponse };

/** How much of a stream one turn sends. The rest follows with the next tick. */
const TURN_BYTES_MAX = 256 * 1024;
/** The pause before the rest of a stream. */
const PAUSE_MS = 10;

/**
 * @typedef {{method: string, uri: string, headers: [string, string][], body: Uint8Array,
 *   identity?: import("./identity.js").IdentityRecord}} RequestRecord
 */
/** @typedef {{status: number, headers: [string, string][], body: Uint8Array}} ResponseRecord */
/** @typedef {{status: number, headers: [string, string][], body: Uint8Array | Pump}} Answer */

/** The bodies that come in pieces. @type {Map<string, ReadableStreamDefaultController>} */
const bodies = new Map();
/** The streams that responses send. @type {Map<string, Pump>} */
const streams = new Map();
/** What this turn sent, in order; null is the end of a response. @type {{pump: Pump, piece: Uint8Array | null}[]} */
let sent = [];

/**
 * Returns the request of a record. With an id its body comes in pieces.
 * @param {RequestRecord} record @param {string} [pieces]
 */
export function toRequest(record, pieces) {
  const bodiless = record.method === "GET" || record.method === "HEAD";
  /** @type {Uint8Array | ReadableStream | null} */
  let body = bodiless || record.body.length === 0 ? null : record.body;
  if (pieces !== undefined && !bodiless) {
    body = new ReadableStream({
      start: (controller) => void bodies.set(pieces, controller),
      cancel: () => void bodies.delete(pieces),
    });
  }
  return sentBy(requestFrom({ method: record.method, url: record.uri, headers: record.headers, body }), record);
}

/**
 * A piece of a body came.
 * @param {string} id @param {Uint8Array} bytes
 * @param {string | null | undefined} end "complete" if it is the last, or why the rest does not come.
 */
export function bodyPiece(id, bytes, end) {
  const controller = bodies.get(id);
  if (controller === undefined) return;
  if (bytes.length > 0) controller.enqueue(bytes);
  if (end === null || end === undefined) return;
  bodies.delete(id);
  if (end === "complete") controller.close();
  else controller.error(new TypeError(`the body of the request did not arrive: ${end}`));
}

/** The response to a request is complete: the rest of its body does not come. @param {string | null} id */
export function endBody(id) {
  if (id !== null) bodies.delete(id);
}

/** Returns the bytes of a body that was taken. @param {string | Uint8Array | ReadableStream} taken */
async function bytesOfTaken(taken) {
  if (typeof taken === "string") return native.utf8Encode(taken);
  return taken instanceof Uint8Array ? taken : readAll(taken);
}

/** Returns the record of a request. @param {Request} request @returns {Promise<RequestRecord>} */
export async function fromRequest(request) {
  const body = await bytesOfTaken(requestBody(request).take());
  return { method: request.method, uri: request.url, headers: headerList(request.headers), body };
}

/** Returns the record of a response, once its body is complete. @param {Response} response @returns {Promise<ResponseRecord>} */
export async function wholeResponse(response) {
  const { status, headers, body } = takeResponse(response);
  return { status, headers, body: await bytesOfTaken(body) };
}

/** Returns the response of a record. @param {ResponseRecord} record */
export function toResponse(record) {
  return responseFrom(record, "");
}

/**
 * Returns what a handler answers. Its body is a `Pump`, at work already, unless it is known.
 * @param {any} response @param {string} who @returns {Answer}
 */
export function fromResponse(response, who) {
  if (!isResponse(response)) {
    const what = response === null ? "null" : typeof response === "object" ? "another object" : typeof response;
    throw new TypeError(`${who} must return a Response, and returned ${what}`);
  }
  const { status, headers, body } = takeResponse(response);
  if (typeof body === "string") return { status, headers, body: native.utf8Encode(body) };
  return { status, headers, body: body instanceof Uint8Array ? body : new Pump(body.getReader()) };
}

/** Returns a response with a text. @param {number} status @param {string} text @returns {ResponseRecord} */
export function textResponse(status, text) {
  return { status, headers: [["content-type", "text/plain; charset=utf-8"]], body: native.utf8Encode(text) };
}

/** Returns the whole answer, if its body is complete; otherwise undefined. @param {Answer} answer */
export function complete(answer) {
  if (answer.body instanceof Uint8Array) return /** @type {ResponseRecord} */ (answer);
  if (answer.body.failure !== null) throw answer.body.failure.error;
  return answer.body.done ? { ...answer, body: answer.body.take() } : undefined;
}

/** Begins an answer whose body is not complete. @param {string} id @param {Answer} answer */
export function begin(id, answer) {
  const pump = /** @type {Pump} */ (answer.body);
  native.begin(id, { ...answer, body: pump.take() });
  pump.attach(id);
}

/** An answer does not leave: nothing reads its stream any more. @param {Answer | undefined} answer */
export function discard(answer) {
  if (answer?.body instanceof Pump) answer.body.cancel("the turn failed");
}

/** The client, or the host, ended a response. @param {string} id @param {string} reason */
export function streamClosed(id, reason) {
  const pump = streams.get(id);
  streams.delete(id);
  pump?.cancel(reason);
  bodyPiece(id, new Uint8Array(0), "aborted");
}

/** The effects of this turn took place. */
export function settle() {
  if (sent.length > 0) sent = [];
}

/** How many pieces this turn sent. */
export function position() {
  return sent.length;
}

/** What this turn sent from a position on was undone: it is sent again. @param {number} from */
export function repeat(from) {
  for (let index = from; index < sent.length; index++) {
    const { pump, piece } = sent[index];
    pump.again(piece);
  }
}

/** A new instance begins. */
export function reset() {
  bodies.clear();
  streams.clear();
  sent = [];
}

/** Reads a stream, and sends what it gives. */
class Pump {
  done = false;
  /** @type {{error: unknown} | null} */
  failure = null;
  /** @type {string | null} */
  #id = null;
  /** What was read before the response began. @type {Uint8Array[]} */
  #read = [];
  #turnBytes = 0;
  #cancelled = false;
  #reader;

  /** @param {ReadableStreamDefaultReader} reader */
  constructor(reader) {
    this.#reader = reader;
    this.#run().catch((error) => this.#fail(error));
  }

  async #run() {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.#piece(bytesOf(value));
      if (this.#turnBytes > TURN_BYTES_MAX) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        this.#turnBytes = 0;
      }
    }
    this.done = true;
    if (this.#id !== null) this.#send(null);
  }

  /** @param {Uint8Array} bytes */
  #piece(bytes) {
    this.#turnBytes += bytes.length;
    if (this.#id === null) this.#read.push(bytes);
    else if (bytes.length > 0) this.#send(bytes);
  }

  /** @param {Uint8Array | null} piece */
  #send(piece) {
    sent.push({ pump: this, piece });
    this.#pass(piece);
  }

  /** @param {Uint8Array | null} piece */
  #pass(piece) {
    const id = /** @type {string} */ (this.#id);
    if (piece === null) {
      streams.delete(id);
      endBody(id);
      native.end(id);
    } else {
      native.write(id, piece);
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    this.failure = { error };
    this.done = true;
    if (this.#id === null || !streams.has(this.#id)) return;
    native.log("error", `the stream of a response failed: ${describe(error)}`, { request: this.#id });
    streams.delete(this.#id);
    this.#reader.cancel(error).catch(() => {});
    try {
      native.abort(this.#id);
    } catch {
      // The response is over.
    }
  }

  /** Returns what was read so far. */
  take() {
    const pieces = this.#read;
    this.#read = [];
    if (pieces.length === 1) return pieces[0];
    return concat(pieces);
  }

  /** From now on what is read is sent. @param {string} id */
  attach(id) {
    this.#id = id;
    this.#turnBytes = 0;
    streams.set(id, this);
  }

  /** @param {unknown} reason */
  cancel(reason) {
    this.done = true;
    if (this.#id !== null) streams.delete(this.#id);
    this.#cancelled = true;
    this.#reader.cancel(reason).catch(() => {});
  }

  /** @param {Uint8Array | null} piece */
  again(piece) {
    if (this.#cancelled || this.failure !== null) return;
    try {
      this.#pass(piece);
    } catch (error) {
      this.#fail(error);
    }
  }
}

/** @param {any} value @returns {Uint8Array} */
function bytesOf(value) {
  if (typeof value === "string") return native.utf8Encode(value);
  const bytes = viewBytes(value);
  if (bytes === undefined) throw new TypeError("the stream of a Response must give Uint8Arrays or strings");
  return bytes;
}
