/**
 * The public keys of X.509 (SubjectPublicKeyInfo) and the private ones of PKCS#8, as far as keys need them.
 *
 * Invariant: what is not exactly such a key throws a DataError. It does not know what the keys are for.
 */
import { failure } from "./key.js";
import { concat } from "../webidl.js";

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const BITS = 0x03;
const OCTETS = 0x04;
const NULL = 0x05;
const OBJECT = 0x06;

const invalid = () => failure("DataError", "The key data is not a valid DER key of this algorithm");

/** Reads one element after the other. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get done() {
    return this.at === this.bytes.length;
  }

  get tag() {
    return this.bytes[this.at];
  }

  /** Returns the content of the next element, which must have this tag. */
  take(tag) {
    if (this.bytes[this.at] !== tag) throw invalid();
    let length = this.bytes[this.at + 1];
    let start = this.at + 2;
    if (length === undefined || length === 0x80 || length > 0x82) throw invalid();
    if (length > 0x80) {
      const count = length - 0x80;
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + this.bytes[start++];
    }
    if (!(start + length <= this.bytes.length)) throw invalid();
    this.at = start + length;
    return this.bytes.subarray(start, start + length);
  }

  inside(tag) {
    return new Reader(this.take(tag));
  }
}

function element(tag, ...parts) {
  const content = concat(parts);
  const { length } = content;
  let head = [tag, 0x82, length >> 8, length & 255];
  if (length < 0x80) head = [tag, length];
  else if (length < 0x100) head = [tag, 0x81, length];
  return concat([new Uint8Array(head), content]);
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text) => Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));

/** The object identifiers, in hexadecimal. */
export const OID = {
  rsa: "2a864886f70d010101",
  ec: "2a8648ce3d0201",
  "P-256": "2a8648ce3d030107",
  "P-384": "2b81040022",
  ed25519: "2b6570",
};

function algorithmOf(reader) {
  const algorithm = reader.inside(SEQUENCE);
  const oid = hex(algorithm.take(OBJECT));
  const parameter = algorithm.done || algorithm.tag === NULL ? "" : hex(algorithm.take(OBJECT));
  return { oid, parameter };
}

/** Returns the key bits of a public key with this algorithm and parameter (`""` for none). */
export function readSpki(bytes, oid, parameter = "") {
  const outer = new Reader(bytes);
  const spki = outer.inside(SEQUENCE);
  const found = algorithmOf(spki);
  const bits = spki.take(BITS);
  if (!outer.done || !spki.done || bits[0] !== 0 || found.oid !== oid || found.parameter !== parameter) throw invalid();
  return bits.slice(1);
}

/** Returns the public key in DER. */
export function writeSpki(bits, oid, parameter) {
  const end = parameter === undefined ? [] : [parameter === null ? element(NULL) : element(OBJECT, unhex(parameter))];
  const algorithm = element(SEQUENCE, element(OBJECT, unhex(oid)), ...end);
  return element(SEQUENCE, algorithm, element(BITS, new Uint8Array(1), bits));
}

/** Returns the octets of a private key whose algorithm has no parameter: of Ed25519, its seed. */
export function readPkcs8(bytes, oid) {
  const outer = new Reader(bytes);
  const pkcs8 = outer.inside(SEQUENCE);
  const version = hex(pkcs8.take(INTEGER));
  const found = algorithmOf(pkcs8);
  if (!outer.done || (version !== "00" && version !== "01") || found.oid !== oid) throw invalid();
  const seed = pkcs8.inside(OCTETS);
  const octets = seed.take(OCTETS);
  if (!seed.done) throw invalid();
  return octets.slice();
}

/** Returns the private key in DER. */
export function writePkcs8(octets, oid) {
  const algorithm = element(SEQUENCE, element(OBJECT, unhex(oid)));
  return element(SEQUENCE, element(INTEGER, new Uint8Array(1)), algorithm, element(OCTETS, element(OCTETS, octets)));
}

/** Returns a number's bytes without leading zeros. */
function trim(bytes) {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  return bytes.slice(start);
}

/** Returns modulus and exponent of an RSA key's bits. */
export function readRsa(bits) {
  const outer = new Reader(bits);
  const key = outer.inside(SEQUENCE);
  const n = trim(key.take(INTEGER));
  const e = trim(key.take(INTEGER));
  if (!outer.done || !key.done) throw invalid();
  return { n, e };
}

/** Returns the bits of an RSA key. */
export function writeRsa({ n, e }) {
  const integer = (bytes) => element(INTEGER, ...(bytes[0] >= 0x80 ? [new Uint8Array(1)] : []), bytes);
  return element(SEQUENCE, integer(n), integer(e));
}
