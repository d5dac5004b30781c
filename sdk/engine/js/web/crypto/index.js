/**
 * `crypto`: random values, and the web's cryptography (`crypto.subtle`) over the host's.
 *
 * Invariant: a call with a key of another algorithm, or without the usage, is rejected before the key's bytes are
 * looked at. What the host cannot do is not there: see the table of algorithms. It does not know keys' formats.
 */
import * as native from "room:native";
import { CryptoKey, failure, hashName, isCryptoKey } from "./key.js";
import { ecdsa, ed25519, rsa } from "./public.js";
import { aesGcm, hmac } from "./secret.js";
import { bytesOf, exactBuffer, expose } from "../webidl.js";

/** How many random bytes one call gives at most. */
const RANDOM_BYTES_MAX = 65_536;

const ALGORITHMS = new Map([hmac, aesGcm, ed25519, ecdsa, rsa].map((it) => [it.name.toUpperCase(), it]));

/** Returns the algorithm that is asked for, and its parameters. */
function find(asked, operation) {
  const parameters = typeof asked === "string" ? { name: asked } : asked;
  if (parameters === null || typeof parameters !== "object" || parameters.name === undefined) {
    throw new TypeError("The algorithm must be a name, or an object with a name");
  }
  const algorithm = ALGORITHMS.get(`${parameters.name}`.toUpperCase());
  if (algorithm?.[operation] === undefined) {
    throw failure("NotSupportedError", `crypto.subtle.${operation}: ${parameters.name} is not supported`);
  }
  return { algorithm, parameters };
}

/** As `find`, for an operation with a key, which must be of the algorithm and have the usage. */
function findFor(asked, operation, key) {
  const found = find(asked, operation);
  if (!isCryptoKey(key)) throw new TypeError(`crypto.subtle.${operation}: the key must be a CryptoKey`);
  if (key.algorithm.name !== found.algorithm.name) {
    throw failure("InvalidAccessError", `crypto.subtle.${operation}: the key is for ${key.algorithm.name}`);
  }
  if (!key.usages.includes(operation)) {
    throw failure("InvalidAccessError", `crypto.subtle.${operation}: the key does not have the usage "${operation}"`);
  }
  return found;
}

export class SubtleCrypto {
  async digest(algorithm, data) {
    return exactBuffer(native.digest(hashName(algorithm), bytesOf(data, "The data")));
  }

  async importKey(format, keyData, algorithm, extractable, keyUsages) {
    const found = find(algorithm, "importKey");
    return found.algorithm.importKey(`${format}`, keyData, found.parameters, Boolean(extractable), [...keyUsages]);
  }

  async generateKey(algorithm, extractable, keyUsages) {
    const found = find(algorithm, "generateKey");
    return found.algorithm.generateKey(found.parameters, Boolean(extractable), [...keyUsages]);
  }

  async exportKey(format, key) {
    if (!isCryptoKey(key)) throw new TypeError("crypto.subtle.exportKey: the key must be a CryptoKey");
    const { algorithm } = find(key.algorithm.name, "exportKey");
    if (!key.extractable) throw failure("InvalidAccessError", "crypto.subtle.exportKey: the key is not extractable");
    return algorithm.exportKey(`${format}`, key);
  }

  async sign(algorithm, key, data) {
    const found = findFor(algorithm, "sign", key);
    return exactBuffer(found.algorithm.sign(found.parameters, key, bytesOf(data, "The data")));
  }

  async verify(algorithm, key, signature, data) {
    const found = findFor(algorithm, "verify", key);
    const bytes = bytesOf(signature, "The signature");
    return found.algorithm.verify(found.parameters, key, bytes, bytesOf(data, "The data"));
  }

  async encrypt(algorithm, key, data) {
    const found = findFor(algorithm, "encrypt", key);
    return exactBuffer(found.algorithm.encrypt(found.parameters, key, bytesOf(data, "The data")));
  }

  async decrypt(algorithm, key, data) {
    const found = findFor(algorithm, "decrypt", key);
    return exactBuffer(found.algorithm.decrypt(found.parameters, key, bytesOf(data, "The data")));
  }

  /** Compares two buffers of one length in a time that does not depend on what they hold. */
  timingSafeEqual(a, b) {
    const [left, right] = [bytesOf(a, "The first value"), bytesOf(b, "The second value")];
    if (left.length !== right.length) throw new TypeError("timingSafeEqual: both must have the same length");
    return native.timingSafeEqual(left, right);
  }
}
expose(SubtleCrypto, "SubtleCrypto",
  ["digest", "importKey", "generateKey", "exportKey", "sign", "verify", "encrypt", "decrypt", "timingSafeEqual"]);

const subtle = new SubtleCrypto();

export class Crypto {
  get subtle() {
    return subtle;
  }

  getRandomValues(array) {
    if (!ArrayBuffer.isView(array) || !/Int|Uint/.test(array[Symbol.toStringTag])) {
      throw failure("TypeMismatchError", "crypto.getRandomValues: the argument must be an array of integers");
    }
    if (array.byteLength > RANDOM_BYTES_MAX) {
      throw failure("QuotaExceededError", `crypto.getRandomValues: at most ${RANDOM_BYTES_MAX} bytes at once`);
    }
    bytesOf(array, "The array").set(native.random(array.byteLength));
    return array;
  }

  randomUUID() {
    const bytes = native.random(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
}
expose(Crypto, "Crypto", ["subtle", "getRandomValues", "randomUUID"]);

export const crypto = new Crypto();
export { CryptoKey };
