/**
 * `Headers`: the names and values of a request or a response.
 *
 * Invariant: names are lower case and valid, values are trimmed and have no line breaks; iteration goes by name, with
 * the values of a name joined, but each `set-cookie` on its own. It does not know which headers mean what.
 */
import { expose, toByteString } from "./webidl.js";

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const EDGES = /^[\t\n\r ]+|[\t\n\r ]+$/g;
const BREAKS = /[\0\n\r]/;
const PLAIN = /^[!-~]([ -~]*[!-~])?$/;

/** Spellings of names that were checked, and their lower case. */
const checked = new Map();
/** How many of them are kept. */
const CHECKED_MAX = 256;

let inside;

function nameOf(value, method) {
  const known = checked.get(value);
  if (known !== undefined) return known;
  const name = toByteString(value);
  if (!NAME.test(name)) throw new TypeError(`Headers.${method}: "${name}" is an invalid header name`);
  const lower = name.toLowerCase();
  if (checked.size < CHECKED_MAX) checked.set(name, lower);
  return lower;
}

function valueOf(value, name, method) {
  if (typeof value === "string" && PLAIN.test(value)) return value;
  const text = toByteString(value).replace(EDGES, "");
  if (BREAKS.test(text)) throw new TypeError(`Headers.${method}: the value of "${name}" has a NUL or a line break`);
  return text;
}

export class Headers {
  /** @type {[string, string][]} In the order of their coming. */
  #list = [];
  #immutable = false;
  /** The list by name, until it changes. */
  #byName = null;

  constructor(init) {
    if (init === undefined) return;
    if (init === null || (typeof init !== "object" && typeof init !== "function")) {
      throw new TypeError("Headers: the argument must be an object, a list of pairs, or Headers");
    }
    if (#list in init && init[Symbol.iterator] === Headers.prototype.entries) {
      this.#list = init.#list.map(([name, value]) => [name, value]);
    } else if (init[Symbol.iterator] !== undefined && init[Symbol.iterator] !== null) {
      for (const item of init) {
        if (item === null || typeof item !== "object") throw new TypeError("Headers: each item must be a pair");
        const pair = [...item];
        if (pair.length !== 2) throw new TypeError("Headers: each pair must have a name and a value");
        this.append(pair[0], pair[1]);
      }
    } else {
      for (const key of Reflect.ownKeys(init)) {
        if (Object.getOwnPropertyDescriptor(init, key)?.enumerable) this.append(key, init[key]);
      }
    }
  }

  #writable(method) {
    this.#byName = null;
    if (this.#immutable) {
      throw new TypeError(`Headers.${method}: these headers cannot be changed; copy them with new Headers(headers)`);
    }
  }

  append(name, value) {
    const key = nameOf(name, "append");
    const text = valueOf(value, key, "append");
    this.#writable("append");
    this.#list.push([key, text]);
  }

  delete(name) {
    const key = nameOf(name, "delete");
    this.#writable("delete");
    this.#list = this.#list.filter((entry) => entry[0] !== key);
  }

  get(name) {
    const key = nameOf(name, "get");
    let found = null;
    for (const entry of this.#list) {
      if (entry[0] === key) found = found === null ? entry[1] : `${found}, ${entry[1]}`;
    }
    return found;
  }

  getSetCookie() {
    return this.#list.filter((entry) => entry[0] === "set-cookie").map((entry) => entry[1]);
  }

  has(name) {
    const key = nameOf(name, "has");
    return this.#list.some((entry) => entry[0] === key);
  }

  set(name, value) {
    const key = nameOf(name, "set");
    const text = valueOf(value, key, "set");
    this.#writable("set");
    const at = this.#list.findIndex((entry) => entry[0] === key);
    if (at < 0) {
      this.#list.push([key, text]);
      return;
    }
    this.#list = this.#list.filter((entry, i) => i <= at || entry[0] !== key);
    this.#list[at] = [key, text];
  }

  #sorted() {
    if (this.#byName !== null) return this.#byName;
    const joined = new Map();
    const cookies = [];
    for (const [name, value] of this.#list) {
      if (name === "set-cookie") cookies.push([name, value]);
      else joined.set(name, joined.has(name) ? `${joined.get(name)}, ${value}` : value);
    }
    // A stable sort keeps the cookies in their order.
    this.#byName = [...joined, ...cookies].sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    return this.#byName;
  }

  forEach(callback, thisArgument) {
    if (typeof callback !== "function") throw new TypeError("Headers.forEach: the callback must be a function");
    for (const [name, value] of this.entries()) callback.call(thisArgument, value, name, this);
  }

  *entries() {
    for (let i = 0; i < this.#sorted().length; i++) yield [...this.#sorted()[i]];
  }

  *keys() {
    for (const entry of this.entries()) yield entry[0];
  }

  *values() {
    for (const entry of this.entries()) yield entry[1];
  }

  static {
    inside = {
      list: (headers) => headers.#list,
      is: (value) => value !== null && typeof value === "object" && #list in value,
      freeze(headers) {
        headers.#immutable = true;
        return headers;
      },
      from(list) {
        const headers = new Headers();
        headers.#list = list.map(([name, value]) => [name.toLowerCase(), value]);
        return headers;
      },
    };
  }
}
Object.defineProperty(Headers.prototype, Symbol.iterator, {
  value: Headers.prototype.entries, writable: true, configurable: true,
});
expose(Headers, "Headers", ["append", "delete", "get", "getSetCookie", "has", "set", "forEach", "entries", "keys",
  "values"]);

/** Returns the headers as the host wants them: pairs in the order of their coming. The list is the headers' own. */
export const headerList = inside.list;
/** Returns headers of pairs that the host gave. */
export const headersFrom = inside.from;
/** Makes the headers throw at a change. Returns them. */
export const freezeHeaders = inside.freeze;
/** Whether the value is a Headers object. */
export const isHeaders = inside.is;
