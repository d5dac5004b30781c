// structuredClone: the expected values are those of Node.
import { equal, test, throws } from "room:test";

test("plain values are copied deeply", () => {
  const value = { a: [1, { b: null }], u: undefined, n: -0, big: 10n, nan: NaN, s: "x" };
  const copy = structuredClone(value);
  equal(copy, value);
  equal([copy === value, copy.a === value.a, Object.is(copy.n, -0)], [false, false, true]);
});

test("cycles and shared references stay", () => {
  const shared = { x: 1 };
  const value = { shared, again: shared, list: [shared] };
  value.self = value;
  const copy = structuredClone(value);
  equal([copy.self === copy, copy.shared === copy.again, copy.list[0] === copy.shared], [true, true, true]);
});

test("built-in objects are copied", () => {
  const value = {
    date: new Date(5), expression: /a\/b/giu, map: new Map([[{ k: 1 }, new Set([1])]]), boxed: [Object(1), Object("s"), Object(true)],
    bytes: new Uint8Array([1, 2, 3]).subarray(1), view: new DataView(new ArrayBuffer(4), 1, 2), holes: [1, , 3],
  };
  value.expression.lastIndex = 3;
  const copy = structuredClone(value);
  equal([copy.date.getTime(), String(copy.expression), copy.expression.lastIndex], [5, "/a\\/b/giu", 0]);
  equal([[...copy.map.keys()][0], [...[...copy.map.values()][0]]], [{ k: 1 }, [1]]);
  equal([copy.boxed[0] instanceof Number, copy.boxed[1].valueOf(), copy.boxed[2].valueOf()], [true, "s", true]);
  equal([[...copy.bytes], copy.bytes.byteOffset, copy.bytes.buffer.byteLength], [[2, 3], 1, 3]);
  equal([copy.view.byteOffset, copy.view.byteLength, copy.holes.length, 1 in copy.holes], [1, 2, 3, false]);
});

test("errors keep their class, message, stack and cause", () => {
  class Own extends Error {}
  const error = new RangeError("m", { cause: { a: 1 } });
  const copy = structuredClone(error);
  equal([copy instanceof RangeError, copy.message, copy.stack, copy.cause], [true, "m", error.stack, { a: 1 }]);
  const own = structuredClone(new Own("x"));
  equal([own.constructor === Error, own.name, own.message], [true, "Error", "x"]);
  const exception = structuredClone(new DOMException("m", "NotFoundError"));
  equal([exception instanceof DOMException, exception.name], [true, "NotFoundError"]);
});

test("classes become plain objects", () => {
  class Point {
    constructor() { this.x = 1; }
    get y() { return 2; }
  }
  const copy = structuredClone(new Point());
  equal([Object.getPrototypeOf(copy) === Object.prototype, copy.x, copy.y], [true, 1, undefined]);
  equal(structuredClone({ get a() { return 5; } }), { a: 5 });
  equal(structuredClone(Object.create(null, { a: { value: 1, enumerable: true } })), { a: 1 });
});

test("what cannot be cloned is refused", () => {
  for (const bad of [() => {}, Symbol("x"), { f() {} }, new WeakMap(), Promise.resolve(), [class {}], new Map([[1, () => 1]])]) {
    const error = throws(() => structuredClone(bad), "DataCloneError");
    equal(error === undefined || error.code === 25, true);
  }
  throws(() => structuredClone(new Headers()), "DataCloneError");
  throws(() => structuredClone((function* () {})()), "DataCloneError");
  throws(() => structuredClone(), TypeError);
});

test("buffers move", () => {
  const buffer = new ArrayBuffer(3);
  const copy = structuredClone({ view: new Uint8Array(buffer) }, { transfer: [buffer] });
  equal([copy.view.length, buffer.byteLength], [3, 0]);
  const kept = new ArrayBuffer(2);
  throws(() => structuredClone({ f() {} }, { transfer: [kept] }), "DataCloneError");
  throws(() => structuredClone(kept, { transfer: [kept, kept] }), "DataCloneError");
  equal(kept.byteLength, 2);
});

test("depth takes no stack", () => {
  let deep = {};
  for (let i = 0; i < 5000; i++) deep = { deep };
  let copy = structuredClone(deep);
  let depth = 0;
  while (copy.deep) {
    copy = copy.deep;
    depth++;
  }
  equal(depth, 5000);
});
