// Events and signals: the expected values are those of Node.
import { equal, rejects, test, throws } from "room:test";

test("listeners are called in order, once each", () => {
  const target = new EventTarget();
  const seen = [];
  const listener = (event) => seen.push(event.type);
  target.addEventListener("a", listener);
  target.addEventListener("a", listener);
  target.addEventListener("a", { handleEvent(event) { seen.push(event.target === target && this.x); }, x: 1 });
  target.addEventListener("a", () => seen.push("once"), { once: true });
  equal(target.dispatchEvent(new Event("a")), true);
  target.removeEventListener("a", listener);
  target.dispatchEvent(new Event("a"));
  equal(seen, ["a", 1, "once", 1]);
});

test("an event is stopped and prevented", () => {
  const target = new EventTarget();
  const seen = [];
  target.addEventListener("a", (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    seen.push(event.defaultPrevented);
  });
  target.addEventListener("a", () => seen.push("never"));
  equal(target.dispatchEvent(new Event("a", { cancelable: true })), false);
  equal(target.dispatchEvent(new Event("a")), true);
  equal(seen, [true, false]);
  throws(() => target.dispatchEvent({}), TypeError);
});

test("a listener that is removed or added during a dispatch", () => {
  const target = new EventTarget();
  const seen = [];
  const second = () => seen.push("second");
  target.addEventListener("a", () => {
    target.removeEventListener("a", second);
    target.addEventListener("a", () => seen.push("late"));
  });
  target.addEventListener("a", second);
  target.dispatchEvent(new Event("a"));
  equal(seen, []);
  target.dispatchEvent(new Event("a"));
  equal(seen, ["late"]);
});

test("a listener ends with its signal", () => {
  const target = new EventTarget();
  const controller = new AbortController();
  let calls = 0;
  target.addEventListener("a", () => calls++, { signal: controller.signal });
  target.dispatchEvent(new Event("a"));
  controller.abort();
  target.dispatchEvent(new Event("a"));
  equal(calls, 1);
});

test("events have their members", () => {
  equal(new CustomEvent("c", { detail: { a: 1 } }).detail, { a: 1 });
  const message = new MessageEvent("message", { data: "d", origin: "o" });
  equal([message.data, message.origin, message.lastEventId, message instanceof Event], ["d", "o", "", true]);
  const close = new CloseEvent("close", { code: 4001, reason: "r", wasClean: true });
  equal([close.code, close.reason, close.wasClean, close.type], [4001, "r", true, "close"]);
  throws(() => new Event(), TypeError);
  class Own extends EventTarget {}
  equal(new Own().dispatchEvent(new Event("x")), true);
});

test("an event is dispatched once at a time", () => {
  const target = new EventTarget();
  let error;
  target.addEventListener("a", (event) => {
    try { target.dispatchEvent(event); } catch (thrown) { error = thrown; }
  });
  target.dispatchEvent(new Event("a"));
  equal(error.code, error.name === "InvalidStateError" ? 11 : error.code);
});

test("a signal aborts once", () => {
  const controller = new AbortController();
  const seen = [];
  controller.signal.onabort = () => seen.push("attribute");
  controller.signal.addEventListener("abort", (event) => seen.push(event.target === controller.signal));
  controller.abort();
  controller.abort("again");
  equal(seen, ["attribute", true]);
  equal([controller.signal.aborted, controller.signal.reason.name, controller.signal.reason.code], [true, "AbortError", 20]);
  throws(() => controller.signal.throwIfAborted(), "AbortError");
  throws(() => new AbortSignal(), TypeError);
});

test("signals are made in other ways", () => {
  equal([AbortSignal.abort("r").reason, AbortSignal.abort().reason.name], ["r", "AbortError"]);
  const a = new AbortController();
  const b = new AbortController();
  const any = AbortSignal.any([a.signal, b.signal]);
  const nested = AbortSignal.any([any]);
  let calls = 0;
  nested.addEventListener("abort", () => calls++);
  b.abort("b");
  a.abort("a");
  equal([any.aborted, any.reason, nested.reason, calls], [true, "b", "b", 1]);
  equal(AbortSignal.any([AbortSignal.abort("x"), a.signal]).reason, "x");
  equal(AbortSignal.any([]).aborted, false);
  throws(() => AbortSignal.any([1]), TypeError);
  equal(AbortSignal.timeout(1e9).aborted, false);
  throws(() => AbortSignal.timeout(-1), Error);
});

test("DOMException has names and codes", async () => {
  const error = new DOMException("m", "NotFoundError");
  equal([error.name, error.code, error.message, error instanceof Error, `${error}`],
    ["NotFoundError", 8, "m", true, "NotFoundError: m"]);
  equal([new DOMException().name, new DOMException("m", "Own").code, DOMException.DATA_CLONE_ERR], ["Error", 0, 25]);
  equal([DOMException.INDEX_SIZE_ERR, DOMException.URL_MISMATCH_ERR, DOMException.INUSE_ATTRIBUTE_ERR], [1, 21, 10]);
  await rejects(async () => { throw error; }, "NotFoundError");
});
