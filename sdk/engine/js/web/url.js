/**
 * `URL` and `URLSearchParams`.
 *
 * Invariant: a URL's `searchParams` and its `search` always say the same. Parsing is the host's (`native.urlParse`);
 * the form encoding of queries is done here. It does not know requests.
 */
import * as native from "room:native";
import { expose, toUSVString } from "./webidl.js";

let connect;

/** Decodes `application/x-www-form-urlencoded` text of one name or value. */
function formDecode(text) {
  if (text.includes("+")) text = text.replaceAll("+", " ");
  if (!text.includes("%")) return text;
  const bytes = native.utf8Encode(text);
  const decoded = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    let byte = bytes[i];
    if (byte === 0x25 && i + 2 < bytes.length) {
      const high = hex(bytes[i + 1]);
      const low = hex(bytes[i + 2]);
      if (high >= 0 && low >= 0) {
        byte = high * 16 + low;
        i += 2;
      }
    }
    decoded[length++] = byte;
  }
  return native.utf8Decode(decoded.subarray(0, length), false, true);
}

function hex(byte) {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

const PLAIN = /^[A-Za-z0-9*._-]*$/;

/** Encodes one name or value as `application/x-www-form-urlencoded`. */
function formEncode(text) {
  if (PLAIN.test(text)) return text;
  return encodeURIComponent(text)
    .replaceAll("%20", "+")
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Returns the pairs of form-encoded text. @returns {[string, string][]} */
export function parseForm(text) {
  const pairs = [];
  for (const part of text.split("&")) {
    if (part === "") continue;
    const at = part.indexOf("=");
    const name = at < 0 ? part : part.slice(0, at);
    pairs.push([formDecode(name), at < 0 ? "" : formDecode(part.slice(at + 1))]);
  }
  return pairs;
}

/** Returns the form-encoded text of pairs. */
export function serializeForm(pairs) {
  return pairs.map(([name, value]) => `${formEncode(name)}=${formEncode(value)}`).join("&");
}

function need(given, count, name) {
  if (given < count) throw new TypeError(`URLSearchParams.${name}: ${count} arguments are needed, and ${given} given`);
}

export class URLSearchParams {
  /** @type {[string, string][]} */
  #pairs = [];
  /** @type {((query: string) => void) | null} Tells the URL of a change. */
  #changed = null;

  constructor(init = "") {
    if (init === null || (typeof init !== "object" && typeof init !== "function")) {
      const text = toUSVString(init);
      this.#pairs = parseForm(text[0] === "?" ? text.slice(1) : text);
    } else if (init[Symbol.iterator] !== undefined && init[Symbol.iterator] !== null) {
      for (const item of init) {
        if (item === null || typeof item !== "object") throw new TypeError("URLSearchParams: each item must be a pair");
        const pair = [...item];
        if (pair.length !== 2) throw new TypeError("URLSearchParams: each pair must have a name and a value");
        this.#pairs.push([toUSVString(pair[0]), toUSVString(pair[1])]);
      }
    } else {
      const record = new Map();
      for (const key of Reflect.ownKeys(init)) {
        if (!Object.getOwnPropertyDescriptor(init, key)?.enumerable) continue;
        record.set(toUSVString(key), toUSVString(init[key]));
      }
      this.#pairs = [...record];
    }
  }

  #change() {
    this.#changed?.(serializeForm(this.#pairs));
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    need(arguments.length, 2, "append");
    this.#pairs.push([toUSVString(name), toUSVString(value)]);
    this.#change();
  }

  delete(name, value) {
    need(arguments.length, 1, "delete");
    name = toUSVString(name);
    const wanted = value === undefined ? undefined : toUSVString(value);
    this.#pairs = this.#pairs.filter((pair) => pair[0] !== name || (wanted !== undefined && pair[1] !== wanted));
    this.#change();
  }

  get(name) {
    need(arguments.length, 1, "get");
    name = toUSVString(name);
    return this.#pairs.find((pair) => pair[0] === name)?.[1] ?? null;
  }

  getAll(name) {
    need(arguments.length, 1, "getAll");
    name = toUSVString(name);
    return this.#pairs.filter((pair) => pair[0] === name).map((pair) => pair[1]);
  }

  has(name, value) {
    need(arguments.length, 1, "has");
    name = toUSVString(name);
    const wanted = value === undefined ? undefined : toUSVString(value);
    return this.#pairs.some((pair) => pair[0] === name && (wanted === undefined || pair[1] === wanted));
  }

  set(name, value) {
    need(arguments.length, 2, "set");
    name = toUSVString(name);
    value = toUSVString(value);
    const at = this.#pairs.findIndex((pair) => pair[0] === name);
    if (at < 0) {
      this.#pairs.push([name, value]);
    } else {
      this.#pairs = this.#pairs.filter((pair, i) => i <= at || pair[0] !== name);
      this.#pairs[at] = [name, value];
    }
    this.#change();
  }

  sort() {
    this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    this.#change();
  }

  forEach(callback, thisArgument) {
    if (typeof callback !== "function") throw new TypeError("URLSearchParams.forEach: the callback must be a function");
    for (let i = 0; i < this.#pairs.length; i++) {
      callback.call(thisArgument, this.#pairs[i][1], this.#pairs[i][0], this);
    }
  }

  *entries() {
    for (let i = 0; i < this.#pairs.length; i++) yield [this.#pairs[i][0], this.#pairs[i][1]];
  }

  *keys() {
    for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][0];
  }

  *values() {
    for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][1];
  }

  toString() {
    return serializeForm(this.#pairs);
  }

  static {
    connect = {
      changes: (params, changed) => { params.#changed = changed; },
      replace: (params, query) => { params.#pairs = parseForm(query); },
      pairs: (params) => params.#pairs,
    };
  }
}
URLSearchParams.prototype[Symbol.iterator] = URLSearchParams.prototype.entries;
Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, { enumerable: false });
expose(URLSearchParams, "URLSearchParams", ["append", "delete", "get", "getAll", "has", "set", "sort", "forEach",
  "entries", "keys", "values", "toString", "size"]);

/** The error has the members that Node gives it. */
function invalid(input, base) {
  const error = Object.assign(new TypeError("Invalid URL"), { code: "ERR_INVALID_URL", input });
  return base === undefined ? error : Object.assign(error, { base });
}

export class URL {
  #parts;
  #params = null;

  constructor(url, base) {
    if (arguments.length === 0) throw new TypeError("URL: the URL is missing");
    const text = toUSVString(url);
    const on = base === undefined ? undefined : toUSVString(base);
    const parts = native.urlParse(text, on);
    if (!parts) {
      throw invalid(text, on);
    }
    this.#parts = parts;
  }

  static canParse(url, base) {
    if (arguments.length === 0) throw new TypeError("URL.canParse: the URL is missing");
    return Boolean(native.urlParse(toUSVString(url), base === undefined ? undefined : toUSVString(base)));
  }

  static parse(url, base) {
    return URL.canParse(url, base) ? new URL(url, base) : null;
  }

  #set(part, value) {
    this.#parts = native.urlSet(this.#parts.href, part, value) ?? this.#parts;
    if (this.#params && part !== "hash") connect.replace(this.#params, this.#parts.search.slice(1));
  }

  get href() { return this.#parts.href; }
  set href(value) {
    const parts = native.urlParse(toUSVString(value), undefined);
    if (!parts) throw invalid(`${value}`, undefined);
    this.#parts = parts;
    if (this.#params) connect.replace(this.#params, parts.search.slice(1));
  }
  get origin() { return this.#parts.origin; }
  get protocol() { return this.#parts.protocol; }
  set protocol(value) { this.#set("protocol", toUSVString(value)); }
  get username() { return this.#parts.username; }
  set username(value) { this.#set("username", toUSVString(value)); }
  get password() { return this.#parts.password; }
  set password(value) { this.#set("password", toUSVString(value)); }
  get host() { return this.#parts.host; }
  set host(value) { this.#set("host", toUSVString(value)); }
  get hostname() { return this.#parts.hostname; }
  set hostname(value) { this.#set("hostname", toUSVString(value)); }
  get port() { return this.#parts.port; }
  set port(value) { this.#set("port", toUSVString(value)); }
  get pathname() { return this.#parts.pathname; }
  set pathname(value) { this.#set("pathname", toUSVString(value)); }
  get search() { return this.#parts.search; }
  set search(value) { this.#set("search", toUSVString(value)); }
  get hash() { return this.#parts.hash; }
  set hash(value) { this.#set("hash", toUSVString(value)); }

  get searchParams() {
    if (this.#params === null) {
      this.#params = new URLSearchParams(this.#parts.search);
      connect.changes(this.#params, (query) => {
        this.#parts = native.urlSet(this.#parts.href, "search", query) ?? this.#parts;
      });
    }
    return this.#params;
  }

  toString() { return this.#parts.href; }
  toJSON() { return this.#parts.href; }
}
expose(URL, "URL", ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname",
  "search", "searchParams", "hash", "toString", "toJSON"]);
