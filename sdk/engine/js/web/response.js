/**
 * `Response`.
 *
 * Invariant: a status that has no body has none. It does not know who gets it.
 */
import { Body, bodyOf, mixBody } from "./body.js";
import { freezeHeaders, Headers, headerList, headersFrom } from "./headers.js";
import { URL } from "./url.js";
import { expose, toByteString, toUSVString } from "./webidl.js";

const MAKE = Symbol("make");
const WITHOUT_BODY = new Set([101, 103, 204, 205, 304]);
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

let inside;

export class Response {
  #status = 200;
  #statusText = "";
  #headers;
  #body;
  #type = "default";
  #url = "";

  constructor(body = null, init = {}) {
    if (body === MAKE) return;
    this.#begin(init ?? {});
    const made = bodyOf(body);
    if (!made.body.isNull && WITHOUT_BODY.has(this.#status)) {
      throw new TypeError(`Response: a response with the status ${this.#status} cannot have a body`);
    }
    this.#body = made.body;
    if (made.type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", made.type);
  }

  #begin(init) {
    if (typeof init !== "object" && typeof init !== "function") {
      throw new TypeError("Response: the options must be an object");
    }
    const { status, statusText, headers } = init;
    if (status !== undefined) {
      const number = Number(status);
      this.#status = Number.isFinite(number) ? Math.trunc(number) : 0;
      if (this.#status < 200 || this.#status > 599) {
        throw new RangeError(`Response: the status ${status} is invalid; it must be from 200 to 599`);
      }
    }
    if (statusText !== undefined) {
      this.#statusText = toByteString(statusText);
      if (/[^\t\x20-\x7e\x80-\xff]/.test(this.#statusText)) throw new TypeError("Response: the status text is invalid");
    }
    this.#headers = headers === undefined ? new Headers() : new Headers(headers);
  }

  get type() { return this.#type; }
  get url() { return this.#url; }
  get status() { return this.#status; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get statusText() { return this.#statusText; }
  get headers() { return this.#headers; }

  clone() {
    const copy = new Response(MAKE);
    copy.#body = this.#body.clone();
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#headers = new Headers(this.#headers);
    copy.#type = this.#type;
    copy.#url = this.#url;
    return copy;
  }

  static error() {
    const response = new Response(MAKE);
    response.#status = 0;
    response.#type = "error";
    response.#headers = freezeHeaders(new Headers());
    response.#body = new Body(null);
    return response;
  }

  static json(data, init = {}) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Response.json: the value has no JSON form");
    const response = new Response(text, init);
    const given = init?.headers !== undefined && new Headers(init.headers).has("content-type");
    if (!given) response.#headers.set("content-type", "application/json");
    return response;
  }

  static redirect(url, status = 302) {
    const { href } = new URL(toUSVString(url));
    if (!REDIRECTS.has(Number(status))) throw new RangeError(`Response.redirect: the status ${status} is invalid`);
    const response = new Response(null, { status, headers: { location: href } });
    freezeHeaders(response.#headers);
    return response;
  }

  static {
    inside = {
      body: (response) => response.#body,
      is: (value) => value !== null && typeof value === "object" && #status in value,
      make({ status, headers, body }, url) {
        const response = new Response(MAKE);
        response.#status = status;
        response.#headers = freezeHeaders(headersFrom(headers));
        response.#body = new Body(WITHOUT_BODY.has(status) ? null : body);
        response.#type = "basic";
        response.#url = url;
        return response;
      },
    };
  }
}
mixBody(Response, inside.body);
expose(Response, "Response", ["type", "url", "status", "ok", "statusText", "headers", "clone"]);

/** Whether the value is a Response. */
export const isResponse = inside.is;
/** Returns the response that the host gave to a request for this URL; the body is bytes or a stream. */
export const responseFrom = inside.make;

/**
 * Takes the response apart for the host: `body` is text or bytes, or a stream that has to be read. It counts as read
 * then. Throws a TypeError if it was read already.
 * @returns {{status: number, headers: [string, string][], body: string|Uint8Array|ReadableStream}}
 */
export function takeResponse(response) {
  const { status, headers } = response;
  if (status === 0) throw new TypeError("Response.error() cannot be sent: it has no status");
  return { status, headers: headerList(headers), body: inside.body(response).take() };
}
