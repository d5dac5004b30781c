// crypto: the expected values are those of Node, and of RFC 4231, RFC 8032 and NIST.
import { equal, rejects, test, throws } from "room:test";

const { subtle } = crypto;
const text = (value) => new TextEncoder().encode(value);
const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (value) => new Uint8Array(value.match(/../g).map((pair) => Number.parseInt(pair, 16)));

test("random values", () => {
  const bytes = crypto.getRandomValues(new Uint8Array(64));
  equal([bytes.length, bytes.some((byte) => byte !== 0)], [64, true]);
  equal(crypto.getRandomValues(new Uint32Array(2)).length, 2);
  throws(() => crypto.getRandomValues(new Float32Array(1)), "TypeMismatchError");
  throws(() => crypto.getRandomValues(new Uint8Array(65537)), "QuotaExceededError");
  const uuid = crypto.randomUUID();
  equal([/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid), uuid === crypto.randomUUID()],
    [true, false]);
  const number = Math.random();
  equal([number >= 0 && number < 1, number === Math.random()], [true, false]);
});

test("digests", async () => {
  equal(hex(await subtle.digest("SHA-1", text("abc"))), "a9993e364706816aba3e25717850c26c9cd0d89d");
  equal(hex(await subtle.digest({ name: "sha-256" }, text("abc").buffer)),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  equal(hex(await subtle.digest("SHA-384", text("abc"))).slice(0, 32), "cb00753f45a35e8bb5a03d699ac65007");
  equal(hex(await subtle.digest("SHA-512", new Uint8Array(0))).slice(0, 32), "cf83e1357eefb8bdf1542850d66d8007");
  await rejects(subtle.digest("MD5", text("abc")), "NotSupportedError");
  await rejects(subtle.digest("SHA-256", "abc"), TypeError);
});

test("HMAC signs and verifies", async () => {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await subtle.importKey("raw", text("Jefe"), algorithm, true, ["verify", "sign"]);
  equal([key.type, key.extractable, key.algorithm, key.usages],
    ["secret", true, { name: "HMAC", hash: { name: "SHA-256" }, length: 32 }, ["sign", "verify"]]);
  const signature = await subtle.sign("HMAC", key, text("what do ya want for nothing?"));
  equal(hex(signature), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  equal(await subtle.verify("HMAC", key, signature, text("what do ya want for nothing?")), true);
  equal(await subtle.verify("hmac", key, signature, text("other")), false);
  equal(await subtle.verify("HMAC", key, new Uint8Array(3), text("x")), false);
  equal(await subtle.exportKey("jwk", key),
    { kty: "oct", k: "SmVmZQ", alg: "HS256", key_ops: ["sign", "verify"], ext: true });
  equal(hex(await subtle.exportKey("raw", key)), hex(text("Jefe")));
  const jwk = { kty: "oct", k: "SmVmZQ", alg: "HS512" };
  await rejects(subtle.importKey("jwk", jwk, algorithm, true, ["sign"]), "DataError");
  equal((await subtle.generateKey({ name: "HMAC", hash: "SHA-512" }, false, ["sign"])).algorithm.length, 1024);
});

test("keys are guarded", async () => {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await subtle.importKey("raw", text("k"), algorithm, false, ["verify"]);
  await rejects(subtle.exportKey("raw", key), "InvalidAccessError");
  await rejects(subtle.sign("HMAC", key, text("x")), "InvalidAccessError");
  await rejects(subtle.encrypt({ name: "AES-GCM", iv: new Uint8Array(12) }, key, text("x")), "InvalidAccessError");
  await rejects(subtle.importKey("raw", text("k"), algorithm, true, []), "SyntaxError");
  await rejects(subtle.importKey("raw", text("k"), algorithm, true, ["encrypt"]), "SyntaxError");
  await rejects(subtle.importKey("raw", text("k"), algorithm, true, ["nonsense"]), TypeError);
  await rejects(subtle.importKey("raw", text("k"), "NOPE", true, ["sign"]), "NotSupportedError");
  throws(() => new CryptoKey(), TypeError);
});

test("AES-GCM encrypts and decrypts", async () => {
  const key = await subtle.importKey("raw", unhex("feffe9928665731c6d6a8f9467308308"), "AES-GCM", true, ["encrypt", "decrypt"]);
  const parameters = { name: "AES-GCM", iv: unhex("cafebabefacedbaddecaf888"), additionalData: unhex("feedface") };
  const secret = await subtle.encrypt(parameters, key, text("hello"));
  equal(hex(secret), "f3d7408bb60111e8cae2c0b98350c15c983b1f0c53");
  equal(hex(await subtle.decrypt(parameters, key, secret)), hex(text("hello")));
  const broken = new Uint8Array(secret);
  broken[0] ^= 1;
  await rejects(subtle.decrypt(parameters, key, broken), "OperationError");
  await rejects(subtle.decrypt(parameters, key, new Uint8Array(3)), "OperationError");
  await rejects(subtle.importKey("raw", new Uint8Array(5), "AES-GCM", true, ["encrypt"]), "DataError");
  const made = await subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt"]);
  equal([made.algorithm, (await subtle.exportKey("jwk", made)).alg], [{ name: "AES-GCM", length: 256 }, "A256GCM"]);
  await rejects(subtle.generateKey({ name: "AES-GCM", length: 100 }, true, ["encrypt"]), "OperationError");
});

test("Ed25519 signs and verifies", async () => {
  const seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  const jwk = {
    kty: "OKP", crv: "Ed25519", d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  };
  const key = await subtle.importKey("jwk", jwk, "Ed25519", true, ["sign"]);
  const signature = await subtle.sign("Ed25519", key, new Uint8Array(0));
  equal(hex(signature).slice(0, 32), "e5564300c360ac729086e2cc806e828a");
  const pkcs8 = await subtle.importKey("pkcs8", unhex(`302e020100300506032b657004220420${hex(seed)}`), "Ed25519", true, ["sign"]);
  equal(hex(await subtle.sign("Ed25519", pkcs8, new Uint8Array(0))), hex(signature));
  equal(hex(await subtle.exportKey("pkcs8", key)), `302e020100300506032b657004220420${hex(seed)}`);
  const { d, ...open } = jwk;
  const publicKey = await subtle.importKey("jwk", open, { name: "Ed25519" }, true, ["verify"]);
  equal(await subtle.verify("Ed25519", publicKey, signature, new Uint8Array(0)), true);
  equal(await subtle.verify("Ed25519", publicKey, signature, text("x")), false);
  const spki = await subtle.exportKey("spki", publicKey);
  equal(hex(spki).slice(0, 24), "302a300506032b6570032100");
  const again = await subtle.importKey("spki", spki, "Ed25519", true, ["verify"]);
  equal(await subtle.exportKey("jwk", again), 
    { kty: "OKP", crv: "Ed25519", alg: "Ed25519", x: jwk.x, key_ops: ["verify"], ext: true });
  const raw = await subtle.importKey("raw", await subtle.exportKey("raw", publicKey), "Ed25519", false, ["verify"]);
  equal([await subtle.verify("Ed25519", raw, signature, new Uint8Array(0)), raw.extractable], [true, false]);
  const pair = await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  equal([pair.privateKey.type, pair.publicKey.type, pair.privateKey.extractable, pair.publicKey.extractable],
    ["private", "public", false, true]);
  equal(await subtle.verify("Ed25519", pair.publicKey, await subtle.sign("Ed25519", pair.privateKey, text("m")), text("m")), true);
  await rejects(subtle.importKey("jwk", { ...jwk, crv: "X25519" }, "Ed25519", true, ["sign"]), "DataError");
});

test("ECDSA with P-256 verifies", async () => {
  const spki = unhex(
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004f245e2b71a43b83e6137e05facc7176a9715b3a803" +
    "f5646320e9962d938c7211d112c195d9d0b34c102805561df0da0ca5f59f07a2cf626b2d15fb51e993e7a9",
  );
  const signature = unhex(
    "63c979206d9994aa79db40d3f7c1b2183399654e63366c514f2ab00b11e5d008381e304c30d17c37ac5a4b3f82fed388" +
    "f8f7cb186702718afa732fef33eaaf62",
  );
  const x = "8kXitxpDuD5hN-BfrMcXapcVs6gD9WRjIOmWLZOMchE";
  const y = "0RLBldnQs0wQKAVWHfDaDKX1nweiz2JrLRX7UemT56k";
  const curve = { name: "ECDSA", namedCurve: "P-256" };
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const key = await subtle.importKey("spki", spki, curve, true, ["verify"]);
  equal(await subtle.verify(algorithm, key, signature, text("a message")), true);
  equal(await subtle.verify(algorithm, key, signature, text("another")), false);
  equal(await subtle.verify(algorithm, key, signature.subarray(1), text("a message")), false);
  equal(await subtle.exportKey("jwk", key), { kty: "EC", crv: "P-256", x, y, key_ops: ["verify"], ext: true });
  const same = await subtle.importKey("jwk", { kty: "EC", crv: "P-256", x, y, use: "sig" }, curve, true, ["verify"]);
  equal(hex(await subtle.exportKey("spki", same)), hex(spki));
  equal(await subtle.verify(algorithm, same, signature, text("a message")), true);
  const raw = await subtle.importKey("raw", await subtle.exportKey("raw", key), curve, true, ["verify"]);
  equal(await subtle.verify(algorithm, raw, signature, text("a message")), true);
  await rejects(subtle.importKey("raw", new Uint8Array(5), curve, true, ["verify"]), "DataError");
  await rejects(subtle.importKey("spki", spki.subarray(1), curve, true, ["verify"]), "DataError");
});

test("ECDSA with P-384 verifies", async () => {
  const spki = unhex(
    "3076301006072a8648ce3d020106052b810400220362000484692f960255485ba3efda88c50f7e367d8237ba460adbbe" +
    "e6648f515b66bb2c61d21870ceae5a40a8056173f272a7a267dc6fc984a2dee8caf3b5a46c8ccc31a057686ae35e52d9" +
    "23ac641fa6e799276bf50ef587e20a66546821feeac6e6c1",
  );
  const signature = unhex(
    "d4d3ac555d50690cd45da6f8d426d6b6cb7086b601b7d1f04bc606c78305c019cbf8d400c0db5f13049f2fd339b46450" +
    "9d9cd383c73d13baae670aeb78546848177e57888bd3b8ac1e2e79916e5f548fb44522ccba0a483050ec6398bdf55cf6",
  );
  const x = "hGkvlgJVSFuj79qIxQ9-Nn2CN7pGCtu-5mSPUVtmuyxh0hhwzq5aQKgFYXPycqei";
  const y = "Z9xvyYSi3ujK87WkbIzMMaBXaGrjXlLZI6xkH6bnmSdr9Q71h-IKZlRoIf7qxubB";
  const curve = { name: "ECDSA", namedCurve: "P-384" };
  const algorithm = { name: "ECDSA", hash: "SHA-384" };
  const key = await subtle.importKey("spki", spki, curve, true, ["verify"]);
  equal(await subtle.verify(algorithm, key, signature, text("a message")), true);
  equal(await subtle.verify(algorithm, key, signature, text("another")), false);
  equal(await subtle.verify(algorithm, key, signature.subarray(1), text("a message")), false);
  equal(await subtle.exportKey("jwk", key), { kty: "EC", crv: "P-384", x, y, key_ops: ["verify"], ext: true });
  const same = await subtle.importKey("jwk", { kty: "EC", crv: "P-384", x, y, use: "sig" }, curve, true, ["verify"]);
  equal(hex(await subtle.exportKey("spki", same)), hex(spki));
  equal(await subtle.verify(algorithm, same, signature, text("a message")), true);
  const raw = await subtle.importKey("raw", await subtle.exportKey("raw", key), curve, true, ["verify"]);
  equal(await subtle.verify(algorithm, raw, signature, text("a message")), true);
  await rejects(subtle.importKey("raw", new Uint8Array(5), curve, true, ["verify"]), "DataError");
  await rejects(subtle.importKey("spki", spki.subarray(1), curve, true, ["verify"]), "DataError");
});

test("RSASSA-PKCS1-v1_5 verifies", async () => {
  const spki = unhex(
    "30820122300d06092a864886f70d01010105000382010f003082010a02820101009dfca40dfb02a7af6edd3d574c8ca5" +
    "cb4eafd36e2ec95dfd8ff27f5046d4f9b47567af433cbaa2ce3ade0e72621babe8bb457b93508844bf4eabe19545d3f1" +
    "6951cdcc5ca17d66628b64b9396cb6b6c9c1dca033b57ea6bc23a6e02f6c2ff90e9d605827c9e72ee9d00113fb00386f" +
    "855d2cd530d81918b984e537c97d08549c401d5c70a1e88a3cde5ffb5d2cfbc10ade3de18e6631bedc7fb7eab449dce0" +
    "9e38d488b1ff5114d33df479ab88de5b8e4716baedc69b7585173f034ff6512d615b9572973fd8a75f1a778b19b4b6e7" +
    "14daf09437a1458daef38fb725f176102bac9f603d1b75e9409cee49a36b8f8c636e344e26fd71133a363efa0e925fa1" +
    "3b0203010001",
  );
  const signature = unhex(
    "210231f7b00c1bf0c4d473edf76963225f76944b18a561735322ac40b5117076b067db0c0219591b8afe5acdf0240550" +
    "c1ff782be5f2ff79b3530add1e62cbfb019aa2b72d9d836a37262aa713d00663eb91de1405af9ae62fee750b9572d59c" +
    "2103aaf0fe9f5b2002481dc8e1e7577b886a91305fa39db6f7cdb868820cb616aef1c3462bf42df70dc50882906d5e87" +
    "890ef6bf99751729a9dea727eb3a32607e2b4368acdad144897ba6cc942f4b10072cbcf917c107b0f90dc9fabf6c7e5e" +
    "fe618bd7bea7d5ca27543c22886d0bb9a9642b990ce662e3d42e0da9b58b344b297ff17dad1dd8b274ca1db7bb57682f" +
    "af223c33be28463071d9931b16cc8eab",
  );
  const n =
    "nfykDfsCp69u3T1XTIyly06v024uyV39j_J_UEbU-bR1Z69DPLqizjreDnJiG6vou0V7k1CIRL9Oq-GVRdPxaVHNzFyhfWZi" +
    "i2S5OWy2tsnB3KAztX6mvCOm4C9sL_kOnWBYJ8nnLunQARP7ADhvhV0s1TDYGRi5hOU3yX0IVJxAHVxwoeiKPN5f-10s-8EK" +
    "3j3hjmYxvtx_t-q0SdzgnjjUiLH_URTTPfR5q4jeW45HFrrtxpt1hRc_A0_2US1hW5Vylz_Yp18ad4sZtLbnFNrwlDehRY2u" +
    "84-3JfF2ECusn2A9G3XpQJzuSaNrj4xjbjROJv1xEzo2PvoOkl-hOw";
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const key = await subtle.importKey("spki", spki, algorithm, true, ["verify"]);
  equal([key.algorithm.modulusLength, [...key.algorithm.publicExponent], key.algorithm.hash], [2048, [1, 0, 1], { name: "SHA-256" }]);
  equal(await subtle.verify(algorithm, key, signature, text("a message")), true);
  equal(await subtle.verify(algorithm, key, signature, text("another")), false);
  equal(await subtle.exportKey("jwk", key), { kty: "RSA", alg: "RS256", n, e: "AQAB", key_ops: ["verify"], ext: true });
  const same = await subtle.importKey("jwk", { kty: "RSA", n, e: "AQAB", alg: "RS256" }, algorithm, true, ["verify"]);
  equal(await subtle.verify("RSASSA-PKCS1-v1_5", same, signature, text("a message")), true);
  equal(hex(await subtle.exportKey("spki", same)), hex(spki));
});

test("buffers are compared in constant time, if there is such a comparison", () => {
  if (subtle.timingSafeEqual === undefined) return;
  equal([subtle.timingSafeEqual(text("a"), text("a")), subtle.timingSafeEqual(text("a"), text("b"))], [true, false]);
  throws(() => subtle.timingSafeEqual(text("a"), text("ab")), TypeError);
});
