/**
 * `CryptoKey`, and the checks that all algorithms make of formats, usages and JSON web keys.
 *
 * Invariant: a key's bytes leave it only by `exportKey`, and only if it is extractable. It does not know algorithms.
 */
import { DOMException } from "../dom-exception.js";
import { bytesOf, expose } from "../webidl.js";

const MAKE = Symbol("make");
const USAGES = ["encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"];
let inside;

export class CryptoKey {
  #type;
  #extractable;
  #algorithm;
  #usages;
  #material;

  constructor(token, { type, extractable, algorithm, usages, material }) {
    if (token !== MAKE) throw new TypeError("Illegal constructor: use crypto.subtle.importKey or generateKey");
    this.#type = type;
    this.#extractable = extractable;
    this.#algorithm = algorithm;
    this.#usages = USAGES.filter((usage) => usages.includes(usage));
    this.#material = material;
  }

  get type() { return this.#type; }
  get extractable() { return this.#extractable; }
  get algorithm() { return this.#algorithm; }
  get usages() { return this.#usages; }

  static {
    inside = {
      is: (value) => value !== null && typeof value === "object" && #material in value,
      material: (key) => key.#material,
      clone: (key) => new CryptoKey(MAKE, {
        type: key.#type, extractable: key.#extractable, algorithm: key.#algorithm, usages: key.#usages,
        material: key.#material,
      }),
    };
  }
}
expose(CryptoKey, "CryptoKey", ["type", "extractable", "algorithm", "usages"]);

export const isCryptoKey = inside.is;
/** What the key is made of. */
export const materialOf = inside.material;
export const cloneKey = inside.clone;

/** Returns a key. @param {{type: "secret"|"public"|"private", extractable: boolean, algorithm: object}} parts */
export function makeKey(parts) {
  if (parts.type !== "public" && parts.usages.length === 0) {
    throw new DOMException("The usages of a secret or private key must not be empty", "SyntaxError");
  }
  return new CryptoKey(MAKE, parts);
}

export const failure = (name, text) => new DOMException(text, name);

/** Throws unless each usage is one of these. */
export function checkUsages(usages, allowed, what) {
  for (const usage of usages) {
    if (!USAGES.includes(usage)) throw new TypeError(`"${usage}" is an invalid usage of a key`);
    if (!allowed.includes(usage)) throw failure("SyntaxError", `${what} cannot have the usage "${usage}"`);
  }
}

/** Returns a copy of key bytes in the formats raw, spki and pkcs8. */
export function keyBytes(data) {
  return bytesOf(data, "The key data").slice();
}

/** Throws a DataError unless the JSON web key is of this type and may be used so. @param {object} expected */
export function checkJwk(jwk, { kty, alg, use, crv }, extractable, usages) {
  if (jwk === null || typeof jwk !== "object" || ArrayBuffer.isView(jwk) || jwk instanceof ArrayBuffer) {
    throw new TypeError("The key data of the format jwk must be an object");
  }
  const no = (why) => failure("DataError", `The JSON web key is invalid: ${why}`);
  if (jwk.kty !== kty) throw no(`its kty must be "${kty}"`);
  if (crv !== undefined && jwk.crv !== crv) throw no(`its crv must be "${crv}"`);
  if (alg !== undefined && jwk.alg !== undefined && !alg.includes(jwk.alg)) {
    throw no(`its alg must be ${alg.join(" or ")}`);
  }
  if (usages.length > 0 && jwk.use !== undefined && jwk.use !== use) throw no(`its use must be "${use}"`);
  if (jwk.key_ops !== undefined && !usages.every((usage) => jwk.key_ops.includes(usage))) {
    throw no("its key_ops lack one of the usages");
  }
  if (jwk.ext === false && extractable) throw no("it is not extractable");
}

/** Returns the bytes of a member of a JSON web key. */
export function fromBase64Url(text, what) {
  try {
    if (typeof text !== "string" || text.includes("=")) throw new TypeError();
    return Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    throw failure("DataError", `The JSON web key is invalid: its ${what} must be base64url without padding`);
  }
}

/** Returns the base64url form of bytes. */
export function toBase64Url(bytes) {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true }).replaceAll("=", "");
}

/** The error of a format that an algorithm does not take. */
export function unknownFormat(format, algorithm, type = "") {
  return failure("NotSupportedError", `${algorithm}: the format "${format}" is not supported${type}`);
}

/** Returns the name of a hash: `SHA-256` of `"sha-256"` or `{name: "SHA-256"}`. */
export function hashName(hash) {
  if (hash === undefined) throw new TypeError("The algorithm's hash is missing");
  const name = `${typeof hash === "object" && hash !== null ? hash.name : hash}`.toUpperCase();
  if (!["SHA-1", "SHA-256", "SHA-384", "SHA-512"].includes(name)) {
    throw failure("NotSupportedError", `The hash ${name} is not supported`);
  }
  return name;
}
