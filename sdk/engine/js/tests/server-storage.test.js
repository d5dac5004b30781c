// A room's storage, in the room of the tests.

import { equal, rejects, test, throws } from "room:test";
import * as native from "room:native";
import { Storage } from "room:server/storage.js";

const storage = new Storage();
const clean = () => storage.deleteAll();
const keys = async (options) => [...(await storage.list(options)).keys()];

test("get, put and delete, of one and of many", async () => {
  await clean();
  equal(await storage.get("a"), undefined);
  await storage.put("a", { n: 1 });
  await storage.put({ b: [2], c: new Map([[1, 2]]), skipped: undefined });
  equal(await storage.get("a"), { n: 1 });
  equal(await storage.get(["c", "none", "a"]), new Map([["a", { n: 1 }], ["c", new Map([[1, 2]])]]));
  equal(await storage.delete("a"), true);
  equal(await storage.delete("a"), false);
  equal(await storage.delete(["b", "c", "none"]), 2);
  equal((await storage.list()).size, 0);
  equal(native.utf8Decode(native.storageGet("x") ?? native.utf8Encode("none"), true, true), "none");
});

test("a value is a copy", async () => {
  await clean();
  const value = { list: [1] };
  await storage.put("a", value);
  value.list.push(2);
  const first = await storage.get("a");
  first.list.push(3);
  equal(await storage.get("a"), { list: [1] });
});

test("what is not a key or a value is refused", async () => {
  await rejects(storage.put("a", undefined), "put() called with undefined value.");
  await rejects(storage.put(1, 2), "TypeError");
  await rejects(storage.get(undefined), "TypeError");
  await rejects(storage.put("\ud800", 1), "lone surrogates");
  await rejects(storage.put("", 1));
  await rejects(storage.put("k".repeat(3000), 1));
  await rejects(storage.put("a", () => {}), "DataCloneError");
});

test("list has all its options", async () => {
  await clean();
  for (const key of ["a", "b1", "b2", "b3", "c", "z\u{10000}", "z\uffff"]) await storage.put(key, key);
  equal(await keys(), ["a", "b1", "b2", "b3", "c", "z\uffff", "z\u{10000}"]);
  equal(await keys({ prefix: "b" }), ["b1", "b2", "b3"]);
  equal(await keys({ prefix: "b", limit: 2 }), ["b1", "b2"]);
  equal(await keys({ prefix: "b", reverse: true, limit: 2 }), ["b3", "b2"]);
  equal(await keys({ start: "b2", end: "c" }), ["b2", "b3"]);
  equal(await keys({ startAfter: "b2", limit: 1 }), ["b3"]);
  equal(await keys({ start: "b", end: "b3", reverse: true }), ["b2", "b1"]);
  await rejects(storage.list({ start: "a", startAfter: "b" }), "both start and startAfter");
  await rejects(storage.list({ limit: 0 }), "List limit must be positive.");
  equal([...storage.kv.list({ prefix: "b", limit: 1 })], [["b1", "b1"]]);
});

test("a listing longer than a page is whole", async () => {
  await clean();
  const expected = [];
  for (let at = 0; at < 300; at++) {
    const key = `k${String(at).padStart(4, "0")}`;
    expected.push(key);
    storage.kv.put(key, "x".repeat(4000));
  }
  equal((await storage.list()).size, 300);
  equal(await keys(), expected);
  equal(await keys({ reverse: true }), expected.toReversed());
  await clean();
});

test("an alarm", async () => {
  equal(await storage.getAlarm(), null);
  const at = Date.now() + 60_000;
  await storage.setAlarm(new Date(at));
  equal(await storage.getAlarm(), at);
  await storage.setAlarm(at + 1.5);
  equal(await storage.getAlarm(), at + 1);
  await rejects(storage.setAlarm(NaN), "setAlarm() takes a Date");
  await rejects(storage.setAlarm("soon"), "TypeError");
  await storage.deleteAlarm();
  equal(await storage.getAlarm(), null);
});

test("a transaction is kept whole or not at all", async () => {
  await clean();
  const result = await storage.transaction(async (transaction) => {
    await transaction.put("a", 1);
    equal(await storage.get("a"), 1);
    return "done";
  });
  equal([result, await storage.get("a")], ["done", 1]);
  await rejects(
    storage.transaction(async (transaction) => {
      await transaction.put("a", 2);
      await transaction.put("b", 2);
      throw new Error("no");
    }),
    "no",
  );
  equal([await storage.get("a"), await storage.get("b")], [1, undefined]);
  equal(
    await storage.transaction(async (transaction) => {
      await transaction.put("a", 3);
      transaction.rollback();
      await rejects(transaction.get("a"), "rolled back");
      return "undone";
    }),
    "undone",
  );
  equal(await storage.get("a"), 1);
});

test("transactions may be nested, and end in another order", async () => {
  await clean();
  await storage.transaction(async (outer) => {
    await outer.put("a", 1);
    await rejects(storage.transaction(async (inner) => {
      await inner.put("b", 1);
      throw new Error("inner");
    }), "inner");
    await storage.transaction((inner) => inner.put("c", 1));
  });
  equal(await keys(), ["a", "c"]);
  let release;
  const late = storage.transaction(async (first) => {
    await first.put("d", 1);
    await new Promise((resolve) => void (release = resolve));
  });
  const second = storage.transaction(async (transaction) => {
    await transaction.put("e", 1);
    release();
    await null;
    await null;
    await null;
    await null;
  });
  await Promise.all([late, second]);
  equal(await keys(), ["a", "c", "d", "e"]);
});

test("a transaction without promises", () => {
  throws(() => storage.transactionSync(() => {
    storage.kv.put("s", 1);
    throw new Error("sync");
  }), "sync");
  equal(storage.kv.get("s"), undefined);
  equal(storage.transactionSync(() => (storage.kv.put("s", 2), storage.kv.get("s"))), 2);
  throws(() => storage.transactionSync(async () => {}), "use transaction()");
});

test("SQL says what to use", () => {
  throws(() => storage.sql.exec("SELECT 1"), "keep values in ctx.storage");
});
