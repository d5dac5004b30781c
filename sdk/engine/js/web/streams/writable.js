/**
 * `WritableStream` with its controller and writer.
 *
 * Invariant: the states and the order of promises are those of the Streams Standard: one write at a time, an error goes
 * through `erroring`. It does not know where chunks come from.
 */
import { deferred, failed, invoke, methodOf, settled, SizedQueue, sizeOf, strategyOf } from "./queue.js";
import { AbortController } from "../abort.js";
import { expose } from "../webidl.js";

const MAKE = Symbol("make");
const CLOSE = Symbol("close");
let S; // A stream's state.
let C; // A controller's state.
let W; // A writer's state.

export class WritableStream {
  #state = {
    stage: "writable", error: undefined, writer: null, controller: null, writes: [], inFlight: null, closing: null,
    closeInFlight: null, abort: null, backpressure: false,
  };

  constructor(sink, strategy) {
    if (sink === MAKE) return;
    const it = sink === undefined ? {} : sink;
    if (it === null || typeof it !== "object") throw new TypeError("WritableStream: the sink must be an object");
    if (it.type !== undefined) throw new RangeError("WritableStream: the sink's type must be undefined");
    const { mark, size } = strategyOf(strategy, 1);
    const what = "WritableStream";
    const [start, write, close, abort] = ["start", "write", "close", "abort"].map((name) => methodOf(it, name, what));
    begin(this, {
      mark,
      size,
      start: start && ((controller) => start.call(it, controller)),
      write: write && ((chunk, controller) => invoke(it, write, chunk, controller)),
      close: close && (() => invoke(it, close)),
      abort: abort && ((reason) => invoke(it, abort, reason)),
    });
  }

  get locked() {
    return this.#state.writer !== null;
  }

  abort(reason) {
    if (this.locked) return Promise.reject(new TypeError("WritableStream.abort: the stream is locked by a writer"));
    return abortStream(this, reason);
  }

  close() {
    if (this.locked) return Promise.reject(new TypeError("WritableStream.close: the stream is locked by a writer"));
    if (closeAsked(this)) return Promise.reject(new TypeError("WritableStream.close: the stream is closing already"));
    return closeStream(this);
  }

  getWriter() {
    return new WritableStreamDefaultWriter(this);
  }

  static {
    S = (stream) => stream.#state;
  }
}
expose(WritableStream, "WritableStream", ["locked", "abort", "close", "getWriter"]);

export class WritableStreamDefaultController {
  #state = {
    stream: null, queue: new SizedQueue(), mark: 1, size: undefined, write: undefined, close: undefined,
    abort: undefined, started: false, aborter: new AbortController(),
  };

  constructor(token) {
    if (token !== MAKE) throw new TypeError("Illegal constructor");
  }

  get signal() {
    return this.#state.aborter.signal;
  }

  error(error) {
    if (S(this.#state.stream).stage === "writable") errorController(this, error);
  }

  static {
    C = (controller) => controller.#state;
  }
}
expose(WritableStreamDefaultController, "WritableStreamDefaultController", ["signal", "error"]);

export class WritableStreamDefaultWriter {
  #state = { stream: null, ready: settled(), closed: deferred() };

  constructor(stream) {
    if (!isWritable(stream)) throw new TypeError("WritableStreamDefaultWriter: the argument must be a WritableStream");
    const target = S(stream);
    if (target.writer !== null) throw new TypeError("WritableStream.getWriter: the stream is locked already");
    target.writer = this;
    const state = this.#state;
    state.stream = stream;
    if (target.stage === "writable") {
      if (!closeAsked(stream) && target.backpressure) state.ready = deferred();
    } else if (target.stage === "erroring") {
      state.ready = failed(target.error);
    } else if (target.stage === "closed") {
      state.closed.resolve();
    } else {
      state.ready = failed(target.error);
      state.closed.reject(target.error);
    }
  }

  get closed() { return this.#state.closed.promise; }
  get ready() { return this.#state.ready.promise; }

  get desiredSize() {
    if (this.#state.stream === null) throw released();
    return desired(this.#state.stream);
  }

  abort(reason) {
    if (this.#state.stream === null) return Promise.reject(released());
    return abortStream(this.#state.stream, reason);
  }

  close() {
    const { stream } = this.#state;
    if (stream === null) return Promise.reject(released());
    if (closeAsked(stream)) return Promise.reject(new TypeError("WritableStream.close: the stream is closing already"));
    return closeStream(stream);
  }

  write(chunk) {
    if (this.#state.stream === null) return Promise.reject(released());
    return write(this, chunk);
  }

  releaseLock() {
    releaseWriter(this);
  }

  static {
    W = (writer) => writer.#state;
  }
}
expose(WritableStreamDefaultWriter, "WritableStreamDefaultWriter",
  ["closed", "ready", "desiredSize", "abort", "close", "write", "releaseLock"]);

function released() {
  return new TypeError("The writer was released, and has no stream");
}

/** Ends the writer's lock. */
export function releaseWriter(writer) {
  const state = W(writer);
  if (state.stream === null) return;
  const error = released();
  failReady(state, error);
  if (S(state.stream).stage === "writable" || S(state.stream).stage === "erroring") state.closed.reject(error);
  else state.closed = failed(error);
  S(state.stream).writer = null;
  state.stream = null;
}

/** Whether the value is a WritableStream. */
export function isWritable(value) {
  try {
    return Boolean(S(value));
  } catch {
    return false;
  }
}

/** `writable`, `erroring`, `errored` or `closed`. */
export const stageOf = (stream) => S(stream).stage;
/** What the stream fails or failed with. */
export const errorOf = (stream) => S(stream).error;

/** A `ready` promise may be settled already: then a new one takes its place. */
function failReady(state, error) {
  state.ready.reject(error);
  state.ready = failed(error);
}

function begin(stream, { mark, size, start, write: writeAlgorithm, close, abort }) {
  const controller = new WritableStreamDefaultController(MAKE);
  const state = C(controller);
  Object.assign(state, { stream, mark, size, write: writeAlgorithm, close, abort });
  const target = S(stream);
  target.controller = controller;
  setBackpressure(stream, mark <= 0);
  Promise.resolve(start?.(controller)).then(
    () => {
      state.started = true;
      advance(controller);
    },
    (error) => {
      state.started = true;
      dealWithRejection(stream, error);
    },
  );
}

/** Returns a stream of these algorithms, which return promises. */
export function createWritable({ start, write: writeAlgorithm, close, abort, mark = 1, size }) {
  const stream = new WritableStream(MAKE);
  begin(stream, { mark, size, start, write: writeAlgorithm, close, abort });
  return { stream, controller: S(stream).controller };
}

function desired(stream) {
  const state = S(stream);
  if (state.stage === "errored" || state.stage === "erroring") return null;
  if (state.stage === "closed") return 0;
  const controller = C(state.controller);
  return controller.mark - controller.queue.total;
}

/** Whether a close was asked for. */
export function closeAsked(stream) {
  return S(stream).closing !== null || S(stream).closeInFlight !== null;
}

function setBackpressure(stream, backpressure) {
  const state = S(stream);
  if (state.writer !== null && backpressure !== state.backpressure) {
    const writer = W(state.writer);
    if (backpressure) writer.ready = deferred();
    else writer.ready.resolve();
  }
  state.backpressure = backpressure;
}

function abortStream(stream, reason) {
  const state = S(stream);
  if (state.stage === "closed" || state.stage === "errored") return Promise.resolve();
  C(state.controller).aborter.abort(reason);
  if (state.stage === "closed" || state.stage === "errored") return Promise.resolve();
  if (state.abort !== null) return state.abort.result.promise;
  const wasErroring = state.stage === "erroring";
  state.abort = { result: deferred(), reason: wasErroring ? undefined : reason, wasErroring };
  const { promise } = state.abort.result;
  if (!wasErroring) startErroring(stream, reason);
  return promise;
}

function closeStream(stream) {
  const state = S(stream);
  if (state.stage === "closed" || state.stage === "errored") {
    return Promise.reject(new TypeError(`WritableStream.close: the stream is ${state.stage}`));
  }
  state.closing = Promise.withResolvers();
  const { promise } = state.closing;
  if (state.writer !== null && state.backpressure && state.stage === "writable") W(state.writer).ready.resolve();
  C(state.controller).queue.push(CLOSE, 0);
  advance(state.controller);
  return promise;
}

/** Writes a chunk by this writer. Returns a promise of the sink's having taken it. */
export function write(writer, chunk) {
  const { stream } = W(writer);
  const state = S(stream);
  const controller = C(state.controller);
  let size = 1;
  try {
    size = sizeOf(controller.size, chunk);
  } catch (error) {
    if (state.stage === "writable") errorController(state.controller, error);
  }
  if (W(writer).stream !== stream) return Promise.reject(released());
  if (state.stage === "errored" || state.stage === "erroring") return Promise.reject(state.error);
  if (closeAsked(stream) || state.stage === "closed") {
    return Promise.reject(new TypeError("WritableStream.write: the stream is closed or closing"));
  }
  const result = Promise.withResolvers();
  state.writes.push(result);
  controller.queue.push(chunk, size);
  setBackpressure(stream, desired(stream) <= 0);
  advance(state.controller);
  return result.promise;
}

/** Closes by this writer, unless that is under way; an error is the stream's. */
export function closeWithErrors(writer) {
  const { stream } = W(writer);
  const { stage, error } = S(stream);
  if (closeAsked(stream) || stage === "closed") return Promise.resolve();
  return stage === "errored" ? Promise.reject(error) : closeStream(stream);
}

function dealWithRejection(stream, error) {
  if (S(stream).stage === "writable") startErroring(stream, error);
  else finishErroring(stream);
}

function startErroring(stream, reason) {
  const state = S(stream);
  const controller = C(state.controller);
  state.stage = "erroring";
  state.error = reason;
  if (state.writer !== null) failReady(W(state.writer), reason);
  if (state.inFlight === null && state.closeInFlight === null && controller.started) finishErroring(stream);
}

function finishErroring(stream) {
  const state = S(stream);
  const controller = C(state.controller);
  state.stage = "errored";
  controller.queue.clear();
  for (const request of state.writes.splice(0)) request.reject(state.error);
  const { abort } = state;
  if (abort === null) return rejectCloseAndClosed(stream);
  state.abort = null;
  if (abort.wasErroring) {
    abort.result.reject(state.error);
    return rejectCloseAndClosed(stream);
  }
  const algorithm = controller.abort;
  forgetAlgorithms(controller);
  (algorithm === undefined ? Promise.resolve() : algorithm(abort.reason)).then(
    () => {
      abort.result.resolve();
      rejectCloseAndClosed(stream);
    },
    (error) => {
      abort.result.reject(error);
      rejectCloseAndClosed(stream);
    },
  );
}

function rejectCloseAndClosed(stream) {
  const state = S(stream);
  if (state.closing !== null) {
    state.closing.reject(state.error);
    state.closing = null;
  }
  if (state.writer !== null) W(state.writer).closed.reject(state.error);
}

function forgetAlgorithms(controller) {
  Object.assign(controller, { write: undefined, close: undefined, abort: undefined, size: undefined });
}

function errorController(controller, error) {
  const state = C(controller);
  forgetAlgorithms(state);
  startErroring(state.stream, error);
}

/** Does the next thing in the queue. */
function advance(controller) {
  const state = C(controller);
  const stream = S(state.stream);
  if (!state.started || stream.inFlight !== null || stream.closeInFlight !== null) return;
  if (stream.stage === "erroring") return finishErroring(state.stream);
  if (stream.stage !== "writable" || state.queue.length === 0) return;
  if (state.queue.peek() === CLOSE) processClose(controller);
  else processWrite(controller, state.queue.peek());
}

function processClose(controller) {
  const state = C(controller);
  const stream = S(state.stream);
  stream.closeInFlight = stream.closing;
  stream.closing = null;
  state.queue.shift();
  const algorithm = state.close;
  forgetAlgorithms(state);
  (algorithm === undefined ? Promise.resolve() : algorithm()).then(
    () => finishClose(state.stream),
    (error) => {
      stream.closeInFlight.reject(error);
      stream.closeInFlight = null;
      stream.abort?.result.reject(error);
      stream.abort = null;
      dealWithRejection(state.stream, error);
    },
  );
}

function finishClose(stream) {
  const state = S(stream);
  state.closeInFlight.resolve();
  state.closeInFlight = null;
  if (state.stage === "erroring") {
    state.error = undefined;
    state.abort?.result.resolve();
    state.abort = null;
  }
  state.stage = "closed";
  if (state.writer !== null) W(state.writer).closed.resolve();
}

function processWrite(controller, chunk) {
  const state = C(controller);
  const stream = S(state.stream);
  stream.inFlight = stream.writes.shift();
  const { write: algorithm } = state;
  (algorithm === undefined ? Promise.resolve() : algorithm(chunk, controller)).then(
    () => {
      stream.inFlight.resolve();
      stream.inFlight = null;
      state.queue.shift();
      if (!closeAsked(state.stream) && stream.stage === "writable") {
        setBackpressure(state.stream, desired(state.stream) <= 0);
      }
      advance(controller);
    },
    (error) => {
      if (stream.stage === "writable") forgetAlgorithms(state);
      stream.inFlight.reject(error);
      stream.inFlight = null;
      dealWithRejection(state.stream, error);
    },
  );
}

/** Fails a stream that `createWritable` made, if it is open. */
export function errorIfNeeded(controller, error) {
  if (S(C(controller).stream).stage === "writable") errorController(controller, error);
}

/** The writer's desired size, without its throw. */
export const desiredSizeOf = desired;
/** Aborts the stream, locked or not. Returns a promise. */
export const abortWritable = abortStream;
