/**
 * The algorithms with secret keys: HMAC and AES-GCM.
 *
 * Invariant: AES keys have 128 or 256 bits, initialization vectors 96 and tags 128; others throw. It does not know how
 * calls reach it: `subtle.js` has checked the key.
 */
import * as native from "room:native";
import { checkJwk, checkUsages, failure, fromBase64Url, hashName, keyBytes, makeKey, materialOf, toBase64Url,
  unknownFormat } from "./key.js";
import { bytesOf } from "../webidl.js";

const BLOCK_BYTES = { "SHA-1": 64, "SHA-256": 64, "SHA-384": 128, "SHA-512": 128 };

function secretBytes(format, data, expected, extractable, usages) {
  if (format === "raw" || format === "raw-secret") return keyBytes(data);
  if (format !== "jwk") throw unknownFormat(format, expected.name);
  const bytes = fromBase64Url(data?.k, "k");
  checkJwk(data, { kty: "oct", alg: expected.alg(bytes), use: expected.use }, extractable, usages);
  return bytes;
}

function exportSecret(format, key, alg) {
  const bytes = materialOf(key);
  if (format === "raw" || format === "raw-secret") return bytes.slice().buffer;
  if (format !== "jwk") throw unknownFormat(format, key.algorithm.name);
  return { kty: "oct", k: toBase64Url(bytes), alg, key_ops: [...key.usages], ext: key.extractable };
}

export const hmac = {
  name: "HMAC",

  importKey(format, data, algorithm, extractable, usages) {
    checkUsages(usages, ["sign", "verify"], "A key for HMAC");
    const hash = hashName(algorithm.hash);
    const expected = { name: "HMAC", alg: () => [`HS${hash.slice(4)}`], use: "sig" };
    const material = secretBytes(format, data, expected, extractable, usages);
    const bits = material.length * 8;
    if (bits === 0) throw failure("DataError", "HMAC: the key must not be empty");
    if (algorithm.length !== undefined && algorithm.length !== bits) {
      throw failure("DataError", `HMAC: the key has ${bits} bits, and length says ${algorithm.length}`);
    }
    return makeKey({
      type: "secret", extractable, usages, material, algorithm: { name: "HMAC", hash: { name: hash }, length: bits },
    });
  },

  generateKey(algorithm, extractable, usages) {
    const hash = hashName(algorithm.hash);
    const bits = algorithm.length ?? BLOCK_BYTES[hash] * 8;
    if (!(Number.isInteger(bits) && bits > 0 && bits % 8 === 0 && bits <= 524_288)) {
      throw failure("OperationError", "HMAC: the length must be a multiple of 8 from 8 to 524288 bits");
    }
    return hmac.importKey("raw", native.random(bits / 8), { hash }, extractable, usages);
  },

  exportKey: (format, key) => exportSecret(format, key, `HS${key.algorithm.hash.name.slice(4)}`),

  sign: (algorithm, key, data) => native.hmac(key.algorithm.hash.name, materialOf(key), data),

  verify: (algorithm, key, signature, data) =>
    native.timingSafeEqual(native.hmac(key.algorithm.hash.name, materialOf(key), data), signature),
};

/** Returns the parameters of a call. */
function gcm({ iv, additionalData, tagLength = 128 }) {
  const vector = bytesOf(iv, "AES-GCM: iv");
  if (vector.length !== 12) throw failure("OperationError", "AES-GCM: iv must have 12 bytes; others are not supported");
  if (tagLength !== 128) throw failure("OperationError", "AES-GCM: tagLength must be 128; others are not supported");
  return {
    iv: vector,
    aad: additionalData === undefined ? new Uint8Array(0) : bytesOf(additionalData, "AES-GCM: additionalData"),
  };
}

function keySize(bits, error) {
  if (bits !== 128 && bits !== 256) throw failure(error, "AES-GCM: a key must have 128 or 256 bits");
}

export const aesGcm = {
  name: "AES-GCM",

  importKey(format, data, algorithm, extractable, usages) {
    checkUsages(usages, ["encrypt", "decrypt", "wrapKey", "unwrapKey"], "A key for AES-GCM");
    const expected = { name: "AES-GCM", alg: (bytes) => [`A${bytes.length * 8}GCM`], use: "enc" };
    const material = secretBytes(format, data, expected, extractable, usages);
    const length = material.length * 8;
    keySize(length, "DataError");
    return makeKey({ type: "secret", extractable, usages, material, algorithm: { name: "AES-GCM", length } });
  },

  generateKey(algorithm, extractable, usages) {
    keySize(algorithm.length, "OperationError");
    return aesGcm.importKey("raw", native.random(algorithm.length / 8), algorithm, extractable, usages);
  },

  exportKey: (format, key) => exportSecret(format, key, `A${key.algorithm.length}GCM`),

  encrypt(algorithm, key, data) {
    const { iv, aad } = gcm(algorithm);
    return native.aesGcm(true, materialOf(key), iv, aad, data, 128);
  },

  decrypt(algorithm, key, data) {
    const { iv, aad } = gcm(algorithm);
    const plain = data.length < 16 ? null : native.aesGcm(false, materialOf(key), iv, aad, data, 128);
    if (plain === null || plain === undefined) {
      throw failure("OperationError", "AES-GCM: the data is not what this key and these parameters encrypted");
    }
    return plain;
  },
};
