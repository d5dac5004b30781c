/**
 * The algorithms with key pairs: Ed25519 whole; ECDSA and RSASSA-PKCS1-v1_5 with public keys, to verify.
 *
 * Invariant: a signature of the wrong length is not valid, and no error. It does not know how calls reach it:
 * `subtle.js` has checked the key.
 */
import * as native from "room:native";
import { OID, readPkcs8, readRsa, readSpki, writePkcs8, writeRsa, writeSpki } from "./der.js";
import { checkJwk, checkUsages, failure, fromBase64Url, hashName, keyBytes, makeKey, materialOf, toBase64Url,
  unknownFormat } from "./key.js";
import { concat } from "../webidl.js";

const jwkOf = (key, members) => ({ ...members, key_ops: [...key.usages], ext: key.extractable });

function bytes32(bytes, what) {
  if (bytes.length !== 32) throw failure("DataError", `Ed25519: ${what} must have 32 bytes`);
  return bytes;
}

function ed25519Jwk(data, extractable, usages) {
  const type = data?.d === undefined ? "public" : "private";
  checkUsages(usages, type === "public" ? ["verify"] : ["sign"], `A ${type} key for Ed25519`);
  checkJwk(data, { kty: "OKP", crv: "Ed25519", alg: ["EdDSA", "Ed25519"], use: "sig" }, extractable, usages);
  const x = bytes32(fromBase64Url(data.x, "x"), "x");
  if (type === "public") return { type, material: { public: x } };
  const seed = bytes32(fromBase64Url(data.d, "d"), "d");
  if (!native.timingSafeEqual(native.ed25519Public(seed), x)) {
    throw failure("DataError", "The JSON web key is invalid: its x is not the public key of its d");
  }
  return { type, material: { seed, public: x } };
}

function ed25519Material(format, data, extractable, usages) {
  if (format === "jwk") return ed25519Jwk(data, extractable, usages);
  if (format === "pkcs8") {
    checkUsages(usages, ["sign"], "A private key for Ed25519");
    const seed = bytes32(readPkcs8(keyBytes(data), OID.ed25519), "the key");
    return { type: "private", material: { seed, public: native.ed25519Public(seed) } };
  }
  checkUsages(usages, ["verify"], "A public key for Ed25519");
  if (format === "raw" || format === "raw-public") {
    return { type: "public", material: { public: bytes32(keyBytes(data), "the key") } };
  }
  if (format !== "spki") throw unknownFormat(format, "Ed25519");
  return { type: "public", material: { public: bytes32(readSpki(keyBytes(data), OID.ed25519), "the key") } };
}

export const ed25519 = {
  name: "Ed25519",

  importKey(format, data, algorithm, extractable, usages) {
    const { type, material } = ed25519Material(format, data, extractable, usages);
    return makeKey({ type, material, extractable, usages, algorithm: { name: "Ed25519" } });
  },

  generateKey(algorithm, extractable, usages) {
    checkUsages(usages, ["sign", "verify"], "A key pair for Ed25519");
    const seed = native.random(32);
    const material = { seed, public: native.ed25519Public(seed) };
    const make = (type, usage) => makeKey({
      type,
      extractable: type === "public" || extractable,
      material: type === "public" ? { public: material.public } : material,
      usages: usages.filter((it) => it === usage), algorithm: { name: "Ed25519" },
    });
    return { privateKey: make("private", "sign"), publicKey: make("public", "verify") };
  },

  exportKey(format, key) {
    const material = materialOf(key);
    if (format === "jwk") {
      const members = { kty: "OKP", crv: "Ed25519", alg: "Ed25519", x: toBase64Url(material.public) };
      if (key.type === "private") members.d = toBase64Url(material.seed);
      return jwkOf(key, members);
    }
    const wanted = format === "pkcs8" ? "private" : "public";
    if (key.type !== wanted) throw failure("InvalidAccessError", `The format "${format}" is for ${wanted} keys`);
    if (format === "pkcs8") return writePkcs8(material.seed, OID.ed25519).buffer;
    if (format === "spki") return writeSpki(material.public, OID.ed25519).buffer;
    if (format === "raw" || format === "raw-public") return material.public.slice().buffer;
    throw unknownFormat(format, "Ed25519");
  },

  sign: (algorithm, key, data) => native.ed25519Sign(materialOf(key).seed, data),

  verify: (algorithm, key, signature, data) =>
    signature.length === 64 && native.ed25519Verify(materialOf(key).public, signature, data),
};

const POINT_BYTES = { "P-256": 32, "P-384": 48 };

function curveOf(algorithm) {
  const curve = `${algorithm.namedCurve}`;
  if (!Object.hasOwn(POINT_BYTES, curve)) {
    throw failure("NotSupportedError", `ECDSA: the curve ${curve} is not supported; there are P-256 and P-384`);
  }
  return curve;
}

function pointOf(format, data, curve, extractable, usages) {
  if (format === "jwk") {
    if (data?.d !== undefined) throw failure("NotSupportedError", "ECDSA: private keys are not supported");
    const alg = [curve === "P-256" ? "ES256" : "ES384"];
    checkJwk(data, { kty: "EC", crv: curve, alg, use: "sig" }, extractable, usages);
    return concat([new Uint8Array([4]), fromBase64Url(data.x, "x"), fromBase64Url(data.y, "y")]);
  }
  if (format === "spki") return readSpki(keyBytes(data), OID.ec, OID[curve]);
  if (format === "raw" || format === "raw-public") return keyBytes(data);
  throw unknownFormat(format, "ECDSA", ": only public keys are");
}

export const ecdsa = {
  name: "ECDSA",

  importKey(format, data, algorithm, extractable, usages) {
    const curve = curveOf(algorithm);
    checkUsages(usages, ["verify"], "A public key for ECDSA");
    const material = pointOf(format, data, curve, extractable, usages);
    if (material.length !== 1 + 2 * POINT_BYTES[curve] || material[0] !== 4) {
      throw failure("DataError", `ECDSA: the key is not an uncompressed point of ${curve}`);
    }
    return makeKey({ type: "public", material, extractable, usages, algorithm: { name: "ECDSA", namedCurve: curve } });
  },

  exportKey(format, key) {
    const point = materialOf(key);
    const curve = key.algorithm.namedCurve;
    const size = POINT_BYTES[curve];
    if (format === "raw" || format === "raw-public") return point.slice().buffer;
    if (format === "spki") return writeSpki(point, OID.ec, OID[curve]).buffer;
    if (format !== "jwk") throw unknownFormat(format, "ECDSA", ": only public keys are");
    const x = toBase64Url(point.subarray(1, 1 + size));
    return jwkOf(key, { kty: "EC", crv: curve, x, y: toBase64Url(point.subarray(1 + size)) });
  },

  verify(algorithm, key, signature, data) {
    const curve = key.algorithm.namedCurve;
    const hash = hashName(algorithm.hash);
    if (signature.length !== 2 * POINT_BYTES[curve]) return false;
    return native.ecdsaVerify(curve, hash, materialOf(key), signature, data);
  },
};

export const rsa = {
  name: "RSASSA-PKCS1-v1_5",

  importKey(format, data, algorithm, extractable, usages) {
    const hash = hashName(algorithm.hash);
    checkUsages(usages, ["verify"], "A public key for RSASSA-PKCS1-v1_5");
    let material;
    if (format === "jwk") {
      if (data?.d !== undefined) throw failure("NotSupportedError", `${rsa.name}: private keys are not supported`);
      checkJwk(data, { kty: "RSA", alg: [`RS${hash.slice(4)}`], use: "sig" }, extractable, usages);
      material = { n: fromBase64Url(data.n, "n"), e: fromBase64Url(data.e, "e") };
    } else if (format === "spki") {
      material = readRsa(readSpki(keyBytes(data), OID.rsa));
    } else {
      throw unknownFormat(format, "RSASSA-PKCS1-v1_5", ": only public keys are");
    }
    return makeKey({
      type: "public", material, extractable, usages,
      algorithm: {
        name: "RSASSA-PKCS1-v1_5", modulusLength: material.n.length * 8, publicExponent: material.e.slice(),
        hash: { name: hash },
      },
    });
  },

  exportKey(format, key) {
    const { n, e } = materialOf(key);
    if (format === "spki") return writeSpki(writeRsa({ n, e }), OID.rsa, null).buffer;
    if (format !== "jwk") throw unknownFormat(format, "RSASSA-PKCS1-v1_5", ": only public keys are");
    const alg = `RS${key.algorithm.hash.name.slice(4)}`;
    return jwkOf(key, { kty: "RSA", alg, n: toBase64Url(n), e: toBase64Url(e) });
  },

  verify(algorithm, key, signature, data) {
    const { n, e } = materialOf(key);
    return signature.length === n.length && native.rsaVerify(key.algorithm.hash.name, n, e, signature, data);
  },
};
