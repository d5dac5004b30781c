/**
 * `ReadableStream` with its default controller and reader.
 *
 * Invariant: the states and the order of promises are those of the Streams Standard. There are no readers that bring
 * their own buffer. It does not know writable streams: `pipe.js` joins the two.
 */
import { deferred, dictionary, failed, invoke, methodOf, SizedQueue, sizeOf, strategyOf } from "./queue.js";
import { expose, viewBytes } from "../webidl.js";

const MAKE = Symbol("make");
let S; // A stream's state.
let R; // A reader's state.

export class ReadableStream {
  #state = { stage: "readable", error: undefined, reader: null, disturbed: false, controller: null };

  constructor(source, strategy) {
    if (source === MAKE) return;
    const it = source === undefined ? {} : source;
    if (it === null || typeof it !== "object") throw new TypeError("ReadableStream: the source must be an object");
    const bytes = it.type !== undefined;
    if (bytes && `${it.type}` !== "bytes") throw new TypeError(`ReadableStream: "${it.type}" is an invalid type`);
    if (bytes && it.autoAllocateChunkSize !== undefined) {
      throw new TypeError("ReadableStream: autoAllocateChunkSize is not supported; enqueue the chunks");
    }
    const { mark, size } = strategyOf(strategy, bytes ? 0 : 1);
    if (bytes && size !== undefined) throw new RangeError("ReadableStream: a stream of bytes has no size function");
    const what = "ReadableStream";
    const [start, pull, cancel] = ["start", "pull", "cancel"].map((name) => methodOf(it, name, what));
    begin(this, {
      mark,
      size: bytes ? (chunk) => chunk.byteLength : size,
      bytes,
      start: start && ((controller) => start.call(it, controller)),
      pull: pull && ((controller) => invoke(it, pull, controller)),
      cancel: cancel && ((reason) => invoke(it, cancel, reason)),
    });
  }

  get locked() {
    return this.#state.reader !== null;
  }

  cancel(reason) {
    if (this.locked) return Promise.reject(new TypeError("ReadableStream.cancel: the stream is locked by a reader"));
    return cancelStream(this, reason);
  }

  getReader(options) {
    const { mode } = dictionary(options, "The options");
    if (mode !== undefined) throw new TypeError(`ReadableStream.getReader: the mode "${mode}" is not supported`);
    return new ReadableStreamDefaultReader(this);
  }

  values(options) {
    return iterate(this, Boolean(dictionary(options, "The options").preventCancel));
  }

  tee() {
    return tee(this, (chunk) => chunk);
  }

  static from(iterable) {
    return fromIterable(iterable);
  }

  static {
    S = (stream) => stream.#state;
  }
}
Object.defineProperty(ReadableStream.prototype, Symbol.asyncIterator, {
  value: ReadableStream.prototype.values, writable: true, configurable: true,
});
expose(ReadableStream, "ReadableStream", ["locked", "cancel", "getReader", "tee", "values"]);

let C; // A controller's state.

export class ReadableStreamDefaultController {
  #state = {
    stream: null, queue: new SizedQueue(), mark: 1, size: undefined, bytes: false, pull: undefined, cancel: undefined,
    started: false, closing: false, pulling: false, again: false,
  };

  constructor(token) {
    if (token !== MAKE) throw new TypeError("Illegal constructor");
  }

  get desiredSize() { return desired(this); }
  get byobRequest() { return null; }

  close() {
    if (!canEnqueue(this)) throw new TypeError("ReadableStreamDefaultController.close: the stream is not open");
    closeController(this);
  }

  enqueue(chunk) {
    if (!canEnqueue(this)) throw new TypeError("ReadableStreamDefaultController.enqueue: the stream is not open");
    if (this.#state.bytes && viewBytes(chunk) === undefined) {
      throw new TypeError("ReadableStreamDefaultController.enqueue: a stream of bytes takes views of buffers");
    }
    enqueue(this, chunk);
  }

  error(error) {
    errorController(this, error);
  }

  static {
    C = (controller) => controller.#state;
  }
}
expose(ReadableStreamDefaultController, "ReadableStreamDefaultController",
  ["desiredSize", "close", "enqueue", "error"]);

export class ReadableStreamDefaultReader {
  #state = { stream: null, closed: deferred(), requests: [] };

  constructor(stream) {
    if (!isReadable(stream)) throw new TypeError("ReadableStreamDefaultReader: the argument must be a ReadableStream");
    const state = S(stream);
    if (state.reader !== null) throw new TypeError("ReadableStream.getReader: the stream is locked already");
    state.reader = this;
    this.#state.stream = stream;
    if (state.stage === "closed") this.#state.closed.resolve();
    else if (state.stage === "errored") this.#state.closed.reject(state.error);
  }

  get closed() { return this.#state.closed.promise; }

  read() {
    if (this.#state.stream === null) return Promise.reject(released());
    const result = Promise.withResolvers();
    read(this, {
      chunk: (value) => result.resolve({ value, done: false }),
      close: () => result.resolve({ value: undefined, done: true }),
      error: (error) => result.reject(error),
    });
    return result.promise;
  }

  cancel(reason) {
    if (this.#state.stream === null) return Promise.reject(released());
    return cancelStream(this.#state.stream, reason);
  }

  releaseLock() {
    release(this);
  }

  static {
    R = (reader) => reader.#state;
  }
}
expose(ReadableStreamDefaultReader, "ReadableStreamDefaultReader", ["closed", "read", "cancel", "releaseLock"]);

function released() {
  return new TypeError("The reader was released, and has no stream");
}

/** Ends the reader's lock; what waits to be read is rejected. */
export function release(reader) {
  const state = R(reader);
  if (state.stream === null) return;
  if (S(state.stream).stage === "readable") state.closed.reject(released());
  else state.closed = failed(released());
  S(state.stream).reader = null;
  state.stream = null;
  const requests = state.requests;
  state.requests = [];
  for (const request of requests) request.error(released());
}

/** Whether the value is a ReadableStream. */
export function isReadable(value) {
  try {
    return Boolean(S(value));
  } catch {
    return false;
  }
}

/** Whether somebody has read from the stream, or cancelled it. */
export const isDisturbed = (stream) => S(stream).disturbed;
/** `readable`, `closed` or `errored`. */
export const stageOf = (stream) => S(stream).stage;
/** What the stream failed with. */
export const errorOf = (stream) => S(stream).error;

/** Gives a stream its controller, and starts it. */
function begin(stream, { mark, size, bytes, start, pull, cancel }) {
  const controller = new ReadableStreamDefaultController(MAKE);
  const state = C(controller);
  Object.assign(state, { stream, mark, size, bytes, pull, cancel });
  S(stream).controller = controller;
  Promise.resolve(start?.(controller)).then(
    () => {
      state.started = true;
      pullIfNeeded(controller);
    },
    (error) => errorController(controller, error),
  );
}

/** Returns a stream of these algorithms: `pull` and `cancel` return promises. */
export function createReadable({ start, pull, cancel, mark = 1, size }) {
  const stream = new ReadableStream(MAKE);
  begin(stream, { mark, size, bytes: false, start, pull, cancel });
  return { stream, controller: S(stream).controller };
}

function canEnqueue(controller) {
  const state = C(controller);
  return !state.closing && S(state.stream).stage === "readable";
}

function desired(controller) {
  const state = C(controller);
  const { stage } = S(state.stream);
  return stage === "errored" ? null : stage === "closed" ? 0 : state.mark - state.queue.total;
}

function pullIfNeeded(controller) {
  const state = C(controller);
  if (!canEnqueue(controller) || !state.started || state.pull === undefined) return;
  const { reader } = S(state.stream);
  const wanted = (reader !== null && R(reader).requests.length > 0) || desired(controller) > 0;
  if (!wanted) return;
  if (state.pulling) {
    state.again = true;
    return;
  }
  state.pulling = true;
  state.pull(controller).then(
    () => {
      state.pulling = false;
      if (!state.again) return;
      state.again = false;
      pullIfNeeded(controller);
    },
    (error) => errorController(controller, error),
  );
}

function forgetAlgorithms(state) {
  state.pull = undefined;
  state.cancel = undefined;
  state.size = undefined;
}

function closeController(controller) {
  const state = C(controller);
  state.closing = true;
  if (state.queue.length > 0) return;
  forgetAlgorithms(state);
  closeStream(state.stream);
}

function enqueue(controller, chunk) {
  const state = C(controller);
  const { reader } = S(state.stream);
  if (reader !== null && R(reader).requests.length > 0) {
    R(reader).requests.shift().chunk(chunk);
  } else {
    let size;
    try {
      size = sizeOf(state.size, chunk);
    } catch (error) {
      errorController(controller, error);
      throw error;
    }
    state.queue.push(chunk, size);
  }
  pullIfNeeded(controller);
}

function errorController(controller, error) {
  const state = C(controller);
  const stream = S(state.stream);
  if (stream.stage !== "readable") return;
  state.queue.clear();
  forgetAlgorithms(state);
  stream.stage = "errored";
  stream.error = error;
  if (stream.reader === null) return;
  const reader = R(stream.reader);
  reader.closed.reject(error);
  for (const request of reader.requests.splice(0)) request.error(error);
}

function closeStream(stream) {
  const state = S(stream);
  state.stage = "closed";
  if (state.reader === null) return;
  const reader = R(state.reader);
  reader.closed.resolve();
  for (const request of reader.requests.splice(0)) request.close();
}

/** Cancels the stream, locked or not. Returns a promise. */
export function cancelStream(stream, reason) {
  const state = S(stream);
  state.disturbed = true;
  if (state.stage === "closed") return Promise.resolve();
  if (state.stage === "errored") return Promise.reject(state.error);
  closeStream(stream);
  const controller = C(state.controller);
  controller.queue.clear();
  const { cancel } = controller;
  forgetAlgorithms(controller);
  return cancel === undefined ? Promise.resolve() : cancel(reason).then(() => undefined);
}

/** Reads once: calls one of the request's functions `chunk`, `close` and `error`, at once if it can. */
export function read(reader, request) {
  const { stream } = R(reader);
  const state = S(stream);
  state.disturbed = true;
  if (state.stage === "closed") return request.close();
  if (state.stage === "errored") return request.error(state.error);
  const controller = C(state.controller);
  if (controller.queue.length === 0) {
    R(reader).requests.push(request);
    return pullIfNeeded(state.controller);
  }
  const chunk = controller.queue.shift();
  if (controller.closing && controller.queue.length === 0) {
    forgetAlgorithms(controller);
    closeStream(stream);
  } else {
    pullIfNeeded(state.controller);
  }
  request.chunk(chunk);
}

/** Returns two streams with the chunks of this one; the second gets what `copy` makes of them. */
export function tee(stream, copy) {
  const reader = new ReadableStreamDefaultReader(stream);
  const cancelled = [false, false];
  const reasons = [undefined, undefined];
  const done = deferred();
  const branches = [];
  let reading = false;
  let again = false;
  function pull() {
    if (reading) {
      again = true;
      return Promise.resolve();
    }
    reading = true;
    read(reader, {
      chunk: (chunk) => queueMicrotask(() => {
        again = false;
        if (!cancelled[0]) enqueue(branches[0].controller, chunk);
        if (!cancelled[1]) enqueue(branches[1].controller, copy(chunk));
        reading = false;
        if (again) pull();
      }),
      close() {
        reading = false;
        for (const i of [0, 1]) if (!cancelled[i]) closeController(branches[i].controller);
        if (!cancelled[0] || !cancelled[1]) done.resolve();
      },
      error() { reading = false; },
    });
    return Promise.resolve();
  }
  for (const i of [0, 1]) {
    const cancel = (reason) => {
      cancelled[i] = true;
      reasons[i] = reason;
      if (cancelled[1 - i]) done.resolve(cancelStream(stream, reasons));
      return done.promise;
    };
    branches.push(createReadable({ pull, cancel }));
  }
  reader.closed.then(undefined, (error) => {
    for (const { controller } of branches) errorController(controller, error);
    if (!cancelled[0] || !cancelled[1]) done.resolve();
  });
  return branches.map((branch) => branch.stream);
}

const AsyncIteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}.prototype));

/** Returns the iterator of `for await`. Its calls wait for one another. */
function iterate(stream, preventCancel) {
  const reader = new ReadableStreamDefaultReader(stream);
  let last = Promise.resolve();
  let over = false;
  async function next() {
    if (over) return { value: undefined, done: true };
    try {
      const result = await reader.read();
      if (result.done) {
        over = true;
        release(reader);
      }
      return result;
    } catch (error) {
      over = true;
      release(reader);
      throw error;
    }
  }
  async function end(value) {
    if (over) return { value, done: true };
    over = true;
    const cancelled = preventCancel ? undefined : cancelStream(stream, value);
    release(reader);
    await cancelled;
    return { value, done: true };
  }
  const after = (step) => {
    last = last.then(step, step);
    return last;
  };
  return Object.assign(Object.create(AsyncIteratorPrototype), {
    next: () => after(next),
    return: (value) => after(() => end(value)),
  });
}

function fromIterable(iterable) {
  if (iterable === null || iterable === undefined) throw new TypeError("ReadableStream.from: the argument is missing");
  const asyncMethod = iterable[Symbol.asyncIterator];
  const method = asyncMethod ?? iterable[Symbol.iterator];
  if (typeof method !== "function") throw new TypeError("ReadableStream.from: the argument must be iterable");
  const iterator = method.call(iterable);
  const pull = async (controller) => {
    const result = await iterator.next();
    if (result === null || typeof result !== "object") throw new TypeError("The iterator's result must be an object");
    if (result.done) closeController(controller);
    else enqueue(controller, asyncMethod ? result.value : await result.value);
  };
  const cancel = async (reason) => {
    const result = await iterator.return?.(reason);
    if (iterator.return && (result === null || typeof result !== "object")) {
      throw new TypeError("The iterator's result must be an object");
    }
  };
  return createReadable({ pull, cancel, mark: 0 }).stream;
}

/** Adds a chunk, closes and fails a stream that `createReadable` made. */
export const controls = { enqueue, close: closeController, error: errorController, desired, canEnqueue };
