/**
 * `Request`.
 *
 * Invariant: `url` is absolute and valid; a request of another one takes its body. It does not know how it is sent.
 */
import { AbortSignal, isSignal } from "./abort.js";
import { Body, bodyOf, mixBody } from "./body.js";
import { Headers, headersFrom, isHeaders } from "./headers.js";
import { TransformStream } from "./streams/transform.js";
import { URL } from "./url.js";
import { expose, toUSVString } from "./webidl.js";

const MAKE = Symbol("make");
const UPPER = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);
const REDIRECTS = ["follow", "error", "manual"];

let inside;

function methodOf(value) {
  const method = `${value}`;
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method)) throw new TypeError(`Request: "${method}" is an invalid method`);
  const upper = method.toUpperCase();
  if (upper === "CONNECT" || upper === "TRACE" || upper === "TRACK") {
    throw new TypeError(`Request: the method ${upper} is not allowed`);
  }
  return UPPER.has(upper) ? upper : method;
}

function urlOf(input) {
  const parts = new URL(toUSVString(input));
  if (parts.username !== "" || parts.password !== "") {
    throw new TypeError("Request: the URL has a user name or a password; send them in the header authorization");
  }
  return parts.href;
}

export class Request {
  #url;
  #method = "GET";
  #headers;
  #body;
  #redirect = "follow";
  /** @type {AbortSignal|null} What the caller gave, and what `signal` shows. */
  #source = null;
  #signal = null;
  /** What we add: `init.room`. */
  #room = undefined;

  constructor(input, init) {
    if (input === MAKE) return;
    if (arguments.length === 0) throw new TypeError("Request: the URL is missing");
    const options = init ?? {};
    if (typeof options !== "object") throw new TypeError("Request: the options must be an object");
    const other = input !== null && typeof input === "object" && #url in input ? input : null;
    if (other !== null) this.#like(other);
    else this.#url = urlOf(input);
    this.#configure(options);
    if (options.headers !== undefined) this.#headers = new Headers(options.headers);
    else this.#headers ??= new Headers();
    this.#takeBody(other, options);
  }

  #like(other) {
    this.#url = other.#url;
    this.#method = other.#method;
    this.#redirect = other.#redirect;
    this.#source = other.#source;
    this.#room = other.#room;
    this.#headers = new Headers(other.#headers);
  }

  #configure({ method, redirect, signal, room }) {
    if (method !== undefined) this.#method = methodOf(method);
    if (redirect !== undefined) {
      if (!REDIRECTS.includes(redirect)) throw new TypeError(`Request: "${redirect}" is an invalid value of redirect`);
      this.#redirect = redirect;
    }
    if (signal !== undefined) {
      if (signal !== null && !isSignal(signal)) throw new TypeError("Request: the signal must be an AbortSignal");
      this.#source = signal;
    }
    if (room !== undefined) {
      if (room === null || typeof room !== "object") throw new TypeError("Request: room must be an object");
      this.#room = room;
    }
  }

  #takeBody(other, init) {
    const given = init.body !== undefined && init.body !== null;
    const inherited = other !== null && !given && !other.#body.isNull;
    if ((given || inherited) && (this.#method === "GET" || this.#method === "HEAD")) {
      throw new TypeError(`Request: a ${this.#method} request cannot have a body`);
    }
    if (inherited) {
      if (other.#body.isUnusable) throw new TypeError("Request: the other request's body was read already");
      const { stream, source } = other.#body;
      this.#body = new Body(stream ?? source);
      if (stream !== null) this.#body.stream = handOver(other.#body);
      else other.#body.used = true;
      return;
    }
    const { body, type } = bodyOf(init.body);
    this.#body = body;
    if (type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", type);
  }

  get method() { return this.#method; }
  get url() { return this.#url; }
  get headers() { return this.#headers; }
  get redirect() { return this.#redirect; }
  get duplex() { return "half"; }

  get signal() {
    this.#signal ??= AbortSignal.any(this.#source === null ? [] : [this.#source]);
    return this.#signal;
  }

  clone() {
    const body = this.#body.clone();
    const copy = new Request(MAKE);
    copy.#like(this);
    copy.#body = body;
    return copy;
  }

  static {
    inside = {
      body: (request) => request.#body,
      extras: (request) => ({ signal: request.#source, room: request.#room }),
      is: (value) => value !== null && typeof value === "object" && #url in value,
      make({ method, url, headers, body }) {
        const request = new Request(MAKE);
        request.#url = url;
        request.#method = method;
        request.#headers = isHeaders(headers) ? headers : headersFrom(headers);
        request.#body = new Body(body);
        return request;
      },
    };
  }
}
mixBody(Request, inside.body);
expose(Request, "Request", ["method", "url", "headers", "redirect", "signal", "duplex", "clone"]);

/** Moves the stream to another body: the old one counts as read. */
function handOver(body) {
  const { readable, writable } = new TransformStream();
  body.stream.pipeTo(writable).then(undefined, () => {});
  return readable;
}

/** The request's body. */
export const requestBody = inside.body;
/** What `fetch` needs besides: the signal as it was given, and `init.room`. */
export const requestExtras = inside.extras;
/** Whether the value is a Request. */
export const isRequest = inside.is;
/**
 * Returns a request that the host gave, without checks: the URL is absolute, the headers are pairs, the body is bytes,
 * a stream, or null.
 */
export const requestFrom = inside.make;
