// Values as bytes and back. What is expected was computed by Node's structuredClone.

import { equal, test, throws } from "room:test";
import { decode, encode } from "room:server/codec.js";

const text = (bytes) => new TextDecoder().decode(bytes);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const isBinary = (value) => encode(value)[0] === 0xff;

class Point {
  constructor(x) {
    this.x = x;
  }
  get twice() {
    return this.x * 2;
  }
}

test("what JSON holds exactly is JSON", () => {
  for (const [value, json] of [
    [{ a: [1, "é", -2.5, null, true], b: { c: [] } }, '{"a":[1,"é",-2.5,null,true],"b":{"c":[]}}'],
    ["text", '"text"'],
    [0, "0"],
    [null, "null"],
    [false, "false"],
    [new Point(3), '{"x":3}'],
    [Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
  ]) {
    equal(text(encode(value)), json);
    equal(JSON.stringify(decode(encode(value))), json);
  }
});

test("what JSON would change is binary, and comes back", () => {
  const holes = [1, , 3];
  const named = Object.assign([1, 2], { name: "x" });
  const values = [
    undefined, -0, NaN, Infinity, -Infinity, 10n, -123456789012345678901234567890n, "\ud800", { a: undefined },
    { "\ud800": 1 }, holes, named, [undefined], new Date(5), /a+\/b/giu, new Map([[1, { a: 2 }], ["k", new Set([1])]]),
    new Set([new Date(1)]), new Uint8Array([1, 2, 3]).buffer, new Uint8Array([1, 2, 3]), new Float64Array([1.5, NaN]),
    new BigInt64Array([-1n]), new Array(1000), Object(5n), { deep: [{ map: new Map() }] },
  ];
  for (const value of values) {
    equal(isBinary(value), true, String(value));
    equal(decode(encode(value)), value, String(value));
  }
  equal(Number.isNaN(decode(encode(new Date(NaN))).getTime()), true);
  equal(1 in decode(encode(holes)), false);
  equal(decode(encode(named)).name, "x");
  equal(typeof decode(encode(Object("s"))), "object");
});

test("views keep their buffer, offset and length", () => {
  const buffer = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7]).buffer;
  const [whole, part, view] = decode(encode([buffer, new Uint16Array(buffer, 2, 2), new DataView(buffer, 1, 3)]));
  equal(part.buffer === whole && view.buffer === whole, true);
  equal([part[0], part.length, part.byteOffset], [0x0302, 2, 2]);
  equal([view.getUint8(0), view.byteLength], [1, 3]);
});

test("cycles and shared references stay", () => {
  const value = { list: [1] };
  value.self = value;
  value.again = value.list;
  value.map = new Map([[value, value.list]]);
  const copy = decode(encode(value));
  equal(copy.self === copy, true);
  equal(copy.again === copy.list, true);
  equal(copy.map.get(copy) === copy.list, true);
  equal(isBinary([[1], [1]]), false);
  const shared = [1];
  equal(isBinary([shared, shared]), true);
});

test("errors keep their kind, message, stack and cause", () => {
  const error = new TypeError("wrong", { cause: { why: 1n } });
  const copy = decode(encode(error));
  equal(copy instanceof TypeError, true);
  equal([copy.name, copy.message, copy.stack, copy.cause], ["TypeError", "wrong", error.stack, { why: 1n }]);
  class Custom extends RangeError {}
  equal(decode(encode(new Custom("c"))) instanceof RangeError, true);
  equal(Object.hasOwn(decode(encode(new Error())), "message"), false);
});

test("a property named __proto__ is a property", () => {
  const copy = decode(encode(JSON.parse('{"__proto__":{"a":1},"b":[1,{"c":2}]}')));
  equal(Object.getPrototypeOf(copy) === Object.prototype, true);
  equal(JSON.stringify(copy), '{"__proto__":{"a":1},"b":[1,{"c":2}]}');
  const binary = decode(encode({ ...copy, ["__proto__"]: undefined, n: 1n }));
  equal([Object.getPrototypeOf(binary) === Object.prototype, Object.hasOwn(binary, "__proto__")], [true, true]);
});

test("what cannot be copied is refused by name", () => {
  for (const value of [() => {}, Symbol("s"), Promise.resolve(), { f() {} }, new WeakMap(), [[() => {}]], new Headers()]) {
    throws(() => encode(value), "DataCloneError");
  }
});

test("the depth is bounded", () => {
  const nested = (levels, innermost = []) => {
    let value = innermost;
    for (let level = 1; level < levels; level++) value = [value];
    return value;
  };
  equal(JSON.stringify(decode(encode(nested(256)))), JSON.stringify(nested(256)));
  equal(decode(encode(nested(256, [1n]))).flat(Infinity), [1n]);
  throws(() => encode(nested(257)), "deeper than 256 levels");
  throws(() => encode(nested(5000)), "deeper than 256 levels");
  throws(() => encode(nested(257, [1n])), "deeper than 256 levels");
  const deep = new Uint8Array(2000).fill(18);
  for (let at = 3; at < deep.length; at += 2) deep[at] = 1;
  deep.set([0xff, 1]);
  throws(() => decode(deep), "deeper than 256 levels");
});

test("the binary form stays what it is", () => {
  equal(hex(encode({ a: 1n, b: [undefined] })), "ff011402060161080131060162120100");
  equal(decode(new Uint8Array([0xff, 1, 4, 1, 7])), -7);
});

test("bytes that are no value give an error", () => {
  for (const bytes of [
    [], [0xff], [0xff, 9, 0], [0xff, 1], [0xff, 1, 200], [0xff, 1, 9, 0], [0xff, 1, 0, 0], [0xff, 1, 6, 127, 97],
    // An array of 2^40 elements, a sparse one that is too long, and a bigint that is none.
    [0xff, 1, 18, 128, 128, 128, 128, 128, 64], [0xff, 1, 19, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0],
    [0xff, 1, 8, 2, 45, 45], [0x80], [0x7b], [0xfe, 0x22],
  ]) {
    throws(() => decode(new Uint8Array(bytes)), "RoomError");
  }
});

test("changed bytes give a value or an error, and never hang", () => {
  const samples = [
    { a: 1n, list: [, 1, "\ud800"], map: new Map([[{}, new Set([1n])]]), error: new Error("e", { cause: 1 }) },
    [new Uint16Array([1, 2]), /x/g, new Date(1), Object(true), undefined, -0, 2 ** 60],
  ].map(encode);
  let seed = 7;
  const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
  let values = 0;
  for (let round = 0; round < 4000; round++) {
    const bytes = samples[random(samples.length)].slice();
    for (let changes = random(4); changes >= 0; changes--) bytes[1 + random(bytes.length - 1)] = random(256);
    try {
      decode(random(4) === 0 ? bytes.slice(0, random(bytes.length)) : bytes);
      values += 1;
    } catch (error) {
      equal(error.name, "RoomError", String(error));
    }
  }
  equal(values > 0, true);
});
