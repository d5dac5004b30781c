// Timers: they run when the dispatcher says that time has passed.
import { equal, rejects, test, throws } from "room:test";
import * as native from "room:native";
import { nextDue, rearm, runDue } from "room:web/timers.js";

/** Lets promises go on. */
const jobs = async () => {
  for (let i = 0; i < 20; i++) await null;
};

test("timers run in the order of their times, and of their start", () => {
  const now = native.now();
  const seen = [];
  setTimeout((...args) => seen.push(args), 50, "late", 1);
  setTimeout(() => seen.push("b"), 20);
  setTimeout(() => seen.push("c"), 20);
  setTimeout(() => seen.push("a"));
  equal(nextDue() - now < 10, true);
  runDue(now + 25);
  equal(seen, ["a", "b", "c"]);
  runDue(now + 1000);
  equal([seen.at(-1), nextDue()], [["late", 1], null]);
});

test("a timer is ended, also by one that runs", () => {
  const now = native.now();
  const seen = [];
  const first = setTimeout(() => seen.push("first"), 5);
  clearTimeout(first);
  clearTimeout(first);
  clearTimeout(undefined);
  let third;
  setTimeout(() => clearTimeout(third), 5);
  third = setTimeout(() => seen.push("third"), 6);
  runDue(now + 1000);
  equal([seen, nextDue()], [[], null]);
});

test("an interval runs until it is ended", () => {
  const now = native.now();
  let runs = 0;
  const interval = setInterval(() => {
    runs++;
    if (runs === 3) clearInterval(interval);
  }, 20);
  for (let at = 1; at <= 5; at++) runDue(now + at * 100);
  equal([runs, nextDue()], [3, null]);
});

test("a timer that another one starts waits for a later tick", () => {
  const now = native.now();
  const seen = [];
  setTimeout(() => {
    seen.push("outer");
    setTimeout(() => seen.push("inner"), 0);
  }, 0);
  runDue(now + 1000);
  equal(seen, ["outer"]);
  runDue(now + 2000);
  equal(seen, ["outer", "inner"]);
});

test("a timer that throws leaves the others", () => {
  const now = native.now();
  const seen = [];
  setTimeout(() => { throw new RangeError("no"); }, 1);
  setTimeout(() => seen.push("next"), 2);
  throws(() => runDue(now + 1000), RangeError);
  equal(seen, []);
  runDue(now + 1000);
  equal([seen, nextDue()], [["next"], null]);
});

test("many timers keep their order", () => {
  const now = native.now();
  const seen = [];
  const ids = [];
  for (let i = 0; i < 500; i++) {
    const delay = (i * 7919) % 499;
    ids.push(setTimeout(() => seen.push(delay), delay));
  }
  for (let i = 0; i < 500; i += 3) clearTimeout(ids[i]);
  runDue(now + 10_000);
  equal(seen.length, 500 - Math.ceil(500 / 3));
  equal(seen, seen.toSorted((a, b) => a - b));
});

test("too many timers are refused by name", () => {
  const ids = [];
  const error = throws(() => {
    for (;;) ids.push(setTimeout(() => {}, 1000));
  }, "clearTimeout");
  for (const id of ids) clearTimeout(id);
  equal([ids.length, nextDue()], [10_000, null]);
  equal(error === undefined || error instanceof RangeError, true);
  throws(() => setTimeout("code"), TypeError);
});

test("ticks are asked for again after a turn that failed", () => {
  rearm(native.now());
  const id = setTimeout(() => {}, 5);
  rearm(native.now());
  clearTimeout(id);
  equal(nextDue(), null);
});

test("a signal's time is over", async () => {
  const signal = AbortSignal.timeout(30);
  const idle = AbortSignal.timeout(30);
  equal(nextDue(), null, "nobody waits for a signal without listeners");
  const seen = [];
  signal.addEventListener("abort", () => seen.push(signal.reason.name));
  const any = AbortSignal.any([signal, new AbortController().signal]);
  equal(nextDue() === null, false);
  equal([signal.aborted, idle.aborted], [false, false]);
  clearTimeout(undefined);
  const waits = rejects(scheduler.wait(1e6, { signal: AbortSignal.abort(new RangeError("x")) }), RangeError);
  await waits;
  equal(any.aborted, false);
  const waited = scheduler.wait(5).then(() => seen.push("waited"));
  runDue(native.now() + 20);
  await waited;
  equal(seen, ["waited"]);
  // The room's clock decides, and it stands in this turn: the timer alone does not end the signal.
  runDue(native.now() + 1000);
  await jobs();
  equal(nextDue(), null);
});

test("a date is that of the room's clock", () => {
  const [before, date, after] = [performance.now(), new Date(), Date.now()];
  equal([before <= date.getTime(), date.getTime() <= after, Date() === String(new Date(Date.now()))], [true, true, true]);
  equal([new Date(5).getTime(), new Date(2020, 0).getFullYear(), Date.UTC(1970, 0), Date.parse("1970-01-01")], [5, 2020, 0, 0]);
  class Day extends Date {}
  equal([new Day() instanceof Day, new Day(7).getTime(), new Date().constructor === Date], [true, 7, true]);
  equal([date instanceof Date, typeof Date, Date.name, structuredClone(date).getTime()], [true, "function", "Date", date.getTime()]);
});
