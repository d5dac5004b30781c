// Streams: the expected values are those of Node.
import { equal, rejects, test, throws } from "room:test";

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function counter(limit, log = []) {
  let next = 0;
  return new ReadableStream({
    pull(controller) {
      log.push(`pull ${next}`);
      if (next === limit) controller.close();
      else controller.enqueue(next++);
    },
    cancel(reason) { log.push(`cancel ${reason}`); },
  });
}

test("a stream is pulled as it is read", async () => {
  const log = [];
  const reader = counter(2, log).getReader();
  equal(await reader.read(), { value: 0, done: false });
  equal(await reader.read(), { value: 1, done: false });
  equal(await reader.read(), { value: undefined, done: true });
  equal(await reader.closed, undefined);
  equal(log, ["pull 0", "pull 1", "pull 2"]);
});

test("a stream has one reader", async () => {
  const stream = counter(3);
  const reader = stream.getReader();
  equal(stream.locked, true);
  throws(() => stream.getReader(), TypeError);
  await rejects(stream.cancel(), TypeError);
  reader.releaseLock();
  equal(stream.locked, false);
  await rejects(reader.read(), TypeError);
  await rejects(reader.closed, TypeError);
  equal((await stream.getReader().read()).value, 0);
});

test("a release rejects what waits to be read", async () => {
  const stream = new ReadableStream({});
  const reader = stream.getReader();
  const read = reader.read();
  reader.releaseLock();
  await rejects(read, TypeError);
});

test("a stream fails", async () => {
  const failing = new ReadableStream({ pull() { throw new RangeError("no"); } });
  const reader = failing.getReader();
  await rejects(reader.read(), RangeError);
  await rejects(reader.closed, RangeError);
  await rejects(reader.cancel(), RangeError);
  throws(() => new ReadableStream({ start() { throw new RangeError("no"); } }), RangeError);
  let controller;
  const stream = new ReadableStream({ start(it) { controller = it; } });
  controller.enqueue("a");
  controller.error(new TypeError("later"));
  throws(() => controller.enqueue("b"), TypeError);
  await rejects(stream.getReader().read(), TypeError);
});

test("a stream is cancelled", async () => {
  const log = [];
  const stream = counter(9, log);
  await stream.cancel("why");
  equal(log.at(-1), "cancel why");
  equal(await collect(stream), []);
  await stream.cancel();
});

test("a strategy says how much waits", () => {
  let controller;
  new ReadableStream({ start(it) { controller = it; } }, { highWaterMark: 5, size: (chunk) => chunk.length });
  controller.enqueue("abc");
  equal(controller.desiredSize, 2);
  controller.enqueue("defg");
  equal(controller.desiredSize, -2);
  throws(() => new ReadableStream({}, { highWaterMark: -1 }), RangeError);
  equal(new ByteLengthQueuingStrategy({ highWaterMark: 4 }).size(new Uint8Array(3)), 3);
  equal([new CountQueuingStrategy({ highWaterMark: 4 }).highWaterMark, new CountQueuingStrategy({ highWaterMark: 1 }).size()],
    [4, 1]);
});

test("a stream is iterated", async () => {
  equal(await collect(counter(3)), [0, 1, 2]);
  const log = [];
  for await (const chunk of counter(9, log)) if (chunk === 1) break;
  equal(log.at(-1), "cancel undefined");
  const kept = counter(3);
  for await (const _ of kept.values({ preventCancel: true })) break;
  equal(await collect(kept), [1, 2]);
});

test("a stream is made of what can be iterated", async () => {
  equal(await collect(ReadableStream.from(["a", Promise.resolve("b")])), ["a", "b"]);
  let ended = false;
  async function* generate() {
    try {
      yield 1;
      yield 2;
    } finally {
      ended = true;
    }
  }
  const stream = ReadableStream.from(generate());
  const reader = stream.getReader();
  equal((await reader.read()).value, 1);
  await reader.cancel();
  equal(ended, true);
  throws(() => ReadableStream.from(5), TypeError);
});

test("a stream is split in two", async () => {
  const log = [];
  const [a, b] = counter(3, log).tee();
  equal(await collect(a), [0, 1, 2]);
  equal(await collect(b), [0, 1, 2]);
  const [c, d] = counter(3, log).tee();
  const first = c.cancel("c");
  const second = d.cancel("d");
  await first;
  await second;
  equal(log.at(-1), "cancel c,d");
  const [e] = new ReadableStream({ pull() { throw new RangeError("no"); } }).tee();
  await rejects(e.getReader().read(), RangeError);
});

test("a sink gets one chunk after the other", async () => {
  const log = [];
  const stream = new WritableStream({
    start() { log.push("start"); },
    async write(chunk) {
      await null;
      log.push(chunk);
    },
    close() { log.push("close"); },
  });
  const writer = stream.getWriter();
  equal(writer.desiredSize, 1);
  const writes = [writer.write("a"), writer.write("b")];
  equal(writer.desiredSize, -1);
  await Promise.all(writes);
  await writer.ready;
  await writer.close();
  await writer.closed;
  equal(log, ["start", "a", "b", "close"]);
  await rejects(writer.write("c"), TypeError);
});

test("a sink fails", async () => {
  const stream = new WritableStream({ write() { throw new RangeError("no"); } });
  const writer = stream.getWriter();
  await rejects(writer.write("a"), RangeError);
  await rejects(writer.write("b"), RangeError);
  await rejects(writer.closed, RangeError);
  await rejects(writer.ready, RangeError);
  equal(writer.desiredSize, null);
});

test("a sink is aborted", async () => {
  const log = [];
  const stream = new WritableStream({
    write: (_, controller) => new Promise((resolve) => controller.signal.addEventListener("abort", resolve)),
    abort(reason) { log.push(reason); },
  });
  const writer = stream.getWriter();
  const write = writer.write("a");
  const queued = writer.write("b");
  await null;
  await writer.abort("why");
  equal(await write, undefined);
  await queued.then(() => log.push("no"), (error) => log.push(`queued ${error}`));
  await writer.closed.catch((error) => log.push(`closed ${error}`));
  equal(log, ["why", "queued why", "closed why"]);
});

test("a pipe carries everything, and closes", async () => {
  const chunks = [];
  let closed = false;
  const source = counter(5);
  const target = new WritableStream({ write(chunk) { chunks.push(chunk); }, close() { closed = true; } });
  const piped = source.pipeTo(target);
  equal([source.locked, target.locked], [true, true]);
  equal(await piped, undefined);
  equal([chunks, closed, source.locked, target.locked], [[0, 1, 2, 3, 4], true, false, false]);
});

test("a pipe passes errors on, both ways", async () => {
  const log = [];
  const target = new WritableStream({ abort(reason) { log.push(reason.message); } });
  await rejects(new ReadableStream({ pull() { throw new RangeError("read"); } }).pipeTo(target), RangeError);
  equal(log, ["read"]);
  const failing = new WritableStream({ write() { throw new RangeError("write"); } });
  await rejects(counter(9, log).pipeTo(failing), RangeError);
  equal(log.at(-1), "cancel RangeError: write");
  const kept = new WritableStream({});
  await counter(1).pipeTo(kept, { preventClose: true });
  await kept.getWriter().write("more");
});

test("a pipe is given up", async () => {
  const log = [];
  const controller = new AbortController();
  const target = new WritableStream({ abort(reason) { log.push(`abort ${reason}`); } });
  const source = new ReadableStream({ cancel(reason) { log.push(`cancel ${reason}`); } });
  const piped = source.pipeTo(target, { signal: controller.signal });
  controller.abort("enough");
  await piped.then(() => log.push("no"), (reason) => log.push(reason));
  equal(log.sort(), ["abort enough", "cancel enough", "enough"]);
  await rejects(new ReadableStream().pipeTo(new WritableStream(), { signal: AbortSignal.abort() }), "AbortError");
});

test("a transform changes chunks", async () => {
  const double = new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk);
      controller.enqueue(chunk * 2);
    },
    flush(controller) { controller.enqueue("end"); },
  });
  equal(await collect(counter(3).pipeThrough(double)), [0, 0, 1, 2, 2, 4, "end"]);
  equal(await collect(counter(2).pipeThrough(new TransformStream())), [0, 1]);
});

test("a transform fails, and ends early", async () => {
  const failing = new TransformStream({ transform() { throw new RangeError("no"); } });
  await rejects(collect(counter(3).pipeThrough(failing)), RangeError);
  const first = new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk);
      controller.terminate();
    },
  });
  equal(await collect(counter(9).pipeThrough(first)), [0]);
  const log = [];
  const source = counter(9, log);
  const reader = source.pipeThrough(new TransformStream()).getReader();
  await reader.read();
  await reader.cancel("enough");
  await null;
  equal(log.at(-1), "cancel enough");
  await rejects(new ReadableStream().pipeTo(5), TypeError);
});

test("a transform holds its writer back", async () => {
  const stream = new TransformStream();
  const writer = stream.writable.getWriter();
  const log = [];
  const wrote = writer.write("a").then(() => log.push("written"));
  await null;
  await null;
  equal(log, []);
  const reader = stream.readable.getReader();
  equal((await reader.read()).value, "a");
  await wrote;
  equal(log, ["written"]);
});

test("text goes through streams", async () => {
  const text = "aé€😀";
  const bytes = new TextEncoder().encode(text);
  const single = ReadableStream.from([...bytes].map((byte) => new Uint8Array([byte])));
  equal((await collect(single.pipeThrough(new TextDecoderStream()))).join(""), text);
  const halves = ReadableStream.from(["a\ud83d", "\ude00", "\ud83d"]);
  const encoded = await collect(halves.pipeThrough(new TextEncoderStream()));
  equal(new TextDecoder().decode(new Uint8Array(encoded.flatMap((chunk) => [...chunk]))), "a😀\ufffd");
  const fatal = ReadableStream.from([new Uint8Array([255])]).pipeThrough(new TextDecoderStream("utf-8", { fatal: true }));
  await rejects(collect(fatal), TypeError);
});
