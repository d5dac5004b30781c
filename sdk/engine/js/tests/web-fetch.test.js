// fetch: a request is an output of the turn, and its answer settles the promise.
import { equal, rejects, test } from "room:test";
import * as native from "room:native";
import { chunk, settle, waitFor, waitingFor } from "room:web/pending.js";

const text = (value) => new TextEncoder().encode(value);
const answer = (body, status = 200, headers = [["Content-Type", "text/plain"]]) => ({ status, headers, body: text(body) });
const last = () => waitingFor().at(-1)?.id;

test("a request waits for its answer", async () => {
  const promise = fetch("http://localhost/a?b#c", { method: "POST", body: "x", headers: { q: "r" } });
  equal(waitingFor().at(-1).what, "POST http://localhost/a?b#c");
  equal(native.outcalls().at(-1)?.tag.startsWith("js:"), true);
  equal(settle(last(), answer("hello")), true);
  const response = await promise;
  equal([response.status, response.ok, response.url, response.headers.get("content-type"), await response.text()],
    [200, true, "http://localhost/a?b#c", "text/plain", "hello"]);
  equal(waitingFor(), []);
  equal(settle("unknown", answer("")), false);
});

test("a body that is a stream is read before the request leaves", async () => {
  const body = new Response("streamed").body;
  const promise = fetch(new Request("http://localhost/", { method: "PUT", body, duplex: "half" }));
  equal(waitingFor().length, 0);
  for (let i = 0; i < 100 && waitingFor().length === 0; i++) await null;
  settle(last(), answer("", 204));
  equal((await promise).body, null);
});

test("a failure is a TypeError with a code", async () => {
  const promise = fetch("http://localhost/");
  settle(last(), { code: "unreachable", message: "nobody is there" });
  const error = await promise.catch((it) => it);
  equal([error instanceof TypeError, error.code, error.message], [true, "unreachable", "fetch failed: nobody is there"]);
});

test("invalid requests are rejected", async () => {
  await rejects(fetch("/relative"), TypeError);
  await rejects(fetch("http://localhost/", { body: "x" }), TypeError);
  await rejects(fetch("http://localhost/", { room: { tries: 3 } }), "tries");
  await rejects(fetch("http://localhost/", { room: { retries: "3" } }), "retries");
  await rejects(fetch("http://localhost/", { signal: AbortSignal.abort() }), "AbortError");
  equal(waitingFor(), []);
});

test("a signal gives a request up", async () => {
  const controller = new AbortController();
  const promise = fetch("http://localhost/", { signal: controller.signal });
  const id = last();
  controller.abort(new RangeError("enough"));
  await rejects(promise, RangeError);
  equal([waitingFor(), settle(id, answer("late"))], [[], false]);
  equal(native.outcalls().some((outcall) => outcall.id === id), false);
});

test("options of ours go to the host", async () => {
  const promise = fetch("http://localhost/", { room: { tag: "mine", retries: 2, timeoutMs: 500, bestEffort: true } });
  equal(native.outcalls().find(({ id }) => id === last()).tag, "mine");
  settle(last(), answer(""));
  await promise;
});

test("a response in parts", async () => {
  const promise = fetch("http://localhost/", { room: { stream: true } });
  const id = last();
  chunk(id, { status: 200, offset: 0, bytes: text("one ") });
  const response = await promise;
  chunk(id, { status: 200, offset: 4, bytes: text("two") });
  settle(id, answer(""));
  equal([response.status, await response.text()], [200, "one two"]);
  const broken = fetch("http://localhost/", { room: { stream: true } });
  const other = last();
  chunk(other, { status: 200, offset: 0, bytes: text("one") });
  chunk(other, { status: 200, offset: 0, bytes: text("one") });
  await rejects((await broken).text(), TypeError);
  settle(other, answer(""));
  const slow = fetch("http://localhost/", { room: { stream: true } });
  const heavy = last();
  for (let i = 0; i < 9; i++) chunk(heavy, { status: 200, offset: i << 20, bytes: new Uint8Array(1 << 20) });
  await rejects((await slow).text(), "not read");
  const left = fetch("http://localhost/", { room: { stream: true } });
  chunk(last(), { status: 200, offset: 0, bytes: text("one") });
  await (await left).body.cancel();
  equal(waitingFor(), []);
  const empty = fetch("http://localhost/", { room: { stream: true } });
  settle(last(), answer("", 404));
  equal((await empty).status, 404);
});

test("other answers are waited for", async () => {
  const good = waitFor("a", "call");
  const bad = waitFor("b", "call");
  settle("a", text("bytes"));
  settle("b", { code: "refused", message: "no" });
  equal([...(await good)], [...text("bytes")]);
  equal((await bad.catch((error) => error)).code, "refused");
});
