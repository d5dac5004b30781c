/**
 * `TextEncoder`, `TextDecoder`, `atob` and `btoa`.
 *
 * Invariant: a decoder gives the same text however its input is cut into pieces. UTF-8 is the host's work; UTF-16LE and
 * windows-1252 are done here; other encodings throw a RangeError. It does not know streams.
 */
import * as native from "room:native";
import { DOMException } from "./dom-exception.js";
import { concat, expose, toUSVString, viewBytes } from "./webidl.js";

const NO_BYTES = new Uint8Array(0);

export class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(input = "") {
    return native.utf8Encode(toUSVString(input));
  }

  encodeInto(source, destination) {
    if (!(destination instanceof Uint8Array)) throw new TypeError("encodeInto: the destination must be a Uint8Array");
    const text = toUSVString(source);
    let read = 0;
    let written = 0;
    for (const character of text) {
      const bytes = native.utf8Encode(character);
      if (written + bytes.length > destination.length) break;
      destination.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}
expose(TextEncoder, "TextEncoder", ["encoding", "encode", "encodeInto"]);

const LABELS = new Map();
const NAMES = {
  "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
  "utf-16le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
  "windows-1252":
    "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 " +
    "iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252",
};
for (const [name, labels] of Object.entries(NAMES)) for (const label of labels.split(" ")) LABELS.set(label, name);

/** What the bytes 0x80 to 0x9F are in windows-1252. */
const WINDOWS_1252 =
  "\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f" +
  "\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178";

/** How many characters one call of `String.fromCharCode` makes. */
const PIECE = 4096;

/** How many bytes the character has that begins with this one; 1 if none does. */
function sequenceSize(byte) {
  if (byte >= 0xf0 && byte <= 0xf4) return 4;
  if (byte >= 0xe0 && byte < 0xf0) return 3;
  return byte >= 0xc2 && byte < 0xe0 ? 2 : 1;
}

/** Returns how many bytes at the end begin a character that is not complete. */
function incompleteUtf8(bytes) {
  const { length } = bytes;
  for (let back = 1; back <= Math.min(3, length); back++) {
    const byte = bytes[length - back];
    if ((byte & 0xc0) === 0x80) continue;
    if (sequenceSize(byte) <= back) return 0;
    if (back === 1) return 1;
    // The second byte decides whether the sequence can still become a character.
    const second = bytes[length - back + 1];
    const low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
    const high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high ? back : 0;
  }
  return 0;
}

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBOM;
  #kept = NO_BYTES;
  #begun = false;
  #surrogate = "";

  constructor(label = "utf-8", options = {}) {
    const name = `${label}`.replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "").toLowerCase();
    const encoding = LABELS.get(name);
    if (encoding === undefined) {
      throw new RangeError(`TextDecoder: "${label}" is not supported; there are utf-8, utf-16le and windows-1252`);
    }
    this.#encoding = encoding;
    this.#fatal = Boolean(options?.fatal);
    this.#ignoreBOM = Boolean(options?.ignoreBOM);
  }

  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }

  decode(input = NO_BYTES, options) {
    let bytes = viewBytes(input);
    if (bytes === undefined) throw new TypeError("TextDecoder.decode: the input must be a buffer or a view of one");
    const more = Boolean(options?.stream);
    if (!more && !this.#begun && this.#kept.length === 0 && this.#encoding === "utf-8") {
      return native.utf8Decode(bytes, this.#fatal, this.#ignoreBOM);
    }
    if (this.#kept.length > 0) bytes = concat([this.#kept, bytes]);
    this.#kept = NO_BYTES;
    try {
      return this.#decode(bytes, more);
    } catch (error) {
      this.#reset();
      throw error;
    }
  }

  #reset() {
    this.#begun = false;
    this.#kept = NO_BYTES;
    this.#surrogate = "";
  }

  #decode(bytes, more) {
    if (more) {
      let left = 0;
      if (this.#encoding === "utf-8") left = incompleteUtf8(bytes);
      if (this.#encoding === "utf-16le") left = bytes.length & 1;
      this.#kept = bytes.slice(bytes.length - left);
      bytes = bytes.subarray(0, bytes.length - left);
    }
    let text;
    if (this.#encoding === "utf-8") text = native.utf8Decode(bytes, this.#fatal, true);
    else if (this.#encoding === "utf-16le") text = this.#utf16(bytes, more);
    else text = latin(bytes);
    if (text !== "" && !this.#begun) {
      this.#begun = true;
      if (!this.#ignoreBOM && this.#encoding !== "windows-1252" && text[0] === "\ufeff") text = text.slice(1);
    }
    if (!more) this.#reset();
    return text;
  }

  #utf16(bytes, more) {
    let text = this.#surrogate;
    this.#surrogate = "";
    const whole = bytes.length & ~1;
    const units = [];
    for (let i = 0; i < whole; i += 2) {
      units.push(bytes[i] | (bytes[i + 1] << 8));
      if (units.length === PIECE) text += String.fromCharCode(...units.splice(0));
    }
    text += String.fromCharCode(...units);
    const last = text.charCodeAt(text.length - 1);
    if (more && last >= 0xd800 && last <= 0xdbff) {
      this.#surrogate = text.slice(-1);
      text = text.slice(0, -1);
    }
    if (this.#fatal && (whole !== bytes.length || !text.isWellFormed())) {
      throw new TypeError("TextDecoder.decode: the bytes are not valid utf-16le");
    }
    if (whole === bytes.length) return text.toWellFormed();
    // Half a unit is one error, together with the first half of a pair before it.
    return `${(last >= 0xd800 && last <= 0xdbff ? text.slice(0, -1) : text).toWellFormed()}\ufffd`;
  }
}
expose(TextDecoder, "TextDecoder", ["encoding", "fatal", "ignoreBOM", "decode"]);

function latin(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += PIECE) text += String.fromCharCode(...bytes.subarray(i, i + PIECE));
  return text.replace(/[\u0080-\u009f]/g, (character) => WINDOWS_1252[character.charCodeAt(0) - 0x80]);
}

/** Returns the bytes of a text whose characters are bytes, in base64. */
export function btoa(data) {
  const text = `${data}`;
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) {
      const why = "btoa: a character is above U+00FF; encode the text with TextEncoder first";
      throw new DOMException(why, "InvalidCharacterError");
    }
    bytes[i] = code;
  }
  return bytes.toBase64();
}

/** Returns what base64 stands for, one character a byte. */
export function atob(data) {
  let bytes;
  try {
    bytes = Uint8Array.fromBase64(`${data}`);
  } catch {
    throw new DOMException("atob: the text is not valid base64", "InvalidCharacterError");
  }
  let text = "";
  for (let i = 0; i < bytes.length; i += PIECE) text += String.fromCharCode(...bytes.subarray(i, i + PIECE));
  return text;
}
