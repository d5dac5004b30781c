// What values look like in the log: the expected texts are those of Node's util.inspect and util.format.
import { equal, test } from "room:test";
import { format } from "room:web/console.js";
import { inspect } from "room:web/inspect.js";

class Point {
  constructor() { this.x = 1; }
}
class Sub extends Map {}

test("values look as in Node", () => {
  equal(inspect(undefined), "undefined");
  equal(inspect(null), "null");
  equal(inspect(-0), "-0");
  equal(inspect(10n), "10n");
  equal(inspect(true), "true");
  equal(inspect(Symbol('s')), "Symbol(s)");
  equal(inspect('it\'s'), "\"it's\"");
  equal(inspect('a"b\'c'), "`a\"b'c`");
  equal(inspect('tab\t\u0001\\'), "'tab\\t\\x01\\\\'");
  equal(inspect([]), "[]");
  equal(inspect({}), "{}");
  equal(inspect([1, 'a', [2, [3, [4, [5]]]]]), "[ 1, 'a', [ 2, [ 3, [Array] ] ] ]");
  equal(inspect({ a: 1, 'b-c': 'x', [Symbol('k')]: 2, 3: 4 }), "{ '3': 4, a: 1, 'b-c': 'x', [Symbol(k)]: 2 }");
  equal(inspect({ a: { b: { c: { d: 1 } } } }), "{ a: { b: { c: [Object] } } }");
  equal(inspect([1, , 3, , ,]), "[ 1, <1 empty item>, 3, <2 empty items> ]");
  equal(inspect(new Map([['a', { b: 1 }], [{ k: 1 }, 2]])), "Map(2) { 'a' => { b: 1 }, { k: 1 } => 2 }");
  equal(inspect(new Set([1, 'b', [2]])), "Set(3) { 1, 'b', [ 2 ] }");
  equal(inspect([new Map(), new Set()]), "[ Map(0) {}, Set(0) {} ]");
  equal(inspect(new Sub([[1, 2]])), "Sub(1) [Map] { 1 => 2 }");
  equal(inspect(new Point()), "Point { x: 1 }");
  equal(inspect(Point), "[class Point]");
  equal(inspect(class extends Point {}), "[class (anonymous) extends Point]");
  equal(inspect(Object.create(null)), "[Object: null prototype] {}");
  equal(inspect(Object.assign(Object.create(null), { a: 1 })), "[Object: null prototype] { a: 1 }");
  equal(inspect(() => 1), "[Function (anonymous)]");
  equal(inspect(function named() {}), "[Function: named]");
  equal(inspect(async () => {}), "[AsyncFunction (anonymous)]");
  equal(inspect(function* gen() {}), "[GeneratorFunction: gen]");
  equal(inspect(Object.assign(() => {}, { a: 1 })), "[Function (anonymous)] { a: 1 }");
  equal(inspect(new Date(0)), "1970-01-01T00:00:00.000Z");
  equal(inspect(new Date(NaN)), "Invalid Date");
  equal(inspect(/a\/b/gi), "/a\\/b/gi");
  equal(inspect(new Uint8Array([1, 2, 3])), "Uint8Array(3) [ 1, 2, 3 ]");
  equal(inspect(new Float64Array(2)), "Float64Array(2) [ 0, 0 ]");
  equal(inspect(Object(1)), "[Number: 1]");
  equal(inspect(Object('str')), "[String: 'str']");
  equal(inspect(Object(Symbol('q'))), "[Symbol: Symbol(q)]");
  equal(inspect(Object.assign([1, 2], { extra: true })), "[ 1, 2, extra: true ]");
  equal(inspect({ long: 'x'.repeat(40), other: 'y'.repeat(40), more: [1, 2, 3] }), "{\n  long: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',\n  other: 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy',\n  more: [ 1, 2, 3 ]\n}");
  equal(inspect([{ a: 1, b: 2 }, { a: 3, b: { c: [1, 2, { d: 1 }] } }]), "[ { a: 1, b: 2 }, { a: 3, b: { c: [Array] } } ]");
  equal(inspect({ a: 'line\nbreak', b: [new Map([[1, new Set([{}])]])] }), "{ a: 'line\\nbreak', b: [ Map(1) { 1 => [Set] } ] }");
  equal(inspect({ f() {}, g: class A {}, h: Symbol.iterator }), "{ f: [Function: f], g: [class A], h: Symbol(Symbol.iterator) }");
  equal(inspect([undefined, null, NaN]), "[ undefined, null, NaN ]");
  equal(inspect(new (class Foo extends Array {})(3)), "Foo(3) [ <3 empty items> ]");
  equal(inspect({ [Symbol.toStringTag]: 'Tagged', a: 1 }), "{ a: 1, [Symbol(Symbol.toStringTag)]: 'Tagged' }");
  equal(inspect(new (class { constructor() { this.a = 1; } })()), "{ a: 1 }");
  equal(inspect([['a', 1], ['b', 2], ['c', 3]]), "[ [ 'a', 1 ], [ 'b', 2 ], [ 'c', 3 ] ]");
  equal(inspect({ users: [{ id: 1, name: 'Ann', tags: ['x', 'y'] }, { id: 2, name: 'Bob', tags: [] }], total: 2, next: null, options: { deep: { deeper: { deepest: 1 } } } }), "{\n  users: [\n    { id: 1, name: 'Ann', tags: [Array] },\n    { id: 2, name: 'Bob', tags: [] }\n  ],\n  total: 2,\n  next: null,\n  options: { deep: { deeper: [Object] } }\n}");
  equal(inspect(Math.max), "[Function: max]");
  equal(inspect([new Date(5), /x/]), "[ 1970-01-01T00:00:00.005Z, /x/ ]");
  equal(inspect('\ud800'), "'\\ud800'");
  equal(inspect(['\u007f', '\u{1f600}']), "[ '\\x7F', '😀' ]");
});

test("texts with directives look as in Node", () => {
  equal(format('a'), "a");
  equal(format('a', 1, 'b', { c: [] }), "a 1 b { c: [] }");
  equal(format('%s is %d years, %i, %f', 'Bob', 42.5, 42.9, '1.5'), "Bob is 42.5 years, 42, 1.5");
  equal(format('%j %O', { a: 1 }, { b: { c: 1 } }), "{\"a\":1} { b: { c: 1 } }");
  equal(format('%% %c%s', 'css', 'x'), "% x");
  equal(format('%s'), "%s");
  equal(format('%s %s', 1), "1 %s");
  equal(format('%x', 1), "%x 1");
  equal(format({ a: 1 }, 'text'), "{ a: 1 } text");
  equal(format(1, 2, '%s'), "1 2 %s");
  equal(format('%s %s %s %s', null, undefined, 5n, -0), "null undefined 5n -0");
  equal(format('%d', '0x10'), "16");
  equal(format('%s', { a: { b: 1 } }), "{ a: [Object] }");
  equal(format('%s', [1, [2]]), "[ 1, [Array] ]");
  equal(format('100%', 5), "100% 5");
});

test("getters do not run, and cycles end", () => {
  const value = { get a() { throw new Error("no"); }, set b(_) {}, get c() { return 1; }, set c(_) {} };
  equal(inspect(value), "{ a: [Getter], b: [Setter], c: [Getter/Setter] }");
  const cycle = { name: "x" };
  cycle.self = cycle;
  cycle.list = [cycle];
  equal(inspect(cycle), "<ref *1> { name: 'x', self: [Circular *1], list: [ [Circular *1] ] }");
  const hostile = new Proxy({}, { ownKeys() { throw new Error("no"); } });
  equal(inspect(hostile).includes("cannot be shown"), true);
});

test("errors show their stacks and causes", () => {
  const shown = inspect(new TypeError("bad", { cause: new Error("why") }));
  equal([shown.startsWith("TypeError: bad\n    at "), shown.includes("[cause]: Error: why\n")], [true, true]);
  const coded = inspect(Object.assign(new Error("m"), { code: "c" }));
  equal(coded.includes("code: 'c'"), true);
  const bare = new Error("m");
  bare.stack = "";
  equal(inspect(bare), "[Error: m]");
});

test("long values are cut", () => {
  equal(inspect(Array(1000).fill(1)).includes("... 900 more items"), true);
  equal(inspect("x".repeat(10_001)).endsWith("... 1 more character"), true);
  equal(inspect(Array.from({ length: 90 }, () => "y".repeat(5000))).length < 70_000, true);
  let deep = {};
  for (let i = 0; i < 100; i++) deep = { deep };
  equal(inspect(deep), "{ deep: { deep: { deep: [Object] } } }");
});

test("objects of the web are shown", () => {
  equal(inspect(new Headers({ a: "b" })), "Headers { a: 'b' }");
  equal(inspect(new URL("http://h/p?q")).includes("href: 'http://h/p?q'"), true);
  equal(inspect(new Response("x")).includes("status: 200"), true);
  equal(inspect(new AbortController().signal), "AbortSignal { aborted: false }");
  equal(inspect(Response), "[class Response]");
  equal(inspect(Response.prototype).includes("Object"), true);
});

test("console never throws", () => {
  console.log();
  console.error(Object.create(null), Symbol("x"), 1n);
  console.table([{ a: 1 }, { b: 2 }]);
  console.table(5);
  console.group("g");
  console.info("inside");
  console.groupEnd();
  console.groupEnd();
  console.count();
  console.countReset();
  console.countReset("unknown");
  console.time("t");
  console.timeLog("t", 1);
  console.timeEnd("t");
  console.timeEnd("t");
  console.assert(true);
  console.assert(false, "why %s", 1);
  console.dir({ a: { b: { c: {} } } }, { depth: 0 });
  console.trace("here");
  console.debug("%o", {});
});
