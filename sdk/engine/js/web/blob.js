/**
 * `Blob` and `File`.
 *
 * Invariant: a blob's bytes never change, and nobody outside holds them. It does not know where they go.
 */
import * as native from "room:native";
import { createReadable, controls } from "./streams/readable.js";
import { concat, expose, toUSVString, viewBytes } from "./webidl.js";

/** How many bytes a stream gives at once. */
const CHUNK_BYTES = 65_536;

let inside;

function typeOf(value) {
  const type = `${value ?? ""}`;
  return /^[\x20-\x7e]*$/.test(type) ? type.toLowerCase() : "";
}

function partBytes(part) {
  if (inside.is(part)) return inside.bytes(part);
  const bytes = viewBytes(part);
  return bytes === undefined ? native.utf8Encode(toUSVString(part)) : bytes.slice();
}

export class Blob {
  #bytes = new Uint8Array(0);
  #type = "";

  constructor(parts, options) {
    if (parts === undefined) return;
    if (parts === null || typeof parts !== "object" || typeof parts[Symbol.iterator] !== "function") {
      throw new TypeError("Blob: the parts must be a list");
    }
    this.#bytes = concat([...parts].map(partBytes));
    this.#type = typeOf(options?.type);
  }

  get size() { return this.#bytes.length; }
  get type() { return this.#type; }

  slice(start = 0, end = this.size, type = "") {
    const blob = new Blob();
    blob.#bytes = this.#bytes.slice(start, end);
    blob.#type = typeOf(type);
    return blob;
  }

  async arrayBuffer() { return this.#bytes.slice().buffer; }
  async bytes() { return this.#bytes.slice(); }
  async text() { return native.utf8Decode(this.#bytes, false, true); }
  stream() { return bytesStream(this.#bytes); }

  static {
    inside = {
      is: (value) => value !== null && typeof value === "object" && #bytes in value,
      bytes: (blob) => blob.#bytes,
      from(bytes, type) {
        const blob = new Blob();
        blob.#bytes = bytes;
        blob.#type = type;
        return blob;
      },
    };
  }
}
expose(Blob, "Blob", ["size", "type", "slice", "arrayBuffer", "bytes", "text", "stream"]);

export class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options) {
    if (arguments.length < 2) throw new TypeError("File: the parts and the name are needed");
    super(parts, options);
    this.#name = toUSVString(name);
    this.#lastModified = options?.lastModified === undefined ? Date.now() : Math.trunc(Number(options.lastModified));
  }

  get name() { return this.#name; }
  get lastModified() { return this.#lastModified; }
  get webkitRelativePath() { return ""; }
}
expose(File, "File", ["name", "lastModified"]);

/** Returns a stream of copies of these bytes. */
export function bytesStream(bytes) {
  let at = 0;
  const pull = async (controller) => {
    if (at < bytes.length) controls.enqueue(controller, bytes.slice(at, at + CHUNK_BYTES));
    at += CHUNK_BYTES;
    if (at >= bytes.length) controls.close(controller);
  };
  return createReadable({ pull, mark: 0 }).stream;
}

/** Whether the value is a Blob. */
export const isBlob = inside.is;
/** The blob's own bytes: not to be changed. */
export const blobBytes = inside.bytes;
/** A blob that takes these bytes. */
export const blobFrom = inside.from;
