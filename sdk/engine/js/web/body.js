/**
 * The body of a request or a response: what it is made of, and how it is read.
 *
 * Invariant: a body is read once. It is bytes or text for as long as nobody asks for a stream; then the stream is what
 * says whether it was read. It does not know which of the two it belongs to.
 */
import * as native from "room:native";
import { blobBytes, blobFrom, bytesStream, isBlob } from "./blob.js";
import { FormData, isFormData, parseMultipart, toMultipart } from "./form-data.js";
import { isDisturbed, isReadable, ReadableStream, tee } from "./streams/readable.js";
import { parseForm, URLSearchParams } from "./url.js";
import { concat, exactBuffer, toUSVString, viewBytes } from "./webidl.js";

const NO_BYTES = new Uint8Array(0);

export class Body {
  /** @param {string|Uint8Array|ReadableStream|null} source bytes are the body's own */
  constructor(source) {
    this.source = typeof source === "string" || source instanceof Uint8Array ? source : null;
    this.stream = source !== null && this.source === null ? source : null;
    this.used = false;
    /** Whether a clone has the same bytes: then a reader gets a copy. */
    this.shared = false;
  }

  get isNull() {
    return this.source === null && this.stream === null;
  }

  get isUsed() {
    return this.stream === null ? this.used : isDisturbed(this.stream);
  }

  get isUnusable() {
    return this.stream === null ? this.used : this.stream.locked || isDisturbed(this.stream);
  }

  /** The stream that `body` shows; made when it is asked for. */
  open() {
    if (this.stream !== null || this.source === null) return this.stream;
    const { source } = this;
    this.stream = this.used ? emptied() : bytesStream(typeof source === "string" ? native.utf8Encode(source) : source);
    this.source = null;
    return this.stream;
  }

  clone() {
    if (this.isUnusable) throw new TypeError("clone: the body was read already, or is being read");
    if (this.stream !== null) {
      const [mine, other] = tee(this.stream, (chunk) => (chunk instanceof Uint8Array ? chunk.slice() : chunk));
      this.stream = mine;
      return new Body(other);
    }
    const body = new Body(this.source);
    this.shared = true;
    body.shared = true;
    return body;
  }

  /** Takes the body at once: text, bytes, or the stream that has to be read. */
  take() {
    if (this.isNull) return NO_BYTES;
    if (this.isUnusable) throw unusable();
    if (this.stream !== null) return this.stream;
    this.used = true;
    return this.source;
  }
}

function unusable() {
  return new TypeError("Body is unusable: it was read already, or a reader has locked it");
}

function emptied() {
  const stream = new ReadableStream({ start: (controller) => controller.close() });
  stream.cancel();
  return stream;
}

/** Returns the body and its content type (null if it gives none). @returns {{body: Body, type: string|null}} */
export function bodyOf(init) {
  if (init === null || init === undefined) return { body: new Body(null), type: null };
  if (typeof init === "string") return { body: new Body(toUSVString(init)), type: "text/plain;charset=UTF-8" };
  const bytes = viewBytes(init);
  if (bytes !== undefined) return { body: new Body(bytes.slice()), type: null };
  if (isReadable(init)) {
    if (init.locked || isDisturbed(init)) throw new TypeError("The body's stream is locked, or was read already");
    return { body: new Body(init), type: null };
  }
  if (isBlob(init)) return { body: new Body(blobBytes(init).slice()), type: init.type || null };
  if (isFormData(init)) {
    const multipart = toMultipart(init);
    return { body: new Body(multipart.bytes), type: multipart.type };
  }
  if (init instanceof URLSearchParams) {
    return { body: new Body(init.toString()), type: "application/x-www-form-urlencoded;charset=UTF-8" };
  }
  return { body: new Body(toUSVString(init)), type: "text/plain;charset=UTF-8" };
}

/** Returns all that the stream gives. @returns {Promise<Uint8Array>} */
export async function readAll(stream) {
  const parts = [];
  const reader = stream.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return parts.length === 0 ? NO_BYTES : concat(parts);
    if (!(value instanceof Uint8Array)) {
      const error = new TypeError("The stream of a body must give Uint8Arrays; pipe text through a TextEncoderStream");
      reader.cancel(error).then(undefined, () => {});
      throw error;
    }
    parts.push(value);
  }
}

/** Takes the body whole. @returns {Promise<Uint8Array>} */
async function takeBytes(body) {
  const taken = body.take();
  if (typeof taken === "string") return native.utf8Encode(taken);
  if (!(taken instanceof Uint8Array)) return readAll(taken);
  return body.shared ? taken.slice() : taken;
}

/** Takes the body as text, without a byte order mark. @returns {Promise<string>} */
async function takeText(body) {
  const taken = body.take();
  if (typeof taken === "string") return taken.charCodeAt(0) === 0xfeff ? taken.slice(1) : taken;
  return native.utf8Decode(taken instanceof Uint8Array ? taken : await readAll(taken), false, false);
}

async function takeForm(body, type) {
  const essence = (type ?? "").split(";", 1)[0].trim().toLowerCase();
  if (essence === "multipart/form-data") return parseMultipart(await takeBytes(body), type);
  if (essence !== "application/x-www-form-urlencoded") {
    throw new TypeError(`formData: the content type is ${type ?? "missing"}, and not one of a form`);
  }
  const form = new FormData();
  for (const [name, value] of parseForm(await takeText(body))) form.append(name, value);
  return form;
}

/** Gives a class the members of the Fetch Standard's Body. @param {(it: object) => Body} bodyIn */
export function mixBody(type, bodyIn) {
  const members = {
    get body() { return bodyIn(this).open(); },
    get bodyUsed() { return bodyIn(this).isUsed; },
    async arrayBuffer() { return exactBuffer(await takeBytes(bodyIn(this))); },
    async bytes() { return takeBytes(bodyIn(this)); },
    async text() { return takeText(bodyIn(this)); },
    async json() { return JSON.parse(await takeText(bodyIn(this))); },
    async blob() { return blobFrom((await takeBytes(bodyIn(this))).slice(), contentType(this)); },
    async formData() { return takeForm(bodyIn(this), this.headers.get("content-type")); },
  };
  Object.defineProperties(type.prototype, Object.getOwnPropertyDescriptors(members));
}

function contentType(it) {
  return (it.headers.get("content-type") ?? "").toLowerCase();
}
