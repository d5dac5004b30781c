// Text and bytes: the expected values are those of Node.
import { equal, test, throws } from "room:test";

const bytes = (...values) => new Uint8Array(values);

test("TextEncoder makes UTF-8, and replaces lone surrogates", () => {
  equal([...new TextEncoder().encode("aé€😀\ud800")], [97, 195, 169, 226, 130, 172, 240, 159, 152, 128, 239, 191, 189]);
  equal(new TextEncoder().encode().length, 0);
  equal(new TextEncoder().encoding, "utf-8");
});

test("encodeInto stops before a character that does not fit", () => {
  const target = new Uint8Array(4);
  equal({ ...new TextEncoder().encodeInto("a€😀", target) }, { read: 2, written: 4 });
  equal([...target], [97, 226, 130, 172]);
});

test("TextDecoder decodes the encodings it knows by all of their labels", () => {
  equal(new TextDecoder().decode(bytes(0xef, 0xbb, 0xbf, 97)), "a");
  equal(new TextDecoder("utf8", { ignoreBOM: true }).decode(bytes(0xef, 0xbb, 0xbf, 97)), "\ufeffa");
  equal(new TextDecoder(" UTF-16 ").decode(bytes(0xff, 0xfe, 0x61, 0, 0x3d, 0xd8, 0x00, 0xde)), "a😀");
  equal(new TextDecoder("utf-16le").decode(bytes(0x61, 0, 0x3d, 0xd8, 0x61)), "a\ufffd");
  equal(new TextDecoder("windows-1252").decode(bytes(0x80, 0xe4, 0x9f, 0x81)), "€äŸ\u0081");
  equal(new TextDecoder("cp1252").encoding, "windows-1252");
  equal(new TextDecoder("ascii").encoding, "windows-1252");
  throws(() => new TextDecoder("shift_jis_no"), RangeError);
});

test("TextDecoder is fatal if it shall be", () => {
  throws(() => new TextDecoder("utf-8", { fatal: true }).decode(bytes(0xff)), TypeError);
  throws(() => new TextDecoder("utf-16le", { fatal: true }).decode(bytes(0x61)), TypeError);
  equal(new TextDecoder().decode(bytes(0xff, 0xe2, 0x82, 97, 0xf0, 0x80, 0xed, 0xa0)), "\ufffd\ufffda\ufffd\ufffd\ufffd\ufffd");
});

test("TextDecoder gives the same text however the bytes are cut", () => {
  const text = "\ufeffaé€😀ß\ufeffz";
  const whole = new TextEncoder().encode(text);
  const cut = new Uint8Array([...whole, 0xff, 0xe2, 0x82, 0x28, 0xf0, 0x9f]);
  const expected = new TextDecoder().decode(cut);
  for (let a = 0; a <= cut.length; a++) {
    for (let b = a; b <= cut.length; b++) {
      const decoder = new TextDecoder();
      const parts = [cut.subarray(0, a), cut.subarray(a, b), cut.subarray(b)];
      const got = parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
      equal(got, expected, `cut at ${a} and ${b}`);
    }
  }
});

test("UTF-16 is cut inside of a pair of surrogates", () => {
  const all = bytes(0xff, 0xfe, 0x61, 0, 0x3d, 0xd8, 0x00, 0xde, 0x62, 0);
  for (let a = 0; a <= all.length; a++) {
    const decoder = new TextDecoder("utf-16le");
    equal(decoder.decode(all.subarray(0, a), { stream: true }) + decoder.decode(all.subarray(a)), "a😀b");
  }
});

test("atob and btoa", () => {
  equal(btoa("Hello, W\xf6rld"), "SGVsbG8sIFf2cmxk");
  equal(btoa(""), "");
  throws(() => btoa("€"), "InvalidCharacterError");
  equal(atob(" SGVs\nbG8s IFf2cmxk "), "Hello, W\xf6rld");
  equal(atob("YQ"), "a");
  equal(atob("YQ=="), "a");
  for (const bad of ["YQ=", "Y", "Y===", "YQ==YQ==", "Y*==", "ab=c"]) throws(() => atob(bad), "InvalidCharacterError");
  equal(atob("YR=="), "a");
});
