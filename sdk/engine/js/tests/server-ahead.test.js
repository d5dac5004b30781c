// What is made ahead in a frozen heap is what a script would have made, and nothing else.

import { equal, test } from "room:test";
import { prepare } from "room:server/ahead.js";
import { Server } from "room:server/partyserver.js";

/** Names and attributes of what an object has. */
function shape(object) {
  return Reflect.ownKeys(object).map((key) => {
    const { value, get, set, writable, enumerable, configurable } = Reflect.getOwnPropertyDescriptor(object, key);
    return [String(key), typeof value, typeof get, typeof set, writable, enumerable, configurable];
  });
}

test("built-in objects keep their properties and attributes", () => {
  const objects = [globalThis, Array.prototype, Map.prototype, Promise, JSON, Math, Request.prototype, Server, Server.prototype];
  const before = objects.map(shape);
  prepare();
  equal(objects.map(shape), before);
});

test("accessors are not called", () => {
  let called = 0;
  globalThis.ownAccessor = Object.defineProperty({}, "it", { get: () => (called += 1) });
  prepare();
  equal(called, 0);
  delete globalThis.ownAccessor;
});
