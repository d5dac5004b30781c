/**
 * `FormData`, and its two forms on the wire: `multipart/form-data` and `application/x-www-form-urlencoded`.
 *
 * Invariant: what `toMultipart` writes, `parseMultipart` reads back; bad input throws a TypeError. It does not know
 * requests.
 */
import * as native from "room:native";
import { blobBytes, File, isBlob } from "./blob.js";
import { concat, expose, toUSVString } from "./webidl.js";

let inside;

function entryValue(value, filename) {
  if (!isBlob(value)) return toUSVString(value);
  if (value instanceof File && filename === undefined) return value;
  const name = filename === undefined ? "blob" : toUSVString(filename);
  const lastModified = value instanceof File ? value.lastModified : undefined;
  return new File([value], name, { type: value.type, lastModified });
}

function needBlob(given, value, method) {
  if (given < 2) throw new TypeError(`FormData.${method}: a name and a value are needed`);
  if (given > 2 && !isBlob(value)) throw new TypeError(`FormData.${method}: a file name goes with a Blob only`);
}

export class FormData {
  /** @type {[string, string|File][]} */
  #entries = [];

  constructor(form) {
    if (form !== undefined) throw new TypeError("FormData: there are no forms here; append the entries");
  }

  append(name, value, filename) {
    needBlob(arguments.length, value, "append");
    this.#entries.push([toUSVString(name), entryValue(value, filename)]);
  }

  set(name, value, filename) {
    needBlob(arguments.length, value, "set");
    name = toUSVString(name);
    const entry = [name, entryValue(value, filename)];
    const at = this.#entries.findIndex((other) => other[0] === name);
    if (at < 0) {
      this.#entries.push(entry);
      return;
    }
    this.#entries = this.#entries.filter((other, i) => i <= at || other[0] !== name);
    this.#entries[at] = entry;
  }

  delete(name) {
    name = toUSVString(name);
    this.#entries = this.#entries.filter((entry) => entry[0] !== name);
  }

  get(name) {
    name = toUSVString(name);
    return this.#entries.find((entry) => entry[0] === name)?.[1] ?? null;
  }

  getAll(name) {
    name = toUSVString(name);
    return this.#entries.filter((entry) => entry[0] === name).map((entry) => entry[1]);
  }

  has(name) {
    name = toUSVString(name);
    return this.#entries.some((entry) => entry[0] === name);
  }

  forEach(callback, thisArgument) {
    if (typeof callback !== "function") throw new TypeError("FormData.forEach: the callback must be a function");
    for (const [name, value] of this.entries()) callback.call(thisArgument, value, name, this);
  }

  *entries() {
    for (let i = 0; i < this.#entries.length; i++) yield [...this.#entries[i]];
  }

  *keys() {
    for (const entry of this.entries()) yield entry[0];
  }

  *values() {
    for (const entry of this.entries()) yield entry[1];
  }

  static {
    inside = {
      is: (value) => value !== null && typeof value === "object" && #entries in value,
      entries: (form) => form.#entries,
    };
  }
}
Object.defineProperty(FormData.prototype, Symbol.iterator, {
  value: FormData.prototype.entries, writable: true, configurable: true,
});
expose(FormData, "FormData",
  ["append", "set", "delete", "get", "getAll", "has", "forEach", "entries", "keys", "values"]);

/** Whether the value is a FormData. */
export const isFormData = inside.is;

const ESCAPES = { "\n": "%0A", "\r": "%0D", '"': "%22" };
const escapeName = (name) => name.replace(/[\n\r"]/g, (character) => ESCAPES[character]);
const lines = (text) => text.replace(/\r\n|\r|\n/g, "\r\n");

/** Returns the form as `multipart/form-data`. @returns {{bytes: Uint8Array, type: string}} */
export function toMultipart(form) {
  const boundary = `----room${Array.from(native.random(16), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  const parts = [];
  for (const [name, value] of inside.entries(form)) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(lines(name))}"`;
    if (typeof value === "string") {
      parts.push(native.utf8Encode(`${head}\r\n\r\n${lines(value)}\r\n`));
    } else {
      const type = value.type || "application/octet-stream";
      parts.push(native.utf8Encode(`${head}; filename="${escapeName(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`));
      parts.push(blobBytes(value), native.utf8Encode("\r\n"));
    }
  }
  parts.push(native.utf8Encode(`--${boundary}--\r\n`));
  return { bytes: concat(parts), type: `multipart/form-data; boundary=${boundary}` };
}

/** The longest boundary, as RFC 2046 has it: a search takes this many steps a byte at most. */
const BOUNDARY_MAX = 70;

/** Returns where the needle begins in the bytes at or after `from`, or -1. */
function find(bytes, needle, from) {
  for (let at = bytes.indexOf(needle[0], from); at >= 0; at = bytes.indexOf(needle[0], at + 1)) {
    let i = 1;
    while (i < needle.length && bytes[at + i] === needle[i]) i++;
    if (i === needle.length) return at;
  }
  return -1;
}

function invalid(why) {
  return new TypeError(`formData: the body is invalid multipart/form-data: ${why}`);
}

/** Returns the named parameter of a header's value, or undefined. */
export function parameter(value, name) {
  for (const [, key, quoted, plain] of value.matchAll(/;\s*([^\s=;]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]*))/g)) {
    if (key.toLowerCase() === name) return quoted === undefined ? plain : quoted;
  }
  return undefined;
}

const UNESCAPES = { "%0A": "\n", "%0D": "\r", "%22": '"' };
const unescapeName = (name) =>
  name.replace(/%0A|%0D|%22/gi, (it) => UNESCAPES[it.toUpperCase()]).replaceAll('\\"', '"');

/** Returns the name, file name and type that a part's head gives. */
function headOf(text) {
  const head = { name: undefined, filename: undefined, type: "text/plain" };
  for (const line of text.split("\r\n")) {
    const at = line.indexOf(":");
    if (at < 0) throw invalid("a header has no colon");
    const value = line.slice(at + 1).trim();
    const key = line.slice(0, at).trim().toLowerCase();
    if (key === "content-type") head.type = value;
    if (key !== "content-disposition") continue;
    if (!/^form-data\s*(;|$)/i.test(value)) throw invalid("a part is not form-data");
    head.name = parameter(value, "name");
    head.filename = parameter(value, "filename");
  }
  if (head.name === undefined) throw invalid("a part has no name");
  return head;
}

/** Returns the form that these bytes are. */
export function parseMultipart(bytes, type) {
  const boundary = parameter(type, "boundary");
  if (!boundary) throw invalid("the content type names no boundary");
  if (boundary.length > BOUNDARY_MAX) throw invalid(`the boundary has more than ${BOUNDARY_MAX} characters`);
  const form = new FormData();
  const first = native.utf8Encode(`--${boundary}`);
  const next = native.utf8Encode(`\r\n--${boundary}`);
  const blank = native.utf8Encode("\r\n\r\n");
  let at = find(bytes, first, 0);
  if (at < 0) throw invalid("the boundary does not occur");
  at += first.length;
  while (!(bytes[at] === 0x2d && bytes[at + 1] === 0x2d)) {
    if (bytes[at] !== 0x0d || bytes[at + 1] !== 0x0a) throw invalid("a boundary is not followed by a line break");
    const headEnd = find(bytes, blank, at);
    if (headEnd < 0) throw invalid("a part's head does not end");
    const head = headOf(native.utf8Decode(bytes.subarray(at + 2, headEnd), false, true));
    const start = headEnd + blank.length;
    const end = find(bytes, next, start);
    if (end < 0) throw invalid("a part does not end");
    const content = bytes.subarray(start, end);
    const name = unescapeName(head.name);
    if (head.filename === undefined) form.append(name, native.utf8Decode(content, false, true));
    else form.append(name, new File([content], unescapeName(head.filename), { type: head.type }));
    at = end + next.length;
  }
  return form;
}
